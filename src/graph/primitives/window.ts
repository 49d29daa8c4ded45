/** @file Pooling windows: maximum, its position, sum, and the pairs gather ↔ scatter and sum ↔ spread of adjoints. */
import { DTypeError, ShapeError } from '../../base/errors.js';
import { type Shape, sameShape, showShape } from '../../base/shape.js';
import type { Node } from '../node.js';
import type { WindowArg } from './args.js';
import type { Family } from './primitive.js';
import { checkAxes, checkRank } from './values.js';

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
    grad: (o, dy, { inputs: [x], arg }) => [o.windowScatter(dy, o.windowArgmax(x, arg), arg, x.shape)],
  },
  windowArgmax: {
    infer: ([x], arg) => ({ shape: windowShape('windowArgmax', x.shape, arg), dtype: 'i32' }),
    grad: null,
  },
  windowSum: {
    infer([x], arg) {
      if (x.dtype === 'bool')
        throw new DTypeError('windowSum: undefined on bool. Expected a number dtype, received bool. Cast it to i32 or f32.');
      return { shape: windowShape('windowSum', x.shape, arg), dtype: x.dtype };
    },
    grad: (o, dy, { inputs: [x], arg }) => [o.windowSpread(dy, arg, x.shape)],
  },
  windowGather: {
    infer([x, position], arg) {
      const shape = windowShape('windowGather', x.shape, arg);
      checkPosition('windowGather', position, shape);
      return { shape, dtype: x.dtype };
    },
    grad: (o, dy, { inputs: [x, position], arg }) => [o.windowScatter(dy, position, arg, x.shape), null],
  },
  windowScatter: {
    infer([dy, position], arg) {
      checkWindows('windowScatter', dy, arg);
      checkPosition('windowScatter', position, dy.shape);
      return { shape: arg.shape, dtype: dy.dtype };
    },
    grad: (o, dy, { inputs: [, position], arg }) => [o.windowGather(dy, position, windowsOf(arg)), null],
  },
  windowSpread: {
    infer([dy], arg) {
      checkWindows('windowSpread', dy, arg);
      return { shape: arg.shape, dtype: dy.dtype };
    },
    grad: (o, dy, { arg }) => [o.windowSum(dy, windowsOf(arg))],
  },
};
