/** @file Rows that read or write at positions given by tensors. Indices outside the range are clamped, but for putRows. */
import { DTypeError, ShapeError } from '../../base/errors.js';
import { type Shape, sameShape, showShape, size } from '../../base/shape.js';
import type { Node } from '../node.js';
import type { Family } from './primitive.js';
import { checkAxes, checkRank } from './values.js';

type IndexingOp = 'take' | 'takeAdd' | 'takeAlong' | 'takeAlongAdd' | 'putRows' | 'dynamicSlice' | 'dynamicUpdateSlice';
const withExtent = (shape: Shape, axis: number, extent: number): number[] => shape.map((d, i) => (i === axis ? extent : d));

function checkIndices(who: string, indices: Node, extent: number): void {
  if (indices.dtype !== 'i32')
    throw new DTypeError(`${who}: indices are not i32. Expected i32, received ${indices.dtype}. Cast them to i32.`);
  if (extent < 1 && size(indices.shape) > 0)
    throw new ShapeError(`${who}: an axis of extent ${extent} has nothing to take. Expected an extent ≥ 1.`);
}

function checkAlong(who: string, x: Shape, indices: Shape, axis: number): void {
  checkAxes(who, [axis], x);
  if (indices.length !== x.length || indices.some((d, i) => i !== axis && d !== x[i]))
    throw new ShapeError(
      `${who}: ${showShape(x)} and indices ${showShape(indices)} differ beside axis ${axis}. Expected equal rank and extents there.`,
    );
}

function checkStarts(who: string, starts: readonly Node[], x: Shape, block: Shape): void {
  checkRank(who, 'the list of starts', starts, x.length);
  checkRank(who, 'the block', block, x.length);
  for (const s of starts)
    if (s.dtype !== 'i32' || s.shape.length > 0)
      throw new DTypeError(`${who}: a start is not an i32 scalar. Expected i32[], received ${s.dtype}${showShape(s.shape)}.`);
  if (block.some((d, i) => d > x[i]))
    throw new ShapeError(`${who}: block ${showShape(block)} does not fit into ${showShape(x)}. Expected no larger extents.`);
}

export const indexing: Family<IndexingOp> = {
  take: {
    infer([x, indices], { axis }) {
      checkAxes('take', [axis], x.shape);
      checkIndices('take', indices, x.shape[axis]);
      return { shape: [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)], dtype: x.dtype };
    },
    grad: (o, dy, { inputs: [x, indices], arg: { axis } }) => [o.takeAdd(dy, indices, axis, x.shape[axis]), null],
  },
  takeAdd: {
    infer([dy, indices], { axis, extent }) {
      checkIndices('takeAdd', indices, extent);
      const rank = indices.shape.length;
      if (!sameShape(dy.shape.slice(axis, axis + rank), indices.shape) || axis < 0)
        throw new ShapeError(
          `takeAdd: ${showShape(dy.shape)} has no axes ${showShape(indices.shape)} from axis ${axis} on. Expected the axes of the indices there.`,
        );
      return { shape: [...dy.shape.slice(0, axis), extent, ...dy.shape.slice(axis + rank)], dtype: dy.dtype };
    },
    grad: (o, dy, { inputs: [, indices], arg: { axis } }) => [o.take(dy, indices, axis), null],
  },
  takeAlong: {
    infer([x, indices], { axis }) {
      checkAlong('takeAlong', x.shape, indices.shape, axis);
      checkIndices('takeAlong', indices, x.shape[axis]);
      return { shape: indices.shape, dtype: x.dtype };
    },
    grad: (o, dy, { inputs: [x, indices], arg: { axis } }) => [o.takeAlongAdd(dy, indices, axis, x.shape[axis]), null],
  },
  takeAlongAdd: {
    infer([dy, indices], { axis, extent }) {
      checkIndices('takeAlongAdd', indices, extent);
      checkAxes('takeAlongAdd', [axis], dy.shape);
      if (!sameShape(dy.shape, indices.shape))
        throw new ShapeError(
          `takeAlongAdd: one index an element is needed. Expected ${showShape(dy.shape)}, received ${showShape(indices.shape)}.`,
        );
      return { shape: withExtent(dy.shape, axis, extent), dtype: dy.dtype };
    },
    grad: (o, dy, { inputs: [, indices], arg: { axis } }) => [o.takeAlong(dy, indices, axis), null],
  },
  putRows: {
    infer([x, rows, indices]) {
      const expected = [indices.shape[0], ...x.shape.slice(1)];
      if (x.shape.length < 1 || indices.shape.length !== 1 || !sameShape(rows.shape, expected))
        throw new ShapeError(
          `putRows: rows and indices do not fit x. Expected x [n, …rest], rows [m, …rest] and indices [m], received ${[x, rows, indices].map((n) => showShape(n.shape)).join(', ')}.`,
        );
      if (rows.dtype !== x.dtype)
        throw new DTypeError(`putRows: dtypes differ. Expected equal dtypes, received ${x.dtype} and ${rows.dtype}. Cast the rows.`);
      if (indices.dtype !== 'i32')
        throw new DTypeError(`putRows: indices are not i32. Expected i32, received ${indices.dtype}. Cast them to i32.`);
      return { shape: x.shape, dtype: x.dtype };
    },
    grad(o, dy, { inputs: [x, rows, indices] }) {
      const count = indices.shape[0];
      if (x.shape[0] === 0) return [dy, o.constant(0, rows), null];
      // A row has a gradient where it is the one that stays: the last of those with its index.
      const own = o.iota([count], 0, 'i32');
      const last = o.putRows(o.full([x.shape[0]], -1, 'i32'), own, indices);
      const inside = o.and(o.le(o.constant(0, indices), indices), o.lt(indices, o.constant(x.shape[0], indices)));
      const stays = o.and(inside, o.eq(o.take(last, indices, 0), own));
      const mask = o.broadcast(o.reshape(stays, [count, ...rows.shape.slice(1).map(() => 1)]), rows.shape);
      return [o.putRows(dy, o.constant(0, rows), indices), o.select(mask, o.take(dy, indices, 0), o.constant(0, rows)), null];
    },
  },
  dynamicSlice: {
    infer([x, ...starts], { size: block }) {
      checkStarts('dynamicSlice', starts, x.shape, block);
      return { shape: block, dtype: x.dtype };
    },
    grad: (o, dy, { inputs: [x, ...starts] }) => [
      o.dynamicUpdateSlice(o.full(x.shape, 0, dy.dtype), dy, starts),
      ...starts.map(() => null),
    ],
  },
  dynamicUpdateSlice: {
    infer([x, update, ...starts]) {
      checkStarts('dynamicUpdateSlice', starts, x.shape, update.shape);
      if (x.dtype !== update.dtype)
        throw new DTypeError(
          `dynamicUpdateSlice: dtypes differ. Expected equal dtypes, received ${x.dtype} and ${update.dtype}. Cast one of them.`,
        );
      return { shape: x.shape, dtype: x.dtype };
    },
    grad: (o, dy, { inputs: [, update, ...starts] }) => [
      o.dynamicUpdateSlice(dy, o.full(update.shape, 0, dy.dtype), starts),
      o.dynamicSlice(dy, starts, update.shape),
      ...starts.map(() => null),
    ],
  },
};
