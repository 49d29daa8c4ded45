/**
 * @file Whole arrays of f32, f16 and bf16 turned into one another by their bits, rounding to nearest even as base/dtype.ts does element
 * by element. f32 → f16 follows Fabian Giesen's float_to_half_fast3_rtne: a subnormal half is what adding ½ leaves in the low bits.
 */
import { allocate, type DType, dtypes, fromF16, type TypedArray, toBf16, toF16 } from '../base/dtype.js';
import { ConfigError } from '../base/errors.js';

export type FloatDType = 'f32' | 'f16' | 'bf16';
export const isFloatDType = (dtype: DType): dtype is FloatDType => dtypes[dtype].kind === 'float';

/** Signed views: their elements stay small integers in the engine, whatever the sign bit. */
const bitsOf = (data: TypedArray): Int32Array => new Int32Array(data.buffer, data.byteOffset, data.length);

const scratch = new Float32Array(1);
const scratchBits = new Int32Array(scratch.buffer);
/** The bits of ½ as f32. */
const HALF = 0x3f000000;

function f32ToBf16(data: TypedArray, out: TypedArray): void {
  const from = bitsOf(data);
  for (let i = 0; i < from.length; i++) {
    const b = from[i];
    out[i] = (b & 0x7fffffff) > 0x7f800000 ? (b >>> 16) | 0x40 : (b + 0x7fff + ((b >>> 16) & 1)) >>> 16;
  }
}

function f32ToF16(data: TypedArray, out: TypedArray): void {
  const from = bitsOf(data);
  for (let i = 0; i < from.length; i++) {
    const b = from[i];
    const sign = (b >>> 16) & 0x8000;
    const abs = b & 0x7fffffff;
    if (abs < 0x38800000) {
      scratchBits[0] = abs;
      scratch[0] = scratch[0] + 0.5;
      out[i] = sign | (scratchBits[0] - HALF);
    } else if (abs < 0x47800000) out[i] = sign | ((abs + 0xfff + ((abs >>> 13) & 1) - 0x38000000) >>> 13);
    else out[i] = sign | (abs > 0x7f800000 ? 0x7e00 : 0x7c00);
  }
}

function bf16ToF32(data: TypedArray, out: TypedArray): void {
  const to = bitsOf(out);
  for (let i = 0; i < data.length; i++) to[i] = data[i] << 16;
}

let f16Bits: Int32Array | undefined;
/** The f32 bits of every half. */
function f16Table(): Int32Array {
  if (!f16Bits) {
    f16Bits = new Int32Array(65536);
    const values = new Float32Array(f16Bits.buffer);
    for (let i = 0; i < 65536; i++) values[i] = fromF16(i);
  }
  return f16Bits;
}

function f16ToF32(data: TypedArray, out: TypedArray): void {
  const to = bitsOf(out);
  const table = f16Table();
  for (let i = 0; i < data.length; i++) to[i] = table[data[i]];
}

/** Between the short formats, each of whose values is an f32. */
const throughF32 = (down: (x: number) => number, values: (bits: number) => number): Uint16Array =>
  Uint16Array.from({ length: 65536 }, (_, i) => down(values(i)));
let halfToBrain: Uint16Array | undefined;
let brainToHalf: Uint16Array | undefined;
const brainValue = (bits: number): number => {
  scratchBits[0] = bits << 16;
  return scratch[0];
};

function f16ToBf16(data: TypedArray, out: TypedArray): void {
  halfToBrain ??= throughF32(toBf16, fromF16);
  for (let i = 0; i < data.length; i++) out[i] = halfToBrain[data[i]];
}

function bf16ToF16(data: TypedArray, out: TypedArray): void {
  brainToHalf ??= throughF32(toF16, brainValue);
  for (let i = 0; i < data.length; i++) out[i] = brainToHalf[data[i]];
}

const table: Readonly<Record<FloatDType, Readonly<Partial<Record<FloatDType, (data: TypedArray, out: TypedArray) => void>>>>> = {
  f32: { f16: f32ToF16, bf16: f32ToBf16 },
  f16: { f32: f16ToF32, bf16: f16ToBf16 },
  bf16: { f32: bf16ToF32, f16: bf16ToF16 },
};

/**
 * The values of `data`, stored as `from`, in the storage form of `to`; the array itself when the two are one. Too large ones become ±∞.
 * @throws ConfigError when `data` isn't the array that holds `from`.
 */
export function convertFloats(data: TypedArray, from: FloatDType, to: FloatDType): TypedArray {
  if (!(data instanceof dtypes[from].array))
    throw new ConfigError(`convertFloats: ${from} is held in a ${dtypes[from].array.name}, received a ${data.constructor.name}.`);
  const convert = table[from][to];
  if (!convert) return data;
  const out = allocate(to, data.length);
  convert(data, out);
  return out;
}

/** Elements that are converted at once: what a whole matrix needs beside itself is this much. A multiple of every block. */
const PIECE = 2 ** 20;

/** `convertFloats` piece by piece, for writing; other dtypes than floats come as they are. */
export function* convertedPieces(data: TypedArray, from: DType, to: DType): Generator<TypedArray> {
  if (from === to || !isFloatDType(from) || !isFloatDType(to)) yield data;
  else for (let at = 0; at < data.length; at += PIECE) yield convertFloats(data.subarray(at, at + PIECE), from, to);
}
