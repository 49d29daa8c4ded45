import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as layers from '../../src/layers/index.js';
import { losses } from '../../src/losses/index.js';
import { loadModel } from '../../src/model/load.js';
import { sequential } from '../../src/model/sequential.js';
import { setRandomSeed } from '../../src/tensor/index.js';
import { points } from './support.js';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tenon-fit-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

describe('losses as objects', () => {
  it('are one loss for all outputs, not one an output', async () => {
    const { x, y } = points(40);
    const own = { name: 'own', fromLogits: false, call: losses.meanSquaredError().call, getConfig: () => ({}) };
    for (const loss of [
      losses.sparseCategoricalCrossentropy({ fromLogits: true }),
      losses.binaryCrossentropy({ labelSmoothing: 0.1 }),
      own,
    ]) {
      const units = loss.name.startsWith('sparse') ? 2 : 1;
      const model = sequential([layers.dense({ units, inputShape: [2] })]).compile({ optimizer: 'sgd', loss });
      const { history } = await model.fit(x, y, { verbose: 0 });
      expect(history.loss).toHaveLength(1);
    }
  });
});

describe('the whole way', () => {
  it('compiles, fits, evaluates, predicts, saves and loads', async () => {
    setRandomSeed(1);
    const model = sequential({
      layers: [layers.dense({ units: 8, activation: 'relu', inputShape: [2] }), layers.dense({ units: 2, activation: 'softmax' })],
    });
    model.compile({ optimizer: 'adam', loss: 'categoricalCrossentropy', metrics: ['accuracy'] });
    const { x, y } = points(200);
    model.optimizer.learningRate = 0.02;
    const history = await model.fit(x, y, { epochs: 6, batchSize: 32, validationSplit: 0.2, verbose: 0 });
    expect(history.epoch).toEqual([0, 1, 2, 3, 4, 5]);
    expect(Object.keys(history.history)).toEqual(['loss', 'accuracy', 'valLoss', 'valAccuracy']);
    expect(history.history.loss[5]).toBeLessThan(history.history.loss[0]);
    expect(history.history.valAccuracy[5]).toBeGreaterThan(0.8);
    const result = await model.evaluate(x, y, { verbose: 0 });
    const predicted = await model.predict(x);
    expect(predicted.shape).toEqual([200, 2]);
    const p = await predicted.data();
    // The loss and accuracy that evaluate gives, by hand.
    let [loss, right] = [0, 0];
    for (let i = 0; i < 200; i++) {
      loss -= Math.log(p[2 * i + y[i]]) / 200;
      if ((p[2 * i + 1] > p[2 * i] ? 1 : 0) === y[i]) right++;
    }
    expect(result.loss).toBeCloseTo(loss, 4);
    expect(result.accuracy).toBeCloseTo(right / 200, 6);
    const path = join(dir, 'm.tenon');
    await model.save(path);
    const loaded = await loadModel(path);
    expect(Array.from(await (await loaded.predict(x)).data())).toEqual(Array.from(p));
    expect((await loaded.evaluate(x, y, { verbose: 0 })).loss).toBeCloseTo(result.loss, 6);
  });
});
