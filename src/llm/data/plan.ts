/**
 * @file Which examples make which batch of an epoch. A plan depends on lengths, options, seed and epoch alone: any batch of any epoch can be
 * asked for, which is how training resumes without replaying.
 */
import { CounterRandom, streams } from '../../data/random.js';
import { epochIndices, permutation } from '../../data/shuffle.js';
import type { TokenExamples } from './examples.js';
import { type Packing, packBestFit } from './pack.js';

/**
 * Part of an example that lies in a row: its tokens start … start + places − 1 are read, and each says what follows it; so an example of n
 * tokens takes n − 1 places.
 */
export interface Segment {
  readonly example: number;
  readonly start: number;
  readonly places: number;
}

/** Rows of a batch, each some segments side by side, and the places that all rows have. */
export interface PlannedBatch {
  readonly rows: readonly (readonly Segment[])[];
  readonly length: number;
}

/** The batches of one epoch. */
export interface Plan {
  readonly batches: number;
  batch(b: number): PlannedBatch;
}

/** Parts of examples that stay whole: item i is tokens from `step` · part of an example on. */
export interface Items {
  readonly count: number;
  readonly places: Uint32Array;
  segment(i: number): Segment;
  readonly stats: ItemStats;
}
export interface ItemStats {
  /** Examples of less than two tokens: there is nothing to predict in them. */
  readonly tooShort: number;
  /** Examples longer than a row, that were cut or split. */
  readonly long: number;
  /** Places lost by cutting. */
  readonly cutPlaces: number;
  readonly longest: number;
}

/** The items of examples for rows of `length` places. Of a pair both are kept or none. */
export function itemsOf(examples: TokenExamples, length: number, long: 'cut' | 'split'): Items {
  const { count, group } = examples;
  const placesOf = (i: number): number => Math.max(0, examples.lengthOf(i) - 1);
  let [n, tooShort, longOnes, cutPlaces, longest] = [0, 0, 0, 0, 0];
  const partsOf = (places: number): number => (places <= length ? 1 : long === 'split' ? Math.ceil(places / length) : 1);
  const isKept = (i: number): boolean => placesOf(i) > 0 && (group === 1 || placesOf(i ^ 1) > 0);
  for (let i = 0; i < count; i++) {
    if (!isKept(i)) {
      tooShort++;
      continue;
    }
    const places = placesOf(i);
    longest = Math.max(longest, places);
    if (places > length) {
      longOnes++;
      if (long === 'cut') cutPlaces += places - length;
    }
    n += partsOf(places);
  }
  const example = new Uint32Array(n);
  const part = new Uint32Array(n);
  const places = new Uint32Array(n);
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (!isKept(i)) continue;
    const all = placesOf(i);
    for (let p = 0; p < partsOf(all); p++, at++) {
      example[at] = i;
      part[at] = p;
      places[at] = Math.min(length, all - p * length);
    }
  }
  return {
    count: n,
    places,
    segment: (i) => ({ example: example[i], start: part[i] * length, places: places[i] }),
    stats: { tooShort, long: longOnes, cutPlaces, longest },
  };
}

export interface PlanOptions {
  /** Rows a batch. */
  readonly rows: number;
  readonly shuffle: boolean;
  readonly seed: number;
  readonly dropRemainder: boolean;
}

const batchesOf = (rows: number, { rows: size, dropRemainder }: PlanOptions): number =>
  dropRemainder ? Math.floor(rows / size) : Math.ceil(rows / size);
const inOrder = (n: number): Uint32Array => Uint32Array.from({ length: n }, (_, i) => i);
/** Batches that are sorted together by length, as Hugging Face's group_by_length. */
const GROUPED_BATCHES = 50;

/** An item a row. `lengthFor` gives the places of rows whose longest item has so many. */
export function paddedPlan(
  items: Items,
  group: 1 | 2,
  options: PlanOptions & { readonly groupByLength: boolean },
  epoch: number,
  lengthFor: (places: number) => number,
): Plan {
  const { rows, shuffle, seed, dropRemainder, groupByLength } = options;
  // Pairs keep together: what is shuffled is units of `group` rows.
  const units = items.count / group;
  const perBatch = rows / group;
  let order: Uint32Array = shuffle ? epochIndices(units, seed, epoch) : inOrder(units);
  const batches = batchesOf(items.count, options);
  const longest = (unit: number): number =>
    group === 1 ? items.places[unit] : Math.max(items.places[2 * unit], items.places[2 * unit + 1]);
  let batchOrder: Uint32Array | null = null;
  if (groupByLength) {
    // Without shuffling everything is in one group.
    const size = shuffle ? GROUPED_BATCHES * perBatch : Math.max(1, units);
    order = order.slice();
    for (let at = 0; at < units; at += size) order.subarray(at, at + size).sort((a, b) => longest(b) - longest(a) || a - b);
    if (shuffle)
      batchOrder = permutation(dropRemainder ? batches : Math.ceil(units / perBatch), new CounterRandom(seed, streams.rowOrder, epoch));
  }
  return {
    batches,
    batch(b) {
      const at = (batchOrder ? batchOrder[b] : b) * perBatch;
      const own = order.subarray(at, at + perBatch);
      let most = 1;
      const segments: Segment[][] = [];
      for (const unit of own) {
        most = Math.max(most, longest(unit));
        for (let g = 0; g < group; g++) segments.push([items.segment(unit * group + g)]);
      }
      return { rows: segments, length: lengthFor(most) };
    },
  };
}

/** Rows of `length` places with as many items as best fit finds room for. */
export function packedPlan(items: Items, options: PlanOptions, epoch: number, length: number): Plan & { readonly packing: Packing } {
  const { shuffle, seed } = options;
  const packing = packBestFit(items.places, length, shuffle ? epochIndices(items.count, seed, epoch) : undefined);
  const { order, starts } = packing;
  const bins = starts.length - 1;
  const binOrder = shuffle ? permutation(bins, new CounterRandom(seed, streams.rowOrder, epoch)) : inOrder(bins);
  return {
    packing,
    batches: batchesOf(bins, options),
    batch(b) {
      const own = binOrder.subarray(b * options.rows, (b + 1) * options.rows);
      return { rows: Array.from(own, (bin) => Array.from(order.subarray(starts[bin], starts[bin + 1]), items.segment)), length };
    },
  };
}

/** Places before each example: those of all examples in a line. */
export function placesBefore(examples: TokenExamples): Float64Array {
  const before = new Float64Array(examples.count + 1);
  for (let i = 0; i < examples.count; i++) before[i + 1] = before[i] + Math.max(0, examples.lengthOf(i) - 1);
  return before;
}

/** Rows that are windows of `length` places, each drawn anywhere in the line of all examples (as nanoGPT draws them). */
export function windowPlan(before: Float64Array, options: PlanOptions & { readonly batches: number }, epoch: number, length: number): Plan {
  const { rows, seed, batches } = options;
  const total = before[before.length - 1];
  const random = new CounterRandom(seed, streams.windows);
  const draws = Math.max(0, total - length) + 1;
  return {
    batches,
    batch(b) {
      const own: Segment[][] = [];
      for (let r = 0; r < rows; r++) {
        random.seek((epoch * batches + b) * rows + r);
        const high = random.word();
        own.push(segmentsFrom(before, Math.floor(((high * 2 ** 21 + (random.word() >>> 11)) / 2 ** 53) * draws), length));
      }
      return { rows: own, length };
    },
  };
}

/** The segments that lie in places first … first + length − 1 of the line. */
function segmentsFrom(before: Float64Array, first: number, length: number): Segment[] {
  let low = 0;
  let high = before.length - 2;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (before[middle] <= first) low = middle;
    else high = middle - 1;
  }
  const segments: Segment[] = [];
  const end = Math.min(first + length, before[before.length - 1]);
  for (let i = low, at = first; at < end; i++) {
    const places = Math.min(end, before[i + 1]) - at;
    if (places > 0) segments.push({ example: i, start: at - before[i], places });
    at += Math.max(0, places);
  }
  return segments;
}

/**
 * At most `count` row lengths for batches whose longest rows have `lengths` places, so that padding is least; the last is `longest`.
 * Each is a length that occurs: dynamic programming over them.
 */
export function chooseLengths(lengths: readonly number[], longest: number, count: number): number[] {
  const times = new Map<number, number>([[longest, 0]]);
  for (const n of lengths) times.set(n, (times.get(n) ?? 0) + 1);
  const sizes = [...times.keys()].sort((a, b) => a - b);
  const m = sizes.length;
  const upTo = [0];
  for (const s of sizes) upTo.push(upTo[upTo.length - 1] + (times.get(s) as number));
  // cost[j]: places of the batches up to size j with size j the largest chosen; from[k][j]: the one chosen before.
  let cost = sizes.map((s, j) => s * upTo[j + 1]);
  const from: Int32Array[] = [];
  for (let k = 1; k < Math.min(count, m); k++) {
    const next = [...cost];
    const choice = new Int32Array(m).fill(-1);
    for (let j = 0; j < m; j++)
      for (let i = 0; i < j; i++) {
        const c = cost[i] + sizes[j] * (upTo[j + 1] - upTo[i + 1]);
        if (c < next[j]) {
          next[j] = c;
          choice[j] = i;
        }
      }
    from.push(choice);
    cost = next;
  }
  const chosen = [m - 1];
  for (let k = from.length - 1; k >= 0; k--) {
    const before = from[k][chosen[0]];
    if (before >= 0) chosen.unshift(before);
  }
  return chosen.map((j) => sizes[j]);
}
