/** @file The rows that move elements and compute nothing. */
import { DTypeError, ShapeError } from '../../base/errors.js';
import { sameShape, showShape, size } from '../../base/shape.js';
import type { PadDim } from './args.js';
import type { Family } from './primitive.js';
import { checkAxes, checkRank } from './values.js';

type MovementOp = 'reshape' | 'transpose' | 'broadcast' | 'slice' | 'pad' | 'concat' | 'flip';

/** Extent of `n` elements after padding; may come out negative, which `pad` refuses. */
const padded = (n: number, [low, high, interior]: PadDim): number => low + high + (n > 0 ? (n - 1) * (interior + 1) + 1 : 0);

export const movement: Family<MovementOp> = {
  reshape: {
    infer([x], { shape }) {
      if (size(shape) !== size(x.shape) || shape.some((d) => !Number.isInteger(d) || d < 0))
        throw new ShapeError(
          `reshape: ${showShape(x.shape)} does not fill ${showShape(shape)}. Expected ${size(x.shape)} elements, received ${size(shape)}.`,
        );
      return { shape, dtype: x.dtype };
    },
    grad: (o, dy, { inputs: [x] }) => [o.reshape(dy, x.shape)],
  },
  transpose: {
    infer([x], { perm }) {
      checkRank('transpose', 'perm', perm, x.shape.length);
      checkAxes('transpose', perm, x.shape);
      return { shape: perm.map((p) => x.shape[p]), dtype: x.dtype };
    },
    grad: (o, dy, { arg: { perm } }) => [
      o.transpose(
        dy,
        perm.map((_, i) => perm.indexOf(i)),
      ),
    ],
  },
  broadcast: {
    infer([x], { shape }) {
      const lead = shape.length - x.shape.length;
      if (lead < 0 || x.shape.some((d, i) => d !== 1 && d !== shape[lead + i]))
        throw new ShapeError(
          `broadcast: ${showShape(x.shape)} does not broadcast to ${showShape(shape)}. Expected equal extents or 1 in each dimension counted from the last.`,
        );
      return { shape, dtype: x.dtype };
    },
    grad: (o, dy, { inputs: [x] }) => [o.sumTo(dy, x.shape)],
  },
  slice: {
    infer([x], { start, end, stride }) {
      for (const [what, list] of Object.entries({ start, end, stride })) checkRank('slice', what, list, x.shape.length);
      x.shape.forEach((d, i) => {
        const whole = [start[i], end[i], stride[i]].every(Number.isInteger);
        if (!whole || start[i] < 0 || end[i] < start[i] || end[i] > d || stride[i] < 1)
          throw new ShapeError(
            `slice: ${start[i]}:${end[i]}:${stride[i]} does not fit axis ${i} of ${showShape(x.shape)}. Expected 0 ≤ start ≤ end ≤ ${d} and stride ≥ 1.`,
          );
      });
      return { shape: start.map((s, i) => Math.ceil((end[i] - s) / stride[i])), dtype: x.dtype };
    },
    grad(o, dy, { inputs: [x], arg: { start, stride }, shape }) {
      const dims = shape.map((n, i): PadDim => {
        const spanned = n > 0 ? (n - 1) * stride[i] + 1 : 0;
        return [start[i], x.shape[i] - start[i] - spanned, stride[i] - 1];
      });
      return [o.pad(dy, dims)];
    },
  },
  pad: {
    infer([x], { dims }) {
      checkRank('pad', 'dims', dims, x.shape.length);
      const shape = x.shape.map((d, i) => padded(d, dims[i]));
      if (shape.some((d) => d < 0) || dims.some((dim) => dim[2] < 0 || !dim.every(Number.isInteger)))
        throw new ShapeError(
          `pad: padding [${dims.map((d) => `[${d}]`).join(', ')}] does not fit ${showShape(x.shape)}. Expected whole numbers, interior ≥ 0 and no extent below 0, received extents ${showShape(shape)}.`,
        );
      return { shape, dtype: x.dtype };
    },
    // Element i went to low + i·(interior + 1): take it back from there; what had been cropped gets zero.
    grad(o, dy, { inputs: [x], arg: { dims } }) {
      const whole = o.pad(
        dy,
        dims.map(([low, high]): PadDim => [Math.max(-low, 0), Math.max(-high, 0), 0]),
      );
      const start = dims.map(([low], i) => Math.min(Math.max(low, 0), whole.shape[i]));
      const end = x.shape.map((d, i) => (d > 0 ? start[i] + (d - 1) * (dims[i][2] + 1) + 1 : start[i]));
      return [
        o.slice(
          whole,
          start,
          end,
          dims.map((dim) => dim[2] + 1),
        ),
      ];
    },
  },
  concat: {
    infer(inputs, { axis }) {
      if (inputs.length === 0) throw new ShapeError('concat: nothing to join. Expected at least one tensor, received none.');
      const [first] = inputs;
      checkAxes('concat', [axis], first.shape);
      for (const x of inputs) {
        if (x.dtype !== first.dtype)
          throw new DTypeError(`concat: dtypes differ. Expected equal dtypes, received ${first.dtype} and ${x.dtype}. Cast one of them.`);
        if (x.shape.length !== first.shape.length || x.shape.some((d, i) => i !== axis && d !== first.shape[i]))
          throw new ShapeError(
            `concat: shapes ${showShape(first.shape)} and ${showShape(x.shape)} differ beside axis ${axis}. Expected equal extents there.`,
          );
      }
      const total = inputs.reduce((n, x) => n + x.shape[axis], 0);
      return { shape: first.shape.map((d, i) => (i === axis ? total : d)), dtype: first.dtype };
    },
    grad(o, dy, { inputs, arg: { axis } }) {
      let from = 0;
      return inputs.map((x) => {
        const start = dy.shape.map((_, i) => (i === axis ? from : 0));
        from += x.shape[axis];
        return o.slice(
          dy,
          start,
          dy.shape.map((d, i) => (i === axis ? from : d)),
        );
      });
    },
  },
  flip: {
    infer([x], { axes }) {
      checkAxes('flip', axes, x.shape);
      return { shape: x.shape, dtype: x.dtype };
    },
    grad: (o, dy, { arg: { axes } }) => [o.flip(dy, axes)],
  },
};

/** Same shape: what a movement without effect leaves. */
export const isFullSlice = (
  shape: readonly number[],
  start: readonly number[],
  end: readonly number[],
  stride: readonly number[],
): boolean => sameShape(shape, end) && start.every((s) => s === 0) && stride.every((s) => s === 1);
