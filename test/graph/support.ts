/** @file For the graph's tests: running one node on plain numbers, and gradients against central finite differences. */
import fc from 'fast-check';
import { expect } from 'vitest';
import { gradients } from '../../src/autodiff/vjp.js';
import type { DType } from '../../src/base/dtype.js';
import { type Shape, size } from '../../src/base/shape.js';
import { ops } from '../../src/graph/builder.js';
import { interpretValues } from '../../src/graph/interpret.js';
import { encodeArray, newValue } from '../../src/graph/meanings/values.js';
import type { Node } from '../../src/graph/node.js';
import { verify } from '../../src/graph/verify.js';

export const propertyOptions = { seed: 20240607, numRuns: 15 } as const;

/** Input number `index`. */
export const input = (index: number, shape: Shape, dtype: DType = 'f32'): Node => ops.input(index, `x${index}`, shape, dtype);

/** A buffer of the numbers, stored in `dtype`. */
export function tensor(data: readonly number[], shape: Shape = [data.length], dtype: DType = 'f32'): Node {
  const value = newValue(shape, dtype);
  value.data.set(data);
  return ops.buffer(encodeArray(value), shape, dtype);
}

/** The node's numbers; input i is fed `inputs[i]`. The graph is verified first. */
export function run(node: Node, inputs: readonly (readonly number[])[] = [], precise = false): number[] {
  expect(verify([node])).toEqual([]);
  const feeds = new Map(inputs.map((x, i) => [i, Float64Array.from(x)]));
  return [...interpretValues([node], { inputs: feeds }, { precise })[0].data];
}

/** A linear congruential generator: numbers in [0, 1). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Numbers in [low, high). */
export function uniform(n: number, seed: number, low = -2, high = 2): number[] {
  const next = random(seed);
  return Array.from({ length: n }, () => low + (high - low) * next());
}

/** Numbers 0.1 apart from each other in random order, so that no maximum ties or changes under a small step. */
export function distinct(n: number, seed: number): number[] {
  const next = random(seed);
  const list = Array.from({ length: n }, (_, i) => (i - n / 2) * 0.1 + 0.037);
  for (let i = n - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [list[i], list[j]] = [list[j], list[i]];
  }
  return list;
}

/** Compares the gradients of Σ weight·build(inputs), random weights, with central differences at `points`. */
export function expectGradient(
  build: (...x: Node[]) => Node,
  shapes: readonly Shape[],
  points: readonly (readonly number[])[],
  tolerance = 1e-6,
): void {
  const inputs = shapes.map((shape, i) => input(i, shape));
  const output = build(...inputs);
  const weights = uniform(size(output.shape), 99, 0.5, 1.5);
  const seed = input(shapes.length, output.shape);
  const loss = (at: readonly (readonly number[])[]) => run(output, at, true).reduce((sum, y, i) => sum + y * weights[i], 0);
  gradients(output, seed, inputs).forEach((g, k) => {
    expect(g.shape).toEqual(shapes[k]);
    const analytic = run(g, [...points, weights], true);
    points[k].forEach((x, i) => {
      const step = 1e-5 * Math.max(1, Math.abs(x));
      const shifted = (by: number) => points.map((p, j) => (j === k ? p.map((v, l) => (l === i ? v + by : v)) : p));
      const numeric = (loss(shifted(step)) - loss(shifted(-step))) / (2 * step);
      const scale = Math.max(1, Math.abs(numeric));
      expect(Math.abs(analytic[i] - numeric) / scale, `input ${k}, element ${i}: ${analytic[i]} against ${numeric}`).toBeLessThan(
        tolerance,
      );
    });
  });
}

/** The same for the gradient's own gradient with respect to its first input, through a fixed seed. */
export function expectSecondGradient(
  build: (...x: Node[]) => Node,
  shapes: readonly Shape[],
  points: readonly (readonly number[])[],
  tolerance = 1e-5,
): void {
  shapes.forEach((_, k) => {
    expectGradient(
      (...x) => {
        const y = build(...x);
        const weights = tensor(uniform(size(y.shape), 7, 0.5, 1.5), y.shape);
        return gradients(y, weights, x)[k];
      },
      shapes,
      points,
      tolerance,
    );
  });
}

export const shape = (minRank: number, maxRank: number, maxExtent = 4): fc.Arbitrary<number[]> =>
  fc.array(fc.integer({ min: 1, max: maxExtent }), { minLength: minRank, maxLength: maxRank });

export const permutation = (n: number): fc.Arbitrary<number[]> =>
  fc.shuffledSubarray(
    Array.from({ length: n }, (_, i) => i),
    { minLength: n, maxLength: n },
  );
