/** @file The dial: what follows a depth, and that what is given is neither derived nor told. */
import { expect, test } from 'vitest';
import { presetOf } from '../../src/llm/presets.js';

test('width, heads, rows, rate and updates follow the depth, each with its reason', () => {
  const preset = presetOf(3, 4096, 128);
  expect(preset.derived.map((d) => `${d.key} ${d.value}`)).toEqual([
    'hidden_size 192',
    'num_attention_heads 3',
    'intermediate_size 512',
    'batchSize 32',
    'learningRate 0.001',
    'steps 10320',
  ]);
  expect(preset.rows).toBe(32);
  expect(preset.derived.every((d) => d.reason.length > 0)).toBe(true);
});

test('what is given is not derived, and the updates follow the given rows', () => {
  const preset = presetOf(3, 4096, 128, { rows: 64, learningRate: 2e-3 });
  expect(preset.derived.map((d) => d.key)).toEqual(['hidden_size', 'num_attention_heads', 'intermediate_size', 'steps']);
  expect(preset).toMatchObject({ rows: 64, learningRate: 2e-3, steps: 5160 });
  // Updates of four batches each.
  expect(presetOf(3, 4096, 128, { rows: 16, gradientAccumulation: 4 }).steps).toBe(5160);
});
