/** @file Reading and writing at positions given by tensors. Indices outside the range are clamped, but for putRows. */
import { contiguousStrides, type Shape, size } from '../../base/shape.js';
import type { Meanings, Value } from './meaning.js';
import { offsets } from './values.js';

const clamp = (i: number, extent: number): number => Math.min(Math.max(i, 0), extent - 1);

/** Calls `visit` for each element of take's result with its source in x: x [before, extent, after], result [before, i, after]. */
function eachTaken(x: Shape, indices: Value, axis: number, visit: (result: number, source: number) => void): void {
  const before = size(x.slice(0, axis));
  const after = size(x.slice(axis + 1));
  let result = 0;
  for (let b = 0; b < before; b++)
    for (const i of indices.data) {
      const base = (b * x[axis] + clamp(i, x[axis])) * after;
      for (let a = 0; a < after; a++) visit(result++, base + a);
    }
}

function eachTakenAlong(x: Shape, indices: Value, axis: number, visit: (result: number, source: number) => void): void {
  const strides = contiguousStrides(x);
  offsets(
    indices.shape,
    strides.map((s, i) => (i === axis ? 0 : s)),
  ).forEach((base, result) => {
    visit(result, base + clamp(indices.data[result], x[axis]) * strides[axis]);
  });
}

/** Offsets in x of the block, its start clamped so that it fits. */
function blockOffsets(x: Shape, block: Shape, starts: readonly Value[]): Int32Array {
  const strides = contiguousStrides(x);
  const base = strides.reduce((sum, s, i) => sum + s * clamp(starts[i].data[0], x[i] - block[i] + 1), 0);
  return offsets(block, strides, base);
}

type IndexingOp = 'take' | 'takeAdd' | 'takeAlong' | 'takeAlongAdd' | 'putRows' | 'dynamicSlice' | 'dynamicUpdateSlice';

export const indexing: Meanings<IndexingOp> = {
  take: (out, [x, indices], { axis }) =>
    eachTaken(x.shape, indices, axis, (result, source) => {
      out.data[result] = x.data[source];
    }),
  takeAdd: (out, [dy, indices], { axis }) =>
    eachTaken(out.shape, indices, axis, (result, source) => {
      out.data[source] += dy.data[result];
    }),
  takeAlong: (out, [x, indices], { axis }) =>
    eachTakenAlong(x.shape, indices, axis, (result, source) => {
      out.data[result] = x.data[source];
    }),
  takeAlongAdd: (out, [dy, indices], { axis }) =>
    eachTakenAlong(out.shape, indices, axis, (result, source) => {
      out.data[source] += dy.data[result];
    }),
  putRows(out, [x, rows, indices]) {
    out.data.set(x.data);
    const columns = size(x.shape.slice(1));
    indices.data.forEach((row, m) => {
      if (row >= 0 && row < x.shape[0]) out.data.set(rows.data.subarray(m * columns, (m + 1) * columns), row * columns);
    });
  },
  dynamicSlice(out, [x, ...starts]) {
    blockOffsets(x.shape, out.shape, starts).forEach((from, to) => {
      out.data[to] = x.data[from];
    });
  },
  dynamicUpdateSlice(out, [x, update, ...starts]) {
    out.data.set(x.data);
    blockOffsets(x.shape, update.shape, starts).forEach((to, from) => {
      out.data[to] = update.data[from];
    });
  },
};
