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
  ['config.json', fuzzConfigs, 80],
  ['tokenizer.json', fuzzTokenizerFiles, 60],
  ['GGUF models', fuzzGgufModels, 50],
  ['adapters', fuzzAdapters, 80],
  ['YAML of runs', fuzzSettings, 120],
] as const)('damaged %s: a whole result or a typed error, in bounded time', { timeout: 120_000 }, async (_, fuzz, count) => {
  const outcome = await fuzz(count, 7);
  expect(outcome.read + outcome.refused).toBe(count);
  expect(Math.min(outcome.read, outcome.refused)).toBeGreaterThan(0);
  expect(outcome.slowest).toBeLessThan(10_000);
});

test('YAML that would keep its parser busy is refused at once', () => {
  const read = (yaml: string): unknown => readSettings(pretrainSettings, yaml, {}, 'run.yaml');
  const refusals = [
    ['? '.repeat(5000), 'run.yaml:1: more than 64 parts begin in one another'],
    [`seed: 1\na: ${'['.repeat(20_000)}`, 'run.yaml:2: more than 64 parts begin in one another'],
    [`seed: 1\n}${'{a: '.repeat(20_000)}`, 'run.yaml:2: Unexpected flow-map-end token'],
    ["'a' ".repeat(20_000), 'run.yaml:1: Unexpected single-quoted-scalar'],
    ['#'.repeat(2 ** 17 + 1), 'run.yaml: the file is too large'],
    ['a: &a [*a]', 'run.yaml'],
  ];
  for (const [yaml, why] of refusals) {
    const began = process.cpuUsage();
    expect(() => read(yaml), yaml.slice(0, 20)).toThrow(why);
    const { user, system } = process.cpuUsage(began);
    expect((user + system) / 1000, yaml.slice(0, 20)).toBeLessThan(3000);
  }
});
