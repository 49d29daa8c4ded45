import { expect, it } from 'vitest';
import { ensureBuilt } from '../cli/built.js';
import { killRuns } from './run-moments.js';

// All moments, kinds and the compiled device: test/long/kill-runs.test.ts.
it('pretraining and LoRA that are killed go on and end with the same files', { timeout: 240_000 }, async () => {
  await ensureBuilt();
  const killed = await killRuns({
    moments: 4,
    seed: 20261126,
    kinds: ['pretrain', 'lora'],
    phases: ['tokens', 'later checkpoint', 'any', 'weights'],
    momentsOfRun: 2,
    device: 'wasm',
  });
  expect(Object.values(killed).reduce((n, k) => n + k)).toBe(4);
  expect(killed['too late']).toBeLessThan(2);
});
