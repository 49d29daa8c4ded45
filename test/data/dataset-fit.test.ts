import { beforeAll, describe, expect, it } from 'vitest';
import { Dataset } from '../../src/data/dataset.js';
import { setDevice } from '../../src/device/registry.js';
import * as layers from '../../src/layers/index.js';
import type { Model } from '../../src/model/model.js';
import { sequential } from '../../src/model/sequential.js';
import { setRandomSeed } from '../../src/tensor/index.js';

const n = 40;
const x = { data: Float32Array.from({ length: 2 * n }, (_, i) => ((i * 37) % 19) / 19), shape: [n, 2], dtype: 'f32' as const };
const y = Uint8Array.from({ length: n }, (_, i) => (x.data[2 * i] > x.data[2 * i + 1] ? 1 : 0));

beforeAll(() => setDevice('reference'));

function classifier(): Model {
  setRandomSeed(1);
  const model = sequential({ name: 'net', layers: [layers.dense({ units: 2, activation: 'softmax', inputShape: [2] })] });
  model.compile({ optimizer: 'sgd', loss: 'sparseCategoricalCrossentropy', metrics: ['accuracy'] });
  return model;
}

describe('a Dataset in training', () => {
  it('gives the batches of every epoch as arrays do under the same seed', async () => {
    const options = { epochs: 3, verbose: 0 } as const;
    const fromArrays = await classifier().fit(x, y, { ...options, batchSize: 16, seed: 5 });
    const data = Dataset.fromArrays(x, y).shuffle({ seed: 5 });
    for (const stream of [data.batch(16).prefetch(2), data.map((e) => e, { parallel: 3 }).batch(16)]) {
      const fromStream = await classifier().fit(stream, options);
      for (const [epoch, loss] of fromArrays.history.loss.entries()) expect(fromStream.history.loss[epoch]).toBeCloseTo(loss, 5);
    }
  });
  it('is what evaluate and validation take', async () => {
    const model = classifier();
    const batches = Dataset.fromArrays(x, y).batch(16);
    const { loss } = await model.evaluate(x, y, { verbose: 0 });
    expect((await model.evaluate(batches, { verbose: 0 })).loss).toBeCloseTo(loss, 5);
    const history = await model.fit(batches, { verbose: 0, validationData: batches });
    expect(history.history.valLoss).toHaveLength(1);
  });
  it('that is not batched is batched as arrays are', async () => {
    const options = { epochs: 2, verbose: 0, batchSize: 8 } as const;
    const fromArrays = await classifier().fit(x, y, { ...options, seed: 5 });
    const fromData = await classifier().fit(Dataset.fromArrays(x, y).shuffle({ seed: 5 }), options);
    expect(fromData.history.loss).toEqual(fromArrays.history.loss);
  });
  it("a pipeline's error ends fit", async () => {
    const broken = Dataset.fromArrays(x, y)
      .map((e, { index }) => {
        if (index === 20) throw new Error('bad example 20');
        return e;
      })
      .batch(8)
      .prefetch(2);
    await expect(classifier().fit(broken, { verbose: 0 })).rejects.toThrow('bad example 20');
  });
});
