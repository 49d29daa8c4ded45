/** @file How many f32 operations a second the current device does in a product of two square matrices. */
import { compileStep, matmul, random, variable, zeros } from '../tensor/index.js';

/** Runs at least: on a slow device a few last longer than the time there is. */
const leastRuns = 3;

export interface ProductRate {
  readonly gflops: number;
  /** Rows and columns of the matrices. */
  readonly size: number;
}

/**
 * The best of some time on the current device: other work on the machine lowers a rate, and nothing raises it. Throws what the device throws.
 * @param size one that keeps the device busy for some milliseconds.
 * @param budgetMs milliseconds of measuring.
 */
export async function measureProductRate(size: number, budgetMs = 300): Promise<ProductRate> {
  const [a, b] = [1, 2].map((seed) => variable(random.uniform([size, size], -1, 1, { seed })));
  const c = variable(zeros([size, size]));
  // Into a Variable: nothing is copied in or out, so that a run is the product alone.
  const step = await compileStep(
    () => {
      c.assign(matmul(a, b));
      return { outputs: [] };
    },
    [],
    { name: 'product rate' },
  );
  let best = Number.POSITIVE_INFINITY;
  const end = performance.now() + budgetMs;
  for (let runs = 0; runs < leastRuns || performance.now() < end; runs++) {
    const start = performance.now();
    await step.run();
    best = Math.min(best, performance.now() - start);
  }
  return { gflops: (2 * size ** 3) / best / 1e6, size };
}
