import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DTypeError, ShapeError } from '../../../src/base/errors.js';
import { size } from '../../../src/base/shape.js';
import { ops } from '../../../src/graph/builder.js';
import { expectGradient, input, propertyOptions, run, shape, tensor, uniform } from '../support.js';

const x = tensor([1, 2, 3, 4, 5, 6], [2, 3]);
const ints = (data: number[], s: number[] = [data.length]) => tensor(data, s, 'i32');
const i0 = (n: number) => tensor([n], [], 'i32');

describe('meaning', () => {
  test('take clamps, and adds its adjoint', () => {
    expect(run(ops.take(x, ints([2, 0, 9, -1]), 1))).toEqual([3, 1, 3, 1, 6, 4, 6, 4]);
    const rows = ops.take(x, ints([1, 0, 1, 1], [2, 2]), 0);
    expect([rows.shape, run(rows)]).toEqual([
      [2, 2, 3],
      [4, 5, 6, 1, 2, 3, 4, 5, 6, 4, 5, 6],
    ]);
    expect(run(ops.takeAdd(tensor([1, 2, 3, 4, 5, 6], [3, 2]), ints([1, 3, 1]), 0, 4))).toEqual([0, 0, 6, 8, 0, 0, 3, 4]);
  });
  test('takeAlong and its adjoint', () => {
    expect(run(ops.takeAlong(x, ints([2, 0, 1, 9], [2, 2]), 1))).toEqual([3, 1, 5, 6]);
    expect(run(ops.takeAlongAdd(tensor([1, 2, 4, 8], [2, 2]), ints([2, 2, 0, 1], [2, 2]), 1, 3))).toEqual([0, 0, 3, 4, 8, 0]);
  });
  test('putRows writes inside the range alone, the last of equal indices', () => {
    const put = ops.putRows(x, tensor([10, 20, 30, 40, 50, 60, 70, 80, 90, 91, 92, 93], [4, 3]), ints([1, -1, 1, 2]));
    expect(run(put)).toEqual([1, 2, 3, 70, 80, 90]);
    expect(run(ops.putRows(tensor([1, 2]), tensor([7]), ints([0])))).toEqual([7, 2]);
    expect(run(ops.putRows(x, tensor([], [0, 3]), ints([])))).toEqual([1, 2, 3, 4, 5, 6]);
  });
  test('dynamicSlice and dynamicUpdateSlice clamp the start so that the block fits', () => {
    expect(run(ops.dynamicSlice(x, [i0(1), i0(1)], [1, 2]))).toEqual([5, 6]);
    expect(run(ops.dynamicSlice(x, [i0(9), i0(9)], [1, 2]))).toEqual([5, 6]);
    expect(run(ops.dynamicSlice(x, [i0(-3), i0(0)], [1, 2]))).toEqual([1, 2]);
    expect(run(ops.dynamicUpdateSlice(x, tensor([7, 8], [1, 2]), [i0(0), i0(9)]))).toEqual([1, 7, 8, 4, 5, 6]);
  });
});

describe('gradient', () => {
  test('on random shapes', () => {
    const at = shape(1, 3, 4).chain((s) => fc.tuple(fc.constant(s), fc.nat(s.length - 1), shape(0, 2, 3), fc.integer()));
    fc.assert(
      fc.property(at, ([s, axis, indexShape, seed]) => {
        const indices = ints(uniform(size(indexShape), seed, -1, s[axis] + 1).map(Math.floor), indexShape);
        const taken = ops.take(input(0, s), indices, axis).shape;
        expectGradient((a) => ops.take(a, indices, axis), [s], [uniform(size(s), seed)]);
        expectGradient((a) => ops.takeAdd(a, indices, axis, s[axis]), [taken], [uniform(size(taken), seed)]);
        const alongShape = s.map((d, i) => (i === axis ? 3 : d));
        const along = ints(uniform(size(alongShape), seed, -1, s[axis] + 1).map(Math.floor), alongShape);
        expectGradient((a) => ops.takeAlong(a, along, axis), [s], [uniform(size(s), seed)]);
        expectGradient((a) => ops.takeAlongAdd(a, along, axis, s[axis]), [alongShape], [uniform(size(alongShape), seed)]);
      }),
      propertyOptions,
    );
  });
  test('of putRows, indices outside and repeated ones too', () => {
    const at = shape(1, 3, 4).chain((s) => fc.tuple(fc.constant(s), fc.integer({ min: 1, max: 5 }), fc.integer()));
    fc.assert(
      fc.property(at, ([s, count, seed]) => {
        const indices = ints(uniform(count, seed, -1, s[0] + 1).map(Math.floor));
        const rows = [count, ...s.slice(1)];
        expectGradient((a, b) => ops.putRows(a, b, indices), [s, rows], [uniform(size(s), seed), uniform(size(rows), seed + 1)]);
      }),
      propertyOptions,
    );
  });
  test('of the dynamic slices, clamped starts too', () => {
    for (const start of [0, 1, 7]) {
      const starts = [i0(start), i0(1)];
      expectGradient((a) => ops.dynamicSlice(a, starts, [2, 2]), [[3, 4]], [uniform(12, 1)]);
      expectGradient(
        (a, b) => ops.dynamicUpdateSlice(a, b, starts),
        [
          [3, 4],
          [2, 2],
        ],
        [uniform(12, 2), uniform(4, 3)],
      );
    }
  });
});

test('errors', () => {
  const a = input(0, [2, 3]);
  expect(() => ops.take(a, input(1, [2]), 0)).toThrow(/indices are not i32/);
  expect(() => ops.take(a, input(1, [2], 'i32'), 2)).toThrow(ShapeError);
  expect(() => ops.take(input(0, [0, 3]), input(1, [2], 'i32'), 0)).toThrow(/nothing to take/);
  expect(() => ops.takeAdd(a, input(1, [3], 'i32'), 0, 4)).toThrow(ShapeError);
  expect(() => ops.takeAlong(a, input(1, [3, 3], 'i32'), 1)).toThrow(ShapeError);
  expect(() => ops.takeAlongAdd(a, input(1, [2, 2], 'i32'), 1, 4)).toThrow(ShapeError);
  expect(() => ops.putRows(a, input(1, [2, 4]), input(2, [2], 'i32'))).toThrow(ShapeError);
  expect(() => ops.putRows(a, input(1, [1, 3]), input(2, [2], 'i32'))).toThrow(/rows and indices do not fit/);
  expect(() => ops.putRows(a, input(1, [2, 3], 'f16'), input(2, [2], 'i32'))).toThrow(DTypeError);
  expect(() => ops.putRows(a, input(1, [2, 3]), input(2, [2]))).toThrow(/indices are not i32/);
  expect(() => ops.putRows(input(1, []), input(2, []), input(3, [1], 'i32'))).toThrow(ShapeError);
  expect(() => ops.dynamicSlice(a, [i0(0)], [1, 1])).toThrow(ShapeError);
  expect(() => ops.dynamicSlice(a, [i0(0), i0(0)], [3, 1])).toThrow(/does not fit|no larger extents/);
  expect(() => ops.dynamicSlice(a, [i0(0), input(1, [])], [1, 1])).toThrow(DTypeError);
  expect(() => ops.dynamicUpdateSlice(a, input(1, [1, 1], 'f16'), [i0(0), i0(0)])).toThrow(DTypeError);
});
