/** @file Collects tokens until a shard is full. */
import { ConfigError } from '../../base/errors.js';
import type { ShardContent } from './shard-format.js';
import type { TokenPiece } from './tokenize.js';

/** A typed array that grows. */
class Growing<T extends Uint8Array | Uint16Array | Uint32Array> {
  #data: T;
  length = 0;
  constructor(make: (n: number) => T) {
    this.#make = make;
    this.#data = make(1024);
  }
  readonly #make: (n: number) => T;
  /** Room for n more: the part to write to. */
  more(n: number): T {
    const end = this.length + n;
    if (end > this.#data.length) {
      const larger = this.#make(Math.max(end, 2 * this.#data.length));
      larger.set(this.#data.subarray(0, this.length));
      this.#data = larger;
    }
    const part = this.#data.subarray(this.length, end) as T;
    this.length = end;
    return part;
  }
  get data(): T {
    return this.#data.subarray(0, this.length) as T;
  }
}

/** The content of the next shard. */
export class ShardWriter {
  readonly #vocabSize: number;
  readonly #ids: Growing<Uint16Array | Uint32Array>;
  readonly #isTarget = new Growing((n) => new Uint8Array(n));
  readonly #lengths = new Growing((n) => new Uint32Array(n));
  #areAllTargets = true;
  #isOpen: boolean;

  /** `isOpen`: the first tokens belong to the last example of the shard before. */
  constructor(vocabSize: number, isOpen: boolean) {
    this.#vocabSize = vocabSize;
    this.#ids = new Growing<Uint16Array | Uint32Array>((n) => (vocabSize <= 65_536 ? new Uint16Array(n) : new Uint32Array(n)));
    this.#isOpen = isOpen;
    if (isOpen) this.#lengths.more(1)[0] = 0;
  }

  /** About how many bytes the shard will have. */
  get bytes(): number {
    return (
      this.#ids.length * (this.#vocabSize <= 65_536 ? 2 : 4) + (this.#areAllTargets ? 0 : this.#ids.length / 8) + 4 * this.#lengths.length
    );
  }
  get isEmpty(): boolean {
    return this.#lengths.length === 0;
  }

  add({ ids, isTarget, goesOn }: TokenPiece): void {
    const into = this.#ids.more(ids.length);
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i];
      if (!(id >= 0 && id < this.#vocabSize))
        throw new ConfigError(
          `the tokenizer gave the token ${id}. Expected 0 … ${this.#vocabSize - 1}: its vocabSize is ${this.#vocabSize}.`,
        );
      into[i] = id;
    }
    this.#isTarget.more(ids.length).set(isTarget);
    if (this.#areAllTargets && isTarget.includes(0)) this.#areAllTargets = false;
    if (!this.#isOpen) this.#lengths.more(1)[0] = 0;
    const lengths = this.#lengths.data;
    lengths[lengths.length - 1] += ids.length;
    this.#isOpen = goesOn;
  }

  content(state: unknown): ShardContent {
    return { ids: this.#ids.data, mask: this.#areAllTargets ? null : packed(this.#isTarget.data), lengths: this.#lengths.data, state };
  }
}

/** A bit for each. */
function packed(flags: Uint8Array): Uint8Array {
  const bits = new Uint8Array(Math.ceil(flags.length / 8));
  for (let i = 0; i < flags.length; i++) bits[i >> 3] |= flags[i] << (i & 7);
  return bits;
}
