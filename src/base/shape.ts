/** @file Shapes, strides and broadcasting: pure arithmetic on lists of extents. */
import { ShapeError } from './errors.js';

export type Shape = readonly number[];

export const size = (shape: Shape): number => shape.reduce((n, d) => n * d, 1);
export const sameShape = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((d, i) => d === b[i]);
export const showShape = (shape: readonly (number | null)[]): string => `[${shape.map((d) => d ?? '?').join(', ')}]`;

/** Row-major strides in elements. */
export function contiguousStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let n = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = n;
    n *= shape[i];
  }
  return strides;
}

/** Resolves a possibly negative axis; throws ShapeError outside [-rank, rank). */
export function normalizeAxis(axis: number, rank: number, who = 'axis'): number {
  const a = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(axis) || a < 0 || a >= rank)
    throw new ShapeError(`${who}: axis ${axis} is out of range. Expected an integer in [${-rank}, ${rank}).`);
  return a;
}

/** Resolves one axis, several or all (undefined) to a sorted list without repeats. */
export function normalizeAxes(axes: number | readonly number[] | undefined, rank: number, who = 'axis'): number[] {
  if (axes === undefined) return Array.from({ length: rank }, (_, i) => i);
  const list = (typeof axes === 'number' ? [axes] : axes).map((a) => normalizeAxis(a, rank, who));
  if (new Set(list).size !== list.length) throw new ShapeError(`${who}: axes [${String(axes)}] name one axis twice.`);
  return list.sort((a, b) => a - b);
}

/** NumPy broadcasting of two shapes; throws ShapeError naming `who`. */
export function broadcastShapes(a: Shape, b: Shape, who = 'broadcast'): number[] {
  const rank = Math.max(a.length, b.length);
  const out = new Array<number>(rank);
  for (let i = 0; i < rank; i++) {
    const x = a[a.length - rank + i] ?? 1;
    const y = b[b.length - rank + i] ?? 1;
    if (x !== y && x !== 1 && y !== 1)
      throw new ShapeError(
        `${who}: shapes ${showShape(a)} and ${showShape(b)} do not broadcast. Expected equal extents or 1 in each dimension counted from the last.`,
      );
    out[i] = x === 1 ? y : x;
  }
  return out;
}
