/**
 * @file The dot form of a contraction: a loop along the reduction for a few columns at a time, of which the renderer makes
 * vectors where it can. For integers, dot products, and the general case of last resort.
 */
import type { Expr, Kernel, Stmt } from '../../kernel/kernel.js';
import { cast, constant, iadd, imul, index, load, loop, op, variable } from '../../kernel/kernel.js';
import type { TargetInfo } from '../../kernel/target.js';
import { Ix } from '../symbolic.js';
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
import { elementAt } from './operand.js';

export interface DotPlan {
  readonly c: Contraction;
  readonly batch: readonly Axis[];
  readonly rows: readonly Axis[];
  readonly cols: readonly Axis[];
  /** The one along which both operands are contiguous is last, where there is one. */
  readonly reduce: readonly Axis[];
  /** Columns that share A's loads. */
  readonly group: number;
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
  const group = [4, 3, 2, 1].find((g) => along % g === 0) ?? 1;
  const results = extentOf(batch) * extentOf(rows) * extentOf(cols);
  const steps = extentOf(reduce);
  const lanes = vectorized ? target.lanes : 1;
  const chains = last === undefined ? 1 : Math.ceil(last.extent / lanes) * (steps / last.extent);
  // The latency of four multiply-adds in flight, and the sum across lanes at the end.
  const cycles =
    c.a.element || c.b.element ? Number.POSITIVE_INFINITY : (results / group) * (chains * Math.max(4, group * 1.5) + 12 * group + 10);
  return { c, batch, rows, cols, reduce, group, cycles };
}

export function emitDot(p: DotPlan): Kernel {
  const { c, group } = p;
  const type = accumulatorType(c);
  const body: Stmt[] = [];
  const lastCol = p.cols.at(-1);
  const cut = (list: readonly Axis[], by: number) => list.map((x, i) => (i === list.length - 1 ? x.extent / by : x.extent));
  const extents = [...p.batch.map((x) => x.extent), ...p.rows.map((x) => x.extent), ...cut(p.cols, group)];
  const at = unravel(variable('c_item'), extents).map((e, i) => named(`c_i${i}`, e, body));
  if (lastCol) at[at.length - 1] = named('c_n', imul(at[at.length - 1], group), body);
  const batchAt = at.slice(0, p.batch.length);
  const rowAt = at.slice(p.batch.length, p.batch.length + p.rows.length);
  const colAt = at.slice(p.batch.length + p.rows.length);
  const a = named('c_a', address(p.rows, rowAt, 'a', address(p.batch, batchAt, 'a', index(c.a.offset))), body);
  const b = named('c_b', address(p.cols, colAt, 'b', address(p.batch, batchAt, 'b', index(c.b.offset))), body);
  const tile = Array.from({ length: group }, (_, g) => ({ name: `c_s${g}`, g }));
  for (const { name } of tile) body.push({ kind: 'mut', name, value: constant(type, 0) });
  const walk = (i: number, x: Expr, y: Expr): Stmt[] => {
    if (i === p.reduce.length) {
      const out: Stmt[] = [{ kind: 'let', name: 'c_x', value: cast(type, load(c.a.buffer, c.a.dtype, x)) }];
      for (const { name, g } of tile) {
        // Of an address whose parts nobody knows: decoded element by element.
        const { body: decoding, value } = elementAt(c.b, Ix.opaque(iadd(y, lastCol ? g * lastCol.b : 0), 'at', 2 ** 40, []), type);
        out.push(...decoding, {
          kind: 'assign',
          name,
          value: op('add', type, variable(name, type), op('mul', type, variable('c_x', type), value)),
        });
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
    return [loop(name, 0, extent, inside, last ? { mode: 'simd', reduce: tile.map((t) => ({ name: t.name, op: 'add' as const })) } : {})];
  };
  body.push(...walk(0, a, b));
  const batchIndex = recover(p.batch, batchAt, c.batch.length);
  for (const { name, g } of tile) {
    const along = (list: readonly Expr[], by: number) => list.map((e, k) => (k === list.length - 1 ? iadd(e, by) : e));
    const rows = recover(p.rows, rowAt, c.rows.length);
    const cols = recover(p.cols, along(colAt, g), c.cols.length);
    // Each in a scope of its own: an epilogue may name values.
    body.push({
      kind: 'if',
      cond: constant('bool', 1),
      then: [{ kind: 'let', name: 'c_acc', value: variable(name, type) }, ...c.epilogue(variable('c_acc', type), batchIndex, rows, cols)],
    });
  }
  const results = extentOf([...p.batch, ...p.rows, ...p.cols]);
  const steps = extentOf(p.reduce);
  const items = extents.reduce((n, e) => n * e, 1);
  const bytes = extentOf(p.batch) * steps * 4 * (extentOf(p.rows) + extentOf(p.cols)) + results * 4;
  return kernelOf(c.label, c.buffers, items, body, 2 * results * steps, bytes);
}
