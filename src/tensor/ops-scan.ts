/** @file Running sums, products and maxima, sorting and top-k. */
import { ConfigError } from '../base/errors.js';
import { normalizeAxis, showShape, size } from '../base/shape.js';
import { ops } from '../graph/builder.js';
import type { Node } from '../graph/node.js';
import { numberNode, toNode } from './operand.js';
import { fromNode, type Tensor, type TensorLike } from './tensor.js';

function along(who: string, x: Node, axis: number | null | undefined): [Node, number] {
  if (axis === undefined || axis === null) return [x.shape.length === 1 ? x : ops.reshape(x, [size(x.shape)]), 0];
  return [x, normalizeAxis(axis, x.shape.length, who)];
}
export interface ScanOptions {
  reverse?: boolean;
  exclusive?: boolean;
}
/** Running sum along `axis` (of the flattened tensor when left out). */
export const cumsum = (x: TensorLike, axis?: number | null, options: ScanOptions = {}): Tensor =>
  fromNode(ops.cumsum(...along('cumsum', numberNode(x), axis), options));
export const cumprod = (x: TensorLike, axis?: number | null, options: ScanOptions = {}): Tensor =>
  fromNode(ops.cumprod(...along('cumprod', numberNode(x), axis), options));
export const cummax = (x: TensorLike, axis?: number | null, options: { reverse?: boolean } = {}): Tensor =>
  fromNode(ops.cummax(...along('cummax', toNode(x), axis), options));
export const cummin = (x: TensorLike, axis?: number | null, options: { reverse?: boolean } = {}): Tensor => {
  const [n, a] = along('cummin', numberNode(x), axis);
  return fromNode(ops.neg(ops.cummax(ops.neg(n), a, options)));
};
export interface SortOptions {
  descending?: boolean;
}
/** Positions (i32) that sort along `axis`; stable; NaN last ascending. */
export const argsort = (x: TensorLike, axis: number | null = -1, options: SortOptions = {}): Tensor =>
  fromNode(ops.argsort(...along('argsort', toNode(x), axis), options.descending ?? false));
/** Sorted along `axis`. */
export function sort(x: TensorLike, axis: number | null = -1, options: SortOptions = {}): Tensor {
  const [n, a] = along('sort', toNode(x), axis);
  return fromNode(ops.takeAlong(n, ops.argsort(n, a, options.descending ?? false), a));
}
/** The k largest along the last axis, in descending order, and their positions (i32). Throws ConfigError when k exceeds it. */
export function topK(x: TensorLike, k: number): { values: Tensor; indices: Tensor } {
  const n = toNode(x);
  const a = normalizeAxis(-1, n.shape.length, 'topK');
  if (!Number.isInteger(k) || k < 1 || k > n.shape[a])
    throw new ConfigError(`topK: k is ${k} for shape ${showShape(n.shape)}. Expected an integer in [1, ${n.shape[a]}].`);
  const order = ops.argsort(n, a, true);
  const first = ops.slice(
    order,
    order.shape.map(() => 0),
    order.shape.map((d, i) => (i === a ? k : d)),
  );
  return { values: fromNode(ops.takeAlong(n, first, a)), indices: fromNode(first) };
}
/** Whether the target class is among the k largest of each row: targets [n], predictions [n, classes] → bool [n]. */
export function inTopK(targets: TensorLike, predictions: TensorLike, k: number): Tensor {
  const p = toNode(predictions);
  const t = ops.cast(toNode(targets), 'i32');
  const a = p.shape.length - 1;
  const own = ops.takeAlong(p, ops.reshape(t, [...t.shape, 1]), a);
  const better = ops.sum(ops.cast(ops.lt(own, p), 'i32'), [a]);
  return fromNode(ops.lt(better, ops.full([], k, 'i32')));
}
