/**
 * @file The dot form of a contraction: vectors run along the reduction, a few columns at a time. For products with
 * few rows whose operands lie along the reduction (matrix × vector, dot products), and the general case of last resort.
 */
import { isFloat } from '../../base/dtype.js';
import type { Expr, Kernel, Stmt } from '../../kernel/kernel.js';
import { cast, constant, fma, iadd, imul, index, load, loop, op, splat, variable } from '../../kernel/kernel.js';
import type { TargetInfo } from '../../kernel/target.js';
import {
  type Axis,
  accumulatorType,
  address,
  axes,
  type Contraction,
  extentOf,
  kernelOf,
  named,
  recover,
  unravel,
} from './contract-dims.js';

export interface DotPlan {
  readonly c: Contraction;
  readonly batch: readonly Axis[];
  readonly rows: readonly Axis[];
  readonly cols: readonly Axis[];
  /** The one along which both operands are contiguous is last, where there is one. */
  readonly reduce: readonly Axis[];
  /** Columns that share A's loads, and rows that share B's. */
  readonly group: number;
  readonly rowGroup: number;
  /** Lanes of the accumulators; 1 where the renderer makes the vectors of the innermost loop. */
  readonly width: number;
  readonly cycles: number;
}

export function planDot(c: Contraction, target: TargetInfo): DotPlan {
  const reduce = axes(c.reduce);
  const isLine = (x: Axis) => x.a === 1 && x.b === 1;
  const line = reduce.findIndex(isLine);
  if (line >= 0) reduce.push(...reduce.splice(line, 1));
  const last = reduce[reduce.length - 1];
  const vectorized = last !== undefined && isLine(last);
  const rows = axes(c.rows);
  const cols = axes(c.cols);
  const batch = axes(c.batch);
  const along = cols.length > 0 ? cols[cols.length - 1].extent : 1;
  const down = rows.length > 0 ? rows[rows.length - 1].extent : 1;
  const divisor = (extent: number): number => [4, 3, 2, 1].find((g) => extent % g === 0) ?? 1;
  const group = divisor(along);
  const results = extentOf(batch) * extentOf(rows) * extentOf(cols);
  const steps = extentOf(reduce);
  // Accumulators that are vectors through the whole reduction: whole vectors of floats in each line.
  const isWhole = vectorized && isFloat(c.a.dtype) && isFloat(c.b.dtype) && target.lanes > 1 && last.extent % target.lanes === 0;
  const width = isWhole ? target.lanes : 1;
  const rowGroup = isWhole ? divisor(down) : 1;
  const tile = group * rowGroup;
  const lanes = vectorized ? target.lanes : 1;
  const chains = last === undefined ? 1 : Math.ceil(last.extent / lanes) * (steps / last.extent);
  if (c.a.element || c.b.element) return { c, batch, rows, cols, reduce, group, rowGroup, width, cycles: Number.POSITIVE_INFINITY };
  // The latency of four multiply-adds in flight, and the sum across lanes at the end.
  const cycles = isWhole
    ? (results / tile) * (chains * Math.max(4, tile * 0.5, (group + rowGroup) * 0.5) * 1.1 + 14 * tile + 20)
    : (results / group) * (chains * Math.max(4, group * 1.5) + 12 * group + 10);
  return { c, batch, rows, cols, reduce, group, rowGroup, width, cycles };
}

export function emitDot(p: DotPlan): Kernel {
  const { c, group, rowGroup, width } = p;
  const type = accumulatorType(c);
  const body: Stmt[] = [];
  const lastRow = p.rows.at(-1);
  const lastCol = p.cols.at(-1);
  const cut = (list: readonly Axis[], by: number) => list.map((x, i) => (i === list.length - 1 ? x.extent / by : x.extent));
  const extents = [...p.batch.map((x) => x.extent), ...cut(p.rows, rowGroup), ...cut(p.cols, group)];
  const at = unravel(variable('c_item'), extents).map((e, i) => named(`c_i${i}`, e, body));
  const lastRowAt = p.batch.length + p.rows.length - 1;
  if (lastRow && rowGroup > 1) at[lastRowAt] = named('c_r', imul(at[lastRowAt], rowGroup), body);
  if (lastCol) at[at.length - 1] = named('c_n', imul(at[at.length - 1], group), body);
  const batchAt = at.slice(0, p.batch.length);
  const rowAt = at.slice(p.batch.length, p.batch.length + p.rows.length);
  const colAt = at.slice(p.batch.length + p.rows.length);
  const a = named('c_a', address(p.rows, rowAt, 'a', address(p.batch, batchAt, 'a', index(c.a.offset))), body);
  const b = named('c_b', address(p.cols, colAt, 'b', address(p.batch, batchAt, 'b', index(c.b.offset))), body);
  const tile = Array.from({ length: rowGroup * group }, (_, i) => ({ name: `c_s${i}`, r: Math.floor(i / group), g: i % group }));
  for (const { name } of tile) body.push({ kind: 'mut', name, value: splat(constant(type, 0), width) });
  const wide = (e: Expr): Expr => (width > 1 ? e : cast(type, e));
  const walk = (i: number, x: Expr, y: Expr): Stmt[] => {
    if (i === p.reduce.length) {
      const out: Stmt[] = [];
      for (let r = 0; r < rowGroup; r++)
        out.push({ kind: 'let', name: `c_x${r}`, value: wide(load(c.a.buffer, c.a.dtype, iadd(x, lastRow ? r * lastRow.a : 0), width)) });
      for (let g = 0; g < group; g++)
        out.push({ kind: 'let', name: `c_y${g}`, value: wide(load(c.b.buffer, c.b.dtype, iadd(y, lastCol ? g * lastCol.b : 0), width)) });
      for (const { name, r, g } of tile) {
        const [sum, u, v] = [variable(name, type, width), variable(`c_x${r}`, type, width), variable(`c_y${g}`, type, width)];
        out.push({ kind: 'assign', name, value: width > 1 ? fma(u, v, sum) : op('add', type, sum, op('mul', type, u, v)) });
      }
      return out;
    }
    const k = variable(`c_k${i}`);
    const inside: Stmt[] = [];
    const last = i === p.reduce.length - 1;
    const keep = (name: string, e: Expr) => (last ? e : named(`${name}${i}`, e, inside));
    inside.push(...walk(i + 1, keep('c_ka', iadd(x, imul(k, p.reduce[i].a))), keep('c_kb', iadd(y, imul(k, p.reduce[i].b)))));
    const name = `c_k${i}`;
    const { extent } = p.reduce[i];
    if (last && width > 1) return [loop(name, 0, extent, inside, { step: width })];
    return [loop(name, 0, extent, inside, last ? { mode: 'simd', reduce: tile.map((t) => ({ name: t.name, op: 'add' as const })) } : {})];
  };
  body.push(...walk(0, a, b));
  if (width > 1) {
    // Across the lanes, for all sums at once: halves onto halves.
    body.push({ kind: 'local', name: 'c_lanes', type, size: tile.length * width });
    const j = variable('c_j');
    for (const [i, { name }] of tile.entries())
      body.push({ kind: 'store', buffer: 'c_lanes', index: index(i * width), value: variable(name, type, width) });
    for (let half = width / 2; half >= 1; half /= 2) {
      const lane = (i: number, at: number): Expr => load('c_lanes', type, iadd(j, i * width + at));
      const sums = tile.map(
        (_, i): Stmt => ({
          kind: 'store',
          buffer: 'c_lanes',
          index: iadd(j, i * width),
          value: op('add', type, lane(i, 0), lane(i, half)),
        }),
      );
      body.push(loop('c_j', 0, half, sums, { mode: half >= 4 ? 'simd' : 'unrolled' }));
    }
  }
  const batchIndex = recover(p.batch, batchAt, c.batch.length);
  tile.forEach(({ name, r, g }, i) => {
    const along = (list: readonly Expr[], by: number) => list.map((e, k) => (k === list.length - 1 ? iadd(e, by) : e));
    const rows = recover(p.rows, along(rowAt, r), c.rows.length);
    const cols = recover(p.cols, along(colAt, g), c.cols.length);
    const sum = width > 1 ? load('c_lanes', type, index(i * width)) : variable(name, type);
    // Each in a scope of its own: an epilogue may name values.
    body.push({
      kind: 'if',
      cond: constant('bool', 1),
      then: [{ kind: 'let', name: 'c_acc', value: sum }, ...c.epilogue(variable('c_acc', type), batchIndex, rows, cols)],
    });
  });
  const results = extentOf([...p.batch, ...p.rows, ...p.cols]);
  const steps = extentOf(p.reduce);
  const items = extents.reduce((n, e) => n * e, 1);
  const bytes = extentOf(p.batch) * steps * 4 * (extentOf(p.rows) + extentOf(p.cols)) + results * 4;
  return kernelOf(c.label, c.buffers, items, body, 2 * results * steps, bytes);
}
