/**
 * @file NF4, QLoRA's 4-bit format (Dettmers et al. 2023): blocks of 64 values share their largest magnitude as scale, each value over it is
 * the nearest of 16 quantiles of the normal distribution, two to a byte, the first in the high half. Scales may be quantized again, as
 * bitsandbytes does: less their mean, 8 bits a scale in blocks of 256, on a table whose steps grow with the value (Dettmers 2015).
 */
import { ConfigError } from '../base/errors.js';

/** The values of the 16 codes. */
export const NF4_TABLE: Float32Array = Float32Array.of(
  ...[-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334],
  ...[-0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224],
  ...[0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1],
);
/** Values that share a scale. */
export const NF4_BLOCK = 64;
/** Scales that share a scale, where they are quantized again. */
export const SCALE_BLOCK = 256;
/** The code of 0. */
const ZERO = NF4_TABLE.indexOf(0);

export interface Nf4 {
  /** ⌈values / 2⌉ bytes, filled up to whole blocks. */
  readonly codes: Uint8Array;
  /** One a block. */
  readonly scales: Float32Array;
}

/**
 * Between neighbours of an ascending table: the largest f32 whose distance to the lower one isn't greater, distances being rounded to f32 as
 * a search for the smallest of them rounds: ties go to the lower code.
 */
function borders(table: Float32Array): Float32Array {
  return Float32Array.from({ length: table.length - 1 }, (_, i) => {
    const [low, high] = [table[i], table[i + 1]];
    const isLower = (x: number): boolean => Math.fround(x - low) <= Math.fround(high - x);
    let at = Math.fround((low + high) / 2);
    while (!isLower(at)) at = nextFloat(at, -1);
    while (isLower(nextFloat(at, 1))) at = nextFloat(at, 1);
    return at;
  });
}
const scratch = new Float32Array(1);
const scratchBits = new Int32Array(scratch.buffer);
/** The f32 above or below. */
function nextFloat(x: number, direction: 1 | -1): number {
  if (x === 0) return direction * 2 ** -149;
  scratch[0] = x;
  scratchBits[0] += x > 0 ? direction : -direction;
  return scratch[0];
}

/** For every 128th of [−1, 1]: the code at its beginning, and the only border that it may hold. */
const CELLS = 128;
let search: { readonly first: Uint8Array; readonly border: Float32Array } | undefined;
function searchTable(): NonNullable<typeof search> {
  if (!search) {
    const all = borders(NF4_TABLE);
    const first = new Uint8Array(CELLS + 1);
    const border = new Float32Array(CELLS + 1).fill(Number.POSITIVE_INFINITY);
    for (let cell = 0; cell <= CELLS; cell++) {
      const start = (2 * cell) / CELLS - 1;
      first[cell] = all.findIndex((b) => start <= b);
      if (start > all[all.length - 1]) first[cell] = NF4_TABLE.length - 1;
      else border[cell] = all[first[cell]];
    }
    search = { first, border };
  }
  return search;
}

/**
 * Quantizes values in blocks of 64; a last block that isn't full is filled up with zeros.
 * @throws ConfigError when a value is NaN or infinite.
 */
export function quantizeNf4(values: Float32Array, who = 'quantizeNf4'): Nf4 {
  const { first, border } = searchTable();
  const blocks = Math.ceil(values.length / NF4_BLOCK);
  const codes = new Uint8Array((blocks * NF4_BLOCK) / 2);
  const scales = new Float32Array(blocks);
  const half = CELLS / 2;
  const codeOf = (x: number): number => {
    const cell = ((x + 1) * half) | 0;
    return x > border[cell] ? first[cell] + 1 : first[cell];
  };
  for (let block = 0; block < blocks; block++) {
    const start = block * NF4_BLOCK;
    const end = Math.min(start + NF4_BLOCK, values.length);
    let most = 0;
    for (let i = start; i < end; i++) {
      const abs = Math.abs(values[i]);
      // A NaN stays.
      if (abs > most || Number.isNaN(abs)) most = abs;
    }
    if (!(most < Number.POSITIVE_INFINITY))
      throw new ConfigError(`${who}: a value is ${most}. Expected finite numbers. The weights are damaged.`);
    scales[block] = most;
    if (most === 0) {
      codes.fill((ZERO << 4) | ZERO, start / 2, start / 2 + NF4_BLOCK / 2);
      continue;
    }
    let i = start;
    for (; i + 1 < end; i += 2) codes[i / 2] = (codeOf(Math.fround(values[i] / most)) << 4) | codeOf(Math.fround(values[i + 1] / most));
    if (i < end) codes[i++ / 2] = (codeOf(Math.fround(values[end - 1] / most)) << 4) | ZERO;
    for (i = Math.ceil(end / 2) * 2; i < start + NF4_BLOCK; i += 2) codes[i / 2] = (ZERO << 4) | ZERO;
  }
  return { codes, scales };
}

/** The first `length` values of the blocks. */
export function dequantizeNf4({ codes, scales }: Nf4, length: number): Float32Array {
  const out = new Float32Array(length);
  for (let i = 0; i < length; i++) {
    const byte = codes[i >> 1];
    out[i] = NF4_TABLE[(i & 1) === 0 ? byte >> 4 : byte & 15] * scales[(i / NF4_BLOCK) | 0];
  }
  return out;
}

let dynamic: Float32Array | undefined;
/**
 * bitsandbytes's signed dynamic map, 256 values in ascending order: for each of 7 powers of ten, ± the centres of equal parts of [0.1, 1],
 * twice as many parts a power more; 0 and 1.
 */
export function dynamicTable(): Float32Array {
  if (!dynamic) {
    const values = [0, 1];
    for (let e = 0; e < 7; e++) {
      const parts = 2 ** e;
      for (let k = 0; k < parts; k++) {
        const centre = (0.1 + (0.9 * (k + 0.5)) / parts) * 10 ** (e - 6);
        values.push(centre, -centre);
      }
    }
    dynamic = Float32Array.from(values).sort();
  }
  return dynamic;
}

/** Scales quantized again: scale i is table[codes[i]] · scales[⌊i / 256⌋] + offset. */
export interface QuantizedScales {
  readonly codes: Uint8Array;
  readonly scales: Float32Array;
  readonly offset: number;
}

let dynamicBorders: Float32Array | undefined;
/** Quantizes the scales of NF4 blocks to 8 bits. */
export function quantizeScales(values: Float32Array): QuantizedScales {
  dynamicBorders ??= borders(dynamicTable());
  const edges = dynamicBorders;
  const blocks = Math.ceil(values.length / SCALE_BLOCK);
  const codes = new Uint8Array(values.length);
  const scales = new Float32Array(blocks);
  const offset = Math.fround(values.reduce((sum, v) => sum + v, 0) / Math.max(1, values.length));
  for (let block = 0; block < blocks; block++) {
    const start = block * SCALE_BLOCK;
    const end = Math.min(start + SCALE_BLOCK, values.length);
    let most = 0;
    for (let i = start; i < end; i++) most = Math.max(most, Math.abs(Math.fround(values[i] - offset)));
    scales[block] = most;
    for (let i = start; i < end; i++) {
      const x = most === 0 ? 0 : Math.fround(Math.fround(values[i] - offset) / most);
      // The first border that isn't passed.
      let [low, high] = [0, edges.length];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (x > edges[middle]) low = middle + 1;
        else high = middle;
      }
      codes[i] = low;
    }
  }
  return { codes, scales, offset };
}

/** The scales again. */
export function dequantizeScales({ codes, scales, offset }: QuantizedScales): Float32Array {
  const table = dynamicTable();
  return Float32Array.from(codes, (code, i) => Math.fround(Math.fround(table[code] * scales[(i / SCALE_BLOCK) | 0]) + offset));
}
