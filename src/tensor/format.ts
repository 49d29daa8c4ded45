/** @file Nested arrays to flat ones and back, and NumPy-like printing. */
import type { DType, TypedArray } from '../base/dtype.js';
import { isFloat } from '../base/dtype.js';
import { ShapeError } from '../base/errors.js';
import type { Shape } from '../base/shape.js';

/** A number, a boolean or arrays of them of equal lengths. */
export type NestedArray = number | boolean | readonly NestedArray[];

/** Row-major `data` as nested arrays; booleans when `dtype` is bool. */
export function nest(data: TypedArray, shape: Shape, dtype: DType): NestedArray {
  let at = 0;
  const build = (axis: number): NestedArray => {
    if (axis === shape.length) {
      const x = data[at++];
      return dtype === 'bool' ? x !== 0 : x;
    }
    return Array.from({ length: shape[axis] }, () => build(axis + 1));
  };
  return build(0);
}

/** Flattens nested arrays; throws ShapeError when they are ragged. */
export function flatten(x: NestedArray): { values: number[]; shape: number[]; isBool: boolean } {
  const shape: number[] = [];
  for (let level: NestedArray = x; Array.isArray(level); level = level[0] as NestedArray) {
    shape.push(level.length);
    if (level.length === 0) break;
  }
  const values: number[] = [];
  let isBool = true;
  const walk = (node: NestedArray, axis: number): void => {
    if (typeof node === 'number' || typeof node === 'boolean') {
      if (axis !== shape.length) ragged();
      if (typeof node === 'number') isBool = false;
      values.push(Number(node));
    } else {
      if (!Array.isArray(node))
        throw new ShapeError(`tensor: expected numbers, booleans or nested arrays of them, received ${typeof node}.`);
      if (axis >= shape.length || node.length !== shape[axis]) ragged();
      for (const child of node) walk(child, axis + 1);
    }
  };
  const ragged = (): never => {
    throw new ShapeError(
      `tensor: the nested array is ragged. Expected every row at one level to have the same length, as in shape [${shape.join(', ')}].`,
    );
  };
  walk(x, 0);
  return { values, shape, isBool: isBool && values.length > 0 };
}

const EDGE = 3;
const THRESHOLD = 1000;

/** The elements as NumPy prints them: aligned columns, long axes shortened to three at each end. */
export function formatTensor(data: ArrayLike<number>, shape: Shape, dtype: DType): string {
  const total = shape.reduce((n, d) => n * d, 1);
  if (total === 0) return '[]';
  const short = total > THRESHOLD;
  const shown: number[] = [];
  const visible = (extent: number): (number | null)[] =>
    short && extent > 2 * EDGE
      ? [...Array.from({ length: EDGE }, (_, i) => i), null, ...Array.from({ length: EDGE }, (_, i) => extent - EDGE + i)]
      : Array.from({ length: extent }, (_, i) => i);
  const collect = (axis: number, base: number): void => {
    if (axis === shape.length) shown.push(data[base]);
    else for (const i of visible(shape[axis])) if (i !== null) collect(axis + 1, base * shape[axis] + i);
  };
  collect(0, 0);
  const texts = shown.map(numberFormat(shown, dtype));
  const width = Math.max(...texts.map((t) => t.length));
  let at = 0;
  const build = (axis: number): string => {
    if (axis === shape.length) return texts[at++].padStart(shape.length === 0 ? 0 : width);
    const parts = visible(shape[axis]).map((i) => (i === null ? '...' : build(axis + 1)));
    const last = axis === shape.length - 1;
    const gap = last ? ' ' : `${'\n'.repeat(shape.length - axis - 1)}${' '.repeat(axis + 1)}`;
    return `[${parts.join(last ? gap : gap)}]`;
  };
  return build(0);
}

function numberFormat(shown: readonly number[], dtype: DType): (x: number) => string {
  if (dtype === 'bool') return (x) => (x ? 'true' : 'false');
  if (!isFloat(dtype)) return String;
  const finite = shown.filter(Number.isFinite);
  const magnitudes = finite.filter((x) => x !== 0).map(Math.abs);
  const largest = Math.max(0, ...magnitudes);
  const smallest = Math.min(...magnitudes, Number.POSITIVE_INFINITY);
  const special = (x: number): string | null => (Number.isNaN(x) ? 'nan' : x === Infinity ? 'inf' : x === -Infinity ? '-inf' : null);
  if (largest >= 1e8 || (magnitudes.length > 0 && (smallest < 1e-4 || (largest / smallest > 1e3 && largest >= 1e6))))
    return (x) => special(x) ?? x.toExponential(4);
  // As many decimals as the longest element needs, at most four.
  const decimals = Math.max(0, ...finite.map((x) => String(Number(x.toFixed(4))).split('.')[1]?.length ?? 0));
  return (x) => special(x) ?? (decimals === 0 ? `${x.toFixed(0)}.` : x.toFixed(decimals));
}
