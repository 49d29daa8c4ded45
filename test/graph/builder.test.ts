import { describe, expect, test } from 'vitest';
import { ShapeError } from '../../src/base/errors.js';
import { ops } from '../../src/graph/builder.js';
import { isOp, type Node, topological } from '../../src/graph/node.js';
import { print } from '../../src/graph/print.js';
import { verify } from '../../src/graph/verify.js';
import { input, run, tensor } from './support.js';

const x = input(0, [2, 3]);
const opsOf = (node: Node) => topological([node]).map((n) => n.op);

describe('what costs nothing is not built', () => {
  test('movements without effect', () => {
    expect(ops.reshape(x, [2, 3])).toBe(x);
    expect(ops.broadcast(x, [2, 3])).toBe(x);
    expect(ops.transpose(x, [0, 1])).toBe(x);
    expect(ops.slice(x, [0, 0], [2, 3])).toBe(x);
    expect(
      ops.pad(x, [
        [0, 0, 0],
        [0, 0, 0],
      ]),
    ).toBe(x);
    expect(ops.flip(x, [])).toBe(x);
    expect(ops.concat([x], 0)).toBe(x);
    expect(ops.cast(x, 'f32')).toBe(x);
    expect(ops.sum(x, [])).toBe(x);
    expect(ops.sumTo(x, [2, 3])).toBe(x);
  });
  test('… but are checked', () => {
    expect(() => ops.transpose(x, [0])).toThrow(ShapeError);
    expect(() => ops.slice(x, [0], [2])).toThrow(ShapeError);
  });
  test('neutral constants', () => {
    expect(ops.add(x, ops.constant(0, x))).toBe(x);
    expect(ops.add(ops.constant(0, x), x)).toBe(x);
    expect(ops.sub(x, ops.constant(0, x))).toBe(x);
    expect(ops.mul(x, ops.full([], 1, 'f32'))).toBe(x);
    expect(ops.div(x, ops.constant(1, x))).toBe(x);
    // 0·x is not 0 where x is not finite, and 0 − x is not x.
    expect(opsOf(ops.mul(x, ops.constant(0, x)))).toContain('mul');
    expect(opsOf(ops.sub(ops.constant(0, x), x))).toContain('sub');
    expect(ops.add(input(0, [3]), ops.full([2, 3], 0, 'f32')).shape).toEqual([2, 3]);
  });
  test('constants: one node of the full shape, folded', () => {
    const c = ops.broadcast(ops.full([], 0.1, 'f32'), [2, 2]);
    expect([c.op, c.shape, isOp(c, 'constant') && c.arg.value]).toEqual(['constant', [2, 2], Math.fround(0.1)]);
    expect(opsOf(ops.mul(ops.full([2], 3, 'f32'), ops.full([], 4, 'f32')))).toEqual(['constant']);
    expect(run(ops.mul(ops.full([2], 3, 'f32'), ops.full([], 4, 'f32')))).toEqual([12, 12]);
    expect(run(ops.mul(ops.full([], 65537, 'i32'), ops.full([], 65537, 'i32')))).toEqual([131073]);
    expect(run(ops.lt(ops.full([1], 1, 'f32'), ops.full([1], 2, 'f32')))).toEqual([1]);
    expect(run(ops.cast(ops.full([1], -1.5, 'f32'), 'i32'))).toEqual([-1]);
    expect(opsOf(ops.transpose(ops.full([2, 3], 1, 'f32'), [1, 0]))).toEqual(['constant']);
  });
});

test('operands broadcast', () => {
  const y = ops.add(x, input(1, [3]));
  expect([y.shape, opsOf(y)]).toEqual([
    [2, 3],
    ['input', 'input', 'broadcast', 'add'],
  ]);
  expect(run(ops.mul(tensor([1, 2], [2, 1]), tensor([3, 4, 5])))).toEqual([3, 4, 5, 6, 8, 10]);
});

test('the complement of a bool is its negation', () => {
  expect(run(ops.bitNot(tensor([1, 0], [2], 'bool')))).toEqual([0, 1]);
});

test('sumTo undoes a broadcast', () => {
  expect(run(ops.sumTo(tensor([1, 2, 3, 4, 5, 6], [2, 3]), [3]))).toEqual([5, 7, 9]);
  expect(run(ops.sumTo(tensor([1, 2, 3, 4, 5, 6], [2, 3]), [2, 1]))).toEqual([6, 15]);
  expect(run(ops.sumTo(tensor([1, 2, 3, 4, 5, 6], [2, 3]), []))).toEqual([21]);
});

test('iota', () => {
  expect(run(ops.iota([2, 3], 1, 'i32'))).toEqual([0, 1, 2, 0, 1, 2]);
  expect(run(ops.iota([2, 3], 0, 'f32'))).toEqual([0, 0, 0, 1, 1, 1]);
  expect(() => ops.iota([2], 1, 'i32')).toThrow(ShapeError);
});

test('sources check themselves', () => {
  expect(() => ops.buffer(new Float32Array(3), [2, 2], 'f32')).toThrow(/Expected 4 elements/);
  expect(() => ops.input(0, 'x', [-1], 'f32')).toThrow(ShapeError);
});

test('verify finds a node that its rule does not make', () => {
  const y = ops.add(x, x);
  expect(verify([y])).toEqual([]);
  const wrong: Node = { ...y, shape: [3, 2] };
  expect(verify([wrong])).toEqual([expect.stringMatching(/\(add\).*Expected f32\[2, 3\], received f32\[3, 2\]/)]);
  const broken: Node = { ...y, inputs: [x, input(1, [4])] };
  expect(verify([broken])).toEqual([expect.stringMatching(/operands differ in shape/)]);
});

test('print gives a line a node', () => {
  const variable = { id: 1, name: 'dense/kernel', shape: [3], dtype: 'f32', version: 2 } as const;
  const y = ops.sum(ops.mul(x, ops.variable(variable)), [1]);
  expect(print([y])).toBe(
    [
      '%0 = input f32[2, 3] index=0 name="x0"',
      '%1 = variable f32[3] variable="dense/kernel" version=2',
      '%2 = broadcast f32[2, 3] (%1) shape=[2, 3]',
      '%3 = mul f32[2, 3] (%0, %2)',
      '%4 = sum f32[2] (%3) axes=[1]',
      '→ %4',
    ].join('\n'),
  );
  expect(print([tensor([1, 2])])).toBe('%0 = buffer f32[2] data=8 bytes\n→ %0');
});
