/**
 * @file What a GGUF header is made of: typed values, little-endian, with 64-bit lengths (ggml's docs/gguf.md), read from a file's
 * beginning within bounds, and written.
 */
import { FormatError, quote } from '../base/errors.js';
import { decodeUtf8, encodeUtf8Into } from './bytes.js';

/** How numbers are stored that JavaScript holds as such. */
export type GgufNumberType = 'u8' | 'i8' | 'u16' | 'i16' | 'u32' | 'i32' | 'f32' | 'f64';
export type GgufLongType = 'u64' | 'i64';
export type GgufNumbers =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigUint64Array
  | BigInt64Array;

export type GgufArray =
  | { readonly type: 'array'; readonly of: GgufNumberType | GgufLongType; readonly value: GgufNumbers }
  | { readonly type: 'array'; readonly of: 'bool'; readonly value: readonly boolean[] }
  | { readonly type: 'array'; readonly of: 'string'; readonly value: readonly string[] }
  | { readonly type: 'array'; readonly of: 'array'; readonly value: readonly GgufArray[] };

/** A value of a GGUF file's metadata with the type it is stored as. */
export type GgufValue =
  | { readonly type: GgufNumberType; readonly value: number }
  | { readonly type: 'u64'; readonly value: bigint }
  | { readonly type: 'i64'; readonly value: bigint }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string }
  | GgufArray;

type ValueType = GgufValue['type'];
/** In the order of their numbers in files. */
const valueTypes: readonly ValueType[] = ['u8', 'i8', 'u16', 'i16', 'u32', 'i32', 'f32', 'bool', 'string', 'array', 'u64', 'i64', 'f64'];

type NumericType = GgufNumberType | GgufLongType;
/** A type's array and its way through a DataView. */
const numeric: Readonly<Record<NumericType, { readonly array: new (buffer: ArrayBuffer) => GgufNumbers; readonly bytes: number }>> = {
  u8: { array: Uint8Array, bytes: 1 },
  i8: { array: Int8Array, bytes: 1 },
  u16: { array: Uint16Array, bytes: 2 },
  i16: { array: Int16Array, bytes: 2 },
  u32: { array: Uint32Array, bytes: 4 },
  i32: { array: Int32Array, bytes: 4 },
  f32: { array: Float32Array, bytes: 4 },
  f64: { array: Float64Array, bytes: 8 },
  u64: { array: BigUint64Array, bytes: 8 },
  i64: { array: BigInt64Array, bytes: 8 },
};

/** The least that a value of a type takes in a file. */
const leastBytes = (type: ValueType): number => (type === 'string' ? 8 : type === 'array' ? 12 : type === 'bool' ? 1 : numeric[type].bytes);

/** A larger header than that of any model (a vocabulary of 262,144 tokens takes 20 MB). */
export const MAX_HEADER = 2 ** 28;
/** Lists of lists: llama.cpp reads none. */
const MAX_DEPTH = 4;
const MAX_LISTS = 100_000;

/** Thrown inside io/ when a header goes on beyond the bytes that were read so far. */
export class MoreBytes extends Error {
  readonly atLeast: number;
  constructor(atLeast: number) {
    super('the header goes on');
    this.atLeast = atLeast;
  }
}

/** Reads a file's beginning. Throws FormatError past the end of the file, MoreBytes past the end of what was read of it. */
export class GgufCursor {
  at = 0;
  readonly where: string;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #fileBytes: number;
  #lists = 0;

  constructor(bytes: Uint8Array, fileBytes: number, where: string) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#fileBytes = fileBytes;
    this.where = where;
  }

  fail(message: string): never {
    throw new FormatError(`${this.where}: ${message}`);
  }

  /** Steps over `bytes` bytes; gives where they begin. */
  #take(bytes: number, what: string): number {
    const at = this.at;
    if (bytes > this.#fileBytes - at) this.fail(`the file is truncated inside ${what}. Expected ${at + bytes} bytes or more.`);
    if (at + bytes > MAX_HEADER) this.fail(`the header is too large. Expected at most ${MAX_HEADER} bytes.`);
    if (at + bytes > this.#bytes.length) throw new MoreBytes(at + bytes);
    this.at = at + bytes;
    return at;
  }

  u32(what: string): number {
    return this.#view.getUint32(this.#take(4, what), true);
  }

  /** A 64-bit count or size. */
  count(what: string): number {
    const at = this.#take(8, what);
    const high = this.#view.getUint32(at + 4, true);
    if (high >= 2 ** 21) this.fail(`${what} is beyond what a file can have (2^53). The file is damaged.`);
    return high * 2 ** 32 + this.#view.getUint32(at, true);
  }

  /** A count of things of at least `least` bytes each, which must be there. */
  countOf(what: string, least: number): number {
    const count = this.count(what);
    if (count * least > this.#fileBytes - this.at)
      this.fail(`${what} is larger than the file: ${count}. The file is truncated or damaged.`);
    return count;
  }

  string(what: string, most = MAX_HEADER): string {
    const length = this.count(what);
    if (length > most) this.fail(`${what} is too long. Expected at most ${most} bytes, received ${length}.`);
    const at = this.#take(length, what);
    const ascii = this.#ascii(at, length);
    if (ascii !== null) return ascii;
    try {
      return decodeUtf8(this.#bytes.subarray(at, at + length));
    } catch (error) {
      throw new FormatError(`${this.where}: ${what} is not UTF-8. The file is damaged.`, { cause: error });
    }
  }

  /** A short text of ASCII alone, as most tokens are: the decoder takes ten times as long. */
  #ascii(at: number, length: number): string | null {
    if (length > 32) return null;
    let text = '';
    for (let i = at; i < at + length; i++) {
      const code = this.#bytes[i];
      if (code > 127) return null;
      text += String.fromCharCode(code);
    }
    return text;
  }

  type(what: string): ValueType {
    const number = this.u32(what);
    if (number >= valueTypes.length) this.fail(`${what} has the unknown type ${number}. Expected 0 to ${valueTypes.length - 1}.`);
    return valueTypes[number];
  }

  value(what: string, type = this.type(what)): GgufValue {
    switch (type) {
      case 'array':
        return this.#array(what, 1);
      case 'string':
        return { type, value: this.string(what) };
      case 'bool':
        return { type, value: this.#bool(what) };
      case 'u64':
        return { type, value: this.#view.getBigUint64(this.#take(8, what), true) };
      case 'i64':
        return { type, value: this.#view.getBigInt64(this.#take(8, what), true) };
      default:
        return { type, value: this.#number(type, what) };
    }
  }

  #number(type: GgufNumberType, what: string): number {
    const view = this.#view;
    const at = this.#take(numeric[type].bytes, what);
    switch (type) {
      case 'u8':
        return view.getUint8(at);
      case 'i8':
        return view.getInt8(at);
      case 'u16':
        return view.getUint16(at, true);
      case 'i16':
        return view.getInt16(at, true);
      case 'u32':
        return view.getUint32(at, true);
      case 'i32':
        return view.getInt32(at, true);
      case 'f32':
        return view.getFloat32(at, true);
      case 'f64':
        return view.getFloat64(at, true);
    }
  }

  #bool(what: string): boolean {
    const value = this.#view.getUint8(this.#take(1, what));
    if (value > 1) this.fail(`${what} holds a bool that is neither 0 nor 1. The file is damaged.`);
    return value === 1;
  }

  #array(what: string, depth: number): GgufArray {
    const of = this.type(what);
    const length = this.countOf(`the length of ${what}`, leastBytes(of));
    if (of === 'string') return { type: 'array', of, value: Array.from({ length }, () => this.string(what)) };
    if (of === 'bool') return { type: 'array', of, value: Array.from({ length }, () => this.#bool(what)) };
    if (of === 'array') {
      this.#lists += length;
      if (depth >= MAX_DEPTH || this.#lists > MAX_LISTS)
        this.fail(`${what} is nested too deeply or too often. Expected at most ${MAX_DEPTH} levels and ${MAX_LISTS} lists.`);
      return { type: 'array', of, value: Array.from({ length }, () => this.#array(what, depth + 1)) };
    }
    const { array, bytes } = numeric[of];
    const at = this.#take(length * bytes, what);
    // A copy: the values lie at any address.
    return { type: 'array', of, value: new array(new Uint8Array(this.#bytes.subarray(at, at + length * bytes)).buffer) };
  }
}

/** Bytes that grow as values are written to them. */
export class GgufWriter {
  #bytes = new Uint8Array(65536);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;

  /** Makes room for `bytes` more; gives where they begin. */
  #grow(bytes: number): number {
    const at = this.#at;
    this.#at += bytes;
    if (this.#at > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#at, 2 * this.#bytes.length));
      larger.set(this.#bytes.subarray(0, at));
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }

  u32(value: number): void {
    const at = this.#grow(4);
    this.#view.setUint32(at, value, true);
  }

  u64(value: number | bigint): void {
    const at = this.#grow(8);
    this.#view.setBigUint64(at, BigInt(value), true);
  }

  string(text: string): void {
    // UTF-16's units take at most three bytes each.
    const lengthAt = this.#grow(8);
    const at = this.#grow(3 * text.length);
    const written = encodeUtf8Into(text, this.#bytes.subarray(at));
    this.#view.setUint32(lengthAt, written, true);
    this.#view.setUint32(lengthAt + 4, 0, true);
    this.#at = at + written;
  }

  raw(bytes: Uint8Array): void {
    const at = this.#grow(bytes.length);
    this.#bytes.set(bytes, at);
  }

  /** A value with its type's number before it. */
  value(value: GgufValue): void {
    this.u32(valueTypes.indexOf(value.type));
    if (value.type === 'array') this.#array(value);
    else if (value.type === 'string') this.string(value.value);
    else if (value.type === 'bool') this.raw(Uint8Array.of(value.value ? 1 : 0));
    else if (value.type === 'u64' || value.type === 'i64') this.u64(BigInt.asUintN(64, value.value));
    else this.#number(value.type, value.value);
  }

  #number(type: GgufNumberType, value: number): void {
    const at = this.#grow(numeric[type].bytes);
    const view = this.#view;
    if (type === 'f32') view.setFloat32(at, value, true);
    else if (type === 'f64') view.setFloat64(at, value, true);
    else if (numeric[type].bytes === 4) view.setInt32(at, value, true);
    else if (numeric[type].bytes === 2) view.setInt16(at, value, true);
    else view.setInt8(at, value);
  }

  #array(array: GgufArray): void {
    this.u32(valueTypes.indexOf(array.of));
    this.u64(array.value.length);
    switch (array.of) {
      case 'string':
        for (const text of array.value) this.string(text);
        break;
      case 'bool':
        this.raw(Uint8Array.from(array.value, Number));
        break;
      case 'array':
        for (const inner of array.value) this.#array(inner);
        break;
      default:
        this.raw(new Uint8Array(array.value.buffer, array.value.byteOffset, array.value.byteLength));
    }
  }

  /** What was written, with zeros up to a multiple of `alignment`. */
  finish(alignment: number): Uint8Array {
    this.#grow((alignment - (this.#at % alignment)) % alignment);
    return this.#bytes.slice(0, this.#at);
  }
}

/** A metadata value as errors show it. */
export const showValue = (value: GgufValue | undefined): string =>
  value === undefined
    ? 'nothing'
    : value.type === 'array'
      ? `a list of ${value.value.length}`
      : quote(typeof value.value === 'bigint' ? String(value.value) : value.value);
