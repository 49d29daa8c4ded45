/** @file Every rule against golden vectors of seven steps, eager and compiled; schedules as numbers and traced. */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { setDevice } from '../../src/device/registry.js';
import { getOptimizer, getSchedule, optimizers, schedules, serializeSchedule } from '../../src/optimizers/index.js';
import type { Config } from '../../src/optimizers/schedules.js';
import { compileStep, jit, tensor, variable } from '../../src/tensor/index.js';

interface Golden {
  shapes: number[][];
  start: number[][];
  gradients: number[][][];
  runs: { optimizer: string; options: Config; weights: number[][][] }[];
  schedules: { schedule: string; options: Config; rates: number[] }[];
}
const golden: Golden = JSON.parse(readFileSync(new URL('../golden/optimizers.json', import.meta.url), 'utf8'));
const weightsOf = () => golden.start.map((w, i) => variable(tensor(w, { shape: golden.shapes[i] }), { name: `w${i}` }));
const gradientsAt = (step: number) => golden.gradients[step].map((g, i) => tensor(g, { shape: golden.shapes[i] }));

/** Compares what the weights moved by, where rounding would hide in the weights themselves. */
function expectMoved(got: ArrayLike<number>, want: readonly number[], start: readonly number[], what: string): void {
  want.forEach((w, k) => {
    const bound = 2e-4 * Math.abs(w - start[k]) + 4e-7 * Math.max(1, Math.abs(w));
    expect(Math.abs(got[k] - w), `${what}, element ${k}: ${got[k]} against ${w} from ${start[k]}`).toBeLessThan(bound);
  });
}

// Many small programs: without a C compiler's start for each.
beforeAll(() => setDevice('reference'));

describe('rules', () => {
  golden.runs.forEach((run, n) => {
    const title = `${run.optimizer} ${JSON.stringify(run.options)}`;
    it(`${n} ${title}`, async () => {
      const optimizer = getOptimizer({ className: run.optimizer, config: run.options });
      const weights = weightsOf();
      optimizer.build(weights);
      for (let step = 0; step < run.weights.length; step++) {
        optimizer.apply(gradientsAt(step), weights);
        for (const [i, w] of weights.entries()) expectMoved(await w.data(), run.weights[step][i], golden.start[i], `step ${step}`);
      }
    });
  });
  it('covers every optimizer', () => {
    expect([...new Set(golden.runs.map((r) => r.optimizer))].sort()).toEqual(Object.keys(optimizers).sort());
  });
  it('is the same in a compiled step', async () => {
    for (const name of Object.keys(optimizers)) {
      const run = golden.runs.find((r) => r.optimizer === name);
      if (!run) throw new Error(name);
      const optimizer = getOptimizer({ className: name, config: run.options });
      const weights = weightsOf();
      optimizer.build(weights);
      const step = await compileStep(
        (gradients) => {
          optimizer.apply(gradients, weights);
          return { outputs: [] };
        },
        golden.shapes.map((shape) => ({ shape, dtype: 'f32' })),
      );
      for (const [s] of run.weights.entries()) await step.run(gradientsAt(s));
      const last = run.weights[run.weights.length - 1];
      for (const [i, w] of weights.entries()) expectMoved(await w.data(), last[i], golden.start[i], name);
    }
  });
});

describe('schedules', () => {
  golden.schedules.forEach((table, n) => {
    it(`${n} ${table.schedule} ${JSON.stringify(table.options)}`, async () => {
      const schedule = getSchedule({ className: table.schedule, config: table.options });
      const top = Math.max(...table.rates);
      for (const [step, rate] of table.rates.entries())
        expect(Math.abs(schedule.at(step) - rate), `at ${step}: ${schedule.at(step)} against ${rate}`).toBeLessThan(1e-7 * top);
      const traced = jit((step: ReturnType<typeof tensor>) => schedule.call(step));
      for (const step of [0, 1, 4, 5, 7, 8, 10, 14, 15, 20, 26, 29]) {
        const got = await traced(tensor(step, 'i32')).item();
        expect(Math.abs(got - schedule.at(step)), `traced at ${step}: ${got} against ${schedule.at(step)}`).toBeLessThan(2e-6 * top);
      }
      expect(getSchedule(JSON.parse(JSON.stringify(serializeSchedule(schedule)))).at(9)).toBe(schedule.at(9));
    });
  });
  it('covers every schedule', () => {
    expect([...new Set(golden.schedules.map((t) => t.schedule))].sort()).toEqual(Object.keys(schedules).sort());
  });
  it('warms up into another schedule, also after a file', () => {
    const next = schedules.exponentialDecay({ initialLearningRate: 1, decaySteps: 1, decayRate: 0.5 });
    const warm = schedules.linearWarmup({ learningRate: next, warmupSteps: 4 });
    const again = getSchedule(JSON.parse(JSON.stringify(serializeSchedule(warm))));
    for (const s of [warm, again]) expect([0, 1, 2, 3, 4, 5, 6].map((t) => s.at(t))).toEqual([0, 0.25, 0.5, 0.75, 1, 0.5, 0.25]);
  });
  it('finds restarts far out on the right step', async () => {
    const s = schedules.cosineDecayRestarts({ initialLearningRate: 1, firstDecaySteps: 1000, tMul: 3 });
    for (const restart of [0, 1000, 4000, 13000, 40000, 121000, 364000]) {
      expect(s.at(restart)).toBe(1);
      expect(await s.call(tensor(restart, 'i32')).item()).toBe(1);
      if (restart > 0) expect(s.at(restart - 1)).toBeLessThan(0.01);
    }
  });
  it('refuses impossible options', () => {
    expect(() => schedules.piecewiseConstantDecay({ boundaries: [2, 1], values: [1, 2, 3] })).toThrow(/ascending/);
    expect(() => schedules.cosineDecay({ initialLearningRate: 1, decaySteps: 0 })).toThrow(/decaySteps/);
    expect(() => getSchedule({ className: 'nothing', config: {} })).toThrow(/not known/);
  });
});
