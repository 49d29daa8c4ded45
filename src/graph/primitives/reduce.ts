/** @file The rows that reduce axes away. */
import { isFloat } from '../../base/dtype.js';
import { ShapeError } from '../../base/errors.js';
import { type Shape, showShape, size } from '../../base/shape.js';
import type { Builder } from '../builder.js';
import type { Node } from '../node.js';
import type { Family, Primitive, TypeOf } from './primitive.js';
import { accumulated, checkAxes, without } from './values.js';

type ReduceOp = 'sum' | 'reduceMax' | 'reduceMin' | 'prod' | 'argmax' | 'argmin';

function reducedShape(who: string, shape: Shape, axes: readonly number[]): number[] {
  checkAxes(who, axes, shape);
  return without(shape.length, axes).map((a) => shape[a]);
}

function refuseEmpty(who: string, shape: Shape, axes: readonly number[]): void {
  if (axes.some((a) => shape[a] === 0))
    throw new ShapeError(
      `${who}: nothing to choose from in ${showShape(shape)} over axes [${axes.join(', ')}]. Expected extents ≥ 1 there.`,
    );
}

/** A reduced result spread again over the axes it lost. */
function expand(o: Builder, y: Node, shape: Shape, axes: readonly number[]): Node {
  return o.broadcast(
    o.reshape(
      y,
      shape.map((d, i) => (axes.includes(i) ? 1 : d)),
    ),
    shape,
  );
}

/** The gradient is shared equally among the elements that tie. */
const extreme = (op: 'reduceMax' | 'reduceMin'): Primitive<'reduceMax' | 'reduceMin'> => ({
  infer([x], { axes }) {
    const shape = reducedShape(op, x.shape, axes);
    refuseEmpty(op, x.shape, axes);
    return { shape, dtype: x.dtype };
  },
  grad(o, dy, node) {
    const [x] = node.inputs;
    const { axes } = node.arg;
    const ties = o.cast(o.eq(x, expand(o, node, x.shape, axes)), x.dtype);
    return [o.mul(ties, expand(o, o.div(dy, o.sum(ties, axes)), x.shape, axes))];
  },
});

const position = (op: 'argmax' | 'argmin'): Primitive<'argmax' | 'argmin'> => ({
  infer([x], { axis }): TypeOf {
    checkAxes(op, [axis], x.shape);
    refuseEmpty(op, x.shape, [axis]);
    return { shape: reducedShape(op, x.shape, [axis]), dtype: 'i32' };
  },
  grad: null,
});

export const reduce: Family<ReduceOp> = {
  sum: {
    infer: ([x], { axes }) => ({ shape: reducedShape('sum', x.shape, axes), dtype: accumulated(x.dtype) }),
    grad: (o, dy, { inputs: [x], arg: { axes } }) => [expand(o, dy, x.shape, axes)],
  },
  reduceMax: extreme('reduceMax'),
  reduceMin: extreme('reduceMin'),
  prod: {
    infer: ([x], { axes }) => ({ shape: reducedShape('prod', x.shape, axes), dtype: accumulated(x.dtype) }),
    // Product of all others = (product before) × (product after): no division, so zeros are no trouble.
    grad(o, dy, { inputs: [x], arg: { axes } }) {
      if (!isFloat(x.dtype)) return [null];
      const kept = without(x.shape.length, axes);
      const perm = [...kept, ...axes];
      const moved = o.transpose(x, perm);
      const flat = o.reshape(moved, [...kept.map((a) => x.shape[a]), size(axes.map((a) => x.shape[a]))]);
      const others = o.mul(
        o.cumprod(flat, kept.length, { exclusive: true }),
        o.cumprod(flat, kept.length, { exclusive: true, reverse: true }),
      );
      const back = o.transpose(
        o.reshape(others, moved.shape),
        perm.map((_, i) => perm.indexOf(i)),
      );
      return [o.mul(back, expand(o, dy, x.shape, axes))];
    },
  },
  argmax: position('argmax'),
  argmin: position('argmin'),
};
