import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 as zlibCrc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConfigError, FormatError } from '../../src/base/errors.js';
import { encodeUtf8 } from '../../src/io/bytes.js';
import { crc32 } from '../../src/io/crc32.js';
import { readZip, writeZip, zipChunks } from '../../src/io/zip.js';
import { runs } from './arbitraries.js';

const part = fc.stringMatching(/^[a-zA-Zé0-9_ ]{1,8}$/);
const name = fc.array(part, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
const entries = fc.uniqueArray(fc.record({ name, bytes: fc.uint8Array({ maxLength: 200 }) }), { maxLength: 5, selector: (e) => e.name });

/** Whether a program can be run here: the foreign readers are optional witnesses. */
function has(program: string): boolean {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

describe('crc32', () => {
  test('is the published check value', () => expect(crc32(encodeUtf8('123456789'))).toBe(0xcbf43926));
  test('equals zlib’s, whole and in pieces', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(300), (bytes, cut) => {
        expect(crc32(bytes)).toBe(zlibCrc32(bytes));
        expect(crc32(bytes.subarray(cut), crc32(bytes.subarray(0, cut)))).toBe(zlibCrc32(bytes));
      }),
      runs(200),
    );
  });
});

describe('zip', () => {
  test('round trip; members begin at multiples of 64', () => {
    fc.assert(
      fc.property(entries, (list) => {
        const file = writeZip(list);
        const read = readZip(file);
        expect([...read].map(([key, bytes]) => [key, [...bytes]])).toEqual(list.map((e) => [e.name, [...e.bytes]]));
        for (const bytes of read.values()) {
          expect(bytes.buffer).toBe(file.buffer);
          expect(bytes.byteOffset % 64).toBe(0);
        }
      }),
      runs(200),
    );
  });

  test('a member in pieces is the pieces joined, passed on without a copy', () => {
    const pieces = [Uint8Array.of(1, 2), new Uint8Array(0), Uint8Array.of(3)];
    expect(zipChunks([{ name: 'a', bytes: pieces }])).toContain(pieces[0]);
    expect(readZip(writeZip([{ name: 'a', bytes: pieces }])).get('a')).toEqual(Uint8Array.of(1, 2, 3));
  });

  test('every truncation and every flipped bit: an error or the same content', () => {
    const list = [
      { name: 'a.txt', bytes: encodeUtf8('hello') },
      { name: 'dir/b', bytes: new Uint8Array(70).fill(9) },
    ];
    const file = writeZip(list);
    const want = readZip(file);
    for (let n = 0; n < file.length; n++) expect(() => readZip(file.slice(0, n))).toThrow(FormatError);
    for (let bit = 0; bit < file.length * 8; bit++) {
      const damaged = file.slice();
      damaged[bit >> 3] ^= 1 << (bit & 7);
      let read: Map<string, Uint8Array>;
      try {
        read = readZip(damaged);
      } catch (error) {
        expect(error).toBeInstanceOf(FormatError);
        continue;
      }
      expect(read).toEqual(want);
    }
  });

  test.each(['', '/a', '../a', 'a/../b', 'a//b', 'a/', 'a\\b', 'C:a', './a', 'a\u0000', '\ud800'])('the name %j is refused', (bad) => {
    expect(() => writeZip([{ name: bad, bytes: new Uint8Array(1) }])).toThrow(ConfigError);
  });

  test('names from outside are checked: a file that wants to leave its folder', () => {
    const file = writeZip([{ name: 'aa/etc', bytes: new Uint8Array(1) }]);
    for (let i = 0; i + 2 < file.length; i++) if (file[i] === 97 && file[i + 1] === 97 && file[i + 2] === 47) file.fill(46, i, i + 2);
    expect(() => readZip(file)).toThrow('the name "../etc" is refused');
  });

  test('duplicates, too many and too large are refused before anything is copied', () => {
    const bytes = new Uint8Array(1);
    expect(() =>
      writeZip([
        { name: 'a', bytes },
        { name: 'a', bytes },
      ]),
    ).toThrow('taken twice');
    expect(() => zipChunks(Array.from({ length: 65535 }, (_, i) => ({ name: `${i}`, bytes })))).toThrow('too many members');
    const large = Array.from({ length: 256 }, () => new Uint8Array(2 ** 14));
    const giant = Array.from({ length: 1024 }, (_, i) => ({ name: `${i}`, bytes: large }));
    expect(() => zipChunks(giant)).toThrow('the file would be too large');
    const twice = writeZip([
      { name: 'a', bytes },
      { name: 'b', bytes },
    ]);
    for (let i = 0; i < twice.length; i++) if (twice[i] === 98 && i > 30) twice[i] = 97;
    expect(() => readZip(twice)).toThrow('is there twice');
  });

  test.runIf(has('python3'))('Python’s zipfile reads ours and finds nothing wrong; we read Python’s', () => {
    const folder = mkdtempSync(join(tmpdir(), 'tenon-zip-'));
    try {
      writeFileSync(join(folder, 'a.zip'), writeZip([{ name: 'é/x.txt', bytes: encodeUtf8('hi') }]));
      const script = [
        'import sys, zipfile',
        'z = zipfile.ZipFile("a.zip")',
        'assert z.testzip() is None',
        'assert z.read("\\u00e9/x.txt") == b"hi"',
        'with zipfile.ZipFile("b.zip", "w") as o: o.writestr("y/z.bin", bytes(range(10)))',
        'with zipfile.ZipFile("c.zip", "w", zipfile.ZIP_DEFLATED) as o: o.writestr("y", "a" * 1000)',
      ].join('\n');
      execFileSync('python3', ['-c', script], { cwd: folder, stdio: 'pipe' });
      expect([...(readZip(readFileSync(join(folder, 'b.zip'))).get('y/z.bin') ?? [])]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
      expect(() => readZip(readFileSync(join(folder, 'c.zip')))).toThrow('"y" is compressed (method 8)');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
