/** @file The order of calls: what is needed first comes first, and few bytes are alive. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileGraph } from '../../src/compile/compile.js';
import { arrange, type Touching } from '../../src/compile/lifetimes.js';
import { ReferenceDevice } from '../../src/device/reference/reference.js';
import { ops as o } from '../../src/graph/builder.js';
import type { Node } from '../../src/graph/node.js';
import { feed } from '../conformance/harness.js';

/** Bytes alive at the worst moment, operands and results of a call together. */
function peak(order: readonly number[], calls: readonly Touching[], bytes: readonly number[]): number {
  const place = new Map(order.map((c, i) => [c, i]));
  const users = bytes.map((_, b) => calls.flatMap((c, i) => (c.buffers.includes(b) ? [place.get(i) as number] : [])));
  return Math.max(
    0,
    ...order.map((_, i) => bytes.reduce((n, size, b) => n + (Math.min(...users[b]) <= i && i <= Math.max(...users[b]) ? size : 0), 0)),
  );
}

/** Calls from what they read and write: a buffer is written by one call and read by later ones. */
function calls(list: readonly { reads: readonly number[]; writes: readonly number[] }[]): Touching[] {
  const writer = new Map(list.flatMap((c, i) => c.writes.map((b) => [b, i] as const)));
  return list.map((c) => ({
    before: new Set(c.reads.map((b) => writer.get(b) as number)),
    buffers: [...new Set([...c.reads, ...c.writes])],
    inPlace: [],
  }));
}

describe('arrange', () => {
  it('finishes a chunk before it begins the next', () => {
    const chunks = 6;
    const list: { reads: number[]; writes: number[] }[] = [];
    const bytes: number[] = [];
    const buffer = (size: number): number => bytes.push(size) - 1;
    // As a graph has it: the forward pass of all, then the backward pass of all; large sums that gather what the chunks give.
    const wide = Array.from({ length: chunks }, () => {
      const b = buffer(100);
      list.push({ reads: [], writes: [b] });
      return b;
    });
    let sum: number | null = null;
    for (const b of wide) {
      const next = buffer(300);
      list.push({ reads: sum === null ? [b] : [b, sum], writes: [next] });
      sum = next;
    }
    for (const b of wide) list.push({ reads: [b], writes: [buffer(1)] });
    const made = calls(list);
    const order = arrange(made, bytes);
    expect(
      peak(
        list.map((_, i) => i),
        made,
        bytes,
      ),
    ).toBe(chunks * 100 + 600);
    expect(peak(order, made, bytes)).toBeLessThan(2 * 300 + 100 + 20);
  });
  it('makes what is wanted late only then', () => {
    // A chain of small results; each also gives a large one that the end alone reads, one after another.
    const bytes: number[] = [];
    const buffer = (size: number): number => bytes.push(size) - 1;
    const list: { reads: number[]; writes: number[] }[] = [];
    const small = [buffer(1)];
    list.push({ reads: [], writes: [small[0]] });
    const large: number[] = [];
    for (let i = 0; i < 5; i++) {
      large.push(buffer(50));
      list.push({ reads: [small[i]], writes: [large[i]] });
      small.push(buffer(1));
      list.push({ reads: [small[i]], writes: [small[i + 1]] });
    }
    let last = small[5];
    for (const b of large) {
      const next = buffer(1);
      list.push({ reads: [last, b], writes: [next] });
      last = next;
    }
    const made = calls(list);
    expect(peak(arrange(made, bytes), made, bytes)).toBeLessThan(60);
  });
  it('respects what must come first, and is never worse than the given order', () => {
    const call = fc.record({ reads: fc.array(fc.nat(30), { maxLength: 3 }), size: fc.integer({ min: 0, max: 100 }) });
    fc.assert(
      fc.property(fc.array(call, { minLength: 1, maxLength: 30 }), (list) => {
        const made = calls(list.map((c, i) => ({ reads: i === 0 ? [] : c.reads.map((r) => r % i), writes: [i] })));
        const bytes = list.map((c) => c.size);
        const order = arrange(made, bytes);
        expect([...order].sort((a, b) => a - b)).toEqual(list.map((_, i) => i));
        const place = new Map(order.map((c, i) => [c, i]));
        made.forEach((c, i) => {
          for (const p of c.before) expect(place.get(p)).toBeLessThan(place.get(i) as number);
        });
        const given = list.map((_, i) => i);
        expect(peak(order, made, bytes)).toBeLessThanOrEqual(peak(given, made, bytes));
        expect(arrange(made, bytes)).toEqual(order);
      }),
      { numRuns: 300, seed: 11 },
    );
  });
});

describe('the arena', () => {
  const { target } = new ReferenceDevice();
  const matrix = (x: Node, w: Node): Node => o.dot(x, w, { batch: [[], []], contract: [[1], [0]] });
  const arena = (outputs: Node[]): number => compileGraph({ outputs, writes: [] }, target).program.arenaBytes;
  const square = 4 * 256 * 256;

  it('holds a sum of products once: each is added to it where it lies', () => {
    const parts = Array.from({ length: 5 }, () => matrix(feed('f32', [256, 256]).node, feed('f32', [256, 256]).node));
    const total = parts.reduce((a, b) => o.add(a, b));
    // Read by a product, so that it has a buffer.
    expect(arena([matrix(total, feed('f32', [256, 2]).node)])).toBeLessThan(1.1 * square);
  });
  it('holds a softmax where what it is made of lay', () => {
    const x = matrix(feed('f32', [256, 8]).node, feed('f32', [8, 256]).node);
    const e = o.exp(o.sub(x, o.reshape(o.reduceMax(x, [1]), [256, 1])));
    const y = o.div(e, o.reshape(o.sum(e, [1]), [256, 1]));
    expect(arena([matrix(y, feed('f32', [256, 2]).node)])).toBeLessThan(1.1 * square);
  });
  it('holds one of a chain of values that each replace the one before', () => {
    let x = feed('f32', [256, 256]).node;
    for (let i = 0; i < 4; i++) {
      x = matrix(x, feed('f32', [256, 256]).node);
      const mean = o.mul(o.sum(x, [0]), o.full([], 1 / 256, 'f32'));
      x = o.sub(x, mean);
    }
    expect(arena([o.sum(matrix(x, feed('f32', [256, 2]).node), [0, 1])])).toBeLessThan(2.1 * square);
  });
});
