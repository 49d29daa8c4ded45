/** @file Keras's activation functions as plain operations on any shape. Integers become f32. */

import { ShapeError } from '../base/errors.js';
import { normalizeAxis, showShape } from '../base/shape.js';
import { ops } from '../graph/builder.js';
import type { Node } from '../graph/node.js';
import { floatNode } from './operand.js';
import { fromNode, type Tensor, type TensorLike } from './tensor.js';

const c = (value: number, x: Node): Node => ops.constant(value, x);
const positive = (x: Node): Node => ops.lt(c(0, x), x);
const on =
  (f: (x: Node) => Node) =>
  (x: TensorLike): Tensor =>
    fromNode(f(floatNode(x)));

/** ln(1 + eˣ), without overflow. */
const softplusNode = (x: Node): Node => ops.add(ops.max(x, c(0, x)), ops.log1p(ops.exp(ops.neg(ops.abs(x)))));
/** Identity below, 1 above: clip((x + shift) / width, 0, 1). */
const hardSigmoidNode = (x: Node): Node => ops.min(ops.max(ops.add(ops.mul(x, c(1 / 6, x)), c(0.5, x)), c(0, x)), c(1, x));
/** select with gradient 0 on the other side; its value is computed on a harmless argument there. */
const below = (x: Node, negative: (x: Node) => Node): Node => ops.select(positive(x), x, negative(ops.min(x, c(0, x))));

export const linear = on((x) => x);
/** 0 where x ≤ 0, else x: a NaN stays one, so that a loss shows it. */
const rectified = (x: Node): Node => ops.select(ops.le(x, c(0, x)), c(0, x), x);
/** max(x, 0), with gradient 0 at 0 (as TensorFlow and PyTorch have it). NaN stays NaN. */
export const relu = on(rectified);
/** min(max(x, 0), 6). */
export const relu6 = on((x) => ops.min(rectified(x), c(6, x)));
/** x for x > 0, else negativeSlope·x. Keras's default slope 0.2. */
export const leakyRelu = (x: TensorLike, negativeSlope = 0.2): Tensor =>
  on((n) => ops.select(positive(n), n, ops.mul(n, c(negativeSlope, n))))(x);
/** x for x > 0, else alpha·(eˣ − 1). */
export const elu = (x: TensorLike, alpha = 1): Tensor => on((n) => below(n, (m) => ops.mul(c(alpha, n), ops.expm1(m))))(x);
const SELU_SCALE = 1.0507009873554805;
const SELU_ALPHA = 1.6732632423543772;
/** Self-normalizing ELU (Klambauer et al. 2017). */
export const selu = on((x) =>
  ops.mul(
    c(SELU_SCALE, x),
    below(x, (m) => ops.mul(c(SELU_ALPHA, x), ops.expm1(m))),
  ),
);
/** max(x, 0) + min(0, alpha·(e^(x/alpha) − 1)) (Barron 2017). */
export const celu = (x: TensorLike, alpha = 1): Tensor =>
  on((n) => below(n, (m) => ops.mul(c(alpha, n), ops.expm1(ops.mul(m, c(1 / alpha, n))))))(x);
export const sigmoid = on((x) => ops.sigmoid(x));
/** ln σ(x), without overflow. */
export const logSigmoid = on((x) => ops.neg(softplusNode(ops.neg(x))));
export const softplus = on(softplusNode);
/** x / (1 + |x|). */
export const softsign = on((x) => ops.div(x, ops.add(c(1, x), ops.abs(x))));
/** clip(x/6 + ½, 0, 1). */
export const hardSigmoid = on(hardSigmoidNode);
/** x · hardSigmoid(x). */
export const hardSilu = on((x) => ops.mul(x, hardSigmoidNode(x)));
/** clip(x, −1, 1). */
export const hardTanh = on((x) => ops.min(ops.max(x, c(-1, x)), c(1, x)));
/** x · σ(x). */
export const silu = on((x) => ops.mul(x, ops.sigmoid(x)));
/** x · tanh(softplus(x)) (Misra 2019). */
export const mish = on((x) => ops.mul(x, ops.tanh(softplusNode(x))));
/** x·Φ(x): by tanh (Keras's default is exact: approximate = false), or by erf (Hendrycks & Gimpel 2016). */
export const gelu = (x: TensorLike, approximate = false): Tensor =>
  on((n) => {
    const half = ops.mul(n, c(0.5, n));
    if (!approximate) return ops.mul(half, ops.add(c(1, n), ops.erf(ops.mul(n, c(Math.SQRT1_2, n)))));
    const inner = ops.mul(n, ops.add(c(1, n), ops.mul(c(0.044715, n), ops.mul(n, n))));
    return ops.mul(half, ops.add(c(1, n), ops.tanh(ops.mul(c(Math.sqrt(2 / Math.PI), n), inner))));
  })(x);
/** First half of `axis` times the sigmoid of the second (Dauphin et al. 2016). Throws ShapeError on an odd extent. */
export function glu(x: TensorLike, axis = -1): Tensor {
  const n = floatNode(x);
  const a = normalizeAxis(axis, n.shape.length, 'glu');
  if (n.shape[a] % 2) throw new ShapeError(`glu: axis ${axis} of ${showShape(n.shape)} cannot be halved. Expected an even extent.`);
  const half = (from: number, to: number): Node =>
    ops.slice(
      n,
      n.shape.map((_, i) => (i === a ? from : 0)),
      n.shape.map((d, i) => (i === a ? to : d)),
    );
  return fromNode(ops.mul(half(0, n.shape[a] / 2), ops.sigmoid(half(n.shape[a] / 2, n.shape[a]))));
}
/** x where |x| > threshold, else 0. */
export const hardShrink = (x: TensorLike, threshold = 0.5): Tensor =>
  on((n) => ops.select(ops.le(ops.abs(n), c(threshold, n)), c(0, n), n))(x);
/** sign(x)·max(|x| − threshold, 0). */
export const softShrink = (x: TensorLike, threshold = 0.5): Tensor =>
  on((n) => ops.mul(ops.sign(n), ops.max(ops.sub(ops.abs(n), c(threshold, n)), c(0, n))))(x);
/** x − tanh x. */
export const tanhShrink = on((x) => ops.sub(x, ops.tanh(x)));
/** x where x > threshold, else `value`. */
export const threshold = (x: TensorLike, limit: number, value: number): Tensor =>
  on((n) => ops.select(ops.lt(c(limit, n), n), n, c(value, n)))(x);
/** (x + √(x² + b)) / 2. */
export const squareplus = (x: TensorLike, b = 4): Tensor =>
  on((n) => ops.mul(c(0.5, n), ops.add(n, ops.sqrt(ops.add(ops.mul(n, n), c(b, n))))))(x);
export const exponential = on((x) => ops.exp(x));
/** 0 below −1, 1 above 1, (x + 1)/2 between. */
export const sparseSigmoid = on((x) => ops.min(ops.max(ops.mul(c(0.5, x), ops.add(x, c(1, x))), c(0, x)), c(1, x)));
/** 0 below −1, x above 1, ((x + 1)/2)² between. */
export const sparsePlus = on((x) => {
  const half = ops.mul(c(0.5, x), ops.add(x, c(1, x)));
  return ops.select(ops.le(x, c(-1, x)), c(0, x), ops.select(ops.lt(x, c(1, x)), ops.mul(half, half), x));
});

/** Euclidean projection onto the simplex along `axis` (Martins & Astudillo 2016). */
export function sparsemax(x: TensorLike, axis = -1): Tensor {
  const n = floatNode(x);
  const a = normalizeAxis(axis, n.shape.length, 'sparsemax');
  const keep = n.shape.map((d, i) => (i === a ? 1 : d));
  const sorted = ops.takeAlong(n, ops.argsort(n, a, true), a);
  const rank = ops.add(ops.iota(n.shape, a, n.dtype), c(1, n));
  const running = ops.cumsum(sorted, a);
  const inside = ops.lt(running, ops.add(c(1, n), ops.mul(rank, sorted)));
  const support = ops.reshape(ops.sum(ops.cast(inside, n.dtype), [a]), keep);
  const total = ops.reshape(ops.sum(ops.select(inside, sorted, c(0, n)), [a]), keep);
  const tau = ops.div(ops.sub(total, c(1, total)), support);
  return fromNode(ops.max(ops.sub(n, tau), c(0, n)));
}
export { hardSilu as hardSwish, silu as swish };
