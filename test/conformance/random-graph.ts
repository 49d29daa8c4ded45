/** @file Random graphs of many primitives, drawn from a list of numbers. */
import { gradients } from '../../src/autodiff/vjp.js';
import { isFloat } from '../../src/base/dtype.js';
import { size } from '../../src/base/shape.js';
import { ops as o } from '../../src/graph/builder.js';
import type { Node } from '../../src/graph/node.js';
import { type Feed, feed } from './harness.js';

/** Draws numbers from a list of choices, so that fast-check can shrink a failing graph. */
class Draw {
  #at = 0;
  readonly #list: readonly number[];
  constructor(list: readonly number[]) {
    this.#list = list;
  }
  below(n: number): number {
    const x = this.#list[this.#at++ % this.#list.length];
    return x % n;
  }
  of<T>(xs: readonly T[]): T {
    return xs[this.below(xs.length)];
  }
}

/** One new node from those that exist; bounded functions only, so that nothing overflows. */
function grow(d: Draw, pool: Node[], input: (shape: number[]) => Node): Node {
  const x = d.of(pool);
  const rank = x.shape.length;
  const axis = rank > 0 ? d.below(rank) : 0;
  const same = pool.filter((y) => y.shape.length === rank && y.shape.every((e, i) => e === x.shape[i]));
  const y = d.of(same);
  switch (d.below(rank === 0 ? 6 : 22)) {
    case 0:
      return o.add(x, y);
    case 1:
      return o.mul(o.tanh(x), o.tanh(y));
    case 2:
      return o.sub(x, y);
    case 3:
      return o.select(o.lt(x, y), x, o.neg(y));
    case 4:
      return o.max(o.sigmoid(x), y);
    case 5:
      return o.exp(o.neg(o.mul(o.tanh(x), x)));
    case 6:
      return o.reshape(x, [size(x.shape)]);
    case 7:
      return o.transpose(
        x,
        Array.from({ length: rank }, (_, i) => (i + 1 + axis) % rank),
      );
    case 8: {
      const s = o.mul(o.sum(x, [axis]), o.full([], 1 / Math.max(1, x.shape[axis]), 'f32'));
      return d.below(2)
        ? s
        : o.sub(
            x,
            o.broadcast(
              o.reshape(
                s,
                x.shape.map((e, i) => (i === axis ? 1 : e)),
              ),
              x.shape,
            ),
          );
    }
    case 9:
      return o.reduceMax(x, [axis]);
    case 10:
      return o.slice(
        x,
        x.shape.map((e) => Math.min(1, e - 1)),
        x.shape,
        x.shape.map((_, i) => (i === axis ? 2 : 1)),
      );
    case 11:
      return o.pad(
        x,
        x.shape.map((_, i) => (i === axis ? [1, 2, d.below(2)] : [0, 0, 0]) as [number, number, number]),
        0.5,
      );
    case 12:
      return o.concat([x, y], axis);
    case 13:
      return o.flip(x, [axis]);
    case 14: {
      const k = x.shape[rank - 1];
      return o.tanh(o.dot(x, input([k, 1 + d.below(20)]), { batch: [[], []], contract: [[rank - 1], [0]] }));
    }
    case 15:
      return o.broadcast(o.reshape(x, [1, ...x.shape]), [2, ...x.shape]);
    case 16: {
      if (x.shape[axis] < 2) return o.neg(x);
      const arg = { axes: [axis], size: [2], stride: [1 + d.below(2)], padding: [[d.below(2), 0] as [number, number]] };
      return d.below(2) ? o.windowMax(x, arg) : o.windowSum(x, arg);
    }
    case 17: {
      // A softmax of the last axis: passes that walk the same rows.
      const rows = [...x.shape.slice(0, -1), 1];
      const e = o.exp(o.sub(x, o.reshape(o.reduceMax(x, [rank - 1]), rows)));
      return o.div(e, o.reshape(o.sum(e, [rank - 1]), rows));
    }
    case 18: {
      // An operand that's free to make, and needs a buffer all the same.
      const w = [x.shape[rank - 1], 2];
      const free = d.below(2) ? o.mul(o.iota(w, 0, 'f32'), o.full(w, 0.1, 'f32')) : o.full(w, 0.5, 'f32');
      return o.tanh(o.dot(x, free, { batch: [[], []], contract: [[rank - 1], [0]] }));
    }
    case 19:
      return o.barrier(x, [d.of(pool)]);
    case 20: {
      // Rows of another size, one of them outside.
      const at = o.cast(o.mul(o.iota([3], 0, 'f32'), o.full([], 1.7, 'f32')), 'i32');
      const rows = o.broadcast(
        o.slice(
          x,
          Array(rank).fill(0),
          x.shape.map((e, i) => (i === 0 ? 1 : e)),
        ),
        [3, ...x.shape.slice(1)],
      );
      return o.putRows(x, o.tanh(rows), at);
    }
    default:
      return o.mul(o.cumsum(x, axis, { reverse: d.below(2) === 1 }), o.full([], 0.25, 'f32'));
  }
}

/** A graph drawn from the choices: its outputs, the gradients of the last one, and data. */
export function randomGraph(choices: readonly number[], steps: number): { outputs: Node[]; feeds: Feed[] } {
  const d = new Draw(choices);
  const feeds: Feed[] = [];
  const input = (shape: number[]) => {
    const f = feed('f32', shape);
    feeds.push(f);
    return f.node;
  };
  const pool = [input([3, 4, 5]), input([3, 4, 5]), input([4, 6]), input([7])];
  for (let i = 0; i < steps; i++) {
    const n = grow(d, pool, input);
    if (size(n.shape) > 0 && size(n.shape) < 3000 && n.shape.length < 6) pool.push(n);
  }
  // Some results early in the graph, so that what is fused has other users.
  const outputs = [pool[pool.length - 1], d.of(pool), d.of(pool)].filter((n) => isFloat(n.dtype));
  const last = outputs[0];
  // A result in another shape that a product reads too: the product sees through the reshape.
  const seen = d.of(pool);
  const flat = o.reshape(seen, [1, size(seen.shape)]);
  if (isFloat(seen.dtype)) outputs.push(flat, o.dot(flat, input([size(seen.shape), 3]), { batch: [[], []], contract: [[1], [0]] }));
  const wrt = feeds.map((f) => f.node).slice(0, 3);
  return { outputs: [...outputs, ...gradients(last, o.constant(1, last), wrt)], feeds };
}
