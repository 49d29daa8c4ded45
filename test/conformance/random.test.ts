/** @file The same random numbers on every device: bits and uniforms alike, normals to 2 ulp. */
import { describe, expect, it } from 'vitest';
import { setDevice } from '../../src/device/registry.js';
import { random, setRandomSeed } from '../../src/tensor/index.js';
import { devices } from './harness.js';

// So many that the device in use computes them, and an odd number.
const n = 300_001;
async function drawn(device: string): Promise<{ uniform: ArrayLike<number>; integers: ArrayLike<number>; normal: ArrayLike<number> }> {
  setDevice(device);
  setRandomSeed(11);
  return {
    uniform: await random.uniform([n]).data(),
    integers: await random.randint([n], -1000, 1_000_000).data(),
    normal: await random.normal([n]).data(),
  };
}
/** Distance between neighbouring floats at x. */
const ulp = (x: number): number => 2 ** (Math.floor(Math.log2(Math.max(Math.abs(x), 2 ** -126))) - 23);

const all = await devices();
const plain = await drawn('reference');
describe.each(all.map((d) => ({ name: d.name })))('$name', ({ name }) => {
  it('draws what the plain device draws', async () => {
    const found = await drawn(name);
    let different = 0;
    let worst = 0;
    for (let i = 0; i < n; i++) {
      if (found.uniform[i] !== plain.uniform[i] || found.integers[i] !== plain.integers[i]) different++;
      worst = Math.max(worst, Math.abs(found.normal[i] - plain.normal[i]) / ulp(plain.normal[i]));
    }
    expect(different).toBe(0);
    expect(worst).toBeLessThanOrEqual(2);
  }, 120_000);
});
