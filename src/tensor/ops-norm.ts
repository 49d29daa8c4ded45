/** @file Softmax and its kin, normalizations and cross-entropies from logits: composites in a numerically safe form. */
import { isInteger } from '../base/dtype.js';
import { ShapeError } from '../base/errors.js';
import { normalizeAxes, showShape } from '../base/shape.js';
import { ops } from '../graph/builder.js';
import type { Node } from '../graph/node.js';
import { floatNode, indexNode, toNode } from './operand.js';
import { restore } from './ops-reduce.js';
import { fromNode, type Tensor, type TensorLike } from './tensor.js';

const shifted = (n: Node, axes: readonly number[]): Node => ops.sub(n, ops.stopGradient(restore(ops.reduceMax(n, axes), n, axes)));
const axesOf = (n: Node, axis: number | readonly number[], who: string): number[] => normalizeAxes(axis, n.shape.length, who);

/** eˣ / Σ eˣ along `axis`. */
export function softmax(x: TensorLike, axis: number | readonly number[] = -1): Tensor {
  const n = floatNode(x);
  const axes = axesOf(n, axis, 'softmax');
  const e = ops.exp(shifted(n, axes));
  return fromNode(ops.div(e, restore(ops.sum(e, axes), n, axes)));
}
const logSoftmaxNode = (n: Node, axes: readonly number[]): Node => {
  const s = shifted(n, axes);
  return ops.sub(s, restore(ops.log(ops.sum(ops.exp(s), axes)), n, axes));
};
/** x − ln Σ eˣ along `axis`. */
export function logSoftmax(x: TensorLike, axis: number | readonly number[] = -1): Tensor {
  const n = floatNode(x);
  return fromNode(logSoftmaxNode(n, axesOf(n, axis, 'logSoftmax')));
}

// ---- cross-entropies: one number a row, reduced over the last axis

/** −Σ labels · ln softmax(logits) over the last axis: logits and labels [..., classes] → [...]. */
export function crossEntropyFromLogits(logits: TensorLike, labels: TensorLike): Tensor {
  const n = floatNode(logits);
  const y = ops.cast(toNode(labels), n.dtype);
  if (showShape(n.shape) !== showShape(y.shape))
    throw new ShapeError(
      `crossEntropyFromLogits: logits ${showShape(n.shape)} and labels ${showShape(y.shape)} differ. Expected one probability a class. Use sparseCrossEntropyFromLogits for class numbers.`,
    );
  const last = [n.shape.length - 1];
  return fromNode(ops.neg(ops.sum(ops.mul(y, logSoftmaxNode(n, last)), last)));
}
/** −ln softmax(logits)[label]: logits [..., classes], integer labels [...] (or [..., 1]) → [...]. */
export function sparseCrossEntropyFromLogits(logits: TensorLike, labels: TensorLike): Tensor {
  const n = floatNode(logits);
  const last = n.shape.length - 1;
  const lead = n.shape.slice(0, last);
  let i = isInteger(toNode(labels).dtype) ? indexNode(labels, 'sparseCrossEntropyFromLogits') : ops.cast(toNode(labels), 'i32');
  if (i.shape.length === last + 1 && i.shape[last] === 1) i = ops.reshape(i, lead);
  if (showShape(i.shape) !== showShape(lead))
    throw new ShapeError(
      `sparseCrossEntropyFromLogits: labels ${showShape(i.shape)} for logits ${showShape(n.shape)}. Expected ${showShape(lead)}.`,
    );
  // By comparison with the class numbers and not by a gather, so that the backward pass fuses instead of scattering.
  const hot = ops.eq(ops.broadcast(ops.reshape(i, [...lead, 1]), n.shape), ops.iota(n.shape, last, 'i32'));
  const picked = ops.sum(ops.select(hot, logSoftmaxNode(n, [last]), ops.constant(0, n)), [last]);
  return fromNode(ops.neg(picked));
}
/** Elementwise −y ln σ(x) − (1 − y) ln(1 − σ(x)) = max(x, 0) − x·y + ln(1 + e^−|x|). */
export function binaryCrossEntropyFromLogits(logits: TensorLike, labels: TensorLike): Tensor {
  const x = floatNode(logits);
  const y = ops.cast(toNode(labels), x.dtype);
  const zero = ops.constant(0, x);
  const tail = ops.log1p(ops.exp(ops.neg(ops.abs(x))));
  return fromNode(ops.add(ops.sub(ops.max(x, zero), ops.mul(x, y)), tail));
}

// ---- normalizations

/** (x − mean) · rsqrt(variance + epsilon) · scale + offset, the statistics given (broadcast along `axis`). */
export function batchNormalization(
  x: TensorLike,
  mean: TensorLike,
  variance: TensorLike,
  axis = -1,
  options: { offset?: TensorLike; scale?: TensorLike; epsilon?: number } = {},
): Tensor {
  const n = floatNode(x);
  const [a] = axesOf(n, axis, 'batchNormalization');
  const wide = (v: TensorLike): Node => {
    const m = ops.cast(toNode(v), n.dtype);
    return m.shape.length === 1
      ? ops.reshape(
          m,
          n.shape.map((d, i) => (i === a ? d : 1)),
        )
      : m;
  };
  const spread = wide(variance);
  let factor = ops.rsqrt(ops.add(spread, ops.constant(options.epsilon ?? 1e-3, spread)));
  if (options.scale !== undefined) factor = ops.mul(factor, wide(options.scale));
  const y = ops.mul(ops.sub(n, wide(mean)), factor);
  return fromNode(options.offset === undefined ? y : ops.add(y, wide(options.offset)));
}
export interface NormOptions {
  scale?: TensorLike;
  offset?: TensorLike;
  epsilon?: number;
}
const affine = (y: Node, axes: readonly number[], options: NormOptions): Node => {
  const wide = (v: TensorLike): Node => {
    const m = ops.cast(toNode(v), y.dtype);
    return m.shape.length === axes.length
      ? ops.reshape(
          m,
          y.shape.map((d, i) => (axes.includes(i) ? d : 1)),
        )
      : m;
  };
  const scaled = options.scale === undefined ? y : ops.mul(y, wide(options.scale));
  return options.offset === undefined ? scaled : ops.add(scaled, wide(options.offset));
};
const meanOf = (n: Node, axes: readonly number[]): Node => {
  const s = ops.sum(n, axes);
  return restore(ops.mul(s, ops.constant(1 / axes.reduce((k, a) => k * n.shape[a], 1), s)), n, axes);
};
/** 16-bit inputs are normalized in f32 and rounded once. */
const inF32 = (x: Node, normalize: (n: Node) => Node): Tensor => fromNode(ops.cast(normalize(ops.cast(x, 'f32')), x.dtype));

/** Layer normalization over `axis` (Ba et al. 2016); scale and offset have those axes' shape. */
export function layerNormalization(x: TensorLike, axis: number | readonly number[] = -1, options: NormOptions = {}): Tensor {
  const node = floatNode(x);
  const axes = axesOf(node, axis, 'layerNormalization');
  return inF32(node, (n) => {
    const d = ops.sub(n, meanOf(n, axes));
    const v = meanOf(ops.mul(d, d), axes);
    return affine(ops.mul(d, ops.rsqrt(ops.add(v, ops.constant(options.epsilon ?? 1e-3, v)))), axes, options);
  });
}
/** x · rsqrt(mean x² + epsilon) (Zhang & Sennrich 2019). */
export function rmsNormalization(x: TensorLike, axis: number | readonly number[] = -1, options: NormOptions = {}): Tensor {
  const node = floatNode(x);
  const axes = axesOf(node, axis, 'rmsNormalization');
  return inF32(node, (n) => {
    const v = meanOf(ops.mul(n, n), axes);
    return affine(ops.mul(n, ops.rsqrt(ops.add(v, ops.constant(options.epsilon ?? 1e-3, v)))), axes, options);
  });
}
export { layerNormalization as layerNorm, rmsNormalization as rmsNorm };
