/** @file kill -9 and Ctrl-C at random moments of `tenon train`, TENON_TEST_MOMENTS of them. */
import { expect, it } from 'vitest';
import { endAtRandomMoments } from '../robustness/moments.js';

const MOMENTS = Number(process.env.TENON_TEST_MOMENTS ?? 200);

it(`a training that is killed or interrupted at ${MOMENTS} moments goes on as if nothing had happened`, async () => {
  const spread = await endAtRandomMoments(MOMENTS, Number(process.env.TENON_TEST_SEED ?? 7));
  console.info('moments by where they fell:', spread);
  expect(Object.values(spread).reduce((n, k) => n + k)).toBe(MOMENTS);
});
