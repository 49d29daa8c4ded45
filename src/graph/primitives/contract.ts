/** @file dot and conv: the two contractions. Their gradients are contractions again. */
import type { DType } from '../../base/dtype.js';
import { DTypeError, ShapeError } from '../../base/errors.js';
import { type Shape, showShape } from '../../base/shape.js';
import type { Node } from '../node.js';
import type { ConvArg, DotArg } from './args.js';
import type { Family } from './primitive.js';
import { accumulated, checkAxes, checkRank, range, without } from './values.js';

function commonDtype(who: string, a: Node, b: Node): DType {
  if (a.dtype !== b.dtype)
    throw new DTypeError(`${who}: operands differ in dtype. Expected equal dtypes, received ${a.dtype} and ${b.dtype}. Cast one of them.`);
  return accumulated(a.dtype);
}

/** Axes of each operand of a dot that are neither batch nor contracted, ascending. */
export const restAxes = (arg: DotArg, side: 0 | 1, rank: number): number[] => without(rank, [...arg.batch[side], ...arg.contract[side]]);

/** The perm that brings axes standing in the order `axes` (a permutation) to 0, 1, 2 … */
const inverse = (axes: readonly number[]): number[] => axes.map((_, i) => axes.indexOf(i));

/** `list` as an axis of `from` ↔ the paired axis of `to`, for the axes of `from` in ascending order. */
const paired = (from: readonly number[], to: readonly number[]): number[] =>
  [...from].sort((x, y) => x - y).map((a) => to[from.indexOf(a)]);

/** Extent of dilated and padded `x` along spatial dimension d (x's spatial axes start at 1). */
function convExtent(n: number, arg: ConvArg, d: number): number {
  return (n - 1) * arg.inputDilation[d] + 1 + arg.padding[d][0] + arg.padding[d][1];
}

function convShape(x: Shape, w: Shape, arg: ConvArg): number[] {
  const d = x.length - 3;
  const got = `received x ${showShape(x)} and w ${showShape(w)}`;
  if (d < 1 || w.length !== d + 3)
    throw new ShapeError(`conv: ranks do not fit. Expected x [n, ...spatial, g, c] and w [...kernel, g, c, o], ${got}.`);
  for (const [what, list] of Object.entries(arg)) checkRank('conv', what, list, d);
  if (x[d + 1] !== w[d] || x[d + 2] !== w[d + 1])
    throw new ShapeError(`conv: groups or channels differ. Expected x's last two extents in w at axes ${d} and ${d + 1}, ${got}.`);
  if ([...arg.stride, ...arg.inputDilation, ...arg.kernelDilation].some((s) => !Number.isInteger(s) || s < 1))
    throw new ShapeError(
      `conv: strides and dilations must be whole numbers ≥ 1. Received stride [${arg.stride}], inputDilation [${arg.inputDilation}], kernelDilation [${arg.kernelDilation}].`,
    );
  const out = range(d).map((i) => {
    const kernel = (w[i] - 1) * arg.kernelDilation[i] + 1;
    const extent = convExtent(x[1 + i], arg, i);
    if (w[i] < 1 || x[1 + i] < 1 || extent < kernel)
      throw new ShapeError(
        `conv: the kernel does not fit along spatial dimension ${i}. Expected a padded extent ≥ ${kernel}, received ${extent} (${got}). Pad x or use a smaller kernel.`,
      );
    return Math.floor((extent - kernel) / arg.stride[i]) + 1;
  });
  return [x[0], ...out, w[d], w[d + 2]];
}

export const contract: Family<'dot' | 'conv'> = {
  dot: {
    infer([a, b], arg) {
      const dtype = commonDtype('dot', a, b);
      checkAxes('dot (first operand)', [...arg.batch[0], ...arg.contract[0]], a.shape);
      checkAxes('dot (second operand)', [...arg.batch[1], ...arg.contract[1]], b.shape);
      for (const [kind, [left, right]] of Object.entries(arg) as [string, DotArg['batch']][]) {
        if (left.length !== right.length || left.some((l, i) => a.shape[l] !== b.shape[right[i]]))
          throw new ShapeError(
            `dot: ${kind} axes [${left}] of ${showShape(a.shape)} and [${right}] of ${showShape(b.shape)} do not pair. Expected equal extents, one to one.`,
          );
      }
      const shape = [
        ...arg.batch[0].map((i) => a.shape[i]),
        ...restAxes(arg, 0, a.shape.length).map((i) => a.shape[i]),
        ...restAxes(arg, 1, b.shape.length).map((i) => b.shape[i]),
      ];
      return { shape, dtype };
    },
    grad(o, dy, { inputs: [a, b], arg }) {
      const nBatch = arg.batch[0].length;
      const aRest = restAxes(arg, 0, a.shape.length);
      const bRest = restAxes(arg, 1, b.shape.length);
      const batch = range(nBatch);
      const aInDy = range(aRest.length, nBatch);
      const bInDy = range(bRest.length, nBatch + aRest.length);
      const da = o.dot(dy, b, { batch: [batch, arg.batch[1]], contract: [bInDy, bRest] });
      const db = o.dot(a, dy, { batch: [arg.batch[0], batch], contract: [aRest, aInDy] });
      return [
        o.transpose(da, inverse([...arg.batch[0], ...aRest, ...paired(arg.contract[1], arg.contract[0])])),
        o.transpose(db, inverse([...arg.batch[1], ...paired(arg.contract[0], arg.contract[1]), ...bRest])),
      ];
    },
  },
  conv: {
    infer([x, w], arg) {
      const dtype = commonDtype('conv', x, w);
      return { shape: convShape(x.shape, w.shape, arg), dtype };
    },
    // out[p] = Σₜ x[(p·stride + t·kernelDilation − low) / inputDilation]·w[t]: solving the index for x's and for w's
    // position gives a conv each, with the roles of the four step sizes exchanged. The high padding follows from the
    // extent that the gradient must have; it is negative where forward ignored a remainder.
    grad(o, dy, { inputs: [x, w], arg }) {
      const d = x.shape.length - 3;
      const axes = range(d);
      const xExtent = axes.map((i) => (x.shape[1 + i] - 1) * arg.inputDilation[i] + 1);
      const yExtent = axes.map((i) => (dy.shape[1 + i] - 1) * arg.stride[i] + 1);
      const wExtent = axes.map((i) => (w.shape[i] - 1) * arg.kernelDilation[i] + 1);

      const flipped = o.transpose(o.flip(w, axes), [...axes, d, d + 2, d + 1]); // [...kernel, g, o, c]
      const dx = o.conv(dy, flipped, {
        stride: arg.inputDilation,
        inputDilation: arg.stride,
        kernelDilation: arg.kernelDilation,
        padding: axes.map((i) => {
          const low = wExtent[i] - 1 - arg.padding[i][0];
          return [low, xExtent[i] + wExtent[i] - 1 - yExtent[i] - low];
        }),
      });

      const xByChannel = o.transpose(x, [d + 2, ...range(d, 1), d + 1, 0]); // [c, ...spatial, g, n]
      const yAsKernel = o.transpose(dy, [...range(d, 1), d + 1, 0, d + 2]); // [...out, g, n, o]
      const dw = o.conv(xByChannel, yAsKernel, {
        stride: arg.kernelDilation,
        inputDilation: arg.inputDilation,
        kernelDilation: arg.stride,
        padding: axes.map((i) => {
          const low = arg.padding[i][0];
          return [low, wExtent[i] + yExtent[i] - 1 - xExtent[i] - low];
        }),
      }); // [c, ...kernel, g, o]
      return [dx, o.transpose(dw, [...range(d, 1), d + 1, 0, d + 2])];
    },
  },
};
