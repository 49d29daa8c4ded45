/** @file Every primitive, on odd and ordinary shapes, on every device against the oracle. A new device passes by adding no test. */
import { describe, it } from 'vitest';
import { gradients } from '../../src/autodiff/vjp.js';
import { isFloat } from '../../src/base/dtype.js';
import type { Node } from '../../src/graph/node.js';
import { primitives } from '../../src/graph/primitives/index.js';
import { cases } from './cases.js';
import { conforms, devices, type Feed, feed } from './harness.js';

/** The gradients of every case that has some, as graphs: each is a program of its own. */
function gradientCases(): { name: string; outputs: Node[]; feeds: Feed[] }[] {
  return cases.flatMap((c) => {
    const { outputs, feeds } = c.build();
    const output = outputs.find((n) => isFloat(n.dtype));
    const inputs = feeds.map((f) => f.node).filter((n) => isFloat(n.dtype));
    if (!output || inputs.length === 0) return [];
    const seed = feed(output.dtype, output.shape);
    const found = gradients(output, seed.node, inputs).filter((g) => g.op !== 'constant');
    return found.length === 0 ? [] : [{ name: c.name, outputs: found, feeds: [...feeds, seed] }];
  });
}

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
  for (const { name, outputs, feeds } of gradientCases())
    it(`${name}, gradient`, async () => conforms(device, outputs, feeds, 1e-4, `gradient of ${name}`));
});
