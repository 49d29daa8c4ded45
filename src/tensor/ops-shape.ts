/** @file Movement: reshaping, transposing, joining, splitting, padding, repeating. Nothing here computes. */
import { ConfigError, ShapeError } from '../base/errors.js';
import { broadcastShapes, normalizeAxes, normalizeAxis, type Shape, showShape, size } from '../base/shape.js';
import { ops } from '../graph/builder.js';
import type { Node } from '../graph/node.js';
import { promoted, requireShape, resultDType, toNode, toTensor } from './operand.js';
import { fromNode, type Tensor, type TensorLike } from './tensor.js';

/** To `shape`, of which one extent may be −1 (what is left). */
export function reshape(x: TensorLike, shape: Shape): Tensor {
  const n = toNode(x);
  if (!Array.isArray(shape)) requireShape(shape, 'reshape');
  const total = size(n.shape);
  const known = shape.reduce((k, d) => (d === -1 ? k : k * d), 1);
  const holes = shape.filter((d) => d === -1).length;
  const full = holes === 1 && known > 0 ? shape.map((d) => (d === -1 ? total / known : d)) : [...shape];
  if (holes > 1 || full.some((d) => !Number.isInteger(d) || d < 0) || size(full) !== total)
    throw new ShapeError(
      `reshape: ${showShape(n.shape)} has ${total} elements and does not fit ${showShape(shape)}. Expected a shape of ${total} elements with at most one -1.`,
    );
  return fromNode(ops.reshape(n, full));
}
/** One axis. */
export const ravel = (x: TensorLike): Tensor => reshape(x, [-1]);
/** Axes in the order `perm`; reversed when left out. */
export function transpose(x: TensorLike, perm?: readonly number[]): Tensor {
  const n = toNode(x);
  const rank = n.shape.length;
  const p = perm ? perm.map((a) => normalizeAxis(a, rank, 'transpose')) : n.shape.map((_, i) => rank - 1 - i);
  if (p.length !== rank || new Set(p).size !== rank)
    throw new ShapeError(
      `transpose: [${String(perm)}] does not order the axes of ${showShape(n.shape)}. Expected each of 0…${rank - 1} once.`,
    );
  return fromNode(ops.transpose(n, p));
}
export function swapaxes(x: TensorLike, a: number, b: number): Tensor {
  const n = toNode(x);
  const rank = n.shape.length;
  const [i, j] = [normalizeAxis(a, rank, 'swapaxes'), normalizeAxis(b, rank, 'swapaxes')];
  return transpose(
    fromNode(n),
    n.shape.map((_, k) => (k === i ? j : k === j ? i : k)),
  );
}
/** Moves axes `source` to the positions `destination`. */
export function moveaxis(x: TensorLike, source: number | readonly number[], destination: number | readonly number[]): Tensor {
  const t = toTensor(x);
  const from = [source].flat().map((a) => normalizeAxis(a, t.rank, 'moveaxis'));
  const to = [destination].flat().map((a) => normalizeAxis(a, t.rank, 'moveaxis'));
  if (from.length !== to.length)
    throw new ShapeError('moveaxis: source and destination differ in length. Expected one destination a source.');
  const rest = Array.from({ length: t.rank }, (_, i) => i).filter((i) => !from.includes(i));
  const perm = new Array<number>(t.rank).fill(-1);
  from.forEach((a, i) => {
    perm[to[i]] = a;
  });
  return transpose(
    t,
    perm.map((a) => (a >= 0 ? a : rest.shift()!)),
  );
}
/** Adds axes of extent 1 at the positions `axis` of the result. */
export function expandDims(x: TensorLike, axis: number | readonly number[]): Tensor {
  const n = toNode(x);
  const list = [axis].flat();
  const at = normalizeAxes(list, n.shape.length + list.length, 'expandDims');
  const rest = [...n.shape];
  return fromNode(
    ops.reshape(
      n,
      Array.from({ length: n.shape.length + list.length }, (_, i) => (at.includes(i) ? 1 : rest.shift()!)),
    ),
  );
}
/** Drops axes of extent 1: those named, or all. */
export function squeeze(x: TensorLike, axis?: number | readonly number[] | null): Tensor {
  const n = toNode(x);
  const axes =
    axis === undefined || axis === null ? n.shape.flatMap((d, i) => (d === 1 ? [i] : [])) : normalizeAxes(axis, n.shape.length, 'squeeze');
  for (const a of axes)
    if (n.shape[a] !== 1) throw new ShapeError(`squeeze: axis ${a} of ${showShape(n.shape)} has extent ${n.shape[a]}. Expected 1.`);
  return fromNode(
    ops.reshape(
      n,
      n.shape.filter((_, i) => !axes.includes(i)),
    ),
  );
}
/** Repeats extents of 1 and adds leading axes. Throws ShapeError where an extent cannot grow. */
export function broadcastTo(x: TensorLike, shape: Shape): Tensor {
  const n = toNode(x);
  requireShape(shape, 'broadcastTo');
  if (showShape(broadcastShapes(n.shape, shape, 'broadcastTo')) !== showShape(shape))
    throw new ShapeError(`broadcastTo: ${showShape(n.shape)} does not broadcast to ${showShape(shape)}. Expected extents equal or 1.`);
  return fromNode(ops.broadcast(n, shape));
}

/** Joins along an existing axis; dtypes are promoted. */
export function concatenate(xs: readonly TensorLike[], axis = 0): Tensor {
  if (xs.length === 0) throw new ConfigError('concatenate: no tensors. Expected at least one, received [].');
  const nodes = promoted(xs.map((x) => toTensor(x)));
  const a = normalizeAxis(axis, nodes[0].shape.length, 'concatenate');
  for (const n of nodes)
    if (n.shape.length !== nodes[0].shape.length || n.shape.some((d, i) => i !== a && d !== nodes[0].shape[i]))
      throw new ShapeError(
        `concatenate: shapes ${nodes.map((m) => showShape(m.shape)).join(', ')} differ outside axis ${axis}. Expected equal extents on every other axis.`,
      );
  return fromNode(nodes.length === 1 ? nodes[0] : ops.concat(nodes, a));
}
/** Joins equal shapes along a new axis. */
export function stack(xs: readonly TensorLike[], axis = 0): Tensor {
  return concatenate(
    xs.map((x) => expandDims(x, axis)),
    axis,
  );
}
/** Equal parts (a count) or the pieces between positions (a list), along `axis`. Throws ShapeError when a count doesn't divide. */
export function split(x: TensorLike, parts: number | readonly number[], axis = 0): Tensor[] {
  const n = toNode(x);
  const a = normalizeAxis(axis, n.shape.length, 'split');
  const extent = n.shape[a];
  if (typeof parts === 'number' && (!Number.isInteger(parts) || parts < 1 || extent % parts))
    throw new ShapeError(`split: ${parts} parts of axis ${axis} of ${showShape(n.shape)}. Expected a divisor of ${extent}.`);
  const cuts =
    typeof parts === 'number'
      ? Array.from({ length: parts + 1 }, (_, i) => (i * extent) / parts)
      : [0, ...parts.map((p) => Math.min(extent, Math.max(0, p < 0 ? p + extent : p))), extent];
  return cuts.slice(1).map((end, i) =>
    fromNode(
      ops.slice(
        n,
        n.shape.map((_, j) => (j === a ? cuts[i] : 0)),
        n.shape.map((d, j) => (j === a ? Math.max(cuts[i], end) : d)),
      ),
    ),
  );
}
/** The slices along `axis`, without it. */
export function unstack(x: TensorLike, axis = 0): Tensor[] {
  const t = toTensor(x);
  const a = normalizeAxis(axis, t.rank, 'unstack');
  return split(t, t.shape[a], a).map((s) => squeeze(s, a));
}

export type PadMode = 'constant' | 'reflect' | 'symmetric' | 'edge';
/** `width`: one number, [before, after] for every axis, or one pair an axis. Modes as in NumPy. */
export function pad(
  x: TensorLike,
  width: number | readonly [number, number] | readonly (readonly [number, number])[],
  options: { mode?: PadMode; value?: number } = {},
): Tensor {
  let n = toNode(x);
  const pairs = padPairs(width, n.shape.length);
  const mode = options.mode ?? 'constant';
  if (pairs.some(([a, b]) => a < 0 || b < 0)) throw new ShapeError('pad: negative width. Expected widths ≥ 0. Use slice to crop.');
  if (mode === 'constant')
    return fromNode(
      ops.pad(
        n,
        pairs.map(([a, b]) => [a, b, 0] as const),
        options.value ?? 0,
      ),
    );
  for (const [axis, [before, after]] of pairs.entries()) n = padAxis(n, axis, before, after, mode);
  return fromNode(n);
}
function padPairs(
  width: number | readonly [number, number] | readonly (readonly [number, number])[],
  rank: number,
): (readonly [number, number])[] {
  if (typeof width === 'number') return Array.from({ length: rank }, () => [width, width] as const);
  const isPair = (w: typeof width): w is readonly [number, number] => w.length === 2 && typeof w[0] === 'number';
  if (isPair(width)) return Array.from({ length: rank }, () => width);
  const pairs = width as readonly (readonly [number, number])[];
  if (pairs.length !== rank)
    throw new ShapeError(`pad: ${pairs.length} pairs for a tensor of rank ${rank}. Expected one [before, after] an axis.`);
  return [...pairs];
}
function padAxis(n: Node, axis: number, before: number, after: number, mode: PadMode): Node {
  if (before === 0 && after === 0) return n;
  const extent = n.shape[axis];
  const limit = mode === 'reflect' ? extent - 1 : mode === 'symmetric' ? extent : Number.POSITIVE_INFINITY;
  if (extent === 0 || before > limit || after > limit)
    throw new ShapeError(`pad: mode "${mode}" by [${before}, ${after}] does not fit extent ${extent}. Expected at most ${limit}.`);
  const part = (from: number, to: number): Node =>
    ops.slice(
      n,
      n.shape.map((_, i) => (i === axis ? from : 0)),
      n.shape.map((d, i) => (i === axis ? to : d)),
    );
  const wide = (from: number, k: number): Node =>
    ops.broadcast(
      part(from, from + 1),
      n.shape.map((d, i) => (i === axis ? k : d)),
    );
  const mirrored = (from: number, to: number): Node => ops.flip(part(from, to), [axis]);
  const skip = mode === 'reflect' ? 1 : 0;
  const parts: Node[] = [];
  if (before > 0) parts.push(mode === 'edge' ? wide(0, before) : mirrored(skip, before + skip));
  parts.push(n);
  if (after > 0) parts.push(mode === 'edge' ? wide(extent - 1, after) : mirrored(extent - after - skip, extent - skip));
  return ops.concat(parts, axis);
}

/** The whole tensor repeated `reps` times an axis (NumPy's tile). */
export function tile(x: TensorLike, reps: number | readonly number[]): Tensor {
  const n = toNode(x);
  const list = [reps].flat();
  const rank = Math.max(list.length, n.shape.length);
  const shape = [...new Array<number>(rank - n.shape.length).fill(1), ...n.shape];
  const times = [...new Array<number>(rank - list.length).fill(1), ...list];
  const split2 = shape.flatMap((d) => [1, d]);
  const wide = ops.broadcast(
    ops.reshape(n, split2),
    shape.flatMap((d, i) => [times[i], d]),
  );
  return fromNode(
    ops.reshape(
      wide,
      shape.map((d, i) => d * times[i]),
    ),
  );
}
/** Each element repeated along `axis` (of the flattened tensor when left out). */
export function repeat(x: TensorLike, repeats: number | readonly number[], axis?: number | null): Tensor {
  let n = toNode(x);
  if (axis === undefined || axis === null) n = ops.reshape(n, [size(n.shape)]);
  const a = normalizeAxis(axis ?? 0, n.shape.length, 'repeat');
  if (typeof repeats === 'number') {
    const open = [...n.shape.slice(0, a + 1), 1, ...n.shape.slice(a + 1)];
    const wide = open.map((d, i) => (i === a + 1 ? repeats : d));
    return fromNode(
      ops.reshape(
        ops.broadcast(ops.reshape(n, open), wide),
        n.shape.map((d, i) => (i === a ? d * repeats : d)),
      ),
    );
  }
  if (repeats.length !== n.shape[a])
    throw new ShapeError(`repeat: ${repeats.length} counts for extent ${n.shape[a]}. Expected one a slice.`);
  const positions = repeats.flatMap((k, i) => new Array<number>(k).fill(i));
  return fromNode(ops.take(n, toNode(Int32Array.from(positions)), a));
}
/** Reversed along the axes (all when left out). */
export function flip(x: TensorLike, axis?: number | readonly number[] | null): Tensor {
  const n = toNode(x);
  return fromNode(ops.flip(n, normalizeAxes(axis ?? undefined, n.shape.length, 'flip')));
}
/** Shifted with wrap-around, by `shift` along `axis` (of the flattened tensor when left out). */
export function roll(x: TensorLike, shift: number | readonly number[], axis?: number | readonly number[] | null): Tensor {
  let n = toNode(x);
  const shape = n.shape;
  if (axis === undefined || axis === null) n = ops.reshape(n, [size(shape)]);
  const axes = [axis ?? 0].flat();
  const shifts = [shift].flat();
  axes.forEach((raw, i) => {
    const a = normalizeAxis(raw, n.shape.length, 'roll');
    const extent = n.shape[a];
    const k = extent === 0 ? 0 : (((shifts[i] ?? shifts[0]) % extent) + extent) % extent;
    if (k === 0) return;
    const part = (from: number, to: number): Node =>
      ops.slice(
        n,
        n.shape.map((_, j) => (j === a ? from : 0)),
        n.shape.map((d, j) => (j === a ? to : d)),
      );
    n = ops.concat([part(extent - k, extent), part(0, extent - k)], a);
  });
  return fromNode(axis === undefined || axis === null ? ops.reshape(n, shape) : n);
}
/** Turned by 90° k times in the plane of two axes. */
export function rot90(x: TensorLike, k = 1, axes: readonly [number, number] = [0, 1]): Tensor {
  const turns = ((k % 4) + 4) % 4;
  const t = toTensor(x);
  if (turns === 0) return t;
  if (turns === 2) return flip(t, axes);
  return turns === 1 ? flip(swapaxes(t, axes[0], axes[1]), axes[0]) : swapaxes(flip(t, axes[0]), axes[0], axes[1]);
}
/** Coordinate matrices from 1-D coordinates; indexing 'xy' swaps the first two axes. */
export function meshgrid(xs: readonly TensorLike[], indexing: 'xy' | 'ij' = 'xy'): Tensor[] {
  const nodes = xs.map((x) => toNode(x));
  const order = nodes.map((_, i) => (indexing === 'xy' && nodes.length > 1 && i < 2 ? 1 - i : i));
  const shape = order.map((i) => nodes[i].shape[0]);
  return nodes.map((n, i) =>
    fromNode(
      ops.broadcast(
        ops.reshape(
          n,
          shape.map((_, j) => (order[j] === i ? n.shape[0] : 1)),
        ),
        shape,
      ),
    ),
  );
}
/** The tensors broadcast to their common shape. */
export function broadcastArrays(...xs: TensorLike[]): Tensor[] {
  const nodes = xs.map((x) => toNode(x));
  const shape = nodes.map((n) => n.shape).reduce<Shape>((a, b) => broadcastShapes(a, b, 'broadcastArrays'), []);
  return nodes.map((n) => fromNode(ops.broadcast(n, shape)));
}
/** `xs` concatenated along the last axis, 1-D along the only one. */
export const hstack = (xs: readonly TensorLike[]): Tensor => concatenate(xs, toTensor(xs[0]).rank === 1 ? 0 : 1);
export const vstack = (xs: readonly TensorLike[]): Tensor =>
  concatenate(
    xs.map((x) => (toTensor(x).rank === 1 ? expandDims(x, 0) : x)),
    0,
  );
/** The dtype that an operation on these would have. */
export const commonDType = resultDType;
export { concatenate as concat, ravel as flatten, transpose as permute };
