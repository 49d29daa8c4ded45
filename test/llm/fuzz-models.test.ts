import { afterAll, beforeAll, expect, test } from 'vitest';
import { pretrainSettings, readSettings } from '../../src/llm/settings.js';
import { fuzzAdapters, fuzzConfigs, fuzzGgufModels, fuzzSettings, fuzzTokenizerFiles } from './fuzz-models.js';

// Nobody here may ask the hub.
beforeAll(() => {
  process.env.HF_HUB_OFFLINE = '1';
});
afterAll(() => {
  delete process.env.HF_HUB_OFFLINE;
});

/** The same samples in every run; test/long/fuzz-files.test.ts has all. */
test.each([
  ['config.json', fuzzConfigs, 120],
  ['tokenizer.json', fuzzTokenizerFiles, 60],
  ['GGUF models', fuzzGgufModels, 120],
  ['adapters', fuzzAdapters, 120],
  ['YAML of runs', fuzzSettings, 120],
] as const)('damaged %s: a whole result or a typed error, in bounded time', { timeout: 120_000 }, async (_, fuzz, count) => {
  const outcome = await fuzz(count, 7);
  expect(outcome.read + outcome.refused).toBe(count);
  expect(Math.min(outcome.read, outcome.refused)).toBeGreaterThan(0);
  expect(outcome.slowest).toBeLessThan(10_000);
});

test('YAML that would keep its parser busy is refused at once', () => {
  const read = (yaml: string): unknown => readSettings(pretrainSettings, yaml, {}, 'run.yaml');
  expect(() => read('? '.repeat(5000))).toThrow('run.yaml: it has more than 50 question marks');
  expect(() => read('#'.repeat(2 ** 17 + 1))).toThrow('run.yaml: the file is too large');
  expect(() => read(`a: ${'['.repeat(20_000)}`)).toThrow('run.yaml');
  expect(() => read('a: &a [*a]')).toThrow('run.yaml');
});
