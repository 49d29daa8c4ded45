/** @file Loop planning: which axes merge into one loop, and how a nest is cut into independent grid items. */
import { constant, type Expr, iadd, idiv, imod, imul, index, loop, mentions, op, type Stmt, variable } from '../kernel/kernel.js';
import type { TargetInfo } from '../kernel/target.js';
import { Ix } from './symbolic.js';

export interface Axis {
  readonly name: string;
  readonly extent: number;
}

/** Loops over a shape (innermost last) and the index of each of the shape's axes in terms of them. */
export interface Loops {
  readonly axes: readonly Axis[];
  readonly idx: readonly Ix[];
}

/** One loop an axis. */
export function plainLoops(shape: readonly number[], prefix: string): Loops {
  const axes = shape.map((extent, i) => ({ name: `${prefix}${i}`, extent }));
  return { axes: axes.filter((a) => a.extent !== 1), idx: axes.map((a) => Ix.variable(a.name, a.extent)) };
}

/**
 * Merges neighbouring loops wherever every index the body touches steps through both as through one: a contiguous
 * elementwise body becomes a single loop. `touched` are the indices seen when the body was emitted with `plainLoops`.
 */
export function mergeLoops(shape: readonly number[], prefix: string, touched: readonly Ix[]): Loops {
  const live = shape.map((extent, i) => ({ name: `${prefix}${i}`, extent, i })).filter((a) => a.extent !== 1);
  const runs: (typeof live)[] = [];
  for (const axis of live) {
    const run = runs[runs.length - 1];
    const previous = run?.[run.length - 1];
    const joins = previous && touched.every((ix) => ix.factorOf(previous.name) === ix.factorOf(axis.name) * axis.extent);
    if (joins) run.push(axis);
    else runs.push([axis]);
  }
  const idx: Ix[] = shape.map(() => Ix.constant(0));
  const axes = runs.map((run, k) => {
    const extent = run.reduce((n, a) => n * a.extent, 1);
    const name = `${prefix}${k}m`;
    let flat = Ix.variable(name, extent);
    for (let j = run.length - 1; j >= 0; j--) {
      idx[run[j].i] = j === 0 ? flat : flat.mod(Math.max(1, run[j].extent));
      flat = flat.div(Math.max(1, run[j].extent));
    }
    return { name, extent };
  });
  return { axes, idx };
}

/**
 * Cuts axes where the body divides their index or looks whether it has passed a border (heads of an attention, pieces of
 * a concatenation), so that inside the inner loops neither is left. Gives the finer shape, and the old axes' indices.
 * `touched` are the indices seen when the body was emitted with `plainLoops`.
 */
export function cutAxes(
  shape: readonly number[],
  prefix: string,
  touched: readonly Ix[],
): { shape: number[]; compose: (idx: readonly Ix[]) => Ix[] } {
  const innermost = shape.findLastIndex((extent) => extent > 1);
  const parts = shape.map((extent, i) => {
    const cuts = new Set(touched.flatMap((ix) => ix.cutsOf(`${prefix}${i}`)));
    const units: number[] = [];
    let above = extent;
    // Shorter innermost loops would leave no vectors.
    for (const unit of [...cuts].sort((a, b) => b - a))
      if (unit < above && unit >= (i === innermost ? 4 : 2) && above % unit === 0) {
        units.push(unit);
        above = unit;
      }
    return [...units, 1];
  });
  return {
    shape: parts.flatMap((units, i) => units.map((unit, k) => (k === 0 ? shape[i] : units[k - 1]) / unit)),
    compose(idx) {
      let at = 0;
      return parts.map((units) => units.reduce((sum, unit) => sum.add(idx[at++].scale(unit)), Ix.constant(0)));
    },
  };
}

const around = (axes: readonly Axis[], stmts: readonly Stmt[]): Stmt[] =>
  axes.reduceRight<Stmt[]>((inside, { name, extent }) => [loop(name, 0, extent, inside)], [...stmts]);

/** All loops of a nest around its body, none of them shared by threads. The innermost one is 'simd'. */
export function loopsAround(axes: readonly Axis[], body: readonly Stmt[]): Stmt[] {
  const inner = axes.at(-1);
  if (!inner) return [{ kind: 'if', cond: constant('bool', 1), then: [...body] }];
  const inside = splitAtGuards(body, inner.name, (b) => loop(inner.name, 0, inner.extent, b, { mode: 'simd' }));
  return around(axes.slice(0, -1), inside);
}

const product = (axes: readonly Axis[]) => axes.reduce((n, a) => n * a.extent, 1);

export interface Nest {
  readonly grid: { name: string; extent: number };
  /** The item's statements around the innermost body. */
  wrap(body: readonly Stmt[]): Stmt[];
}

/**
 * Cuts a loop nest into grid items. Leading loops become the grid until there are enough items for the threads to
 * share evenly; where the innermost loop is nearly all there is, it is cut into chunks. The innermost loop is 'simd'.
 * @param cost arithmetic and loads of one innermost iteration, to keep items worth their overhead
 */
export function nest(axes: readonly Axis[], target: TargetInfo, cost: number, options: { innermost?: 'simd' | 'serial' } = {}): Nest {
  const mode = options.innermost ?? 'simd';
  const grid = { name: 'item' };
  const item = variable('item');
  if (axes.length === 0) return { grid: { ...grid, extent: 1 }, wrap: (body) => [...body] };
  const outer = axes.slice(0, -1);
  const inner = axes[axes.length - 1];
  const enough = 8 * target.threads;
  let taken = 0;
  while (taken < outer.length && product(outer.slice(0, taken)) < enough) taken++;
  const leading = outer.slice(0, taken);
  const between = outer.slice(taken);
  const items = product(leading);

  let chunk = inner.extent;
  if (items < 4 * target.threads && between.length === 0) {
    const least = Math.max(64, Math.ceil(4096 / Math.max(1, cost) / 64) * 64);
    const wanted = Math.ceil(inner.extent / Math.ceil((4 * target.threads) / items));
    chunk = Math.min(inner.extent, Math.max(least, Math.ceil(wanted / 64) * 64));
  }
  const chunks = Math.ceil(inner.extent / chunk);

  const wrap = (body: readonly Stmt[]): Stmt[] => {
    const out: Stmt[] = [...unpack(item, [...leading, { name: 'chunk', extent: chunks }])];
    let from: Expr = index(0);
    let to: Expr = index(inner.extent);
    if (chunks > 1) {
      from = imul(variable('chunk'), chunk);
      const end = iadd(from, chunk);
      to = inner.extent % chunk === 0 ? end : op('min', 'index', end, index(inner.extent));
    }
    const inside = splitAtGuards(body, inner.name, (b) => loop(inner.name, from, to, b, { mode }));
    return [...out, ...around(between, inside)];
  };
  return { grid: { ...grid, extent: items * chunks }, wrap };
}

/**
 * A loop, with the values that do not change in it named before: a looked-up row's address within it keeps compilers from
 * making vectors.
 */
function hoisted(name: string, body: readonly Stmt[], make: (body: readonly Stmt[]) => Stmt): Stmt[] {
  const before: Stmt[] = [];
  const inside: Stmt[] = [];
  const varying = new Set([name]);
  for (const s of body) {
    if (s.kind === 'let' && !mentions(s.value, varying)) before.push(s);
    else {
      if (s.kind === 'let' || s.kind === 'mut') varying.add(s.name);
      inside.push(s);
    }
  }
  return [...before, make(inside)];
}

/**
 * The innermost loop, split in two at a guard that does not change in it: padding on an outer axis becomes a choice of
 * loops instead of a test and a masked load an element. At most two guards, since each doubles the code.
 */
function splitAtGuards(body: readonly Stmt[], name: string, make: (body: readonly Stmt[]) => Stmt, depth = 0): Stmt[] {
  const at = body.findIndex((s) => s.kind === 'if' && !s.otherwise);
  const guard = body[at];
  if (depth >= 2 || guard?.kind !== 'if') return hoisted(name, body, make);
  const before = body.slice(0, at);
  const inside = new Set([name, ...before.flatMap((s) => (s.kind === 'let' || s.kind === 'mut' ? [s.name] : []))]);
  if (mentions(guard.cond, inside)) return hoisted(name, body, make);
  const after = body.slice(at + 1);
  return [
    {
      kind: 'if',
      cond: guard.cond,
      then: splitAtGuards([...before, ...guard.then, ...after], name, make, depth + 1),
      otherwise: splitAtGuards([...before, ...after], name, make, depth + 1),
    },
  ];
}

/** `let`s that give each axis its part of a flat item number, innermost last. */
export function unpack(item: Expr, axes: readonly Axis[]): Stmt[] {
  const out: Stmt[] = [];
  let stride = 1;
  for (let i = axes.length - 1; i >= 0; i--) {
    const { name, extent } = axes[i];
    if (extent === 1) continue;
    const q = idiv(item, stride);
    stride *= extent;
    const first = axes.slice(0, i).every((a) => a.extent === 1);
    out.unshift({ kind: 'let', name, value: first ? q : imod(q, extent) });
  }
  return out;
}
