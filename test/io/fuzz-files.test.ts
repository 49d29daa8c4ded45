import { expect, test } from 'vitest';
import { fuzzExport, fuzzGguf, fuzzIndex, fuzzSafetensors } from './fuzz-files.js';

/** The same samples in every run. */
test.each([
  ['safetensors', fuzzSafetensors, 400],
  ['indexes and shards', fuzzIndex, 150],
  ['GGUF', fuzzGguf, 300],
  ['configurations and tokenizers on the way out', fuzzExport, 300],
] as const)('damaged %s: a whole result or a typed error', async (_, fuzz, count) => {
  const outcome = await fuzz(count, 7);
  expect(outcome.read + outcome.refused).toBe(count);
  // Both ends are reached: a fault in the data alone is none for a reader.
  expect(Math.min(outcome.read, outcome.refused)).toBeGreaterThan(0);
});
