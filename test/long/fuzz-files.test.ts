/** @file Damaged files of tensors, models, adapters and runs, TENON_TEST_FILES of each kind from TENON_TEST_SEED on: typed errors only, memory that stays in bounds. */
import { expect, it } from 'vitest';
import { fuzzExport, fuzzGguf, fuzzIndex, fuzzSafetensors } from '../io/fuzz-files.js';
import { fuzzAdapters, fuzzConfigs, fuzzGgufModels, fuzzSettings, fuzzTokenizerFiles } from '../llm/fuzz-models.js';

// Nobody here may ask the hub.
process.env.HF_HUB_OFFLINE = '1';
const FILES = Number(process.env.TENON_TEST_FILES ?? 10_000);
const SEED = Number(process.env.TENON_TEST_SEED ?? 1000);

it.each([
  ['safetensors', fuzzSafetensors],
  ['indexes and shards', fuzzIndex],
  ['GGUF', fuzzGguf],
  ['configurations and tokenizers on the way out', fuzzExport],
  ['config.json of models', fuzzConfigs],
  ['tokenizer.json of models', fuzzTokenizerFiles],
  ['GGUF models', fuzzGgufModels],
  ['adapters', fuzzAdapters],
  ['YAML of runs', fuzzSettings],
] as const)(`${FILES} damaged %s`, async (name, fuzz) => {
  const before = process.memoryUsage().rss;
  const outcome = await fuzz(FILES, SEED);
  console.info(name, outcome, `peak of the process ${Math.round(process.resourceUsage().maxRSS / 1024)} MB`);
  expect(outcome.read + outcome.refused).toBe(FILES);
  expect(outcome.slowest).toBeLessThan(10_000);
  expect(process.memoryUsage().rss - before).toBeLessThan(500e6);
});
