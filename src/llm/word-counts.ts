/** @file Words of texts, split as a tokenizer.json's Split splits them, and how often each occurs. */
import { ConfigError, quote, reasonOf } from '../base/errors.js';
import { splitOf } from './quick-bpe.js';

/** Splits a text into the matches of a pattern and what is between them. Throws ConfigError for a malformed pattern. */
export function wordSplitter(regex: string): (text: string) => readonly string[] {
  try {
    return splitOf({ type: 'Split', pattern: { Regex: regex }, behavior: 'Isolated', invert: false });
  } catch (error) {
    throw new ConfigError(
      `trainTokenizer: the pattern is malformed (${reasonOf(error)}). Expected a regular expression, received ${quote(regex)}.`,
    );
  }
}

/** Words and their numbers of occurrences. */
export class WordCounts {
  readonly #words = new Map<string, number>();
  #counts = new Float64Array(1 << 12);
  /** Where each word's bytes begin in `#bytes`. */
  #starts = new Float64Array(1 << 12);
  #bytes = new Uint8Array(1 << 16);
  #length = 0;
  readonly #encoder = new TextEncoder();
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });

  get size(): number {
    return this.#words.size;
  }

  /** Counts a word; gives its length in UTF-8. */
  add(word: string): number {
    const index = this.#words.get(word) ?? this.#insert(word);
    this.#counts[index]++;
    return (index + 1 < this.size ? this.#starts[index + 1] : this.#length) - this.#starts[index];
  }

  #insert(word: string): number {
    const index = this.size;
    const start = this.#length;
    if (index === this.#counts.length) {
      this.#counts = doubled(this.#counts, new Float64Array(2 * index));
      this.#starts = doubled(this.#starts, new Float64Array(2 * index));
    }
    while (start + 3 * word.length > this.#bytes.length) this.#bytes = doubled(this.#bytes, new Uint8Array(2 * this.#bytes.length));
    this.#starts[index] = start;
    this.#length = start + this.#encoder.encodeInto(word, this.#bytes.subarray(start)).written;
    // A copy: a word cut out of a text would keep all of the text in memory.
    this.#words.set(this.#decoder.decode(this.#bytes.subarray(start, this.#length)), index);
    return index;
  }

  /** For a trainer: each byte of all words as `ids` has it, where words begin (and the last one ends), and their counts. */
  symbols(ids: Int32Array): { readonly symbols: Int32Array; readonly starts: Int32Array; readonly counts: Float64Array } {
    const symbols = Int32Array.from(this.#bytes.subarray(0, this.#length), (byte) => ids[byte]);
    const starts = new Int32Array(this.size + 1);
    starts.set(this.#starts.subarray(0, this.size));
    starts[this.size] = this.#length;
    return { symbols, starts, counts: this.#counts.slice(0, this.size) };
  }
}

function doubled<T extends Float64Array | Uint8Array>(old: T, fresh: T): T {
  fresh.set(old);
  return fresh;
}
