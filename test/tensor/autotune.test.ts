/** @file Autotuning: the same values with measured plans, which the next process finds on disk. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { TypedArray } from '../../src/base/dtype.js';
import { NativeDevice, nativeUnusable } from '../../src/device/native/native.js';
import { compileStep, matmul, random, type Tensor, transpose, variable } from '../../src/tensor/index.js';

const unusable = nativeUnusable();
const k = 256;
const specs = [{ shape: [192, k], dtype: 'f32' }] as const;
let folder: string;
const outer = process.env.TENON_CACHE_DIR;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tenon-tune-'));
  process.env.TENON_CACHE_DIR = folder;
});
afterAll(() => {
  if (outer === undefined) delete process.env.TENON_CACHE_DIR;
  else process.env.TENON_CACHE_DIR = outer;
  rmSync(folder, { recursive: true, force: true });
});

const tables = (): string[] => readdirSync(join(folder, 'objects')).filter((name) => name.startsWith('tuned_'));

const distance = (a: TypedArray, b: TypedArray): number => Math.max(...Array.from(a, (v, i) => Math.abs(Number(v) - Number(b[i]))));

it.skipIf(unusable !== null)(
  `measures the plans of products once and keeps them${unusable ? `: skipped, ${unusable}` : ''}`,
  async () => {
    const w = variable(random.uniform([k, k], -1, 1, { seed: 1 }));
    const product = ([x]: Tensor[]) => ({ outputs: [matmul(x, w), matmul(x, transpose(w))] });
    const x = Float32Array.from({ length: 192 * k }, (_, i) => Math.sin(i));

    const plain = await (await compileStep(product, specs, { device: new NativeDevice() })).run([x]);
    const tuned = await compileStep(product, specs, { device: new NativeDevice(), autotune: true, name: 'products' });
    for (const [i, got] of (await tuned.run([x])).entries()) expect(distance(got, plain[i])).toBeLessThan(1e-4 * Math.sqrt(k));

    expect(tables()).toHaveLength(1);
    const file = join(folder, 'objects', tables()[0]);
    const found = JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>;
    expect(Object.keys(found)).toHaveLength(2);

    // Another device of the same kind measures nothing: it finds all plans in the table, and leaves those of others there.
    const kept = JSON.stringify({ ...found, 'a contraction of another program': 'its plan' });
    writeFileSync(file, kept);
    const again = await compileStep(product, specs, { device: new NativeDevice(), autotune: true });
    expect(readFileSync(file, 'utf8')).toBe(kept);
    for (const [i, got] of (await again.run([x])).entries()) expect(distance(got, plain[i])).toBeLessThan(1e-4 * Math.sqrt(k));

    // What is no table, and a plan that this version doesn't know, count for nothing: all is measured again.
    for (const text of [
      '[1, 2',
      '"abc"',
      JSON.stringify(Object.fromEntries(Object.keys(found).map((name) => [name, 'no plan of ours']))),
    ]) {
      writeFileSync(file, text);
      const after = await compileStep(product, specs, { device: new NativeDevice(), autotune: true });
      for (const [i, got] of (await after.run([x])).entries()) expect(distance(got, plain[i])).toBeLessThan(1e-4 * Math.sqrt(k));
      const table = JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>;
      expect(Object.keys(table).sort()).toEqual(Object.keys(found).sort());
      expect(Object.values(table)).not.toContain('no plan of ours');
    }

    // Steps that tune at once lose nothing of each other, and a table that can't be written loses the measurements only.
    rmSync(file);
    const sizes = [32, 48, 80];
    const square = ([x]: Tensor[]) => ({ outputs: [matmul(x, x)] });
    const squares = () =>
      Promise.all(
        sizes.map((n) =>
          compileStep(square, [{ shape: [n, n], dtype: 'f32' }], { device: new NativeDevice(), autotune: true, name: `${n}` }),
        ),
      );
    await squares();
    expect(Object.keys(JSON.parse(readFileSync(file, 'utf8')))).toHaveLength(sizes.length);
    rmSync(file);
    mkdirSync(file);
    expect(await squares()).toHaveLength(sizes.length);
    expect(readdirSync(join(folder, 'objects')).filter((name) => name.endsWith('.json') && name.startsWith('t_'))).toEqual([]);
  },
  60_000,
);
