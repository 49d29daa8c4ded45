/** @file memory: temporaries share one arena by lifetime. */
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
