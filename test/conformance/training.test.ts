/** @file A small convolutional network trained on every device: its loss falls, as on the plain device to rounding. */
import { describe, expect, it } from 'vitest';
import { datasets } from '../../src/data/datasets/index.js';
import { setDevice } from '../../src/device/registry.js';
import * as layers from '../../src/layers/index.js';
import { losses } from '../../src/losses/index.js';
import { loadModel } from '../../src/model/load.js';
import { sequential } from '../../src/model/sequential.js';
import { setRandomSeed } from '../../src/tensor/index.js';
import { devices } from './harness.js';

const { train } = await datasets.shapes({ train: 96, test: 1 });

/** Losses of the epochs, and what the trained network says of the first pictures. */
async function outcome(device: string): Promise<{ losses: number[]; logits: number[] }> {
  setDevice(device);
  setRandomSeed(3);
  const model = sequential([
    layers.rescaling({ scale: 1 / 255, inputShape: [32, 32, 3] }),
    layers.conv2d({ filters: 4, kernelSize: 3, strides: 2, activation: 'relu' }),
    layers.batchNormalization(),
    layers.maxPooling2d({ poolSize: 2 }),
    layers.conv2d({ filters: 8, kernelSize: 3, activation: 'relu' }),
    layers.flatten(),
    layers.dropout(0.1),
    layers.dense({ units: 10 }),
  ]);
  model.compile({ optimizer: 'adam', loss: losses.sparseCategoricalCrossentropy({ fromLogits: true }), metrics: ['accuracy'] });
  const { history } = await model.fit(train.x, train.y, { epochs: 3, batchSize: 24, verbose: 0 });
  const first = { ...train.x, data: train.x.data.slice(0, 8 * 32 * 32 * 3), shape: [8, 32, 32, 3] };
  return { losses: history.loss, logits: [...(await (await model.predict(first)).data())] };
}

const all = await devices();
const plain = await outcome('reference');
describe.each(all.map((d) => ({ name: d.name })))('$name', ({ name }) => {
  it('trains a network as the plain device does', async () => {
    const { losses: fallen, logits } = await outcome(name);
    expect(fallen[2]).toBeLessThan(fallen[0]);
    const largest = Math.max(...plain.logits.map(Math.abs));
    for (const [i, x] of logits.entries()) expect(Math.abs(x - plain.logits[i]) / largest).toBeLessThan(2e-3);
  }, 300_000);
});

/** An optimizer with state, so that going on needs more than the weights. */
async function begun(device: string): Promise<Uint8Array> {
  setDevice(device);
  setRandomSeed(5);
  const model = sequential([
    layers.rescaling({ scale: 1 / 255, inputShape: [32, 32, 3] }),
    layers.conv2d({ filters: 4, kernelSize: 3, strides: 2, activation: 'relu' }),
    layers.batchNormalization(),
    layers.flatten(),
    layers.dense({ units: 10, activation: 'softmax' }),
  ]);
  model.compile({ optimizer: 'adam', loss: 'sparseCategoricalCrossentropy' });
  await model.fit(train.x, train.y, { epochs: 2, batchSize: 24, shuffle: false, verbose: 0 });
  return model.toBytes();
}
/** The losses of two more epochs. */
async function continued(device: string, file: Uint8Array): Promise<number[]> {
  setDevice(device);
  const model = await loadModel(file);
  const { history } = await model.fit(train.x, train.y, { epochs: 2, batchSize: 24, shuffle: false, verbose: 0 });
  return history.loss;
}

describe.each(all.map((d) => ({ name: d.name })))('a model trained on $name', ({ name }) => {
  it('goes on training on every device', async () => {
    const file = await begun(name);
    const wanted = await continued(name, file);
    for (const other of all) {
      const found = await continued(other.name, file);
      for (const [i, x] of found.entries()) expect(Math.abs(x - wanted[i]) / wanted[i]).toBeLessThan(1e-3);
    }
  }, 300_000);
});
