/** @file What the rows share: rounding to a dtype, dtypes of results, lists of axes and their checks. */
import { allocate, type DType, decode, encode, isFloat } from '../../base/dtype.js';
import { ShapeError } from '../../base/errors.js';
import { type Shape, showShape } from '../../base/shape.js';

/** The number that storing `x` in `dtype` and reading it back gives. */
export function roundTo(dtype: DType, x: number): number {
  switch (dtype) {
    case 'f32':
      return Math.fround(x);
    case 'f16':
    case 'bf16':
      return decode(dtype, encode(dtype, x));
    case 'bool':
      return x !== 0 ? 1 : 0;
    default: {
      const box = allocate(dtype, 1);
      box[0] = x;
      return box[0];
    }
  }
}

/** The dtype of a sum or product of many: floats keep theirs, u32 too, other integers and bool give i32. */
export const accumulated = (d: DType): DType => (isFloat(d) || d === 'u32' ? d : 'i32');

export const range = (n: number, from = 0): number[] => Array.from({ length: n }, (_, i) => from + i);
export const without = (rank: number, axes: readonly number[]): number[] => range(rank).filter((a) => !axes.includes(a));

/** Attributes are canonical: axes count from 0, each named once. Callers resolve negative ones. */
export function checkAxes(who: string, axes: readonly number[], shape: Shape): void {
  for (const axis of axes)
    if (!Number.isInteger(axis) || axis < 0 || axis >= shape.length)
      throw new ShapeError(`${who}: axis ${axis} is out of range for ${showShape(shape)}. Expected whole axes in [0, ${shape.length}).`);
  if (new Set(axes).size !== axes.length)
    throw new ShapeError(`${who}: axes [${axes.join(', ')}] name one axis twice. Expected distinct axes.`);
}

/** Every dimension has its entry, or the message says so. */
export function checkRank(who: string, what: string, list: readonly unknown[], rank: number): void {
  if (list.length !== rank)
    throw new ShapeError(`${who}: ${what} does not fit the rank. Expected ${rank} entries, received ${list.length}.`);
}
