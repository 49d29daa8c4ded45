/** @file The built `tenon` command as a child process. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

export interface Ended {
  /** Null when a signal ended it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}
/** A signal and when it is sent: after so many milliseconds, counted from the moment that `once` (asked all the time) says yes. */
export interface End {
  readonly signal: NodeJS.Signals;
  readonly after: number;
  readonly once?: () => boolean;
}
export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly end?: End;
  /** Run by sh with the command in its "$@": to set limits, or to leave the user. */
  readonly shell?: string;
}

/** Runs `tenon …args` to its end. */
export function tenon(args: readonly string[], options: CommandOptions = {}): Promise<Ended> {
  if (!existsSync(main)) throw new Error(`${main} is missing. Run: npm run build`);
  const env: NodeJS.ProcessEnv = { ...process.env, TENON_DEBUG: undefined, ...options.env };
  const command = [process.execPath, main, ...args];
  const [file, ...rest] = options.shell === undefined ? command : ['sh', '-c', options.shell, 'sh', ...command];
  const child = spawn(file, rest, { cwd: options.cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const { end } = options;
  const stop = end === undefined ? () => undefined : endAt(child, end);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      stop();
      resolve({ code, signal, stdout, stderr });
    });
  });
}

/** Sends the signal when it is time; gives what forgets it. */
function endAt(child: ChildProcess, { signal, after, once }: End): () => void {
  const arm = (): NodeJS.Timeout => setTimeout(() => child.kill(signal), after);
  let timer = once ? setInterval(watch, 1) : arm();
  function watch(): void {
    if (!once?.()) return;
    clearInterval(timer);
    timer = arm();
  }
  return () => clearTimeout(timer);
}

/** Numerical Recipes' generator: the same numbers in [0, 1) every time. */
export function randomNumbers(seed: number): () => number {
  let s = seed >>> 0;
  return () => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return s / 2 ** 32;
  };
}
