/** @file The soak of test/serve for ten minutes; TENON_SOAK_SECONDS says how long. */
import { it } from 'vitest';
import { judge, soak } from '../serve/soak.js';

const SECONDS = Number(process.env.TENON_SOAK_SECONDS ?? 600);

it(`64 clients for ${SECONDS} s, a third of them leaving: every answer right, and nothing kept`, async () => {
  const result = await soak({ seconds: SECONDS, rounds: 20, clients: 64 });
  console.log(JSON.stringify({ ...result, wrong: result.wrong.length }));
  judge(result, 2e6);
});
