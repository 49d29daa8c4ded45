/** @file Random graphs of many primitives, with values that are used several times and overwritten Variables' worth of outputs, on every device. */
import fc from 'fast-check';
import { describe, it } from 'vitest';
import { conforms, devices } from './harness.js';
import { randomGraph } from './random-graph.js';

const runs = Number(process.env.TENON_TEST_RUNS ?? 40);

const all = await devices();
describe.each(all.map((d) => ({ name: d.name, device: d })))('$name', ({ name, device }) => {
  it('computes random graphs and their gradients as the oracle does', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(1000), { minLength: 40, maxLength: 80 }),
        fc.integer({ min: 1, max: 14 }),
        async (choices, steps) => {
          const { outputs, feeds } = randomGraph(choices, steps);
          await conforms(device, outputs, feeds, 3e-4);
        },
      ),
      // Each native run compiles a few new kernels.
      { numRuns: name === 'reference' ? runs * 5 : Math.ceil(runs / 4), seed: 11 },
    );
  }, 600_000);

  it('computes alike graphs in one program, whose groups are lowered once, each of its own operands', async () => {
    const inOne = async (graphs: readonly ReturnType<typeof randomGraph>[]): Promise<void> =>
      conforms(
        device,
        graphs.flatMap((g) => g.outputs),
        graphs.flatMap((g) => g.feeds),
        3e-4,
      );
    const choices = fc.array(fc.nat(1000), { minLength: 40, maxLength: 80 });
    await fc.assert(
      // The last differs from the first in what it ends with.
      fc.asyncProperty(choices, fc.integer({ min: 1, max: 8 }), (list, steps) =>
        inOne([randomGraph(list, steps), randomGraph(list, steps), randomGraph(list, steps + 1)]),
      ),
      { numRuns: name === 'reference' ? runs : Math.ceil(runs / 10), seed: 12 },
    );
  }, 600_000);
});
