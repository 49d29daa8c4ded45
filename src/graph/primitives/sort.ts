/** @file argsort; sort and top-k are takeAlong of its positions. */
import { size } from '../../base/shape.js';
import type { Family } from './primitive.js';
import { checkAxes } from './values.js';

export const sort: Family<'argsort'> = {
  argsort: {
    infer([x], { axis }) {
      checkAxes('argsort', [axis], x.shape);
      return { shape: x.shape, dtype: 'i32' };
    },
    interpret(out, [x], { axis, descending }) {
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
    grad: null,
  },
};
