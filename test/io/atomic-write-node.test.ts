import { execFile, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import ts from 'typescript';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ConfigError, TenonError } from '../../src/base/errors.js';
import { writeFileAtomically } from '../../src/io/atomic-write-node.js';
import { readFileBytes } from '../../src/io/read-file-node.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tenon-write-'));
});
afterEach(() => {
  chmodSync(folder, 0o755);
  rmSync(folder, { recursive: true, force: true });
});

/** Plain JavaScript of the module, for children that are killed or limited. */
function compileModule(): void {
  for (const path of ['src/base/errors.ts', 'src/io/atomic-write-node.ts']) {
    const options = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext };
    const out = join(folder, 'js', basename(dirname(path)), basename(path).replace('.ts', '.js'));
    mkdirSync(dirname(out), { recursive: true });
    writeFileSync(out, ts.transpileModule(readFileSync(path, 'utf8'), { compilerOptions: options }).outputText);
  }
  writeFileSync(join(folder, 'js', 'package.json'), '{"type":"module"}');
}

describe('writeFileAtomically', () => {
  test('makes and replaces a file from one or several pieces, and leaves nothing else', async () => {
    const path = join(folder, 'a.bin');
    await writeFileAtomically(path, Uint8Array.of(1, 2, 3));
    expect([...readFileSync(path)]).toEqual([1, 2, 3]);
    await writeFileAtomically(path, [Uint8Array.of(4), new Uint8Array(0), Uint8Array.of(5, 6).subarray(1)]);
    expect([...(await readFileBytes(path))]).toEqual([4, 6]);
    expect(readdirSync(folder)).toEqual(['a.bin']);
  });

  test('keeps permissions and links', async () => {
    const path = join(folder, 'a.bin');
    writeFileSync(path, 'x');
    chmodSync(path, 0o600);
    symlinkSync(path, join(folder, 'link'));
    await writeFileAtomically(join(folder, 'link'), Uint8Array.of(7));
    expect([...readFileSync(path)]).toEqual([7]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(
      readdirSync(folder, { withFileTypes: true })
        .find((e) => e.name === 'link')
        ?.isSymbolicLink(),
    ).toBe(true);
  });

  test('a missing folder, a file as folder and a folder as file are named', async () => {
    const write = (path: string) => writeFileAtomically(path, Uint8Array.of(1));
    await expect(write(join(folder, 'no', 'a'))).rejects.toThrow(`there is no folder ${join(folder, 'no')}`);
    await expect(write(join(folder, 'no', 'a'))).rejects.toBeInstanceOf(ConfigError);
    writeFileSync(join(folder, 'f'), '');
    await expect(write(join(folder, 'f', 'a'))).rejects.toThrow('is a file, not a folder');
    mkdirSync(join(folder, 'd'));
    await expect(write(join(folder, 'd'))).rejects.toThrow('this is a folder');
    expect(readdirSync(folder).sort()).toEqual(['d', 'f']);
  });

  test.skipIf(process.platform === 'win32')('an unwritable folder is named, the old file stays', async () => {
    const path = join(folder, 'a.bin');
    writeFileSync(path, 'old');
    chmodSync(folder, 0o555);
    const isRoot = process.geteuid?.() === 0;
    // Root may write everywhere: be someone else meanwhile.
    if (isRoot) process.seteuid?.(65534);
    try {
      await expect(writeFileAtomically(path, Uint8Array.of(1))).rejects.toThrow(`the folder ${folder} may not be written to`);
    } finally {
      if (isRoot) process.seteuid?.(0);
    }
    expect(readFileSync(path, 'utf8')).toBe('old');
  });

  test.skipIf(process.platform === 'win32')('no room: a clear error, the old file stays, the temporary is gone', async () => {
    compileModule();
    const data = join(folder, 'data');
    mkdirSync(data);
    const path = join(data, 'a.bin');
    writeFileSync(path, 'old');
    writeFileSync(
      join(folder, 'js', 'full.js'),
      `import { writeFileAtomically } from './io/atomic-write-node.js';
       await writeFileAtomically(process.argv[2], new Uint8Array(1 << 20)).catch((e) => console.log(e.name + ': ' + e.message));`,
    );
    // A limit on file sizes (in KiB or half KiB) ends a write half-way, as a full disk does.
    const script = `ulimit -f 64; exec "$0" "$1" "$2"`;
    const { stdout } = await promisify(execFile)('sh', ['-c', script, process.execPath, join(folder, 'js', 'full.js'), path]);
    expect(stdout).toContain(`TenonError: write ${path}: there is no room left (EFBIG)`);
    expect(readdirSync(data)).toEqual(['a.bin']);
    expect(readFileSync(path, 'utf8')).toBe('old');
  });

  test('kill -9 at any moment leaves a whole file; the next write sweeps up', async () => {
    compileModule();
    const data = join(folder, 'data');
    mkdirSync(data);
    const path = join(data, 'a.bin');
    const size = 1 << 20;
    writeFileSync(
      join(folder, 'js', 'loop.js'),
      `import { writeFileAtomically } from './io/atomic-write-node.js';
       for (let i = 0; ; i++) { await writeFileAtomically(process.argv[2], new Uint8Array(${size}).fill(i)); if (i === 0) console.log('ready'); }`,
    );
    for (let round = 0; round < 6; round++) {
      const child = spawn(process.execPath, [join(folder, 'js', 'loop.js'), path], { stdio: ['ignore', 'pipe', 'inherit'] });
      const ended = new Promise((resolve) => child.once('exit', resolve));
      await new Promise((resolve) => child.stdout.once('data', resolve));
      await sleep(round * 7);
      child.kill('SIGKILL');
      await ended;
      const bytes = readFileSync(path);
      expect(bytes.length).toBe(size);
      expect(bytes.every((b) => b === bytes[0])).toBe(true);
    }
    await writeFileAtomically(path, Uint8Array.of(1));
    expect(readdirSync(data)).toEqual(['a.bin']);
  });

  test('reading: what is wrong with the path is said', async () => {
    await expect(readFileBytes(join(folder, 'no'))).rejects.toThrow('there is no such file');
    await expect(readFileBytes(folder)).rejects.toThrow('this is a folder');
    await expect(readFileBytes(folder)).rejects.toBeInstanceOf(TenonError);
    writeFileSync(join(folder, 'empty'), '');
    expect(await readFileBytes(join(folder, 'empty'))).toHaveLength(0);
  });
});
