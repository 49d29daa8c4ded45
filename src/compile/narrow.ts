/**
 * @file Only what is read: windows that leave a remainder, the zeros their gradients are padded with, and slices, taken
 * back to the convolution before them. `unpadded` are local rewrites (simplify applies them); `narrow` looks at all
 * readers of a node and cuts off what none of them reads.
 */
import { type Shape, sameShape, size } from '../base/shape.js';
import { ops } from '../graph/builder.js';
import { isOp, makeNode, type Node, topological } from '../graph/node.js';
import type { WindowArg } from '../graph/primitives/args.js';
import { isElementwise } from './fuse.js';
import { isPlainConv } from './rewrite-conv.js';

/** The first `extents` of each axis. */
const first = (x: Node, extents: Shape): Node =>
  sameShape(x.shape, extents)
    ? x
    : ops.slice(
        x,
        extents.map(() => 0),
        extents,
        extents.map(() => 1),
      );

/** What remains of x when `extents` were enough: zeros after it. */
const padTo = (x: Node, shape: Shape): Node =>
  ops.pad(
    x,
    shape.map((d, i) => [0, d - x.shape[i], 0] as const),
    0,
  );

/** x and the shape it is filled up to, if n is x with zeros after it. */
function zerosAfter(n: Node): Node | null {
  return isOp(n, 'pad') && n.arg.value === 0 && n.arg.dims.every(([low, high, interior]) => low === 0 && high >= 0 && interior === 0)
    ? n.inputs[0]
    : null;
}

/** Extents of `shape` that windows with `out` results touch. */
function touched(arg: WindowArg, shape: Shape, out: Shape): number[] {
  const extents = [...shape];
  for (const [i, axis] of arg.axes.entries()) {
    const end = (out[axis] - 1) * arg.stride[i] + arg.size[i] - arg.padding[i][0];
    if (end > 0 && end < shape[axis]) extents[axis] = end;
  }
  return extents;
}
const inside = (arg: WindowArg, shape: Shape, extents: Shape): WindowArg => ({
  ...arg,
  padding: arg.padding.map(([low, high], i) => [low, extents[arg.axes[i]] < shape[arg.axes[i]] ? 0 : high] as const),
});

/** For each axis of `to` the axis of `from` with the same elements, when they differ in axes of extent 1 only; -1 for those. */
function sameAxes(from: Shape, to: Shape): number[] | null {
  const long = (shape: Shape) => shape.flatMap((d, i) => (d === 1 ? [] : [i]));
  const [a, b] = [long(from), long(to)];
  if (a.length !== b.length || a.some((axis, k) => from[axis] !== to[b[k]])) return null;
  return to.map((_, i) => (b.includes(i) ? a[b.indexOf(i)] : -1));
}

/** Local rewrites; null: none applies. */
export function unpadded(n: Node): Node | null {
  if (isOp(n, 'windowMax') || isOp(n, 'windowSum') || isOp(n, 'windowArgmax') || isOp(n, 'windowGather')) {
    const [x, ...rest] = n.inputs;
    const extents = touched(n.arg, x.shape, n.shape);
    return sameShape(extents, x.shape) ? null : ops.make(n.op, [first(x, extents), ...rest], inside(n.arg, x.shape, extents) as never);
  }
  if (isOp(n, 'windowScatter') || isOp(n, 'windowSpread')) {
    const extents = touched(n.arg, n.shape, n.inputs[0].shape);
    if (sameShape(extents, n.shape)) return null;
    return padTo(ops.make(n.op, n.inputs, { ...inside(n.arg, n.shape, extents), shape: extents } as never), n.shape);
  }
  if (isOp(n, 'select')) {
    const [c, a, b] = n.inputs;
    const isZero = (x: Node) => isOp(x, 'constant') && x.arg.value === 0;
    const x = zerosAfter(a);
    const y = zerosAfter(b);
    if (x && isZero(b)) return padTo(ops.make('select', [first(c, x.shape), x, first(b, x.shape)], undefined as never), n.shape);
    if (y && isZero(a)) return padTo(ops.make('select', [first(c, y.shape), first(a, y.shape), y], undefined as never), n.shape);
    return null;
  }
  if (isOp(n, 'reshape')) {
    const x = zerosAfter(n.inputs[0]);
    const axes = x && sameAxes(n.inputs[0].shape, n.shape);
    // An axis that is 1 long only without its zeros is another axis.
    if (!x || !axes || x.shape.some((d, i) => d !== n.inputs[0].shape[i] && !axes.includes(i))) return null;
    return padTo(
      ops.reshape(
        x,
        axes.map((axis, i) => (axis < 0 ? n.shape[i] : x.shape[axis])),
      ),
      n.shape,
    );
  }
  if (isOp(n, 'sum')) {
    const x = zerosAfter(n.inputs[0]);
    return x?.shape.every((d, i) => d === n.inputs[0].shape[i] || n.arg.axes.includes(i)) ? ops.make('sum', [x], n.arg) : null;
  }
  if (isOp(n, 'pad') && isOp(n.inputs[0], 'pad')) {
    const inner = n.inputs[0];
    const plain = [...n.arg.dims, ...inner.arg.dims].every(([low, high, interior]) => low >= 0 && high >= 0 && interior === 0);
    if (!plain || n.arg.value !== inner.arg.value) return null;
    return ops.pad(
      inner.inputs[0],
      n.arg.dims.map(([low, high], i) => [low + inner.arg.dims[i][0], high + inner.arg.dims[i][1], 0] as const),
      n.arg.value,
    );
  }
  if (isOp(n, 'conv')) {
    // A kernel that ends in zeros: a filter's gradient, whose kernel is the gradient of the output.
    const [x, w] = n.inputs;
    const { kernelDilation } = n.arg;
    if (!isOp(w, 'transpose') || !isPlainConv(n)) return null;
    const kernel = zerosAfter(w.inputs[0]);
    if (!kernel) return null;
    const short = ops.transpose(kernel, w.arg.perm);
    if (short.shape.some((d, i) => i >= kernelDilation.length && d !== w.shape[i])) return null;
    const extents = x.shape.map((d, i) =>
      i >= 1 && i <= kernelDilation.length ? d - (w.shape[i - 1] - short.shape[i - 1]) * kernelDilation[i - 1] : d,
    );
    return ops.conv(first(x, extents), short, n.arg);
  }
  return null;
}

const isReady = (n: Node): n is Node<'conv'> => isOp(n, 'conv') && isPlainConv(n);

/** Whether a node can be made for the first extents alone. */
function isNarrowable(n: Node): boolean {
  if (size(n.shape) === 0) return false;
  if (isOp(n, 'reshape')) return sameAxes(n.inputs[0].shape, n.shape) !== null;
  return isElementwise(n) || isReady(n) || n.op === 'slice' || n.op === 'transpose' || n.op === 'broadcast' || n.op === 'constant';
}

/** Extents of each input that the first `extents` of a node read: all where it can't be cut. */
function reads(n: Node, extents: Shape): number[][] {
  if (!isNarrowable(n)) return n.inputs.map((i) => [...i.shape]);
  if (isElementwise(n)) return n.inputs.map(() => [...extents]);
  const [x] = n.inputs;
  if (isOp(n, 'slice')) return [extents.map((d, i) => n.arg.start[i] + (d - 1) * n.arg.stride[i] + 1)];
  if (isOp(n, 'transpose')) return [x.shape.map((_, axis) => extents[n.arg.perm.indexOf(axis)])];
  if (isOp(n, 'broadcast')) {
    const lead = n.shape.length - x.shape.length;
    return [x.shape.map((d, i) => (d === 1 ? 1 : extents[lead + i]))];
  }
  if (isOp(n, 'reshape')) {
    const back = sameAxes(n.shape, x.shape) as number[];
    return [back.map((axis) => (axis < 0 ? 1 : extents[axis]))];
  }
  if (isReady(n)) {
    const [, w] = n.inputs;
    const { stride, kernelDilation } = n.arg;
    const taken = x.shape.map((d, i) => {
      if (i === 0) return extents[0];
      return i <= stride.length ? (extents[i] - 1) * stride[i - 1] + (w.shape[i - 1] - 1) * kernelDilation[i - 1] + 1 : d;
    });
    return [taken, [...w.shape]];
  }
  return [];
}

/** The node on cut inputs, with these extents. */
function withExtents(n: Node, inputs: readonly Node[], extents: Shape): Node {
  if (isOp(n, 'constant')) return makeNode('constant', [], n.arg, n.dtype, extents);
  if (isOp(n, 'broadcast')) return ops.broadcast(inputs[0], extents);
  if (isOp(n, 'reshape')) return ops.reshape(inputs[0], extents);
  if (isOp(n, 'slice')) {
    const { start, stride } = n.arg;
    const end = extents.map((d, i) => (d === 0 ? start[i] : start[i] + (d - 1) * stride[i] + 1));
    return ops.slice(inputs[0], start, end, stride);
  }
  return ops.make(n.op, inputs, n.arg as never);
}

/** The graph with every convolution, and what follows it element by element, no larger than some reader needs; `roots` where all are. */
export function narrow(roots: readonly Node[]): readonly Node[] {
  const order = topological(roots);
  const needs = new Map<Node, number[]>(roots.map((r) => [r, [...r.shape]]));
  let isSmaller = false;
  for (let k = order.length - 1; k >= 0; k--) {
    const n = order[k];
    // Groups and outputs of a convolution are whole, as is everything that can't be cut.
    if (!isNarrowable(n)) needs.set(n, [...n.shape]);
    const need = needs.get(n) as number[];
    if (isReady(n)) for (let i = n.arg.stride.length + 1; i < need.length; i++) need[i] = n.shape[i];
    isSmaller ||= isReady(n) && !sameShape(need, n.shape);
    reads(n, need).forEach((taken, i) => {
      const input = n.inputs[i];
      const old = needs.get(input);
      needs.set(input, old ? old.map((d, axis) => Math.max(d, taken[axis])) : taken);
    });
  }
  if (!isSmaller) return roots;
  const built = new Map<Node, Node>();
  for (const n of order) {
    const need = needs.get(n) as number[];
    const inputs = reads(n, need).map((taken, i) => first(built.get(n.inputs[i]) as Node, taken));
    built.set(n, sameShape(need, n.shape) && inputs.every((x, i) => x === n.inputs[i]) ? n : withExtents(n, inputs, need));
  }
  return roots.map((r) => built.get(r) as Node);
}
