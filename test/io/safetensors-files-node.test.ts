import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { build } from 'esbuild';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ConfigError, FormatError } from '../../src/base/errors.js';
import { convertFloats } from '../../src/io/convert-floats.js';
import { readSafetensors, type TensorMap, writeSafetensors } from '../../src/io/safetensors.js';
import { openSafetensors, writeSafetensorsFiles } from '../../src/io/safetensors-files-node.js';
import type { TensorEntry, TensorFiles } from '../../src/io/tensor-files.js';
import { plain, runs, tensorMap } from './arbitraries.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tenon-safetensors-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const entriesOf = (tensors: TensorMap): TensorEntry[] =>
  [...tensors].map(([name, { dtype, shape, data }]) => ({ name, dtype, shape, data: async () => data }));
async function readAll(files: TensorFiles): Promise<TensorMap> {
  const tensors: TensorMap = new Map();
  for (const name of files.names()) {
    const tensor = await files.read(name);
    expect(files.info(name)).toMatchObject({ dtype: tensor.dtype, shape: tensor.shape });
    tensors.set(name, tensor);
  }
  return tensors;
}
const rows = (n: number, names = 'abcde'): TensorMap =>
  new Map([...names].map((name, i) => [name, { dtype: 'f32', shape: [n], data: new Float32Array(n).fill(i + 1) }]));
const index = (file = 'model.safetensors.index.json'): { metadata: unknown; weight_map: Record<string, string> } =>
  JSON.parse(readFileSync(join(folder, file), 'utf8'));
const writeIndex = (map: unknown): void =>
  writeFileSync(join(folder, 'model.safetensors.index.json'), typeof map === 'string' ? map : JSON.stringify({ weight_map: map }));

describe('writeSafetensorsFiles and openSafetensors', () => {
  test('round trip in one file and in shards, bit for bit', async () => {
    await fc.assert(
      fc.asyncProperty(tensorMap, fc.integer({ min: 1, max: 200 }), async (tensors, maxShardBytes) => {
        const files = await writeSafetensorsFiles(folder, entriesOf(tensors), { maxShardBytes });
        expect(readdirSync(folder).sort()).toEqual([...files].sort());
        const opened = await openSafetensors(folder);
        expect(plain(await readAll(opened))).toEqual(plain(tensors));
        expect(opened.metadata).toEqual({ format: 'pt' });
        await opened.close();
      }),
      runs(60),
    );
  });

  test('the layout is Hugging Face’s', async () => {
    const files = await writeSafetensorsFiles(folder, entriesOf(rows(10)), { maxShardBytes: 80, metadata: { by: 'us' } });
    expect(files).toEqual([
      'model-00001-of-00003.safetensors',
      'model-00002-of-00003.safetensors',
      'model-00003-of-00003.safetensors',
      'model.safetensors.index.json',
    ]);
    expect(index()).toEqual({
      metadata: { total_size: 200 },
      weight_map: { a: files[0], b: files[0], c: files[1], d: files[1], e: files[2] },
    });
    const second = readSafetensors(readFileSync(join(folder, files[1])));
    expect([...second.tensors.keys()]).toEqual(['c', 'd']);
    expect(second.metadata).toEqual({ by: 'us' });
  });

  test('one file is what writeSafetensors makes', async () => {
    await writeSafetensorsFiles(folder, entriesOf(rows(7)), { metadata: {} });
    expect(new Uint8Array(readFileSync(join(folder, 'model.safetensors')))).toEqual(writeSafetensors(rows(7)));
  });

  test('a tensor larger than a shard has one to itself', async () => {
    const tensors: TensorMap = new Map([...rows(2, 'ab'), ...rows(100, 'x'), ...rows(2, 'c')]);
    await writeSafetensorsFiles(folder, entriesOf(tensors), { maxShardBytes: 16 });
    expect(Object.values(index().weight_map).map((f) => f.slice(6, 11))).toEqual(['00001', '00001', '00003', '00002']);
  });

  test('floats are converted on the way, other dtypes stay', async () => {
    const values = Float32Array.from({ length: 2 ** 20 + 3 }, (_, i) => Math.sin(i));
    const tensors: TensorMap = new Map([
      ['ids', { dtype: 'i32', shape: [2], data: Int32Array.of(1, -1) }],
      ['w', { dtype: 'f32', shape: [values.length], data: values }],
      ['h', { dtype: 'f16', shape: [1], data: Uint16Array.of(0x3c00) }],
    ]);
    await writeSafetensorsFiles(folder, entriesOf(tensors), { dtype: 'bf16' });
    const opened = await openSafetensors(folder);
    expect(opened.info('w')).toEqual({ dtype: 'bf16', shape: [values.length], bytes: 2 * values.length });
    const { data } = await opened.read('w');
    const expected = convertFloats(values, 'f32', 'bf16');
    expect(Buffer.from(data.buffer).equals(Buffer.from(expected.buffer))).toBe(true);
    expect(await opened.read('ids')).toEqual(tensors.get('ids'));
    expect(await opened.read('h')).toEqual({ dtype: 'bf16', shape: [1], data: Uint16Array.of(0x3f80) });
    await opened.close();
  });

  test('tensors are asked for one after another, each when its file is at it', async () => {
    let pending = 0;
    const slow = entriesOf(rows(4)).map((e) => ({
      ...e,
      data: async () => {
        expect(++pending).toBe(1);
        await new Promise((done) => setTimeout(done, 2));
        pending--;
        return e.data();
      },
    }));
    await writeSafetensorsFiles(folder, slow, { maxShardBytes: 20 });
    expect(readdirSync(folder)).toHaveLength(6);
  });

  test('a save replaces one under the other names, and nothing else', async () => {
    mkdirSync(join(folder, 'model-00009-of-00009.safetensors'));
    writeFileSync(join(folder, 'model-old.safetensors'), '');
    const others = readdirSync(folder);
    const save = async (maxShardBytes: number): Promise<string[]> => {
      await writeSafetensorsFiles(folder, entriesOf(rows(10)), { maxShardBytes });
      return readdirSync(folder).filter((name) => !others.includes(name));
    };
    expect(await save(40)).toHaveLength(6);
    expect(await save(1000)).toEqual(['model.safetensors']);
    expect(await save(80)).toHaveLength(4);
    expect(readdirSync(folder)).toEqual(expect.arrayContaining(others));
  });

  test('a failing tensor leaves the old save as it was', async () => {
    for (const maxShardBytes of [1000, 40]) {
      await writeSafetensorsFiles(folder, entriesOf(rows(10)), { maxShardBytes });
      const before = readdirSync(folder).map((name) => readFileSync(join(folder, name), 'latin1'));
      const broken = entriesOf(rows(11));
      broken[3] = { ...broken[3], data: () => Promise.reject(new RangeError('no such weights')) };
      await expect(writeSafetensorsFiles(folder, broken, { maxShardBytes: 50 })).rejects.toThrow(RangeError);
      broken[3] = { ...broken[3], data: () => new Float32Array(5) };
      await expect(writeSafetensorsFiles(folder, broken)).rejects.toThrow('tensor "d": its data and shape disagree');
      expect(readdirSync(folder).map((name) => readFileSync(join(folder, name), 'latin1'))).toEqual(before);
    }
  });

  test('kill -9 at any moment leaves a whole model or none, never a mixture', async () => {
    const program = join(folder, 'loop.mjs');
    await build({
      stdin: {
        contents: `import { writeSafetensorsFiles } from './safetensors-files-node.ts';
          for (let i = 1; ; i++) {
            const data = () => new Float32Array(20_000).fill(i);
            const entries = [...'abcdef'].map((name) => ({ name, dtype: 'f32', shape: [20_000], data }));
            await writeSafetensorsFiles(process.argv[2], entries, { maxShardBytes: [1e9, 2e5, 1e5, 1e5][i % 4] });
            if (i === 4) console.log('ready');
          }`,
        resolveDir: new URL('../../src/io/', import.meta.url).pathname,
      },
      outfile: program,
      bundle: true,
      platform: 'node',
      format: 'esm',
    });
    const model = join(folder, 'model');
    for (let round = 0; round < 8; round++) {
      const child = spawn(process.execPath, [program, model], { stdio: ['ignore', 'pipe', 'inherit'] });
      const ended = new Promise((resolve) => child.once('exit', resolve));
      await new Promise((resolve) => child.stdout.once('data', resolve));
      await sleep(round * 7);
      child.kill('SIGKILL');
      await ended;
      let opened: TensorFiles;
      try {
        opened = await openSafetensors(model);
      } catch (error) {
        expect(String(error)).toContain('holds no weights');
        continue;
      }
      const values = new Set<number>();
      for (const { data } of (await readAll(opened)).values()) for (const x of data) values.add(x);
      expect(values.size).toBe(1);
      expect(opened.names()).toHaveLength(6);
      await opened.close();
    }
    await writeSafetensorsFiles(model, entriesOf(rows(1)));
    expect(readdirSync(model)).toEqual(['model.safetensors']);
  });

  test('the folder is made; what is no folder, and wrong options, are refused', async () => {
    const deep = join(folder, 'a', 'b');
    await writeSafetensorsFiles(deep, entriesOf(rows(1)));
    expect(readdirSync(deep)).toEqual(['model.safetensors']);
    writeFileSync(join(folder, 'file'), '');
    await expect(writeSafetensorsFiles(join(folder, 'file'), [])).rejects.toThrow("can't be made");
    const [a] = entriesOf(rows(1));
    await expect(writeSafetensorsFiles(folder, [a, a])).rejects.toThrow('two tensors are named "a"');
    await expect(writeSafetensorsFiles(folder, [{ ...a, name: '__metadata__' }])).rejects.toThrow(ConfigError);
    await expect(writeSafetensorsFiles(folder, [a], { maxShardBytes: 0 })).rejects.toThrow('Expected at least 1, received 0');
    await expect(writeSafetensorsFiles(folder, [a], { dtype: 'f64' as 'f32' })).rejects.toThrow('Expected f32, f16 or bf16');
    await expect(writeSafetensorsFiles(folder, [a], { shardSize: 1 } as object)).rejects.toThrow('there is no option "shardSize"');
  });
});

describe('openSafetensors', () => {
  test('reads headers alone: data that are cut off later are noticed when they are read', async () => {
    const path = join(folder, 'model.safetensors');
    await writeSafetensorsFiles(folder, entriesOf(rows(1000)));
    const opened = await openSafetensors(path);
    writeFileSync(path, readFileSync(path).subarray(0, 9000));
    expect((await opened.read('a')).data[0]).toBe(1);
    await expect(opened.read('e')).rejects.toThrow('became shorter');
    await opened.close();
    await expect(openSafetensors(path)).rejects.toThrow(FormatError);
  });

  test('many reads at once', async () => {
    await writeSafetensorsFiles(folder, entriesOf(rows(1000)), { maxShardBytes: 8000 });
    const opened = await openSafetensors(join(folder, 'model.safetensors.index.json'));
    const all = await Promise.all(opened.names().map(async (name) => (await opened.read(name)).data[999]));
    expect(all.sort()).toEqual([1, 2, 3, 4, 5]);
    await opened.close();
  });

  test('what is missing is named', async () => {
    await expect(openSafetensors(join(folder, 'none'))).rejects.toThrow('there is no such file');
    await expect(openSafetensors(folder)).rejects.toThrow('Expected model.safetensors or model.safetensors.index.json, received neither');
    writeFileSync(join(folder, 'adapter_model.safetensors'), writeSafetensors(rows(1)));
    await expect(openSafetensors(folder)).rejects.toThrow('received adapter_model.safetensors. Name the file itself');
    const opened = await openSafetensors(join(folder, 'adapter_model.safetensors'));
    await expect(opened.read('z')).rejects.toThrow('there is no tensor "z". Expected one of 5 names ("a", "b", "c", …)');
    await opened.close();
  });

  test.each<[string, unknown, string]>([
    ['no JSON', '{', 'the index is not JSON'],
    ['a list', '[]', 'the index has no weight_map'],
    ['a map of numbers', { a: 1 }, 'tensor "a" has no proper file'],
    ['a way up', { a: '../model.safetensors' }, 'Expected the name of a .safetensors file in the same folder'],
    ['a way down', { a: 'x/model.safetensors' }, 'no proper file'],
    ['a way on Windows', { a: 'x\\model.safetensors' }, 'no proper file'],
    ['an absolute path', { a: '/etc/x.safetensors' }, 'no proper file'],
    ['another kind of file', { a: 'model.bin' }, 'no proper file'],
    ['a file that isn’t there', { a: 'none.safetensors' }, 'there is no such file'],
    ['too many files', Object.fromEntries(Array.from({ length: 1001 }, (_, i) => [`t${i}`, `${i}.safetensors`])), 'too many files'],
  ])('refuses an index with %s', async (_, map, message) => {
    writeIndex(map);
    await expect(openSafetensors(folder)).rejects.toThrow(message);
  });

  test('refuses shards and an index that disagree', async () => {
    await writeSafetensorsFiles(folder, entriesOf(rows(10)), { maxShardBytes: 80 });
    const { weight_map: map } = index();
    writeIndex({ ...map, a: map.e });
    await expect(openSafetensors(folder)).rejects.toThrow(`tensor "a" is in ${map.a}. The index says ${map.e}`);
    writeIndex({ ...map, f: map.e });
    await expect(openSafetensors(folder)).rejects.toThrow(`tensor "f" is not in ${map.e}, as the index says`);
    const { a, ...rest } = map;
    writeIndex(rest);
    await expect(openSafetensors(folder)).rejects.toThrow(`tensor "a" is in ${a}. The index does not name it`);
    await expect(openSafetensors(folder)).rejects.toThrow(FormatError);
  });

  test('shards may be links, as in the hub’s cache', async () => {
    await writeSafetensorsFiles(join(folder, 'blobs'), entriesOf(rows(10)), { maxShardBytes: 80 });
    mkdirSync(join(folder, 'snapshot'));
    for (const name of readdirSync(join(folder, 'blobs'))) symlinkSync(join('..', 'blobs', name), join(folder, 'snapshot', name));
    const opened = await openSafetensors(join(folder, 'snapshot'));
    expect(plain(await readAll(opened))).toEqual(plain(rows(10)));
    await opened.close();
  });
});
