/** @file Byte-pair encoding of a word: of all merges that fit, the one of lowest rank first, of equal ones the leftmost. */
import { PairTable } from './pair-table.js';

/** Words whose parts are remembered. */
const CACHE_SIZE = 50_000;
const CACHED_LENGTH = 64;
/** Up to so many symbols, looking at all of them beats a queue. */
const SHORT = 48;
/** More than any rank. */
const NONE = 2 ** 30;

/** Merges the characters of words into tokens. */
export class BpeMerger {
  readonly #tokens: readonly (string | undefined)[];
  readonly #ids: ReadonlyMap<string, number>;
  readonly #pairs = new PairTable();
  /** By pair: the merge's place in the list, and what comes of it. */
  readonly #ranks: number[] = [];
  readonly #results: number[] = [];
  readonly #cache = new Map<string, string[]>();
  readonly #suffix: string;

  /** `merges` name tokens that `ids` has, alone and joined; `suffix` marks the end of a word. */
  constructor(
    tokens: readonly (string | undefined)[],
    ids: ReadonlyMap<string, number>,
    merges: readonly (readonly [string, string])[],
    suffix = '',
  ) {
    this.#suffix = suffix;
    this.#tokens = tokens;
    this.#ids = ids;
    for (const [rank, [left, right]] of merges.entries()) {
      const pair = this.#pairs.numberOf(ids.get(left) ?? -1, ids.get(right) ?? -1);
      this.#ranks[pair] = rank;
      this.#results[pair] = ids.get(left + right) ?? -1;
    }
  }

  /** The tokens of a word; not to be changed. Characters that the vocabulary lacks stay as they are. */
  split(word: string): string[] {
    if (word.length > CACHED_LENGTH) return this.#split(word);
    const known = this.#cache.get(word);
    if (known) return known;
    const parts = this.#split(word);
    if (this.#cache.size >= CACHE_SIZE) this.#cache.clear();
    // A copy: a word cut out of a text would keep all of the text in memory.
    this.#cache.set(Array.from(word).join(''), parts);
    return parts;
  }

  #split(word: string): string[] {
    const texts = Array.from(word);
    if (texts.length > 0) texts[texts.length - 1] += this.#suffix;
    if (texts.length < 2) return texts;
    const symbols = Int32Array.from(texts, (char) => this.#ids.get(char) ?? -1);
    const length = texts.length <= SHORT ? this.#mergeShort(symbols) : this.#mergeLong(symbols);
    // Unknown characters never merge, so theirs come in the order in which they came.
    const unknown = texts.filter((char) => !this.#ids.has(char));
    let next = 0;
    const parts: string[] = [];
    for (let i = 0; i < length; i++) parts.push(symbols[i] < 0 ? unknown[next++] : (this.#tokens[symbols[i]] ?? ''));
    return parts;
  }

  #rank(left: number, right: number): number {
    if (left < 0 || right < 0) return NONE;
    const pair = this.#pairs.find(left, right);
    return pair < 0 ? NONE : this.#ranks[pair];
  }
  #result(left: number, right: number): number {
    return this.#results[this.#pairs.find(left, right)];
  }

  /** Merges in place; gives how many symbols are left. */
  #mergeShort(symbols: Int32Array): number {
    let length = symbols.length;
    const ranks = new Int32Array(length - 1);
    for (let i = 0; i < length - 1; i++) ranks[i] = this.#rank(symbols[i], symbols[i + 1]);
    for (;;) {
      let best = -1;
      let least = NONE;
      for (let i = 0; i < length - 1; i++)
        if (ranks[i] < least) {
          least = ranks[i];
          best = i;
        }
      if (best < 0) return length;
      symbols[best] = this.#result(symbols[best], symbols[best + 1]);
      symbols.copyWithin(best + 1, best + 2, length);
      ranks.copyWithin(best, best + 1, length - 1);
      length--;
      if (best > 0) ranks[best - 1] = this.#rank(symbols[best - 1], symbols[best]);
      if (best < length - 1) ranks[best] = this.#rank(symbols[best], symbols[best + 1]);
    }
  }

  /** The same with a queue of places by rank: time grows as n log n. */
  #mergeLong(symbols: Int32Array): number {
    const size = symbols.length;
    const next = Int32Array.from(symbols, (_, i) => i + 1);
    const before = Int32Array.from(symbols, (_, i) => i - 1);
    const queue = new Queue();
    const put = (at: number): void => {
      if (at < 0 || next[at] >= size) return;
      const rank = this.#rank(symbols[at], symbols[next[at]]);
      if (rank < NONE) queue.push(rank * size + at);
    };
    for (let i = 0; i < size - 1; i++) put(i);
    const gone = new Uint8Array(size);
    for (let key = queue.pop(); key >= 0; key = queue.pop()) {
      const at = key % size;
      const right = next[at];
      if (gone[at] === 1 || right >= size || this.#rank(symbols[at], symbols[right]) !== (key - at) / size) continue;
      symbols[at] = this.#result(symbols[at], symbols[right]);
      gone[right] = 1;
      next[at] = next[right];
      if (next[at] < size) before[next[at]] = at;
      put(before[at]);
      put(at);
    }
    let length = 0;
    for (let at = 0; at < size; at = next[at]) symbols[length++] = symbols[at];
    return length;
  }
}

/** Numbers ≥ 0, the least one first. */
class Queue {
  readonly #heap: number[] = [];

  push(key: number): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(key);
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (heap[above] <= key) break;
      heap[at] = heap[above];
      at = above;
    }
    heap[at] = key;
  }

  /** −1 when there is none. */
  pop(): number {
    const heap = this.#heap;
    if (heap.length === 0) return -1;
    const top = heap[0];
    const key = heap[heap.length - 1];
    heap.length--;
    const size = heap.length;
    if (size === 0) return top;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= size) break;
      if (below + 1 < size && heap[below + 1] < heap[below]) below++;
      if (heap[below] >= key) break;
      heap[at] = heap[below];
      at = below;
    }
    heap[at] = key;
    return top;
  }
}
