/** @file Pooling windows, element by element. */
import { contiguousStrides, type Shape } from '../../base/shape.js';
import type { WindowArg } from '../primitives/args.js';
import type { Meanings } from './meaning.js';
import { eachIndex, lowest } from './values.js';

/** Calls `visit` for each element of x under each window: windows row-major, then positions row-major; padding is skipped. */
function eachInWindow(x: Shape, out: Shape, arg: WindowArg, visit: (window: number, position: number, from: number) => void): void {
  const { axes, size, stride, padding } = arg;
  const strides = contiguousStrides(x);
  const places: number[][] = [];
  eachIndex(size, (index) => {
    places.push([...index]);
  });
  eachIndex(out, (index, window) => {
    places.forEach((place, position) => {
      let from = 0;
      for (let d = 0; d < x.length; d++) if (!axes.includes(d)) from += index[d] * strides[d];
      for (let i = 0; i < axes.length; i++) {
        const at = index[axes[i]] * stride[i] + place[i] - padding[i][0];
        if (at < 0 || at >= x[axes[i]]) return;
        from += at * strides[axes[i]];
      }
      visit(window, position, from);
    });
  });
}

export const window: Meanings<'windowMax' | 'windowArgmax' | 'windowSum' | 'windowGather' | 'windowScatter' | 'windowSpread'> = {
  windowMax(out, [x], arg) {
    out.data.fill(lowest(x.dtype));
    eachInWindow(x.shape, out.shape, arg, (window, _, from) => {
      out.data[window] = Math.max(out.data[window], x.data[from]);
    });
  },
  windowArgmax(out, [x], arg) {
    const best = new Int32Array(out.data.length).fill(-1);
    eachInWindow(x.shape, out.shape, arg, (window, position, from) => {
      const old = x.data[best[window]];
      const wins = best[window] < 0 || (!Number.isNaN(old) && (Number.isNaN(x.data[from]) || x.data[from] > old));
      if (!wins) return;
      best[window] = from;
      out.data[window] = position;
    });
  },
  windowSum: (out, [x], arg) =>
    eachInWindow(x.shape, out.shape, arg, (window, _, from) => {
      out.data[window] += x.data[from];
    }),
  windowGather: (out, [x, position], arg) =>
    eachInWindow(x.shape, out.shape, arg, (window, at, from) => {
      if (at === position.data[window]) out.data[window] = x.data[from];
    }),
  windowScatter: (out, [dy, position], arg) =>
    eachInWindow(arg.shape, dy.shape, arg, (window, at, to) => {
      if (at === position.data[window]) out.data[to] += dy.data[window];
    }),
  windowSpread: (out, [dy], arg) =>
    eachInWindow(arg.shape, dy.shape, arg, (window, _, to) => {
      out.data[to] += dy.data[window];
    }),
};
