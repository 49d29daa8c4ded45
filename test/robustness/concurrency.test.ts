/** @file What happens beside a fit: predictions see whole steps, evaluations leave its numbers alone, second trainings are refused. */
import { expect, it } from 'vitest';
import { input, layers, type Model, model, setDevice, setRandomSeed } from '../../src/index.js';
import { points } from '../train/support.js';

const { x, y } = points(400);
const targets = [y, { data: new Float32Array(800), shape: [400, 2], dtype: 'f32' as const }];
const options = { batchSize: 4, epochs: 20, verbose: 0, seed: 1 } as const;

/** Two branches of equal weights with equal gradients: their difference is 0 after every whole step. */
function twins(): Model {
  setRandomSeed(3);
  const at = input({ shape: [2], name: 'x' });
  const branch = (name: string) => layers.dense({ units: 2, name, kernelInitializer: 'ones' }).apply(at);
  const [a, b] = [branch('a'), branch('b')];
  const sum = layers.activation({ activation: 'softmax', name: 'sum' }).apply(layers.add().apply([a, b]));
  const difference = layers.subtract({ name: 'difference' }).apply([a, b]);
  const made = model({ inputs: at, outputs: [sum, difference] }) as unknown as Model;
  made.compile({ optimizer: 'adam', loss: ['sparseCategoricalCrossentropy', null], metrics: [['accuracy'], []] });
  return made;
}

it.each(['reference', 'native'])('on %s', async (device) => {
  setDevice(device);
  const alone = twins();
  const history = (await alone.fit(x, targets, options)).history;

  const beside = twins();
  // Compiled before, so that there is time to look.
  await beside.predict(x, { batchSize: 400 });
  let isOver = false;
  const training = beside.fit(x, targets, options).finally(() => {
    isOver = true;
  });
  await expect(beside.fit(x, targets, options)).rejects.toThrow('the model is being trained already. Expected one fit at a time.');
  await expect(beside.trainOnBatch(x, targets)).rejects.toThrow('the model is being trained by fit. Expected one at a time.');
  expect(() => beside.compile({ loss: 'mse' })).toThrow('the model is being trained. Expected no fit under way.');
  const seen = new Set<number>();
  while (!isOver) {
    const [sum, difference] = (await beside.predict(x, { batchSize: 400 })) as unknown as { data(): Promise<Float32Array> }[];
    expect((await difference.data()).every((d) => d === 0)).toBe(true);
    seen.add((await sum.data())[0]);
    await beside.evaluate(x, targets, { verbose: 0, batchSize: 100 });
    await beside.testOnBatch(x, targets);
  }
  // On a quick machine the training may be over after the first look.
  expect(seen.size).toBeGreaterThan(0);
  expect((await training).history).toEqual(history);
});
