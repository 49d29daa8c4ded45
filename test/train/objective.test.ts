import { describe, expect, it } from 'vitest';
import * as layers from '../../src/layers/index.js';
import { input } from '../../src/layers/symbolic.js';
import { model as functional } from '../../src/model/functional.js';
import { Model } from '../../src/model/model.js';
import { sequential } from '../../src/model/sequential.js';
import { optimizers } from '../../src/optimizers/index.js';
import { jit, setRandomSeed, type Tensor, tensor, valueAndGrad } from '../../src/tensor/index.js';
import type { Batch } from '../../src/train/batch.js';
import { points } from './support.js';

const quiet = { verbose: 0 } as const;
const column = (data: Float32Array, shape: number[]): { data: Float32Array; shape: number[]; dtype: 'f32' } => ({
  data,
  shape,
  dtype: 'f32',
});
const numbers = async (t: { data(): Promise<ArrayLike<number>> }): Promise<number[]> => Array.from(await t.data());

/** y = w·x with one weight. */
function line(optimizer = optimizers.sgd({ learningRate: 0.1 }), loss: unknown = 'mse'): Model {
  const model = sequential({ layers: [layers.dense({ units: 1, useBias: false, kernelInitializer: 'ones', inputShape: [1] })] });
  model.compile({ optimizer, loss: loss as 'mse' });
  return model;
}

describe('the loss', () => {
  it('is a mean over examples, weighted as Keras weighs', async () => {
    const model = line(optimizers.sgd({ learningRate: 0 }));
    const x = column(Float32Array.of(1, 2, 3), [3, 1]);
    const y = Float32Array.of(0, 0, 0);
    // w = 1: errors 1, 4, 9.
    expect((await model.evaluate(x, y, quiet)).loss).toBeCloseTo(14 / 3, 5);
    expect((await model.evaluate(x, y, { ...quiet, batchSize: 2 })).loss).toBeCloseTo(14 / 3, 5);
    // Σ w·l / n.
    expect((await model.evaluate(x, y, { ...quiet, sampleWeight: [1, 0, 2] })).loss).toBeCloseTo((1 + 18) / 3, 5);
    const history = await model.fit(x, y, { ...quiet, epochs: 2, batchSize: 2 });
    expect(history.history.loss[1]).toBeCloseTo(14 / 3, 5);
  });
  it('counts classes by classWeight', async () => {
    const { x, y } = points(20);
    const make = (): Model => {
      setRandomSeed(5);
      const m = sequential({ layers: [layers.dense({ units: 2, activation: 'softmax', inputShape: [2] })] });
      m.compile({ optimizer: optimizers.sgd({ learningRate: 0.5 }), loss: 'sparseCategoricalCrossentropy' });
      return m;
    };
    const [a, b] = [make(), make()];
    await a.fit(x, y, { ...quiet, shuffle: false, classWeight: { 0: 0.5, 1: 3 } });
    await b.fit(x, y, { ...quiet, shuffle: false, sampleWeight: Float32Array.from(y, (c) => (c === 0 ? 0.5 : 3)) });
    expect(await numbers(a.weights[0])).toEqual(await numbers(b.weights[0]));
    const c = make();
    await c.fit(x, y, { ...quiet, shuffle: false });
    expect(await numbers(a.weights[0])).not.toEqual(await numbers(c.weights[0]));
  });
  it('comes from logits where the model ends in softmax or sigmoid: probabilities of 0 keep their gradient', async () => {
    for (const [activation, loss, units] of [
      ['softmax', 'sparseCategoricalCrossentropy', 2],
      ['softmax', 'categoricalCrossentropy', 2],
      ['sigmoid', 'binaryCrossentropy', 1],
    ] as const)
      for (const tail of ['dense', 'layer']) {
        const dense = layers.dense({ units, kernelInitializer: 'zeros', inputShape: [1], ...(tail === 'dense' ? { activation } : {}) });
        const model = sequential({ layers: [dense, ...(tail === 'layer' ? [layers.activation({ activation })] : [])] });
        model.compile({ optimizer: optimizers.sgd({ learningRate: 0 }), loss, metrics: ['accuracy'] });
        model.setWeights(units === 2 ? [[[200, -200]], [0, 0]] : [[[200]], [0]]);
        // Sure, and wrong: from probabilities the loss would be at most −ln 1e-7 = 16.1.
        const result = await model.evaluate(column(Float32Array.of(1), [1, 1]), Int32Array.of(units === 2 ? 1 : 0), quiet);
        expect(result.loss).toBeCloseTo(units === 2 ? 400 : 200, 2);
        expect(result.accuracy).toBe(0);
      }
    // Not exactly a softmax: computed from what the model gives.
    const x = input({ shape: [1] });
    const scaled = layers
      .rescaling({ scale: 1 })
      .apply(layers.dense({ units: 2, activation: 'softmax', kernelInitializer: 'zeros' }).apply(x));
    const model = functional({ inputs: x, outputs: scaled });
    model.compile({ optimizer: 'sgd', loss: 'sparseCategoricalCrossentropy' });
    model.setWeights([[[200, -200]], [0, 0]]);
    expect((await model.evaluate(column(Float32Array.of(1), [1, 1]), Int32Array.of(1), quiet)).loss).toBeCloseTo(16.118, 2);
  });
  it('of time steps counts only those that the mask lets through', async () => {
    const model = sequential({
      layers: [
        layers.embedding({ inputDim: 4, outputDim: 4, maskZero: true, embeddingsInitializer: 'identity', inputShape: [3] }),
        layers.dense({ units: 4, useBias: false, kernelInitializer: 'identity', activation: 'softmax' }),
      ],
    });
    model.compile({ optimizer: 'sgd', loss: 'sparseCategoricalCrossentropy' });
    const x = { data: Int32Array.of(1, 2, 0, 3, 0, 0), shape: [2, 3], dtype: 'i32' as const };
    const y = { data: Int32Array.of(1, 0, 3, 3, 0, 0), shape: [2, 3], dtype: 'i32' as const };
    const right = -Math.log(Math.E / (Math.E + 3));
    const wrong = -Math.log(1 / (Math.E + 3));
    expect((await model.evaluate(x, y, quiet)).loss).toBeCloseTo((2 * right + wrong) / 3, 5);
  });
  it('has regularization and addLoss in it', async () => {
    const model = sequential({
      layers: [
        layers.dense({
          units: 1,
          useBias: false,
          kernelInitializer: 'ones',
          kernelRegularizer: { className: 'L2', config: { l2: 0.5 } },
          inputShape: [1],
        }),
      ],
    });
    model.compile({ optimizer: optimizers.sgd({ learningRate: 0.1 }), loss: 'mse' });
    model.addLoss(() => model.weights[0].read().sum().mul(3));
    const x = column(Float32Array.of(0, 0), [2, 1]);
    expect((await model.evaluate(x, Float32Array.of(0, 2), quiet)).loss).toBeCloseTo(2 + 0.5 + 3, 5);
    await model.fit(x, Float32Array.of(0, 2), quiet);
    // dL/dw = 2·0.5·w + 3.
    expect((await numbers(model.weights[0]))[0]).toBeCloseTo(1 - 0.1 * 4, 5);
  });
  it('may be a function', async () => {
    const model = line(optimizers.sgd({ learningRate: 0 }), (t: Tensor, p: Tensor) => p.sub(t).abs());
    expect((await model.evaluate(column(Float32Array.of(1, 2), [2, 1]), Float32Array.of(0, 0), quiet)).loss).toBeCloseTo(1.5, 5);
  });
});

describe('gradient accumulation', () => {
  it('divides by the total count of its window: the same as one large batch', async () => {
    const x = column(Float32Array.of(1, 2, 3, 4, 5), [5, 1]);
    const y = Float32Array.of(1, 3, 2, 5, 4);
    const large = line();
    await large.fit(x, y, { ...quiet, batchSize: 5, epochs: 3, shuffle: false });
    // Windows of 2 + 2 + 1 examples: micro-batches of different sizes.
    const small = line(optimizers.sgd({ learningRate: 0.1, gradientAccumulationSteps: 3 }));
    await small.fit(x, y, { ...quiet, batchSize: 2, epochs: 3, shuffle: false });
    expect((await numbers(small.weights[0]))[0]).toBeCloseTo((await numbers(large.weights[0]))[0], 4);
    expect(await numbers(small.optimizer.iterations)).toEqual([3]);
    // trainOnBatch updates at every third call.
    const single = line(optimizers.sgd({ learningRate: 0.1, gradientAccumulationSteps: 3 }));
    const part = (a: number, b: number): [ReturnType<typeof column>, Float32Array] => [
      column(x.data.slice(a, b), [b - a, 1]),
      y.slice(a, b),
    ];
    await single.trainOnBatch(...part(0, 2));
    await single.trainOnBatch(...part(2, 4));
    expect(await numbers(single.weights[0])).toEqual([1]);
    await single.trainOnBatch(...part(4, 5));
    const once = line();
    await once.fit(x, y, { ...quiet, batchSize: 5, shuffle: false });
    expect((await numbers(single.weights[0]))[0]).toBeCloseTo((await numbers(once.weights[0]))[0], 5);
  });
});

describe('several outputs', () => {
  const make = (): ReturnType<typeof functional<{ a: ReturnType<typeof input>; b: ReturnType<typeof input> }>> => {
    const x = input({ shape: [1], name: 'x' });
    const z = input({ shape: [1], name: 'z' });
    const both = layers.concatenate().apply([x, z]);
    const a = layers.dense({ units: 1, kernelInitializer: 'ones', name: 'one' }).apply(both);
    const b = layers.dense({ units: 2, kernelInitializer: 'zeros', activation: 'softmax', name: 'two' }).apply(both);
    return functional({ inputs: { x, z }, outputs: { a, b } });
  };
  const data = { z: column(Float32Array.of(10, 20), [2, 1]), x: column(Float32Array.of(1, 2), [2, 1]) };
  const labels = { b: Int32Array.of(0, 1), a: Float32Array.of(11, 20) };

  it('have losses, weights and metrics of their own, by name', async () => {
    const model = make();
    model.compile({
      optimizer: optimizers.sgd({ learningRate: 0 }),
      loss: { a: 'mse', b: 'sparseCategoricalCrossentropy' },
      lossWeights: { b: 10 },
      metrics: { a: ['mae'], b: 'accuracy' },
    });
    const result = await model.evaluate(data, labels, quiet);
    expect(result).toEqual({
      loss: expect.closeTo(2 + 10 * Math.LN2, 4),
      aLoss: expect.closeTo(2, 5),
      bLoss: expect.closeTo(Math.LN2, 5),
      aMeanAbsoluteError: expect.closeTo(1, 5),
      bAccuracy: expect.closeTo(0.5, 5),
    });
    const history = await model.fit(data, labels, { ...quiet, validationData: [data, labels] });
    expect(Object.keys(history.history)).toEqual([
      'loss',
      'aLoss',
      'bLoss',
      'aMeanAbsoluteError',
      'bAccuracy',
      'valLoss',
      'valALoss',
      'valBLoss',
      'valAMeanAbsoluteError',
      'valBAccuracy',
    ]);
    const predicted = await model.predict(data);
    expect(await numbers(predicted.a)).toEqual([11, 22]);
    expect(predicted.b.shape).toEqual([2, 2]);
  });
  it('may be left out of the loss; names are checked', async () => {
    const model = make();
    model.compile({ optimizer: 'sgd', loss: { a: 'mse' } });
    expect((await model.evaluate(data, labels, quiet)).loss).toBeCloseTo(2, 5);
    expect(() => model.compile({ optimizer: 'sgd', loss: { c: 'mse' } })).toThrow('no output "c". Expected one of a, b');
    await expect(model.predict({ x: data.x })).rejects.toThrow("x: the names don't fit. Expected x, z, received x.");
    await expect(model.predict(data.x)).rejects.toThrow('1 columns for x. Expected 2: x, z.');
  });
});

describe('custom training', () => {
  it('by trainStep and testStep, with what they report', async () => {
    class Net extends Model {
      readonly dense = layers.dense({ units: 1, useBias: false, kernelInitializer: 'ones' });
      override call(x: Tensor | Tensor[]): Tensor {
        return this.dense.apply(x as Tensor);
      }
      override trainStep({ x, y }: Batch): Record<string, Tensor> {
        const { value, gradients, aux } = valueAndGrad(() => {
          const error = this.apply(x, { training: true }).sub(y.reshape([-1, 1]));
          return [error.square().mean(), error.abs().mean()] as const;
        }, this.trainableWeights);
        this.optimizer.apply(gradients, this.trainableWeights);
        return { loss: value, distance: aux };
      }
      override testStep({ x, y }: Batch): Record<string, Tensor> {
        return {
          worst: this.apply(x)
            .sub(y.reshape([-1, 1]))
            .abs()
            .max(),
        };
      }
    }
    const net = new Net();
    net.compile({ optimizer: optimizers.sgd({ learningRate: 0.1 }) });
    const x = column(Float32Array.of(1, 2, 3), [3, 1]);
    const y = Float32Array.of(2, 4, 6);
    const history = await net.fit(x, y, { ...quiet, batchSize: 3 });
    expect(history.history.loss[0]).toBeCloseTo(14 / 3, 5);
    expect(history.history.distance[0]).toBeCloseTo(2, 5);
    const plain = line();
    await plain.fit(x, y, { ...quiet, batchSize: 3 });
    expect(await numbers(net.weights[0])).toEqual(await numbers(plain.weights[0]));
    expect((await net.evaluate(x, y, quiet)).worst).toBeGreaterThan(0);
  });
  it('by an objective', async () => {
    const model = line();
    model.compile({
      optimizer: optimizers.sgd({ learningRate: 0.1 }),
      objective: (m, batch, { training }) => {
        const [p] = m.forward(batch.inputs, training);
        // No targets at all: the outputs are pulled to 5, and twice as hard.
        return { lossSum: p.sub(5).square().sum().mul(2), weight: tensor(batch.size), outputs: [p], metrics: { output: p.mean() } };
      },
    });
    const history = await model.fit(column(Float32Array.of(1, 1), [2, 1]), Float32Array.of(0, 0), quiet);
    expect(history.history.loss[0]).toBeCloseTo(32, 4);
    expect(history.history.output[0]).toBeCloseTo(1, 5);
    expect((await numbers(model.weights[0]))[0]).toBeCloseTo(1 + 0.1 * 16, 5);
  });
  it('by a loop of one’s own', async () => {
    const { x, y } = points(64);
    setRandomSeed(3);
    const model = sequential({
      layers: [layers.dense({ units: 8, activation: 'relu', inputShape: [2] }), layers.dense({ units: 1, activation: 'sigmoid' })],
    });
    const optimizer = optimizers.adam({ learningRate: 0.05 });
    const weights = model.trainableWeights;
    optimizer.build(weights);
    const step = jit((input: Tensor, label: Tensor) => {
      const { value, gradients } = valueAndGrad(() => {
        const p = model.apply(input, { training: true }).clip(1e-6, 1 - 1e-6);
        return label
          .mul(p.log())
          .add(label.neg().add(1).mul(p.neg().add(1).log()))
          .mean()
          .neg();
      }, weights);
      optimizer.apply(gradients, weights);
      return value;
    });
    const [input_, label] = [tensor(x.data, { shape: x.shape }), tensor(Float32Array.from(y), { shape: [64, 1] })];
    const first = await step(input_, label).item();
    let last = first;
    for (let i = 0; i < 60; i++) last = await step(input_, label).item();
    expect(last).toBeLessThan(first / 2);
  });
});
