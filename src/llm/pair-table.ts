/** @file A table of pairs of ids, which are numbered in the order in which they come; and lists of integers that grow. */

/** A list of integers that grows. */
export class Ints {
  data: Int32Array;
  length = 0;
  constructor(capacity: number) {
    this.data = new Int32Array(capacity);
  }
  push(value: number): void {
    if (this.length === this.data.length) {
      const grown = new Int32Array(this.data.length * 2);
      grown.set(this.data);
      this.data = grown;
    }
    this.data[this.length++] = value;
  }
}

/** Numbers for pairs of ids, from 0 on. */
export class PairTable {
  readonly left = new Ints(1 << 12);
  readonly right = new Ints(1 << 12);
  /** Open addressing: a pair's number + 1, or 0 where free. */
  #slots = new Int32Array(1 << 14);

  get size(): number {
    return this.left.length;
  }

  /** The pair's number; −1 where it has none. */
  find(left: number, right: number): number {
    return this.#slots[this.#slot(left, right)] - 1;
  }

  /** The pair's number; the next one where it has none. */
  numberOf(left: number, right: number): number {
    const slot = this.#slot(left, right);
    const found = this.#slots[slot] - 1;
    if (found >= 0) return found;
    const number = this.size;
    this.left.push(left);
    this.right.push(right);
    this.#slots[slot] = number + 1;
    if (this.size * 2 > this.#slots.length) this.#grow();
    return number;
  }

  /** Where the pair is, or a free slot. */
  #slot(left: number, right: number): number {
    const slots = this.#slots;
    const lefts = this.left.data;
    const rights = this.right.data;
    const mask = slots.length - 1;
    let h = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
    let slot = (h ^ (h >>> 13)) & mask;
    for (;;) {
      const found = slots[slot] - 1;
      if (found < 0 || (lefts[found] === left && rights[found] === right)) return slot;
      slot = (slot + 1) & mask;
    }
  }

  #grow(): void {
    this.#slots = new Int32Array(this.#slots.length * 2);
    for (let number = 0; number < this.size; number++)
      this.#slots[this.#slot(this.left.data[number], this.right.data[number])] = number + 1;
  }
}
