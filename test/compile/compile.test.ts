/** @file Programs: what is fused, where buffers live, and that overwriting Variables never shows an old reader the new value. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { gradients } from '../../src/autodiff/vjp.js';
import { compileGraph } from '../../src/compile/compile.js';
import { planArena } from '../../src/compile/memory.js';
import type { Device } from '../../src/device/device.js';
import { ReferenceDevice } from '../../src/device/reference/reference.js';
import { ops as o } from '../../src/graph/builder.js';
import { makeNode, type Node } from '../../src/graph/node.js';
import type { Variable } from '../../src/graph/variable.js';
import { conforms, feed, fill } from '../conformance/harness.js';
import { target } from './target.js';

const labels = (outputs: Node[]) => compileGraph({ outputs, writes: [] }, target).program.calls.map((c) => c.kernel.label);

describe('fusion', () => {
  it('puts bias and activation behind a product, through the reshape of a convolution layer', () => {
    const x = feed('f32', [2, 10, 10, 1, 3]).node;
    const y = o.reshape(
      o.conv(x, feed('f32', [3, 3, 1, 3, 8]).node, {
        stride: [1, 1],
        padding: [
          [0, 0],
          [0, 0],
        ],
        inputDilation: [1, 1],
        kernelDilation: [1, 1],
      }),
      [2, 8, 8, 8],
    );
    expect(labels([o.max(o.add(y, feed('f32', [8]).node), o.full([], 0, 'f32'))])).toHaveLength(1);
  });
  it('makes a maximum and its position in one loop', () => {
    const x = feed('f32', [2, 8, 8, 4]).node;
    const arg = {
      axes: [1, 2],
      size: [2, 2],
      stride: [2, 2],
      padding: [
        [0, 0],
        [0, 0],
      ] as [number, number][],
    };
    expect(labels([o.windowMax(x, arg), o.windowArgmax(x, arg)])).toEqual(['windowMax+windowArgmax']);
  });
  it('makes an attention and what its gradient needs in one pass, and stores nothing of queries × keys', () => {
    const [q, k, v] = [0, 1, 2].map(() => feed('f32', [1, 512, 2, 16]).node);
    const [first, end] = [0, 1].map(() => feed('i32', [1, 512]).node);
    const y = o.attention(q, k, v, first, end, 0.25);
    const { program } = compileGraph({ outputs: [y, ...gradients(y, feed('f32', y.shape).node, [q, k, v])], writes: [] }, target);
    expect(program.calls.map((c) => c.kernel.label).filter((l) => l !== 'slice')).toEqual(['attention', 'attentionGrad']);
    expect(Math.max(...program.buffers.map((b) => b.size))).toBeLessThanOrEqual(3 * 512 * 2 * 16);
  });
  it('lowers what is alike once', () => {
    const layer = (x: Node): Node => o.tanh(o.dot(x, feed('f32', [32, 32]).node, { batch: [[], []], contract: [[1], [0]] }));
    let x = feed('f32', [16, 32]).node;
    for (let i = 0; i < 6; i++) x = layer(x);
    const { program } = compileGraph({ outputs: [x], writes: [] }, target);
    expect(program.calls).toHaveLength(6);
    expect(new Set(program.calls.map((c) => c.kernel)).size).toBe(1);
    // Each reads its own matrix.
    expect(new Set(program.calls.flatMap((c) => c.buffers)).size).toBe(13);
  });
  it('computes an elementwise chain with several results once', () => {
    const x = feed('f32', [64]).node;
    const e = o.exp(x);
    expect(labels([e, o.mul(e, e), o.add(e, x)])).toHaveLength(1);
  });
  it('does not put two users of a value into one kernel where one needs the whole of it first', () => {
    const x = feed('f32', [8, 8]).node;
    const e = o.exp(x);
    expect(labels([o.div(e, o.reshape(o.sum(e, [0]), [1, 8]))]).length).toBeGreaterThan(1);
  });
  it('keeps what a product sees through a reshape, although only a chain reads the value itself', async () => {
    const x = feed('f32', [64, 6]);
    const w = feed('f32', [12, 5]);
    const e = o.exp(o.sub(x.node, o.reshape(o.reduceMax(x.node, [1]), [64, 1])));
    const y = o.reshape(o.div(e, o.reshape(o.sum(e, [1]), [64, 1])), [32, 12]);
    await conforms(new ReferenceDevice(), [y, o.dot(y, w.node, { batch: [[], []], contract: [[1], [0]] })], [x, w]);
  });
  it('makes constants and positions before a product or a sort reads them, results or not', async () => {
    const x = feed('f32', [64, 6]);
    const w = feed('f32', [4, 6]);
    const e = o.exp(o.sub(x.node, o.reshape(o.reduceMax(x.node, [1]), [64, 1])));
    const softmax = o.div(e, o.reshape(o.sum(e, [1]), [64, 1]));
    const row = { batch: [[], []], contract: [[1], [0]] } as const;
    for (const free of [o.full([1, 4], 0.5, 'f32'), o.iota([1, 4], 1, 'f32')]) {
      const y = o.mul(softmax, o.dot(free, w.node, row));
      await conforms(new ReferenceDevice(), [y], [x, w]);
      await conforms(new ReferenceDevice(), [y, free], [x, w]);
    }
    const sorted = o.argsort(o.iota([1, 6], 1, 'f32'), 1, true);
    await conforms(new ReferenceDevice(), [o.mul(softmax, o.cast(sorted, 'f32'))], [x]);
  });
  it('gives what comes of nothing: sums, products and gradients over empty axes', async () => {
    const x = feed('f32', [0, 4]);
    const w = feed('f32', [4, 5]);
    const y = o.tanh(o.dot(x.node, w.node, { batch: [[], []], contract: [[1], [0]] }));
    const gradient = o.dot(x.node, y, { batch: [[], []], contract: [[0], [0]] });
    const none = feed('i32', [0]);
    const scattered = o.takeAdd(y, none.node, 0, 3);
    await conforms(new ReferenceDevice(), [o.sum(o.exp(y), [0]), gradient, scattered, o.prod(o.exp(x.node), [0])], [x, w, none]);
  });
  it('takes the passes of a softmax row by row in one kernel', () => {
    const x = feed('f32', [64, 8]).node;
    const e = o.exp(o.sub(x, o.reshape(o.reduceMax(x, [1]), [64, 1])));
    expect(labels([o.div(e, o.reshape(o.sum(e, [1]), [64, 1]))])).toEqual(['reduceMax+sub+exp+sum+div']);
  });
  it('stores nothing that buffered values give cheaply', () => {
    const x = feed('f32', [64, 8]).node;
    const mean = o.reshape(o.sum(x, [0]), [1, 8]);
    const centred = o.sub(x, mean);
    const { program } = compileGraph(
      { outputs: [o.mul(centred, o.reshape(o.sum(o.mul(centred, centred), [0]), [1, 8]))], writes: [] },
      target,
    );
    expect(program.buffers.filter((b) => b.place.kind === 'arena' && b.size === 512)).toEqual([]);
  });
});

describe('planArena', () => {
  it('never lets two live buffers overlap', () => {
    const interval = fc.record({
      bytes: fc.integer({ min: 0, max: 1000 }),
      from: fc.integer({ min: 0, max: 20 }),
      length: fc.integer({ min: 0, max: 8 }),
    });
    fc.assert(
      fc.property(fc.array(interval, { maxLength: 25 }), (list) => {
        const spans = list.map((s) => ({ bytes: s.bytes, from: s.from, to: s.from + s.length }));
        const { offsets, bytes } = planArena(spans);
        for (let i = 0; i < spans.length; i++) {
          expect(offsets[i] % 64).toBe(0);
          expect(offsets[i] + spans[i].bytes).toBeLessThanOrEqual(bytes);
          for (let j = 0; j < i; j++) {
            const together = spans[i].from <= spans[j].to && spans[j].from <= spans[i].to;
            const apart = offsets[i] + spans[i].bytes <= offsets[j] || offsets[j] + spans[j].bytes <= offsets[i];
            if (together && spans[i].bytes > 0 && spans[j].bytes > 0) expect(apart).toBe(true);
          }
        }
      }),
      { numRuns: 300, seed: 3 },
    );
  });
});

/** Runs a graph that writes Variables; returns outputs and the Variables' new values. */
async function run(
  outputs: Node[],
  writes: { variable: Variable; value: Node }[],
  values: Map<number, Float32Array>,
): Promise<{ outputs: number[][]; after: Map<number, number[]> }> {
  const device: Device = new ReferenceDevice();
  const { program, slots } = compileGraph({ outputs, writes }, device.target);
  const executable = await device.compile(program);
  const state = new Map([...values].map(([id, data]) => [id, device.allocate('f32', data.length, data)]));
  const results = outputs.map((n) =>
    device.allocate(
      n.dtype,
      n.shape.reduce((a, b) => a * b, 1),
    ),
  );
  await device.run(
    executable,
    slots.map((s) => {
      if (s.kind === 'output') return results[s.index];
      const buffer = s.kind === 'variable' ? state.get(s.variable.id) : undefined;
      if (!buffer) throw new Error(s.kind);
      return buffer;
    }),
  );
  const after = new Map<number, number[]>();
  for (const [id, b] of state) after.set(id, [...(await device.read(b))]);
  return { outputs: await Promise.all(results.map(async (r) => [...(await device.read(r))])), after };
}

describe('writes', () => {
  const variable = (id: number, shape: number[]): { v: Variable; node: Node } => {
    const v = { id, name: `v${id}`, shape, dtype: 'f32', version: 0 } as const;
    return { v, node: makeNode('variable', [], { variable: v, version: 0 }, 'f32', shape) };
  };
  const [a, b] = [variable(1, [4]), variable(2, [4])];
  const values = new Map([
    [1, Float32Array.of(1, 2, 3, 4)],
    [2, Float32Array.of(10, 20, 30, 40)],
  ]);

  it('overwrites in place after every other reader', async () => {
    const r = await run([o.sum(a.node, [0])], [{ variable: a.v, value: o.add(a.node, b.node) }], values);
    expect(r.outputs).toEqual([[10]]);
    expect(r.after.get(1)).toEqual([11, 22, 33, 44]);
  });
  it('swaps two Variables', async () => {
    const r = await run(
      [],
      [
        { variable: a.v, value: b.node },
        { variable: b.v, value: a.node },
      ],
      values,
    );
    expect([r.after.get(1), r.after.get(2)]).toEqual([
      [10, 20, 30, 40],
      [1, 2, 3, 4],
    ]);
  });
  it('exchanges computed values without reading a new one', async () => {
    const r = await run(
      [],
      [
        { variable: a.v, value: o.add(b.node, o.full([], 1, 'f32')) },
        { variable: b.v, value: o.mul(a.node, o.full([], 2, 'f32')) },
      ],
      values,
    );
    expect([r.after.get(1), r.after.get(2)]).toEqual([
      [11, 21, 31, 41],
      [2, 4, 6, 8],
    ]);
  });
  it('reads elsewhere in itself: a reversed Variable', async () => {
    const r = await run([], [{ variable: a.v, value: o.flip(a.node, [0]) }], values);
    expect(r.after.get(1)).toEqual([4, 3, 2, 1]);
  });
  it('returns the old value while writing the new one, and gives one value two homes', async () => {
    const next = o.add(a.node, o.full([], 1, 'f32'));
    const r = await run(
      [a.node, next],
      [
        { variable: a.v, value: next },
        { variable: b.v, value: next },
      ],
      values,
    );
    expect(r.outputs).toEqual([
      [1, 2, 3, 4],
      [2, 3, 4, 5],
    ]);
    expect([r.after.get(1), r.after.get(2)]).toEqual([
      [2, 3, 4, 5],
      [2, 3, 4, 5],
    ]);
  });
  it('rotates three Variables of random content', async () => {
    const three = [3, 4, 5].map((id) => variable(id, [8]));
    const data = new Map(three.map((t, i) => [t.v.id, fill('f32', 8, i) as Float32Array]));
    const r = await run(
      [],
      three.map((t, i) => ({ variable: t.v, value: three[(i + 1) % 3].node })),
      data,
    );
    for (const [i, t] of three.entries()) expect(r.after.get(t.v.id)).toEqual([...(data.get(three[(i + 1) % 3].v.id) as Float32Array)]);
  });
});
