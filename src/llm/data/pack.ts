/**
 * @file Packing by best fit, the longest first: each item goes where the least room is left that still holds it (Johnson 1973; the packing of
 * "Fewer Truncations Improve Language Modeling", Ding et al. 2024). O(n log capacity): rooms, not bins, are searched.
 */
import { ConfigError } from '../../base/errors.js';

/** Bins as slices of `order`: bin b holds the items order[starts[b]] … order[starts[b + 1] − 1]. */
export interface Packing {
  readonly order: Uint32Array;
  /** One more than there are bins. */
  readonly starts: Uint32Array;
}

/** Item numbers by falling length, those of one length as in `among` (default: by number). A counting sort. */
export function byFallingLength(lengths: ArrayLike<number>, capacity: number, among?: ArrayLike<number>): Uint32Array {
  const n = lengths.length;
  const place = new Uint32Array(capacity + 2);
  for (let i = 0; i < n; i++) {
    const length = lengths[i];
    if (!(Number.isInteger(length) && length >= 1 && length <= capacity))
      throw new ConfigError(`pack: item ${i} has length ${length}. Expected a whole number from 1 to the capacity ${capacity}.`);
    place[capacity - length + 1]++;
  }
  for (let i = 1; i < place.length; i++) place[i] += place[i - 1];
  const order = new Uint32Array(n);
  for (let k = 0; k < n; k++) {
    const i = among ? among[k] : k;
    order[place[capacity - lengths[i]]++] = i;
  }
  return order;
}

/**
 * Packs items of these lengths into bins. The same lengths give the same bins, whatever the order of items of one length in `among`: only
 * which of them lies where differs.
 * @throws ConfigError for an item that no bin holds
 */
export function packBestFit(lengths: ArrayLike<number>, capacity: number, among?: ArrayLike<number>): Packing {
  if (!(Number.isInteger(capacity) && capacity >= 1)) throw new ConfigError(`pack: capacity ${capacity}. Expected a whole number ≥ 1.`);
  const n = lengths.length;
  const sorted = byFallingLength(lengths, capacity, among);
  const rooms = new Rooms(capacity);
  // Bins with the same room as linked lists, the youngest first; items of a bin as well.
  const firstBin = new Int32Array(capacity + 1).fill(-1);
  const nextBin: number[] = [];
  const lastItem: number[] = [];
  const itemBefore = new Int32Array(n).fill(-1);
  for (const item of sorted) {
    const length = lengths[item];
    let room = rooms.leastFrom(length);
    let bin: number;
    if (room < 0) {
      bin = lastItem.length;
      lastItem.push(-1);
      nextBin.push(-1);
      room = capacity;
    } else {
      bin = firstBin[room];
      firstBin[room] = nextBin[bin];
      if (firstBin[room] < 0) rooms.remove(room);
    }
    itemBefore[item] = lastItem[bin];
    lastItem[bin] = item;
    const left = room - length;
    nextBin[bin] = firstBin[left];
    if (firstBin[left] < 0) rooms.add(left);
    firstBin[left] = bin;
  }
  return layOut(n, lastItem, itemBefore);
}

function layOut(n: number, lastItem: readonly number[], itemBefore: Int32Array): Packing {
  const order = new Uint32Array(n);
  const starts = new Uint32Array(lastItem.length + 1);
  let at = 0;
  for (const [bin, last] of lastItem.entries()) {
    starts[bin] = at;
    let end = at;
    for (let item = last; item >= 0; item = itemBefore[item]) end++;
    let k = end;
    for (let item = last; item >= 0; item = itemBefore[item]) order[--k] = item;
    at = end;
  }
  starts[lastItem.length] = at;
  return { order, starts };
}

/** A set of whole numbers 0 … most that gives its least member from a number on: a tree of bits, 32 a word. */
class Rooms {
  readonly #levels: Uint32Array[] = [];

  constructor(most: number) {
    let size = most + 1;
    do {
      size = Math.ceil(size / 32);
      this.#levels.push(new Uint32Array(size));
    } while (size > 1);
  }
  add(x: number): void {
    for (const level of this.#levels) {
      level[x >>> 5] |= 1 << (x & 31);
      x >>>= 5;
    }
  }
  remove(x: number): void {
    for (const level of this.#levels) {
      level[x >>> 5] &= ~(1 << (x & 31));
      if (level[x >>> 5] !== 0) return;
      x >>>= 5;
    }
  }
  /** The least member ≥ x, or −1. */
  leastFrom(x: number): number {
    for (let depth = 0; depth < this.#levels.length; depth++) {
      const level = this.#levels[depth];
      if (x >>> 5 >= level.length) return -1;
      const word = level[x >>> 5] & (0xffffffff << (x & 31));
      if (word !== 0) {
        let found = ((x >>> 5) << 5) + lowestBit(word);
        for (let d = depth - 1; d >= 0; d--) found = (found << 5) + lowestBit(this.#levels[d][found]);
        return found;
      }
      x = (x >>> 5) + 1;
    }
    return -1;
  }
}

const lowestBit = (word: number): number => 31 - Math.clz32(word & -word);
