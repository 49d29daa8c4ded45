import { expect, it } from 'vitest';
import { endAtRandomMoments } from './moments.js';

// All moments: test/long/kill.test.ts.
it('a training that is killed or interrupted goes on as if nothing had happened', async () => {
  const spread = await endAtRandomMoments(6, 20260801);
  expect(Object.values(spread).reduce((n, k) => n + k)).toBe(6);
});
