/**
 * @file How the vector form of a contraction is cut: the register tile, the blocks of the reduction whose panels stay in
 * cache, which operands are copied, and the items that threads share. The cheapest by a model of the cycles.
 */
import { dtypes } from '../../base/dtype.js';
import type { TargetInfo } from '../../kernel/target.js';
import { type Axis, axes, type Contraction, extentOf, isLine } from './contract-dims.js';
import { chooseTile, type TileChoice, tilesIn } from './tile.js';

/** Stands in for a missing row or column dim. */
export const unit: Axis = { extent: 1, a: 0, b: 0, parts: [] };

export interface VectorPlan {
  readonly c: Contraction;
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
  /** Whether A is copied once, for all items; B not at all, panel by panel in each item, or once. */
  readonly packA: boolean;
  readonly packB: 'panel' | 'once' | null;
  /** Column tiles of an item: they share its rows of A while those are in cache. */
  readonly group: number;
  /** Whether rows are the outer loop: results, and what the epilogue reads, are then walked along their rows. */
  readonly rowsOuter: boolean;
  /** Blocks of the reduction: `chunk` steps of axis `at`, with all axes after it. */
  readonly block: { readonly at: number; readonly chunk: number; readonly count: number };
  /** Row loops (outer rows, then tiles of the tiled axis) before `at` are grid dims, `at` is cut in chunks. */
  readonly rowSplit: { readonly at: number; readonly chunk: number };
  /** Parts of the reduction that run as separate items. */
  readonly split: number;
  readonly cycles: number;
}

const powerOfTwo = (n: number): number => 2 ** Math.floor(Math.log2(n));
export const ceilDiv = (a: number, b: number): number => Math.ceil(a / b);

function chooseRows(rows: readonly Axis[], vectors: number, steps: number, target: TargetInfo, aVaries: boolean, only?: number) {
  const all = rows.length === 0 ? [unit] : rows;
  let best: { outer: Axis[]; tiled: Axis; whole: Axis; tile: TileChoice; cycles: number } | null = null;
  for (let t = all.length - 1; t >= 0; t--) {
    for (let w = all.length; w >= 0; w--) {
      // w = all.length: no whole axis. A whole axis is a short one inside the tiled one.
      if (w <= t && w !== all.length) break;
      const whole = w === all.length ? unit : all[w];
      if (whole.extent > 8) continue;
      const outer = all.filter((_, i) => i !== t && i !== w);
      const tile = chooseTile(all[t].extent, whole.extent, vectors, steps, target, aVaries, only);
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

/** Lines that steps of `stride` bytes can keep in a cache of `bytes` with 8 ways or more: large powers of two use few of its sets. */
function linesKept(stride: number, bytes: number): number {
  const way = powerOfTwo(bytes / 8);
  const gcd = (x: number, y: number): number => (y === 0 ? x : gcd(y, x % y));
  return bytes / Math.max(64, gcd(Math.max(64, stride), way));
}

/** Bytes of an operand that loops over these axes touch: windows overlap, so it may be far less than there are steps. */
function touched(of: 'a' | 'b', loops: readonly (Axis | { readonly axis: Axis; readonly extent: number })[], element: number): number {
  let span = 1;
  let count = 1;
  for (const l of loops) {
    const { axis, extent } = 'axis' in l ? l : { axis: l, extent: l.extent };
    if (axis[of] === 0) continue;
    span += (extent - 1) * Math.abs(axis[of]);
    count *= extent;
  }
  return Math.min(span, count) * element;
}
/** Bytes a cycle that a core gets from beyond its own caches while it computes. */
export const farBytes = 10;

/**
 * Cycles that a step of a register tile of `height` rows loses waiting for its operands: B's panel of `width` bytes a
 * step, and A in blocks of `rows` × `steps` that touch so many bytes, copied or read where it lies.
 */
function wait(
  a: { tiled: Axis; last: Axis | undefined; isCopied: boolean },
  height: number,
  width: number,
  rows: number,
  steps: number,
  touchedBytes: number,
  target: TargetInfo,
): number {
  const { tiled, last, isCopied } = a;
  if (!last || rows * steps * 4 <= target.l1 / 2) return 0;
  const stride = Math.abs(tiled.a !== 1 ? tiled.a : last.a) * 4;
  const fits = rows * steps * 4 <= target.l2 * 0.6 && (isCopied || tiled.a === 1 || rows <= linesKept(stride, target.l2) * 0.75);
  let lost = 0;
  /** Bytes of A that a step takes from beyond L1. */
  let bytes = height * 4;
  if (isCopied) lost += fits ? 0 : 0.2;
  else if (tiled.a !== 1) lost += fits ? 0 : stride % 4096 === 0 ? 0.9 : 0.3;
  else {
    // A line a step, which the next tiles use too if it is still in L1 then.
    if (steps * (64 + width) > target.l1 * 0.9 || steps > linesKept(stride, target.l1) / 2) bytes = 64;
    if (steps > linesKept(stride, target.l1) / 2) {
      const lines = Math.ceil(touchedBytes / 64);
      // Rows that fill the distance from step to step leave no set of the larger cache unused.
      lost += lines <= linesKept(stride <= tiled.extent * 4 ? 64 : stride, target.l2) / 2 ? 0.3 : 3.5;
    }
    // A page a step, of which the first-level TLB knows 64.
    if (steps * stride > 64 * 4096) lost += 1.2;
  }
  if (steps * width > target.l1 * 0.75) bytes += width;
  const cycles = (height * width) / 4 / target.lanes / 2;
  return lost + Math.max(0, bytes / 24 - cycles * 0.5);
}

/** What a plan decides, as text. */
export const planText = (p: VectorPlan): string =>
  [
    p.vector.parts.map((x) => x.position),
    p.tiled.parts.map((x) => x.position),
    ...[p.tile.rows, p.tile.cols].map((pieces) => pieces.map((x) => `${x.count}*${x.size}`)),
    `A ${p.packA ? 'once' : 'in place'}`,
    `B ${p.packB ?? 'in place'}`,
    `${p.rowsOuter ? 'rows' : 'columns'} of ${p.group}`,
    ...[p.block, p.rowSplit].map((x) => `${x.at}:${x.chunk}`),
    p.split,
  ].join(' ');

/**
 * Bytes of the largest matrix that is copied whole, but for rows of floats (which gain a third): a copy of a vocabulary's table takes
 * the memory of the table again, and panels of it are as quick.
 */
const largestCopy = 2 ** 25;

/** Plans with the columns `vectorAt` as the vector dim, the quickest by the model first; none if no tile (`only`: of so many vectors) fits. */
export function planVector(c: Contraction, vectorAt: number, target: TargetInfo, only?: number): VectorPlan[] {
  if (c.a.element || (c.b.pair !== undefined && axes(c.cols)[vectorAt]?.a)) return [];
  const batch = axes(c.batch);
  const cols = axes(c.cols);
  const vector = cols[vectorAt] ?? unit;
  const outerCols = cols.filter((_, i) => i !== vectorAt);
  const reduce = axes(c.reduce);
  const steps = extentOf(reduce);
  const width = Math.min(target.lanes, powerOfTwo(Math.max(1, vector.extent)));
  const isPaired = c.b.pair !== undefined;
  if (isPaired && width < 4) return [];
  const vectors = ceilDiv(vector.extent, width);
  const aVaries = vector.a !== 0;
  const chosen = chooseRows(axes(c.rows), vectors, steps, target, aVaries, only);
  if (!chosen) return [];
  const { outer: outerRows, tiled, whole, tile } = chosen;
  const rows = extentOf(outerRows) * tiled.extent * whole.extent;
  const repeat = extentOf(batch) * extentOf(outerCols);
  const panelWidth = tile.cols[0].size * width;
  const last = reduce.at(-1);

  const isFormula = c.b.element !== undefined;
  const strided = vector.extent > 1 && vector.b !== 1;
  const contiguous = !last || (last.b === panelWidth && vector.extent === panelWidth);
  // Worth a copy: it must be read by enough rows, and jumping from row to row of B must be what it saves.
  const worthwhile = rows >= 24 && steps >= 16 && (c.b.dtype !== 'f32' || !contiguous) && steps * vector.extent * 4 > 8192;
  const panels = strided || worthwhile || isFormula || isPaired;
  /** Pairs that lie apart are brought together in a copy. */
  const mustCopyA = c.a.pair !== undefined && c.a.pair !== 1;
  /** Cycles to copy an element: squares in registers, one after another from scattered places, or vectors. */
  const copyOne = isFormula
    ? 1
    : strided
      ? last && isLine(c.b, last.b)
        ? c.b.dtype === 'f32'
          ? 0.5
          : 0.7
        : 1.5
      : c.b.dtype === 'f32'
        ? 0.35
        : 0.6;
  const panelCycles = steps * vector.extent * copyOne * repeat;
  /** Copying once is a kernel of its own: its start and end, and the elements shared by the threads. */
  const copyCycles = (elements: number): number => 4000 + elements / target.threads;
  const packACycles = copyCycles(extentOf(batch) * rows * steps * 0.8);
  const packBCycles = copyCycles(repeat * vector.extent * steps * Math.max(0.5, copyOne));

  const all = chosen.cycles * repeat;
  const colTiles = tilesIn(tile.cols);
  const rowTiles = tilesIn(tile.rows);
  const loops = [...outerRows.map((x) => x.extent), rowTiles];
  const tileVectors = (vectors / colTiles) * (tiled.extent / rowTiles) * whole.extent;

  /** Row loops cut into `parts` or a few more. */
  const cutRows = (parts: number) => {
    let at = 0;
    let wanted = parts;
    while (at < loops.length - 1 && wanted > loops[at]) wanted = ceilDiv(wanted, loops[at++]);
    const chunk = ceilDiv(loops[at], Math.min(wanted, loops[at]));
    const count = loops.slice(0, at).reduce((n, e) => n * e, 1) * ceilDiv(loops[at], chunk);
    return { at, chunk, count };
  };
  /** Arrays that the epilogue reads and writes, and the cycles that an element of one takes where they are walked down columns. */
  const arrays = Math.max(1, c.buffers.length - 2);
  const farColumns = vector.extent > 2 * panelWidth ? 0.2 : 0.05;
  interface Cut extends Pick<VectorPlan, 'packA' | 'packB' | 'group' | 'rowsOuter' | 'block' | 'split'> {
    readonly rowSplit: ReturnType<typeof cutRows>;
    readonly cycles: number;
  }
  /** The best cut of rows for each way to block, copy and split. */
  const found: { cut: Cut; time: number }[] = [];
  const rowAxes = [...outerRows, tiled, whole];
  const outputs = repeat * rows * vector.extent;
  const weigh = (packA: boolean, packB: VectorPlan['packB'], group: number, blockSteps: number, rowsOuter = false): void => {
    // Where few tiles are for the threads, or all of them should meet a part of A and B while it's in cache: parts of the
    // reduction, each with sums of its own.
    const most = outputs * 4 > target.l2 / 2 ? 1 : Math.min(target.threads * 8, 128, steps / 64, all / 20_000);
    if (mustCopyA && !packA) return;
    for (let split = 1; split <= Math.max(1, most); split *= 2) {
      const fit = blockReduction(reduce, blockSteps);
      const block = fit.count < split ? blockReduction(reduce, Math.max(1, Math.floor(steps / split))) : fit;
      if (block.count >= split) weighSplit(packA, packB, group, block, rowsOuter, split);
    }
  };
  const weighSplit = (
    packA: boolean,
    packB: VectorPlan['packB'],
    group: number,
    block: VectorPlan['block'],
    rowsOuter: boolean,
    split: number,
  ): void => {
    const inner = reduce.slice(block.at + 1);
    const inBlock = last ? block.chunk * extentOf(inner) : 1;
    const blocks = ceilDiv(block.count, split);
    const colItems = repeat * ceilDiv(colTiles, group);
    const once = (packA ? packACycles : 0) + (packB === 'once' ? packBCycles : 0);
    const sum = split === 1 ? 0 : 8000 + (outputs * split * 0.4) / target.threads;
    // More parts balance the threads, but each packs its panels anew; an item should be worth its start.
    const most = Math.max(
      1,
      Math.min(
        rows,
        group > 1 && !rowsOuter ? ceilDiv(rows, 48) : ceilDiv(target.threads * 8, colItems * split),
        Math.floor(all / colItems / split / 8000),
      ),
    );
    const touchedBy = (over: Parameters<typeof touched>[1]) => ({
      a: touched('a', [...rowAxes, ...over], dtypes[c.a.dtype].bytes),
      b: touched('b', [{ axis: vector, extent: Math.min(vector.extent, group * panelWidth) }, ...over], dtypes[c.b.dtype].bytes),
    });
    const ofBlock = touchedBy(last ? [{ axis: reduce[block.at], extent: block.chunk }, ...inner] : []);
    const ofPass = touchedBy(reduce);
    // The blocks of a part, of which some parts have one more than others.
    const share = blocks / block.count;
    let best: (typeof found)[number] | undefined;
    for (let parts = 1; parts <= most; parts = Math.max(parts + 1, Math.floor(parts * 1.2))) {
      const rowSplit = cutRows(parts);
      const items = rowSplit.count * colItems * split;
      const itemRows = ceilDiv(rows, rowSplit.count);
      const tiles = (loops.reduce((n, e) => n * e, 1) / rowSplit.count) * (colTiles / ceilDiv(colTiles, group));
      const work = (all / rowSplit.count / colItems) * share;
      // Tiles of rows that are neighbours in memory share lines: a part of them touches more than its part.
      const chunks = ceilDiv(loops[rowSplit.at], rowSplit.chunk);
      const line = (Math.ceil((rowSplit.chunk * tile.rows[0].size) / 16) * 16) / Math.max(16, Math.abs(last?.a ?? 1));
      const isLine = rowSplit.at === loops.length - 1 && tiled.a === 1;
      const part = isLine ? (Math.min(1, Math.max(1 / chunks, line)) * chunks) / rowSplit.count : 1 / rowSplit.count;
      const rowTilesOf = tiles / group;
      // What doesn't stay in cache while a block's tiles use it is fetched again: A for each tile of columns, B for each of rows.
      const far =
        share *
        (ofBlock.a * part + ofBlock.b <= target.l2 * 0.6 || rowsOuter
          ? ofPass.a * part + ofPass.b
          : (tiled.a === 1 ? Math.max(ofPass.a * part, steps * rowTilesOf * 64) : ofPass.a * part) * group +
            ofPass.b * (inBlock * panelWidth * 4 <= target.l2 * 0.6 ? 1 : rowTilesOf));
      const cycles =
        work +
        Math.max(0, far / farBytes - work * 0.7) +
        (packB === 'panel' ? (panelCycles / colItems) * share : 0) +
        // Sums put down and taken up again between blocks.
        (blocks - 1) * tiles * tileVectors * 1.5 +
        (rows / rowSplit.count) *
          (vector.extent / ceilDiv(colTiles, group)) *
          (split > 1 ? 0.05 : arrays * (rowsOuter ? 0.05 : farColumns)) +
        (rowsOuter ? 0 : steps * share * tiles) *
          wait(
            { tiled, last, isCopied: packA },
            tile.rows[0].size * whole.extent,
            panelWidth * 4,
            itemRows,
            inBlock,
            ofBlock.a * part,
            target,
          );
      const time = once + sum + (ceilDiv(items, target.threads) + 0.12) * (cycles + 300);
      if (best && time >= best.time * 0.995) continue;
      const total = cycles * items + (once + sum) * target.threads;
      best = { time, cut: { packA, packB, group, rowsOuter, block, split, rowSplit, cycles: total } };
    }
    if (best) found.push(best);
  };
  const panelSteps = Math.max(16, Math.floor(target.l2 / 2 / (panelWidth * 4)));
  const inItem = panels ? 'panel' : null;
  weigh(false, inItem, 1, panelSteps);
  /** What is decoded or widened never lies in memory whole. */
  const mayBeWhole = !isFormula && (isPaired || c.b.dtype === 'f32') && repeat * vector.extent * steps * 4 <= largestCopy;
  const canCopyB = panels && mayBeWhole;
  if (canCopyB && last) weigh(false, 'once', 1, panelSteps);
  // With A's rows adjacent in memory the next tile uses the same lines: keep them in L1 until then.
  const nearSteps = Math.max(16, Math.floor((target.l1 * 0.8) / (64 + panelWidth * 4)));
  if (tiled.a === 1 && rowTiles > 1 && steps > nearSteps) weigh(false, inItem, 1, nearSteps);
  // Panels of several tiles in L2, and rows of A that stay in L1 while they meet them all.
  const linesOfA = tiled.a === 1 ? steps * 64 : tile.rows[0].size * whole.extent * steps * 4;
  const isNear = linesOfA <= target.l1 / 2 && (tiled.a !== 1 || steps <= linesKept(Math.abs(last?.a ?? 1) * 4, target.l1) / 2);
  /** A copy is in order of steps, each with one element of A for a row. */
  const canCopy = last !== undefined && whole === unit && !aVaries && (!isPaired || repeat * rows * steps * 4 <= largestCopy);
  for (const wanted of [4, 8, 16, 32, 64].filter((g) => g < 2 * colTiles && g * steps * panelWidth * 4 <= target.l2 * 0.6)) {
    const group = Math.min(wanted, colTiles);
    if (isNear) weigh(false, 'panel', group, steps, true);
    if (canCopy && tile.rows[0].size * steps * 4 <= target.l1 / 2) weigh(true, 'panel', group, steps, true);
  }
  if (canCopy && (mustCopyA || (rows >= 48 && colTiles >= 4 && rows * steps * 4 > target.l2 / 4))) {
    for (const blockSteps of [steps, 384, 256, 192]) {
      if (blockSteps >= 2 * steps && blockSteps !== steps) continue;
      for (const group of [1, 4, 8, 16, 32].filter((g) => g < 2 * colTiles)) {
        weigh(true, inItem, group, blockSteps);
        if (mayBeWhole) weigh(true, 'once', group, blockSteps);
        if (mayBeWhole && tiled.a !== 1) weigh(false, 'once', group, blockSteps);
      }
    }
  }
  const fixed = { c, batch, outerRows, tiled, whole, outerCols, vector, reduce, width, tile };
  return found.sort((x, y) => x.time - y.time).map(({ cut }) => ({ ...fixed, ...cut }));
}
