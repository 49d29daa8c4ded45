/** @file A short one of what test/long/real-serve.test.ts does for ten minutes. */
import { it } from 'vitest';
import { ensureBuilt } from '../cli/built.js';
import { judgeReal, realSoak } from './real-soak.js';

it('64 clients of a real model, a third of them leaving: every answer right, and nothing kept', { timeout: 120_000 }, async () => {
  await ensureBuilt();
  // A socket or two of each round may still be closing; were they kept, there would be one a client.
  judgeReal(await realSoak({ seconds: 6, rounds: 4, clients: 64, device: 'wasm' }), { heap: 6e6, rss: 60e6, resources: 12 });
});
