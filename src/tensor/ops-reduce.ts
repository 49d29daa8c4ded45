/** @file Reductions with NumPy's `axis` and `keepdims`: sums, moments, extremes, counting, norms. */
import { type DType, isFloat } from '../base/dtype.js';
import { ConfigError, ShapeError } from '../base/errors.js';
import { normalizeAxes, normalizeAxis, showShape, size } from '../base/shape.js';
import { ops } from '../graph/builder.js';
import type { Node } from '../graph/node.js';
import { floatNode, rootNode, toNode } from './operand.js';
import { fromNode, type Tensor, type TensorLike } from './tensor.js';

/** One axis, several, or all when undefined or null; negative ones count from the last. */
export type Axes = number | readonly number[] | null | undefined;

/** Puts reduced axes back with extent 1. */
export function restore(reduced: Node, before: Node, axes: readonly number[]): Node {
  return ops.reshape(
    reduced,
    before.shape.map((d, i) => (axes.includes(i) ? 1 : d)),
  );
}
function reduce(who: string, n: Node, axis: Axes, keepdims: boolean, f: (n: Node, axes: number[]) => Node): Node {
  const axes = normalizeAxes(axis ?? undefined, n.shape.length, who);
  const y = axes.length === 0 ? n : f(n, axes);
  return keepdims ? restore(y, n, axes) : y;
}
/** Sums are taken in i32 for bool and small integers. */
const summable = (x: TensorLike, dtype?: DType): Node => {
  const n = toNode(x, dtype);
  return n.dtype === 'bool' || n.dtype === 'i8' ? ops.cast(n, 'i32') : n.dtype === 'u8' ? ops.cast(n, 'u32') : n;
};
const count = (n: Node, axes: readonly number[]): number => axes.reduce((k, a) => k * n.shape[a], 1);
const requireSome = (who: string, n: Node, axes: readonly number[]): void => {
  if (count(n, axes) === 0)
    throw new ShapeError(`${who}: nothing to reduce over in shape ${showShape(n.shape)}. Expected at least one element.`);
};

/** Sum; bool and i8 give i32, u8 gives u32. */
export const sum = (x: TensorLike, axis?: Axes, keepdims = false): Tensor =>
  fromNode(reduce('sum', summable(x), axis, keepdims, (n, a) => ops.sum(n, a)));
export const prod = (x: TensorLike, axis?: Axes, keepdims = false): Tensor =>
  fromNode(reduce('prod', summable(x), axis, keepdims, (n, a) => ops.prod(n, a)));

const meanNode = (n: Node, axes: readonly number[]): Node => {
  const s = ops.sum(n, axes);
  return ops.mul(s, ops.constant(1 / count(n, axes), s));
};
/** Mean; integers give f32. */
export const mean = (x: TensorLike, axis?: Axes, keepdims = false): Tensor =>
  fromNode(reduce('mean', floatNode(x), axis, keepdims, meanNode));

/** Mean and variance, as [mean, variance]. */
export function moments(x: TensorLike, axis?: Axes, keepdims = false): [Tensor, Tensor] {
  const n = floatNode(x);
  const axes = normalizeAxes(axis ?? undefined, n.shape.length, 'moments');
  const m = restore(meanNode(n, axes), n, axes);
  const d = ops.sub(n, m);
  const v = meanNode(ops.mul(d, d), axes);
  const flat = ops.reshape(m, v.shape);
  return [fromNode(keepdims ? m : flat), fromNode(keepdims ? restore(v, n, axes) : v)];
}
/** Variance; divides by count − ddof. */
export function variance(x: TensorLike, axis?: Axes, keepdims = false, ddof = 0): Tensor {
  const n = floatNode(x);
  return fromNode(
    reduce('variance', n, axis, keepdims, (_, axes) => {
      const d = ops.sub(n, restore(meanNode(n, axes), n, axes));
      const s = ops.sum(ops.mul(d, d), axes);
      return ops.mul(s, ops.constant(1 / (count(n, axes) - ddof), s));
    }),
  );
}
/** Standard deviation; divides by count − ddof. Its gradient at equal values is 0. */
export const std = (x: TensorLike, axis?: Axes, keepdims = false, ddof = 0): Tensor =>
  fromNode(rootNode(variance(x, axis, keepdims, ddof).node));

const extreme =
  (who: string, f: (n: Node, axes: readonly number[]) => Node) =>
  (x: TensorLike, axis?: Axes, keepdims = false): Tensor =>
    fromNode(
      reduce(who, toNode(x), axis, keepdims, (n, axes) => {
        requireSome(who, n, axes);
        return f(n, axes);
      }),
    );
/** Largest element; NaN when there is one. */
export const max = extreme('max', (n, a) => ops.reduceMax(n, a));
export const min = extreme('min', (n, a) => ops.reduceMin(n, a));
/** Largest − smallest. */
export const ptp = extreme('ptp', (n, a) => ops.sub(ops.reduceMax(n, a), ops.reduceMin(n, a)));

const truth = (x: TensorLike): Node => ops.cast(toNode(x), 'bool');
// Through i32: sums of bool are counts, and every device has them.
const countTrue = (n: Node, axes: readonly number[]): Node => ops.sum(ops.cast(n, 'i32'), axes);
/** Whether any element is true (≠ 0). */
export const any = (x: TensorLike, axis?: Axes, keepdims = false): Tensor =>
  fromNode(reduce('any', truth(x), axis, keepdims, (n, axes) => ops.cast(countTrue(n, axes), 'bool')));
/** Whether all elements are. */
export const all = (x: TensorLike, axis?: Axes, keepdims = false): Tensor =>
  fromNode(reduce('all', truth(x), axis, keepdims, (n, axes) => ops.not(ops.cast(countTrue(ops.not(n), axes), 'bool'))));
/** Number of elements ≠ 0, i32. */
export const countNonzero = (x: TensorLike, axis?: Axes, keepdims = false): Tensor => {
  const n = truth(x);
  return fromNode(reduce('countNonzero', n, axis, keepdims, countTrue));
};

const arg =
  (who: string, f: (n: Node, axis: number) => Node) =>
  (x: TensorLike, axis?: number | null, keepdims = false): Tensor => {
    const n = toNode(x);
    if (axis === undefined || axis === null) {
      requireSome(
        who,
        n,
        n.shape.map((_, i) => i),
      );
      const y = f(ops.reshape(n, [size(n.shape)]), 0);
      return fromNode(
        keepdims
          ? ops.reshape(
              y,
              n.shape.map(() => 1),
            )
          : y,
      );
    }
    const a = normalizeAxis(axis, n.shape.length, who);
    requireSome(who, n, [a]);
    const y = f(n, a);
    return fromNode(keepdims ? restore(y, n, [a]) : y);
  };
/** Position (i32) of the first largest element along `axis`, or of the flattened tensor. */
export const argmax = arg('argmax', (n, a) => ops.argmax(n, a));
export const argmin = arg('argmin', (n, a) => ops.argmin(n, a));

/** ln Σ eˣ, without overflow. */
export function logSumExp(x: TensorLike, axis?: Axes, keepdims = false): Tensor {
  const n = floatNode(x);
  const axes = normalizeAxes(axis ?? undefined, n.shape.length, 'logSumExp');
  const top = ops.stopGradient(restore(ops.reduceMax(n, axes), n, axes));
  // All −∞ (or one +∞): subtracting the maximum would make NaN.
  const finite = ops.lt(ops.abs(top), ops.constant(Number.POSITIVE_INFINITY, top));
  const shift = ops.select(finite, top, ops.constant(0, top));
  const s = ops.sum(ops.exp(ops.sub(n, shift)), axes);
  const y = ops.add(ops.log(s), ops.reshape(shift, s.shape));
  return fromNode(keepdims ? restore(y, n, axes) : y);
}

/** Median along one axis or of all elements; the mean of the middle two when even. */
export function median(x: TensorLike, axis?: number | null, keepdims = false): Tensor {
  return quantile(x, 0.5, axis, keepdims);
}
/** q-quantile (0 ≤ q ≤ 1), linear between neighbours as in NumPy. */
export function quantile(x: TensorLike, q: number, axis?: number | null, keepdims = false): Tensor {
  if (!(q >= 0 && q <= 1)) throw new ConfigError(`quantile: q is out of range. Expected a number in [0, 1], received ${q}.`);
  let n = floatNode(x);
  const before = n;
  const flat = axis === undefined || axis === null;
  if (flat) n = ops.reshape(n, [size(n.shape)]);
  const a = flat ? 0 : normalizeAxis(axis, n.shape.length, 'quantile');
  requireSome('quantile', n, [a]);
  const sorted = ops.takeAlong(n, ops.argsort(n, a), a);
  const position = q * (n.shape[a] - 1);
  const at = (i: number): Node =>
    ops.slice(
      sorted,
      n.shape.map((_, j) => (j === a ? i : 0)),
      n.shape.map((d, j) => (j === a ? i + 1 : d)),
    );
  const low = Math.floor(position);
  const lower = at(low);
  const y = position === low ? lower : ops.add(lower, ops.mul(ops.sub(at(low + 1), lower), ops.constant(position - low, lower)));
  const shape = flat ? before.shape.map(() => 1) : y.shape;
  return fromNode(ops.reshape(y, keepdims ? shape : flat ? [] : n.shape.filter((_, i) => i !== a)));
}

/** Weighted mean along `axis`. */
export function average(x: TensorLike, axis?: Axes, weights?: TensorLike): Tensor {
  if (weights === undefined) return mean(x, axis);
  const n = floatNode(x);
  const axes = normalizeAxes(axis ?? undefined, n.shape.length, 'average');
  let w = ops.cast(toNode(weights), n.dtype);
  if (w.shape.length === 1 && axes.length === 1)
    w = ops.reshape(
      w,
      n.shape.map((d, i) => (i === axes[0] ? d : 1)),
    );
  const full = ops.broadcast(w, n.shape);
  return fromNode(ops.div(ops.sum(ops.mul(n, full), axes), ops.sum(full, axes)));
}

/**
 * Vector or matrix norm: `ord` 2 (default), 1, Infinity, −Infinity, 0 (count of nonzero), any p for vectors; 'fro' for
 * matrices (`axis` of two). Without an axis: the 2-norm of all elements. The gradient at a zero vector is 0.
 */
export function norm(x: TensorLike, ord: number | 'fro' | null = null, axis?: Axes, keepdims = false): Tensor {
  const n = floatNode(x);
  return fromNode(
    reduce('norm', n, axis, keepdims, (_, axes) => {
      const isMatrix = axes.length === 2 && ((axis !== undefined && axis !== null) || n.shape.length === 2);
      const magnitude = ops.abs(n);
      if (ord === null || ord === 'fro' || (ord === 2 && !isMatrix)) return rootNode(ops.sum(ops.mul(n, n), axes));
      if (isMatrix) {
        if (Math.abs(ord) !== 1 && Math.abs(ord) !== Infinity)
          throw new ConfigError(`norm: ord ${ord} of a matrix needs singular values. Expected 'fro', ±1 or ±Infinity.`);
        const [sumAxis, pickAxis] = Math.abs(ord) === 1 ? [axes[0], axes[1]] : [axes[1], axes[0]];
        const sums = restore(ops.sum(magnitude, [sumAxis]), n, [sumAxis]);
        const picked = ord > 0 ? ops.reduceMax(sums, axes) : ops.reduceMin(sums, axes);
        return ops.reshape(
          picked,
          n.shape.filter((_d, i) => i !== pickAxis && i !== sumAxis),
        );
      }
      if (ord === Infinity) return ops.reduceMax(magnitude, axes);
      if (ord === -Infinity) return ops.reduceMin(magnitude, axes);
      if (ord === 0) return ops.cast(countTrue(ops.cast(n, 'bool'), axes), n.dtype);
      if (ord === 1) return ops.sum(magnitude, axes);
      const s = ops.sum(ops.pow(magnitude, ops.constant(ord, n)), axes);
      const root = (x: Node): Node => ops.pow(x, ops.constant(1 / ord, x));
      if (ord < 1) return root(s);
      // As rootNode: the gradient at 0 is 0.
      const isZero = ops.eq(s, ops.constant(0, s));
      return ops.select(isZero, ops.constant(0, s), root(ops.select(isZero, ops.constant(1, s), s)));
    }),
  );
}
/** x / ‖x‖ along `axis`, the norm at least √epsilon. */
export function l2Normalize(x: TensorLike, axis: Axes = -1, epsilon = 1e-12): Tensor {
  const n = floatNode(x);
  const axes = normalizeAxes(axis ?? undefined, n.shape.length, 'l2Normalize');
  const s = restore(ops.sum(ops.mul(n, n), axes), n, axes);
  return fromNode(ops.mul(n, ops.rsqrt(ops.max(s, ops.constant(epsilon, s)))));
}
/** x divided by its p-norm along `axis` (Keras's `normalize`). */
export function normalize(x: TensorLike, axis = -1, order = 2, epsilon = 1e-12): Tensor {
  if (order === 2) return l2Normalize(x, axis, epsilon * epsilon);
  const n = floatNode(x);
  const length = norm(fromNode(n), order, axis, true).node;
  return fromNode(ops.div(n, ops.max(length, ops.constant(epsilon, length))));
}
/** Whether the dtype holds fractions: re-exported for layers that choose a compute dtype. */
export const isFloating = (x: Tensor): boolean => isFloat(x.dtype);
