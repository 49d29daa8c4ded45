/** @file What surrounds the rules: clipping, decay, averages, accumulation, constraints, the learning rate. */
import { describe, expect, it } from 'vitest';
import { getOptimizer, type Optimizer, optimizers, registerOptimizer, schedules, serializeOptimizer } from '../../src/optimizers/index.js';
import { compileStep, type Tensor, tensor, type Variable, valueAndGrad, variable } from '../../src/tensor/index.js';

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
    for (const [i, v] of eager.entries()) expect(v).toBeCloseTo(compiled[i], 4);
  });
});

const pair = (): Variable[] => [variable([1, -2, 3], { name: 'dense/kernel' }), variable([0.5, 0.25], { name: 'dense/bias' })];
const slopes = (k: number): Tensor[] => [tensor([0.1 * k, -0.2, 0.3]), tensor([k, 1 - k])];
const values = async (variables: readonly Variable[]): Promise<number[][]> =>
  Promise.all(variables.map(async (v) => [...(await v.data())]));
const closeTo = (got: number[][], want: number[][], digits = 5): void => {
  for (const [i, row] of want.entries()) for (const [k, x] of row.entries()) expect(got[i][k], `${i}, ${k}`).toBeCloseTo(x, digits);
};

describe('learning rate', () => {
  it('is set between compiled steps without compiling again', async () => {
    const [w] = pair();
    const sgd = optimizers.sgd({ learningRate: 1 });
    sgd.build([w]);
    const step = await compileStep(
      ([g]) => {
        sgd.apply([g], [w]);
        return { outputs: [sgd.currentLearningRate()] };
      },
      [{ shape: [3], dtype: 'f32' }],
    );
    await step.run([Float32Array.of(1, 1, 1)]);
    sgd.learningRate = 0.25;
    const [rate] = await step.run([Float32Array.of(1, 1, 1)]);
    expect([...rate]).toEqual([0.25]);
    expect(sgd.learningRate).toBe(0.25);
    closeTo(await values([w]), [[-0.25, -3.25, 1.75]]);
  });
  it('is what a checkpoint wrote', () => {
    const adam = optimizers.adam();
    expect(adam.learningRate).toBe(0.001);
    const rate = adam.variables.find((v) => v.name === 'adam/learningRate');
    rate?.set(Float32Array.of(0.5));
    expect(adam.learningRate).toBe(0.5);
  });
  it('follows a schedule inside of a compiled step', async () => {
    const [w] = pair();
    const schedule = schedules.piecewiseConstantDecay({ boundaries: [0, 1], values: [1, 0.5, 0.25] });
    const sgd = optimizers.sgd({ learningRate: schedule });
    sgd.build([w]);
    const step = await compileStep(
      ([g]) => {
        sgd.apply([g], [w]);
        return { outputs: [] };
      },
      [{ shape: [3], dtype: 'f32' }],
    );
    for (let i = 0; i < 4; i++) await step.run([Float32Array.of(1, 0, 0)]);
    closeTo(await values([w]), [[1 - 1 - 0.5 - 0.25 - 0.25, -2, 3]]);
    expect(() => {
      sgd.learningRate = 0.1;
    }).toThrow(/a schedule and is set to a number/);
  });
});

describe('weight decay', () => {
  it('spares what is excluded by name or Variable', async () => {
    const decayed = async (change: (o: Optimizer, w: Variable[]) => void, names?: string[]): Promise<boolean[]> => {
      const weights = pair();
      const sgd = optimizers.sgd({ learningRate: 0.5, weightDecay: 0.5, excludeFromWeightDecay: names });
      change(sgd, weights);
      sgd.apply([tensor([0, 0, 0]), tensor([0, 0])], weights);
      return (await values(weights)).map((v, i) => Math.abs(v[0] - [1, 0.5][i]) > 0.1);
    };
    const nothing = (): void => undefined;
    expect(await decayed(nothing)).toEqual([true, true]);
    expect(await decayed(nothing, ['bias$'])).toEqual([true, false]);
    expect(await decayed((o) => o.excludeFromWeightDecay({ names: ['kernel'] }))).toEqual([false, true]);
    expect(await decayed((o, w) => o.excludeFromWeightDecay({ variables: [w[0]] }))).toEqual([false, true]);
  });
  it("is AdamW's by default only", () => {
    expect(optimizers.adamW().weightDecay).toBe(0.004);
    expect(optimizers.adamW({ weightDecay: null }).weightDecay).toBeNull();
    expect(optimizers.adam().weightDecay).toBeNull();
  });
});

describe('averages', () => {
  it('follow the weights, swap in and out, and overwrite at their frequency', async () => {
    const [w] = pair();
    const sgd = optimizers.sgd({ learningRate: 1, useEma: true, emaMomentum: 0.75, emaOverwriteFrequency: 3 });
    sgd.build([w]);
    const average = sgd.variables.find((v) => v.name.includes('average'));
    if (!average) throw new Error('no average');
    expect(average.name).toBe('sgd/average/dense/kernel');
    const [g] = [tensor([1, 0, 0])];
    sgd.apply([g], [w]);
    closeTo(await values([w, average]), [
      [0, -2, 3],
      [0, -2, 3],
    ]);
    sgd.apply([g], [w]);
    closeTo(await values([w, average]), [
      [-1, -2, 3],
      [-0.25, -2, 3],
    ]);
    sgd.swapAverages();
    expect(sgd.areAveragesIn).toBe(true);
    closeTo(await values([w]), [[-0.25, -2, 3]]);
    sgd.swapAverages();
    closeTo(await values([w, average]), [
      [-1, -2, 3],
      [-0.25, -2, 3],
    ]);
    sgd.apply([g], [w]);
    closeTo(await values([w, average]), [
      [-0.6875, -2, 3],
      [-0.6875, -2, 3],
    ]);
    expect(() => optimizers.sgd().swapAverages()).toThrow(/useEma/);
  });
});

describe('gradient accumulation', () => {
  it('of weighted windows is the update by all samples together', async () => {
    const [whole, parts] = [pair(), pair()];
    const [one, many] = [optimizers.adam({ globalClipNorm: 0.4 }), optimizers.adam({ globalClipNorm: 0.4, gradientAccumulationSteps: 2 })];
    one.build(whole);
    many.build(parts);
    const specs = [
      { shape: [3], dtype: 'f32' },
      { shape: [2], dtype: 'f32' },
      { shape: [], dtype: 'f32' },
    ] as const;
    const accumulate = await compileStep(([a, b, n]) => {
      many.accumulate([a, b], n, parts);
      return { outputs: [] };
    }, specs);
    const apply = await compileStep(() => {
      many.applyAccumulated(parts);
      return { outputs: [] };
    }, []);
    for (let window = 0; window < 3; window++) {
      const [a, b] = [slopes(window), slopes(window + 0.5)];
      // 3 samples, then 1: gradients of sums, divided by 4.
      one.apply(
        a.map((x, i) => x.add(b[i]).div(4)),
        whole,
      );
      await accumulate.run([...a, tensor(3)]);
      await accumulate.run([...b, tensor(1)]);
      await apply.run();
    }
    closeTo(await values(parts), await values(whole), 6);
    expect(await many.iterations.data()).toEqual(Int32Array.of(3));
    const before = await values(many.variables);
    await apply.run();
    expect(await values(many.variables), 'an empty window').toEqual(before);
  });
  it('of apply updates at every k-th call by the mean', async () => {
    const [whole, parts] = [pair(), pair()];
    const [one, many] = [optimizers.adam(), optimizers.adam({ gradientAccumulationSteps: 2 })];
    const [a, b] = [slopes(1), slopes(2)];
    many.apply(a, parts);
    expect(await values(parts)).toEqual(await values(whole));
    many.apply(b, parts);
    one.apply(
      a.map((x, i) => x.add(b[i]).div(2)),
      whole,
    );
    closeTo(await values(parts), await values(whole), 6);
    expect(await many.iterations.data()).toEqual(Int32Array.of(1));
    expect(() => one.accumulate(a, 1, whole)).toThrow(/gradientAccumulationSteps/);
  });
});

describe('state', () => {
  it('has stable names in stable order', () => {
    const adam = optimizers.adam({ useEma: true, gradientAccumulationSteps: 4 });
    adam.build([...pair(), variable([1], { name: 'dense/bias' })]);
    expect(adam.variables.map((v) => v.name)).toEqual([
      'adam/iterations',
      'adam/learningRate',
      'adam/m/dense/kernel',
      'adam/v/dense/kernel',
      'adam/m/dense/bias',
      'adam/v/dense/bias',
      'adam/m/dense/bias_1',
      'adam/v/dense/bias_1',
      ...['kernel', 'bias', 'bias_1'].map((w) => `adam/average/dense/${w}`),
      ...['kernel', 'bias', 'bias_1'].map((w) => `adam/gradientSum/dense/${w}`),
      'adam/windowWeight',
      'adam/windowCalls',
    ]);
    expect(optimizers.nadam().variables.map((v) => v.name)).toEqual(['nadam/iterations', 'nadam/learningRate']);
  });
  it('carried over continues bit for bit', async () => {
    for (const name of Object.keys(optimizers)) {
      const [weights, others] = [pair(), pair()];
      const first = getOptimizer(name);
      for (let k = 0; k < 3; k++) first.apply(slopes(k), weights);
      const second = getOptimizer(JSON.parse(JSON.stringify(serializeOptimizer(first))));
      second.build(others);
      const [from, to] = [
        [...weights, ...first.variables],
        [...others, ...second.variables],
      ];
      for (const [i, v] of from.entries()) to[i].set(await v.data());
      for (const [o, w] of [
        [first, weights],
        [second, others],
      ] as const)
        o.apply(slopes(5), w);
      expect(await values(others), name).toEqual(await values(weights));
    }
  });
  it('keeps f32 slots for weights of half precision', async () => {
    const w = variable(tensor([1, 2], 'bf16'), { name: 'w' });
    const adam = optimizers.adam({ learningRate: 0.5 });
    adam.apply([tensor([1, -1], 'bf16')], [w]);
    expect(w.dtype).toBe('bf16');
    expect(adam.variables.slice(2).map((v) => v.dtype)).toEqual(['f32', 'f32']);
    closeTo(await values([w]), [[0.5, 2.5]], 2);
  });
  it('applies constraints after the update', async () => {
    const [w, b] = pair();
    const sgd = optimizers.sgd({ learningRate: 1 });
    sgd.build([w, b], { constraintOf: (v) => (v === w ? (x) => x.maximum(0) : null) });
    sgd.apply([tensor([2, 0, 1]), tensor([1, 0])], [w, b]);
    closeTo(await values([w, b]), [
      [0, 0, 2],
      [-0.5, 0.25],
    ]);
  });
});

describe('names, configs, errors', () => {
  it('knows every spelling and comes back from its config', () => {
    expect(getOptimizer('AdamW').className).toBe('adamW');
    expect(getOptimizer('RMSprop').className).toBe('rmsprop');
    const learningRate = schedules.cosineDecay({ initialLearningRate: 0.1, decaySteps: 10 });
    const adam = optimizers.adam({ learningRate, beta1: 0.8, clipNorm: 1, excludeFromWeightDecay: ['bias'] });
    const again = getOptimizer(JSON.parse(JSON.stringify(serializeOptimizer(adam))));
    expect(again.getConfig()).toEqual(adam.getConfig());
    registerOptimizer('careful', () => optimizers.sgd({ learningRate: 1e-5, name: 'careful' }));
    expect(getOptimizer('careful').learningRate).toBe(1e-5);
  });
  it('says what is wrong', () => {
    expect(() => getOptimizer('nothing')).toThrow(/optimizer: "nothing" is not known.*adamW/);
    expect(() => getOptimizer({ className: 'adam', config: { lr: 0.1 } })).toThrow(/adam: there is no option "lr"/);
    expect(() => optimizers.adam({ clipNorm: 1, clipValue: 1 })).toThrow(/2 ways of clipping/);
    expect(() => optimizers.adam({ learningRate: Number.NaN })).toThrow(/learningRate is NaN/);
    expect(() => optimizers.adam({ gradientAccumulationSteps: 0.5 })).toThrow(/positive integer/);
    const [w, b] = pair();
    const adam = optimizers.adam();
    adam.build([w]);
    expect(() => adam.apply([tensor([1, 2, 3]), tensor([1, 2])], [w, b])).toThrow(/does not know "dense\/bias"/);
    expect(() => adam.apply([tensor([1, 2])], [w])).toThrow(/gradient of "dense\/kernel" does not fit/);
    expect(() => adam.apply([], [w])).toThrow(/0 gradients for 1 weights/);
  });
});
