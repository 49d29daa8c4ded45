/**
 * @file lower: a Group becomes kernels. One case per family: elementwise, reduction, scan, sort, scatter, contraction.
 * Buffers are named by the Node whose value they hold; compile.ts gives them places.
 */
import { InternalError } from '../base/errors.js';
import { type Shape, sameShape, size } from '../base/shape.js';
import { isOp, makeNode, type Node } from '../graph/node.js';
import {
  cast,
  constant,
  type Expr,
  iadd,
  imul,
  index,
  type Kernel,
  load,
  loop,
  op,
  type ReduceOp,
  type Stmt,
  variable,
} from '../kernel/kernel.js';
import type { TargetInfo } from '../kernel/target.js';
import { lowerContraction } from './contraction.js';
import { elementwise } from './elementwise.js';
import { arithmetic, Buffers, Emitter, greater, lowest, unflattenWindow, windowAt } from './emit.js';
import { type AttentionNode, type Group, isAttention } from './fuse.js';
import { type Axis, mergeLoops, nest, plainLoops, unpack } from './loops.js';
import { lowerPutRows } from './put-rows.js';
import { Ix } from './symbolic.js';
import { flatten, unflatten } from './views.js';

/** A kernel with the node behind each of its buffers. */
export interface LoweredCall {
  readonly kernel: Kernel;
  readonly nodes: readonly Node[];
  /** Nodes that are read only at the element being stored, so that the store may overwrite them. */
  readonly inPlace: ReadonlySet<Node>;
  /** Whose elements the stored node has where the kernel writes none: it works in that buffer, or in a copy of it. */
  readonly onto?: Node;
  /** Nodes whose writers come first, although it doesn't read them. */
  readonly waits?: ReadonlySet<Node>;
}

/** A buffer that no node of the graph stands for (partial results). */
export const temporary = (dtype: Node['dtype'], shape: Shape, name = 'partial'): Node =>
  makeNode('input', [], { index: -1, name }, dtype, shape);

type AttentionLowering = (g: Group, anchor: AttentionNode, target: TargetInfo) => LoweredCall[];
let attentionLowering: AttentionLowering | null = null;
/** Named by whoever makes attentions (compile/attention), so that bundles of programs without any don't hold their templates. */
export const setAttentionLowering = (lowering: AttentionLowering): void => {
  attentionLowering = lowering;
};

export function lowerGroup(g: Group, target: TargetInfo): LoweredCall[] {
  const anchor = g.anchor;
  if (!anchor) return [elementwise(g, target)];
  if (isOp(anchor, 'dot') || isOp(anchor, 'conv')) return lowerContraction(g, anchor, target);
  if (isAttention(anchor)) {
    if (!attentionLowering)
      throw new InternalError('lower: nobody named the lowering of attention. Expected useAttention() where such a node is made');
    return attentionLowering(g, anchor, target);
  }
  if (isOp(anchor, 'argmax') || isOp(anchor, 'argmin')) return [argReduction(g, anchor, target)];
  if (isOp(anchor, 'windowArgmax')) return [argReduction(g, anchor, target)];
  if (isOp(anchor, 'cumsum') || isOp(anchor, 'cumprod') || isOp(anchor, 'cummax')) return [scan(g, anchor, target)];
  if (isOp(anchor, 'argsort')) return [sort(g, anchor)];
  if (isOp(anchor, 'takeAdd')) return [scatterRows(g, anchor, target)];
  if (isOp(anchor, 'takeAlongAdd')) return [scatterAlong(g, anchor)];
  if (isOp(anchor, 'putRows')) return [lowerPutRows(g, anchor, target)];
  return lowerReduction(g, reductionOf(anchor), target);
}

// ---- shared pieces

/** Label of a kernel: its ops in order, repeated ones counted. */
export const labelOf = (g: Group): string => labelsOf([g]);
export function labelsOf(groups: readonly Group[]): string {
  const names: string[] = [];
  for (const n of groups.flatMap((g) => [...g.members].sort((a, b) => a.id - b.id)))
    if (n.op !== 'constant' && n.op !== 'broadcast' && n.op !== 'reshape') names.push(n.op);
  return names.length > 6 ? `${names.slice(0, 5).join('+')}+${names.length - 5} more` : names.join('+') || [...groups[0].stores][0].op;
}

export const bytesOf = (buffers: Buffers): number => buffers.nodes.reduce((n, b) => n + 4 * size(b.shape), 0);

/** Emits every store of the group at `idx`; returns the emitter, whose body holds the statements. */
export function emitStores(g: Group, buffers: Buffers, idx: readonly Ix[], given: ReadonlyMap<Node, Expr> = new Map()): Emitter {
  const e = new Emitter(buffers, g.members, given);
  const stores = [...g.stores].map((n) => {
    const at = sameShape(n.shape, g.shape) ? idx : unflatten(flatten(idx, g.shape), n.shape);
    return { n, at, value: e.emit(n, at) };
  });
  // All values before the first store: it may overwrite what another is made of.
  for (const { n, at, value } of stores) e.store(n, at, value);
  return e;
}

/** Nodes of the stored shape that are read at the stored element and nowhere else. */
export function inPlaceNodes(shape: Shape, outer: Emitter, idx: readonly Ix[], inner: readonly Emitter[] = []): Set<Node> {
  const here = flatten(idx, shape).key;
  const isHere = (r: { node: Node; at: Ix }) => size(r.node.shape) === size(shape) && r.at.key === here;
  const ok = new Set(outer.reads.filter(isHere).map((r) => r.node));
  for (const r of outer.reads) if (!isHere(r)) ok.delete(r.node);
  for (const e of inner) for (const r of e.reads) ok.delete(r.node);
  return ok;
}

export function countOps(stmts: readonly Stmt[]): number {
  let n = 0;
  for (const s of stmts) n += s.kind === 'if' ? countOps(s.then) + 1 : s.kind === 'for' ? countOps(s.body) : 1;
  return n;
}

// ---- reductions

/** out[o] = op over r of element(o, r). */
export interface Reduction {
  readonly out: Node;
  readonly reduced: Shape;
  readonly op: ReduceOp;
  readonly initial: number;
  element(e: Emitter, o: readonly Ix[], r: readonly Ix[]): Expr;
}

export function reductionOf(n: Node): Reduction {
  const x = n.inputs[0];
  if (isOp(n, 'sum') || isOp(n, 'prod') || isOp(n, 'reduceMax') || isOp(n, 'reduceMin')) {
    const { axes } = n.arg;
    const ops = { sum: 'add', prod: 'mul', reduceMax: 'max', reduceMin: 'min' } as const;
    const initial = { sum: 0, prod: 1, reduceMax: lowest(n.dtype), reduceMin: highest(n.dtype) };
    return {
      out: n,
      reduced: axes.map((a) => x.shape[a]),
      op: ops[n.op],
      initial: initial[n.op],
      element: (e, o, r) => cast(arithmetic(n.dtype), e.emit(x, weave(x.shape.length, axes, o, r))),
    };
  }
  if (isOp(n, 'windowMax') || isOp(n, 'windowSum')) {
    const max = isOp(n, 'windowMax');
    const initial = max ? lowest(n.dtype) : 0;
    return {
      out: n,
      reduced: n.arg.size,
      op: max ? 'max' : 'add',
      initial,
      element: (e, o, r) => e.emitInside(x, windowAt(n.arg, o, r), initial),
    };
  }
  throw new InternalError(`lower: ${n.op} is not a reduction`);
}

const highest = (dtype: Node['dtype']): number =>
  dtype === 'i32'
    ? 2 ** 31 - 1
    : dtype === 'u32'
      ? 2 ** 32 - 1
      : dtype === 'i8'
        ? 127
        : dtype === 'u8'
          ? 255
          : dtype === 'bool'
            ? 1
            : Number.POSITIVE_INFINITY;

/** Index of the input from the kept (`o`) and reduced (`r`) indices. */
function weave(rank: number, axes: readonly number[], o: readonly Ix[], r: readonly Ix[]): Ix[] {
  const out: Ix[] = [];
  let k = 0;
  for (let i = 0; i < rank; i++) {
    const a = axes.indexOf(i);
    out.push(a >= 0 ? r[a] : o[k++]);
  }
  return out;
}

/** How many indices step by one in the named loop: what vectorizes. Those that stand still in the other one are of small operands. */
const unitSteps = (touched: readonly Ix[], name: string | undefined, other: string | undefined) => {
  const steps = name === undefined ? [] : touched.filter((ix) => Math.abs(ix.factorOf(name)) === 1);
  return steps.length + 100 * steps.filter((ix) => other !== undefined && ix.depends(other)).length;
};

/**
 * Either each output is summed on its own with a vectorized innermost loop, or a block of neighbouring outputs is
 * summed together, whichever reads memory in order. Long reductions into few outputs are cut into parts, summed in a
 * fixed order by a second kernel.
 */
export function lowerReduction(g: Group, r: Reduction, target: TargetInfo): LoweredCall[] {
  const type = arithmetic(r.out.dtype);
  const probe = new Emitter(new Buffers(), g.members);
  r.element(probe, plainLoops(g.shape, 'o').idx, plainLoops(r.reduced, 'r').idx);
  const epilogueProbe = emitStores(g, new Buffers(), plainLoops(g.shape, 'o').idx, new Map([[r.out, constant(type, 0)]]));
  const outer = mergeLoops(g.shape, 'o', [...probe.touched, ...epilogueProbe.touched]);
  const inner = mergeLoops(r.reduced, 'r', probe.touched);

  const lastOut = outer.axes.at(-1);
  const lastIn = inner.axes.at(-1);
  const again = new Emitter(new Buffers(), g.members);
  r.element(again, outer.idx, inner.idx);
  const block =
    lastOut !== undefined &&
    lastOut.extent >= 4 &&
    unitSteps(again.touched, lastOut.name, lastIn?.name) > unitSteps(again.touched, lastIn?.name, lastOut.name);

  const outputs = size(g.shape);
  const reduced = size(r.reduced);
  const cost = countOps(again.body) + 1;
  const first = inner.axes[0];
  const blockSize = block ? Math.min(lastOut.extent, 256) : 1;
  const items = block ? Math.ceil(outputs / blockSize) : outputs;
  const parts =
    items < 4 * target.threads && outputs * reduced * cost >= 65536 && first && first.extent >= 8 ? Math.min(16, first.extent) : 1;

  if (parts > 1) {
    const partial = temporary(type, [parts, ...g.shape]);
    const stage1 = reduceKernel({ ...g, stores: new Set([partial]), members: new Set(g.members) }, r, target, {
      outer,
      inner,
      block,
      parts,
      partial,
      cost,
    });
    const stage2: Reduction = {
      out: r.out,
      reduced: [parts],
      op: r.op,
      initial: r.initial,
      element: (e, o, k) => e.emit(partial, [k[0], ...o]),
    };
    return [stage1, ...lowerReduction(g, stage2, target)];
  }
  return [reduceKernel(g, r, target, { outer, inner, block, parts, partial: null, cost })];
}

interface ReducePlan {
  readonly outer: { axes: readonly Axis[]; idx: readonly Ix[] };
  readonly inner: { axes: readonly Axis[]; idx: readonly Ix[] };
  readonly block: boolean;
  readonly parts: number;
  readonly partial: Node | null;
  readonly cost: number;
}

function reduceKernel(g: Group, r: Reduction, target: TargetInfo, plan: ReducePlan): LoweredCall {
  const { outer, inner, block, parts, partial } = plan;
  const type = arithmetic(r.out.dtype);
  const buffers = new Buffers();
  const body = new Emitter(buffers, g.members);
  const element = r.element(body, outer.idx, inner.idx);
  let inPlace = new Set<Node>();

  const finish = (acc: Expr): Stmt[] => {
    if (partial) {
      const at = flatten([Ix.variable('part', parts), ...outer.idx], [parts, ...r.out.shape]);
      return [{ kind: 'store', buffer: buffers.name(partial, 'write'), index: at.toExpr(), value: acc }];
    }
    const e = emitStores(g, buffers, outer.idx, new Map([[r.out, acc]]));
    inPlace = inPlaceNodes(g.shape, e, outer.idx, [body]);
    return e.body;
  };

  /** The reduction's loops around `stmts`, the outermost cut to this item's part. */
  const around = (stmts: readonly Stmt[], innermost: 'simd' | 'serial', reduce?: { name: string; op: ReduceOp }[]): Stmt[] => {
    let out: Stmt[] = [...stmts];
    for (let i = inner.axes.length - 1; i >= 0; i--) {
      const { name, extent } = inner.axes[i];
      let from: Expr = index(0);
      let to: Expr = index(extent);
      if (i === 0 && parts > 1) {
        const chunk = Math.ceil(extent / parts);
        from = imul(variable('part'), chunk);
        to = op('min', 'index', iadd(from, chunk), index(extent));
      }
      const last = i === inner.axes.length - 1;
      out = [loop(name, from, to, out, last ? { mode: innermost, ...(reduce ? { reduce } : {}) } : {})];
    }
    return out;
  };

  const flops = plan.cost * size(r.out.shape) * size(r.reduced);
  const done = (extent: number, stmts: Stmt[]): LoweredCall => ({
    kernel: { label: labelOf(g), buffers: buffers.params, grid: { name: 'item', extent }, body: stmts, flops, bytes: bytesOf(buffers) },
    nodes: buffers.nodes,
    inPlace,
  });
  const item = variable('item');
  const partAxis = { name: 'part', extent: parts };

  if (!block) {
    const acc = variable('acc', type);
    const step: Stmt[] = [...body.body, { kind: 'assign', name: 'acc', value: op(r.op, type, acc, element) }];
    const one: Stmt[] = [
      { kind: 'mut', name: 'acc', value: constant(type, r.initial) },
      ...around(step, 'simd', [{ name: 'acc', op: r.op }]),
    ];
    const stmts = [...one, ...finish(acc)];
    if (parts > 1) return done(parts * size(g.shape), [...unpack(item, [partAxis, ...outer.axes]), ...stmts]);
    const n = nest(outer.axes, target, plan.cost * size(r.reduced), { innermost: 'serial' });
    return done(n.grid.extent, n.wrap(stmts));
  }

  const last = outer.axes[outer.axes.length - 1];
  const leading = outer.axes.slice(0, -1);
  // Enough blocks for the threads, not so small that a vector is half empty.
  const others = leading.reduce((n, a) => n * a.extent, parts);
  const wide = Math.min(last.extent, 256);
  const width =
    others >= 2 * target.threads
      ? wide
      : Math.min(wide, Math.max(64, Math.ceil(last.extent / Math.ceil((2 * target.threads) / others) / 16) * 16));
  const blocks = Math.ceil(last.extent / width);
  const base = blocks > 1 ? imul(variable('block'), width) : index(0);
  const length = last.extent % width === 0 ? index(width) : op('min', 'index', index(width), op('sub', 'index', index(last.extent), base));
  const each = (stmts: readonly Stmt[]): Stmt =>
    loop('j', 0, variable('length'), [{ kind: 'let', name: last.name, value: iadd(base, variable('j')) }, ...stmts], { mode: 'simd' });
  const slot = load('sums', type, variable('j'));
  const stmts: Stmt[] = [
    ...unpack(item, [partAxis, ...leading, { name: 'block', extent: blocks }]),
    { kind: 'let', name: 'length', value: length },
    { kind: 'local', name: 'sums', type, size: width },
    loop('j', 0, variable('length'), [{ kind: 'store', buffer: 'sums', index: variable('j'), value: constant(type, r.initial) }], {
      mode: 'simd',
    }),
    ...around(
      [each([...body.body, { kind: 'store', buffer: 'sums', index: variable('j'), value: op(r.op, type, slot, element) }])],
      'serial',
    ),
    each(finish(slot)),
  ];
  return done(others * blocks, stmts);
}

/** argmax, argmin, and windowArgmax over windows too large to write out. */
function argReduction(g: Group, n: Node<'argmax'> | Node<'argmin'> | Node<'windowArgmax'>, target: TargetInfo): LoweredCall {
  const x = n.inputs[0];
  const type = arithmetic(x.dtype);
  const min = isOp(n, 'argmin');
  const window = isOp(n, 'windowArgmax') ? n.arg : null;
  const extent = window ? window.size.reduce((a, b) => a * b, 1) : x.shape[(n as Node<'argmax'>).arg.axis];
  const buffers = new Buffers();
  const loops = plainLoops(g.shape, 'o');
  const body = new Emitter(buffers, g.members);
  const r = Ix.variable('r', extent);
  const start = min ? highest(x.dtype) : lowest(x.dtype);
  const value = window
    ? body.emitInside(x, windowAt(window, loops.idx, unflattenWindow(r, window.size)), start)
    : body.emit(x, weave(x.shape.length, [(n as Node<'argmax'>).arg.axis], loops.idx, [r]));
  const best = variable('best', type);
  const wins = min
    ? op('or', 'bool', op('lt', 'bool', value, best), op('and', 'bool', op('ne', 'bool', value, value), op('eq', 'bool', best, best)))
    : greater(value, best);
  const step: Stmt[] = [
    ...body.body,
    {
      kind: 'if',
      cond: wins,
      then: [
        { kind: 'assign', name: 'best', value },
        { kind: 'assign', name: 'where', value: cast('i32', r.toExpr()) },
      ],
    },
  ];
  const before = new Emitter(buffers, g.members);
  const first = window ? before.firstInside(window, loops.idx) : constant('i32', 0);
  const e = emitStores(g, buffers, loops.idx, new Map([[n as Node, variable('where', 'i32')]]));
  const wrapped = nest(loops.axes, target, extent, { innermost: 'serial' });
  return {
    kernel: {
      label: labelOf(g),
      buffers: buffers.params,
      grid: wrapped.grid,
      body: wrapped.wrap([
        ...before.body,
        { kind: 'mut', name: 'best', value: constant(type, start) },
        { kind: 'mut', name: 'where', value: first },
        loop('r', 0, extent, step),
        ...e.body,
      ]),
      flops: 3 * size(g.shape) * extent,
      bytes: bytesOf(buffers),
    },
    nodes: buffers.nodes,
    inPlace: new Set(),
  };
}

// ---- scan, sort, scatter

function scan(g: Group, n: Node<'cumsum'> | Node<'cumprod'> | Node<'cummax'>, target: TargetInfo): LoweredCall {
  const { axis, reverse } = n.arg;
  const exclusive = !isOp(n, 'cummax') && n.arg.exclusive;
  const type = arithmetic(n.dtype);
  const combine: ReduceOp = isOp(n, 'cumsum') ? 'add' : isOp(n, 'cumprod') ? 'mul' : 'max';
  const initial = isOp(n, 'cumsum') ? 0 : isOp(n, 'cumprod') ? 1 : lowest(n.dtype);
  const extent = n.shape[axis];
  const loops = plainLoops(
    n.shape.map((d, i) => (i === axis ? 1 : d)),
    'o',
  );
  const along = Ix.variable('s', extent);
  const at = reverse ? along.scale(-1).add(extent - 1) : along;
  const idx = loops.idx.map((ix, i) => (i === axis ? at : ix));
  const buffers = new Buffers();
  const acc = variable('acc', type);
  const body = new Emitter(buffers, g.members);
  const v = body.emit(n.inputs[0], idx);
  const add: Stmt[] = [...body.body, { kind: 'assign', name: 'acc', value: op(combine, type, acc, v) }];
  const before = variable('before', type);
  const e = emitStores(g, buffers, idx, new Map([[n as Node, exclusive ? before : acc]]));
  const step: Stmt[] = exclusive ? [{ kind: 'let', name: 'before', value: acc }, ...add, ...e.body] : [...add, ...e.body];
  const wrapped = nest(loops.axes, target, extent, { innermost: 'serial' });
  return {
    kernel: {
      label: labelOf(g),
      buffers: buffers.params,
      grid: wrapped.grid,
      body: wrapped.wrap([{ kind: 'mut', name: 'acc', value: constant(type, initial) }, loop('s', 0, extent, step)]),
      flops: size(n.shape) * 2,
      bytes: bytesOf(buffers),
    },
    nodes: buffers.nodes,
    inPlace: new Set(),
  };
}

/** Axes of a shape except one, and the flat offset they make in it. */
function linesOf(shape: Shape, axis: number): { axes: Axis[]; idx: Ix[] } {
  const axes = shape.map((extent, i) => ({ name: `o${i}`, extent: i === axis ? 1 : extent }));
  return { axes, idx: axes.map((a) => Ix.variable(a.name, a.extent)) };
}

function sort(g: Group, n: Node<'argsort'>): LoweredCall {
  const x = n.inputs[0];
  const { axis, descending } = n.arg;
  const { axes, idx } = linesOf(n.shape, axis);
  const buffers = new Buffers();
  const length = n.shape[axis];
  const key = flatten(
    idx.map((ix, i) => (i === axis ? Ix.variable('k', length) : ix)),
    x.shape,
  );
  const source = buffers.name(x, 'read');
  const stride = n.shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  const lines = length === 0 ? 0 : size(n.shape) / length;
  return {
    kernel: {
      label: labelOf(g),
      buffers: [...buffers.params, { name: 'out', dtype: 'i32', access: 'write' }],
      grid: { name: 'item', extent: lines },
      body: [
        ...unpack(variable('item'), axes),
        {
          kind: 'argsort',
          name: 'k',
          length,
          descending,
          out: 'out',
          outStride: stride,
          key: cast(arithmetic(x.dtype), load(source, x.dtype, key.toExpr())),
          outBase: flatten(idx, n.shape).toExpr(),
        },
      ],
      flops: size(n.shape) * 8 * Math.max(1, Math.log2(length)),
      bytes: 8 * size(n.shape),
    },
    nodes: [...buffers.nodes, n],
    inPlace: new Set(),
  };
}

/** Columns cut into slabs, of which each item owns one: how many, and a loop over the columns of the slab that the variable `slab` numbers. */
export function columnSlabs(columns: number, target: TargetInfo, slab: string): { count: number; over: (body: Stmt[]) => Stmt } {
  const width = Math.max(1, Math.min(columns, Math.max(16, Math.ceil(columns / (2 * target.threads) / 16) * 16)));
  const count = Math.ceil(columns / width);
  const from = imul(variable(slab), width);
  const over = (body: Stmt[]): Stmt =>
    columns === 1
      ? { kind: 'if', cond: constant('bool', 1), then: body }
      : loop('column', count > 1 ? from : 0, count > 1 ? op('min', 'index', iadd(from, width), index(columns)) : columns, body, {
          mode: 'simd',
        });
  return { count, over };
}

/** takeAdd: each item owns a slab of columns and adds the rows to it in order, so that the sum never depends on threads. */
function scatterRows(g: Group, n: Node<'takeAdd'>, target: TargetInfo): LoweredCall {
  const [dy, indices] = n.inputs;
  const { axis, extent } = n.arg;
  const rank = indices.shape.length;
  const lead = n.shape.slice(0, axis);
  const tail = n.shape.slice(axis + 1);
  const columns = size(tail);
  const { count: chunks, over: overColumns } = columnSlabs(columns, target, 'chunk');
  const leadAxes = lead.map((d, i) => ({ name: `o${i}`, extent: d }));
  const leadIdx = leadAxes.map((a) => Ix.variable(a.name, a.extent));
  const column = Ix.variable('column', columns);
  const tailIdx = unflattenWindow(column, tail);
  const buffers = new Buffers();
  const out = buffers.name(n, 'readwrite');
  const address = (row: Ix) => flatten([...leadIdx, row, ...tailIdx], n.shape).toExpr();
  const type = arithmetic(n.dtype);

  const count = size(indices.shape);
  const k = Ix.variable('k', count);
  const kIdx = unflattenWindow(k, indices.shape);
  const picker = new Emitter(buffers, g.members);
  const row = picker.position(picker.emit(indices, rank === 0 ? [] : kIdx), extent, kIdx);
  const value = new Emitter(buffers, g.members);
  const v = value.emit(dy, [...leadIdx, ...(rank === 0 ? [] : kIdx), ...tailIdx]);
  const at = address(row);
  const zero = address(Ix.variable('row', extent));
  return {
    kernel: {
      label: labelOf(g),
      buffers: buffers.params,
      grid: { name: 'item', extent: size(lead) * chunks },
      body: [
        ...unpack(variable('item'), [...leadAxes, { name: 'chunk', extent: chunks }]),
        loop('row', 0, extent, [overColumns([{ kind: 'store', buffer: out, index: zero, value: cast(n.dtype, constant(type, 0)) }])]),
        loop('k', 0, count, [
          ...picker.body,
          overColumns([
            ...value.body,
            { kind: 'store', buffer: out, index: at, value: cast(n.dtype, op('add', type, cast(type, load(out, n.dtype, at)), v)) },
          ]),
        ]),
      ],
      flops: 2 * size(dy.shape),
      bytes: bytesOf(buffers),
    },
    nodes: buffers.nodes,
    inPlace: new Set(),
  };
}

function scatterAlong(g: Group, n: Node<'takeAlongAdd'>): LoweredCall {
  const [dy, indices] = n.inputs;
  const { axis, extent } = n.arg;
  const { axes, idx } = linesOf(n.shape, axis);
  const buffers = new Buffers();
  const out = buffers.name(n, 'readwrite');
  const type = arithmetic(n.dtype);
  const withAxis = (ix: Ix) => idx.map((old, i) => (i === axis ? ix : old));
  const count = indices.shape[axis];
  const e = new Emitter(buffers, g.members);
  const source = withAxis(Ix.variable('k', count));
  const row = e.position(e.emit(indices, source), extent, source);
  const v = e.emit(dy, source);
  const at = flatten(withAxis(row), n.shape).toExpr();
  const zero = flatten(withAxis(Ix.variable('row', extent)), n.shape).toExpr();
  return {
    kernel: {
      label: labelOf(g),
      buffers: buffers.params,
      grid: { name: 'item', extent: axes.reduce((p, a) => p * a.extent, 1) },
      body: [
        ...unpack(variable('item'), axes),
        loop('row', 0, extent, [{ kind: 'store', buffer: out, index: zero, value: cast(n.dtype, constant(type, 0)) }]),
        loop('k', 0, count, [
          ...e.body,
          { kind: 'store', buffer: out, index: at, value: cast(n.dtype, op('add', type, cast(type, load(out, n.dtype, at)), v)) },
        ]),
      ],
      flops: 2 * size(dy.shape),
      bytes: bytesOf(buffers),
    },
    nodes: buffers.nodes,
    inPlace: new Set(),
  };
}
