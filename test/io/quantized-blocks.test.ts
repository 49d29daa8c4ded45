import { describe, expect, test } from 'vitest';
import { fromF16 } from '../../src/base/dtype.js';
import { ConfigError } from '../../src/base/errors.js';
import { dequantizeQ8_0, packQ8_0, quantizeQ8_0, unpackQ8_0 } from '../../src/io/quantized-blocks.js';
import { tensors } from './golden-gguf.js';

describe('q8_0', () => {
  test.each(tensors.filter((t) => t.type === 'q8_0').map((t) => [t.name, t] as const))(
    '%s is ggml’s, bit for bit',
    (_, { values, bytes }) => {
      const blocks = quantizeQ8_0(values);
      expect(packQ8_0(blocks)).toEqual(bytes);
      expect(unpackQ8_0(bytes)).toEqual(blocks);
    },
  );

  test('halves go away from zero', () => {
    const x = new Float32Array(32);
    x.set([127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.499]);
    expect([...quantizeQ8_0(x).quants.subarray(0, 8)]).toEqual([127, 1, 2, 3, -1, -2, -3, 0]);
  });

  test('values come back within half a step', () => {
    const x = Float32Array.from({ length: 320 }, (_, i) => Math.sin(i) * 10 ** ((i >> 5) - 5));
    const blocks = quantizeQ8_0(x);
    const back = dequantizeQ8_0(blocks);
    for (const [i, v] of back.entries()) {
      const most = Math.max(...x.subarray(i & ~31, (i & ~31) + 32).map(Math.abs));
      // Half a step, and f16's rounding of the scale.
      expect(Math.abs(v - x[i])).toBeLessThan(most * (0.5 / 127 + 2 ** -11) + 2 ** -25 * 127);
      expect(v).toBe(Math.fround(fromF16(blocks.scales[i >> 5]) * blocks.quants[i]));
    }
  });

  test('zeros and the smallest numbers make no NaN', () => {
    const blocks = quantizeQ8_0(Float32Array.from({ length: 64 }, (_, i) => (i < 32 ? 0 : 1e-45)));
    expect([...dequantizeQ8_0(blocks)]).toEqual(new Array(64).fill(0));
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, 1e7])('refuses %s anywhere in a block', (bad) => {
    for (const at of [0, 5, 31]) {
      const x = new Float32Array(64).fill(1);
      x[32 + at] = bad;
      expect(() => quantizeQ8_0(x, 'gguf: tensor "w"')).toThrow(ConfigError);
      expect(() => quantizeQ8_0(x, 'gguf: tensor "w"')).toThrow(`gguf: tensor "w": q8_0 can't hold`);
    }
  });

  test('refuses half a block', () => {
    expect(() => quantizeQ8_0(new Float32Array(33))).toThrow('Expected a multiple of that, received 33');
  });
});
