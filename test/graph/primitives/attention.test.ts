import { describe, expect, test } from 'vitest';
import { gradients } from '../../../src/autodiff/vjp.js';
import { ConfigError, DTypeError, ShapeError } from '../../../src/base/errors.js';
import { ops } from '../../../src/graph/builder.js';
import { expectGradient, input, run, tensor, uniform } from '../support.js';

const ints = (data: number[], shape: number[]) => tensor(data, shape, 'i32');

describe('attention', () => {
  test('a softmax over the visible keys; none give 0', () => {
    const q = tensor([Math.log(3), 1, 5], [1, 3, 1, 1]);
    const k = tensor([1, 0, 0], [1, 3, 1, 1]);
    const v = tensor([1, 2, 5, 6, 9, 10], [1, 3, 1, 2]);
    const y = (first: number[], end: number[]) => run(ops.attention(q, k, v, ints(first, [1, 3]), ints(end, [1, 3]), 1));
    // Weights 3 : 1; the last key alone; nothing.
    expect(y([0, 2, 1], [2, 3, 1]).map((x) => Math.round(1e5 * x) / 1e5)).toEqual([2, 3, 9, 10, 0, 0]);
    expect(y([-4, 2, 3], [1, 77, 9]).map((x) => Math.round(1e5 * x) / 1e5)).toEqual([1, 2, 9, 10, 0, 0]);
  });
  test('the logarithm of the sum of exponentials', () => {
    const q = tensor([Math.log(3), 1], [1, 2, 1, 1]);
    const lse = run(ops.attentionLse(q, tensor([1, 0], [1, 2, 1, 1]), ints([0, 1], [1, 2]), ints([2, 1], [1, 2]), 1));
    expect(lse[0]).toBeCloseTo(Math.log(4), 6);
    expect(lse[1]).toBe(Number.NEGATIVE_INFINITY);
  });
  test('gradients: causal, in windows, grouped, with queries that see nothing', () => {
    const attend = (first: number[], end: number[], shape: number[]) => (q: never, k: never, v: never) =>
      ops.attention(q, k, v, ints(first, shape), ints(end, shape), 0.7);
    const check = (build: ReturnType<typeof attend>, shapes: number[][]) =>
      expectGradient(
        build as never,
        shapes,
        shapes.map((s, i) =>
          uniform(
            s.reduce((a, b) => a * b, 1),
            i + 1,
          ),
        ),
      );
    check(attend([0, 0, 0], [1, 2, 3], [1, 3]), [
      [1, 3, 2, 2],
      [1, 3, 1, 2],
      [1, 3, 1, 3],
    ]);
    check(attend([0, 1, 4, 2], [2, 5, 4, 9], [2, 2]), [
      [2, 2, 4, 1],
      [2, 5, 2, 1],
      [2, 5, 2, 2],
    ]);
  });
  test('errors', () => {
    const [q, k] = [input(0, [2, 3, 4, 8]), input(1, [2, 5, 2, 8])];
    const at = input(2, [2, 3], 'i32');
    expect(() => ops.attention(q, k, input(3, [2, 4, 2, 8], 'bf16'), at, at, 1)).toThrow(ShapeError);
    expect(() => ops.attention(q, input(3, [2, 5, 2, 8], 'i32'), k, at, at, 1)).toThrow(DTypeError);
    expect(() => ops.attention(q, k, k, at, input(3, [2, 3]), 1)).toThrow(/for each query/);
    expect(() => ops.attentionGrad([q, k, k, at, at], q, q, q, 1)).toThrow(/results do not fit/);
    const once = gradients(ops.attention(q, k, k, at, at, 1), q, [q])[0];
    expect(() => gradients(once, q, [q])).toThrow(ConfigError);
  });
});
