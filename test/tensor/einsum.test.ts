/** @file einsum against naive loops on random equations, and its gradient by finite differences. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as tn from '../../src/tensor/index.js';

interface Case {
  terms: string[];
  output: string;
  extents: Record<string, number>;
}
const letters = ['a', 'b', 'c', 'd'];
const cases: fc.Arbitrary<Case> = fc
  .record({
    terms: fc.array(fc.array(fc.constantFrom(...letters), { minLength: 0, maxLength: 3 }), { minLength: 1, maxLength: 3 }),
    extents: fc.record({
      a: fc.integer({ min: 1, max: 3 }),
      b: fc.integer({ min: 1, max: 3 }),
      c: fc.integer({ min: 1, max: 3 }),
      d: fc.integer({ min: 1, max: 3 }),
    }),
    pick: fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
    reverse: fc.boolean(),
  })
  .map(({ terms, extents, pick, reverse }) => {
    const used = letters.filter((l, i) => pick[i] && terms.some((t) => t.includes(l)));
    return { terms: terms.map((t) => t.join('')), output: (reverse ? used.reverse() : used).join(''), extents };
  });

function naive(c: Case, data: number[][]): number[] {
  const all = [...new Set(c.terms.join(''))];
  const at = (labels: string, index: Record<string, number>): number => [...labels].reduce((k, l) => k * c.extents[l] + index[l], 0);
  const out = new Array<number>([...c.output].reduce((k, l) => k * c.extents[l], 1)).fill(0);
  const walk = (i: number, index: Record<string, number>): void => {
    if (i < all.length) for (let v = 0; v < c.extents[all[i]]; v++) walk(i + 1, { ...index, [all[i]]: v });
    else out[at(c.output, index)] += c.terms.reduce((p, t, k) => p * data[k][at(t, index)], 1);
  };
  walk(0, {});
  return out;
}

describe('einsum', () => {
  it('agrees with naive loops', async () => {
    await fc.assert(
      fc.asyncProperty(cases, async (c) => {
        const shapes = c.terms.map((t) => [...t].map((l) => c.extents[l]));
        const data = shapes.map((s, k) => Array.from({ length: s.reduce((a, b) => a * b, 1) }, (_, i) => ((i * 7 + k * 3) % 5) - 2));
        const y = tn.einsum(`${c.terms.join()}->${c.output}`, ...data.map((d, k) => tn.tensor(new Float32Array(d), { shape: shapes[k] })));
        expect([...y.shape]).toEqual([...c.output].map((l) => c.extents[l]));
        expect([...(await y.data())].map((x) => x + 0)).toEqual(naive(c, data).map((x) => x + 0));
      }),
      { numRuns: 60, seed: 7 },
    );
  });
  it('knows implicit outputs, diagonals and ellipses', async () => {
    const a = tn.arange(4).reshape([2, 2]);
    expect(await tn.einsum('ii', a).item()).toBe(3);
    expect(await tn.einsum('ii->i', a).array()).toEqual([0, 3]);
    expect(await tn.einsum('ba', a).array()).toEqual([
      [0, 2],
      [1, 3],
    ]);
    expect(tn.einsum('...ij,...jk->...ik', tn.zeros([5, 1, 2, 3]), tn.zeros([4, 3, 6])).shape).toEqual([5, 4, 2, 6]);
    expect(() => tn.einsum('ij,jk->iz', a, a)).toThrow(/no operand/);
    expect(() => tn.einsum('ij->i', a, a)).toThrow(/operands/);
    expect(() => tn.einsum('ij,jk->ik', a, tn.zeros([3, 2]))).toThrow(/extents/);
  });
  it('has a gradient', async () => {
    const b = tn.arange(12).reshape([2, 3, 2]);
    const f = (x: tn.Tensor) => tn.einsum('bij,bjk->bik', x, b).square().sum();
    const x = [0.5, -1, 2, 1, 0.25, -0.5, 1, 2, 3, -1, -2, 0.5];
    const g = await tn
      .grad(f)(tn.tensor(x).reshape([2, 2, 3]))
      .data();
    for (const i of [0, 4, 11]) {
      const at = async (d: number) => f(tn.tensor(x.map((v, k) => (k === i ? v + d : v))).reshape([2, 2, 3])).item();
      expect(g[i]).toBeCloseTo(((await at(0.5)) - (await at(-0.5))) / 1, 2);
    }
  });
});
