/** @file A short soak of what test/long/serve.test.ts does for ten minutes. */
import { it } from 'vitest';
import { judge, soak } from './soak.js';

it('64 clients, a third of them leaving: every answer right, and nothing kept', async () => {
  judge(await soak({ seconds: 4, rounds: 4, clients: 64 }), 6e6);
});
