/**
 * @file A machine without a C compiler: training says in one line that it computes on wasm, why, and how to get the faster device on
 * this system, and goes on to the end.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ensureBuilt, root } from './built.js';

/** Where a program of the PATH lies. */
const locate = (name: string): string | undefined =>
  (process.env.PATH ?? '')
    .split(delimiter)
    .map((folder) => join(folder, name))
    .find((file) => existsSync(file));

/** How one gets a compiler on this system. */
function advice(): RegExp {
  if (process.platform === 'darwin') return /xcode-select --install/;
  const release = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '';
  if (/^ID=alpine$/m.test(release)) return /apk add gcc musl-dev/;
  return /^ID(_LIKE)?=.*(debian|ubuntu)/m.test(release) ? /apt install gcc/ : /gcc/;
}

// Windows has no native device, and npm is a batch file there.
describe.skipIf(process.platform === 'win32')('without a C compiler', () => {
  let folder: string;
  beforeAll(async () => {
    await ensureBuilt();
    folder = mkdtempSync(join(tmpdir(), 'tenon-no-compiler-'));
    mkdirSync(join(folder, 'bin'));
    for (const name of ['node', 'npm', 'sh']) {
      const file = name === 'node' ? process.execPath : locate(name);
      if (file === undefined) throw new Error(`these tests need ${name} on the PATH`);
      symlinkSync(file, join(folder, 'bin', name));
    }
  }, 240_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test('npm start computes on wasm, says why and how to get the faster device, and ends', async () => {
    const { TENON_CC: _, TENON_DEVICE: __, ...rest } = process.env;
    const env = { ...rest, PATH: join(folder, 'bin'), TENON_CACHE_DIR: join(folder, 'cache') };
    const out = join(folder, 'run');
    const args = ['start', '--silent', '--', '--limit', '64', '--epochs', '1', '--out', out];
    const ended = await new Promise<{ failed: boolean; stdout: string; stderr: string }>((resolve) => {
      execFile(join(folder, 'bin', 'npm'), args, { cwd: root, env, encoding: 'utf8' }, (error, stdout, stderr) =>
        resolve({ failed: error !== null, stdout, stderr }),
      );
    });
    expect(ended.stderr).toMatch(/^tenon: [^\n]*\bwasm\b[^\n]*no C compiler[^\n]*\n$/);
    expect(ended.stderr).toMatch(advice());
    expect(ended.stdout).toContain('\ndevice: wasm, ');
    expect(ended.stdout).toMatch(/\nTest accuracy \d+\.\d%, /);
    expect(ended.stdout).toContain(`Saved ${out}/model.tenon`);
    expect(ended.failed).toBe(false);
    expect(existsSync(join(out, 'model.tenon'))).toBe(true);
  });
});
