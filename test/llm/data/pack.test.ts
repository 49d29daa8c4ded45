import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { epochIndices } from '../../../src/data/shuffle.js';
import { packBestFit } from '../../../src/llm/data/index.js';
import { chooseLengths } from '../../../src/llm/data/plan.js';
import { documentLengths } from './support.js';

/** Best fit by looking at every bin. */
function plainBestFit(lengths: readonly number[], capacity: number): number[][] {
  const bins: { room: number; items: number[] }[] = [];
  const sorted = lengths.map((_, i) => i).sort((a, b) => lengths[b] - lengths[a] || a - b);
  for (const i of sorted) {
    let best: (typeof bins)[number] | null = null;
    for (const bin of bins) if (bin.room >= lengths[i] && (!best || bin.room < best.room)) best = bin;
    if (!best) {
      best = { room: capacity, items: [] };
      bins.push(best);
    }
    best.items.push(i);
    best.room -= lengths[i];
  }
  return bins.map((b) => b.items);
}
const binsOf = ({ order, starts }: ReturnType<typeof packBestFit>): number[][] =>
  Array.from({ length: starts.length - 1 }, (_, b) => [...order.subarray(starts[b], starts[b + 1])]);
const total = (items: readonly number[], lengths: ArrayLike<number>): number => items.reduce((n, i) => n + lengths[i], 0);

describe('packing', () => {
  it('holds every item once, fills no bin beyond its capacity, and uses as many as best fit by hand', () => {
    fc.assert(
      fc.property(
        fc
          .integer({ min: 1, max: 1100 })
          .chain((capacity) => fc.tuple(fc.constant(capacity), fc.array(fc.integer({ min: 1, max: capacity }), { maxLength: 60 }))),
        ([capacity, lengths]) => {
          const bins = binsOf(packBestFit(lengths, capacity));
          expect(bins.flat().sort((a, b) => a - b)).toEqual(lengths.map((_, i) => i));
          for (const items of bins) expect(total(items, lengths)).toBeLessThanOrEqual(capacity);
          const fill = (all: number[][]): number[] => all.map((items) => total(items, lengths)).sort((a, b) => a - b);
          expect(fill(bins)).toEqual(fill(plainBestFit(lengths, capacity)));
        },
      ),
    );
  });
  it.each([
    ['documents around 300 in 1,024', 300, 1024],
    ['documents around 300 in 2,048', 300, 2048],
    ['captions around 14 in 256', 14, 256],
    ['documents around 700 in 1,024', 700, 1024],
  ])('of %s leaves less than 3 %% of the places empty', (_, middle, capacity) => {
    const lengths = documentLengths(20_000, middle, capacity);
    const { starts } = packBestFit(lengths, capacity);
    const efficiency = lengths.reduce((n, l) => n + l, 0) / ((starts.length - 1) * capacity);
    expect(efficiency).toBeGreaterThanOrEqual(0.97);
  });
  it('gives the same bins for the same lengths: the order among equals changes only which item lies where', () => {
    const lengths = documentLengths(3000, 50, 256);
    const shapes = (among?: Uint32Array): number[][] =>
      binsOf(packBestFit(lengths, 256, among)).map((items) => items.map((i) => lengths[i]));
    const expected = shapes();
    expect(shapes()).toEqual(expected);
    const others = [0, 1].map((epoch) => epochIndices(3000, 7, epoch));
    for (const among of others) expect(shapes(among)).toEqual(expected);
    expect(binsOf(packBestFit(lengths, 256, others[0]))).not.toEqual(binsOf(packBestFit(lengths, 256, others[1])));
  });
  it('refuses what no bin holds', () => {
    expect(() => packBestFit([3, 9], 8)).toThrow('pack: item 1 has length 9. Expected a whole number from 1 to the capacity 8.');
    expect(() => packBestFit([0], 8)).toThrow('item 0 has length 0');
    expect(() => packBestFit([], 0)).toThrow('capacity 0');
    expect(binsOf(packBestFit([], 8))).toEqual([]);
  });
});

describe('row lengths', () => {
  it('are those with least padding, of all choices', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 20 }),
        fc.integer({ min: 1, max: 4 }),
        (lengths, count) => {
          const cost = (chosen: readonly number[]): number => lengths.reduce((n, l) => n + Math.min(...chosen.filter((c) => c >= l)), 0);
          const chosen = chooseLengths(lengths, 12, count);
          expect(chosen.length).toBeLessThanOrEqual(count);
          expect(chosen.at(-1)).toBe(12);
          let least = Number.POSITIVE_INFINITY;
          for (let subset = 0; subset < 2 ** 11; subset++) {
            const other = Array.from({ length: 12 }, (_, i) => i + 1).filter((n) => n === 12 || (subset >> (n - 1)) & 1);
            if (other.length <= count) least = Math.min(least, cost(other));
          }
          expect(cost(chosen)).toBe(least);
        },
      ),
      { numRuns: 30 },
    );
  });
});
