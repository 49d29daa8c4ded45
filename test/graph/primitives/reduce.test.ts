import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { gradients } from '../../../src/autodiff/vjp.js';
import { ShapeError } from '../../../src/base/errors.js';
import { size } from '../../../src/base/shape.js';
import { ops } from '../../../src/graph/builder.js';
import { distinct, expectGradient, expectSecondGradient, input, propertyOptions, run, shape, tensor, uniform } from '../support.js';

const x = tensor([3, 1, 2, -4, 6, 5], [2, 3]);

describe('meaning', () => {
  test('sum, prod, max, min', () => {
    expect(run(ops.sum(x, [0]))).toEqual([-1, 7, 7]);
    expect(run(ops.sum(x, [1, 0]))).toEqual([13]);
    expect(run(ops.prod(x, [1]))).toEqual([6, -120]);
    expect(run(ops.reduceMax(x, [0]))).toEqual([3, 6, 5]);
    expect(run(ops.reduceMin(x, [1]))).toEqual([1, -4]);
    expect(run(ops.sum(tensor([...Array(24).keys()], [2, 3, 4]), [0, 2]))).toEqual([60, 92, 124]);
  });
  test('dtypes: sums and products of integers and bool give i32 (u32 stays), and wrap', () => {
    expect(ops.sum(input(0, [2], 'bool'), [0]).dtype).toBe('i32');
    expect(ops.prod(input(0, [2], 'u8'), [0]).dtype).toBe('i32');
    expect(ops.sum(input(0, [2], 'u32'), [0]).dtype).toBe('u32');
    expect(ops.sum(input(0, [2], 'f16'), [0]).dtype).toBe('f16');
    expect(ops.sum(input(0, [2], 'bool'), []).dtype).toBe('i32');
    expect(run(ops.sum(tensor([1, 1, 0], [3], 'bool'), [0]))).toEqual([2]);
    expect(run(ops.prod(tensor([65537, 65537], [2], 'i32'), [0]))).toEqual([131073]);
    expect(run(ops.reduceMax(tensor([0, 1], [2], 'bool'), [0]))).toEqual([1]);
  });
  test('nothing: sum 0, prod 1', () => {
    expect(run(ops.sum(tensor([], [0, 2]), [0]))).toEqual([0, 0]);
    expect(run(ops.prod(tensor([], [0, 2]), [0]))).toEqual([1, 1]);
  });
  test('argmax and argmin: the first of ties, NaN wins', () => {
    expect(run(ops.argmax(tensor([1, 3, 3, 2]), 0))).toEqual([1]);
    expect(run(ops.argmin(tensor([1, 0, 3, 0]), 0))).toEqual([1]);
    expect(run(ops.argmax(x, 0))).toEqual([0, 1, 1]);
    expect(run(ops.argmax(tensor([1, Number.NaN, 3, Number.NaN]), 0))).toEqual([1]);
    expect(run(ops.argmin(tensor([1, Number.NaN, 3]), 0))).toEqual([1]);
  });
  test('a maximum of NaN is NaN', () => {
    expect(run(ops.reduceMax(tensor([1, Number.NaN]), [0]))).toEqual([Number.NaN]);
  });
});

describe('gradient', () => {
  test('on random shapes and axes', () => {
    fc.assert(
      fc.property(
        shape(1, 3, 3).chain((s) => fc.tuple(fc.constant(s), fc.shuffledSubarray([...s.keys()]))),
        fc.integer(),
        ([s, axes], seed) => {
          expectGradient((a) => ops.sum(a, axes), [s], [uniform(size(s), seed)]);
          expectGradient((a) => ops.prod(a, axes), [s], [uniform(size(s), seed)]);
          expectGradient((a) => ops.reduceMax(a, axes), [s], [distinct(size(s), seed)]);
          expectGradient((a) => ops.reduceMin(a, axes), [s], [distinct(size(s), seed)]);
        },
      ),
      propertyOptions,
    );
  });
  test('prod with one zero and with two', () => {
    expectGradient((a) => ops.prod(a, [0]), [[4, 2]], [[0, 2, 3, 0, 4, 0, 5, 7]]);
    expectSecondGradient((a) => ops.prod(a, [1]), [[2, 4]], [[0, 2, 3, 4, 0, 1, 0, 5]]);
  });
  test('tied maxima share', () => {
    const a = input(0, [4]);
    const y = ops.reduceMax(a, [0]);
    expect(run(gradients(y, ops.constant(1, y), [a])[0], [[2, 1, 2, 0]])).toEqual([0.5, 0, 0.5, 0]);
  });
  test('second order of a log-sum-exp', () => {
    expectSecondGradient((a) => ops.log(ops.sum(ops.exp(a), [1])), [[2, 3]], [uniform(6, 8)]);
  });
});

test('errors', () => {
  expect(() => ops.sum(input(0, [2]), [1])).toThrow(ShapeError);
  expect(() => ops.sum(input(0, [2, 2]), [1, 1])).toThrow(/twice/);
  expect(() => ops.reduceMax(input(0, [0, 2]), [0])).toThrow(/nothing to choose from/);
  expect(() => ops.argmax(input(0, [2]), -1)).toThrow(ShapeError);
});
