/** @file What a primitive means: the interpreter's half of its row, which no device and no page needs. */
import type { DType, TypedArray } from '../../base/dtype.js';
import type { Shape } from '../../base/shape.js';
import type { ArgOf, Op } from '../node.js';

/** A tensor on the host as the interpreter sees it: plain numbers, row-major (f16/bf16 already decoded). */
export interface Value {
  readonly shape: Shape;
  readonly dtype: DType;
  readonly data: Float64Array | TypedArray;
}

/** Writes the result, row-major, into `out` (already zeroed, of the result's dtype's array kind; Float64Array for floats). */
export type Meaning<O extends Op> = (out: Value, inputs: readonly Value[], arg: ArgOf<O>) => void;

/** Those of a family. */
export type Meanings<O extends Op> = { readonly [K in O]: Meaning<K> };
