import { describe, expect, test } from 'vitest';
import { gradients } from '../../src/autodiff/vjp.js';
import { ConfigError, DTypeError, ShapeError } from '../../src/base/errors.js';
import { ops } from '../../src/graph/builder.js';
import { type Node, topological } from '../../src/graph/node.js';
import { expectGradient, expectSecondGradient, input, run, uniform } from '../graph/support.js';

const one = (y: Node) => ops.constant(1, y);
const x = input(0, [3]);

describe('gradients', () => {
  test('a small network: softmax cross-entropy over a dense layer', () => {
    const loss = (a: Node, w: Node, b: Node) => {
      const logits = ops.add(ops.dot(ops.tanh(a), w, { batch: [[], []], contract: [[1], [0]] }), b);
      const shifted = ops.sub(logits, ops.stopGradient(ops.reshape(ops.reduceMax(logits, [1]), [2, 1])));
      const logSum = ops.log(ops.sum(ops.exp(shifted), [1]));
      return ops.sub(logSum, ops.reshape(ops.slice(shifted, [0, 1], [2, 2]), [2]));
    };
    const points = [uniform(6, 1), uniform(12, 2), uniform(4, 3)];
    const shapes = [[2, 3], [3, 4], [4]];
    expectGradient(loss, shapes, points);
    expectSecondGradient(loss, shapes, points);
  });
  test('a node used many times gets the sum', () => {
    const y = ops.mul(ops.mul(x, x), ops.add(x, x));
    expect(run(gradients(y, one(y), [x])[0], [[1, 2, 3]])).toEqual([6, 24, 54]);
  });
  test('zeros where independent, through integers and through stopGradient', () => {
    const other = input(1, [2, 2]);
    const y = ops.add(ops.mul(ops.stopGradient(x), ops.cast(ops.cast(x, 'i32'), 'f32')), ops.floor(x));
    const [gx, g, gi] = gradients(y, one(y), [x, other, input(2, [2], 'i32')]);
    expect(run(gx, [[1, 2, 3]])).toEqual([0, 0, 0]);
    expect([g.op, g.shape, g.dtype]).toEqual(['constant', [2, 2], 'f32']);
    expect([gi.shape, gi.dtype]).toEqual([[2], 'i32']);
  });
  test('nothing is built for what does not depend on wrt', () => {
    const w = input(1, [3]);
    const y = ops.mul(ops.exp(ops.sin(w)), x);
    const [g] = gradients(y, one(y), [x]);
    expect(topological([g]).map((n) => n.op)).not.toContain('cos');
  });
  test('with respect to the output, and to a node between', () => {
    const middle = ops.exp(x);
    const y = ops.mul(middle, middle);
    const [gy, gm, gx] = gradients(y, one(y), [y, middle, x]);
    expect(run(gy)).toEqual([1, 1, 1]);
    expect(run(gm, [[0, 0, 0]])).toEqual([2, 2, 2]);
    expect(run(gx, [[0, 0, 0]])).toEqual([2, 2, 2]);
  });
  test('third derivative of x⁴', () => {
    let y: Node = ops.mul(ops.mul(x, x), ops.mul(x, x));
    for (let i = 0; i < 3; i++) y = gradients(y, one(y), [x])[0];
    expect(run(y, [[1, 2, -1]])).toEqual([24, 48, -24]);
  });
  test('10,000 deep', () => {
    let y = x;
    for (let i = 0; i < 10_000; i++) y = ops.neg(y);
    expect(run(gradients(y, one(y), [x])[0], [[1, 2, 3]])).toEqual([1, 1, 1]);
  });
});

describe('custom gradients', () => {
  const clipped = (rule: (dy: Node, a: Node) => unknown) => {
    const value = ops.mul(x, x);
    return ops.customGradient(value, [x], (dy, [a]) => [rule(dy as Node, a as Node)]);
  };
  test('the rule replaces the derivative, and is differentiable itself', () => {
    const y = clipped((dy, a) => ops.mul(dy, ops.exp(a)));
    expect(run(y, [[1, 2, 3]])).toEqual([1, 4, 9]);
    const [g] = gradients(y, one(y), [x]);
    expect(run(g, [[0, 0, 0]])).toEqual([1, 1, 1]);
    expect(run(gradients(g, one(g), [x])[0], [[0, 0, 0]])).toEqual([1, 1, 1]);
  });
  test('null gives none', () => {
    const y = clipped(() => null);
    expect(run(gradients(y, one(y), [x])[0])).toEqual([0, 0, 0]);
  });
  test('a rule that does not fit is told so', () => {
    const wrong = clipped((dy) => ops.sum(dy, [0]));
    expect(() => gradients(wrong, one(wrong), [x])).toThrow(ConfigError);
    expect(() => gradients(wrong, one(wrong), [x])).toThrow(/Expected f32\[3\], received f32\[\]/);
    const y = ops.customGradient(x, [x, x], (dy) => [dy]);
    expect(() => gradients(y, one(y), [x])).toThrow(/Expected 2, received 1/);
  });
});

test('errors', () => {
  expect(() => gradients(input(0, [2], 'i32'), input(1, [2], 'i32'), [x])).toThrow(DTypeError);
  expect(() => gradients(x, input(1, [3], 'f16'), [x])).toThrow(DTypeError);
  expect(() => gradients(x, input(1, [2]), [x])).toThrow(ShapeError);
});
