/** @file A small convolutional network trained on every device: its loss falls, as on the plain device to rounding. */
import { describe, expect, it } from 'vitest';
import { datasets } from '../../src/data/datasets/index.js';
import { setDevice } from '../../src/device/registry.js';
import * as layers from '../../src/layers/index.js';
import { losses } from '../../src/losses/index.js';
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
