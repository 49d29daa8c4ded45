/**
 * @file A stream of counter-based random numbers for the data side, on base/philox: addressed by (seed, stream, item), so that
 * the same picture or epoch gets the same numbers on every machine and in any order of asking.
 */
import { philox4x32 } from '../base/philox.js';

/** The stream names that keep two uses of one seed apart (third counter word). */
export const streams = {
  shuffle: 1,
  shapesTrain: 2,
  shapesTest: 3,
  shapesLabels: 4,
  split: 5,
  shuffleBuffer: 6,
  rowOrder: 7,
  windows: 8,
} as const;

/** A stream of u32 words and derived numbers, addressed by (seed, stream, item): a Philox counter that counts up from 0. */
export class CounterRandom {
  #words: readonly number[] = [];
  readonly #key: readonly [number, number];
  #stream: number;
  #item: number;
  #block = 0;
  #left = 0;

  /** `seed` may be any safe integer; `item` is a picture, epoch or chunk number. */
  constructor(seed: number, stream: number, item = 0) {
    this.#key = [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0];
    this.#stream = stream;
    this.#item = item;
  }

  /** Moves to the start of another item of the same seed and stream. */
  seek(item: number): this {
    this.#item = item;
    this.#block = 0;
    this.#left = 0;
    return this;
  }

  /** The next word, 0 … 2^32 − 1. */
  word(): number {
    if (this.#left === 0) {
      const high = Math.floor(this.#item / 2 ** 32) >>> 0;
      this.#words = philox4x32(this.#block++, this.#item >>> 0, this.#stream, high, this.#key[0], this.#key[1]);
      this.#left = 4;
    }
    return this.#words[4 - this.#left--];
  }

  /** Uniform in [low, high). */
  uniform(low: number, high: number): number {
    return low + (high - low) * (this.word() / 4294967296);
  }

  /** Uniform integer in [0, n), n ≤ 2^32, without modulo bias. */
  below(n: number): number {
    const limit = 4294967296 - (4294967296 % n);
    for (;;) {
      const w = this.word();
      if (w < limit) return w % n;
    }
  }
}
