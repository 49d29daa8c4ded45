/** @file dot and conv: the two contractions. Their gradients are contractions again. */
import type { DType } from '../../base/dtype.js';
import { DTypeError, ShapeError } from '../../base/errors.js';
import { contiguousStrides, type Shape, showShape, size } from '../../base/shape.js';
import type { Node } from '../node.js';
import type { ConvArg, DotArg } from './args.js';
import type { Family } from './primitive.js';
import { accumulated, checkAxes, checkRank, eachIndex, multiplier, offsets, range, without } from './values.js';

function commonDtype(who: string, a: Node, b: Node): DType {
  if (a.dtype !== b.dtype)
    throw new DTypeError(`${who}: operands differ in dtype. Expected equal dtypes, received ${a.dtype} and ${b.dtype}. Cast one of them.`);
  return accumulated(a.dtype);
}

/** Axes of each operand of a dot that are neither batch nor contracted, ascending. */
const restAxes = (arg: DotArg, side: 0 | 1, rank: number): number[] => without(rank, [...arg.batch[side], ...arg.contract[side]]);

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

/** For each output position and each tap of the kernel, row-major: the offset of x's element, or −1 between or beside elements. */
function convTaps(x: Shape, kernel: Shape, out: Shape, arg: ConvArg): Int32Array {
  const strides = contiguousStrides(x);
  const taps = new Int32Array(size(out) * size(kernel));
  eachIndex([...out, ...kernel], (index, flat) => {
    let offset = 0;
    for (let d = 0; d < x.length; d++) {
      const at = index[d] * arg.stride[d] + index[x.length + d] * arg.kernelDilation[d] - arg.padding[d][0];
      const i = at / arg.inputDilation[d];
      if (!Number.isInteger(i) || i < 0 || i >= x[d]) {
        taps[flat] = -1;
        return;
      }
      offset += i * strides[d];
    }
    taps[flat] = offset;
  });
  return taps;
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
    interpret(out, [a, b], arg) {
      const part = (x: typeof a, axes: readonly number[]) => {
        const strides = contiguousStrides(x.shape);
        return offsets(
          axes.map((i) => x.shape[i]),
          axes.map((i) => strides[i]),
        );
      };
      const [aBatch, bBatch] = [part(a, arg.batch[0]), part(b, arg.batch[1])];
      const [aSum, bSum] = [part(a, arg.contract[0]), part(b, arg.contract[1])];
      const aRest = part(a, restAxes(arg, 0, a.shape.length));
      const bRest = part(b, restAxes(arg, 1, b.shape.length));
      const times = multiplier(out.dtype);
      let to = 0;
      for (let batch = 0; batch < aBatch.length; batch++)
        for (const i of aRest)
          for (const j of bRest) {
            let sum = 0;
            for (let k = 0; k < aSum.length; k++) sum += times(a.data[aBatch[batch] + i + aSum[k]], b.data[bBatch[batch] + j + bSum[k]]);
            out.data[to++] = sum;
          }
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
    interpret(out, [x, w], arg) {
      const d = x.shape.length - 3;
      const [groups, channels, outs] = w.shape.slice(d);
      const spatial = x.shape.slice(1, 1 + d);
      const taps = convTaps(spatial, w.shape.slice(0, d), out.shape.slice(1, 1 + d), arg);
      const nTaps = size(w.shape.slice(0, d));
      const positions = taps.length / nTaps;
      const times = multiplier(out.dtype);
      for (let n = 0; n < x.shape[0]; n++)
        for (let p = 0; p < positions; p++)
          for (let g = 0; g < groups; g++)
            for (let k = 0; k < outs; k++) {
              let sum = 0;
              for (let t = 0; t < nTaps; t++) {
                const tap = taps[p * nTaps + t];
                if (tap < 0) continue;
                const xAt = ((n * size(spatial) + tap) * groups + g) * channels;
                const wAt = (t * groups + g) * channels * outs + k;
                for (let c = 0; c < channels; c++) sum += times(x.data[xAt + c], w.data[wAt + c * outs]);
              }
              out.data[((n * positions + p) * groups + g) * outs + k] = sum;
            }
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
