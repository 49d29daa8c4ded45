/** @file Running sum, product and maximum along an axis, and the order along it. */
import { size } from '../../base/shape.js';
import type { Meanings, Value } from './meaning.js';
import { lowest, multiplier } from './values.js';

function scan(
  out: Value,
  x: Value,
  { axis, reverse, exclusive = false }: { axis: number; reverse: boolean; exclusive?: boolean },
  start: number,
  f: (acc: number, x: number) => number,
): void {
  const n = x.shape[axis];
  const after = size(x.shape.slice(axis + 1));
  const before = size(x.shape.slice(0, axis));
  for (let b = 0; b < before; b++)
    for (let a = 0; a < after; a++) {
      let acc = start;
      for (let i = 0; i < n; i++) {
        const at = (b * n + (reverse ? n - 1 - i : i)) * after + a;
        const next = f(acc, x.data[at]);
        out.data[at] = exclusive ? acc : next;
        acc = next;
      }
    }
}

export const scans: Meanings<'cumsum' | 'cumprod' | 'cummax' | 'argsort'> = {
  cumsum: (out, [x], arg) => scan(out, x, arg, 0, (a, b) => a + b),
  cumprod: (out, [x], arg) => scan(out, x, arg, 1, multiplier(x.dtype)),
  cummax: (out, [x], arg) => scan(out, x, arg, lowest(x.dtype), Math.max),
  argsort(out, [x], { axis, descending }) {
    const n = x.shape[axis];
    const after = size(x.shape.slice(axis + 1));
    const before = size(x.shape.slice(0, axis));
    const order = Array.from({ length: n }, (_, i) => i);
    for (let b = 0; b < before; b++)
      for (let a = 0; a < after; a++) {
        const at = (i: number) => (b * n + i) * after + a;
        // Array.prototype.sort is stable; NaN is the largest of all.
        const compare = (i: number, j: number) => {
          const [p, q] = [x.data[at(i)], x.data[at(j)]];
          return p < q ? -1 : p > q ? 1 : Number(Number.isNaN(p)) - Number(Number.isNaN(q));
        };
        [...order].sort(descending ? (i, j) => compare(j, i) : compare).forEach((from, i) => {
          out.data[at(i)] = from;
        });
      }
  },
};
