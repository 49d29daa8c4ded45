/** @file What surrounds the rules: clipping, decay, averages, accumulation, constraints, the learning rate. */
import { describe, expect, it } from 'vitest';
import { getOptimizer } from '../../src/optimizers/index.js';
import { compileStep, tensor, valueAndGrad, variable } from '../../src/tensor/index.js';

describe('optimizer', () => {
  it('learns a line, eagerly and compiled alike', async () => {
    const x = tensor([[0], [1], [2], [3]]);
    const y = tensor([[1], [3], [5], [7]]);
    const run = async (compiled: boolean): Promise<number[]> => {
      const w = variable([[0]], { name: 'w' });
      const b = variable([0], { name: 'b' });
      const adam = getOptimizer({ className: 'adam', config: { learningRate: 0.2 } });
      const step = () => {
        const { value, gradients } = valueAndGrad(() => x.matmul(w).add(b).sub(y).square().mean(), [w, b]);
        adam.apply(gradients, [w, b]);
        return value;
      };
      adam.build([w, b]);
      if (compiled) {
        const program = await compileStep(() => ({ outputs: [step()] }), []);
        for (let i = 0; i < 100; i++) await program.run();
      } else for (let i = 0; i < 100; i++) step();
      expect(await adam.iterations.data()).toEqual(Int32Array.of(100));
      return [...(await w.data()), ...(await b.data())];
    };
    const eager = await run(false);
    const compiled = await run(true);
    expect(Math.abs(eager[0] - 2)).toBeLessThan(0.05);
    expect(Math.abs(eager[1] - 1)).toBeLessThan(0.1);
    eager.forEach((v, i) => expect(v).toBeCloseTo(compiled[i], 4));
  });
});
