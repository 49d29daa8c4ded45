import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DTypeError, ShapeError } from '../../../src/base/errors.js';
import { size } from '../../../src/base/shape.js';
import { ops } from '../../../src/graph/builder.js';
import type { WindowArg } from '../../../src/graph/primitives/args.js';
import { distinct, expectGradient, expectSecondGradient, input, propertyOptions, run, tensor, uniform } from '../support.js';

const pool2: WindowArg = {
  axes: [1, 2],
  size: [2, 2],
  stride: [2, 2],
  padding: [
    [0, 0],
    [0, 0],
  ],
};
const line: WindowArg = { axes: [0], size: [3], stride: [2], padding: [[1, 1]] };
const picture = tensor(
  [...Array(16).keys()].map((i) => (i * 7) % 16),
  [1, 4, 4, 1],
);

describe('meaning', () => {
  test('2×2 pooling', () => {
    // 0 7 14 5 / 12 3 10 1 / 8 15 6 13 / 4 11 2 9
    expect(run(ops.windowMax(picture, pool2))).toEqual([12, 14, 15, 13]);
    expect(run(ops.windowArgmax(picture, pool2))).toEqual([2, 0, 1, 1]);
    expect(run(ops.windowSum(picture, pool2))).toEqual([22, 30, 38, 30]);
    expect(run(ops.windowGather(picture, tensor([0, 1, 2, 3], [1, 2, 2, 1], 'i32'), pool2))).toEqual([0, 5, 4, 9]);
  });
  test('overlap and padding: never wins, adds nothing, is nothing to gather', () => {
    const x = tensor([-3, -1, -2, -5]);
    expect(run(ops.windowMax(x, line))).toEqual([-1, -1]);
    expect(run(ops.windowArgmax(x, line))).toEqual([2, 0]);
    expect(run(ops.windowSum(x, line))).toEqual([-4, -8]);
    expect(run(ops.windowGather(x, tensor([0, 1], [2], 'i32'), line))).toEqual([0, -2]);
    expect(run(ops.windowScatter(tensor([1, 10]), tensor([2, 0], [2], 'i32'), line, [4]))).toEqual([0, 11, 0, 0]);
    expect(run(ops.windowSpread(tensor([1, 10]), line, [4]))).toEqual([1, 11, 10, 10]);
  });
  test('ties go to the first, NaN is the largest', () => {
    const arg: WindowArg = { axes: [0], size: [3], stride: [1], padding: [[0, 0]] };
    expect(run(ops.windowArgmax(tensor([2, 1, 2]), arg))).toEqual([0]);
    expect(run(ops.windowArgmax(tensor([2, Number.NaN, 3]), arg))).toEqual([1]);
    expect(run(ops.windowMax(tensor([2, Number.NaN, 3]), arg))).toEqual([Number.NaN]);
    expect(run(ops.windowMax(tensor([-5, -7, -6], [3], 'i32'), arg))).toEqual([-5]);
  });
});

const axis = fc
  .record({
    n: fc.integer({ min: 1, max: 5 }),
    size: fc.integer({ min: 1, max: 3 }),
    stride: fc.integer({ min: 1, max: 3 }),
    low: fc.nat(2),
    high: fc.nat(2),
  })
  .filter((a) => a.n + a.low + a.high >= a.size);
const windows = fc.array(axis, { minLength: 1, maxLength: 2 }).map((list) => ({
  shape: [2, ...list.map((a) => a.n)],
  arg: {
    axes: list.map((_, i) => i + 1),
    size: list.map((a) => a.size),
    stride: list.map((a) => a.stride),
    padding: list.map((a) => [a.low, a.high] as const),
  },
}));

describe('gradient', () => {
  test('of all, on random windows', () => {
    fc.assert(
      fc.property(windows, fc.integer(), ({ shape, arg }, seed) => {
        const x = uniform(size(shape), seed);
        const out = ops.windowSum(input(0, shape), arg).shape;
        const position = tensor(uniform(size(out), seed, 0, size(arg.size)).map(Math.floor), out, 'i32');
        const dy = uniform(size(out), seed + 1);
        // A window of padding alone has maximum −∞, which differences cannot take.
        if (arg.padding.every(([low, high], i) => low < arg.size[i] && high < arg.size[i]))
          expectGradient((a) => ops.windowMax(a, arg), [shape], [distinct(size(shape), seed)]);
        expectGradient((a) => ops.windowSum(a, arg), [shape], [x]);
        expectGradient((a) => ops.windowGather(a, position, arg), [shape], [x]);
        expectGradient((a) => ops.windowSpread(a, arg, shape), [out], [dy]);
        expectGradient((a) => ops.windowScatter(a, position, arg, shape), [out], [dy]);
      }),
      propertyOptions,
    );
  });
  test('second order through a maximum', () => {
    expectSecondGradient((a) => ops.mul(ops.windowMax(a, line), ops.windowMax(a, line)), [[5]], [distinct(5, 4)]);
  });
});

test('errors', () => {
  const x = input(0, [1, 4, 4, 1]);
  expect(() => ops.windowMax(x, { ...pool2, size: [5, 2] })).toThrow(/does not fit axis 1/);
  expect(() => ops.windowMax(x, { ...pool2, size: [2] })).toThrow(ShapeError);
  expect(() => ops.windowSum(input(0, [1, 4, 4, 1], 'bool'), pool2)).toThrow(DTypeError);
  expect(() => ops.windowGather(x, input(1, [1, 2, 2, 1]), pool2)).toThrow(DTypeError);
  expect(() => ops.windowGather(x, input(1, [1, 2, 3, 1], 'i32'), pool2)).toThrow(ShapeError);
  expect(() => ops.windowSpread(input(0, [1, 2, 3, 1]), pool2, [1, 4, 4, 1])).toThrow(ShapeError);
});
