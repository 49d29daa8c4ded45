/** @file Every primitive, on odd and ordinary shapes, on every device against the oracle. A new device passes by adding no test. */
import { describe, it } from 'vitest';
import { primitives } from '../../src/graph/primitives/index.js';
import { cases } from './cases.js';
import { conforms, devices } from './harness.js';

const covered = new Set(cases.flatMap((c) => c.covers));
const all = await devices();
describe('coverage', () => {
  it('has a case for every primitive', ({ expect }) => {
    expect(Object.keys(primitives).filter((p) => !covered.has(p))).toEqual([]);
  });
});
describe.each(all.map((d) => ({ name: d.name, device: d })))('$name', ({ device }) => {
  for (const c of cases)
    it(c.name, async () => {
      const { outputs, feeds } = c.build();
      await conforms(device, outputs, feeds, c.tolerance, c.name);
    });
});
