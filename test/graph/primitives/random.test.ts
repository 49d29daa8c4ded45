import { expect, test } from 'vitest';
import { DTypeError } from '../../../src/base/errors.js';
import { philox4x32 } from '../../../src/base/philox.js';
import { ops } from '../../../src/graph/builder.js';
import { input, run, tensor } from '../support.js';

const seed = tensor([5, 4000000000], [2], 'u32');
const step = tensor([3], [], 'u32');

test('element i is word i & 3 at counter (i >> 2, step, stream, 0)', () => {
  const bits = run(ops.randomBits(seed, step, [2, 3], 9));
  expect(bits).toEqual([...philox4x32(0, 3, 9, 0, 5, 4000000000), ...philox4x32(1, 3, 9, 0, 5, 4000000000).slice(0, 2)]);
});

test('with seed, step and stream 0 it starts with the known answer', () => {
  const zeros = tensor([0, 0], [2], 'u32');
  expect(run(ops.randomBits(zeros, tensor([0], [], 'u32'), [2], 0))).toEqual([0x6627e8d5, 0xe169c58d]);
});

test('streams and steps differ', () => {
  const a = run(ops.randomBits(seed, step, [64], 1));
  const b = run(ops.randomBits(seed, step, [64], 2));
  const c = run(ops.randomBits(seed, tensor([4], [], 'u32'), [64], 1));
  expect(new Set([...a, ...b, ...c]).size).toBe(192);
});

test('errors', () => {
  expect(() => ops.randomBits(input(0, [2], 'i32'), step, [4], 0)).toThrow(DTypeError);
  expect(() => ops.randomBits(seed, input(0, [1], 'u32'), [4], 0)).toThrow(/Expected u32\[2\] and u32\[\]/);
});
