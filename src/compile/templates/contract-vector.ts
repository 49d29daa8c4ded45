/**
 * @file The vector form of a contraction: an item is a range of rows × one tile of columns. It walks the reduction in
 * blocks whose panel of B stays in cache (copied into a contiguous local when B isn't one), and inside a block the
 * register tiles. With one block the epilogue follows each tile while it is in L1; with several, sums wait in a local.
 */
import type { BufferParam, Expr, Kernel, Stmt } from '../../kernel/kernel.js';
import { cast, constant, fma, iadd, idiv, imod, imul, index, load, loop, op, splat, variable } from '../../kernel/kernel.js';
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
import { chooseTile, type TileChoice } from './tile.js';
import { vectorize } from './vectorize.js';

/** Stands in for a missing row or column dim. */
const unit: Axis = { extent: 1, a: 0, b: 0, parts: [] };

export interface VectorPlan {
  readonly c: Contraction;
  readonly target: TargetInfo;
  readonly batch: readonly Axis[];
  /** Row axes outside the tile, then the tiled one, then one that a tile holds whole (or `unit`). */
  readonly outerRows: readonly Axis[];
  readonly tiled: Axis;
  readonly whole: Axis;
  readonly outerCols: readonly Axis[];
  readonly vector: Axis;
  readonly reduce: readonly Axis[];
  /** f32 lanes of a vector, columns of a panel's row. */
  readonly width: number;
  readonly tile: TileChoice;
  readonly pack: boolean;
  /** Blocks of the reduction: `chunk` steps of axis `at`, with all axes after it. */
  readonly block: { readonly at: number; readonly chunk: number; readonly count: number };
  /** Row loops (outer rows, then tiles of the tiled axis) before `at` are grid dims, `at` is cut in chunks. */
  readonly rowSplit: { readonly at: number; readonly chunk: number };
  /** Parts of the reduction that run as separate items. */
  readonly split: number;
  readonly cycles: number;
}

const powerOfTwo = (n: number): number => 2 ** Math.floor(Math.log2(n));
const ceilDiv = (a: number, b: number): number => Math.ceil(a / b);
const bytesOf = { f32: 4, i32: 4, u32: 4, f16: 2, bf16: 2, i8: 1, u8: 1, bool: 1 } as const;

function chooseRows(rows: readonly Axis[], vectors: number, steps: number, target: TargetInfo) {
  const all = rows.length === 0 ? [unit] : rows;
  let best: { outer: Axis[]; tiled: Axis; whole: Axis; tile: TileChoice; cycles: number } | null = null;
  for (let t = all.length - 1; t >= 0; t--) {
    for (let w = all.length; w >= 0; w--) {
      // w = all.length: no whole axis. A whole axis is a short one inside the tiled one.
      if (w <= t && w !== all.length) break;
      const whole = w === all.length ? unit : all[w];
      if (whole.extent > 8) continue;
      const outer = all.filter((_, i) => i !== t && i !== w);
      const tile = chooseTile(all[t].extent, whole.extent, vectors, steps, target);
      if (!tile) continue;
      const cycles = tile.cycles * extentOf(outer);
      // An outer axis as the tiled one costs locality: only for a real gain.
      if (!best || cycles < best.cycles * 0.97) best = { outer, tiled: all[t], whole, tile, cycles };
    }
  }
  return best;
}

/** Cuts the reduction so that one block takes at most `most` steps, evenly. */
function blockReduction(reduce: readonly Axis[], most: number): { at: number; chunk: number; count: number } {
  let inner = 1;
  for (let at = reduce.length - 1; at >= 0; at--) {
    const { extent } = reduce[at];
    if (inner * extent > most || at === 0) {
      const fit = Math.max(1, Math.floor(most / inner));
      const parts = ceilDiv(extent, Math.min(fit, extent));
      const chunk = ceilDiv(extent, parts);
      return { at, chunk, count: extentOf(reduce.slice(0, at)) * ceilDiv(extent, chunk) };
    }
    inner *= extent;
  }
  return { at: 0, chunk: 1, count: 1 };
}

/** A plan with the columns `vectorAt` as the vector dim, or null if no tile fits. */
export function planVector(c: Contraction, vectorAt: number, target: TargetInfo): VectorPlan | null {
  const batch = axes(c.batch);
  const cols = axes(c.cols);
  const vector = cols[vectorAt] ?? unit;
  const outerCols = cols.filter((_, i) => i !== vectorAt);
  const reduce = axes(c.reduce);
  const steps = extentOf(reduce);
  const width = Math.min(target.lanes, powerOfTwo(Math.max(1, vector.extent)));
  const vectors = ceilDiv(vector.extent, width);
  const chosen = chooseRows(axes(c.rows), vectors, steps, target);
  if (!chosen) return null;
  const { outer: outerRows, tiled, whole, tile } = chosen;
  const rows = extentOf(outerRows) * tiled.extent * whole.extent;
  const repeat = extentOf(batch) * extentOf(outerCols);
  const panelWidth = tile.cols[0].size * width;

  const strided = vector.extent > 1 && vector.b !== 1;
  const contiguous = reduce.length === 0 || (reduce[reduce.length - 1].b === panelWidth && vector.extent === panelWidth);
  // Worth a copy: it must be read by enough rows, and jumping from row to row of B must be what it saves.
  const worthwhile = rows >= 24 && steps >= 16 && (c.b.dtype !== 'f32' || !contiguous) && steps * vector.extent * 4 > 8192;
  const pack = strided || worthwhile;

  const panelSteps = Math.floor(target.l2 / 2 / (panelWidth * 4));
  // With A's rows adjacent in memory the next tile uses the same lines: keep them in L1 until then.
  const sharedLines = tiled.a === 1 && rows > tile.rows[0].size ? 320 : Number.POSITIVE_INFINITY;
  let block = blockReduction(reduce, Math.max(16, Math.min(panelSteps, sharedLines)));

  const packCycles = pack ? steps * vector.extent * (strided ? 0.8 : c.b.dtype === 'f32' ? 0.35 : 0.6) * repeat : 0;
  const whole1 = chosen.cycles * repeat;
  const colTiles = tile.cols.reduce((n, p) => n + p.count, 0);
  const fixedItems = repeat * colTiles;
  const loops = [...outerRows.map((x) => x.extent), tile.rows.reduce((n, p) => n + p.count, 0)];
  const rowSplitFor = (parts: number) => {
    let at = 0;
    let wanted = parts;
    while (at < loops.length - 1 && wanted > loops[at]) wanted = ceilDiv(wanted, loops[at++]);
    const chunk = ceilDiv(loops[at], Math.min(wanted, loops[at]));
    const count = loops.slice(0, at).reduce((n, e) => n * e, 1) * ceilDiv(loops[at], chunk);
    return { at, chunk, count };
  };
  // More parts balance the threads, but each packs its panels anew; an item should be worth its start.
  const most = Math.max(1, Math.min(rows, ceilDiv(target.threads * 8, fixedItems), Math.floor(whole1 / fixedItems / 8000)));
  let rowParts = rowSplitFor(1);
  let bestTime = Number.POSITIVE_INFINITY;
  for (let parts = 1; parts <= most; parts++) {
    const choice = rowSplitFor(parts);
    const count = choice.count * fixedItems;
    const itemCycles = whole1 / count + packCycles / fixedItems + 300;
    const time = (ceilDiv(count, target.threads) + 0.25) * itemCycles;
    if (time < bestTime * 0.995) {
      bestTime = time;
      rowParts = choice;
    }
  }
  const { at, chunk, count: rowItems } = rowParts;

  // Too few items for the threads, and enough work to share: sum parts of the reduction apart.
  let split = 1;
  if (target.threads > 1 && fixedItems * rowItems < target.threads * 2 && whole1 > 100_000) {
    const want = Math.min(target.threads * 2, Math.floor(whole1 / 40_000), Math.floor(steps / 64));
    split = Math.max(1, Math.floor(ceilDiv(want, fixedItems * rowItems)));
    if (split > 1 && block.count < split) block = blockReduction(reduce, Math.max(1, Math.floor(steps / split)));
    split = Math.min(split, block.count);
  }
  return {
    c,
    target,
    batch,
    outerRows,
    tiled,
    whole,
    outerCols,
    vector,
    reduce,
    width,
    tile,
    pack,
    block,
    rowSplit: { at, chunk },
    split,
    cycles: whole1 + packCycles * rowItems,
  };
}

/** Writes the kernel of a plan; with `split` > 1 it stores sums to `partial` [split, batch, rows, cols]. */
export function emitVector(p: VectorPlan, partial: string | null): Kernel {
  const { c, tile, width, reduce, block, rowSplit } = p;
  const type = accumulatorType(c);
  const pieces = tile.rows;
  const tileCount = pieces.reduce((n, q) => n + q.count, 0);
  const loops = [...p.outerRows.map((x) => x.extent), tileCount];
  const colTiles = tile.cols.reduce((n, q) => n + q.count, 0);
  const blocked = block.count > 1;
  const inner = extentOf(reduce.slice(block.at + 1));
  const blockSteps = reduce.length === 0 ? 1 : block.chunk * inner;

  // ---- the item's coordinates
  const body: Stmt[] = [];
  const rowGrid = loops.slice(0, rowSplit.at);
  const rowChunks = ceilDiv(loops[rowSplit.at], rowSplit.chunk);
  const extents = [...p.batch.map((x) => x.extent), p.split, ...rowGrid, rowChunks, ...p.outerCols.map((x) => x.extent), colTiles];
  const items = extents.reduce((n, e) => n * e, 1);
  const coordinates = unravel(variable('c_item'), extents).map((e, i) => named(`c_i${i}`, e, body));
  let next = 0;
  const take = (n: number): Expr[] => {
    next += n;
    return coordinates.slice(next - n, next);
  };
  const batchAt = take(p.batch.length);
  const [part] = take(1);
  const rowGridAt = take(rowGrid.length);
  const [rowChunk] = take(1);
  const outerColsAt = take(p.outerCols.length);
  const [colTile] = take(1);
  const low = named('c_lo', imul(rowChunk, rowSplit.chunk), body);
  const length = loops[rowSplit.at];
  const limit = (from: Expr, size: number, all: number): Expr =>
    all % size === 0 ? iadd(from, size) : op('min', 'index', iadd(from, size), index(all));
  const high = rowChunks === 1 ? index(length) : named('c_hi', limit(low, rowSplit.chunk, length), body);
  const aBase = named(
    'c_a0',
    address(p.outerRows.slice(0, rowGrid.length), rowGridAt, 'a', address(p.batch, batchAt, 'a', index(c.a.offset))),
    body,
  );
  const bBase = named('c_b0', address(p.outerCols, outerColsAt, 'b', address(p.batch, batchAt, 'b', index(c.b.offset))), body);

  // ---- rows: loops outside the tile, and two sizes of tile
  const startOf = (t: Expr): Expr =>
    pieces.length === 1
      ? imul(t, pieces[0].size)
      : t.kind === 'const'
        ? index(
            t.value <= pieces[0].count
              ? t.value * pieces[0].size
              : pieces[0].count * pieces[0].size + (t.value - pieces[0].count) * pieces[1].size,
          )
        : iadd(
            imul(op('min', 'index', t, index(pieces[0].count)), pieces[0].size),
            imul(op('max', 'index', iadd(t, -pieces[0].count), index(0)), pieces[1].size),
          );
  const chunkTiles = rowSplit.at === loops.length - 1;
  /** Most rows of one item. */
  const itemRows =
    (chunkTiles
      ? Math.min(p.tiled.extent, rowSplit.chunk * pieces[0].size)
      : rowSplit.chunk * extentOf(p.outerRows.slice(rowSplit.at + 1)) * p.tiled.extent) * p.whole.extent;

  interface RowAt {
    readonly rows: number;
    /** Index along each outer row axis. */
    readonly outer: readonly Expr[];
    readonly first: Expr;
    /** A's address of the tile's first row and the tile's first row in the item's local sums. */
    readonly a: Expr;
    readonly local: Expr;
  }
  const rowNest = (of: (at: RowAt) => Stmt[]): Stmt[] => {
    const outer: Expr[] = [...rowGridAt];
    for (let i = rowGrid.length; i < p.outerRows.length; i++) outer.push(variable(`c_o${i}`));
    const tilesFrom = chunkTiles ? low : index(0);
    const tilesTo = chunkTiles ? high : index(tileCount);
    let nest: Stmt[] = [];
    let done = 0;
    pieces.forEach((piece, n) => {
      const inside: Stmt[] = [];
      const t = variable('c_t');
      const base = n === 0 ? 0 : pieces[0].count * pieces[0].size;
      const first = named('c_row', iadd(imul(iadd(t, -done), piece.size), base), inside);
      const a = named(
        'c_a1',
        iadd(address(p.outerRows.slice(rowGrid.length), outer.slice(rowGrid.length), 'a', aBase), imul(first, p.tiled.a)),
        inside,
      );
      let local: Expr = index(0);
      for (let i = rowSplit.at; i < p.outerRows.length; i++) {
        local = imul(local, p.outerRows[i].extent);
        local = iadd(local, i === rowSplit.at && rowChunks > 1 ? op('sub', 'index', outer[i], low) : outer[i]);
      }
      const within = chunkTiles && rowChunks > 1 ? op('sub', 'index', first, startOf(low)) : first;
      local = imul(iadd(imul(local, p.tiled.extent), within), p.whole.extent);
      inside.push(...of({ rows: piece.size, outer, first, a, local }));
      const whole = tilesFrom.kind === 'const' && tilesTo.kind === 'const';
      const from = whole ? index(done) : n === 0 ? tilesFrom : op('max', 'index', tilesFrom, index(done));
      const to = whole
        ? index(done + piece.count)
        : n === pieces.length - 1
          ? tilesTo
          : op('min', 'index', tilesTo, index(done + piece.count));
      nest.push(loop('c_t', from, to, inside));
      done += piece.count;
    });
    for (let i = p.outerRows.length - 1; i >= rowGrid.length; i--) {
      const chunked = i === rowSplit.at;
      nest = [loop(`c_o${i}`, chunked ? low : 0, chunked ? high : p.outerRows[i].extent, nest)];
    }
    return nest;
  };

  const element = (from: Expr): Expr => cast(type, from);
  const wide = (e: Expr): Expr => (e.type === type || (type === 'f32' && (e.type === 'f16' || e.type === 'bf16')) ? e : cast(type, e));
  const multiplyAdd = (x: Expr, y: Expr, z: Expr): Expr => (type === 'f32' ? fma(x, y, z) : op('add', type, op('mul', type, x, y), z));

  // ---- one piece of columns: tiles of `size` vectors, `first` vectors into the axis
  const columns = (size: number, first: number, t: Expr): Stmt[] => {
    const out: Stmt[] = [];
    const N = p.vector.extent;
    const tileWidth = Math.min(size * width, N);
    const stride = ceilDiv(tileWidth, width) * width;
    const offsets = Array.from({ length: size }, (_, v) => Math.min(v * width, tileWidth - width));
    const nominal = named('c_n0', iadd(imul(t, size * width), first * width), out);
    // The last tile of a ragged axis moves back into bounds; its first columns are then someone else's.
    const ragged = N % width !== 0 && N > tileWidth;
    const start = ragged ? named('c_n', op('min', 'index', nominal, index(N - tileWidth)), out) : nominal;
    const skip = ragged ? named('c_skip', op('sub', 'index', nominal, start), out) : index(0);

    if (p.pack) out.push({ kind: 'local', name: 'c_panel', type, size: blockSteps * stride });
    if (blocked) {
      out.push({ kind: 'local', name: 'c_sum', type, size: itemRows * stride });
      const at = variable('c_z');
      out.push(
        loop('c_z', 0, itemRows * stride, [{ kind: 'store', buffer: 'c_sum', index: at, value: constant(type, 0) }], { mode: 'simd' }),
      );
    }
    const tileLocal: Stmt = { kind: 'local', name: 'c_tile', type, size: pieces[0].size * p.whole.extent * stride };

    // ---- a block of the reduction
    const step: Stmt[] = [];
    const blockExtents = [
      ...reduce.slice(0, block.at).map((x) => x.extent),
      reduce.length === 0 ? 1 : ceilDiv(reduce[block.at].extent, block.chunk),
    ];
    const blockAt = blocked
      ? unravel(variable('c_kb'), blockExtents).map((e, i) => named(`c_kb${i}`, e, step))
      : blockExtents.map(() => index(0));
    const blockFrom = reduce.length === 0 ? index(0) : imul(blockAt[block.at], block.chunk);
    const even = reduce.length === 0 || reduce[block.at].extent % block.chunk === 0;
    const blockLength =
      reduce.length === 0
        ? index(1)
        : even
          ? index(block.chunk)
          : named('c_kn', op('min', 'index', index(block.chunk), op('sub', 'index', index(reduce[block.at].extent), blockFrom)), step);
    const blockAddress = (of: 'a' | 'b', base: Expr): Expr =>
      reduce.length === 0 ? base : address(reduce.slice(0, block.at + 1), [...blockAt.slice(0, block.at), blockFrom], of, base);
    const aBlock = named('c_ak', blockAddress('a', index(0)), step);
    const bBlock = named('c_bk', iadd(blockAddress('b', bBase), imul(start, p.vector.b)), step);

    /** Loops over a block's steps; `of` gets A's and B's offsets and the panel's row. */
    const reduceNest = (of: (a: Expr, b: Expr, row: Expr) => Stmt[]): Stmt[] => {
      if (reduce.length === 0) return of(index(0), index(0), index(0));
      const walk = (i: number, a: Expr, b: Expr, row: Expr): Stmt[] => {
        if (i === reduce.length) return of(a, b, row);
        const at = variable(`c_k${i}`);
        const inside: Stmt[] = [];
        const last = i === reduce.length - 1;
        const keep = (name: string, e: Expr): Expr => (last ? e : named(`${name}${i}`, e, inside));
        const rest = extentOf(reduce.slice(i + 1));
        inside.push(
          ...walk(
            i + 1,
            keep('c_ka', iadd(a, imul(at, reduce[i].a))),
            keep('c_kb_', iadd(b, imul(at, reduce[i].b))),
            keep('c_kr', iadd(row, imul(at, rest))),
          ),
        );
        return [loop(`c_k${i}`, 0, i === block.at ? blockLength : reduce[i].extent, inside)];
      };
      return walk(block.at, index(0), index(0), index(0));
    };

    if (p.pack) {
      const j = variable('c_j');
      step.push(
        ...reduceNest((_, b, row) => [
          loop(
            'c_j',
            0,
            tileWidth,
            [
              {
                kind: 'store',
                buffer: 'c_panel',
                index: iadd(imul(row, stride), j),
                value: element(load(c.b.buffer, c.b.dtype, iadd(iadd(bBlock, b), imul(j, p.vector.b)))),
              },
            ],
            { mode: 'simd' },
          ),
        ]),
      );
    }

    // ---- the register tile
    const registerTile = (at: RowAt): Stmt[] => {
      const rows = Array.from({ length: at.rows * p.whole.extent }, (_, r) => r);
      const rowOffset = (r: number) => Math.floor(r / p.whole.extent) * p.tiled.a + (r % p.whole.extent) * p.whole.a;
      const accumulator = (r: number, v: number) => variable(`c_s${r}_${v}`, type, width);
      const place = (r: number, v: number): Expr =>
        blocked ? iadd(imul(iadd(at.local, r), stride), offsets[v]) : index(r * stride + offsets[v]);
      const buffer = blocked ? 'c_sum' : 'c_tile';
      const s: Stmt[] = [];
      const a = named('c_a2', iadd(at.a, aBlock), s);
      for (const r of rows) {
        for (let v = 0; v < size; v++) {
          const value = blocked ? load('c_sum', type, place(r, v), width) : splat(constant(type, 0), width);
          s.push({ kind: 'mut', name: `c_s${r}_${v}`, value });
        }
      }
      s.push(
        ...reduceNest((ka, kb, row) => {
          const inside: Stmt[] = [];
          for (let v = 0; v < size; v++) {
            const value = p.pack
              ? load('c_panel', type, iadd(imul(row, stride), offsets[v]), width)
              : wide(load(c.b.buffer, c.b.dtype, iadd(iadd(bBlock, kb), offsets[v]), width));
            inside.push({ kind: 'let', name: `c_y${v}`, value });
          }
          const base = iadd(a, ka);
          for (const r of rows) {
            const x = wide(load(c.a.buffer, c.a.dtype, iadd(base, rowOffset(r))));
            inside.push({ kind: 'let', name: `c_x${r}`, value: splat(x, width) });
            for (let v = 0; v < size; v++) {
              const value = multiplyAdd(variable(`c_x${r}`, type, width), variable(`c_y${v}`, type, width), accumulator(r, v));
              inside.push({ kind: 'assign', name: `c_s${r}_${v}`, value });
            }
          }
          return inside;
        }),
      );
      const direct = blocked ? null : finishInRegisters(at);
      if (direct) return [...s, ...direct];
      if (!blocked && !out.includes(tileLocal)) out.push(tileLocal);
      // A vector that was moved back covers columns of the one before with the same sums.
      for (const r of rows) for (let v = 0; v < size; v++) s.push({ kind: 'store', buffer, index: place(r, v), value: accumulator(r, v) });
      return blocked ? s : [...s, ...finish(at)];
    };

    // ---- finished elements
    const j = variable('c_j');
    const rowAxes = [...p.outerRows, p.tiled, p.whole];
    const rowAtOf = (at: RowAt, i: Expr, q: Expr): Expr[] => [...at.outer, iadd(at.first, i), p.whole === unit ? index(0) : q];
    const batchIndex = recover(p.batch, batchAt, c.batch.length);
    const columnsAt = (at: Expr): Expr[] => recover([...p.outerCols, p.vector], [...outerColsAt, at], c.cols.length);
    const innermost = p.vector.parts[p.vector.parts.length - 1];
    const part0 = p.vector.parts.length > 1 ? innermost.extent : N;
    /** Whether runs of the innermost column dim and tiles start together; its other indices are then a run's. */
    const aligned = !ragged && partial === null && part0 < N && N % tileWidth === 0;
    const consume = (acc: Expr, rowAt: Expr[], rowIndex: Expr[], at: Expr, cols: Expr[]): Stmt[] =>
      partial === null
        ? c.epilogue(acc, batchIndex, rowIndex, cols)
        : [{ kind: 'store', buffer: partial, index: partialIndex(rowAt, iadd(start, at)), value: acc }];

    /** The epilogue as vectors, on the accumulators themselves: null where it isn't plain enough. */
    const finishInRegisters = (at: RowAt): Stmt[] | null => {
      if (ragged || tileWidth % width !== 0 || width === 1) return null;
      if (
        p.vector.parts.length > 1 &&
        partial === null &&
        !(aligned && (part0 % tileWidth === 0 || (tileWidth % part0 === 0 && part0 % width === 0)))
      )
        return null;
      const s: Stmt[] = [];
      const inside = aligned && part0 % tileWidth === 0;
      const from = inside ? named('c_in', imod(start, part0), s) : index(0);
      for (let r = 0; r < at.rows * p.whole.extent; r++) {
        const rowAt = rowAtOf(at, index(Math.floor(r / p.whole.extent)), index(r % p.whole.extent));
        const rowIndex = recover(rowAxes, rowAt, c.rows.length).map((e, n) => named(`c_m${r}_${n}`, e, s));
        for (let v = 0; v < size; v++) {
          const cols = aligned
            ? columnsAt(inside ? start : iadd(start, Math.floor(offsets[v] / part0) * part0))
            : columnsAt(iadd(iadd(start, offsets[v]), j));
          if (aligned) cols[innermost.position] = inside ? iadd(iadd(from, offsets[v]), j) : iadd(j, offsets[v] % part0);
          const body = consume(variable('c_acc', type), rowAt, rowIndex, iadd(j, offsets[v]), cols);
          if (body.length * at.rows * size > 160) return null;
          const vectors = new Map([['c_acc', variable(`c_s${r}_${v}`, type, width)]]);
          const vector = vectorize(body, 'c_j', width, vectors, (b) => (b === partial ? type : c.buffers.find((x) => x.name === b)?.dtype));
          if (!vector) return null;
          // A scope of its own: the epilogue may name values.
          if (vector.some((x) => x.kind === 'let')) s.push({ kind: 'if', cond: constant('bool', 1), then: vector });
          else s.push(...vector);
        }
      }
      return s;
    };

    const finish = (at: RowAt): Stmt[] => {
      const s: Stmt[] = [];
      const i = variable('c_r');
      const q = variable('c_q');
      const rowAt = rowAtOf(at, i, q);
      const rowIndex = recover(rowAxes, rowAt, c.rows.length).map((e, n) => named(`c_m${n}`, e, s));
      const row = iadd(imul(i, p.whole.extent), p.whole === unit ? index(0) : q);
      const line = named('c_line', imul(blocked ? iadd(at.local, row) : row, stride), s);
      const emit = (offset: Expr, cols: Expr[]): Stmt[] =>
        consume(load(blocked ? 'c_sum' : 'c_tile', type, iadd(line, offset)), rowAt, rowIndex, offset, cols);
      if (aligned && part0 % tileWidth === 0) {
        const from = named('c_in', imod(start, part0), s);
        const cols = columnsAt(start).map((e, n) => named(`c_c${n}`, e, s));
        cols[innermost.position] = iadd(from, j);
        s.push(loop('c_j', 0, tileWidth, emit(j, cols), { mode: 'simd' }));
      } else if (aligned && tileWidth % part0 === 0) {
        const g = variable('c_g');
        const inside: Stmt[] = [];
        const cols = columnsAt(iadd(start, imul(g, part0))).map((e, n) => named(`c_c${n}`, e, inside));
        cols[innermost.position] = j;
        inside.push(loop('c_j', 0, part0, emit(iadd(imul(g, part0), j), cols), { mode: 'simd' }));
        s.push(loop('c_g', 0, tileWidth / part0, inside));
      } else {
        s.push(loop('c_j', skip, tileWidth, emit(j, columnsAt(iadd(start, j))), { mode: 'simd' }));
      }
      const perWhole = p.whole === unit ? s : [loop('c_q', 0, p.whole.extent, s)];
      return [loop('c_r', 0, at.rows, perWhole)];
    };
    const partialIndex = (rowAt: readonly Expr[], col: Expr): Expr => {
      let at0 = part;
      p.batch.forEach((x, n) => {
        at0 = iadd(imul(at0, x.extent), batchAt[n]);
      });
      rowAt.forEach((e, n) => {
        at0 = iadd(imul(at0, rowAxes[n].extent), e);
      });
      p.outerCols.forEach((x, n) => {
        at0 = iadd(imul(at0, x.extent), outerColsAt[n]);
      });
      return iadd(imul(at0, N), col);
    };

    step.push(...rowNest(registerTile));
    if (!blocked) return [...out, ...step];
    const from = p.split === 1 ? index(0) : named('c_kf', idiv(imul(part, block.count), p.split), out);
    const to = p.split === 1 ? index(block.count) : named('c_kt', idiv(imul(iadd(part, 1), block.count), p.split), out);
    return [...out, loop('c_kb', from, to, step), ...rowNest(finish)];
  };

  let firstTile = 0;
  let firstVector = 0;
  const bodies = tile.cols.map((piece) => {
    const statements = columns(piece.size, firstVector, iadd(colTile, -firstTile));
    firstTile += piece.count;
    firstVector += piece.count * piece.size;
    return statements;
  });
  if (bodies.length === 1) body.push(...bodies[0]);
  else body.push({ kind: 'if', cond: op('lt', 'bool', colTile, index(tile.cols[0].count)), then: bodies[0], otherwise: bodies[1] });

  const work = extentOf(p.batch) * extentOf(p.outerRows) * p.tiled.extent * p.whole.extent * extentOf(p.outerCols) * p.vector.extent;
  const buffers: BufferParam[] = partial === null ? [...c.buffers] : [...c.buffers, { name: partial, dtype: type, access: 'write' }];
  return kernelOf(c.label, buffers, items, body, 2 * work * extentOf(reduce), estimateBytes(p));
}

/** Each operand once, and the result. */
function estimateBytes(p: VectorPlan): number {
  const batch = extentOf(p.batch);
  const rows = extentOf(p.outerRows) * p.tiled.extent * p.whole.extent;
  const cols = extentOf(p.outerCols) * p.vector.extent;
  const steps = extentOf(p.reduce);
  return batch * (rows * steps * bytesOf[p.c.a.dtype] + cols * steps * bytesOf[p.c.b.dtype] + rows * cols * 4);
}

/** The ordered sum of `partial` [split, batch, rows, cols] with the epilogue. */
export function emitOrderedSum(p: VectorPlan, partial: string): Kernel {
  const { c } = p;
  const type = accumulatorType(c);
  const rowAxes = [...p.outerRows, p.tiled, p.whole];
  const colAxes = [...p.outerCols, p.vector];
  const outer = [...p.batch, ...rowAxes, ...p.outerCols];
  const N = p.vector.extent;
  const items = extentOf(outer);
  const body: Stmt[] = [];
  const at = unravel(
    variable('c_item'),
    outer.map((x) => x.extent),
  ).map((e, i) => named(`c_i${i}`, e, body));
  const batchAt = at.slice(0, p.batch.length);
  const rowAt = at.slice(p.batch.length, p.batch.length + rowAxes.length);
  const outerColsAt = at.slice(p.batch.length + rowAxes.length);
  const j = variable('c_j');
  let sum: Expr = load(partial, type, iadd(imul(variable('c_item'), N), j));
  for (let s = 1; s < p.split; s++)
    sum = op('add', type, sum, load(partial, type, iadd(iadd(imul(variable('c_item'), N), s * items * N), j)));
  const rows = recover(rowAxes, rowAt, c.rows.length).map((e, n) => named(`c_m${n}`, e, body));
  const cols = recover(colAxes, [...outerColsAt, j], c.cols.length);
  body.push(
    loop(
      'c_j',
      0,
      N,
      [
        { kind: 'let', name: 'c_acc', value: sum },
        ...c.epilogue(variable('c_acc', type), recover(p.batch, batchAt, c.batch.length), rows, cols),
      ],
      {
        mode: 'simd',
      },
    ),
  );
  const buffers: BufferParam[] = [...c.buffers, { name: partial, dtype: type, access: 'read' }];
  return kernelOf(`${c.label} sum`, buffers, items, body, items * N * p.split, items * N * 4 * (p.split + 1));
}
