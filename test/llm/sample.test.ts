import { describe, expect, test } from 'vitest';
import { resolveSampling, type SamplingOptions, sampleToken } from '../../src/llm/sample.js';

const logits = [2, 0, 1, -1, 3, 3.5];
const draw = (options: Parameters<typeof resolveSampling>[0], step = 0, seen: number[] = []): number =>
  sampleToken(Float32Array.from(logits), resolveSampling({ seed: 7, ...options }), seen, step);
const drawn = (options: Parameters<typeof resolveSampling>[0], n = 4000): number[] => {
  const counts = new Array<number>(logits.length).fill(0);
  for (let i = 0; i < n; i++) counts[draw(options, i)]++;
  return counts.map((c) => c / n);
};
const softmax = (x: readonly number[], temperature = 1): number[] => {
  const e = x.map((v) => Math.exp(v / temperature));
  const sum = e.reduce((a, b) => a + b, 0);
  return e.map((v) => v / sum);
};

describe('sampleToken', () => {
  test('takes the most likely token at temperature 0', () => {
    expect(draw({ temperature: 0 })).toBe(5);
    expect(sampleToken(Float32Array.of(Number.NaN, 1, 2), resolveSampling({ temperature: 0 }), [], 0)).toBe(2);
  });
  test.each([0.5, 1, 2])('draws by the softmax at temperature %d', (temperature) => {
    const wanted = softmax(logits, temperature);
    drawn({ temperature }).forEach((share, i) => {
      // Four standard deviations.
      expect(Math.abs(share - wanted[i])).toBeLessThan(4 * Math.sqrt((wanted[i] * (1 - wanted[i])) / 4000) + 1e-3);
    });
  });
  test('topK keeps the k most likely, topP the fewest that reach it, minP those near the first', () => {
    expect(drawn({ topK: 2 }).map((s) => s > 0)).toEqual([false, false, false, false, true, true]);
    // 3.5 has 0.51, 3 has 0.31, 2 has 0.11 …
    expect(drawn({ topP: 0 }).map((s) => s > 0)).toEqual([false, false, false, false, false, true]);
    expect(drawn({ topP: 0.5 }).map((s) => s > 0)).toEqual([false, false, false, false, false, true]);
    expect(drawn({ topP: 0.6 }).map((s) => s > 0)).toEqual([false, false, false, false, true, true]);
    expect(drawn({ topP: 0.9 }).map((s) => s > 0)).toEqual([true, false, false, false, true, true]);
    // e^-1.5 = 0.22.
    expect(drawn({ minP: 0.2 }).map((s) => s > 0)).toEqual([true, false, false, false, true, true]);
  });
  test('minP is of what topP left: topP is a share of all', () => {
    const probabilities = [0.4, 0.3, 0.2, 0.05, 0.05];
    const kept = (options: SamplingOptions): number => {
      const seen = new Set<number>();
      for (let i = 0; i < 500; i++)
        seen.add(sampleToken(Float32Array.from(probabilities, Math.log), resolveSampling({ ...options, seed: 1 }), [], i));
      return seen.size;
    };
    expect([kept({ topP: 0.75 }), kept({ minP: 0.2 }), kept({ topP: 0.75, minP: 0.2 }), kept({ topP: 0.75, minP: 0.6 })]).toEqual([
      3, 3, 3, 2,
    ]);
  });
  test('the penalty divides the logits of tokens that were there, and multiplies negative ones', () => {
    expect(draw({ temperature: 0, repetitionPenalty: 2 }, 0, [5, 5])).toBe(4);
    const x = Float32Array.from(logits);
    sampleToken(x, resolveSampling({ temperature: 0, repetitionPenalty: 2 }), [3, 4], 0);
    expect([...x]).toEqual([2, 0, 1, -2, 1.5, 3.5]);
  });
  test('the same seed draws the same, another one something else', () => {
    const run = (seed: number): number[] => Array.from({ length: 20 }, (_, i) => draw({ seed }, i));
    expect(run(3)).toEqual(run(3));
    expect(run(3)).not.toEqual(run(4));
  });
  test.each([[{ temperature: -1 }], [{ topP: -0.1 }], [{ topK: 1.5 }], [{ minP: 2 }], [{ repetitionPenalty: 0 }], [{ seed: -1 }]])(
    'refuses %o',
    (options) => {
      expect(() => resolveSampling(options)).toThrow(`${Object.keys(options)[0]} is ${Object.values(options)[0]}. Expected`);
    },
  );
});
