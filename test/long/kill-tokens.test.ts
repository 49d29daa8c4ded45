/** @file kill -9 at random moments of tokenizing, TENON_TEST_MOMENTS of them. */
import { expect, it } from 'vitest';
import { killAtRandomMoments } from '../llm/data/moments.js';

const MOMENTS = Number(process.env.TENON_TEST_MOMENTS ?? 200);

it(`tokenizing that is killed at ${MOMENTS} moments goes on and ends with the same files`, async () => {
  const { killed, shards } = await killAtRandomMoments(MOMENTS, Number(process.env.TENON_TEST_SEED ?? 7));
  console.info(`${killed} of ${2 * MOMENTS} runs were killed before their end; ${shards} shards`);
  expect(killed).toBeGreaterThan(MOMENTS / 2);
});
