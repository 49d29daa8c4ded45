/** @file Every primitive, on odd and ordinary shapes, on every device against the oracle. A new device passes by adding no test. */
import { describe, it } from 'vitest';
import { gradients } from '../../src/autodiff/vjp.js';
import { isFloat } from '../../src/base/dtype.js';
import type { Node } from '../../src/graph/node.js';
import { primitives } from '../../src/graph/primitives/index.js';
import { type Case, cases } from './cases.js';
import { compileTogether, conforms, devices, type Feed, feed } from './harness.js';

interface Built extends Omit<Case, 'build' | 'covers'> {
  readonly outputs: Node[];
  readonly feeds: Feed[];
}
const values: Built[] = cases.map(({ name, tolerance, build }) => ({ name, tolerance, ...build() }));
/** The gradients of every case that has some, as graphs: each is a program of its own. */
const slopes: Built[] = values.flatMap(({ name, outputs, feeds }) => {
  const output = outputs.find((n) => isFloat(n.dtype));
  const inputs = feeds.map((f) => f.node).filter((n) => isFloat(n.dtype));
  if (!output || inputs.length === 0) return [];
  const seed = feed(output.dtype, output.shape);
  const found = gradients(output, seed.node, inputs).filter((g) => g.op !== 'constant');
  return found.length === 0 ? [] : [{ name: `gradient of ${name}`, outputs: found, feeds: [...feeds, seed], tolerance: 1e-4 }];
});

const covered = new Set(cases.flatMap((c) => c.covers));
const all = await devices();
describe('coverage', () => {
  it('has a case for every primitive', ({ expect }) => {
    expect(Object.keys(primitives).filter((p) => !covered.has(p))).toEqual([]);
  });
});
const graphs = [...values, ...slopes];
const native = all.find((d) => d.name === 'native');
if (native)
  await compileTogether(
    native,
    graphs.map((g) => g.outputs),
  );
describe.each(all.map((d) => ({ name: d.name, device: d })))('$name', ({ device }) => {
  for (const { name, outputs, feeds, tolerance } of graphs) it(name, () => conforms(device, outputs, feeds, tolerance, name));
});
