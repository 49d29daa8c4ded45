/** @file The system's C compiler: found once a process, run on text, in the background or at once. */
import { DeviceError } from '../../base/errors.js';
import { host } from '../../base/host.js';
import type { NodeModules } from '../../base/node-modules.js';

export interface Compiler {
  readonly path: string;
  /** First line of `--version`: part of every cache key. */
  readonly version: string;
}

export const compilerAdvice =
  typeof process !== 'undefined' && process.platform === 'darwin'
    ? 'For the faster native device install one with `xcode-select --install`.'
    : 'For the faster native device install gcc or clang (Debian, Ubuntu: `apt install gcc`; Alpine: `apk add gcc musl-dev`; Fedora: `dnf install gcc`), or set TENON_CC.';

let probed: Compiler | string | undefined;

/** The compiler, or the reason why there is none. TENON_CC, else cc, gcc or clang on the PATH. */
export function findCompiler(modules: NodeModules): Compiler | string {
  probed ??= probe(modules);
  return probed;
}

function probe({ fs, path, childProcess }: NodeModules): Compiler | string {
  const isProgram = (file: string): boolean => {
    try {
      fs.accessSync(file, fs.constants.X_OK);
      return fs.statSync(file).isFile();
    } catch {
      return false;
    }
  };
  const folders = (host.environment('PATH') ?? '').split(path.delimiter).filter((f) => path.isAbsolute(f));
  const locate = (name: string): string[] =>
    name.includes('/') ? [path.resolve(name)].filter(isProgram) : folders.map((f) => path.join(f, name)).filter(isProgram);
  const wish = host.environment('TENON_CC');
  const found = (wish === undefined ? ['cc', 'gcc', 'clang'] : [wish]).flatMap(locate);
  if (found.length === 0) return wish === undefined ? 'no C compiler (cc, gcc, clang) on the PATH' : `TENON_CC names no program: ${wish}`;
  let reason = '';
  for (const file of found) {
    const r = childProcess.spawnSync(file, ['--version'], { encoding: 'utf8', timeout: 20_000, stdio: ['ignore', 'pipe', 'pipe'] });
    const version = r.stdout?.split('\n')[0].trim();
    if (r.status === 0 && version) return { path: file, version };
    reason ||= `${file} --version failed: ${(r.error?.message ?? r.stderr ?? '').split('\n')[0]}`;
  }
  return reason;
}

function failure(compiler: Compiler, output: string): DeviceError {
  if (/No space left|Disk quota exceeded|File size limit/i.test(output))
    return new DeviceError(
      'native: there is no room left for compiled kernels. Expected some space in the cache folder and in the temporary one. Free some, or set TENON_CACHE_DIR and TMPDIR to other folders.',
    );
  const lines = output.split('\n').filter((l) => l.trim() !== '');
  return new DeviceError(
    `native: ${compiler.path} could not compile a kernel. Expected an object, received:\n${lines.slice(0, 8).join('\n')}\n` +
      'Set TENON_CC to another compiler, or TENON_DEVICE=wasm.',
  );
}

const command = (flags: readonly string[], output: string): string[] => ['-x', 'c', ...flags, '-shared', '-o', output, '-', '-lm'];

/** Compiles `source` to the shared object `output`. Rejects with DeviceError and the first lines of the compiler's complaint. */
export function compileObject(
  { childProcess }: NodeModules,
  compiler: Compiler,
  flags: readonly string[],
  source: string,
  output: string,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = childProcess.spawn(compiler.path, command(flags, output), { stdio: ['pipe', 'ignore', 'pipe'] });
    let complaint = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      if (complaint.length < 20_000) complaint += text;
    });
    child.on('error', (cause) => reject(new DeviceError(`native: cannot start ${compiler.path}. ${cause.message}.`, { cause })));
    child.on('close', (code) => (code === 0 ? resolve() : reject(failure(compiler, complaint || `exit status ${code}`))));
    // A compiler that dies early closes the pipe; `close` tells the story.
    child.stdin.on('error', () => undefined);
    child.stdin.end(source);
  });
}

/** The same, in the calling thread. */
export function compileObjectSync(
  { childProcess }: NodeModules,
  compiler: Compiler,
  flags: readonly string[],
  source: string,
  output: string,
): void {
  const r = childProcess.spawnSync(compiler.path, command(flags, output), {
    input: source,
    encoding: 'utf8',
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  // A compiler that ends before it has read everything breaks the pipe; its status tells the story.
  if (r.error && r.status === null) throw new DeviceError(`native: cannot start ${compiler.path}. ${r.error.message}.`, { cause: r.error });
  if (r.status !== 0) throw failure(compiler, r.stderr || `exit status ${r.status}`);
}
