/** @file A headless Chromium for tests and benchmarks: found, started with a profile of its own, and gone afterwards with all its processes. */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

/** Its path, or null where there is none: TENON_CHROMIUM, else the usual names on the PATH. */
export function findChromium(): string | null {
  const names = process.env.TENON_CHROMIUM ? [process.env.TENON_CHROMIUM] : ['chromium', 'chromium-browser', 'google-chrome'];
  const folders = (process.env.PATH ?? '').split(delimiter);
  for (const path of names.flatMap((name) => (name.includes('/') ? [name] : folders.map((f) => join(f, name)))))
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // The next one.
    }
  return null;
}

const flags = [
  '--headless=new',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--disable-extensions',
  '--disable-background-networking',
  '--disable-component-update',
  // A page that nobody looks at must not be slowed down: what is measured is the library.
  '--disable-background-timer-throttling',
  '--disable-renderer-backgrounding',
  '--disable-backgrounding-occluded-windows',
  '--no-first-run',
  '--mute-audio',
];

export interface Chromium {
  /** Rejects when the browser ends by itself. */
  readonly ended: Promise<never>;
  /** Ends it and removes its profile. */
  close(): Promise<void>;
}

/** Opens `url` in the browser whose program this is. */
export function openChromium(program: string, url: string): Chromium {
  const profile = mkdtempSync(join(tmpdir(), 'tenon-chromium-'));
  // A group of its own, so that all of its processes can be ended.
  const child = spawn(program, [...flags, `--user-data-dir=${profile}`, url], {
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, HOME: profile, XDG_CONFIG_HOME: profile, XDG_CACHE_HOME: profile },
  });
  let said = '';
  child.stderr.on('data', (text: Buffer) => {
    said = (said + text).slice(-2000);
  });
  const over = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => resolve(`exit ${code ?? signal}`));
  });
  const ended = over.then((how): never => {
    throw new Error(`chromium ended (${how}): ${said}`);
  });
  ended.catch(() => undefined);
  const kill = (): void => endGroup(child);
  process.once('exit', kill);
  return {
    ended,
    async close() {
      process.removeListener('exit', kill);
      kill();
      await over;
      rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    },
  };
}

function endGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // Ended already.
  }
}
