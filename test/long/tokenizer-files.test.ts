/** @file Thousands of damaged tokenizer files and chat templates: typed errors, bounded time and memory. */
import { expect, it } from 'vitest';
import { fuzzTemplates, fuzzTokenizers } from '../llm/fuzz.js';
import { smallTokenizer } from '../llm/support.js';
import { randomNumbers } from '../robustness/command.js';

const runs = Number(process.env.TENON_TEST_RUNS ?? '2000');

it('tokenizer.json and tokenizer_config.json', async () => {
  const { loaded, refused, slowest } = await fuzzTokenizers(runs, randomNumbers(1));
  console.log(`${loaded} loaded, ${refused} refused, the slowest after ${(slowest / 1000).toFixed(1)} s`);
  expect(Math.min(loaded, refused)).toBeGreaterThan(runs / 10);
  expect(slowest).toBeLessThan(30_000);
  expect(process.resourceUsage().maxRSS).toBeLessThan(3e6);
});

it('chat templates', async () => {
  const { loaded, refused, slowest } = await fuzzTemplates(await smallTokenizer(), runs, randomNumbers(2));
  console.log(`${loaded} rendered, ${refused} refused, the slowest after ${(slowest / 1000).toFixed(1)} s`);
  expect(Math.min(loaded, refused)).toBeGreaterThan(runs / 20);
  expect(slowest).toBeLessThan(30_000);
  expect(process.resourceUsage().maxRSS).toBeLessThan(3e6);
});
