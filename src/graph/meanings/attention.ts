/** @file Attention as its formula: a softmax over the visible keys of each query and head. */
import { size } from '../../base/shape.js';
import type { Meanings, Value } from './meaning.js';

/** One query of one head, and the keys that it sees. */
interface Query {
  /** Offsets of its row in q and of its numbers in [b, t, h]. */
  readonly q: number;
  readonly row: number;
  readonly from: number;
  readonly to: number;
  /** Offsets of key j's rows in k and v. */
  key(j: number): number;
  value(j: number): number;
}

/** Calls `visit` for each query of each head. `valueDim`: extent of v's rows. */
function eachQuery(q: Value, k: Value, first: Value, end: Value, valueDim: number, visit: (x: Query) => void): void {
  const [batches, queries, heads, dim] = q.shape;
  const [, keys, groups] = k.shape;
  for (let b = 0; b < batches; b++)
    for (let t = 0; t < queries; t++) {
      const from = Math.max(0, first.data[b * queries + t]);
      const to = Math.min(keys, end.data[b * queries + t]);
      for (let h = 0; h < heads; h++) {
        const g = Math.floor(h / (heads / groups));
        const row = (b * queries + t) * heads + h;
        const at = (j: number): number => (b * keys + j) * groups + g;
        visit({ q: row * dim, row, from, to, key: (j) => at(j) * dim, value: (j) => at(j) * valueDim });
      }
    }
}

function dot(a: Value, i: number, b: Value, j: number, n: number): number {
  let sum = 0;
  for (let d = 0; d < n; d++) sum += a.data[i + d] * b.data[j + d];
  return sum;
}

/** The scores of the visible keys and the logarithm of the sum of their exponentials. */
function scoresOf(q: Value, k: Value, scale: number, x: Query): { scores: number[]; lse: number } {
  const dim = q.shape[3];
  const scores: number[] = [];
  for (let j = x.from; j < x.to; j++) scores.push(dot(q, x.q, k, x.key(j), dim) * scale);
  const top = scores.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const sum = scores.reduce((s, y) => s + Math.exp(y - top), 0);
  return { scores, lse: scores.length === 0 ? Number.NEGATIVE_INFINITY : top + Math.log(sum) };
}

export const attention: Meanings<'attention' | 'attentionLse' | 'attentionGrad'> = {
  attention(out, [q, k, v, first, end], { scale }) {
    const n = v.shape[3];
    eachQuery(q, k, first, end, n, (x) => {
      const { scores, lse } = scoresOf(q, k, scale, x);
      for (const [i, s] of scores.entries()) {
        const p = Math.exp(s - lse);
        for (let e = 0; e < n; e++) out.data[x.row * n + e] += p * v.data[x.value(x.from + i) + e];
      }
    });
  },
  attentionLse: (out, [q, k, first, end], { scale }) =>
    eachQuery(q, k, first, end, 0, (x) => {
      out.data[x.row] = scoresOf(q, k, scale, x).lse;
    }),
  attentionGrad(out, [q, k, v, first, end, y, lse, dy], { scale }) {
    const dim = q.shape[3];
    const n = v.shape[3];
    const dk = size(q.shape);
    const dv = dk + size(k.shape);
    eachQuery(q, k, first, end, n, (x) => {
      const delta = dot(dy, x.row * n, y, x.row * n, n);
      for (let j = x.from; j < x.to; j++) {
        const [key, value] = [x.key(j), x.value(j)];
        const p = Math.exp(dot(q, x.q, k, key, dim) * scale - lse.data[x.row]);
        const ds = p * (dot(dy, x.row * n, v, value, n) - delta) * scale;
        for (let e = 0; e < n; e++) out.data[dv + value + e] += p * dy.data[x.row * n + e];
        for (let d = 0; d < dim; d++) {
          out.data[x.q + d] += ds * k.data[key + d];
          out.data[dk + key + d] += ds * q.data[x.q + d];
        }
      }
    });
  },
};
