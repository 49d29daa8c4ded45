/**
 * @file The register tile of a contraction and its cost model: R rows × V vectors of accumulators, A's element
 * broadcast, B's vectors loaded. A dimension is cut into tiles of at most two sizes (13 = 7 + 6, 15 = 10 + 5), so no
 * shape has a slow remainder. Costs are cycles of a core with two load ports; only their ratios matter.
 */
import type { TargetInfo } from '../../kernel/target.js';

/** `count` tiles of `size`. */
export interface Piece {
  readonly size: number;
  readonly count: number;
}

/** Tiles of all pieces. */
export const tilesIn = (pieces: readonly { readonly count: number }[]): number => pieces.reduce((n, p) => n + p.count, 0);

/** Registers for R·V accumulators, V vectors of B, and as many of A's elements as the target holds at once. */
export function tileFits(rows: number, vectors: number, target: TargetInfo, aVaries = false): boolean {
  const elements = target.elements === 'all' ? rows * (aVaries ? vectors : 1) : target.elements === 'one' ? 1 : 0;
  // More rows than that are more streams than L1 has ways, when their stride is a power of two.
  return rows <= 14 && rows * vectors + vectors + elements <= target.registers;
}

/** Cycles of one step of the reduction: multiply-adds, loads, or the latency of too few accumulators. */
export function tileCycles(rows: number, vectors: number, aVaries = false): number {
  const loads = (vectors + rows * (aVaries ? vectors : 1)) * 0.5;
  // Loads are not free where they are hidden: of two full tiles the squarer one wins.
  return Math.max(rows * vectors * 0.5, loads, 4.5) + loads * 0.02;
}

/** Ways to cut `extent` into tiles of at most two sizes, none above `largest`. */
export function pieceCuts(extent: number, largest: number): Piece[][] {
  const cuts: Piece[][] = [];
  for (let size = Math.min(extent, largest); size >= 1; size--) {
    const rest = extent % size;
    const full = { size, count: Math.floor(extent / size) };
    if (rest === 0) {
      cuts.push([full]);
      continue;
    }
    cuts.push([full, { size: rest, count: 1 }]);
    // Balanced: as many of size - 1 as it takes.
    const count = Math.ceil(extent / size);
    const smaller = count * size - extent;
    if (smaller > 1 && smaller < count) {
      cuts.push([
        { size, count: count - smaller },
        { size: size - 1, count: smaller },
      ]);
    }
  }
  return cuts;
}

export interface TileChoice {
  /** Sizes in rows of the tiled dimension(s). */
  readonly rows: readonly Piece[];
  /** Sizes in vectors. */
  readonly cols: readonly Piece[];
  /** Cycles for all tiles of one row range × column range and a whole reduction. */
  readonly cycles: number;
}

/** Cycles to start and finish one tile: clearing, storing, the epilogue's loop. */
const perTile = 12;

/**
 * The cheapest cut of `rows` (each standing for `width` rows of the register tile) and `vectors` for a reduction of
 * `steps`. `aVaries`: A has an element for each lane too, and is loaded as vectors. `only`: no tile of another width than so many vectors.
 */
export function chooseTile(
  rows: number,
  width: number,
  vectors: number,
  steps: number,
  target: TargetInfo,
  aVaries = false,
  only?: number,
): TileChoice | null {
  let best: TileChoice | null = null;
  const widest = target.lanes === 1 ? 4 : 7;
  for (let v = only ?? 1; v <= Math.min(vectors, only ?? widest); v++) {
    const tallest = Array.from({ length: target.registers }, (_, i) => i + 1)
      .filter((r) => tileFits(r * width, v, target, aVaries))
      .pop();
    if (tallest === undefined) continue;
    const rowCuts = pieceCuts(rows, tallest);
    for (const cols of pieceCuts(vectors, v)) {
      if (cols[0].size !== v) continue;
      for (const cut of rowCuts) {
        let cycles = 0;
        for (const r of cut) {
          for (const c of cols) {
            const tile = steps * tileCycles(r.size * width, c.size, aVaries) + perTile + r.size * width * c.size * 1.5;
            cycles += r.count * c.count * tile;
          }
        }
        if (!best || cycles < best.cycles * 0.999) best = { rows: cut, cols, cycles };
      }
    }
  }
  return best;
}
