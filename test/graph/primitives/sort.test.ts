import { expect, test } from 'vitest';
import { ShapeError } from '../../../src/base/errors.js';
import { ops } from '../../../src/graph/builder.js';
import { distinct, expectGradient, input, run, tensor } from '../support.js';

test('argsort is stable; NaN last ascending, first descending', () => {
  const x = tensor([3, 1, Number.NaN, 1, 2]);
  expect(run(ops.argsort(x, 0))).toEqual([1, 3, 4, 0, 2]);
  expect(run(ops.argsort(x, 0, true))).toEqual([2, 0, 4, 1, 3]);
  expect(run(ops.argsort(tensor([3, 1, 2, 4, 0, 9], [2, 3]), 0))).toEqual([0, 1, 0, 1, 0, 1]);
  expect(run(ops.argsort(tensor([3, 4, 1, 0, 2, 9], [3, 2]), 0))).toEqual([1, 1, 2, 0, 0, 2]);
});

test('sorting by takeAlong carries the gradient', () => {
  expectGradient((x) => ops.takeAlong(x, ops.argsort(x, 1), 1), [[2, 4]], [distinct(8, 3)]);
});

test('errors', () => {
  expect(() => ops.argsort(input(0, [2]), 1)).toThrow(ShapeError);
});
