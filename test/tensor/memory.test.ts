/** @file Lazy chains: released after realization, cut when long, Programs found by structure. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { topological } from '../../src/graph/node.js';
import * as tn from '../../src/tensor/index.js';

describe('realization', () => {
  it('replaces the node and lets the graph go', async () => {
    const x = tn.tensor([1, 2]).add(1).mul(2);
    expect(x.node.op).toBe('mul');
    await x.data();
    expect(x.node.op).toBe('buffer');
    expect(topological([x.node])).toHaveLength(1);
  });
  it('serves tensors that were derived before', async () => {
    const x = tn.tensor([1, 2]).exp();
    const y = x.add(1);
    await x.data();
    const size = tn.programCacheSize();
    await tn.tensor([5, 6]).add(1).data();
    const grown = tn.programCacheSize();
    await y.data();
    // y is only the addition now, the same structure as the one before.
    expect(tn.programCacheSize()).toBe(grown);
    expect(grown).toBeLessThanOrEqual(size + 1);
    expect((await y.data())[0]).toBeCloseTo(Math.E + 1, 5);
  });
  it('lets Variables go whose first value nobody asked for', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const dropped = (() => new WeakRef(tn.variable(tn.random.uniform([64, 64]))))();
    const kept = tn.variable(tn.zeros([2]).add(1));
    await new Promise((resolve) => setTimeout(resolve, 0));
    collect();
    expect(dropped.deref()).toBeUndefined();
    expect(Array.from(await kept.data())).toEqual([1, 1]);
  });
  it('lets go of computed values that come from constants alone, whose Programs are kept', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const content = await (async () => {
      const x = tn.arange(0, 5000).mul(2);
      await x.data();
      return new WeakRef(x.node.arg as object);
    })();
    await new Promise((resolve) => setTimeout(resolve, 0));
    collect();
    expect(content.deref()).toBeUndefined();
  });
  it('computes nothing where only shapes are wanted', () => {
    const x = tn.shapesOnly(() => {
      let y = tn.zeros([3]);
      for (let i = 0; i < 2000; i++) y = y.add(tn.arange(0, 3));
      return y;
    });
    expect(x.shape).toEqual([3]);
    expect(topological([x.node]).length).toBeGreaterThan(2000);
  });
  it('gives zeros of Variables memory that nobody else was shown', async () => {
    const v = tn.variable(tn.zeros([100, 100]));
    await tn.flushWrites();
    expect(v.storage.isShared).toBe(false);
    expect((await v.data()).every((x) => x === 0)).toBe(true);
    v.assignAdd(1);
    expect((await v.data()).every((x) => x === 1)).toBe(true);
  });
  it('tells -0 from 0', async () => {
    const over = async (zero: number): Promise<number> =>
      tn
        .tensor([1])
        .div(tn.full([1], zero))
        .item();
    expect([await over(-0), await over(0), await over(-0)]).toEqual([
      Number.NEGATIVE_INFINITY,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
    ]);
    const v = tn.variable(tn.full([5000], -0));
    expect(Object.is((await v.data())[4999], -0)).toBe(true);
  });
  it('keeps long chains short', async () => {
    let x = tn.tensor([0]);
    for (let i = 0; i < 20000; i++) x = x.add(1);
    expect(topological([x.node]).length).toBeLessThan(2000);
    expect(await x.item()).toBe(20000);
  });
  it('keeps loops of gradients short', async () => {
    let w = tn.tensor([1, 2]);
    for (let i = 0; i < 200; i++)
      w = w.sub(
        tn
          .grad((v) => v.square().sum())(w)
          .mul(0.01),
      );
    expect(topological([w.node]).length).toBeLessThan(1000);
    expect((await w.data())[0]).toBeCloseTo(0.98 ** 200, 4);
  });
  it('keeps chains of Variables short', async () => {
    const v = tn.variable(0);
    for (let i = 0; i < 3000; i++) v.assignAdd(1);
    expect(topological([v.read().node]).length).toBeLessThan(2000);
    expect(await v.read().item()).toBe(3000);
  });
  it('turns constants that vary into arguments', async () => {
    tn.clearProgramCache();
    for (let i = 0; i < 20; i++)
      expect(
        await tn
          .tensor([1])
          .mul(i + 0.25)
          .item(),
      ).toBe(i + 0.25);
    expect(tn.programCacheSize()).toBe(1);
  });
  it('bounds the cache', async () => {
    tn.clearProgramCache();
    for (let i = 1; i < 1100; i++)
      await tn
        .zeros([i])
        .add(tn.tensor([1]))
        .data();
    expect(tn.programCacheSize()).toBeLessThanOrEqual(1024);
  });
  it('is safe when asked twice at once, and after disposal', async () => {
    const x = tn.tensor([1]).add(1);
    expect(await Promise.all([x.item(), x.item()])).toEqual([2, 2]);
    x.dispose();
    expect(() => x.shape).toThrow(/disposed/);
    {
      using y = tn.tensor([1]);
      expect(y.shape).toEqual([1]);
    }
  });
  it('reads in the calling thread', () => {
    expect(tn.tensor([1, 2]).add(1).arraySync()).toEqual([2, 3]);
    expect(JSON.stringify({ x: tn.tensor([[1]]) })).toBe('{"x":[[1]]}');
  });
});
