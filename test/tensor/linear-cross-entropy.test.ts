/** @file linearCrossEntropy: PyTorch's values and gradients however the rows are cut, and no more in memory than a chunk of them. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileGraph } from '../../src/compile/compile.js';
import { ReferenceDevice } from '../../src/device/reference/reference.js';
import { setDevice } from '../../src/device/registry.js';
import type { Program } from '../../src/kernel/program.js';
import {
  type LinearCrossEntropyOptions,
  linearCrossEntropy,
  random,
  type Tensor,
  tensor,
  traceFunction,
  Variable,
  valueAndGrad,
  zeros,
} from '../../src/tensor/index.js';
import { devices } from '../conformance/harness.js';

interface Values {
  shape: number[];
  data: number[];
}
interface Case {
  name: string;
  ignoreIndex: number;
  labelSmoothing: number;
  hidden: Values;
  weight: Values;
  labels: number[];
  probe: Values;
  loss: Values;
  hiddenGradient: Values;
  weightGradient: Values;
}
const cases: Case[] = JSON.parse(readFileSync(new URL('../golden/linear_cross_entropy.json', import.meta.url), 'utf8'));
const close = (got: ArrayLike<number>, want: ArrayLike<number>, what: string, tolerance = 1e-5): void => {
  expect(got.length, what).toBe(want.length);
  const scale = Math.max(1, ...Array.from(want, Math.abs));
  for (let i = 0; i < want.length; i++)
    expect(Math.abs(got[i] - want[i]) / scale, `${what} ${i}: ${got[i]} against ${want[i]}`).toBeLessThanOrEqual(tolerance);
};
const of = (v: Values): Tensor => tensor(v.data, { shape: v.shape });

/** The losses of rows, and the gradients of Σ probe·loss. */
async function lossAndGradients(
  hidden: Tensor,
  weight: Tensor,
  labels: Tensor,
  probe: Tensor,
  options: LinearCrossEntropyOptions,
): Promise<[loss: ArrayLike<number>, hidden: ArrayLike<number>, weight: ArrayLike<number>]> {
  const rows = linearCrossEntropy(hidden, weight, labels, options);
  const [, [dh, dw]] = valueAndGrad((h, w) => linearCrossEntropy(h, w, labels, options).mul(probe).sum(), [0, 1])(hidden, weight);
  return [await rows.data(), await dh.data(), await dw.data()];
}

const all = await devices();
describe.each(all.map((d) => ({ name: d.name })))('golden vectors on $name', ({ name }) => {
  for (const c of cases)
    it(c.name, async () => {
      setDevice(name);
      const { ignoreIndex, labelSmoothing } = c;
      for (const chunkRows of [undefined, 4]) {
        const options = { ignoreIndex, labelSmoothing, ...(chunkRows ? { chunkRows } : {}) };
        const made = await lossAndGradients(of(c.hidden), of(c.weight), tensor(c.labels, 'i32'), of(c.probe), options);
        close(made[0], c.loss.data, 'loss');
        close(made[1], c.hiddenGradient.data, 'gradient of hidden');
        close(made[2], c.weightGradient.data, 'gradient of weight');
      }
    });
});

describe('rows in chunks', () => {
  it('give what all rows at once give, on random shapes', async () => {
    const shapes = fc.record({
      rows: fc.integer({ min: 1, max: 70 }),
      features: fc.integer({ min: 1, max: 9 }),
      classes: fc.integer({ min: 1, max: 20 }),
      chunkRows: fc.integer({ min: 1, max: 40 }),
      seed: fc.nat(1000),
      smoothing: fc.constantFrom(0, 0.2),
    });
    await fc.assert(
      fc.asyncProperty(shapes, async ({ rows, features, classes, chunkRows, seed, smoothing }) => {
        const hidden = random.normal([rows, features], 0, 1, { seed });
        const weight = random.normal([classes, features], 0, 1, { seed: seed + 1 });
        // One below and one above the classes.
        const labels = random.randint([rows], -1, classes + 1, { seed: seed + 2 });
        const probe = random.normal([rows], 0, 1, { seed: seed + 3 });
        const few = await lossAndGradients(hidden, weight, labels, probe, { chunkRows, labelSmoothing: smoothing });
        const whole = await lossAndGradients(hidden, weight, labels, probe, { chunkRows: rows, labelSmoothing: smoothing });
        for (const i of [0, 1, 2] as const) close(few[i], whole[i], `${i}`);
      }),
      { numRuns: 20, seed: 3 },
    );
  });
  it('take the same gradient where it depends on the losses of all rows', async () => {
    const [hidden, weight] = [of(cases[0].hidden), of(cases[0].weight)];
    const labels = tensor(cases[0].labels, 'i32');
    const total = (chunkRows: number) => (h: Tensor, w: Tensor) => linearCrossEntropy(h, w, labels, { chunkRows }).sum().square();
    const [value, [dh, dw]] = valueAndGrad(total(4), [0, 1])(hidden, weight);
    const [other, [eh, ew]] = valueAndGrad(total(100), [0, 1])(hidden, weight);
    close(await value.data(), await other.data(), 'value');
    close(await dh.data(), await eh.data(), 'hidden');
    close(await dw.data(), await ew.data(), 'weight');
  });
  it('compute with 16-bit operands in f32: the gradient of an f32 matrix too', async () => {
    const c = cases[0];
    const labels = tensor(c.labels, 'i32');
    const run = (h: Tensor, w: Tensor) => lossAndGradients(h, w, labels, of(c.probe), { chunkRows: 4 });
    // Kernels keep f32 between operations: what is rounded is what was stored.
    const [hidden, weight] = [await of(c.hidden).cast('bf16').realize(), await of(c.weight).cast('bf16').realize()];
    const [loss, , dw] = await run(hidden, of(c.weight));
    const exact = await run(hidden.cast('f32'), weight.cast('f32'));
    close(loss, exact[0], 'loss', 2e-4);
    close(dw, exact[2], 'weight', 1e-2);
  });
  it('keep the leading axes', async () => {
    const hidden = random.normal([2, 3, 4], 0, 1, { seed: 1 });
    const weight = random.normal([5, 4], 0, 1, { seed: 2 });
    const labels = tensor([0, 1, 2, 3, 4, -100], { shape: [2, 3], dtype: 'i32' });
    const loss = linearCrossEntropy(hidden, weight, labels, { chunkRows: 2 });
    expect(loss.shape).toEqual([2, 3]);
    close(await loss.data(), await linearCrossEntropy(hidden.reshape([6, 4]), weight, labels.flatten()).data(), 'loss');
    expect(linearCrossEntropy(zeros([0, 4]), weight, tensor([], { shape: [0], dtype: 'i32' })).shape).toEqual([0]);
  });
});

describe('memory', () => {
  const rows = 256;
  const features = 24;
  // So many that a softmax's passes are kernels of their own.
  const classes = 9216;
  const chunkRows = 32;
  const { target } = new ReferenceDevice();
  // Scores, or their gradient in the same place, and the copy of it that the matrix's product reads.
  const chunk = 2 * 4 * chunkRows * classes;
  const table = 4 * classes * features;

  /** The Program of a step in which the losses are followed by `total`. */
  function program(total: (losses: Tensor, labels: Tensor) => Tensor, isFrozen = false, clip = true): Program {
    const weight = new Variable(zeros([classes, features]), { name: 'weight' });
    const body = new Variable(zeros([features, features]), { name: 'body' });
    const variables = isFrozen ? [body] : [weight, body];
    const graph = traceFunction(
      ([x, labels]) => {
        const loss = () => total(linearCrossEntropy(x.matmul(body).tanh(), weight, labels, { chunkRows }), labels);
        const { value, gradients } = valueAndGrad(loss, variables);
        const norm = gradients.map((g) => g.square().sum()).reduce((a, b) => a.add(b));
        for (const [i, v] of variables.entries()) v.assign(v.value.sub(clip ? gradients[i].div(norm) : gradients[i]));
        return [value];
      },
      [
        { shape: [rows, features], dtype: 'f32' },
        { shape: [rows], dtype: 'i32' },
      ],
    );
    return compileGraph(graph, target).program;
  }
  const products = ({ calls }: Program): number => calls.filter((c) => /\bdot\b/.test(c.kernel.label) && c.kernel.flops > 1e6).length;
  const mean = (losses: Tensor, labels: Tensor): Tensor => losses.sum().div(labels.notEqual(-100).cast('f32').sum().maximum(1));

  it('is a chunk of scores and the gradient of the matrix, though it waits for its norm; no product is made twice', () => {
    const step = program(mean);
    expect(step.arenaBytes).toBeLessThan(1.1 * (chunk + table));
    expect(products(step)).toBe((3 * rows) / chunkRows);
  });
  it('is a chunk alone where the gradient goes into an update, or the matrix is frozen', () => {
    expect(program(mean, false, false).arenaBytes).toBeLessThan(1.1 * (chunk + table));
    const frozen = program(mean, true);
    expect(frozen.arenaBytes).toBeLessThan(0.6 * chunk);
    expect(products(frozen)).toBe((2 * rows) / chunkRows);
  });
  it('is no more where the gradient waits for all losses: the scores are made again', () => {
    const step = program((losses) => losses.sum().exp().add(1).log());
    expect(step.arenaBytes).toBeLessThan(1.1 * (chunk + table));
    expect(products(step)).toBe((4 * rows) / chunkRows);
  });
});

it('says what does not fit', () => {
  const [hidden, weight, labels] = [zeros([3, 4]), zeros([5, 4]), zeros([3], 'i32')];
  expect(() => linearCrossEntropy(hidden, zeros([4, 5]), labels)).toThrow(/hidden \[3, 4\] and weight \[4, 5\] do not fit/);
  expect(() => linearCrossEntropy(hidden, weight, zeros([4], 'i32'))).toThrow(/labels \[4\] do not fit/);
  expect(() => linearCrossEntropy(hidden, weight, labels, { chunkRows: 0 })).toThrow(/chunkRows/);
  expect(() => linearCrossEntropy(hidden, weight, labels, { labelSmoothing: 2 })).toThrow(/labelSmoothing/);
  // @ts-expect-error Not an option.
  expect(() => linearCrossEntropy(hidden, weight, labels, { ignoreindex: 1 })).toThrow(/ignoreindex/);
});
