import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ConfigError, FormatError } from '../../../src/base/errors.js';
import { type CifarSpec, cifar10Spec, cifar100Spec } from '../../../src/data/datasets/cifar.js';
import { parseIdx } from '../../../src/data/datasets/idx.js';
import { datasets, type ImageClassification } from '../../../src/data/datasets/index.js';
import { loadCifar, loadMnist, type Source, sources } from '../../../src/data/datasets/official-node.js';
import { cifarFile, mnistFiles, pixel } from './official-layout.js';
import { idx, tar } from './support.js';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tenon-data-'));
});
afterAll(() => rm(root, { recursive: true }));

let folders = 0;
/** A new folder with `files` in it. */
async function folder(files: Record<string, Uint8Array>): Promise<string> {
  const dir = join(root, String(folders++));
  for (const [name, bytes] of Object.entries(files)) {
    await mkdir(join(dir, name, '..'), { recursive: true });
    await writeFile(join(dir, name), bytes);
  }
  await mkdir(dir, { recursive: true });
  return dir;
}
/** Equal forms and bytes; element by element takes vitest seconds. */
const digest = ({ train, test: held, classNames }: ImageClassification) => ({
  classNames,
  columns: [train.x, train.y, held.x, held.y].map(({ data, shape, dtype }) => ({
    bytes: createHash('sha256').update(data).digest('hex'),
    shape,
    dtype,
  })),
});
/** No data set of the machine that runs the tests, and no download. */
const only = (dataDir: string) => ({ dataDir, cacheDir: join(root, 'no-cache'), download: false });
const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => {
      throw new Error('expected a failure');
    },
    (e: unknown) => e,
  );

const small10: CifarSpec = { ...cifar10Spec, trainRecords: 2, testRecords: 3 };
const small100: CifarSpec = { ...cifar100Spec, trainRecords: 4, testRecords: 2 };
const filesOf = (spec: CifarSpec): Record<string, Uint8Array> =>
  Object.fromEntries([
    ...spec.train.map((name, i) => [`${spec.folder}/${name}`, cifarFile(spec, spec.trainRecords, i + 1)]),
    [`${spec.folder}/${spec.test}`, cifarFile(spec, spec.testRecords, 9)],
  ]);
const archive = (spec: CifarSpec, files = filesOf(spec)): Uint8Array =>
  gzipSync(
    tar([
      { name: `${spec.folder}/`, bytes: new Uint8Array(0), type: '5' },
      { name: `${spec.folder}/readme.html`, bytes: Buffer.from('<html>') },
      ...Object.entries(files).map(([name, bytes]) => ({ name, bytes })),
    ]),
  );

describe('CIFAR', () => {
  test('planes become pixels, files follow one another', async () => {
    const { train, test: held, classNames } = await loadCifar(small10, sources.cifar10, only(await folder(filesOf(small10))), 0);
    expect(train.x.shape).toEqual([10, 32, 32, 3]);
    expect(held.x.shape).toEqual([3, 32, 32, 3]);
    expect([...train.y.data]).toEqual([1, 2, 2, 3, 3, 4, 4, 5, 5, 6]);
    expect([...held.y.data]).toEqual([9, 0, 1]);
    expect(classNames[3]).toBe('cat');
    for (const [record, position, channel] of [
      [0, 0, 0],
      [7, 33, 1],
      [9, 1023, 2],
    ])
      expect(train.x.data[(record * 1024 + position) * 3 + channel]).toBe(pixel(1 + (record >> 1), record & 1, channel, position));
  });

  test('the archive, the folder itself and a folder named after the data set give the same', async () => {
    const files = filesOf(small10);
    const layouts = [
      await folder(files),
      await folder({ [small10.archive]: archive(small10) }),
      await folder(Object.fromEntries(Object.entries(files).map(([name, bytes]) => [name.slice(small10.folder.length + 1), bytes]))),
      await folder(Object.fromEntries(Object.entries(files).map(([name, bytes]) => [`cifar10/${name}`, bytes]))),
    ];
    const all = await Promise.all(layouts.map((dir) => loadCifar(small10, sources.cifar10, only(dir), 0)));
    for (const other of all.slice(1)) expect(digest(other)).toEqual(digest(all[0]));
  });

  test('CIFAR-100 has fine and coarse labels', async () => {
    const dir = await folder(filesOf(small100));
    const coarse = await loadCifar(small100, sources.cifar100, only(dir), 0);
    const fine = await loadCifar(small100, sources.cifar100, only(dir), 1);
    expect(coarse.classNames).toHaveLength(20);
    expect(fine.classNames).toHaveLength(100);
    expect(new Set(fine.classNames).size).toBe(100);
    expect([...fine.classNames].sort()).toEqual(fine.classNames);
    expect(digest(fine).columns[0]).toEqual(digest(coarse).columns[0]);
    await expect(datasets.cifar100({ ...only(dir), labelMode: 'middle' as 'fine' })).rejects.toThrow(/labelMode.*received middle/);
  });

  test('damaged files are named with what was expected and received', async () => {
    const load = async (change: (files: Record<string, Uint8Array>) => void): Promise<unknown> => {
      const files = filesOf(small10);
      change(files);
      return failure(loadCifar(small10, sources.cifar10, only(await folder(files)), 0));
    };
    const third = `${small10.folder}/data_batch_3.bin`;
    const short = await load((files) => {
      files[third] = files[third].subarray(0, 5000);
    });
    expect(short).toBeInstanceOf(FormatError);
    expect(String(short)).toMatch(/data_batch_3\.bin has a wrong size\. Expected 6146 bytes, received 5000/);
    const missing = await load((files) => {
      delete files[third];
    });
    expect(missing).toBeInstanceOf(FormatError);
    expect(String(missing)).toMatch(/data_batch_3\.bin is missing/);
    const label = await load((files) => {
      files[third][3073] = 10;
    });
    expect(String(label)).toMatch(/data_batch_3\.bin, record 1: label out of range\. Expected 0 to 9, received 10/);
  });

  test('damaged archives too: cut off, a changed bit, a member missing or of another size', async () => {
    const load = async (bytes: Uint8Array): Promise<string> => {
      const e = await failure(loadCifar(small10, sources.cifar10, only(await folder({ [small10.archive]: bytes })), 0));
      expect(e).toBeInstanceOf(FormatError);
      return String(e);
    };
    const whole = archive(small10);
    expect(await load(whole.subarray(0, whole.length >> 1))).toMatch(/cifar-10-binary\.tar\.gz: damaged gzip data \(unexpected end/);
    const flipped = Uint8Array.from(whole);
    flipped[flipped.length - 6] ^= 1;
    expect(await load(flipped)).toMatch(/damaged gzip data \(incorrect data check/);
    const files = filesOf(small10);
    delete files[`${small10.folder}/test_batch.bin`];
    expect(await load(archive(small10, files))).toMatch(/members are missing\. Expected cifar-10-batches-bin\/test_batch\.bin/);
    files[`${small10.folder}/test_batch.bin`] = new Uint8Array(100);
    expect(await load(archive(small10, files))).toMatch(/test_batch\.bin has a wrong size\. Expected 9219 bytes, received 100/);
    expect(await load(gzipSync(tar([]).subarray(0, 0)))).toMatch(/members are missing/);
    expect(await load(gzipSync(Buffer.alloc(512, 65)))).toMatch(/corrupt tar header/);
  });

  test('the public function wants the official sizes', async () => {
    const dir = await folder(filesOf(small10));
    await expect(datasets.cifar10(only(dir))).rejects.toThrow(
      /data_batch_1\.bin has a wrong size\. Expected 30730000 bytes, received 6146/,
    );
    // Sparse files: black pictures of class 0 in the official sizes.
    for (const name of [...cifar10Spec.train, cifar10Spec.test]) await truncate(join(dir, cifar10Spec.folder, name), 30_730_000);
    const { train, test: held } = await datasets.cifar10(only(dir));
    expect(train.x.shape).toEqual([50_000, 32, 32, 3]);
    expect(held.y.shape).toEqual([10_000]);
    expect(train.y.data[10_000]).toBe(2);
  });
});

describe('MNIST and Fashion-MNIST', () => {
  test('read .gz, plain and dotted names alike', async () => {
    const files = mnistFiles(7, 3);
    const plain = Object.fromEntries(Object.entries(files).map(([name, bytes]) => [name.slice(0, -3), gunzipSync(bytes)]));
    const dotted = Object.fromEntries(Object.entries(plain).map(([name, bytes]) => [name.replace('-idx', '.idx'), bytes]));
    const [a, b, c] = await Promise.all([files, plain, dotted].map(async (f) => datasets.mnist(only(await folder(f)))));
    expect(a.train.x).toMatchObject({ shape: [7, 28, 28, 1], dtype: 'u8' });
    expect([...a.train.y.data]).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(a.test.x.data[784]).toBe((784 * 5 + 2) & 255);
    expect(a.classNames).toEqual([...'0123456789']);
    expect(digest(b)).toEqual(digest(a));
    expect(digest(c)).toEqual(digest(a));
  });

  test('one folder may hold both, each under its name', async () => {
    const under = (name: string, files: Record<string, Uint8Array>) =>
      Object.fromEntries(Object.entries(files).map(([k, v]) => [`${name}/${k}`, v]));
    const dir = await folder({ ...under('mnist', mnistFiles(4, 2)), ...under('fashion-mnist', mnistFiles(5, 2)) });
    expect((await datasets.mnist(only(dir))).train.y.shape).toEqual([4]);
    const fashion = await datasets.fashionMnist(only(dir));
    expect(fashion.train.y.shape).toEqual([5]);
    expect(fashion.classNames[9]).toBe('Ankle boot');
  });

  test('damaged files are named', async () => {
    const load = async (name: string, change: (bytes: Uint8Array) => Uint8Array): Promise<string> => {
      const files = mnistFiles(4, 2);
      files[name] = change(files[name]);
      const e = await failure(datasets.mnist(only(await folder(files))));
      expect(e).toBeInstanceOf(FormatError);
      expect(String(e)).toContain(name);
      return String(e);
    };
    const repack = (change: (bytes: Buffer) => void) => (bytes: Uint8Array) => {
      const raw = gunzipSync(bytes);
      change(raw);
      return gzipSync(raw);
    };
    expect(await load('train-images-idx3-ubyte.gz', (b) => b.subarray(0, b.length - 9))).toMatch(/damaged gzip data/);
    expect(await load('train-images-idx3-ubyte.gz', () => Buffer.from('<html>404</html>'))).toMatch(/damaged gzip data/);
    expect(
      await load(
        'train-labels-idx1-ubyte.gz',
        repack((raw) => raw.writeUInt32BE(2051, 0)),
      ),
    ).toMatch(/Expected magic number 2049, received 2051/);
    expect(
      await load(
        't10k-labels-idx1-ubyte.gz',
        repack((raw) => raw.writeUInt8(10, 9)),
      ),
    ).toMatch(/label 1 is out of range\. Expected 0 to 9, received 10/);
    expect(await load('train-labels-idx1-ubyte.gz', () => gzipSync(idx([3], new Uint8Array(3))))).toMatch(/Expected 4 labels, received 3/);
    expect(await load('t10k-images-idx3-ubyte.gz', () => gzipSync(idx([2, 28, 27], new Uint8Array(2 * 28 * 27))))).toMatch(
      /Expected 28×28, received 28×27/,
    );
    // A header that promises more than the file holds.
    expect(
      await load(
        't10k-images-idx3-ubyte.gz',
        repack((raw) => raw.writeUInt32BE(0xffffffff, 4)),
      ),
    ).toMatch(/wrong size/);
    // A small file that unpacks to a huge one.
    expect(await load('train-labels-idx1-ubyte.gz', () => gzipSync(new Uint8Array(1 << 21)))).toMatch(/damaged gzip data|larger/);
  });

  test('half a data set is named', async () => {
    const { 't10k-labels-idx1-ubyte.gz': _, ...files } = mnistFiles(2, 2);
    await expect(datasets.mnist(only(await folder(files)))).rejects.toThrow(
      /holds a part of the data set\. Expected also t10k-labels-idx1-ubyte\.gz/,
    );
  });

  test('idx headers are checked before the bytes are', () => {
    expect(() => parseIdx('a', Uint8Array.of(0, 0, 8), 1)).toThrow(/truncated in its header\. Expected at least 8 bytes, received 3/);
    expect(parseIdx('a', idx([2, 3], Uint8Array.of(1, 2, 3, 4, 5, 6)), 2)).toEqual({
      data: Uint8Array.of(1, 2, 3, 4, 5, 6),
      shape: [2, 3],
      dtype: 'u8',
    });
  });
});

test('without files and download the error says what to put where', async () => {
  const dir = join(root, 'nowhere');
  const e = await failure(datasets.cifar10({ dataDir: dir, cacheDir: join(root, 'no-cache') }));
  expect(e).toBeInstanceOf(ConfigError);
  expect(String(e)).toContain('cifar-10-batches-bin/ or cifar-10-binary.tar.gz');
  expect(String(e)).toContain(dir);
  expect(String(e)).toContain('https://www.cs.toronto.edu/~kriz/');
});

// The real files, where the machine has them; vitest lists these as skipped elsewhere.
const real = process.env.TENON_DATA_DIR;
describe.skipIf(real === undefined)(`real data in TENON_DATA_DIR (${real ?? 'not set: skipped'})`, () => {
  const counts = (labels: ArrayLike<number>): number[] => {
    const n = new Array<number>(10).fill(0);
    for (let i = 0; i < labels.length; i++) n[labels[i]]++;
    return n;
  };
  for (const name of ['cifar10', 'mnist', 'fashionMnist'] as const)
    test(name, async ({ skip }) => {
      const found = await datasets[name]({ dataDir: real, download: false }).catch((e: unknown) => {
        if (e instanceof ConfigError) return null;
        throw e;
      });
      if (!found) return skip(`TENON_DATA_DIR holds no ${name}`);
      const n = name === 'cifar10' ? 50_000 : 60_000;
      expect(found.train.x.shape[0]).toBe(n);
      expect(found.test.x.shape[0]).toBe(10_000);
      expect(Math.min(...counts(found.train.y.data))).toBeGreaterThan(n / 10 / 1.15);
      // Pictures, not noise or zeros: neighbours are alike, and values span the range.
      const { data, shape } = found.train.x;
      let steps = 0;
      const channels = shape[3];
      for (let i = 0; i < 100_000; i++) steps += Math.abs(data[i] - data[i + channels]);
      expect(steps / 100_000).toBeLessThan(40);
      let brightest = 0;
      for (let i = 0; i < 1_000_000; i++) brightest = Math.max(brightest, data[i]);
      expect(brightest).toBeGreaterThan(240);
    });
});

test('the file on disk is left as it was', async () => {
  const files = mnistFiles(3, 2);
  const dir = await folder(files);
  await datasets.mnist(only(dir));
  for (const [name, bytes] of Object.entries(files)) expect(new Uint8Array(await readFile(join(dir, name)))).toEqual(new Uint8Array(bytes));
});

describe('a data set from its address', () => {
  let server: Server;
  let base = '';
  let requests = 0;
  let isUp = true;
  const names = [...'0123456789'];
  const files = mnistFiles(6, 2);
  const source = (): Source => ({
    ...sources.mnist,
    address: base,
    files: sources.mnist.files.map(({ name }) => ({
      name,
      sha256: createHash('sha256').update(files[name]).digest('hex'),
      bytes: files[name].length,
    })),
  });
  beforeAll(async () => {
    server = createServer((request, response) => {
      requests++;
      if (isUp) response.end(files[(request.url ?? '').slice(1)]);
      else response.writeHead(404).end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  test('is fetched once and then cached', async () => {
    const dir = await folder({});
    const first = await loadMnist(source(), { cacheDir: dir, dataDir: join(dir, 'none'), download: true }, names);
    expect(first.train.y.shape).toEqual([6]);
    expect(requests).toBe(4);
    const second = await loadMnist(source(), { cacheDir: dir, dataDir: join(dir, 'none') }, names);
    expect(requests).toBe(4);
    expect(digest(second)).toEqual(digest(first));
  });

  test('out of reach: says what to put where', async () => {
    const dir = await folder({});
    isUp = false;
    const e = await loadMnist(source(), { cacheDir: dir, dataDir: join(dir, 'none'), download: true }, names).catch((x: unknown) => x);
    expect(e).toBeInstanceOf(ConfigError);
    expect(String(e)).toMatch(/cannot be downloaded \(127\.0\.0\.1:\d+ answered 404/);
    expect(String(e)).toContain(join(dir, 'datasets', 'mnist'));
    expect(String(e)).toContain('train-images-idx3-ubyte.gz');
  });
});
