/** @file Element types: storage, size, kind, NumPy's promotion, and the check of what a user gives as one. */
import { ConfigError } from './errors.js';
import { checkOptionNames } from './option-names.js';

/** Element type of a tensor. `f16` and `bf16` are storage types: arithmetic on them is done in f32. */
export type DType = 'f32' | 'f16' | 'bf16' | 'i32' | 'u32' | 'i8' | 'u8' | 'bool';

export type TypedArray = Float32Array | Int32Array | Uint32Array | Int8Array | Uint8Array | Uint16Array;

interface DTypeInfo {
  readonly bytes: number;
  readonly kind: 'float' | 'int' | 'uint' | 'bool';
  /** Order of promotion inside a kind. */
  readonly rank: number;
  readonly array: new (length: number) => TypedArray;
}

/** One row a dtype. f16 and bf16 are held as raw 16-bit patterns; bool as 0 or 1 in a byte. */
export const dtypes = {
  bool: { bytes: 1, kind: 'bool', rank: 0, array: Uint8Array },
  u8: { bytes: 1, kind: 'uint', rank: 1, array: Uint8Array },
  i8: { bytes: 1, kind: 'int', rank: 1, array: Int8Array },
  u32: { bytes: 4, kind: 'uint', rank: 4, array: Uint32Array },
  i32: { bytes: 4, kind: 'int', rank: 4, array: Int32Array },
  bf16: { bytes: 2, kind: 'float', rank: 5, array: Uint16Array },
  f16: { bytes: 2, kind: 'float', rank: 5, array: Uint16Array },
  f32: { bytes: 4, kind: 'float', rank: 6, array: Float32Array },
} as const satisfies Record<DType, DTypeInfo>;

export const isFloat = (d: DType): boolean => dtypes[d].kind === 'float';
export const isInteger = (d: DType): boolean => dtypes[d].kind === 'int' || dtypes[d].kind === 'uint';
export const isDType = (x: unknown): x is DType => typeof x === 'string' && Object.hasOwn(dtypes, x);

/** A dtype by itself or among options: what every function that makes a tensor takes. */
export type DTypeOption = DType | { readonly dtype?: DType };

/** What Keras, NumPy, PyTorch and Rust call them; the second list has no equal here. */
const sameElsewhere: Readonly<Record<string, DType>> = {
  float32: 'f32',
  float: 'f32',
  single: 'f32',
  float16: 'f16',
  half: 'f16',
  bfloat16: 'bf16',
  int32: 'i32',
  int: 'i32',
  uint32: 'u32',
  int8: 'i8',
  uint8: 'u8',
  byte: 'u8',
  boolean: 'bool',
};
const nearestHere: Readonly<Record<string, DType>> = {
  float64: 'f32',
  double: 'f32',
  f64: 'f32',
  number: 'f32',
  int64: 'i32',
  long: 'i32',
  i64: 'i32',
  int16: 'i32',
  short: 'i32',
  i16: 'i32',
  uint64: 'u32',
  u64: 'u32',
  uint16: 'u32',
  u16: 'u32',
};
const sorted = (text: string): string => [...text].sort().join('');

/** How to write the dtype that was meant, or nothing. */
function dtypeFix(given: unknown): string {
  if (typeof given !== 'string') return '';
  const name = given.toLowerCase().replace(/^.*\./, '');
  if (Object.hasOwn(nearestHere, name)) return ` There is none as ${name} here: the nearest is '${nearestHere[name]}'.`;
  // Equal but for the case or the order of its characters: F32, f23.
  const all: readonly string[] = Object.keys(dtypes);
  const meant = Object.hasOwn(sameElsewhere, name) ? sameElsewhere[name] : all.find((d) => sorted(d) === sorted(name));
  return meant === undefined ? '' : ` Write '${meant}'.`;
}

/** `given` when it is a dtype. Throws ConfigError with those there are and the one that was probably meant. */
export function requireDType(given: unknown, who: string): DType {
  if (isDType(given)) return given;
  const shown = typeof given === 'string' ? `"${given}"` : given === null ? 'null' : `(a value of type ${typeof given})`;
  throw new ConfigError(`${who}: dtype ${shown} is not known. Expected one of ${Object.keys(dtypes).join(', ')}.${dtypeFix(given)}`);
}

/** The dtype in `given`; undefined when left out. Throws ConfigError for another value or another option than dtype. */
export function optionalDType(given: DTypeOption | undefined, who: string): DType | undefined {
  if (typeof given !== 'object' || given === null) return given === undefined ? undefined : requireDType(given, who);
  checkOptionNames(given, { dtype: true }, who);
  return given.dtype === undefined ? undefined : requireDType(given.dtype, who);
}

/** A zeroed array that stores `length` elements of `dtype`. */
export function allocate(dtype: DType, length: number): TypedArray {
  return new dtypes[dtype].array(length);
}

/**
 * The dtype of an operation on `a` and `b`, by NumPy's rules on the dtypes that exist here:
 * bool gives way to everything; an integer gives way to a float; mixed signs of one size widen to i32;
 * f16 with bf16 gives f32; u32 with a signed type gives i32 (there is no i64), so values from 2³¹ on wrap to negative ones.
 */
export function promote(a: DType, b: DType): DType {
  if (a === b) return a;
  const x = dtypes[a];
  const y = dtypes[b];
  if (x.kind === 'bool') return b;
  if (y.kind === 'bool') return a;
  if (x.kind === 'float' || y.kind === 'float') {
    if (x.kind !== 'float') return b;
    if (y.kind !== 'float') return a;
    return x.rank > y.rank ? a : y.rank > x.rank ? b : 'f32';
  }
  if (x.kind === y.kind) return x.rank > y.rank ? a : b;
  const signed = x.kind === 'int' ? a : b;
  const unsigned = x.kind === 'int' ? b : a;
  return dtypes[signed].rank > dtypes[unsigned].rank ? signed : 'i32';
}

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);

/** f32 → bf16 bits, round to nearest even; NaN stays NaN. */
export function toBf16(x: number): number {
  f32[0] = x;
  const b = u32[0];
  if ((b & 0x7fffffff) > 0x7f800000) return (b >>> 16) | 0x40;
  return (b + 0x7fff + ((b >>> 16) & 1)) >>> 16;
}

/** bf16 bits → f32. */
export function fromBf16(bits: number): number {
  u32[0] = bits << 16;
  return f32[0];
}

/** f32 → IEEE half bits, round to nearest even; overflow goes to infinity. */
export function toF16(x: number): number {
  f32[0] = x;
  const b = u32[0];
  const sign = (b >>> 16) & 0x8000;
  const abs = b & 0x7fffffff;
  if (abs > 0x7f800000) return sign | 0x7e00;
  if (abs >= 0x47800000) return sign | 0x7c00;
  if (abs < 0x38800000) {
    // Subnormal half: scale so that one unit is 2^-24, then round half to even.
    const scaled = Math.abs(x) * 2 ** 24;
    const low = Math.floor(scaled);
    const rest = scaled - low;
    return sign | (rest > 0.5 || (rest === 0.5 && low & 1) ? low + 1 : low);
  }
  const rounded = abs + 0xfff + ((abs >>> 13) & 1);
  return sign | ((rounded - 0x38000000) >>> 13);
}

/** IEEE half bits → f32. */
export function fromF16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** What an element of `dtype` holding the storage value `raw` means as a number. */
export function decode(dtype: DType, raw: number): number {
  return dtype === 'bf16' ? fromBf16(raw) : dtype === 'f16' ? fromF16(raw) : raw;
}

/** The storage value for number `x` in `dtype`; integers wrap as C's casts do, bool is x ≠ 0. */
export function encode(dtype: DType, x: number): number {
  switch (dtype) {
    case 'bf16':
      return toBf16(x);
    case 'f16':
      return toF16(x);
    case 'bool':
      return x ? 1 : 0;
    case 'f32':
      return x;
    default:
      return Math.trunc(x);
  }
}

/** A number as text, which tells -0 from 0. */
export const spelled = (value: number): string => (Object.is(value, -0) ? '-0' : String(value));
