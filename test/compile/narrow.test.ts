/** @file Only what is read: a convolution before a pool with a remainder is cut, in all three of its products, and nothing else changes. */
import { describe, expect, it } from 'vitest';
import { gradients } from '../../src/autodiff/vjp.js';
import { narrow } from '../../src/compile/narrow.js';
import { simplify } from '../../src/compile/simplify.js';
import { ops as o } from '../../src/graph/builder.js';
import { type Node, topological } from '../../src/graph/node.js';
import { conforms, devices, type Feed, feed } from '../conformance/harness.js';

const all = await devices();

type Make = (dtype: 'f32', shape: number[]) => Node;
function feeder(): { f: Make; feeds: Feed[] } {
  const feeds: Feed[] = [];
  const f: Make = (dtype, shape) => {
    const made = feed(dtype, shape);
    feeds.push(made);
    return made.node;
  };
  return { f, feeds };
}

/** conv → bias → relu → pool, and its gradients. */
function block(f: Make, extent: number, pool: { size: number; stride: number; padding: [number, number] }, padding: [number, number]) {
  const x = f('f32', [2, extent, extent, 3]);
  const w = f('f32', [3, 3, 1, 3, 8]);
  const b = f('f32', [8]);
  const conv = o.conv(o.reshape(x, [2, extent, extent, 1, 3]), w, {
    stride: [1, 1],
    padding: [padding, padding],
    inputDilation: [1, 1],
    kernelDilation: [1, 1],
  });
  const flat = [...conv.shape.slice(0, 3), 8];
  const z = o.add(o.reshape(conv, flat), b);
  const zero = o.full([], 0, 'f32');
  const r = o.select(o.lt(zero, z), z, zero);
  const arg = { axes: [1, 2], size: [pool.size, pool.size], stride: [pool.stride, pool.stride], padding: [pool.padding, pool.padding] };
  const y = o.windowMax(r, arg);
  return { y, z, grads: gradients(y, f('f32', [...y.shape]), [x, w, b]) };
}
const convolutions = (roots: readonly Node[]) =>
  topological(narrow(simplify(roots))).flatMap((n) => (n.op === 'conv' ? [n.shape.slice(1, 3).join('×')] : []));

describe('narrow', () => {
  it('computes 12 of 13 rows and columns where a pool of 2 reads no more', () => {
    const { f } = feeder();
    const { y, grads } = block(f, 15, { size: 2, stride: 2, padding: [0, 0] }, [0, 0]);
    expect(convolutions([y])).toEqual(['12×12']);
    // The filter's gradient sums over 12×12 positions, whose input is 14×14.
    const dw = topological(narrow(simplify([grads[1]]))).filter((n) => n.op === 'conv' && n.shape[1] === 3);
    expect(dw.map((n) => n.inputs[1].shape.slice(0, 2))).toEqual([[12, 12]]);
    expect(dw.map((n) => n.inputs[0].shape.slice(1, 3))).toEqual([[14, 14]]);
  });
  it('computes all where another reader needs all', () => {
    const { f } = feeder();
    const { y, z } = block(f, 15, { size: 2, stride: 2, padding: [0, 0] }, [0, 0]);
    expect(convolutions([y, z])).toEqual(['13×13']);
  });
  it.each(all.map((d) => ({ name: d.name, device: d })))('keeps every value on $name', async ({ device }) => {
    for (const [extent, pool, padding] of [
      [15, { size: 2, stride: 2, padding: [0, 0] }, [0, 0]],
      [12, { size: 3, stride: 2, padding: [1, 0] }, [1, 1]],
      [11, { size: 2, stride: 3, padding: [0, 1] }, [1, 0]],
      [9, { size: 3, stride: 4, padding: [0, 0] }, [0, 0]],
    ] as const) {
      const made = feeder();
      const { y, grads } = block(made.f, extent, { ...pool, padding: [...pool.padding] }, [...padding]);
      await conforms(device, [y, ...grads], made.feeds, undefined, `${extent}`);
    }
  });
  it('leaves graphs without a convolution as they are', () => {
    const { f } = feeder();
    const x = f('f32', [4, 9]);
    const y = o.slice(o.exp(x), [0, 0], [4, 5], [1, 1]);
    expect(narrow([y])).toEqual([y]);
  });
});
