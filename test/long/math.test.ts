/** @file The elementary functions on all 2^32 floats: the errors that src/render/c-math.ts states. */
import { describe, expect, it } from 'vitest';
import { compilers, targets } from '../render/c-run.js';
import { type Swept, stated, sweep } from '../render/c-sweep.js';

describe.skipIf(compilers.length === 0)('all floats', () => {
  it.each(Object.keys(stated) as Swept[])('%s', async (name) => {
    const [found] = await sweep([name], targets[0], compilers[0], 1);
    console.log(`${name}: ${found.ulp} ulp at ${found.at}`);
    expect(found.wrong, `wrong at ${found.wrongAt}`).toBe(0);
    expect(found.ulp, `at ${found.at}`).toBeLessThanOrEqual(targets[0].hasFma ? stated[name].ulp : stated[name].plain);
    if (name !== 'sin' && name !== 'cos') expect(found.checked).toBeGreaterThanOrEqual(2 ** 32);
  });
});
