/** @file What the plain meanings share: walking strided arrays, storage ↔ numbers. */
import { allocate, type DType, decode, encode, isFloat, type TypedArray } from '../../base/dtype.js';
import { type Shape, size } from '../../base/shape.js';
import type { Value } from './meaning.js';

/** base + Σ indexᵢ·stridesᵢ for every index of `shape`, row-major: the one loop behind most plain meanings. */
export function offsets(shape: Shape, strides: readonly number[], base = 0): Int32Array {
  const out = new Int32Array(size(shape));
  if (out.length === 0) return out;
  out[0] = base;
  let filled = 1;
  for (let d = shape.length - 1; d >= 0; d--) {
    for (let i = 1; i < shape[d]; i++) for (let j = 0; j < filled; j++) out[i * filled + j] = out[j] + i * strides[d];
    filled *= shape[d];
  }
  return out;
}

/** Calls `visit` with every index of `shape` in row-major order; the array is reused. */
export function eachIndex(shape: Shape, visit: (index: readonly number[], flat: number) => void): void {
  const total = size(shape);
  const index = new Array<number>(shape.length).fill(0);
  for (let flat = 0; flat < total; flat++) {
    visit(index, flat);
    for (let d = shape.length - 1; d >= 0; d--) {
      if (++index[d] < shape[d]) break;
      index[d] = 0;
    }
  }
}

/** A zeroed Value: doubles for float dtypes, else the dtype's own array (which wraps what is stored). */
export function newValue(shape: Shape, dtype: DType): Value {
  return { shape, dtype, data: isFloat(dtype) ? new Float64Array(size(shape)) : allocate(dtype, size(shape)) };
}

/** Storage (or, as a Float64Array, numbers already) → Value. */
export function decodeArray(raw: TypedArray | Float64Array, shape: Shape, dtype: DType): Value {
  const value = newValue(shape, dtype);
  if ((dtype === 'f16' || dtype === 'bf16') && !(raw instanceof Float64Array))
    for (let i = 0; i < raw.length; i++) value.data[i] = decode(dtype, raw[i]);
  else value.data.set(raw);
  return value;
}

/** Value → storage. */
export function encodeArray(value: Value): TypedArray {
  const out = allocate(value.dtype, value.data.length);
  for (let i = 0; i < out.length; i++) out[i] = encode(value.dtype, value.data[i]);
  return out;
}

/** Identity of max (`lowest`) and min (`highest`) on a dtype. */
const integerRanges = { bool: [0, 1], u8: [0, 255], i8: [-128, 127], u32: [0, 2 ** 32 - 1], i32: [-(2 ** 31), 2 ** 31 - 1] } as const;
export const lowest = (d: DType): number => (d === 'f32' || d === 'f16' || d === 'bf16' ? Number.NEGATIVE_INFINITY : integerRanges[d][0]);
export const highest = (d: DType): number => (d === 'f32' || d === 'f16' || d === 'bf16' ? Number.POSITIVE_INFINITY : integerRanges[d][1]);

/** Product in `dtype`: integers wrap at 32 bits, which doubles alone would not. */
export const multiplier = (d: DType): ((a: number, b: number) => number) => (isFloat(d) ? (a, b) => a * b : Math.imul);
