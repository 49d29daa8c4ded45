/** @file What reduces axes away. */
import { contiguousStrides } from '../../base/shape.js';
import { without } from '../primitives/values.js';
import type { Meaning, Meanings, Value } from './meaning.js';
import { highest, lowest, multiplier, offsets } from './values.js';

/** Calls `visit` for each result with the offsets of the elements that it reduces. */
function eachGroup(x: Value, axes: readonly number[], visit: (to: number, base: number, group: Int32Array) => void): void {
  const strides = contiguousStrides(x.shape);
  const pick = (list: readonly number[]) =>
    offsets(
      list.map((a) => x.shape[a]),
      list.map((a) => strides[a]),
    );
  const sorted = [...axes].sort((a, b) => a - b);
  const group = pick(sorted);
  pick(without(x.shape.length, axes)).forEach((base, to) => {
    visit(to, base, group);
  });
}

function fold(out: Value, x: Value, axes: readonly number[], start: number, f: (acc: number, x: number) => number): void {
  eachGroup(x, axes, (to, base, group) => {
    let acc = start;
    for (let i = 0; i < group.length; i++) acc = f(acc, x.data[base + group[i]]);
    out.data[to] = acc;
  });
}

/** NaN wins, as it does in NumPy. */
const position =
  (beats: (x: number, best: number) => boolean): Meaning<'argmax' | 'argmin'> =>
  (out, [x], { axis }) => {
    eachGroup(x, [axis], (to, base, group) => {
      let best = 0;
      for (let i = 1; i < group.length; i++) {
        const now = x.data[base + group[i]];
        const old = x.data[base + group[best]];
        if (!Number.isNaN(old) && (Number.isNaN(now) || beats(now, old))) best = i;
      }
      out.data[to] = best;
    });
  };

export const reduce: Meanings<'sum' | 'reduceMax' | 'reduceMin' | 'prod' | 'argmax' | 'argmin'> = {
  sum: (out, [x], { axes }) => fold(out, x, axes, 0, (a, b) => a + b),
  prod: (out, [x], { axes }) => fold(out, x, axes, 1, multiplier(out.dtype)),
  reduceMax: (out, [x], { axes }) => fold(out, x, axes, lowest(x.dtype), Math.max),
  reduceMin: (out, [x], { axes }) => fold(out, x, axes, highest(x.dtype), Math.min),
  argmax: position((x, best) => x > best),
  argmin: position((x, best) => x < best),
};
