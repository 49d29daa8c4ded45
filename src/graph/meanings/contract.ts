/** @file dot and conv as the sums that they are. */
import { contiguousStrides, type Shape, size } from '../../base/shape.js';
import type { ConvArg } from '../primitives/args.js';
import { restAxes } from '../primitives/contract.js';
import type { Meanings } from './meaning.js';
import { eachIndex, multiplier, offsets } from './values.js';

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

export const contract: Meanings<'dot' | 'conv'> = {
  dot(out, [a, b], arg) {
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
  conv(out, [x, w], arg) {
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
};
