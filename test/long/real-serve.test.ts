/** @file The soak of `tenon serve` with a real model for TENON_SOAK_MINUTES. */
import { expect, it } from 'vitest';
import { judgeReal, realSoak } from '../serve/real-soak.js';

const MINUTES = Number(process.env.TENON_SOAK_MINUTES ?? 10);

it(`64 clients of a real model for ${MINUTES} minutes, a third of them leaving: every answer right, and nothing kept`, async () => {
  const soak = await realSoak({ seconds: 60 * MINUTES, rounds: 20, clients: 64, device: 'native' });
  const megabytes = (of: 'rss' | 'heapUsed'): string => soak.memory.map((m) => (m[of] / 1e6).toFixed(1)).join(' ');
  console.info(JSON.stringify({ seen: soak.seen, report: soak.report }), `\nheap ${megabytes('heapUsed')}\nrss ${megabytes('rss')}`);
  judgeReal(soak, { heap: 2e6, rss: 30e6, resources: 2 });
  expect(soak.seen.streamed).toBeGreaterThan(100 * MINUTES);
});
