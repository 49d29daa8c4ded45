/** @file Load prologues: no product's decoded operand is in memory, and thin products sum in an order that rows don't change. */
import { describe, expect, it } from 'vitest';
import type { DType } from '../../src/base/dtype.js';
import { compileGraph } from '../../src/compile/compile.js';
import { ops as o } from '../../src/graph/builder.js';
import type { Node } from '../../src/graph/node.js';
import type { TargetInfo } from '../../src/kernel/target.js';
import { devices, type Feed, feed, fill, runOn } from '../conformance/harness.js';
import { target } from './target.js';

const [N, K] = [576, 1536];
const q8 = (): Node => {
  const scale = o.broadcast(o.reshape(feed('f32', [N, K / 32]).node, [N, K / 32, 1]), [N, K / 32, 32]);
  return o.reshape(o.mul(o.cast(feed('i8', [N, K / 32, 32]).node, 'f32'), scale), [N, K]);
};
const forward = (x: Node, w: Node): Node => o.dot(x, w, { batch: [[], []], contract: [[1], [1]] });
const backward = (dy: Node, w: Node): Node => o.dot(dy, w, { batch: [[], []], contract: [[1], [0]] });
/** Values of a Program that are as large as the matrix. */
const wholes = (outputs: Node[], t: TargetInfo = target): number =>
  compileGraph({ outputs, writes: [] }, t).program.buffers.filter((b) => b.place.kind === 'arena' && b.size === N * K).length;

describe('a decoded operand', () => {
  it('is nowhere whole: forward, backward and one row, quantized or cast', () => {
    for (const M of [1, 8, 200]) {
      const w = q8();
      expect(wholes([forward(feed('f32', [M, K]).node, w), backward(feed('f32', [M, N]).node, w)])).toBe(0);
      const half = o.cast(feed('f16', [N, K]).node, 'f32');
      expect(wholes([forward(feed('f32', [M, K]).node, half), backward(feed('f32', [M, N]).node, half)])).toBe(0);
      const narrow = o.cast(feed('f32', [N, K]).node, 'bf16');
      for (const hasBf16Dot of [false, true])
        expect(
          wholes([forward(feed('bf16', [M, K]).node, narrow), backward(feed('bf16', [M, N]).node, narrow)], { ...target, hasBf16Dot }),
        ).toBe(0);
    }
  });
  it('has a buffer where it is wanted elsewhere, or is made of as much as it is', () => {
    const w = q8();
    expect(wholes([forward(feed('f32', [8, K]).node, w), o.sum(w, [0])])).toBe(1);
    const sum = o.add(feed('f32', [N, K]).node, feed('f32', [N, K]).node);
    expect(wholes([forward(feed('f32', [8, K]).node, sum)])).toBe(1);
  });
});

describe.each((await devices()).map((d) => ({ name: d.name, device: d })))('$name', ({ device }) => {
  it.skipIf(device.target.lanes === 1)('sums a row of a thin product alike, whatever rows are beside it', async () => {
    const [columns, length] = [40, 320];
    const x = fill('f32', 32 * length, 1) as Float32Array;
    for (const dtype of ['f32', 'bf16', 'i8'] as DType[]) {
      const data = fill(dtype, columns * length, 2);
      const rows = async (from: number, count: number): Promise<number[]> => {
        const w = feed(dtype, [columns, length], data);
        const a = feed('f32', [count, length], x.slice(from * length, (from + count) * length));
        const matrix = dtype === 'f32' ? w.node : o.mul(o.cast(w.node, 'f32'), o.full([columns, length], 0.125, 'f32'));
        const feeds: Feed[] = [w, a];
        return [...(await runOn(device, [forward(a.node, matrix)], feeds))[0]];
      };
      const all = await rows(0, 32);
      for (const [from, count] of [
        [0, 1],
        [5, 3],
        [7, 8],
        [13, 17],
      ])
        expect(await rows(from, count)).toEqual(all.slice(from * columns, (from + count) * columns));
    }
  });
});
