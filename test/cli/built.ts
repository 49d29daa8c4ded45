/**
 * @file dist and dist-tools for tests that start child processes: `npm test` has just built them; a single test file builds
 * what is older than its sources, one process at a time.
 */
import { type ExecFileException, execFile, execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root: string = fileURLToPath(new URL('../..', import.meta.url));

const newest = (folder: string): number =>
  Math.max(
    0,
    ...readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => statSync(join(root, folder, name)).mtimeMs),
  );
const builtAt = (file: string): number => statSync(join(root, file), { throwIfNoEntry: false })?.mtimeMs ?? 0;
const isStale = (): boolean => newest('src') > builtAt('dist/.tsbuildinfo') || newest('examples') > builtAt('dist-tools/.tsbuildinfo');

/** Builds when sources are newer. */
export async function ensureBuilt(): Promise<void> {
  const lock = join(root, 'node_modules', '.tenon-test-build');
  for (let tries = 0; isStale(); tries++) {
    try {
      mkdirSync(lock);
    } catch {
      // Another test file builds; a lock that outlives two minutes is a dead one's.
      if (tries > 240) rmdirSync(lock);
      await new Promise((resolve) => setTimeout(resolve, 500));
      continue;
    }
    try {
      execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-b', 'tsconfig.build.json', 'tsconfig.tools.json'], {
        cwd: root,
        stdio: 'ignore',
      });
    } catch {
      // Faults of types are reported by `npm test`; what was emitted is what runs.
    } finally {
      rmdirSync(lock);
    }
    return;
  }
}

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** The last line of stdout that isn't empty. */
  readonly lastLine: string;
}

/** Runs a script of the checkout in `cwd`, without a terminal; `input` is what comes on stdin. */
export function runScript(
  script: string,
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>> = {},
  input = '',
): Promise<Ended> {
  return new Promise((resolve) => {
    const options = { cwd, env: { ...process.env, ...env }, encoding: 'utf8', maxBuffer: 2 ** 24 } as const;
    const child = execFile(process.execPath, [join(root, script), ...args], options, (error: ExecFileException | null, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
      resolve({ code, stdout, stderr, lastLine: stdout.trimEnd().split('\n').at(-1) ?? '' });
    });
    // A command that ended without reading is no failure.
    child.stdin?.on('error', () => undefined).end(input);
  });
}

/** Runs `tenon`. */
export const tenon = (args: readonly string[], cwd: string, env?: Readonly<Record<string, string>>): Promise<Ended> =>
  runScript('dist/cli/main.js', args, cwd, env);

/** Runs many `tenon`s one after the other in one process, whose start is most of what a refused one costs. */
export async function tenons(runs: readonly (readonly string[])[], cwd: string): Promise<Pick<Ended, 'code' | 'stderr'>[]> {
  const program = `
    import { errorText, exitCodeOf } from ${JSON.stringify(join(root, 'dist/cli/failure.js'))};
    import { parseAndRun } from ${JSON.stringify(join(root, 'dist/cli/program.js'))};
    const write = process.stdout.write.bind(process.stdout);
    let stderr = '';
    process.stdout.write = () => true;
    process.stderr.write = (text) => { stderr += text; return true; };
    const ended = [];
    for (const words of ${JSON.stringify(runs)}) {
      stderr = '';
      const code = await parseAndRun(words).catch((error) => { stderr += errorText(error) + '\\n'; return exitCodeOf(error); });
      ended.push({ code, stderr });
    }
    write(JSON.stringify(ended));`;
  return new Promise((resolve, reject) => {
    execFile(process.execPath, ['--input-type=module', '--eval', program], { cwd, encoding: 'utf8' }, (error, stdout) =>
      error ? reject(error) : resolve(JSON.parse(stdout) as Pick<Ended, 'code' | 'stderr'>[]),
    );
  });
}
