/** @file Views: what movement primitives do to an index, and operands that are a strided window on a buffer. */
import { contiguousStrides, size } from '../base/shape.js';
import { isOp, type Node } from '../graph/node.js';
import { Ix } from './symbolic.js';

/** Nodes whose value comes from outside the kernels, or is another's under a name of its own. */
export const isSource = (n: Node): boolean => n.op === 'input' || n.op === 'buffer' || n.op === 'variable' || n.op === 'barrier';
/** Nodes that only say where an element of their input is. */
export const isView = (n: Node): boolean =>
  n.op === 'broadcast' || n.op === 'reshape' || n.op === 'transpose' || n.op === 'slice' || n.op === 'flip';

/** Strides that stay divisors where an extent is 0 (such a tensor has no element to address). */
const safeStrides = (shape: readonly number[]): number[] => contiguousStrides(shape.map((d) => Math.max(1, d)));

/** Row-major position of an index in a tensor of `shape`. */
export function flatten(idx: readonly Ix[], shape: readonly number[]): Ix {
  const strides = safeStrides(shape);
  return idx.reduce((sum, ix, i) => sum.add(ix.scale(strides[i])), Ix.constant(0));
}

/** The index whose row-major position in `shape` is `flat`. */
export function unflatten(flat: Ix, shape: readonly number[]): Ix[] {
  const strides = safeStrides(shape);
  return shape.map((d, i) => {
    const q = flat.div(strides[i]);
    return i === 0 || q.max < d ? q : q.mod(d);
  });
}

/** Index into the input of a movement node for an index into its result; null for nodes that are not plain movements. */
export function moveIndex(n: Node, idx: readonly Ix[]): Ix[] | null {
  if (isOp(n, 'reshape')) return unflatten(flatten(idx, n.shape), n.inputs[0].shape);
  if (isOp(n, 'transpose')) {
    const out = new Array<Ix>(idx.length);
    for (const [i, p] of n.arg.perm.entries()) out[p] = idx[i];
    return out;
  }
  if (isOp(n, 'broadcast')) {
    const shape = n.inputs[0].shape;
    const lead = idx.length - shape.length;
    return shape.map((d, i) => (d === 1 ? Ix.constant(0) : idx[lead + i]));
  }
  if (isOp(n, 'slice')) return idx.map((ix, i) => ix.scale(n.arg.stride[i]).add(n.arg.start[i]));
  if (isOp(n, 'flip')) return idx.map((ix, i) => (n.arg.axes.includes(i) ? ix.scale(-1).add(n.shape[i] - 1) : ix));
  return null;
}

/** The node whose buffer a barrier gives out again; any other node itself. */
export function behindBarriers(n: Node): Node {
  let x = n;
  while (isOp(x, 'barrier')) x = x.inputs[0];
  return x;
}

/** The node behind reshapes: its buffer holds `n`'s elements, in the same order. */
export function unshaped(n: Node): Node {
  let x = n;
  while (isOp(x, 'reshape')) x = x.inputs[0];
  return x;
}

export interface View {
  readonly base: Node;
  /** In elements of the base's buffer. */
  readonly offset: number;
  readonly strides: readonly number[];
}

/** A cast that a load does anyway: to f32 of what f32 holds exactly, or as it is loaded. */
const isWidening = (n: Node): boolean => isOp(n, 'cast') && n.dtype === 'f32' && n.inputs[0].dtype !== 'u32' && n.inputs[0].dtype !== 'i32';

/** Nodes never change, and grouping asks for the same ones again and again. */
const views = new WeakMap<Node, View>();

/**
 * `n` as an offset and strides into the buffer of the deepest node that its movements (and, where so wanted, casts that a load does)
 * reach affinely.
 */
export function resolveView(n: Node, throughCast?: (n: Node) => boolean): View {
  if (throughCast) return affineView(n, throughCast);
  const view = views.get(n) ?? affineView(n, () => false);
  views.set(n, view);
  return view;
}

function affineView(n: Node, throughCast: (n: Node) => boolean): View {
  const names = n.shape.map((_, i) => `v${i}`);
  const known = new Set(names);
  let idx = n.shape.map((d, i) => Ix.variable(names[i], d));
  let view: View = { base: n, offset: 0, strides: contiguousStrides(n.shape) };
  for (let node = n; size(n.shape) > 0; ) {
    const moved = isWidening(node) && throughCast(node) ? idx : moveIndex(node, idx);
    if (!moved) break;
    node = node.inputs[0];
    idx = moved;
    const flat = flatten(idx, node.shape);
    // A reshape may be affine again after a later one, so an index that is not is no reason to stop.
    if (flat.isAffineIn(known)) view = { base: node, offset: flat.offset, strides: names.map((name) => flat.factorOf(name)) };
  }
  return view;
}

/** The node that must have a buffer for `n` to be read as a view. */
export const viewBase = (n: Node): Node => resolveView(n).base;

/** As `resolveView`, but with the elements of the last axis side by side: `n` itself where its view has them apart. */
export function rowView(n: Node): View {
  const view = resolveView(n);
  const last = n.shape.length - 1;
  return n.shape[last] === 1 || view.strides[last] === 1 ? view : { base: n, offset: 0, strides: contiguousStrides(n.shape) };
}
