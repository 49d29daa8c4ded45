/** @file Indexing: Python-like slices, gathering, one-hot, triangles and diagonals, dynamic slices. */
import { type DTypeOption, isFloat, optionalDType } from '../base/dtype.js';
import { ConfigError, ShapeError } from '../base/errors.js';
import { normalizeAxis, type Shape, showShape, size } from '../base/shape.js';
import { ops } from '../graph/builder.js';
import type { Node } from '../graph/node.js';
import { indexNode, promoted, requireShape, toNode, toTensor } from './operand.js';
import { fromNode, isTensor, type Tensor, type TensorLike } from './tensor.js';

/** What one place of an index may be: a position, 'a:b:c', '...', null (a new axis), or positions to gather. */
export type Index = number | string | null | Tensor | readonly number[];

const integer = (text: string, who: string): number => {
  const n = Number(text);
  if (text.trim() === '' || !Number.isInteger(n))
    throw new ConfigError(`slice: "${who}" is not an index. Expected integers, 'start:stop:step', '...' or null.`);
  return n;
};

type Item =
  | { kind: 'range'; start: number; end: number; step: number }
  | { kind: 'point'; at: number }
  | { kind: 'new' }
  | { kind: 'gather'; indices: TensorLike };

/** Python's slice.indices(): start, count and step inside an axis of `extent`. */
function resolveRange(text: string, extent: number): { start: number; end: number; step: number } {
  const parts = text.split(':').map((p) => p.trim());
  if (parts.length > 3) throw new ConfigError(`slice: "${text}" has too many colons. Expected 'start:stop:step'.`);
  const step = parts[2] ? integer(parts[2], text) : 1;
  if (step === 0) throw new ConfigError(`slice: step 0 in "${text}". Expected a step ≠ 0.`);
  const place = (p: string | undefined, otherwise: number, low: number, high: number): number => {
    if (!p) return otherwise;
    const v = integer(p, text);
    return Math.min(high, Math.max(low, v < 0 ? v + extent : v));
  };
  const start = step > 0 ? place(parts[0], 0, 0, extent) : place(parts[0], extent - 1, -1, extent - 1);
  const end = step > 0 ? place(parts[1], extent, 0, extent) : place(parts[1], -1, -1, extent - 1);
  return { start, end, step };
}

/**
 * NumPy's basic indexing, and one list or tensor of positions a place: `x.get('1:, ::-2, ..., 3')` is `x.get('1:', '::-2', '...', 3)`.
 * Throws ShapeError for positions out of range or too many indices.
 */
export function get(x: TensorLike, ...index: Index[]): Tensor {
  let n = toNode(x);
  const places = index.flatMap<Index>((i) => (typeof i === 'string' ? i.split(',').map((s) => s.trim()) : [i]));
  const used = places.filter((p) => p !== null && p !== 'newaxis' && p !== '...').length;
  if (places.filter((p) => p === '...').length > 1) throw new ConfigError('slice: "..." appears twice. Expected it at most once.');
  if (used > n.shape.length)
    throw new ShapeError(`slice: ${used} indices for shape ${showShape(n.shape)}. Expected at most ${n.shape.length}.`);
  const items: Item[] = [];
  let axis = 0;
  const whole = (): void => void items.push({ kind: 'range', start: 0, end: n.shape[axis++], step: 1 });
  const point = (at: number): void => {
    const extent = n.shape[axis++];
    if (!Number.isInteger(at) || at < -extent || at >= extent)
      throw new ShapeError(
        `slice: index ${at} is out of range on axis ${axis - 1} of ${showShape(n.shape)}. Expected an integer in [${-extent}, ${extent}).`,
      );
    items.push({ kind: 'point', at: at < 0 ? at + extent : at });
  };
  for (const p of places) {
    if (p === null || p === 'newaxis') items.push({ kind: 'new' });
    else if (p === '...') for (let k = n.shape.length - used; k > 0; k--) whole();
    else if (typeof p === 'number') point(p);
    else if (typeof p === 'string') {
      if (p.includes(':')) items.push({ kind: 'range', ...resolveRange(p, n.shape[axis++]) });
      else point(integer(p, p));
    } else if (p !== null) {
      axis++;
      items.push({ kind: 'gather', indices: isTensor(p) ? p : Int32Array.from(p) });
    }
  }
  while (axis < n.shape.length) whole();

  // One slice with positive steps, a flip for negative ones, gathers from the last axis, then the new shape.
  const kept = items.filter((i) => i.kind !== 'new');
  const start: number[] = [];
  const end: number[] = [];
  const stride: number[] = [];
  const flips: number[] = [];
  kept.forEach((item, a) => {
    if (item.kind === 'range') {
      const length = Math.max(0, Math.ceil((item.end - item.start) / item.step));
      const last = item.start + (length - 1) * item.step;
      start.push(length === 0 ? 0 : Math.min(item.start, last));
      end.push(length === 0 ? 0 : Math.max(item.start, last) + 1);
      stride.push(Math.abs(item.step));
      if (item.step < 0) flips.push(a);
    } else {
      start.push(item.kind === 'point' ? item.at : 0);
      end.push(item.kind === 'point' ? item.at + 1 : n.shape[a]);
      stride.push(1);
    }
  });
  n = ops.slice(n, start, end, stride);
  if (flips.length > 0) n = ops.flip(n, flips);
  for (let a = kept.length - 1; a >= 0; a--) {
    const item = kept[a];
    if (item.kind === 'gather') n = take(fromNode(n), item.indices, a).node;
  }
  const shape: number[] = [];
  let at = 0;
  for (const item of items) {
    if (item.kind === 'new') shape.push(1);
    else if (item.kind === 'point') at++;
    else if (item.kind === 'gather') for (let k = toNode(item.indices).shape.length; k > 0; k--) shape.push(n.shape[at++]);
    else shape.push(n.shape[at++]);
  }
  return fromNode(ops.reshape(n, shape));
}

const isList = (i: Index | undefined): i is readonly number[] => Array.isArray(i);

/** A block of `sizes` (−1: to the end) from `start`; or, with strings, Python-like indexing as in `get`. */
export function slice(x: TensorLike, start: Index, sizes?: Index, ...more: Index[]): Tensor {
  if (!isList(start) || !isList(sizes)) return get(x, start, ...(sizes === undefined ? more : [sizes, ...more]));
  const n = toNode(x);
  if (start.length !== n.shape.length || sizes.length !== n.shape.length)
    throw new ShapeError(
      `slice: start and size name ${start.length} and ${sizes.length} axes of ${showShape(n.shape)}. Expected ${n.shape.length}.`,
    );
  const end = n.shape.map((d, i) => (sizes[i] === -1 ? d : start[i] + sizes[i]));
  n.shape.forEach((d, i) => {
    if (start[i] < 0 || end[i] > d || end[i] < start[i])
      throw new ShapeError(`slice: [${start[i]}, ${end[i]}) leaves axis ${i} of ${showShape(n.shape)}. Expected a range inside [0, ${d}].`);
  });
  return fromNode(ops.slice(n, start, end));
}

/** What `take` gives for an index outside of the axis. */
export type TakeMode = 'fill' | 'clip' | 'wrap';

/**
 * Slices of `x` at `indices` along `axis` (the flattened tensor when left out). An index outside of the axis follows `mode`:
 * - 'fill' (default, as jnp.take): negative ones count from the end; what is outside all the same gives NaN and no gradient.
 *   A table of integers or booleans has no NaN: there it is the nearest slice.
 * - 'clip', as NumPy: the nearest slice; negative ones are the first.
 * - 'wrap', as NumPy: modulo the extent.
 */
export function take(x: TensorLike, indices: TensorLike, axis?: number | null, options: { mode?: TakeMode } = {}): Tensor {
  const { mode = 'fill' } = options;
  if (mode !== 'fill' && mode !== 'clip' && mode !== 'wrap')
    throw new ConfigError(`take: unknown mode "${String(mode)}". Expected 'fill', 'clip' or 'wrap'.`);
  let n = toNode(x);
  if (axis === undefined || axis === null) n = ops.reshape(n, [size(n.shape)]);
  const a = normalizeAxis(axis ?? 0, n.shape.length, 'take');
  const extent = n.shape[a];
  // Positions that are known and inside are put right here, others in the graph.
  const isInside = (i: unknown): boolean => typeof i === 'number' && i >= -extent && i < extent;
  if (mode !== 'clip' && (Array.isArray(indices) || indices instanceof Int32Array) && indices.every(isInside))
    return fromNode(ops.take(n, toNode(Int32Array.from(indices, (i) => (i < 0 ? i + extent : i))), a));
  const i = indexNode(indices, 'take');
  // The primitive clips.
  if (mode === 'clip') return fromNode(ops.take(n, i, a));
  if (mode === 'wrap') return fromNode(ops.take(n, ops.mod(i, ops.constant(extent, i)), a));
  const at = wrapNegative(i, extent, indices);
  const taken = ops.take(n, at, a);
  if (!isFloat(n.dtype)) return fromNode(taken);
  const inside = ops.and(ops.le(ops.constant(0, at), at), ops.lt(at, ops.constant(extent, at)));
  const mask = ops.reshape(inside, [...at.shape, ...n.shape.slice(a + 1).map(() => 1)]);
  return fromNode(ops.select(ops.broadcast(mask, taken.shape), taken, ops.constant(Number.NaN, taken)));
}
/** Negative positions count from the end; lists of numbers are fixed here, tensors in the graph. */
function wrapNegative(i: Node, extent: number, original: TensorLike): Node {
  if (isTensor(original) && (original.dtype === 'u8' || original.dtype === 'u32' || original.dtype === 'bool')) return i;
  return ops.select(ops.lt(i, ops.constant(0, i)), ops.add(i, ops.constant(extent, i)), i);
}
/** out[…, j, …] = x[…, indices[…, j, …], …] along `axis`; the other axes broadcast. */
export function takeAlongAxis(x: TensorLike, indices: TensorLike, axis: number): Tensor {
  const n = toNode(x);
  const i = indexNode(indices, 'takeAlongAxis');
  const a = normalizeAxis(axis, n.shape.length, 'takeAlongAxis');
  if (i.shape.length !== n.shape.length)
    throw new ShapeError(`takeAlongAxis: indices ${showShape(i.shape)} for ${showShape(n.shape)}. Expected equal ranks.`);
  const grown = (m: Node, other: Node): Node =>
    ops.broadcast(
      m,
      m.shape.map((d, k) => (k === a ? d : Math.max(d, other.shape[k]))),
    );
  return fromNode(ops.takeAlong(grown(n, i), grown(wrapNegative(i, n.shape[a], indices), n), a));
}
/** x[indices[…, 0], indices[…, 1], …]: the last axis of `indices` holds positions on the first axes of `x`. */
export function gatherNd(x: TensorLike, indices: TensorLike): Tensor {
  const n = toNode(x);
  const i = indexNode(indices, 'gatherNd');
  const depth = i.shape[i.shape.length - 1];
  if (i.shape.length === 0 || depth > n.shape.length)
    throw new ShapeError(
      `gatherNd: indices ${showShape(i.shape)} for ${showShape(n.shape)}. Expected a last axis of at most ${n.shape.length}.`,
    );
  const flat = ops.reshape(n, [size(n.shape.slice(0, depth)), ...n.shape.slice(depth)]);
  return fromNode(ops.take(flat, flatPositions(i, n.shape, depth), 0));
}
function flatPositions(i: Node, shape: Shape, depth: number): Node {
  const rest = i.shape.slice(0, -1);
  let flat = ops.full(rest, 0, 'i32');
  for (let k = 0; k < depth; k++) {
    const column = ops.reshape(
      ops.slice(
        i,
        i.shape.map((_, j) => (j === i.shape.length - 1 ? k : 0)),
        i.shape.map((d, j) => (j === i.shape.length - 1 ? k + 1 : d)),
      ),
      rest,
    );
    flat = ops.add(ops.mul(flat, ops.full([], shape[k], 'i32')), column);
  }
  return flat;
}
/** Zeros of `shape` with `values` added at `indices` [n, k] (Keras's scatter: repeated positions add up). */
export function scatter(indices: TensorLike, values: TensorLike, shape: Shape): Tensor {
  const i = indexNode(indices, 'scatter');
  const depth = i.shape[i.shape.length - 1];
  const v = toNode(values);
  const flat = ops.takeAdd(v, flatPositions(i, shape, depth), 0, size(shape.slice(0, depth)));
  return fromNode(ops.reshape(flat, shape));
}
/** Sums of the slices of `x` whose `segmentIds` (i32 [n]) agree: [numSegments, …]. */
export function segmentSum(x: TensorLike, segmentIds: TensorLike, numSegments: number): Tensor {
  return fromNode(ops.takeAdd(toNode(x), indexNode(segmentIds, 'segmentSum'), 0, numSegments));
}
/** Block of `sizes` from `starts` (i32 scalars that may be computed), moved inside when it would leave. */
export function dynamicSlice(x: TensorLike, starts: readonly TensorLike[], sizes: Shape): Tensor {
  return fromNode(
    ops.dynamicSlice(
      toNode(x),
      starts.map((s) => indexNode(s, 'dynamicSlice')),
      sizes,
    ),
  );
}
/** `x` with `update` written from `starts` (Keras's sliceUpdate). */
export function sliceUpdate(x: TensorLike, starts: readonly TensorLike[], update: TensorLike): Tensor {
  const n = toNode(x);
  return fromNode(
    ops.dynamicUpdateSlice(
      n,
      ops.cast(toNode(update), n.dtype),
      starts.map((s) => indexNode(s, 'sliceUpdate')),
    ),
  );
}
/**
 * x [n, …rest] with x[indices[i]] = rows[i], for rows [m, …rest] and indices [m]. An index outside of 0 … n − 1 writes nothing; of equal ones
 * the last counts. What is read from a Variable and assigned to it again (a key/value cache) is written in place: only m rows are touched.
 * Throws ShapeError, DTypeError.
 * @example
 * const cache = variable(zeros([3, 2]));
 * cache.assign(putRows(cache, [[1, 2]], [1]));
 * console.log(await cache.array()); // → [ [ 0, 0 ], [ 1, 2 ], [ 0, 0 ] ]
 */
export function putRows(x: TensorLike, rows: TensorLike, indices: TensorLike): Tensor {
  const n = toNode(x);
  return fromNode(ops.putRows(n, toNode(rows, n.dtype), indexNode(indices, 'putRows')));
}

/** 1 where the class is, else 0, in a new axis; indices outside [0, classes) give zeros. f32 unless a dtype is given. */
export function oneHot(x: TensorLike, classes: number, axis = -1, dtypeOption?: DTypeOption): Tensor {
  const dtype = optionalDType(dtypeOption, 'oneHot') ?? 'f32';
  requireShape([classes], 'oneHot');
  const i = indexNode(x, 'oneHot');
  const a = normalizeAxis(axis, i.shape.length + 1, 'oneHot');
  const shape = [...i.shape.slice(0, a), classes, ...i.shape.slice(a)];
  const open = ops.reshape(
    i,
    shape.map((d, k) => (k === a ? 1 : d)),
  );
  return fromNode(ops.cast(ops.eq(ops.broadcast(open, shape), ops.iota(shape, a, 'i32')), dtype));
}
/** One-hot of a set of labels along the last axis: 1 for every class present. */
export function multiHot(x: TensorLike, classes: number, dtypeOption?: DTypeOption): Tensor {
  const dtype = optionalDType(dtypeOption, 'multiHot') ?? 'f32';
  const hot = oneHot(x, classes).node;
  return fromNode(ops.cast(hot.shape.length > 1 ? ops.reduceMax(hot, [hot.shape.length - 2]) : hot, dtype));
}

/** Whether column − row ≤ k, for the last two axes. */
function lowerMask(shape: Shape, k: number): Node {
  const [rows, columns] = shape.slice(-2);
  const r = ops.iota([rows, columns], 0, 'i32');
  const c = ops.iota([rows, columns], 1, 'i32');
  return ops.le(c, ops.add(r, ops.full([], k, 'i32')));
}
const requireMatrix = (n: Node, who: string): void => {
  if (n.shape.length < 2) throw new ShapeError(`${who}: expected rank ≥ 2, received ${showShape(n.shape)}.`);
};
/** Zeros above the k-th diagonal of the last two axes. */
export function tril(x: TensorLike, k = 0): Tensor {
  const n = toNode(x);
  requireMatrix(n, 'tril');
  return fromNode(ops.select(lowerMask(n.shape, k), n, ops.constant(0, n)));
}
/** Zeros below the k-th diagonal. */
export function triu(x: TensorLike, k = 0): Tensor {
  const n = toNode(x);
  requireMatrix(n, 'triu');
  return fromNode(ops.select(lowerMask(n.shape, k - 1), ops.constant(0, n), n));
}
/** The k-th diagonal of two axes, as the last axis. */
export function diagonal(x: TensorLike, k = 0, axis1 = 0, axis2 = 1): Tensor {
  const n = toNode(x);
  requireMatrix(n, 'diagonal');
  const [a, b] = [normalizeAxis(axis1, n.shape.length, 'diagonal'), normalizeAxis(axis2, n.shape.length, 'diagonal')];
  const rest = n.shape.map((_, i) => i).filter((i) => i !== a && i !== b);
  const m = ops.transpose(n, [...rest, a, b]);
  const [rows, columns] = m.shape.slice(-2);
  const [r0, c0] = k >= 0 ? [0, k] : [-k, 0];
  const length = Math.max(0, Math.min(rows - r0, columns - c0));
  const flat = ops.reshape(m, [...m.shape.slice(0, -2), rows * columns]);
  const first = r0 * columns + c0;
  const lead = rest.map(() => 0);
  const end = length === 0 ? first : first + (length - 1) * (columns + 1) + 1;
  return fromNode(
    ops.slice(
      flat,
      [...lead, length === 0 ? 0 : first],
      [...flat.shape.slice(0, -1), length === 0 ? 0 : end],
      [...rest.map(() => 1), columns + 1],
    ),
  );
}
/** A matrix with `x` (1-D) on its k-th diagonal, or the diagonal of a matrix. */
export function diag(x: TensorLike, k = 0): Tensor {
  const n = toNode(x);
  if (n.shape.length === 2) return diagonal(fromNode(n), k);
  if (n.shape.length !== 1) throw new ShapeError(`diag: expected rank 1 or 2, received ${showShape(n.shape)}.`);
  const extent = n.shape[0] + Math.abs(k);
  const wide = ops.pad(n, [[Math.max(0, k), Math.max(0, -k), 0]]);
  const column = ops.iota([extent, extent], 1, 'i32');
  const row = ops.iota([extent, extent], 0, 'i32');
  const on = ops.eq(column, ops.add(row, ops.full([], k, 'i32')));
  return fromNode(ops.select(on, ops.broadcast(wide, [extent, extent]), ops.full([], 0, n.dtype)));
}
/** Sum of the diagonal. */
export const trace = (x: TensorLike, k = 0, axis1 = 0, axis2 = 1): Tensor => {
  const d = diagonal(x, k, axis1, axis2).node;
  return fromNode(ops.sum(d, [d.shape.length - 1]));
};
/** Differences of neighbours along `axis`, n times. */
export function diff(x: TensorLike, n = 1, axis = -1): Tensor {
  let t = toTensor(x);
  const a = normalizeAxis(axis, t.rank, 'diff');
  for (let i = 0; i < n; i++) {
    const [high, low] = [1, 0].map((from) => t.shape.map((d, k) => (k === a ? [from, d - 1 + from] : [0, d])));
    const part = (r: number[][]): Node =>
      ops.slice(
        t.node,
        r.map((p) => p[0]),
        r.map((p) => p[1]),
      );
    t = fromNode(ops.sub(part(high), part(low)));
  }
  return t;
}
/** Index of the first place in sorted 1-D `sorted` where each of `values` would go (side 'left' or 'right'), i32. */
export function searchSorted(sorted: TensorLike, values: TensorLike, side: 'left' | 'right' = 'left'): Tensor {
  const [s, v] = promoted([sorted, values]);
  const column = ops.reshape(v, [...v.shape, 1]);
  const before = side === 'left' ? ops.lt(s, column) : ops.le(s, column);
  return fromNode(ops.sum(ops.cast(before, 'i32'), [v.shape.length]));
}
/** Number of each value 0 … length − 1 in integer `x` [n], with optional weights. */
export function bincount(x: TensorLike, length: number, weights?: TensorLike): Tensor {
  const i = indexNode(x, 'bincount');
  return fromNode(ops.takeAdd(weights === undefined ? ops.full(i.shape, 1, 'i32') : toNode(weights), i, 0, length));
}
export { take as gather };
