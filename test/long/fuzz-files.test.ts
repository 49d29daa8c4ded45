/** @file Damaged files of tensors, TENON_TEST_FILES of each kind from TENON_TEST_SEED on: typed errors only, memory that stays in bounds. */
import { expect, it } from 'vitest';
import { fuzzExport, fuzzGguf, fuzzIndex, fuzzSafetensors } from '../io/fuzz-files.js';

const FILES = Number(process.env.TENON_TEST_FILES ?? 10_000);
const SEED = Number(process.env.TENON_TEST_SEED ?? 1000);

it.each([
  ['safetensors', fuzzSafetensors],
  ['indexes and shards', fuzzIndex],
  ['GGUF', fuzzGguf],
  ['configurations and tokenizers on the way out', fuzzExport],
] as const)(`${FILES} damaged %s`, async (name, fuzz) => {
  const before = process.memoryUsage().rss;
  const outcome = await fuzz(FILES, SEED);
  console.info(name, outcome);
  expect(outcome.read + outcome.refused).toBe(FILES);
  expect(process.memoryUsage().rss - before).toBeLessThan(500e6);
});
