/** @file What moves elements and computes nothing. */
import { contiguousStrides } from '../../base/shape.js';
import type { Meanings } from './meaning.js';
import { eachIndex, offsets } from './values.js';

export const movement: Meanings<'reshape' | 'transpose' | 'broadcast' | 'slice' | 'pad' | 'concat' | 'flip'> = {
  reshape: (out, [x]) => out.data.set(x.data),
  transpose(out, [x], { perm }) {
    const strides = contiguousStrides(x.shape);
    offsets(
      out.shape,
      perm.map((p) => strides[p]),
    ).forEach((from, to) => {
      out.data[to] = x.data[from];
    });
  },
  broadcast(out, [x]) {
    const lead = out.shape.length - x.shape.length;
    const strides = contiguousStrides(x.shape);
    offsets(
      out.shape,
      out.shape.map((_, i) => (i < lead || x.shape[i - lead] === 1 ? 0 : strides[i - lead])),
    ).forEach((from, to) => {
      out.data[to] = x.data[from];
    });
  },
  slice(out, [x], { start, stride }) {
    const strides = contiguousStrides(x.shape);
    const base = start.reduce((sum, s, i) => sum + s * strides[i], 0);
    offsets(
      out.shape,
      strides.map((s, i) => s * stride[i]),
      base,
    ).forEach((from, to) => {
      out.data[to] = x.data[from];
    });
  },
  pad(out, [x], { dims, value }) {
    out.data.fill(value);
    const strides = contiguousStrides(out.shape);
    eachIndex(x.shape, (index, flat) => {
      let to = 0;
      for (let d = 0; d < index.length; d++) {
        const at = dims[d][0] + index[d] * (dims[d][2] + 1);
        if (at < 0 || at >= out.shape[d]) return;
        to += at * strides[d];
      }
      out.data[to] = x.data[flat];
    });
  },
  concat(out, inputs, { axis }) {
    const strides = contiguousStrides(out.shape);
    let base = 0;
    for (const x of inputs) {
      offsets(x.shape, strides, base).forEach((to, from) => {
        out.data[to] = x.data[from];
      });
      base += x.shape[axis] * strides[axis];
    }
  },
  flip(out, [x], { axes }) {
    const strides = contiguousStrides(x.shape);
    const base = axes.reduce((sum, a) => sum + (x.shape[a] - 1) * strides[a], 0);
    offsets(
      out.shape,
      strides.map((s, i) => (axes.includes(i) ? -s : s)),
      base,
    ).forEach((from, to) => {
      out.data[to] = x.data[from];
    });
  },
};
