/** @file The folder of compiled objects stays small: left-over temporaries go, then the least recently used objects. */
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { nodeModules } from '../../src/base/node-modules.js';
import { ObjectCache } from '../../src/device/native/cache.js';
import { cacheLimit, noteUse, tidyFolder } from '../../src/device/native/tidy.js';

const modules = nodeModules();
if (!modules) throw new Error('these tests run in Node');
const root = fs.mkdtempSync(join(tmpdir(), 'tenon-tidy-'));
let folder: string;
let round = 0;
beforeEach(() => {
  folder = join(root, String(round++));
  fs.mkdirSync(folder);
});
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

/** A file of `bytes` that was last used some hours ago. */
function file(name: string, hours: number, bytes = 1000): string {
  const path = join(folder, name);
  fs.writeFileSync(path, new Uint8Array(bytes));
  const then = new Date(Date.now() - hours * 3_600_000);
  fs.utimesSync(path, then, then);
  return path;
}
const link = (name: string, to: string): void => fs.symlinkSync(to, join(folder, name));
const left = (): string[] => fs.readdirSync(folder).sort();

describe('tidyFolder', () => {
  it('removes temporaries of compilers that were killed, not those at work', async () => {
    file('t_1_a_0.so', 2);
    file('t_2_b_0.so', 0.5);
    file('o_1.so', 1000);
    file('somebody-else', 1000);
    await tidyFolder(modules, folder, 1e6);
    expect(left()).toEqual(['o_1.so', 'somebody-else', 't_2_b_0.so', 'tidied']);
  });

  it('removes the least recently used objects and their links until the rest fits', async () => {
    for (const [name, hours] of [
      ['o_new.so', 2],
      ['o_oldest.so', 30],
      ['o_old.so', 20],
      ['o_middle.so', 10],
    ] as const)
      file(name, hours);
    link('k_1', 'o_oldest.so');
    link('k_2', 'o_oldest.so');
    link('k_3', 'o_old.so');
    link('k_4', 'o_middle.so');
    link('k_5', 'o_new.so');
    await tidyFolder(modules, folder, 2000);
    expect(left()).toEqual(['k_4', 'k_5', 'o_middle.so', 'o_new.so', 'tidied']);
  });

  it('keeps what was used within the hour, whatever the limit', async () => {
    file('o_used.so', 0.5);
    file('o_old.so', 2);
    await tidyFolder(modules, folder, 0);
    expect(left()).toEqual(['o_used.so', 'tidied']);
  });

  it('works once a day', async () => {
    await tidyFolder(modules, folder, 0);
    file('o_old.so', 2);
    await tidyFolder(modules, folder, 0);
    expect(left()).toEqual(['o_old.so', 'tidied']);
    file('tidied', 25);
    await tidyFolder(modules, folder, 0);
    expect(left()).toEqual(['tidied']);
  });
});

describe('a use', () => {
  it('is noted once a day', async () => {
    const [old, recent] = [file('o_a.so', 100), file('o_b.so', 3)];
    const before = fs.statSync(recent).mtimeMs;
    noteUse(modules, recent);
    noteUse(modules, old);
    await vi.waitFor(() => expect(Date.now() - fs.statSync(old).mtimeMs).toBeLessThan(60_000));
    expect(fs.statSync(recent).mtimeMs).toBe(before);
  });
});

describe('the cache', () => {
  const open = (environment: Record<string, string>): ObjectCache => {
    for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
    try {
      return new ObjectCache(modules);
    } finally {
      vi.unstubAllEnvs();
    }
  };

  it('notes the use of an object and tidies a moment after its first kernels', async () => {
    const cache = open({ TENON_CACHE_DIR: folder, TENON_CACHE_LIMIT: '0' });
    const temporary = cache.temporary('.so');
    fs.writeFileSync(temporary, 'used');
    const used = cache.add(temporary, ['1']);
    const other = cache.temporary('.so');
    fs.writeFileSync(other, 'not used');
    const unused = cache.add(other, ['2']);
    for (const path of [used, unused]) fs.utimesSync(path, 0, 0);
    expect(cache.find('1', new Set())).toBe(used);
    await vi.waitFor(() => expect(fs.statSync(used).mtimeMs).toBeGreaterThan(0));
    cache.tidyLater();
    expect(fs.existsSync(unused)).toBe(true);
    await vi.waitFor(() => expect(fs.existsSync(unused)).toBe(false), { timeout: 5000 });
    expect(cache.find('1', new Set())).toBe(used);
    expect(cache.find('2', new Set())).toBe(null);
  });

  it('takes its limit from TENON_CACHE_LIMIT', () => {
    expect(cacheLimit()).toBe(512e6);
    expect(() => open({ TENON_CACHE_DIR: folder, TENON_CACHE_LIMIT: 'lots' })).toThrow(
      'TENON_CACHE_LIMIT: not a size. Expected a number of megabytes ≥ 0, received "lots".',
    );
  });
});
