/**
 * @file Products and convolutions: their operands as strided views, then the register-tile template, or an ordinary
 * reduction where a tile would stay empty (convolutions of many small groups, integers).
 */
import { dtypes } from '../base/dtype.js';
import { contiguousStrides, size } from '../base/shape.js';
import { isOp, type Node } from '../graph/node.js';
import { cast, constant, type Expr, op, type Stmt, variable } from '../kernel/kernel.js';
import type { TargetInfo } from '../kernel/target.js';
import { arithmetic, Buffers, Emitter } from './emit.js';
import type { Group } from './fuse.js';
import { emitStores, inPlaceNodes, type LoweredCall, labelOf, lowerReduction, type Reduction, temporary } from './lower.js';
import { largestTable } from './prologue.js';
import { Ix } from './symbolic.js';
import { type ContractDim, contract, type Element, type Operand } from './templates/contract.js';
import { isSource, resolveView, unflatten, type View } from './views.js';

export function lowerContraction(g: Group, n: Node<'dot'> | Node<'conv'>, target: TargetInfo): LoweredCall[] {
  const viewOf = (operand: Node): View => resolveView(operand, (x) => g.prologue.has(x));
  const given = isOp(n, 'dot') ? dotDims(n, viewOf) : convDims(n as Node<'conv'>, viewOf);
  const shared = given && inMemoryOrder(given);
  if (!shared || arithmetic(n.dtype) !== 'f32')
    return lowerReduction(g, isOp(n, 'dot') ? dotReduction(n) : convReduction(n as Node<'conv'>), target);

  const buffers = new Buffers();
  const [a, b] = shared.views;
  /** Read for the operands: never the place for the result. */
  const operandNodes = new Set<Node>();
  const operand = ({ base, offset }: View): Operand => {
    if (!g.prologue.has(base)) {
      operandNodes.add(base);
      return { buffer: buffers.name(base, 'read'), offset, dtype: base.dtype };
    }
    const element = (at: Ix): Element => {
      const e = new Emitter(buffers, g.members);
      const value = e.emit(base, unflatten(at, base.shape));
      for (const r of e.reads) operandNodes.add(r.node);
      // Rounded as it would be in memory.
      return { body: e.body, value: cast('f32', dtypes[base.dtype].bytes === 2 ? cast(base.dtype, value) : value) };
    };
    // This finds the buffers.
    element(Ix.variable('c_at', size(base.shape)));
    return { buffer: '', offset, dtype: base.dtype === 'bf16' ? 'bf16' : 'f32', element, fresh: () => buffers.fresh('run') };
  };
  const operands = { a: operand(a), b: operand(b) };
  const tables = new Map<string, number>();
  for (const m of g.members)
    if (isOp(m, 'take') && isSource(m.inputs[0]) && size(m.inputs[0].shape) <= largestTable && buffers.nodes.includes(m.inputs[0]))
      tables.set(buffers.name(m.inputs[0], 'read'), size(m.inputs[0].shape));
  let inPlace: ReadonlySet<Node> = new Set();
  let serial = 0;
  const epilogue = (acc: Expr, batch: readonly Expr[], rows: readonly Expr[], cols: readonly Expr[]): Stmt[] => {
    const sets = { batch, rows, cols };
    const idx = shared.result.map(({ set, position }, axis) => {
      const e = sets[set][position];
      const extent = n.shape[axis];
      return e.kind === 'var' ? Ix.variable(e.name, extent) : Ix.opaque(e, `e${serial++}`, extent);
    });
    const e = emitStores(g, buffers, idx, new Map([[n as Node, acc]]));
    inPlace = inPlaceNodes(g.shape, e, idx);
    return e.body;
  };
  // A first emission finds the epilogue's buffers.
  const stand = (dims: readonly ContractDim[], name: string) => dims.map((_, i) => variable(`${name}${i}`));
  epilogue(constant('f32', 0), stand(shared.batch, 'p'), stand(shared.rows, 'q'), stand(shared.cols, 's'));

  const { kernels, temporaries } = contract(
    {
      batch: shared.batch,
      rows: shared.rows,
      cols: shared.cols,
      reduce: shared.reduce,
      ...operands,
      epilogue,
      isRepeatable: inPlace.size === 0 && buffers.params.every((p) => p.access !== 'readwrite'),
      buffers: buffers.params,
      tables,
      label: labelOf(g),
    },
    target,
  );
  const nodes = new Map<string, Node>(buffers.params.map((p, i) => [p.name, buffers.nodes[i]]));
  for (const t of temporaries) nodes.set(t.name, temporary(t.dtype, [t.size]));
  return kernels.map((kernel) => ({
    kernel,
    nodes: kernel.buffers.map((p) => nodes.get(p.name) as Node),
    inPlace: new Set([...inPlace].filter((x) => !operandNodes.has(x))),
  }));
}

interface ContractionDims {
  readonly views: readonly [View, View];
  readonly batch: ContractDim[];
  readonly rows: ContractDim[];
  readonly cols: ContractDim[];
  readonly reduce: ContractDim[];
  /** Which of the lists each axis of the result is in. */
  readonly result: readonly { readonly set: 'batch' | 'rows' | 'cols'; readonly position: number }[];
}

/**
 * Dims of each list from the largest stride to the smallest: loops then walk memory in order, and neighbours fuse. A
 * filter's gradient comes as a convolution of transposed views, whose own order would jump a picture at every step.
 */
function inMemoryOrder(c: ContractionDims): ContractionDims {
  const order = (dims: readonly ContractDim[]) => dims.map((_, i) => i).sort((i, j) => stride(dims[j]) - stride(dims[i]) || i - j);
  const stride = (d: ContractDim) => Math.max(Math.abs(d.a), Math.abs(d.b));
  const orders = { batch: order(c.batch), rows: order(c.rows), cols: order(c.cols) };
  return {
    views: c.views,
    batch: orders.batch.map((i) => c.batch[i]),
    rows: orders.rows.map((i) => c.rows[i]),
    cols: orders.cols.map((i) => c.cols[i]),
    reduce: order(c.reduce).map((i) => c.reduce[i]),
    result: c.result.map(({ set, position }) => ({ set, position: orders[set].indexOf(position) })),
  };
}

function dotDims(n: Node<'dot'>, viewOf: (operand: Node) => View): ContractionDims {
  const { batch, contract: sum } = n.arg;
  const [x, y] = n.inputs;
  const [a, b] = [viewOf(x), viewOf(y)];
  const out = contiguousStrides(n.shape);
  const rowAxes = restAxes(x.shape.length, batch[0], sum[0]);
  const colAxes = restAxes(y.shape.length, batch[1], sum[1]);
  const nb = batch[0].length;
  return {
    views: [a, b],
    batch: batch[0].map((axis, i) => ({ extent: x.shape[axis], a: a.strides[axis], b: b.strides[batch[1][i]], out: out[i] })),
    rows: rowAxes.map((axis, i) => ({ extent: x.shape[axis], a: a.strides[axis], b: 0, out: out[nb + i] })),
    cols: colAxes.map((axis, i) => ({ extent: y.shape[axis], a: 0, b: b.strides[axis], out: out[nb + rowAxes.length + i] })),
    reduce: sum[0].map((axis, i) => ({ extent: x.shape[axis], a: a.strides[axis], b: b.strides[sum[1][i]], out: 0 })),
    result: [
      ...batch[0].map((_, position) => ({ set: 'batch' as const, position })),
      ...rowAxes.map((_, position) => ({ set: 'rows' as const, position })),
      ...colAxes.map((_, position) => ({ set: 'cols' as const, position })),
    ],
  };
}

/** Null where a tile would stay empty: few channels and outputs a group, and groups that aren't neighbours (one channel each). */
function convDims(n: Node<'conv'>, viewOf: (operand: Node) => View): ContractionDims | null {
  const { stride, kernelDilation } = n.arg;
  const [x, w] = n.inputs;
  const spatial = stride.length;
  const [groups, channels, outputs] = w.shape.slice(spatial);
  const [a, b] = [viewOf(x), viewOf(w)];
  const isAlongGroups = a.strides[1 + spatial] === 1 && b.strides[spatial] === 1;
  if (groups > 1 && outputs < 8 && channels < 8 && !isAlongGroups) return null;
  const out = contiguousStrides(n.shape);
  return {
    views: [a, b],
    batch: [{ extent: groups, a: a.strides[1 + spatial], b: b.strides[spatial], out: out[1 + spatial] }],
    rows: [
      { extent: x.shape[0], a: a.strides[0], b: 0, out: out[0] },
      ...stride.map((s, i) => ({ extent: n.shape[1 + i], a: a.strides[1 + i] * s, b: 0, out: out[1 + i] })),
    ],
    cols: [{ extent: outputs, a: 0, b: b.strides[2 + spatial], out: out[2 + spatial] }],
    reduce: [
      ...stride.map((_, i) => ({ extent: w.shape[i], a: a.strides[1 + i] * kernelDilation[i], b: b.strides[i], out: 0 })),
      { extent: channels, a: a.strides[2 + spatial], b: b.strides[1 + spatial], out: 0 },
    ],
    result: [
      { set: 'rows', position: 0 },
      ...stride.map((_, i) => ({ set: 'rows' as const, position: 1 + i })),
      { set: 'batch', position: 0 },
      { set: 'cols', position: 0 },
    ],
  };
}

const multiply = (e: Emitter, n: Node, a: readonly Ix[], b: readonly Ix[]): Expr =>
  op('mul', arithmetic(n.dtype), e.emit(n.inputs[0], a), e.emit(n.inputs[1], b));

/** Axes of an operand that are neither batch nor contracted, in order. */
const restAxes = (rank: number, batch: readonly number[], contract: readonly number[]) =>
  Array.from({ length: rank }, (_, i) => i).filter((i) => !batch.includes(i) && !contract.includes(i));

function dotReduction(n: Node<'dot'>): Reduction {
  const { batch, contract } = n.arg;
  const [a, b] = n.inputs;
  const rest = [restAxes(a.shape.length, batch[0], contract[0]), restAxes(b.shape.length, batch[1], contract[1])];
  return {
    out: n,
    reduced: contract[0].map((axis) => a.shape[axis]),
    op: 'add',
    initial: 0,
    element: (e, o, r) => {
      const place = (side: 0 | 1, rank: number, first: number): Ix[] => {
        const idx = new Array<Ix>(rank);
        for (const [i, axis] of batch[side].entries()) idx[axis] = o[i];
        for (const [i, axis] of contract[side].entries()) idx[axis] = r[i];
        for (const [i, axis] of rest[side].entries()) idx[axis] = o[first + i];
        return idx;
      };
      const nb = batch[0].length;
      return multiply(e, n, place(0, a.shape.length, nb), place(1, b.shape.length, nb + rest[0].length));
    },
  };
}

function convReduction(n: Node<'conv'>): Reduction {
  const { stride, kernelDilation } = n.arg;
  const [, w] = n.inputs;
  const spatial = stride.length;
  const channels = w.shape[spatial + 1];
  return {
    out: n,
    reduced: [...w.shape.slice(0, spatial), channels],
    op: 'add',
    initial: 0,
    element: (e, o, r) => {
      const at = stride.map((s, i) => o[1 + i].scale(s).add(r[i].scale(kernelDilation[i])));
      const group = o[1 + spatial];
      const c = r[spatial];
      return multiply(e, n, [o[0], ...at, group, c], [...r.slice(0, spatial), group, c, o[2 + spatial]]);
    },
  };
}
