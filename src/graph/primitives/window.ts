/** @file Pooling windows: maximum, its position, sum, and the pairs gather ↔ scatter and sum ↔ spread of adjoints. */
import { DTypeError, ShapeError } from '../../base/errors.js';
import { contiguousStrides, type Shape, sameShape, showShape } from '../../base/shape.js';
import type { Node } from '../node.js';
import type { WindowArg } from './args.js';
import type { Family } from './primitive.js';
import { checkAxes, checkRank, eachIndex, lowest } from './values.js';

type WindowOp = 'windowMax' | 'windowArgmax' | 'windowSum' | 'windowGather' | 'windowScatter' | 'windowSpread';

function windowShape(who: string, x: Shape, { axes, size, stride, padding }: WindowArg): number[] {
  checkAxes(who, axes, x);
  for (const [what, list] of Object.entries({ size, stride, padding })) checkRank(who, what, list, axes.length);
  const out = [...x];
  axes.forEach((axis, i) => {
    const extent = x[axis] + padding[i][0] + padding[i][1];
    if (size[i] < 1 || stride[i] < 1 || extent < size[i])
      throw new ShapeError(
        `${who}: a window of ${size[i]} with stride ${stride[i]} does not fit axis ${axis} of ${showShape(x)}. Expected a padded extent ≥ ${size[i]} and both ≥ 1, received ${extent}. Use padding or a smaller window.`,
      );
    out[axis] = Math.floor((extent - size[i]) / stride[i]) + 1;
  });
  return out;
}

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

function checkPosition(who: string, position: Node, shape: Shape): void {
  if (position.dtype !== 'i32') throw new DTypeError(`${who}: positions are not whole numbers. Expected i32, received ${position.dtype}.`);
  if (!sameShape(position.shape, shape))
    throw new ShapeError(`${who}: one position a window is needed. Expected ${showShape(shape)}, received ${showShape(position.shape)}.`);
}

function checkWindows(who: string, dy: Node, arg: WindowArg & { shape: Shape }): void {
  const expected = windowShape(who, arg.shape, arg);
  if (!sameShape(dy.shape, expected))
    throw new ShapeError(`${who}: one value a window is needed. Expected ${showShape(expected)}, received ${showShape(dy.shape)}.`);
}

/** The windows alone, without the `shape` that scatter and spread carry. */
const windowsOf = ({ axes, size, stride, padding }: WindowArg): WindowArg => ({ axes, size, stride, padding });

export const window: Family<WindowOp> = {
  windowMax: {
    infer: ([x], arg) => ({ shape: windowShape('windowMax', x.shape, arg), dtype: x.dtype }),
    interpret(out, [x], arg) {
      out.data.fill(lowest(x.dtype));
      eachInWindow(x.shape, out.shape, arg, (window, _, from) => {
        out.data[window] = Math.max(out.data[window], x.data[from]);
      });
    },
    grad: (o, dy, { inputs: [x], arg }) => [o.windowScatter(dy, o.windowArgmax(x, arg), arg, x.shape)],
  },
  windowArgmax: {
    infer: ([x], arg) => ({ shape: windowShape('windowArgmax', x.shape, arg), dtype: 'i32' }),
    interpret(out, [x], arg) {
      const best = new Int32Array(out.data.length).fill(-1);
      eachInWindow(x.shape, out.shape, arg, (window, position, from) => {
        const old = x.data[best[window]];
        const wins = best[window] < 0 || (!Number.isNaN(old) && (Number.isNaN(x.data[from]) || x.data[from] > old));
        if (!wins) return;
        best[window] = from;
        out.data[window] = position;
      });
    },
    grad: null,
  },
  windowSum: {
    infer([x], arg) {
      if (x.dtype === 'bool')
        throw new DTypeError('windowSum: undefined on bool. Expected a number dtype, received bool. Cast it to i32 or f32.');
      return { shape: windowShape('windowSum', x.shape, arg), dtype: x.dtype };
    },
    interpret: (out, [x], arg) =>
      eachInWindow(x.shape, out.shape, arg, (window, _, from) => {
        out.data[window] += x.data[from];
      }),
    grad: (o, dy, { inputs: [x], arg }) => [o.windowSpread(dy, arg, x.shape)],
  },
  windowGather: {
    infer([x, position], arg) {
      const shape = windowShape('windowGather', x.shape, arg);
      checkPosition('windowGather', position, shape);
      return { shape, dtype: x.dtype };
    },
    interpret: (out, [x, position], arg) =>
      eachInWindow(x.shape, out.shape, arg, (window, at, from) => {
        if (at === position.data[window]) out.data[window] = x.data[from];
      }),
    grad: (o, dy, { inputs: [x, position], arg }) => [o.windowScatter(dy, position, arg, x.shape), null],
  },
  windowScatter: {
    infer([dy, position], arg) {
      checkWindows('windowScatter', dy, arg);
      checkPosition('windowScatter', position, dy.shape);
      return { shape: arg.shape, dtype: dy.dtype };
    },
    interpret: (out, [dy, position], arg) =>
      eachInWindow(arg.shape, dy.shape, arg, (window, at, to) => {
        if (at === position.data[window]) out.data[to] += dy.data[window];
      }),
    grad: (o, dy, { inputs: [, position], arg }) => [o.windowGather(dy, position, windowsOf(arg)), null],
  },
  windowSpread: {
    infer([dy], arg) {
      checkWindows('windowSpread', dy, arg);
      return { shape: arg.shape, dtype: dy.dtype };
    },
    interpret: (out, [dy], arg) =>
      eachInWindow(arg.shape, dy.shape, arg, (window, _, to) => {
        out.data[to] += dy.data[window];
      }),
    grad: (o, dy, { arg }) => [o.windowSum(dy, windowsOf(arg))],
  },
};
