import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DTypeError, ShapeError } from '../../../src/base/errors.js';
import { size } from '../../../src/base/shape.js';
import { ops } from '../../../src/graph/builder.js';
import type { PadDim } from '../../../src/graph/primitives/args.js';
import { expectGradient, input, permutation, propertyOptions, run, shape, tensor, uniform } from '../support.js';

const x23 = tensor([1, 2, 3, 4, 5, 6], [2, 3]);

describe('meaning', () => {
  test('reshape, transpose, broadcast', () => {
    expect(run(ops.reshape(x23, [3, 2]))).toEqual([1, 2, 3, 4, 5, 6]);
    expect(run(ops.transpose(x23, [1, 0]))).toEqual([1, 4, 2, 5, 3, 6]);
    const x = tensor([...Array(24).keys()], [2, 3, 4]);
    const y = ops.transpose(x, [2, 0, 1]);
    expect(y.shape).toEqual([4, 2, 3]);
    expect(run(y).slice(0, 7)).toEqual([0, 4, 8, 12, 16, 20, 1]);
    expect(run(ops.broadcast(tensor([1, 2], [2, 1]), [2, 2, 3]))).toEqual([1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2]);
  });
  test('slice with strides, also an empty one', () => {
    expect(run(ops.slice(x23, [0, 0], [2, 3], [1, 2]))).toEqual([1, 3, 4, 6]);
    expect(run(ops.slice(x23, [1, 1], [2, 3]))).toEqual([5, 6]);
    expect(ops.slice(x23, [1, 1], [1, 3]).shape).toEqual([0, 2]);
  });
  test('pad: low, high, interior, and negative', () => {
    const x = tensor([1, 2, 3]);
    expect(run(ops.pad(x, [[1, 2, 0]], 9))).toEqual([9, 1, 2, 3, 9, 9]);
    expect(run(ops.pad(x, [[0, 0, 1]]))).toEqual([1, 0, 2, 0, 3]);
    expect(run(ops.pad(x, [[-1, 1, 1]]))).toEqual([0, 2, 0, 3, 0]);
    expect(run(ops.pad(x, [[-2, 0, 0]]))).toEqual([3]);
    expect(run(ops.pad(x, [[-4, 3, 0]]))).toEqual([0, 0]);
  });
  test('concat and flip', () => {
    expect(run(ops.concat([x23, tensor([7, 8], [2, 1])], 1))).toEqual([1, 2, 3, 7, 4, 5, 6, 8]);
    expect(run(ops.concat([x23, tensor([7, 8, 9], [1, 3])], 0))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(run(ops.flip(x23, [1]))).toEqual([3, 2, 1, 6, 5, 4]);
    expect(run(ops.flip(x23, [0, 1]))).toEqual([6, 5, 4, 3, 2, 1]);
  });
});

describe('gradient', () => {
  test('reshape, transpose, flip', () => {
    fc.assert(
      fc.property(
        shape(1, 4, 3).chain((s) => fc.tuple(fc.constant(s), permutation(s.length), fc.subarray([...s.keys()]))),
        ([s, perm, axes]) => {
          expectGradient((x) => ops.flip(ops.transpose(x, perm), axes), [s], [uniform(size(s), 3)]);
          expectGradient((x) => ops.reshape(x, [size(s)]), [s], [uniform(size(s), 4)]);
        },
      ),
      propertyOptions,
    );
  });
  test('broadcast', () => {
    expectGradient((x) => ops.broadcast(x, [2, 3, 4]), [[3, 1]], [uniform(3, 5)]);
    expectGradient((x) => ops.broadcast(x, [2, 2]), [[]], [[1.5]]);
  });
  test('slice', () => {
    const range = fc.tuple(fc.nat(4), fc.nat(4), fc.nat(2), fc.integer({ min: 1, max: 3 }));
    fc.assert(
      fc.property(fc.array(range, { minLength: 1, maxLength: 3 }), (ranges) => {
        const s = ranges.map(([before, length, after]) => before + length + after);
        const start = ranges.map(([before]) => before);
        const end = ranges.map(([before, length]) => before + length);
        const stride = ranges.map((r) => r[3]);
        expectGradient((x) => ops.slice(x, start, end, stride), [s], [uniform(size(s), 6)]);
      }),
      propertyOptions,
    );
  });
  test('pad, negative and interior too', () => {
    const dim = fc.tuple(fc.integer({ min: 0, max: 4 }), fc.integer({ min: -3, max: 3 }), fc.integer({ min: -3, max: 3 }), fc.nat(2));
    fc.assert(
      fc.property(fc.array(dim, { minLength: 1, maxLength: 2 }), (list) => {
        const s = list.map(([n]) => n);
        const dims = list.map(([, ...d]): PadDim => d);
        fc.pre(s.every((n, i) => dims[i][0] + dims[i][1] + (n > 0 ? (n - 1) * (dims[i][2] + 1) + 1 : 0) >= 0));
        expectGradient((x) => ops.pad(x, dims, 0.5), [s], [uniform(size(s), 7)]);
      }),
      { ...propertyOptions, numRuns: 60 },
    );
  });
  test('concat', () => {
    expectGradient(
      (a, b, c) => ops.concat([a, b, c], 1),
      [
        [2, 1],
        [2, 3],
        [2, 2],
      ],
      [uniform(2, 1), uniform(6, 2), uniform(4, 3)],
    );
  });
});

describe('errors', () => {
  test('say what does not fit', () => {
    const x = input(0, [2, 3]);
    expect(() => ops.reshape(x, [4])).toThrow(/reshape: \[2, 3\] does not fill \[4\]/);
    expect(() => ops.transpose(x, [0, 0])).toThrow(ShapeError);
    expect(() => ops.transpose(x, [0])).toThrow(ShapeError);
    expect(() => ops.transpose(x, [0, -1])).toThrow(ShapeError);
    expect(() => ops.broadcast(x, [2, 4])).toThrow(ShapeError);
    expect(() => ops.slice(x, [0, 2], [2, 4])).toThrow(/does not fit axis 1/);
    expect(() => ops.slice(x, [0, 0], [2, 3], [1, 0])).toThrow(ShapeError);
    expect(() => ops.pad(x, [[0, 0, 0]])).toThrow(ShapeError);
    expect(() =>
      ops.pad(x, [
        [-3, 0, 0],
        [0, 0, 0],
      ]),
    ).toThrow(ShapeError);
    expect(() => ops.concat([x, input(1, [2, 3], 'i32')], 0)).toThrow(DTypeError);
    expect(() => ops.concat([x, input(1, [3, 3])], 1)).toThrow(ShapeError);
    expect(() => ops.concat([], 0)).toThrow(ShapeError);
    expect(() => ops.flip(x, [2])).toThrow(ShapeError);
  });
});
