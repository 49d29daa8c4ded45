/**
 * @file q8_0, ggml's simplest block format: 32 values share one f16 scale and are held as signed bytes. The numbers are those of
 * ggml's quantize_row_q8_0_ref (ggml-quants.c), bit for bit: d = amax / 127 in f32, q = round(x · (1/d)) half away from zero, d stored as f16.
 */
import { toF16 } from '../base/dtype.js';
import { ConfigError } from '../base/errors.js';
import { convertFloats } from './convert-floats.js';

/** Values that share a scale. */
export const Q8_0_BLOCK = 32;
/** A block in a file: the scale, then the values. */
export const Q8_0_BYTES = 2 + Q8_0_BLOCK;

/** Blocks taken apart: value i is scales[⌊i / 32⌋] · quants[i], the scale being f16. */
export interface Q8_0 {
  readonly scales: Uint16Array;
  readonly quants: Int8Array;
}

/**
 * Quantizes values in blocks of 32.
 * @throws ConfigError when the number of values isn't a multiple of 32, or one is NaN, infinite or beyond what an f16 scale reaches (8.3 million).
 */
export function quantizeQ8_0(values: Float32Array, who = 'quantizeQ8_0'): Q8_0 {
  if (values.length % Q8_0_BLOCK !== 0)
    throw new ConfigError(`${who}: blocks hold ${Q8_0_BLOCK} values. Expected a multiple of that, received ${values.length}.`);
  const scales = new Uint16Array(values.length / Q8_0_BLOCK);
  const quants = new Int8Array(values.length);
  const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
  for (let block = 0; block < scales.length; block++) {
    const start = block * Q8_0_BLOCK;
    const end = start + Q8_0_BLOCK;
    // Without the sign, floats are ordered as their bits are, NaN last.
    let largest = 0;
    for (let i = start; i < end; i++) largest = Math.max(largest, bits[i] & 0x7fffffff);
    floatBits[0] = largest;
    const scale = Math.fround(float[0] / 127);
    scales[block] = toF16(scale);
    // As f16 it would be infinite, or is NaN.
    if (!(scale < 65520)) throw new ConfigError(`${who}: q8_0 can't hold ${float[0]}. Expected finite values below 8.3 million. Use f32.`);
    const inverse = Math.fround(1 / scale);
    // Only where everything is 0, or so small that ggml's own division overflows.
    if (inverse === Number.POSITIVE_INFINITY) continue;
    // Half away from zero without a branch that half of the values would take: storing truncates.
    for (let i = start; i < end; i++) quants[i] = Math.fround(values[i] * inverse) + halves[bits[i] >>> 31];
  }
  return { scales, quants };
}

const float = new Float32Array(1);
const floatBits = new Int32Array(float.buffer);
/** ½ with the sign of a number whose sign bit is the index. */
const halves = Float64Array.of(0.5, -0.5);

/** The values of the blocks. */
export function dequantizeQ8_0({ scales, quants }: Q8_0): Float32Array {
  const out = new Float32Array(quants.length);
  const wide = convertFloats(scales, 'f16', 'f32');
  for (let block = 0; block < scales.length; block++) {
    const scale = wide[block];
    const end = (block + 1) * Q8_0_BLOCK;
    for (let i = block * Q8_0_BLOCK; i < end; i++) out[i] = scale * quants[i];
  }
  return out;
}

/** The blocks one after another as they lie in a file. */
export function packQ8_0({ scales, quants }: Q8_0): Uint8Array {
  const out = new Uint8Array(scales.length * Q8_0_BYTES);
  let at = 0;
  for (let block = 0; block < scales.length; block++) {
    out[at++] = scales[block];
    out[at++] = scales[block] >>> 8;
    const end = (block + 1) * Q8_0_BLOCK;
    for (let i = block * Q8_0_BLOCK; i < end; i++) out[at++] = quants[i];
  }
  return out;
}

/** The blocks of a file taken apart; `bytes` is a whole number of them. */
export function unpackQ8_0(bytes: Uint8Array): Q8_0 {
  const scales = new Uint16Array(Math.floor(bytes.length / Q8_0_BYTES));
  const quants = new Int8Array(scales.length * Q8_0_BLOCK);
  let at = 0;
  for (let block = 0; block < scales.length; block++) {
    scales[block] = bytes[at] | (bytes[at + 1] << 8);
    at += 2;
    const end = (block + 1) * Q8_0_BLOCK;
    for (let i = block * Q8_0_BLOCK; i < end; i++) quants[i] = bytes[at++];
  }
  return { scales, quants };
}
