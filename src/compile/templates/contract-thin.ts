/**
 * @file The thin form of a contraction: few rows (a matrix × vector, eight requests decoded together) against a matrix whose
 * rows lie along the reduction. Each row of B is read once, one after another in one linear stream a thread, decoded in
 * registers and met by all rows of A. An output is summed in lanes and parts whose order depends on the reduction alone, never
 * on how many rows there are. The sums across lanes are made for as many outputs at once as there are lanes.
 */
import { dtypes, isFloat } from '../../base/dtype.js';
import type { Expr, Kernel, Stmt } from '../../kernel/kernel.js';
import { constant, fma, iadd, imul, index, load, loop, op, splat, variable } from '../../kernel/kernel.js';
import type { TargetInfo } from '../../kernel/target.js';
import { Ix } from '../symbolic.js';
import { type Axis, address, axes, type Contraction, extentOf, kernelOf, named, recover, unravel } from './contract-dims.js';
import { ceilDiv, farBytes, unit } from './contract-plan.js';
import { elementAt, vectorAt } from './operand.js';

/** Sums an output is made of, besides lanes: enough to hide the latency of the multiply-add for one row. */
const parts = 2;
/** Rows whose lanes wait together for their sums. */
const paneRows = 16;
/** Bytes of B ahead of what is multiplied that are asked for: with several rows to meet, the processor's own foresight doesn't hide the memory. */
const ahead = 4608;
/** Up to so many rows, of reductions this long, no other form is weighed: the order of a sum is then the same for all of them. */
const fewRows = 32;
const longReduction = 128;

export interface ThinPlan {
  readonly c: Contraction;
  readonly batch: readonly Axis[];
  readonly row: Axis;
  readonly outerCols: readonly Axis[];
  readonly col: Axis;
  readonly line: Axis;
  readonly lanes: number;
  /** Rows of A that a row of B meets in registers. */
  readonly tile: number;
  /** Blocks of `lanes` columns in an item. */
  readonly blocks: number;
  readonly cycles: number;
  /** Whether no other form may be taken. */
  readonly isSettled: boolean;
  /** Whether B is one stream through memory, too long for a core's caches. */
  readonly isStreamed: boolean;
}

export function planThin(c: Contraction, target: TargetInfo): ThinPlan | null {
  const { lanes } = target;
  const reduce = axes(c.reduce);
  const rows = axes(c.rows);
  const cols = axes(c.cols);
  const [line] = reduce;
  if (lanes < 4 || c.a.element || !isFloat(c.a.dtype) || !isFloat(c.b.dtype)) return null;
  if (reduce.length !== 1 || line.a !== 1 || line.b !== 1 || line.extent < parts * lanes || rows.length > 1 || cols.length === 0)
    return null;
  const row = rows[0] ?? unit;
  const col = cols[cols.length - 1];
  const outerCols = cols.slice(0, -1);
  const batch = axes(c.batch);
  const tile = Math.min(row.extent, target.registers >= 32 ? 8 : 4);
  const tiles = ceilDiv(row.extent, tile);
  const count = extentOf(batch) * extentOf(cols);
  /** Of a vector of B for each tile: loaded and widened or decoded. */
  const vector = c.b.element ? 2.5 : c.b.dtype === 'f32' ? 0.5 : 1;
  /** Cycles to read a vector of A: a pane of its rows stays in the first-level cache or doesn't. */
  const read = Math.min(row.extent, paneRows) * line.extent * 4 <= target.l1 / 2 ? 0.55 : row.extent <= paneRows ? 1 : 2;
  const step = Math.max(row.extent * read + tiles * vector, (tiles * 4) / parts);
  const compute = (line.extent / lanes) * step + row.extent * 9 + 10;
  const bytes = line.extent * (c.b.element ? 1 : dtypes[c.b.dtype].bytes);
  const blocksAll = ceilDiv(col.extent, lanes);
  const wanted = ceilDiv(target.threads * 16, extentOf(batch) * extentOf(outerCols));
  return {
    c,
    batch,
    row,
    outerCols,
    col,
    line,
    lanes,
    tile,
    blocks: Math.max(1, Math.floor(blocksAll / wanted)),
    cycles: count * Math.max(compute, bytes / farBytes),
    isStreamed: !c.b.element && col.b === line.extent && count * bytes > target.l2,
    isSettled: row.extent <= fewRows && line.extent >= longReduction && row.extent <= col.extent,
  };
}

export function emitThin(p: ThinPlan): Kernel {
  const { c, row, col, line, lanes, blocks } = p;
  const body: Stmt[] = [];
  const blocksAll = ceilDiv(col.extent, lanes);
  const extents = [...p.batch.map((x) => x.extent), ...p.outerCols.map((x) => x.extent), ceilDiv(blocksAll, blocks)];
  const at = unravel(variable('c_item'), extents).map((e, i) => named(`c_i${i}`, e, body));
  const batchAt = at.slice(0, p.batch.length);
  const outerAt = at.slice(p.batch.length, -1);
  const chunk = at[at.length - 1];
  const within = (e: Expr, extent: number): Ix =>
    e.kind === 'const' ? Ix.constant(e.value) : Ix.opaque(e, (e as { name: string }).name, extent, []);
  const a = named('c_a', address(p.batch, batchAt, 'a', index(c.a.offset)), body);
  let bBase = Ix.constant(c.b.offset);
  for (const [i, x] of p.batch.entries()) bBase = bBase.add(within(batchAt[i], x.extent).scale(x.b));
  for (const [i, x] of p.outerCols.entries()) bBase = bBase.add(within(outerAt[i], x.extent).scale(x.b));
  const lineOf = bBase.add(Ix.variable('c_n', col.extent).scale(col.b));

  const { extent: K } = line;
  const { bytes: width } = dtypes[c.b.dtype];
  /** The cache lines of B that lie `ahead` of places k … k + count, where B is one stream through memory. */
  const soon = (k: Ix, count: number): Stmt[] =>
    p.isStreamed
      ? Array.from({ length: ceilDiv(count * width, 64) }, (_, i) => ({
          kind: 'prefetch',
          buffer: c.b.buffer,
          index: lineOf
            .add(k)
            .add((ahead + 64 * i) / width)
            .toExpr(),
        }))
      : [];
  const whole = Math.floor(K / (parts * lanes));
  const rest = Math.floor((K - whole * parts * lanes) / lanes);
  const tail = K % lanes;
  const square = lanes * lanes;

  /** Rows `first` … of the pane against the row c_n of B, `slot` rows into the pane: their lanes. */
  const meet = (first: Expr, slot: number, count: number): Stmt[] => {
    const s: Stmt[] = [];
    const rows = Array.from({ length: count }, (_, r) => r);
    const base = named(`c_x${slot}`, iadd(a, imul(iadd(first, slot), row.a)), s);
    const sum = (r: number, q: number): Expr => variable(`c_s${slot + r}_${q}`, 'f32', lanes);
    for (const r of rows)
      for (let q = 0; q < parts; q++) s.push({ kind: 'mut', name: `c_s${slot + r}_${q}`, value: splat(constant('f32', 0), lanes) });
    const step = (k: Ix, from: number, to: number): Stmt[] => {
      const out: Stmt[] = slot === 0 ? soon(k, (to - from) * lanes) : [];
      for (let q = from; q < to; q++) {
        const at = k.add(q * lanes);
        const b = vectorAt(c, c.b, lineOf.add(at), lanes);
        out.push(...b.body, { kind: 'let', name: `c_w${q}`, value: b.value });
        for (const r of rows) {
          const x = load(c.a.buffer, c.a.dtype, iadd(iadd(base, at.toExpr()), r * row.a), lanes);
          out.push({ kind: 'assign', name: `c_s${slot + r}_${q}`, value: fma(x, variable(`c_w${q}`, 'f32', lanes), sum(r, q)) });
        }
      }
      return out;
    };
    if (whole > 0) s.push(loop('c_k', 0, whole, step(Ix.variable('c_k', whole).scale(parts * lanes), 0, parts)));
    if (rest > 0) s.push({ kind: 'if', cond: constant('bool', 1), then: step(Ix.constant(whole * parts * lanes), 0, rest) });
    for (const r of rows) {
      let total = sum(r, 0);
      for (let q = 1; q < parts; q++) total = op('add', 'f32', total, sum(r, q));
      const place = iadd(imul(variable('c_l'), lanes), (slot + r) * square);
      s.push({ kind: 'store', buffer: 'c_lanes', index: place, value: total });
      if (tail === 0) continue;
      // What fills no vector goes to the first lane.
      const k = Ix.variable('c_k', tail).add(K - tail);
      const b = elementAt(c.b, lineOf.add(k), 'f32');
      const x = load(c.a.buffer, c.a.dtype, iadd(iadd(base, k.toExpr()), r * row.a));
      const first: Expr = load('c_lanes', 'f32', place);
      s.push(loop('c_k', 0, tail, [...b.body, { kind: 'store', buffer: 'c_lanes', index: place, value: fma(x, b.value, first) }]));
    }
    return s;
  };

  /** A pane of `count` rows from `first` against a block of columns, and what becomes of the sums. */
  const pane = (first: Expr, count: number): Stmt[] => {
    const tiles = ceilDiv(count, p.tile);
    const inside: Stmt[] = [{ kind: 'let', name: 'c_n', value: iadd(variable('c_n0'), variable('c_l')) }];
    for (let t = 0, slot = 0; t < tiles; t++) {
      const size = Math.floor((count * (t + 1)) / tiles) - slot;
      inside.push({ kind: 'if', cond: constant('bool', 1), then: meet(first, slot, size) });
      slot += size;
    }
    const tree = (from: number, to: number): Expr => {
      if (to - from === 1) return load('c_turned', 'f32', index(from * lanes), lanes);
      const middle = (from + to) / 2;
      return op('add', 'f32', tree(from, middle), tree(middle, to));
    };
    const r = variable('c_r');
    const j = variable('c_j');
    const batchIndex = recover(p.batch, batchAt, c.batch.length);
    const rowIndex = recover([row], [iadd(first, r)], c.rows.length);
    const colIndex = recover([...p.outerCols, col], [...outerAt, iadd(variable('c_n0'), j)], c.cols.length);
    return [
      loop('c_l', 0, variable('c_count'), inside),
      loop('c_r', 0, count, [
        {
          kind: 'transpose',
          size: lanes,
          from: 'c_lanes',
          base: imul(r, square),
          stride: lanes,
          out: 'c_turned',
          outBase: index(0),
          outStride: lanes,
        },
        { kind: 'store', buffer: 'c_sums', index: index(0), value: tree(0, lanes) },
        loop(
          'c_j',
          0,
          variable('c_count'),
          [
            { kind: 'let', name: 'c_acc', value: load('c_sums', 'f32', j) },
            ...c.epilogue(variable('c_acc', 'f32'), batchIndex, rowIndex, colIndex),
          ],
          { mode: 'simd' },
        ),
      ]),
    ];
  };

  const wholePanes = Math.floor(row.extent / paneRows);
  const others = row.extent % paneRows;
  const block: Stmt[] = [
    { kind: 'let', name: 'c_n0', value: imul(variable('c_block'), lanes) },
    {
      kind: 'let',
      name: 'c_count',
      value:
        col.extent % lanes === 0 ? index(lanes) : op('min', 'index', index(lanes), op('sub', 'index', index(col.extent), variable('c_n0'))),
    },
  ];
  if (wholePanes > 0) block.push(loop('c_pane', 0, wholePanes, pane(imul(variable('c_pane'), paneRows), paneRows)));
  if (others > 0) block.push({ kind: 'if', cond: constant('bool', 1), then: pane(index(wholePanes * paneRows), others) });
  const most = Math.min(paneRows, row.extent);
  const from = imul(chunk, blocks);
  const to = iadd(from, blocks);
  body.push(
    { kind: 'local', name: 'c_lanes', type: 'f32', size: most * square },
    { kind: 'local', name: 'c_turned', type: 'f32', size: square },
    { kind: 'local', name: 'c_sums', type: 'f32', size: lanes },
    loop('c_block', from, blocksAll % blocks === 0 ? to : op('min', 'index', to, index(blocksAll)), block),
  );
  const outputs = extentOf(p.batch) * extentOf(p.outerCols) * col.extent;
  const bytes = outputs * K * (c.b.element ? 1 : dtypes[c.b.dtype].bytes);
  return kernelOf(
    c.label,
    c.buffers,
    extents.reduce((x, e) => x * e, 1),
    body,
    2 * outputs * row.extent * K,
    bytes,
  );
}
