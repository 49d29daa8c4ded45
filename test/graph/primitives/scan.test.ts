import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DTypeError, ShapeError } from '../../../src/base/errors.js';
import { size } from '../../../src/base/shape.js';
import { ops } from '../../../src/graph/builder.js';
import { distinct, expectGradient, expectSecondGradient, input, propertyOptions, run, shape, tensor, uniform } from '../support.js';

const x = tensor([1, 2, 3, 4, 5, 6], [2, 3]);
const forms = [false, true].flatMap((reverse) => [false, true].map((exclusive) => ({ reverse, exclusive })));

describe('meaning', () => {
  test('cumsum', () => {
    expect(run(ops.cumsum(x, 1))).toEqual([1, 3, 6, 4, 9, 15]);
    expect(run(ops.cumsum(x, 0))).toEqual([1, 2, 3, 5, 7, 9]);
    expect(run(ops.cumsum(x, 1, { reverse: true }))).toEqual([6, 5, 3, 15, 11, 6]);
    expect(run(ops.cumsum(x, 1, { exclusive: true }))).toEqual([0, 1, 3, 0, 4, 9]);
    expect(run(ops.cumsum(x, 1, { exclusive: true, reverse: true }))).toEqual([5, 3, 0, 11, 6, 0]);
    expect(run(ops.cumsum(tensor([200, 100], [2], 'u8'), 0))).toEqual([200, 44]);
  });
  test('cumprod', () => {
    expect(run(ops.cumprod(x, 1))).toEqual([1, 2, 6, 4, 20, 120]);
    expect(run(ops.cumprod(x, 1, { exclusive: true, reverse: true }))).toEqual([6, 3, 1, 30, 6, 1]);
    expect(run(ops.cumprod(tensor([65537, 65537], [2], 'i32'), 0))).toEqual([65537, 131073]);
  });
  test('cummax', () => {
    expect(run(ops.cummax(tensor([2, 1, 3, 2, 5]), 0))).toEqual([2, 2, 3, 3, 5]);
    expect(run(ops.cummax(tensor([2, 1, 3, 2, 0]), 0, { reverse: true }))).toEqual([3, 3, 3, 2, 0]);
    expect(run(ops.cummax(tensor([-3, -5], [2], 'i32'), 0))).toEqual([-3, -3]);
    expect(run(ops.cummax(tensor([1, Number.NaN, 2]), 0))).toEqual([1, Number.NaN, Number.NaN]);
  });
});

describe('gradient', () => {
  test('on random shapes', () => {
    const at = shape(1, 3, 5).chain((s) => fc.tuple(fc.constant(s), fc.nat(s.length - 1), fc.constantFrom(...forms), fc.integer()));
    fc.assert(
      fc.property(at, ([s, axis, form, seed]) => {
        expectGradient((a) => ops.cumsum(a, axis, form), [s], [uniform(size(s), seed)]);
        expectGradient((a) => ops.cumprod(a, axis, form), [s], [uniform(size(s), seed)]);
        expectGradient((a) => ops.cummax(a, axis, form), [s], [distinct(size(s), seed)]);
      }),
      { ...propertyOptions, numRuns: 25 },
    );
  });
  test.each(forms)('cumprod over zeros, %o', (form) => {
    expectGradient((a) => ops.cumprod(a, 0, form), [[7]], [[2, 0, 3, 4, 0, 5, 1]]);
    expectSecondGradient((a) => ops.cumprod(a, 0, form), [[5]], [[2, 0, 3, 0, 1.5]]);
  });
});

test('errors', () => {
  expect(() => ops.cumsum(input(0, [2]), 1)).toThrow(ShapeError);
  expect(() => ops.cummax(input(0, [2], 'bool'), 0)).toThrow(DTypeError);
});
