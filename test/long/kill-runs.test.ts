/** @file kill -9 of `tenon pretrain` and `tenon finetune` (LoRA, QLoRA, full weights, preferences), TENON_TEST_MOMENTS of them. */
import { expect, it } from 'vitest';
import { killRuns, phaseNames } from '../llm/run-moments.js';

const MOMENTS = Number(process.env.TENON_TEST_MOMENTS ?? 200);

it(`pretraining and fine-tuning that are killed at ${MOMENTS} moments go on and end with the same files`, async () => {
  const killed = await killRuns({
    moments: MOMENTS,
    seed: Number(process.env.TENON_TEST_SEED ?? 7),
    kinds: ['pretrain', 'lora', 'qlora', 'full', 'dpo'],
    phases: phaseNames,
    momentsOfRun: 5,
    device: 'native',
  });
  console.info('killed at:', killed);
  expect(Object.values(killed).reduce((n, k) => n + k)).toBe(MOMENTS);
  expect(killed['too late']).toBeLessThan(MOMENTS / 3);
});
