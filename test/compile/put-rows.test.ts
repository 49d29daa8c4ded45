/** @file Rows put into a Variable: in place, old readers first and new ones after, a copy only where it must be; values as the oracle's. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileGraph } from '../../src/compile/compile.js';
import type { Device } from '../../src/device/device.js';
import { ReferenceDevice } from '../../src/device/reference/reference.js';
import { setDevice } from '../../src/device/registry.js';
import { ops as o } from '../../src/graph/builder.js';
import { interpret } from '../../src/graph/interpret.js';
import { makeNode, type Node } from '../../src/graph/node.js';
import type { Variable } from '../../src/graph/variable.js';
import { kernelIdentity } from '../../src/kernel/print.js';
import { verifyProgram } from '../../src/kernel/verify.js';
import { compileStep, putRows, reshape, sliceUpdate, sum, tensor, variable } from '../../src/tensor/index.js';
import { devices, expectClose, feed, fill } from '../conformance/harness.js';

const target = new ReferenceDevice().target;

const held = (id: number, shape: number[]): { v: Variable; node: Node } => {
  const v = { id, name: `v${id}`, shape, dtype: 'f32', version: 0 } as const;
  return { v, node: makeNode('variable', [], { variable: v, version: 0 }, 'f32', shape) };
};
interface Graph {
  outputs: Node[];
  writes: { variable: Variable; value: Node }[];
}
const programOf = (g: Graph) => {
  const { program } = compileGraph(g, target);
  verifyProgram(program);
  return program;
};
const labels = (g: Graph): string[] => programOf(g).calls.map((c) => c.kernel.label);

/** Runs the graph on the device and by the oracle: outputs and new values of the Variables. */
async function compare(device: Device, g: Graph, values: ReadonlyMap<number, Float32Array>): Promise<void> {
  const { program, slots } = compileGraph(g, device.target);
  verifyProgram(program);
  const executable = await device.compile(program);
  const state = new Map([...values].map(([id, data]) => [id, device.allocate('f32', data.length, data)]));
  const size = (n: Node) => n.shape.reduce((a, b) => a * b, 1);
  const results = g.outputs.map((n) => device.allocate(n.dtype, size(n)));
  const externals = slots.map((s) => {
    if (s.kind === 'output') return results[s.index];
    if (s.kind === 'buffer') return device.wrap(s.node.dtype, s.node.arg.data);
    const buffer = s.kind === 'variable' ? state.get(s.variable.id) : undefined;
    if (!buffer) throw new Error(s.kind);
    return buffer;
  });
  await device.run(executable, externals);
  const roots = [...g.outputs, ...g.writes.map((w) => w.value)];
  const wanted = interpret(roots, { variables: (v) => values.get(v.id) as Float32Array });
  for (const [i, n] of roots.entries()) {
    const buffer = i < results.length ? results[i] : state.get(g.writes[i - results.length].variable.id);
    if (!buffer) throw new Error('a write to a Variable without memory');
    expectClose(await device.read(buffer), wanted[i], n.dtype, 1e-5, `root ${i}`);
  }
}

const all = await devices();
const slots = 4;
const capacity = 8;
const width = 6;

describe('the Program', () => {
  const rows = 1 << 14;
  const columns = 1 << 10;
  const index = feed('i32', [3], [5, -1, 77]).node;
  const news = feed('f32', [3, columns]).node;

  it('of a step that writes rows of 64 MB and reads the new value has the rows and the reader', () => {
    const cache = held(1, [rows, columns]);
    const put = o.putRows(cache.node, o.mul(news, o.full([], 2, 'f32')), index);
    const read = o.take(put, o.add(index, o.full([], 1, 'i32')), 0);
    const program = programOf({ outputs: [read], writes: [{ variable: cache.v, value: put }] });
    expect(program.calls.map((c) => c.kernel.label)).toEqual(['mul+putRows', 'add+take']);
    expect(program.arenaBytes).toBe(0);
    expect(program.calls[0].kernel.bytes).toBeLessThan(100_000);
    // Both name the Variable's own memory.
    expect(program.calls[1].buffers).toContain(program.calls[0].buffers[0]);
    expect(kernelIdentity(program.calls[0].kernel)).not.toContain(String(rows * columns));
  });
  it('of a product with the new value has no copy either', () => {
    const cache = held(1, [rows, columns]);
    const put = o.putRows(cache.node, news, index);
    const dot = o.dot(news, put, { batch: [[], []], contract: [[1], [1]] });
    const made = labels({ outputs: [dot], writes: [{ variable: cache.v, value: put }] });
    expect(made[0]).toBe('putRows');
    expect(made).not.toContain('copy');
  });
  it('sees through reshapes, two updates in a row, and an old reader', () => {
    const cache = held(1, [16, 8, columns]);
    const flat = o.reshape(cache.node, [128, columns]);
    const first = o.putRows(flat, news, index);
    const second = o.putRows(first, o.neg(news), o.add(index, o.full([], 1, 'i32')));
    const value = o.reshape(second, cache.node.shape);
    const made = labels({ outputs: [o.sum(flat, [0]), o.sum(first, [1]), o.sum(second, [1])], writes: [{ variable: cache.v, value }] });
    expect(made).toEqual(['sum', 'putRows', 'sum', 'neg+add+putRows', 'sum']);
  });
  it('takes a block along leading axes as rows, and one on the last axis as elements', () => {
    const cache = held(1, [16, 8, columns]);
    const at = [0, 1].map((i) => o.reshape(o.slice(index, [i], [i + 1]), []));
    const block = o.dynamicUpdateSlice(cache.node, feed('f32', [1, 3, columns]).node, [...at, o.full([], 0, 'i32')]);
    const bytes = (value: Node): number[] =>
      programOf({ outputs: [], writes: [{ variable: cache.v, value }] }).calls.map((c) => c.kernel.bytes);
    const blockBytes = bytes(block);
    expect(blockBytes).toHaveLength(1);
    expect(blockBytes[0]).toBeLessThan(12 * 3 * columns);
    const edge = o.dynamicUpdateSlice(cache.node, feed('f32', [16, 8, 5]).node, [at[0], at[0], at[1]]);
    const edgeBytes = bytes(edge);
    expect(edgeBytes).toHaveLength(1);
    expect(edgeBytes[0]).toBeLessThan(20 * 128 * 5);
    const most = o.dynamicUpdateSlice(cache.node, feed('f32', [16, 5, columns]).node, [at[0], at[0], at[1]]);
    // What isn't written is a formula for whoever reads it.
    const program = programOf({ outputs: [o.sum(block, [0, 1, 2])], writes: [{ variable: cache.v, value: o.neg(cache.node) }] });
    expect(program.calls.map((c) => c.kernel.label)).not.toContain('copy');
    expect(bytes(most).reduce((a, b) => a + b, 0)).toBeGreaterThan(4 * 128 * columns);
  });
  it('copies where the old value is wanted afterwards, and where the Variable stays as it is', () => {
    const cache = held(1, [128, columns]);
    const put = o.putRows(cache.node, news, index);
    expect(labels({ outputs: [put], writes: [] })).toEqual(['copy', 'putRows']);
    // The old value is needed for what is written, after the new one was made.
    const value = o.putRows(cache.node, o.putRows(news, o.take(o.add(put, o.flip(cache.node, [0])), index, 0), index), index);
    expect(labels({ outputs: [], writes: [{ variable: cache.v, value }] })).toContain('copy');
  });
});

describe.each(all.map((device) => ({ name: device.name, device })))('on $name', ({ device }) => {
  it('a step that writes a row a slot and reads the cache, run after run', async () => {
    setDevice(device.name);
    const cache = variable(tensor(fill('f32', slots * capacity * width, 3), { shape: [slots, capacity, width] }));
    const expected = Float32Array.from(await cache.data());
    const step = await compileStep(
      ([rows, index]) => {
        const old = sum(cache.value);
        const put = putRows(reshape(cache.value, [slots * capacity, width]), rows, index);
        cache.assign(reshape(put, cache.shape));
        return { outputs: [old, sum(cache.value, 2)] };
      },
      [
        { shape: [slots, width], dtype: 'f32' },
        { shape: [slots], dtype: 'i32' },
      ],
    );
    expect(step.program.calls.map((c) => c.kernel.label)).not.toContain('copy');
    for (let at = 0; at < 3; at++) {
      const before = expected.reduce((a, b) => a + b, 0);
      const rows = fill('f32', slots * width, 10 + at);
      // The last slot is idle.
      const index = Int32Array.from({ length: slots }, (_, s) => (s === slots - 1 ? -1 : s * capacity + at));
      index.forEach((row, m) => {
        if (row >= 0) for (let c = 0; c < width; c++) expected[row * width + c] = rows[m * width + c];
      });
      const [old, sums] = await step.run([rows, index]);
      expect(Math.abs(old[0] - before)).toBeLessThan(1e-4);
      const wanted = Float32Array.from({ length: slots * capacity }, (_, r) =>
        expected.subarray(r * width, r * width + width).reduce((a, b) => a + b, 0),
      );
      expectClose(sums, wanted, 'f32', 1e-5, 'sums');
    }
    expect([...(await cache.data())]).toEqual([...expected]);
  });

  it('sliceUpdate onto a Variable, clamped', async () => {
    setDevice(device.name);
    const table = variable(tensor(fill('f32', 60, 4), { shape: [5, 4, 3] }));
    const expected = Float32Array.from(await table.data());
    const step = await compileStep(
      ([block, at]) => {
        table.assign(sliceUpdate(table.value, [at, 1, 0], block));
        return { outputs: [] };
      },
      [
        { shape: [2, 2, 3], dtype: 'f32' },
        { shape: [], dtype: 'i32' },
      ],
    );
    expect(step.program.calls.map((c) => c.kernel.label)).not.toContain('copy');
    expect(step.program.arenaBytes).toBe(0);
    for (const at of [1, 9]) {
      const block = fill('f32', 12, at);
      await step.run([block, Int32Array.of(at)]);
      for (let i = 0; i < 2; i++) for (let e = 0; e < 6; e++) expected[(Math.min(at, 3) + i) * 12 + 3 + e] = block[i * 6 + e];
    }
    expect([...(await table.data())]).toEqual([...expected]);
  });
});

describe('random graphs of updates', () => {
  /** A graph from a list of choices: values made of two Variables by updates, sums and exchanges; some are results, some are written. */
  function graphOf(choices: readonly number[]): Graph {
    let at = 0;
    const below = (n: number): number => choices[at++ % choices.length] % n;
    const vars = [held(1, [5, 3]), held(2, [5, 3])];
    const pool: Node[] = vars.map((x) => x.node);
    const index = (): Node => o.buffer(Int32Array.from([below(7) - 1, below(7) - 1]), [2], 'i32');
    const of = (): Node => pool[below(pool.length)];
    for (let i = 0; i < 5; i++) {
      switch (below(6)) {
        case 0:
          pool.push(o.mul(of(), o.full([], 0.5, 'f32')));
          break;
        case 1:
          pool.push(o.reshape(o.flip(of(), [0]), [5, 3]));
          break;
        case 2:
          pool.push(o.reshape(o.putRows(o.reshape(of(), [15, 1]), o.reshape(o.slice(of(), [1, 1], [3, 2]), [2, 1]), index()), [5, 3]));
          break;
        case 3:
          pool.push(o.dynamicUpdateSlice(of(), o.slice(of(), [0, 0], [2, 3]), [o.full([], below(6), 'i32'), o.full([], 0, 'i32')]));
          break;
        default:
          pool.push(o.putRows(of(), o.take(of(), index(), 0), index()));
      }
    }
    const outputs = Array.from({ length: below(3) }, of);
    const writes = vars.map(({ v }) => ({ variable: v, value: of() }));
    return { outputs, writes: below(3) === 0 ? writes.slice(below(2)) : writes };
  }
  it('give what the oracle says', async () => {
    const device = new ReferenceDevice();
    const values = new Map([1, 2].map((id) => [id, fill('f32', 15, id) as Float32Array]));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(60), { minLength: 20, maxLength: 60 }), (choices) => compare(device, graphOf(choices), values)),
      { numRuns: 250, seed: 7 },
    );
  });
});

it('two stores of a kernel that overwrite each other’s operands', async () => {
  const [a, b] = [held(1, [4]), held(2, [4])];
  const values = new Map([1, 2].map((id) => [id, fill('f32', 4, id) as Float32Array]));
  const writes = [
    { variable: a.v, value: o.add(b.node, o.full([], 1, 'f32')) },
    { variable: b.v, value: o.mul(a.node, b.node) },
  ];
  for (const list of [writes, [...writes].reverse()]) await compare(new ReferenceDevice(), { outputs: [], writes: list }, values);
});
