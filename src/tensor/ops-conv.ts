/** @file Convolution and pooling, channels last, with Keras's padding and TensorFlow's meaning of 'same'. */
import { ConfigError, ShapeError } from '../base/errors.js';
import { showShape } from '../base/shape.js';
import { ops } from '../graph/builder.js';
import type { Node } from '../graph/node.js';
import type { WindowArg } from '../graph/primitives/args.js';
import { atLeastFloat, floatNode, numberNode, promoted, toTensor } from './operand.js';
import { fromNode, type Tensor, type TensorLike } from './tensor.js';

/** 'valid', 'same' (TensorFlow: output ⌈in / stride⌉), one width for all sides, one an axis, or [low, high] an axis. */
export type Padding = 'valid' | 'same' | number | readonly (number | readonly [number, number])[];
export interface ConvOptions {
  strides?: number | readonly number[];
  padding?: Padding;
  /** Distance of the kernel's taps. */
  dilationRate?: number | readonly number[];
  /** Default: input channels / the kernel's input channels. */
  groups?: number;
}

const each = (who: string, what: string, value: number | readonly number[] | undefined, rank: number, otherwise = 1): number[] => {
  const list = typeof value === 'object' ? [...value] : new Array<number>(rank).fill(value ?? otherwise);
  if (list.length !== rank || list.some((v) => !Number.isInteger(v) || v < 1))
    throw new ConfigError(`${who}: ${what} is [${list}]. Expected ${rank} positive integers.`);
  return list;
};

/** Padding of each axis as [low, high]; `span` is the reach of the window, dilation included. */
function resolvePadding(
  who: string,
  padding: Padding,
  extents: readonly number[],
  span: readonly number[],
  strides: readonly number[],
): (readonly [number, number])[] {
  if (padding === 'valid') return extents.map(() => [0, 0] as const);
  if (padding === 'same')
    return extents.map((d, i) => {
      const total = Math.max(0, (Math.ceil(d / strides[i]) - 1) * strides[i] + span[i] - d);
      return [Math.floor(total / 2), total - Math.floor(total / 2)] as const;
    });
  if (typeof padding === 'string') throw new ConfigError(`${who}: padding "${String(padding)}". Expected 'valid', 'same' or numbers.`);
  if (typeof padding === 'number') return extents.map(() => [padding, padding] as const);
  if (padding.length !== extents.length) throw new ConfigError(`${who}: padding names ${padding.length} axes. Expected ${extents.length}.`);
  return padding.map((p) => (typeof p === 'number' ? ([p, p] as const) : p));
}
function requireFit(
  who: string,
  x: Node,
  extents: readonly number[],
  span: readonly number[],
  padding: readonly (readonly [number, number])[],
): void {
  extents.forEach((d, i) => {
    if (d + padding[i][0] + padding[i][1] < span[i])
      throw new ShapeError(
        `${who}: a window of ${span.join('×')} does not fit input ${showShape(x.shape)}. Expected spatial extents ≥ ${span.join('×')} after padding. Use padding: 'same'.`,
      );
  });
}

/**
 * Convolution (cross-correlation): x [n, ...spatial, channels] with kernel [...window, channels / groups, filters] →
 * [n, ...out, filters]. One to three spatial axes.
 */
export function conv(x: TensorLike, kernel: TensorLike, options: ConvOptions = {}): Tensor {
  const [n, w] = promoted([toTensor(x), toTensor(kernel)], atLeastFloat);
  const rank = n.shape.length - 2;
  if (rank < 1 || w.shape.length !== rank + 2)
    throw new ShapeError(
      `conv: input ${showShape(n.shape)} with kernel ${showShape(w.shape)}. Expected [n, ...spatial, channels] and [...window, channels, filters] of equal rank ≥ 3.`,
    );
  const channels = n.shape[rank + 1];
  const [inner, filters] = w.shape.slice(rank);
  const groups = options.groups ?? channels / inner;
  if (!Number.isInteger(groups) || inner * groups !== channels || filters % groups)
    throw new ShapeError(
      `conv: kernel ${showShape(w.shape)} in ${options.groups ?? 1} groups does not fit ${channels} channels of ${showShape(n.shape)}. Expected kernel channels × groups = ${channels} and filters divisible by groups.`,
    );
  const stride = each('conv', 'strides', options.strides, rank);
  const dilation = each('conv', 'dilationRate', options.dilationRate, rank);
  const extents = n.shape.slice(1, -1);
  const span = dilation.map((d, i) => (w.shape[i] - 1) * d + 1);
  const padding = resolvePadding('conv', options.padding ?? 'valid', extents, span, stride);
  requireFit('conv', n, extents, span, padding);
  const grouped = ops.reshape(n, [...n.shape.slice(0, -1), groups, inner]);
  // The filters of a group are neighbours: [c, g·o] → [c, g, o] → [g, c, o].
  const open = ops.reshape(w, [...w.shape.slice(0, rank + 1), groups, filters / groups]);
  const perm = [...stride.map((_, i) => i), rank + 1, rank, rank + 2];
  const y = ops.conv(grouped, ops.transpose(open, perm), { stride, padding, inputDilation: stride.map(() => 1), kernelDilation: dilation });
  return fromNode(ops.reshape(y, [...y.shape.slice(0, -2), filters]));
}

/** Each channel by itself: kernel [...window, channels, multiplier] → channels · multiplier outputs. */
export function depthwiseConv(x: TensorLike, kernel: TensorLike, options: Omit<ConvOptions, 'groups'> = {}): Tensor {
  const w = toTensor(kernel);
  const [channels, multiplier] = w.shape.slice(-2);
  const flat = ops.reshape(w.node, [...w.shape.slice(0, -2), 1, channels * multiplier]);
  return conv(x, fromNode(flat), { ...options, groups: channels });
}
/** depthwiseConv, then a 1×…×1 convolution with `pointwise` [1, …, channels · multiplier, filters]. */
export function separableConv(
  x: TensorLike,
  depthwise: TensorLike,
  pointwise: TensorLike,
  options: Omit<ConvOptions, 'groups'> = {},
): Tensor {
  return conv(depthwiseConv(x, depthwise, options), pointwise);
}

export interface ConvTransposeOptions {
  strides?: number | readonly number[];
  padding?: 'valid' | 'same';
  /** Extra extent at the end of each axis, less than the stride. */
  outputPadding?: number | readonly number[] | null;
  dilationRate?: number | readonly number[];
}
/** Extent that convTranspose gives to an axis (Keras's rule). */
export function convTransposeExtent(
  d: number,
  window: number,
  stride: number,
  padding: 'valid' | 'same',
  outputPadding: number | null,
  dilation = 1,
): number {
  const span = (window - 1) * dilation + 1;
  if (outputPadding === null) return padding === 'valid' ? d * stride + Math.max(span - stride, 0) : d * stride;
  return padding === 'valid' ? (d - 1) * stride + span + outputPadding : (d - 1) * stride + span - 2 * Math.floor(span / 2) + outputPadding;
}
/**
 * Transposed convolution: the gradient of a convolution with respect to its input, with Keras's and TensorFlow's
 * extents. x [n, ...spatial, channels], kernel [...window, filters, channels] → [n, ...out, filters].
 */
export function convTranspose(x: TensorLike, kernel: TensorLike, options: ConvTransposeOptions = {}): Tensor {
  const [n, w] = promoted([toTensor(x), toTensor(kernel)], atLeastFloat);
  const rank = n.shape.length - 2;
  if (rank < 1 || w.shape.length !== rank + 2 || w.shape[rank + 1] !== n.shape[rank + 1])
    throw new ShapeError(
      `convTranspose: input ${showShape(n.shape)} with kernel ${showShape(w.shape)}. Expected [n, ...spatial, channels] and [...window, filters, channels].`,
    );
  const stride = each('convTranspose', 'strides', options.strides, rank);
  const dilation = each('convTranspose', 'dilationRate', options.dilationRate, rank);
  const same = options.padding === 'same';
  const padding = stride.map((s, i) => {
    const span = (w.shape[i] - 1) * dilation[i] + 1;
    const d = n.shape[i + 1];
    const extra =
      options.outputPadding === undefined || options.outputPadding === null
        ? null
        : ([options.outputPadding].flat()[i] ?? [options.outputPadding].flat()[0]);
    const out = convTransposeExtent(d, w.shape[i], s, same ? 'same' : 'valid', extra, dilation[i]);
    // What TensorFlow's forward convolution of an input of extent `out` pads below.
    const low = same ? Math.floor(Math.max(0, (d - 1) * s + span - out) / 2) : 0;
    const dilated = (d - 1) * s + 1;
    const before = span - 1 - low;
    return [before, out + span - 1 - dilated - before] as const;
  });
  const spatial = stride.map((_, i) => i);
  const flipped = ops.flip(ops.transpose(w, [...spatial, rank + 1, rank]), spatial);
  const [channels, filters] = flipped.shape.slice(-2);
  const y = ops.conv(
    ops.reshape(n, [...n.shape.slice(0, -1), 1, channels]),
    ops.reshape(flipped, [...flipped.shape.slice(0, -2), 1, channels, filters]),
    {
      stride: stride.map(() => 1),
      padding,
      inputDilation: stride,
      kernelDilation: dilation,
    },
  );
  return fromNode(ops.reshape(y, [...y.shape.slice(0, -2), filters]));
}

export interface PoolOptions {
  /** Default: the pool size. */
  strides?: number | readonly number[];
  padding?: Padding;
}
function poolArg(who: string, n: Node, poolSize: number | readonly number[], options: PoolOptions): WindowArg {
  const rank = n.shape.length - 2;
  if (rank < 1) throw new ShapeError(`${who}: input ${showShape(n.shape)}. Expected [n, ...spatial, channels].`);
  const size = each(who, 'poolSize', poolSize, rank);
  const stride = options.strides === undefined ? size : each(who, 'strides', options.strides, rank);
  const extents = n.shape.slice(1, -1);
  const padding = resolvePadding(who, options.padding ?? 'valid', extents, size, stride);
  requireFit(who, n, extents, size, padding);
  return { axes: size.map((_, i) => i + 1), size, stride, padding };
}
/** Largest element of each window; padding never wins. */
export function maxPool(x: TensorLike, poolSize: number | readonly number[], options: PoolOptions = {}): Tensor {
  const n = numberNode(x);
  return fromNode(ops.windowMax(n, poolArg('maxPool', n, poolSize, options)));
}
/** Mean of each window; padding is left out of the mean, as TensorFlow does. */
export function averagePool(x: TensorLike, poolSize: number | readonly number[], options: PoolOptions = {}): Tensor {
  const n = floatNode(x);
  const arg = poolArg('averagePool', n, poolSize, options);
  const total = ops.windowSum(n, arg);
  const area = arg.size.reduce((k, d) => k * d, 1);
  if (arg.padding.every(([a, b]) => a === 0 && b === 0)) return fromNode(ops.mul(total, ops.constant(1 / area, total)));
  const ones = ops.full(
    n.shape.map((d, i) => (arg.axes.includes(i) ? d : 1)),
    1,
    n.dtype,
  );
  return fromNode(ops.div(total, ops.windowSum(ones, arg)));
}
/** x [n, h, w, c] enlarged by whole factors, each element repeated. */
export function upSample(x: TensorLike, factors: readonly number[]): Tensor {
  const n = toTensor(x).node;
  const open = n.shape.flatMap((d, i) => (i >= 1 && i <= factors.length ? [d, 1] : [d]));
  const wide = n.shape.flatMap((d, i) => (i >= 1 && i <= factors.length ? [d, factors[i - 1]] : [d]));
  const shape = n.shape.map((d, i) => (i >= 1 && i <= factors.length ? d * factors[i - 1] : d));
  return fromNode(ops.reshape(ops.broadcast(ops.reshape(n, open), wide), shape));
}
