/** @file Random draws, as `random.normal([2, 3])`. Each takes `{ seed, dtype }`, or a dtype alone in its place. */
import { type DType, requireDType } from '../base/dtype.js';
import { ConfigError } from '../base/errors.js';
import { checkOptionNames } from '../base/option-names.js';
import { normalizeAxis, type Shape, size } from '../base/shape.js';
import { ops } from '../graph/builder.js';
import type { Node } from '../graph/node.js';
import { floatNode, requireShape, toNode } from './operand.js';
import { bitsOf, type RandomState } from './random-state.js';
import { fromNode, type Tensor, type TensorLike } from './tensor.js';

export interface RandomOptions {
  /** A number: the same values at every call. A RandomState: the next ones of it. Left out: the next ones of the global state. */
  seed?: number | RandomState;
  dtype?: DType;
}

/** Checked before anything is drawn. Throws ConfigError for an option or a dtype that there isn't, ShapeError. */
function checked(who: string, options: RandomOptions | DType, shape: Shape): RandomOptions {
  requireShape(shape, who);
  const given = typeof options === 'object' && options !== null ? options : { dtype: requireDType(options, who) };
  checkOptionNames(given, { seed: true, dtype: true }, who);
  if (given.dtype !== undefined) requireDType(given.dtype, who);
  return given;
}

/** f32 in [0, 1): 24 bits. */
const unit = (shape: Shape, seed: RandomOptions['seed']): Node => {
  const bits = bitsOf(shape, seed);
  const x = ops.cast(ops.shr(bits, ops.constant(8, bits)), 'f32');
  return ops.mul(x, ops.constant(2 ** -24, x));
};
const as = (n: Node, dtype: DType | undefined): Tensor => fromNode(dtype && dtype !== n.dtype ? ops.cast(n, dtype) : n);
const affine = (n: Node, scale: number, shift: number): Node => ops.add(ops.mul(n, ops.constant(scale, n)), ops.constant(shift, n));

/** Uniform in [low, high). */
export function uniform(shape: Shape, low = 0, high = 1, options: RandomOptions | DType = {}): Tensor {
  const { seed, dtype } = checked('uniform', options, shape);
  return as(affine(unit(shape, seed), high - low, low), dtype);
}
/** Box–Muller on two uniforms an element. */
function standardNormal(shape: Shape, seed: RandomOptions['seed']): Node {
  const n = size(shape);
  const u = unit([2, n], seed);
  const part = (i: number): Node => ops.reshape(ops.slice(u, [i, 0], [i + 1, n]), [n]);
  // 1 − u is in (0, 1]: its logarithm is finite.
  const first = part(0);
  const radius = ops.sqrt(ops.mul(ops.constant(-2, first), ops.log(ops.sub(ops.constant(1, first), first))));
  return ops.reshape(ops.mul(radius, ops.cos(ops.mul(part(1), ops.constant(2 * Math.PI, first)))), shape);
}
export function normal(shape: Shape, mean = 0, stddev = 1, options: RandomOptions | DType = {}): Tensor {
  const { seed, dtype } = checked('normal', options, shape);
  return as(affine(standardNormal(shape, seed), stddev, mean), dtype);
}
/** Inverse of erf in single precision (Giles 2010). */
function inverseErf(x: Node): Node {
  const c = (v: number): Node => ops.constant(v, x);
  const w = ops.neg(ops.log(ops.mul(ops.sub(c(1), x), ops.add(c(1), x))));
  const polynomial = (at: Node, coefficients: readonly number[]): Node =>
    coefficients.slice(1).reduce<Node>((p, k) => ops.add(ops.mul(p, at), c(k)), c(coefficients[0]));
  const central = polynomial(
    ops.sub(w, c(2.5)),
    [2.81022636e-8, 3.43273939e-7, -3.5233877e-6, -4.39150654e-6, 0.00021858087, -0.00125372503, -0.00417768164, 0.246640727, 1.50140941],
  );
  const tail = polynomial(
    ops.sub(ops.sqrt(ops.max(w, c(5))), c(3)),
    [-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613, 0.00943887047, 1.00167406, 2.83297682],
  );
  return ops.mul(ops.select(ops.lt(w, c(5)), central, tail), x);
}
/** Normal, values beyond two standard deviations excluded (by inversion, so each draw costs the same). */
export function truncatedNormal(shape: Shape, mean = 0, stddev = 1, options: RandomOptions | DType = {}): Tensor {
  const { seed, dtype } = checked('truncatedNormal', options, shape);
  const edge = 0.9544997361036416;
  const u = affine(unit(shape, seed), 2 * edge, -edge);
  const z = ops.mul(inverseErf(u), ops.constant(Math.SQRT2, u));
  const limited = ops.max(ops.min(z, ops.constant(2, z)), ops.constant(-2, z));
  return as(affine(limited, stddev, mean), dtype);
}
/** Whole numbers in [low, high), i32 by default. The range must be below 2^31; the bias is below range / 2^32. */
export function randint(shape: Shape, low: number, high: number, options: RandomOptions | DType = {}): Tensor {
  const { seed, dtype } = checked('randint', options, shape);
  const range = high - low;
  if (!Number.isInteger(low) || !(range >= 1 && range < 2 ** 31))
    throw new ConfigError(`randint: [${low}, ${high}). Expected whole numbers with low < high, less than 2^31 apart.`);
  const bits = bitsOf(shape, seed);
  const below = ops.cast(ops.mod(bits, ops.constant(range, bits)), 'i32');
  return as(ops.add(below, ops.constant(low, below)), dtype);
}
/** True with probability p: bool. */
export function bernoulli(shape: Shape, p: TensorLike = 0.5, options: RandomOptions | DType = {}): Tensor {
  const { seed, dtype } = checked('bernoulli', options, shape);
  const u = unit(shape, seed);
  return as(ops.lt(u, floatNode(p)), dtype ?? 'bool');
}
const orderOf = (n: number, seed: RandomOptions['seed']): Node => {
  const bits = bitsOf([n], seed);
  // As signed numbers: every device sorts those.
  return ops.argsort(ops.cast(ops.shr(bits, ops.constant(1, bits)), 'i32'), 0);
};
/** 0 … n − 1 in random order (i32), or `x` with its slices along axis 0 in random order. */
export function permutation(x: number | TensorLike, options: RandomOptions | DType = {}): Tensor {
  const { seed, dtype } = checked('permutation', options, typeof x === 'number' ? [x] : []);
  if (typeof x === 'number') return as(orderOf(x, seed), dtype);
  return shuffle(x, 0, options);
}
/** The slices along `axis` in random order. */
export function shuffle(x: TensorLike, axis = 0, options: RandomOptions | DType = {}): Tensor {
  const { seed, dtype } = checked('shuffle', options, []);
  const n = toNode(x, dtype);
  const a = normalizeAxis(axis, n.shape.length, 'shuffle');
  return fromNode(ops.take(n, orderOf(n.shape[a], seed), a));
}
const gumbelNoise = (shape: Shape, seed: RandomOptions['seed']): Node => {
  const u = unit(shape, seed);
  // Half a step above 0, so that both logarithms are finite.
  const positive = ops.add(u, ops.constant(2 ** -25, u));
  return ops.neg(ops.log(ops.neg(ops.log(positive))));
};
/** `count` class numbers a row, by unnormalized log-probabilities [..., classes] → i32 [..., count]. */
export function categorical(logits: TensorLike, count = 1, options: RandomOptions | DType = {}): Tensor {
  const { seed, dtype } = checked('categorical', options, []);
  const n = ops.cast(floatNode(logits), 'f32');
  const lead = n.shape.slice(0, -1);
  const classes = n.shape[n.shape.length - 1];
  const shape = [...lead, count, classes];
  const scores = ops.add(ops.broadcast(ops.reshape(n, [...lead, 1, classes]), shape), gumbelNoise(shape, seed));
  return as(ops.argmax(scores, shape.length - 1), dtype);
}
/** 0 with probability `rate`, else x / (1 − rate) (Srivastava et al. 2014). `noiseShape` has 1 where the mask is shared. */
export function dropout(
  x: TensorLike,
  rate: number,
  options: { seed?: number | RandomState; noiseShape?: readonly (number | null)[] } = {},
): Tensor {
  checkOptionNames(options, { seed: true, noiseShape: true }, 'dropout');
  if (!(rate >= 0 && rate < 1)) throw new ConfigError(`dropout: rate ${rate}. Expected a number in [0, 1).`);
  const n = floatNode(x);
  if (rate === 0) return fromNode(n);
  const shape = options.noiseShape ? options.noiseShape.map((d, i) => d ?? n.shape[i]) : n.shape;
  const u = unit(shape, options.seed);
  const keep = ops.le(ops.constant(rate, u), u);
  const scaled = ops.mul(n, ops.constant(1 / (1 - rate), n));
  return fromNode(ops.select(ops.broadcast(keep, n.shape), scaled, ops.constant(0, n)));
}

/** Choice of `shape` positions of 0 … n − 1 with replacement, i32: for samplers. */
export const choice = (n: number, shape: Shape, options: RandomOptions | DType = {}): Tensor =>
  randint(shape, 0, n, checked('choice', options, shape));

/** Of the standard Gumbel distribution: added to logits, the greatest is a draw by their probabilities. */
export const gumbel = (shape: Shape, options: RandomOptions | DType = {}): Tensor => {
  const { seed, dtype } = checked('gumbel', options, shape);
  return as(gumbelNoise(shape, seed), dtype);
};
