import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DTypeError, ShapeError } from '../../../src/base/errors.js';
import { size } from '../../../src/base/shape.js';
import { ops } from '../../../src/graph/builder.js';
import type { ConvArg } from '../../../src/graph/primitives/args.js';
import { expectGradient, expectSecondGradient, input, propertyOptions, run, tensor, uniform } from '../support.js';

const matmul = { batch: [[], []], contract: [[1], [0]] } as const;

describe('dot', () => {
  test('matrix product', () => {
    const a = tensor([1, 2, 3, 4, 5, 6], [2, 3]);
    const b = tensor([1, 0, 2, 1, 0, 3], [3, 2]);
    expect(run(ops.dot(a, b, matmul))).toEqual([5, 11, 14, 23]);
  });
  test('two batch and two contracted axes in any order', () => {
    // a [i=2, p=2, q=3, r=2], b [r=2, j=1, q=3, p=2]: batch p, contract q and r → [p, i, j]
    const a = uniform(24, 1);
    const b = uniform(12, 2);
    const y = ops.dot(tensor(a, [2, 2, 3, 2]), tensor(b, [2, 1, 3, 2]), {
      batch: [[1], [3]],
      contract: [
        [3, 2],
        [0, 2],
      ],
    });
    expect(y.shape).toEqual([2, 2, 1]);
    const expected: number[] = [];
    for (let p = 0; p < 2; p++)
      for (let i = 0; i < 2; i++) {
        let sum = 0;
        for (let q = 0; q < 3; q++) for (let r = 0; r < 2; r++) sum += a[((i * 2 + p) * 3 + q) * 2 + r] * b[(r * 3 + q) * 2 + p];
        expected.push(sum);
      }
    run(y).forEach((v, i) => {
      expect(v).toBeCloseTo(expected[i], 5);
    });
  });
  test('integers accumulate in i32 and wrap', () => {
    const y = ops.dot(tensor([100, 100], [1, 2], 'i8'), tensor([100, 100], [2, 1], 'i8'), matmul);
    expect([y.dtype, run(y)]).toEqual(['i32', [20000]]);
    expect(run(ops.dot(tensor([65537], [1, 1], 'i32'), tensor([65537], [1, 1], 'i32'), matmul))).toEqual([131073]);
  });
  test('nothing to sum gives zeros; its gradient is empty', () => {
    expect(run(ops.dot(tensor([], [2, 0]), tensor([], [0, 1]), matmul))).toEqual([0, 0]);
    expectGradient(
      (a, b) => ops.dot(a, b, matmul),
      [
        [2, 0],
        [0, 1],
      ],
      [[], []],
    );
  });
  test('gradient, any arrangement of axes', () => {
    const labels = fc.record({
      batch: fc.array(fc.integer({ min: 1, max: 2 }), { maxLength: 2 }),
      contract: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 2 }),
      a: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 2 }),
      b: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 1 }),
    });
    const arrangement = labels.chain((l) => {
      const names = (own: number[], tag: string) => [
        ...l.batch.map((_, i) => `batch${i}`),
        ...l.contract.map((_, i) => `sum${i}`),
        ...own.map((_, i) => tag + i),
      ];
      const shuffled = (list: string[]) => fc.shuffledSubarray(list, { minLength: list.length });
      return fc.tuple(fc.constant(l), shuffled(names(l.a, 'a')), shuffled(names(l.b, 'b')), fc.integer());
    });
    fc.assert(
      fc.property(arrangement, ([l, a, b, seed]) => {
        const extents = new Map<string, number>();
        for (const [tag, list] of [
          ['batch', l.batch],
          ['sum', l.contract],
          ['a', l.a],
          ['b', l.b],
        ] as const)
          for (const [i, n] of list.entries()) extents.set(tag + i, n);
        const shapes = [a, b].map((names) => names.map((n) => extents.get(n) ?? 0));
        const axes = (tag: string, n: number): [number[], number[]] =>
          [a, b].map((names) => Array.from({ length: n }, (_, i) => names.indexOf(tag + i))) as [number[], number[]];
        const arg = { batch: axes('batch', l.batch.length), contract: axes('sum', l.contract.length) };
        expectGradient(
          (x, y) => ops.dot(x, y, arg),
          shapes,
          shapes.map((s, i) => uniform(size(s), seed + i)),
        );
      }),
      { ...propertyOptions, numRuns: 25 },
    );
  });
  test('second order', () => {
    expectSecondGradient(
      (a, b) => ops.tanh(ops.dot(a, b, matmul)),
      [
        [2, 3],
        [3, 2],
      ],
      [uniform(6, 1, -1, 1), uniform(6, 2, -1, 1)],
    );
  });
  test('errors', () => {
    expect(() => ops.dot(input(0, [2, 3]), input(1, [2, 3]), matmul)).toThrow(/do not pair/);
    expect(() => ops.dot(input(0, [2, 3]), input(1, [3, 2], 'i32'), matmul)).toThrow(DTypeError);
    expect(() => ops.dot(input(0, [2, 3]), input(1, [3, 2]), { batch: [[1], [0]], contract: [[1], [0]] })).toThrow(/twice/);
    expect(() => ops.dot(input(0, [2, 3]), input(1, [3, 2]), { batch: [[], []], contract: [[2], [0]] })).toThrow(ShapeError);
  });
});

/** One spatial dimension, built the slow way: x dilated, padded (or cropped) as an array, then slid over. x [n, h, g, c], w [k, g, c, o]. */
function conv1d(
  x: number[],
  xs: number[],
  w: number[],
  ws: number[],
  stride: number,
  [low, high]: readonly [number, number],
  idil: number,
  kdil: number,
): number[] {
  const [n, h, g, c] = xs;
  const [k, , , o] = ws;
  const out: number[] = [];
  for (let b = 0; b < n; b++) {
    let rows: number[][] = [];
    for (let i = 0; i < h; i++) {
      rows.push(x.slice((b * h + i) * g * c, (b * h + i + 1) * g * c));
      if (i < h - 1) for (let j = 1; j < idil; j++) rows.push(Array(g * c).fill(0));
    }
    const zeros = (m: number) => Array.from({ length: Math.max(m, 0) }, () => Array(g * c).fill(0));
    rows = [...zeros(low), ...rows, ...zeros(high)];
    rows = rows.slice(Math.max(-low, 0), rows.length - Math.max(-high, 0));
    for (let p = 0; p + (k - 1) * kdil < rows.length; p += stride)
      for (let gg = 0; gg < g; gg++)
        for (let oo = 0; oo < o; oo++) {
          let sum = 0;
          for (let t = 0; t < k; t++)
            for (let cc = 0; cc < c; cc++) sum += rows[p + t * kdil][gg * c + cc] * w[((t * g + gg) * c + cc) * o + oo];
          out.push(sum);
        }
  }
  return out;
}

const spatial = fc.record({
  n: fc.integer({ min: 1, max: 5 }),
  k: fc.integer({ min: 1, max: 3 }),
  stride: fc.integer({ min: 1, max: 3 }),
  low: fc.integer({ min: -2, max: 3 }),
  high: fc.integer({ min: -2, max: 3 }),
  idil: fc.integer({ min: 1, max: 3 }),
  kdil: fc.integer({ min: 1, max: 3 }),
});
type Spatial = { n: number; k: number; stride: number; low: number; high: number; idil: number; kdil: number };
const fits = (s: Spatial) => (s.n - 1) * s.idil + 1 + s.low + s.high >= (s.k - 1) * s.kdil + 1;
const argOf = (dims: Spatial[]): ConvArg => ({
  stride: dims.map((d) => d.stride),
  padding: dims.map((d) => [d.low, d.high] as const),
  inputDilation: dims.map((d) => d.idil),
  kernelDilation: dims.map((d) => d.kdil),
});
const channels = fc.record({
  batch: fc.integer({ min: 1, max: 2 }),
  g: fc.integer({ min: 1, max: 2 }),
  c: fc.integer({ min: 1, max: 2 }),
  o: fc.integer({ min: 1, max: 2 }),
});
const shapesOf = (dims: Spatial[], { batch, g, c, o }: { batch: number; g: number; c: number; o: number }) => [
  [batch, ...dims.map((d) => d.n), g, c],
  [...dims.map((d) => d.k), g, c, o],
];

describe('conv', () => {
  test('a 3×3 picture by a 2×2 kernel', () => {
    const x = tensor([1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 3, 3, 1, 1]);
    const w = tensor([1, 0, 0, -1], [2, 2, 1, 1, 1]);
    const plain = argOf([1, 2].map(() => ({ n: 3, k: 2, stride: 1, low: 0, high: 0, idil: 1, kdil: 1 })));
    expect(run(ops.conv(x, w, plain))).toEqual([-4, -4, -4, -4]);
    const same = {
      ...plain,
      padding: [
        [0, 1],
        [0, 1],
      ] as const,
    };
    expect(run(ops.conv(x, w, same))).toEqual([-4, -4, 3, -4, -4, 6, 7, 8, 9]);
  });
  test('every stride, padding, dilation and group against the slow way', () => {
    fc.assert(
      fc.property(spatial.filter(fits), channels, fc.integer(), (dim, ch, seed) => {
        const [xs, ws] = shapesOf([dim], ch);
        const [x, w] = [uniform(size(xs), seed), uniform(size(ws), seed + 1)];
        const expected = conv1d(x, xs, w, ws, dim.stride, [dim.low, dim.high], dim.idil, dim.kdil);
        const actual = run(ops.conv(input(0, xs), input(1, ws), argOf([dim])), [x, w], true);
        expect(actual.length).toBe(expected.length);
        actual.forEach((v, i) => {
          expect(v).toBeCloseTo(expected[i], 9);
        });
      }),
      { ...propertyOptions, numRuns: 100 },
    );
  });
  test('gradient for every stride, padding, dilation and group', () => {
    fc.assert(
      fc.property(spatial.filter(fits), channels, fc.integer(), (dim, ch, seed) => {
        const shapes = shapesOf([dim], ch);
        expectGradient(
          (x, w) => ops.conv(x, w, argOf([dim])),
          shapes,
          shapes.map((s, i) => uniform(size(s), seed + i)),
        );
      }),
      { ...propertyOptions, numRuns: 60 },
    );
  });
  test('gradient in two dimensions', () => {
    fc.assert(
      fc.property(fc.tuple(spatial.filter(fits), spatial.filter(fits)), channels, fc.integer(), (dims, ch, seed) => {
        const shapes = shapesOf(dims, ch);
        expectGradient(
          (x, w) => ops.conv(x, w, argOf(dims)),
          shapes,
          shapes.map((s, i) => uniform(size(s), seed + i)),
        );
      }),
      { ...propertyOptions, numRuns: 8 },
    );
  });
  test('second order', () => {
    const dim = { n: 5, k: 2, stride: 2, low: 1, high: 0, idil: 1, kdil: 2 };
    const shapes = shapesOf([dim], { batch: 2, g: 1, c: 2, o: 1 });
    expectSecondGradient(
      (x, w) => ops.tanh(ops.conv(x, w, argOf([dim]))),
      shapes,
      shapes.map((s, i) => uniform(size(s), 31 + i, -0.7, 0.7)),
    );
  });
  test('errors', () => {
    const arg = argOf([{ n: 2, k: 3, stride: 1, low: 0, high: 0, idil: 1, kdil: 1 }]);
    expect(() => ops.conv(input(0, [1, 2, 1, 1]), input(1, [3, 1, 1, 1]), arg)).toThrow(/kernel does not fit along spatial dimension 0/);
    expect(() => ops.conv(input(0, [1, 4, 1, 2]), input(1, [3, 1, 1, 1]), arg)).toThrow(/groups or channels differ/);
    expect(() => ops.conv(input(0, [1, 4, 1]), input(1, [3, 1, 1, 1]), arg)).toThrow(ShapeError);
    expect(() => ops.conv(input(0, [1, 4, 1, 1]), input(1, [3, 1, 1, 1]), { ...arg, stride: [0] })).toThrow(ShapeError);
    expect(() => ops.conv(input(0, [1, 4, 1, 1]), input(1, [3, 1, 1, 1]), { ...arg, stride: [1, 1] })).toThrow(ShapeError);
    expect(() => ops.conv(input(0, [1, 4, 1, 1], 'f16'), input(1, [3, 1, 1, 1]), arg)).toThrow(DTypeError);
  });
});
