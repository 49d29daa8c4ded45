/** @file Random numbers: repeatable, fresh at each run of a compiled step, and distributed as they should be. */
import { describe, expect, it } from 'vitest';
import * as tn from '../../src/tensor/index.js';

const stats = (d: ArrayLike<number>) => {
  const a = Array.from(d);
  const mean = a.reduce((s, x) => s + x, 0) / a.length;
  return { mean, std: Math.sqrt(a.reduce((s, x) => s + (x - mean) ** 2, 0) / a.length), min: Math.min(...a), max: Math.max(...a) };
};

describe('random', () => {
  it('repeats by seed', async () => {
    tn.setRandomSeed(42);
    const a = await tn.random.normal([8]).array();
    const b = await tn.random.normal([8]).array();
    expect(b).not.toEqual(a);
    tn.setRandomSeed(42);
    expect(await tn.random.normal([8]).array()).toEqual(a);
    expect(await tn.random.uniform([4], 0, 1, { seed: 3 }).array()).toEqual(await tn.random.uniform([4], 0, 1, { seed: 3 }).array());
    const own = new tn.RandomState(7);
    const first = await tn.random.uniform([4], 0, 1, { seed: own }).array();
    expect(await tn.random.uniform([4], 0, 1, { seed: own }).array()).not.toEqual(first);
    own.reset(7);
    expect(await tn.random.uniform([4], 0, 1, { seed: own }).array()).toEqual(first);
  });
  it('has the moments of its distributions', async () => {
    tn.setRandomSeed(1);
    const u = stats(await tn.random.uniform([20000], -1, 3).data());
    expect(u.mean).toBeCloseTo(1, 1);
    expect(u.std).toBeCloseTo(4 / Math.sqrt(12), 1);
    expect(u.min).toBeGreaterThanOrEqual(-1);
    expect(u.max).toBeLessThan(3);
    const n = stats(await tn.random.normal([20000], 2, 0.5).data());
    expect(n.mean).toBeCloseTo(2, 1);
    expect(n.std).toBeCloseTo(0.5, 1);
    const t = stats(await tn.random.truncatedNormal([20000]).data());
    expect(t.std).toBeCloseTo(0.8796, 1);
    expect(t.max).toBeLessThanOrEqual(2);
    expect(t.max).toBeGreaterThan(1.9);
    const b = stats(await tn.random.bernoulli([20000], 0.3).data());
    expect(b.mean).toBeCloseTo(0.3, 1);
    const r = stats(await tn.random.randint([20000], -2, 3).data());
    expect([r.min, r.max]).toEqual([-2, 2]);
    expect(r.mean).toBeCloseTo(0, 1);
    const c = stats(await tn.random.categorical([[0, Math.log(3)]], 20000).data());
    expect(c.mean).toBeCloseTo(0.75, 1);
    const d = stats(await tn.random.dropout(tn.ones([20000]), 0.25).data());
    expect(d.mean).toBeCloseTo(1, 1);
    expect(d.max).toBeCloseTo(4 / 3, 5);
    expect(d.min).toBe(0);
  });
  it('permutes', async () => {
    tn.setRandomSeed(5);
    const p = [...(await tn.random.permutation(50).data())];
    expect(p).not.toEqual([...p].sort((a, b) => a - b));
    expect([...p].sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i));
    const s = [...(await tn.random.shuffle([[1], [2], [3]]).data())];
    expect(s.sort()).toEqual([1, 2, 3]);
  });
  it('gives a compiled step fresh numbers at every run, and two calls different ones', async () => {
    tn.setRandomSeed(9);
    const step = await tn.compileStep(() => ({ outputs: [tn.random.uniform([4]), tn.random.uniform([4])] }), []);
    const runs = [await step.run(), await step.run()].map((r) => r.map((a) => [...a]));
    expect(new Set(runs.flat().map(String)).size).toBe(4);
    tn.setRandomSeed(9);
    expect((await step.run()).map((a) => [...a])).toEqual(runs[0]);
    const saved = await tn.globalRandomState().snapshot();
    expect(saved.step).toBe(1);
    expect((await step.run()).map((a) => [...a])).toEqual(runs[1]);
    tn.globalRandomState().restore(saved);
    expect((await step.run()).map((a) => [...a])).toEqual(runs[1]);
  });
});
