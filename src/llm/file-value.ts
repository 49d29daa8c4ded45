/** @file Values of a JSON file from outside and where they lie in it, so that a wrong one is refused with its place. */
import { FormatError, quote } from '../base/errors.js';
import { isRecord } from '../io/bytes.js';

/** Parts of parts of parts: deeper ones are an attack on the stack. */
const MAX_DEPTH = 32;

/** A value, and where it lies. */
export class FileValue {
  readonly value: unknown;
  /** The file and the keys down to here: `tokenizer.json: model.vocab`. */
  readonly place: string;
  readonly depth: number;

  constructor(value: unknown, place: string, depth = 0) {
    if (depth > MAX_DEPTH) throw new FormatError(`${place}: the parts are nested too deeply. Expected at most ${MAX_DEPTH} levels.`);
    this.value = value;
    this.place = place;
    this.depth = depth;
  }

  refuse(expected: string): never {
    throw new FormatError(`${this.place} is malformed. Expected ${expected}, received ${quote(this.value)}.`);
  }

  /** What is under a key of an object; undefined where it has none. */
  at(key: string): FileValue {
    const record = this.record();
    const value = Object.hasOwn(record, key) ? record[key] : undefined;
    return new FileValue(value, `${this.place}${this.depth === 0 ? ': ' : '.'}${key}`, this.depth + 1);
  }
  get isMissing(): boolean {
    return this.value === undefined || this.value === null;
  }

  record(): Record<string, unknown> {
    return isRecord(this.value) ? this.value : this.refuse('an object');
  }
  /** The items of a list, as they are. */
  items(what = 'a list'): readonly unknown[] {
    return Array.isArray(this.value) ? this.value : this.refuse(what);
  }
  list(): FileValue[] {
    return this.items().map((x, i) => new FileValue(x, `${this.place}[${i}]`, this.depth + 1));
  }
  /** Nothing is an empty list. */
  optionalList(): FileValue[] {
    return this.isMissing ? [] : this.list();
  }
  text(): string {
    return typeof this.value === 'string' ? this.value : this.refuse('a text');
  }
  optionalText(): string | null {
    return this.isMissing ? null : this.text();
  }
  /** True or false; nothing is `otherwise`. */
  flag(otherwise: boolean): boolean {
    if (this.isMissing) return otherwise;
    return typeof this.value === 'boolean' ? this.value : this.refuse('true or false');
  }
  /** A whole number in [least, most]. */
  whole(least: number, most: number): number {
    const { value } = this;
    return typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most
      ? value
      : this.refuse(`a whole number from ${least} to ${most}`);
  }
  oneOf<T extends string>(names: readonly T[]): T {
    return names.find((name) => name === this.value) ?? this.refuse(names.map((name) => `"${name}"`).join(', '));
  }
}
