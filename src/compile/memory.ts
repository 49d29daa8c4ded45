/**
 * @file memory: the order of kernels and where every buffer lives. Temporaries share one arena by lifetime; a
 * Variable's new value is written straight over the old one where nobody still needs it.
 */
import { dtypes } from '../base/dtype.js';

export interface Interval {
  readonly bytes: number;
  /** First and last call that touches it. */
  readonly from: number;
  readonly to: number;
}

const align = (n: number) => Math.ceil(n / 64) * 64;

/** Offsets for intervals so that those alive together do not overlap: largest first, each at the lowest gap that fits. */
export function planArena(intervals: readonly Interval[]): { offsets: number[]; bytes: number } {
  const order = intervals.map((_, i) => i).sort((a, b) => intervals[b].bytes - intervals[a].bytes || intervals[a].from - intervals[b].from);
  const offsets = new Array<number>(intervals.length).fill(0);
  const placed: number[] = [];
  let total = 0;
  for (const i of order) {
    const a = intervals[i];
    const busy = placed
      .filter((j) => intervals[j].from <= a.to && a.from <= intervals[j].to)
      .map((j) => ({ from: offsets[j], to: offsets[j] + align(intervals[j].bytes) }))
      .sort((x, y) => x.from - y.from);
    let at = 0;
    for (const b of busy) {
      if (b.from - at >= align(a.bytes)) break;
      at = Math.max(at, b.to);
    }
    offsets[i] = at;
    placed.push(i);
    total = Math.max(total, at + align(a.bytes));
  }
  return { offsets, bytes: total };
}

export const byteLength = (dtype: keyof typeof dtypes, elements: number): number => dtypes[dtype].bytes * elements;

/**
 * Orders items so that each comes after those in `before(i)`, staying close to the given order.
 * Returns null when the constraints run in a circle.
 */
export function orderBy(count: number, before: readonly ReadonlySet<number>[]): number[] | null {
  const out: number[] = [];
  const state = new Uint8Array(count);
  const visit = (root: number): boolean => {
    const stack: { i: number; rest: number[] }[] = [{ i: root, rest: [...before[root]] }];
    state[root] = 1;
    while (stack.length > 0) {
      const top = stack[stack.length - 1];
      const next = top.rest.pop();
      if (next === undefined) {
        state[top.i] = 2;
        out.push(top.i);
        stack.pop();
      } else if (state[next] === 1) return false;
      else if (state[next] === 0) {
        state[next] = 1;
        stack.push({ i: next, rest: [...before[next]] });
      }
    }
    return true;
  };
  for (let i = 0; i < count; i++) if (state[i] === 0 && !visit(i)) return null;
  return out;
}
