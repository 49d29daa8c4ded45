/** @file attention() against PyTorch (test/golden/attention.json), and what the operation promises on its own. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { DType } from '../../src/base/dtype.js';
import { ConfigError, DTypeError, ShapeError } from '../../src/base/errors.js';
import { ops } from '../../src/graph/builder.js';
import { estimateCost } from '../../src/tensor/capture.js';
import { attention, concat, dotProductAttention, grad, ones, type Tensor, tensor, vjp, zeros } from '../../src/tensor/index.js';
import { uniform } from '../graph/support.js';

interface Case {
  readonly name: string;
  readonly shape: Record<'batch' | 'queries' | 'heads' | 'keys' | 'groups' | 'dim' | 'valueDim', number>;
  readonly dtype: DType;
  readonly scale: number | null;
  readonly intervals: [first: number, end: number][][];
  readonly output: number[];
  readonly gradients: number[][];
}
const cases: Case[] = JSON.parse(readFileSync(new URL('../golden/attention.json', import.meta.url), 'utf8'));

const made = (shape: number[], seed: number, dtype: DType = 'f32'): Tensor =>
  tensor(
    Float32Array.from(
      uniform(
        shape.reduce((a, b) => a * b, 1),
        seed,
      ),
    ),
    { shape },
  ).cast(dtype);
const ints = (rows: number[][]): Tensor => tensor(Int32Array.from(rows.flat()), { shape: [rows.length, rows[0].length] });
const causal = (batch: number, queries: number): { first: Tensor; end: Tensor } => {
  const each = (of: (t: number) => number) => ints(Array.from({ length: batch }, () => Array.from({ length: queries }, (_, t) => of(t))));
  return { first: each(() => 0), end: each((t) => t + 1) };
};

async function expectClose(actual: Tensor, wanted: readonly number[], tolerance: number, what: string): Promise<void> {
  const data = await actual.cast('f32').data();
  expect(data.length, what).toBe(wanted.length);
  const scale = Math.max(1, ...wanted.map(Math.abs));
  const worst = wanted.reduce((most, w, i) => Math.max(most, Number.isFinite(data[i]) ? Math.abs(data[i] - w) / scale : Infinity), 0);
  expect(worst, `${what}: largest difference`).toBeLessThan(tolerance);
}

describe('attention against PyTorch', () => {
  for (const c of cases)
    it(c.name, async () => {
      const { batch, queries, heads, keys, groups, dim, valueDim } = c.shape;
      const q = made([batch, queries, heads, dim], 1, c.dtype);
      const k = made([batch, keys, groups, dim], 2, c.dtype);
      const v = made([batch, keys, groups, valueDim], 3, c.dtype);
      const probe = made([batch, queries, heads, valueDim], 4, c.dtype);
      const [first, end] = [0, 1].map((side) => ints(c.intervals.map((row) => row.map((x) => x[side]))));
      const options = { first, end, ...(c.scale === null ? {} : { scale: c.scale }) };
      const [y, pullback] = vjp((...x: Tensor[]) => attention(x[0], x[1], x[2], options), q, k, v);
      expect([y.dtype, y.shape]).toEqual([c.dtype, [batch, queries, heads, valueDim]]);
      const tolerance = c.dtype === 'f32' ? 5e-6 : 8e-3;
      await expectClose(y, c.output, tolerance, 'output');
      for (const [i, g] of pullback(probe).entries()) {
        expect(g.dtype).toBe(c.dtype);
        await expectClose(g, c.gradients[i], tolerance, `gradient of input ${i}`);
      }
    });
});

describe('attention', () => {
  it('equals dotProductAttention', async () => {
    const [q, k, v] = [1, 2, 3].map((seed) => made([2, 40, 3, 16], seed));
    const wanted = await dotProductAttention(q, k, v, { isCausal: true }).data();
    await expectClose(attention(q, k, v, causal(2, 40)), [...wanted], 1e-5, 'causal');
  });
  it('sees documents that are packed into one row as it sees each alone', async () => {
    const lengths = [64, 16, 48];
    const parts = lengths.map((n, i) => [0, 1, 2].map((j) => made([1, n, 2, 16], 3 * i + j + 1)));
    const alone = parts.map(([q, k, v], i) => attention(q, k, v, causal(1, lengths[i])));
    const starts = lengths.flatMap((n, i) => Array.from({ length: n }, () => lengths.slice(0, i).reduce((a, b) => a + b, 0)));
    const [q, k, v] = [0, 1, 2].map((j) =>
      concat(
        parts.map((p) => p[j]),
        1,
      ),
    );
    const packed = attention(q, k, v, { first: ints([starts]), end: causal(1, 128).end });
    await expectClose(packed, [...(await concat(alone, 1).data())], 1e-6, 'output');
  });
  it('reads no key that no query sees', async () => {
    const k = concat([made([1, 20, 1, 16], 1), ones([1, 20, 1, 16]).mul(Number.NaN)], 1);
    for (const queries of [1, 20]) {
      const q = made([1, queries, 1, 16], 2);
      const { first } = causal(1, queries);
      const y = attention(q, k, k, { first, end: first.add(20) });
      expect((await y.data()).every(Number.isFinite), `${queries} queries`).toBe(true);
    }
  });
  it('counts as the work that it is, so that it runs on the compiled device', () => {
    const q = zeros([1, 512, 4, 32]).node;
    const at = zeros([1, 512], 'i32').node;
    expect(estimateCost([ops.attention(q, q, q, at, at, 1)])).toBeGreaterThan(4 * 512 * 512 * 4 * 32);
  });
  it('lets a NaN be seen', async () => {
    const q = made([1, 3, 1, 16], 1);
    const y = await attention(q, q.mul(Number.NaN), q, causal(1, 3)).data();
    expect(y.every(Number.isNaN)).toBe(true);
  });
  it('keeps large scores apart', async () => {
    const q = made([1, 33, 2, 32], 1).mul(60);
    const k = made([1, 33, 2, 32], 2);
    const wanted = await dotProductAttention(q, k, k, { isCausal: true }).data();
    await expectClose(attention(q, k, k, causal(1, 33)), [...wanted], 1e-4, 'output');
  });
  it('takes queries of one dtype and a cache of another', async () => {
    const [q, k] = [made([2, 1, 4, 32], 1), made([2, 50, 2, 32], 2)];
    const options = { first: ints([[0], [3]]), end: ints([[50], [20]]) };
    const y = attention(q, k.cast('f16'), k.cast('bf16'), options);
    expect(y.dtype).toBe('f32');
    const rounded = async (dtype: DType) => tensor(Float32Array.from(await k.cast(dtype).data()), { shape: k.shape });
    const wanted = await attention(q, await rounded('f16'), await rounded('bf16'), options).data();
    await expectClose(y, [...wanted], 1e-6, 'output');
  });
  it('refuses what does not fit', () => {
    const q = zeros([2, 3, 4, 8]);
    const options = causal(2, 3);
    expect(() => attention(zeros([2, 3, 4, 7]), q, q, options)).toThrow(ShapeError);
    expect(() => attention(q, zeros([2, 5, 3, 8]), zeros([2, 5, 3, 8]), options)).toThrow(/4 query heads share 3/);
    expect(() => attention(q, q, zeros([2, 4, 4, 8]), options)).toThrow(/values do not fit/);
    expect(() => attention(q, q, q, causal(2, 4))).toThrow(/for each query/);
    expect(() => attention(q, q, q, { ...options, scale: Number.NaN })).toThrow(ConfigError);
    expect(() => attention(q.cast('i32'), q.cast('i32'), q.cast('i32'), options)).toThrow(DTypeError);
    expect(() => grad((x: Tensor) => grad((y: Tensor) => attention(y, q, q, options).sum())(x).sum())(q)).toThrow(/first derivatives/);
  });
});
