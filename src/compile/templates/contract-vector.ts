/**
 * @file The vector form of a contraction: an item is a range of rows × a few tiles of columns. It walks the reduction in
 * blocks, copies panels of B that would be slow to read in place, and runs the register tiles. Sums wait in a local
 * between blocks; after the last one the epilogue follows on the accumulators.
 */
import { dtypes } from '../../base/dtype.js';
import type { BufferParam, Expr, Kernel, Stmt } from '../../kernel/kernel.js';
import { cast, constant, fma, iadd, idiv, imod, imul, index, load, loop, op, splat, variable } from '../../kernel/kernel.js';
import { accumulatorType, address, copyType, extentOf, kernelOf, named, ravel, recover, unravel, vectorBuffers } from './contract-dims.js';
import { packedBase } from './contract-pack.js';
import { copyPanel } from './contract-panel.js';
import { ceilDiv, unit, type VectorPlan } from './contract-plan.js';
import { tilesIn } from './tile.js';
import { vectorize } from './vectorize.js';

/** Names of the operands' copies. */
export const packA = 'c_packA';
export const packB = 'c_packB';

/** Writes the kernel of a plan; with `split` > 1 it stores sums to `partial` [split, batch, rows, cols]. */
export function emitVector(p: VectorPlan, partial: string | null): Kernel {
  const { c, tile, width, reduce, block, rowSplit } = p;
  const type = accumulatorType(c);
  const stored = copyType(c);
  const isPaired = c.b.pair !== undefined;
  const pieces = tile.rows;
  const tileCount = tilesIn(pieces);
  const loops = [...p.outerRows.map((x) => x.extent), tileCount];
  const colTiles = tilesIn(tile.cols);
  const colGroups = ceilDiv(colTiles, p.group);
  const blocked = block.count > 1;
  /** A has an element for each lane: a batch dim is the vector's (depthwise convolutions). */
  const aVaries = p.vector.a !== 0;
  const inner = extentOf(reduce.slice(block.at + 1));
  const blockSteps = reduce.length === 0 ? 1 : block.chunk * inner;

  // ---- the item's coordinates
  const body: Stmt[] = [];
  const rowGrid = loops.slice(0, rowSplit.at);
  const rowChunks = ceilDiv(loops[rowSplit.at], rowSplit.chunk);
  const extents = [...p.batch.map((x) => x.extent), p.split, ...rowGrid, rowChunks, ...p.outerCols.map((x) => x.extent), colGroups];
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
  const [colGroup] = take(1);
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
  const maxStride = Math.max(...tile.cols.map((q) => Math.ceil(Math.min(q.size * width, p.vector.extent) / width) * width));
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
  /** A tile of columns: its coordinates, the copy of its panel, and the register tile on given rows. */
  interface Columns {
    readonly head: Stmt[];
    readonly pack: Stmt[];
    readonly tile: (at: RowAt) => Stmt[];
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

  const wide = (e: Expr): Expr => (e.type === type || (type === 'f32' && (e.type === 'f16' || e.type === 'bf16')) ? e : cast(type, e));
  const multiplyAdd = (x: Expr, y: Expr, z: Expr): Expr =>
    isPaired
      ? { kind: 'dot2', type: 'f32', a: x, b: y, c: z, lanes: z.lanes }
      : type === 'f32'
        ? fma(x, y, z)
        : op('add', type, op('mul', type, x, y), z);

  // ---- what tiles work on: copied blocks, sums that wait between blocks, and the tile itself where its end is a loop
  const blockSums = blocked ? itemRows * maxStride : 0;
  const panelSize = blockSteps * maxStride;
  if (p.packB === 'panel') body.push({ kind: 'local', name: 'c_panel', type: stored, size: (p.rowsOuter ? p.group : 1) * panelSize });
  if (blocked) body.push({ kind: 'local', name: 'c_sum', type, size: p.group * blockSums });
  const tileLocal: Stmt = { kind: 'local', name: 'c_tile', type, size: pieces[0].size * p.whole.extent * maxStride };

  // ---- a block of the reduction
  const step: Stmt[] = [];
  const blockRange = { from: index(0) as Expr, to: index(block.count) as Expr };
  if (p.split > 1) {
    blockRange.from = named('c_kf', idiv(imul(part, block.count), p.split), body);
    blockRange.to = named('c_kt', idiv(imul(iadd(part, 1), block.count), p.split), body);
  }
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
  const steps = extentOf(reduce);
  /** Steps before the block's first. */
  const firstStep =
    blocked && (p.packA || p.packB === 'once')
      ? named('c_step0', imul(ravel(reduce.slice(0, block.at + 1), [...blockAt.slice(0, block.at), blockFrom]), inner), step)
      : index(0);
  const aBlock = named('c_ak', blockAddress('a', index(0)), step);
  const bBlock0 = named('c_bk0', blockAddress('b', bBase), step);

  /** Loops over a block's steps, or over lines of the innermost ones; `of` gets A's and B's offsets and the panel's row. */
  const reduceNest = (of: (a: Expr, b: Expr, row: Expr) => Stmt[], innermost: 'serial' | 'lines' = 'serial'): Stmt[] => {
    if (reduce.length === 0) return of(index(0), index(0), index(0));
    const walk = (i: number, a: Expr, b: Expr, row: Expr): Stmt[] => {
      if (i === reduce.length - (innermost === 'lines' ? 1 : 0)) return of(a, b, row);
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

  // ---- one piece of columns: tiles of `size` vectors, `first` vectors into the axis; `slot` counts the item's tiles
  const columns = (size: number, first: number, t: Expr, slot: Expr): Columns => {
    const out: Stmt[] = [];
    const N = p.vector.extent;
    const tileWidth = Math.min(size * width, N);
    const stride = ceilDiv(tileWidth, width) * width;
    const offsets = Array.from({ length: size }, (_, v) => Math.min(v * width, tileWidth - width));
    /** In vectors, where a formula's address is made of it. */
    const vectorStart = c.b.element ? named('c_v0', iadd(imul(t, size), first), out) : null;
    const nominal = named('c_n0', vectorStart ? imul(vectorStart, width) : iadd(imul(t, size * width), first * width), out);
    // The last tile of a ragged axis moves back into bounds; its first columns are then someone else's.
    const ragged = N % width !== 0 && N > tileWidth;
    const start = ragged ? named('c_n', op('min', 'index', nominal, index(N - tileWidth)), out) : nominal;
    const skip = ragged ? named('c_skip', op('sub', 'index', nominal, start), out) : index(0);
    const bBlock = named('c_bk', iadd(bBlock0, imul(start, p.vector.b)), out);
    const sums = named('c_sums', imul(slot, blockSums), out);
    const panel =
      p.packB === 'panel' && p.rowsOuter
        ? named('c_p', imul(slot, panelSize), out)
        : p.packB === 'once'
          ? named('c_p', iadd(iadd(packedBase(p, 'b', batchAt, outerColsAt), imul(nominal, steps)), imul(firstStep, stride)), out)
          : index(0);

    const offsetsOf = { batchAt, outerColsAt, blockAt, blockLength, start, base: bBlock };
    const pack =
      p.packB === 'panel'
        ? copyPanel(
            p,
            { ...offsetsOf, vectorStart: ragged ? null : (vectorStart as Expr) },
            { panel, stride, width: tileWidth, offsets },
            (of, innermost) => reduceNest((_, b, row) => of(b, row), innermost),
          )
        : [];

    // ---- the register tile
    const registerTile = (at: RowAt): Stmt[] => {
      const rows = Array.from({ length: at.rows * p.whole.extent }, (_, r) => r);
      const rowOffset = (r: number) => (p.packA ? r : Math.floor(r / p.whole.extent) * p.tiled.a + (r % p.whole.extent) * p.whole.a);
      const accumulator = (r: number, v: number) => variable(`c_s${r}_${v}`, type, width);
      const place = (r: number, v: number): Expr =>
        blocked ? iadd(sums, iadd(imul(iadd(at.local, r), stride), offsets[v])) : index(r * stride + offsets[v]);
      const buffer = blocked ? 'c_sum' : 'c_tile';
      const s: Stmt[] = [];
      const a = named(
        'c_a2',
        p.packA ? iadd(iadd(packedBase(p, 'a', batchAt, at.outer), imul(at.first, steps)), imul(firstStep, at.rows)) : iadd(at.a, aBlock),
        s,
      );
      const each = (of: (r: number, v: number) => Stmt): Stmt[] => rows.flatMap((r) => Array.from({ length: size }, (_, v) => of(r, v)));
      s.push(...each((r, v) => ({ kind: 'mut', name: `c_s${r}_${v}`, value: splat(constant(type, 0), width) })));
      if (blocked)
        s.push({
          kind: 'if',
          cond: op('lt', 'bool', blockRange.from, variable('c_kb')),
          then: each((r, v) => ({ kind: 'assign', name: `c_s${r}_${v}`, value: load('c_sum', type, place(r, v), width) })),
        });
      s.push(
        ...reduceNest((ka, kb, row) => {
          const inside: Stmt[] = [];
          for (let v = 0; v < size; v++) {
            const value = p.packB
              ? load(p.packB === 'panel' ? 'c_panel' : packB, stored, iadd(panel, iadd(imul(row, stride), offsets[v])), width)
              : wide(load(c.b.buffer, c.b.dtype, iadd(iadd(bBlock, kb), offsets[v]), width));
            inside.push({ kind: 'let', name: `c_y${v}`, value });
          }
          const base = iadd(a, p.packA ? imul(row, at.rows) : ka);
          for (const r of rows) {
            const from = iadd(base, rowOffset(r));
            const x: Expr = p.packA
              ? load(packA, stored, from)
              : isPaired
                ? { kind: 'pairs', type: 'u32', buffer: c.a.buffer, index: from, lanes: 1 }
                : wide(load(c.a.buffer, c.a.dtype, from));
            if (!aVaries) inside.push({ kind: 'let', name: `c_x${r}`, value: splat(x, width) });
            for (let v = 0; v < size; v++) {
              const a = aVaries
                ? wide(load(c.a.buffer, c.a.dtype, iadd(from, iadd(start, offsets[v])), width))
                : variable(`c_x${r}`, isPaired ? 'u32' : type, width);
              const value = multiplyAdd(a, variable(`c_y${v}`, isPaired ? 'u32' : type, width), accumulator(r, v));
              inside.push({ kind: 'assign', name: `c_s${r}_${v}`, value });
            }
          }
          return inside;
        }),
      );
      const direct = finishInRegisters(at);
      if (!blocked && !direct && !body.includes(tileLocal)) body.push(tileLocal);
      // A vector that was moved back covers columns of the one before with the same sums.
      const putDown = each((r, v) => ({ kind: 'store', buffer, index: place(r, v), value: accumulator(r, v) }));
      if (!blocked) return [...s, ...(direct ?? [...putDown, ...finish(at)])];
      const isLast = op('eq', 'bool', iadd(variable('c_kb'), 1), blockRange.to);
      if (direct) return [...s, { kind: 'if', cond: isLast, then: direct, otherwise: putDown }];
      return [...s, ...putDown, { kind: 'if', cond: isLast, then: finish(at) }];
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
    const buffers = vectorBuffers(c, partial === null ? new Map() : new Map([[partial, type]]));
    const finishInRegisters = (at: RowAt): Stmt[] | null => {
      if (width === 1) return null;
      // Vectors that were moved back into bounds overlap the ones before them.
      const overlaps = ragged || tileWidth % width !== 0;
      if (overlaps && (p.vector.parts.length > 1 || !(partial !== null || c.isRepeatable))) return null;
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
          const vector = vectorize(body, 'c_j', width, vectors, buffers);
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
      const line = named('c_line', blocked ? iadd(sums, imul(iadd(at.local, row), stride)) : imul(row, stride), s);
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
    const partialIndex = (rowAt: readonly Expr[], col: Expr): Expr =>
      ravel([...p.batch, ...rowAxes, ...p.outerCols, p.vector], [...batchAt, ...rowAt, ...outerColsAt, col], part);

    return { head: out, pack, tile: registerTile };
  };

  const groupFrom = named('c_g0', imul(colGroup, p.group), body);
  /** `inside` for each of the item's tiles of columns. */
  const overTiles = (inside: (tiles: Columns) => Stmt[]): Stmt[] => {
    const tileAt = p.group === 1 ? groupFrom : variable('c_ct');
    let done = 0;
    let vectors = 0;
    const bodies = tile.cols.map((piece) => {
      const [from, to] = [done, done + piece.count];
      const slot = p.group === 1 ? index(0) : op('sub', 'index', tileAt, groupFrom);
      const statements = inside(columns(piece.size, vectors, iadd(tileAt, -from), slot));
      done = to;
      vectors += piece.count * piece.size;
      if (p.group === 1) return statements;
      const low = colGroups === 1 ? index(from) : op('max', 'index', groupFrom, index(from));
      const high = colGroups === 1 ? index(to) : op('min', 'index', iadd(groupFrom, p.group), index(to));
      return [loop('c_ct', low, high, statements)];
    });
    if (p.group > 1 || bodies.length === 1) return bodies.flat();
    return [{ kind: 'if', cond: op('lt', 'bool', tileAt, index(tile.cols[0].count)), then: bodies[0], otherwise: bodies[1] }];
  };
  if (p.rowsOuter) {
    if (p.packB === 'panel') step.push(...overTiles(({ head, pack }) => [...head, ...pack]));
    step.push(...rowNest((at) => overTiles(({ head, tile: tileOf }) => [...head, ...tileOf(at)])));
  } else step.push(...overTiles(({ head, pack, tile: tileOf }) => [...head, ...pack, ...rowNest(tileOf)]));
  if (blocked) body.push(loop('c_kb', blockRange.from, blockRange.to, step));
  else body.push(...step);

  const written: BufferParam[] = partial === null ? [] : [{ name: partial, dtype: type, access: 'write' }];
  const copies = [packA, packB].map((name): BufferParam => ({ name, dtype: stored, access: 'read' }));
  const work = extentOf(p.batch) * extentOf(p.outerRows) * p.tiled.extent * p.whole.extent * extentOf(p.outerCols) * p.vector.extent;
  return kernelOf(c.label, [...c.buffers, ...copies, ...written], items, body, 2 * work * extentOf(reduce), estimateBytes(p));
}

/** Each operand once, and the result. */
function estimateBytes(p: VectorPlan): number {
  const batch = extentOf(p.batch);
  const rows = extentOf(p.outerRows) * p.tiled.extent * p.whole.extent;
  const cols = extentOf(p.outerCols) * p.vector.extent;
  const steps = extentOf(p.reduce);
  return batch * (rows * steps * dtypes[p.c.a.dtype].bytes + cols * steps * dtypes[p.c.b.dtype].bytes + rows * cols * 4);
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
