/**
 * @file rows: groups that walk the same rows (the passes of a softmax, a layer normalization, a loss and their gradients)
 * become one kernel that does all of them for a row before it turns to the next: what one pass stores, the next finds in the
 * first-level cache, and threads meet once.
 */
import { size } from '../base/shape.js';
import { isOp, type Node } from '../graph/node.js';
import { constant, type Expr, iadd, imul, index, loop, op, type Stmt, variable } from '../kernel/kernel.js';
import type { TargetInfo } from '../kernel/target.js';
import { arithmetic, Buffers, Emitter } from './emit.js';
import { type Fusion, type Group, groupsRead } from './fuse.js';
import { bytesOf, countOps, emitStores, type LoweredCall, labelsOf, type Reduction, reductionOf } from './lower.js';
import { Ix } from './symbolic.js';
import { behindBarriers, unflatten } from './views.js';

/** Groups in the order in which a row takes them. */
export interface Chain {
  readonly groups: readonly Group[];
  readonly rows: number;
  readonly columns: number;
}

/** Longer rows leave the first-level cache between passes; larger kernels take long to compile. */
const mostColumns = 8192;
const mostMembers = 300;

/** The rows × columns of a reduction over the last axes. */
function rowsOf(g: Group): { rows: number; columns: number } | null {
  const n = g.anchor;
  if (!n || !(isOp(n, 'sum') || isOp(n, 'prod') || isOp(n, 'reduceMax') || isOp(n, 'reduceMin'))) return null;
  const { shape } = n.inputs[0];
  const { axes } = n.arg;
  const first = shape.length - axes.length;
  if (!axes.every((a) => a >= first)) return null;
  return { rows: size(shape.slice(0, first)), columns: size(shape.slice(first)) };
}

/** A pass of a chain: the loop over a row's columns, or what is done once a row. */
interface Pass {
  readonly body: Stmt[];
  readonly emitters: readonly Emitter[];
  /** Set where it loops over the columns. */
  readonly column: string | null;
}

function passOf(g: Group, k: number, row: Ix, rows: number, columns: number, buffers: Buffers): Pass {
  const column = `c${k}`;
  const c = Ix.variable(column, columns);
  if (!g.anchor) {
    const wide = size(g.shape) !== rows;
    const e = emitStores(g, buffers, unflatten(wide ? row.scale(columns).add(c) : row, g.shape));
    return { body: wide ? [loop(column, 0, columns, e.body, { mode: 'simd' })] : e.body, emitters: [e], column: wide ? column : null };
  }
  const r: Reduction = reductionOf(g.anchor);
  const type = arithmetic(r.out.dtype);
  const at = unflatten(row, g.shape);
  const inner = new Emitter(buffers, g.members);
  const element = r.element(inner, at, unflatten(c, r.reduced));
  const acc: Expr = variable(`acc${k}`, type);
  const e = emitStores(g, buffers, at, new Map([[r.out, acc]]));
  return {
    body: [
      { kind: 'mut', name: `acc${k}`, value: constant(type, r.initial) },
      loop(column, 0, columns, [...inner.body, { kind: 'assign', name: `acc${k}`, value: op(r.op, type, acc, element) }], {
        mode: 'simd',
        reduce: [{ name: `acc${k}`, op: r.op }],
      }),
      ...e.body,
    ],
    emitters: [inner, e],
    column,
  };
}

/** Whether the group's pass reads memory in order, and of what the chain stores nothing but the row's own. */
function fits(g: Group, stored: ReadonlySet<Node>, rows: number, columns: number): boolean {
  const row = Ix.variable('row', rows);
  const { emitters, column } = passOf(g, 0, row, rows, columns, new Buffers());
  for (const e of emitters) {
    for (const ix of e.touched) {
      const step = column === null ? 0 : ix.factorOf(column);
      if (Number.isNaN(step) || (ix.depends('row') && Math.abs(step) > 1)) return false;
    }
    for (const { node, at } of e.reads) {
      if (!stored.has(behindBarriers(node))) continue;
      const width = size(node.shape) / rows;
      const within = at.add(row.scale(-width));
      if (within.depends('row') || within.min < 0 || within.max >= width) return false;
    }
  }
  return true;
}

/** The groups of a fusion, those of a chain together, in an order in which none comes before what it reads. */
export function chainRows({ groups, storedBy }: Fusion, target: TargetInfo): (Group | Chain)[] {
  const inputs = new Map(groups.map((g) => [g, groupsRead(g, storedBy)]));
  const chainOf = new Map<Group, Chain>();

  /** Whether some group outside reads one of `inside` and is read by another. */
  const isInterrupted = (inside: ReadonlySet<Group>): boolean => {
    const seen = new Set<Group>();
    const partners = (g: Group): readonly Group[] => chainOf.get(g)?.groups ?? [g];
    const stack = [...inside].flatMap((g) => [...(inputs.get(g) ?? [])]).filter((p) => !inside.has(p));
    for (let g = stack.pop(); g; g = stack.pop()) {
      if (seen.has(g)) continue;
      seen.add(g);
      for (const partner of partners(g))
        for (const p of inputs.get(partner) ?? []) {
          if (inside.has(p)) return true;
          stack.push(p);
        }
    }
    return false;
  };

  const place = new Map(groups.map((g, i) => [g, i]));
  for (const g of groups) {
    const own = rowsOf(g);
    if (g.anchor && !own) continue;
    let chain: Chain | null =
      own && own.rows >= 4 * target.threads && own.columns > 1 && own.columns <= mostColumns ? { groups: [g], ...own } : null;
    if (own && (!chain || !fits(g, new Set(), own.rows, own.columns))) continue;
    const producers = [...(inputs.get(g) ?? [])].sort((a, b) => (place.get(b) ?? 0) - (place.get(a) ?? 0));
    for (const p of producers) {
      const theirs = chainOf.get(p) ?? (p.anchor ? null : { groups: [p], rows: chain?.rows ?? 0, columns: chain?.columns ?? 0 });
      if (!theirs || theirs.groups.includes(g) || chain?.groups.includes(p)) continue;
      const base: Chain = chain ?? { ...theirs, groups: [g] };
      const { rows, columns } = base;
      if (rows === 0 || theirs.rows !== rows || theirs.columns !== columns) continue;
      const sizes = [rows, rows * columns];
      const all = [...new Set([...theirs.groups, ...base.groups])].sort((a, b) => (place.get(a) ?? 0) - (place.get(b) ?? 0));
      if (!all.every((x) => sizes.includes(size(x.shape))) || all.reduce((n, x) => n + x.members.size, 0) > mostMembers) continue;
      const stored = new Set(all.flatMap((x) => [...x.stores]));
      if (!all.every((x) => fits(x, stored, rows, columns)) || isInterrupted(new Set(all))) continue;
      chain = { groups: all, rows, columns };
    }
    if (chain) for (const x of chain.groups) chainOf.set(x, chain);
  }

  const out: (Group | Chain)[] = [];
  const done = new Set<Group>();
  const visit = (g: Group): void => {
    if (done.has(g)) return;
    const chain = chainOf.get(g);
    const together = chain?.groups ?? [g];
    for (const x of together) done.add(x);
    for (const x of together) for (const p of inputs.get(x) ?? []) visit(p);
    out.push(chain && chain.groups.length > 1 ? chain : g);
  };
  for (const g of groups) visit(g);
  return out;
}

/**
 * One kernel for a chain; an item is a few rows, which take each pass together: a row's passes wait for one another, those of
 * different rows don't. What the chain stores and nothing else reads (`isOwn`) lies in the item's own arrays and never travels to memory.
 */
export function lowerChain({ groups, rows, columns }: Chain, target: TargetInfo, isOwn: (n: Node) => boolean): LoweredCall {
  const block = Math.max(1, Math.min(16, Math.floor(1024 / columns), Math.floor(rows / (8 * target.threads))));
  const items = Math.ceil(rows / block);
  const from = Ix.variable('item', items).scale(block);
  const row = from.add(Ix.variable('row', block));
  const stored = groups.flatMap((g) => [...g.stores]).filter(isOwn);
  const own = new Map(stored.map((n, i) => [n, { name: `own${i}`, first: from.scale(size(n.shape) / rows) }]));
  const buffers = new Buffers(own);
  const body: Stmt[] = stored.map((n, i) => ({ kind: 'local', name: `own${i}`, type: n.dtype, size: (size(n.shape) / rows) * block }));
  const count = rows % block === 0 ? index(block) : op('min', 'index', index(block), iadd(index(rows), imul(from.toExpr(), -1)));
  let flops = 0;
  const passes = groups.map((g, k) => passOf(g, k, row, rows, columns, buffers));
  passes.forEach((pass) => {
    body.push(loop('row', 0, count, pass.body));
    flops += rows * pass.emitters.reduce((n, e) => n + countOps(e.body), 0) * (pass.column ? columns : 1);
  });
  return {
    kernel: {
      label: labelsOf(groups),
      buffers: buffers.params,
      grid: { name: 'item', extent: items },
      body,
      flops,
      bytes: bytesOf(buffers),
    },
    nodes: buffers.nodes,
    inPlace: inPlaceOf(groups, passes, row, rows, columns),
  };
}

/** Nodes of which the passes read nothing but the row's own, the last that reads one its elements in turn, and before which none stores as much. */
function inPlaceOf(groups: readonly Group[], passes: readonly Pass[], row: Ix, rows: number, columns: number): Set<Node> {
  const last = new Map<Node, number>();
  passes.forEach(({ emitters }, k) => {
    for (const e of emitters) for (const r of e.reads) if (size(r.node.shape) === rows * columns) last.set(r.node, k);
  });
  const inPlace = new Set(last.keys());
  passes.forEach(({ emitters, column }, k) => {
    for (const { node, at } of emitters.flatMap((e) => e.reads)) {
      const within = at.add(row.scale(-columns));
      const isOwn = column !== null && within.key === Ix.variable(column, columns).key;
      const isInRow = within.min >= 0 && within.max < columns;
      if (k === last.get(node) ? !isOwn : !isInRow) inPlace.delete(node);
    }
    if (![...groups[k].stores].some((n) => size(n.shape) === rows * columns)) return;
    for (const [n, end] of last) if (k < end) inPlace.delete(n);
  });
  return inPlace;
}
