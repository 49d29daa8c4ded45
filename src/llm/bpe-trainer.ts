/**
 * @file Learns the merges of byte-pair encoding from counted words, as the BpeTrainer of Hugging Face's tokenizers does: a queue of
 * pairs by count (of equal ones, the pair of lower ids first), and for each pair the words it is in, so that a merge visits those only.
 */
import { Ints, PairTable } from './pair-table.js';

/** Two ids that become one. */
export interface Merge {
  readonly left: number;
  readonly right: number;
  readonly id: number;
}

/** What learns merges, one by one. Words are bytes first: `symbols` holds an id for each byte of all words, one word after another. */
export class BpeTrainer {
  readonly #symbols: Int32Array;
  /** Where words begin, and how many symbols are left of each. */
  readonly #starts: Int32Array;
  readonly #lengths: Int32Array;
  readonly #counts: Float64Array;
  readonly #pairs = new PairTable();
  /** By pair. */
  #totals = new Float64Array(1 << 16);
  readonly #words: number[][] = [];
  /** Which merge last gave the pair a new word. */
  #touched = new Int32Array(1 << 16);
  #merges = 0;
  /** A binary heap: pairs, and what their count was when they came in. */
  readonly #heap = new Ints(1 << 16);
  #heapTotals = new Float64Array(1 << 16);
  readonly #tokens: string[];
  readonly #ids: Map<string, number>;
  readonly #minFrequency: number;

  /**
   * `tokens`: the text of each id so far (kept up here); `starts` has one more entry than there are words; `counts`: how often each occurs.
   * The symbols are overwritten.
   */
  constructor(tokens: string[], symbols: Int32Array, starts: Int32Array, counts: Float64Array, minFrequency: number) {
    this.#tokens = tokens;
    this.#ids = new Map(tokens.map((token, id) => [token, id]));
    this.#symbols = symbols;
    this.#starts = starts;
    this.#lengths = Int32Array.from(counts, (_, w) => starts[w + 1] - starts[w]);
    this.#counts = counts;
    this.#minFrequency = minFrequency;
    for (let word = 0; word < counts.length; word++)
      for (let i = starts[word]; i < starts[word + 1] - 1; i++) this.#add(symbols[i], symbols[i + 1], counts[word], word);
    for (let pair = 0; pair < this.#pairs.size; pair++) this.#push(pair);
  }

  /**
   * The next merge, or null when no pair occurs often enough. Its id is a new one unless its text was a token already: two ways to one
   * token make two merges.
   */
  next(): Merge | null {
    for (;;) {
      const top = this.#pop();
      if (top === null) return null;
      const { pair } = top;
      const total = this.#totals[pair];
      if (top.total !== total) {
        this.#push(pair);
        continue;
      }
      if (total < Math.max(1, this.#minFrequency)) return null;
      const words = this.#words[pair];
      // A second entry of a pair whose words the first one had.
      if (words.length === 0) continue;
      this.#words[pair] = [];
      return this.#merge(this.#pairs.left.data[pair], this.#pairs.right.data[pair], words);
    }
  }

  #merge(left: number, right: number, words: readonly number[]): Merge {
    const text = this.#tokens[left] + this.#tokens[right];
    let id = this.#ids.get(text);
    if (id === undefined) {
      id = this.#tokens.length;
      this.#tokens.push(text);
      this.#ids.set(text, id);
    }
    this.#merges++;
    const gained: number[] = [];
    for (const word of words) this.#mergeIn(word, left, right, id, gained);
    for (const pair of gained) if (this.#totals[pair] > 0) this.#push(pair);
    return { left, right, id };
  }

  #mergeIn(word: number, left: number, right: number, id: number, gained: number[]): void {
    const symbols = this.#symbols;
    const start = this.#starts[word];
    const end = start + this.#lengths[word];
    const count = this.#counts[word];
    let to = start;
    for (let from = start; from < end; from++) {
      if (symbols[from] !== left || from + 1 >= end || symbols[from + 1] !== right) {
        symbols[to++] = symbols[from];
        continue;
      }
      // The merged pair's own count stays: where another way to one of its tokens brings it back, it is merged at once, as encoding does.
      if (to > start) {
        this.#add(symbols[to - 1], left, -count);
        this.#gain(this.#add(symbols[to - 1], id, count, word), gained);
      }
      symbols[to++] = id;
      from++;
      if (from + 1 < end) {
        this.#add(right, symbols[from + 1], -count);
        this.#gain(this.#add(id, symbols[from + 1], count, word), gained);
      }
    }
    this.#lengths[word] = to - start;
  }

  #gain(pair: number, gained: number[]): void {
    if (this.#touched[pair] === this.#merges) return;
    this.#touched[pair] = this.#merges;
    gained.push(pair);
  }

  /** Counts a pair up or down, and notes the word it is now in. Gives the pair's number. */
  #add(left: number, right: number, change: number, word = -1): number {
    const pair = this.#pairs.numberOf(left, right);
    if (pair === this.#words.length) {
      this.#words.push([]);
      if (pair >= this.#totals.length) {
        this.#totals = grown(this.#totals, new Float64Array(pair * 2));
        this.#touched = grown(this.#touched, new Int32Array(pair * 2));
      }
    }
    this.#totals[pair] += change;
    if (word >= 0) {
      const words = this.#words[pair];
      if (words.length === 0 || words[words.length - 1] !== word) words.push(word);
    }
    return pair;
  }

  /** Whether pair a of count x comes before pair b of count y. */
  #isBefore(a: number, x: number, b: number, y: number): boolean {
    if (x !== y) return x > y;
    const { left, right } = this.#pairs;
    return left.data[a] !== left.data[b] ? left.data[a] < left.data[b] : right.data[a] < right.data[b];
  }

  #push(pair: number): void {
    const total = this.#totals[pair];
    let at = this.#heap.length;
    this.#heap.push(pair);
    if (at >= this.#heapTotals.length) this.#heapTotals = grown(this.#heapTotals, new Float64Array(at * 2));
    const heap = this.#heap.data;
    const totals = this.#heapTotals;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (!this.#isBefore(pair, total, heap[above], totals[above])) break;
      heap[at] = heap[above];
      totals[at] = totals[above];
      at = above;
    }
    heap[at] = pair;
    totals[at] = total;
  }

  #pop(): { readonly pair: number; readonly total: number } | null {
    if (this.#heap.length === 0) return null;
    const heap = this.#heap.data;
    const totals = this.#heapTotals;
    const top = { pair: heap[0], total: totals[0] };
    const size = --this.#heap.length;
    const pair = heap[size];
    const total = totals[size];
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= size) break;
      if (below + 1 < size && this.#isBefore(heap[below + 1], totals[below + 1], heap[below], totals[below])) below++;
      if (!this.#isBefore(heap[below], totals[below], pair, total)) break;
      heap[at] = heap[below];
      totals[at] = totals[below];
      at = below;
    }
    heap[at] = pair;
    totals[at] = total;
    return top;
  }
}

function grown<T extends Float64Array | Int32Array>(old: T, fresh: T): T {
  fresh.set(old);
  return fresh;
}
