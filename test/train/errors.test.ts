import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import * as layers from '../../src/layers/index.js';
import { input, type SymbolicTensor } from '../../src/layers/symbolic.js';
import { model } from '../../src/model/functional.js';
import { loadModel } from '../../src/model/load.js';
import type { Model } from '../../src/model/model.js';
import { sequential } from '../../src/model/sequential.js';
import { optimizers } from '../../src/optimizers/index.js';
import { setRandomSeed } from '../../src/tensor/index.js';
import * as callbacks from '../../src/train/callbacks/index.js';
import { NonFiniteLossError } from '../../src/train/errors.js';
import type { FitOptions } from '../../src/train/fit.js';
import { points } from './support.js';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tenon-errors-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

function classifier(loss = 'sparseCategoricalCrossentropy', units = 3): Model {
  const model = sequential({
    name: 'net',
    layers: [layers.dense({ name: 'out', units, activation: units === 1 ? 'sigmoid' : 'softmax', inputShape: [2] })],
  });
  model.compile({ optimizer: 'sgd', loss });
  return model;
}
const { x, y } = points(12);
const quiet = { verbose: 0 } as const;

describe('fit refuses, before training', () => {
  it('a model that is not compiled', async () => {
    const model = sequential({ name: 'net', layers: [layers.dense({ units: 1, inputShape: [2] })] });
    await expect(model.fit(x, y)).rejects.toThrow('fit Sequential "net": the model is not compiled. Expected compile() first.');
    await expect(model.evaluate(x, y)).rejects.toThrow('not compiled');
    expect(() => model.optimizer).toThrow('not compiled');
  });
  it('a model without layers', async () => {
    const model = sequential({ name: 'net' });
    model.compile({ optimizer: 'sgd', loss: 'mse' });
    await expect(model.fit(x, y, quiet)).rejects.toThrow(/Sequential "net": it has no layers/);
  });
  it('unknown names, with those that exist', () => {
    expect(() => classifier('crossentropi')).toThrow(/loss: "crossentropi" is not known. Expected one of .*categoricalCrossentropy/);
    expect(() => sequential().compile({ optimizer: 'adamm' })).toThrow(/optimizer: "adamm" is not known/);
  });
  it('unknown options, with the one that was meant', async () => {
    const fitWith = (options: object): Promise<unknown> => classifier().fit(x, y, { ...quiet, ...options });
    await expect(fitWith({ epoch: 3 })).rejects.toThrow('fit Sequential "net": there is no option "epoch". Expected "epochs"');
    await expect(fitWith({ batch_size: 4 })).rejects.toThrow('Write batchSize.');
    await expect(fitWith({ frobnicate: 4 })).rejects.toThrow(/there is no option "frobnicate". Expected some of batchSize, epochs, /);
    await expect(fitWith({ verbose: 3 })).rejects.toThrow("verbose 3. Expected 'auto', 0 (silent), 1 (a bar) or 2");
    await expect(fitWith({ verbose: undefined, epochs: undefined, callbacks: [] })).resolves.toBeDefined();
    expect(() => sequential({ name: 'net' }).compile({ optimiser: 'sgd' } as object)).toThrow(
      'compile Sequential "net": there is no option "optimiser". Expected "optimizer"',
    );
  });
  it('losses and weights of outputs and classes that are not there', async () => {
    const t = input({ shape: [2] });
    const two = model({
      inputs: t,
      outputs: { a: layers.dense({ units: 1 }).apply<SymbolicTensor>(t), b: layers.dense({ units: 1 }).apply<SymbolicTensor>(t) },
    });
    expect(() => two.compile({ loss: { a: 'mse', c: 'mse' } })).toThrow(/^compile .*loss: no output "c". Expected one of a, b/);
    expect(() => two.compile({ loss: 'mse', lossWeights: { c: 1 } })).toThrow(/lossWeights: no output "c". Expected one of a, b/);
    expect(() => two.compile({ loss: 'mse', lossWeights: { a: Number.NaN } })).toThrow('lossWeights of "a" is NaN. Expected a number');
    const weighted = (classWeight: object): Promise<unknown> => classifier().fit(x, y, { ...quiet, classWeight } as FitOptions);
    await expect(weighted({ 0: 1, 3: 2 })).rejects.toThrow('classWeight has the key 3, which is no class of the model');
    await expect(weighted(new Map([[-1, 2]]))).rejects.toThrow('classWeight has the key -1');
    await expect(weighted({ cat: 2 })).rejects.toThrow('classWeight has the key "cat". Expected class numbers');
    await expect(weighted({ 1: 'much' })).rejects.toThrow('classWeight of class 1 is much. Expected a number ≥ 0');
    await expect(classifier().trainOnBatch(x, y, { classWeight: { 3: 2 } })).rejects.toThrow('classWeight has the key 3');
    await expect(weighted({ 2: 0.5 })).resolves.toBeDefined();
  });
  it('labels out of range', async () => {
    const labels = Int32Array.from(y);
    labels[7] = 3;
    await expect(classifier().fit(x, labels, quiet)).rejects.toThrow(
      /fit Sequential "net": label 3 in row 7 is no class of output "output". Expected whole numbers in \[0, 3\), received 3. Do the labels start at 1\?/,
    );
    labels[7] = -1;
    await expect(classifier('categoricalCrossentropy').fit(x, labels, quiet)).rejects.toThrow('label -1 in row 7');
    await expect(
      classifier().fit(
        x,
        Float32Array.from(y, (v) => v + 0.5),
        quiet,
      ),
    ).rejects.toThrow(/label [01]\.5 in row 0 is no class/);
    await expect(
      classifier('binaryCrossentropy', 1).fit(
        x,
        Int32Array.from(y, (v) => v * 255),
        quiet,
      ),
    ).rejects.toThrow(/label 255 in row \d+ is no probability/);
  });
  it('labels of the wrong shape', async () => {
    const wide = { data: new Float32Array(12 * 4), shape: [12, 4], dtype: 'f32' as const };
    await expect(classifier('categoricalCrossentropy').fit(x, wide, quiet)).rejects.toThrow(
      /the labels for output "output" don't fit. Expected \[n, 3\] as predicted, received \[n, 4\] \(loss categoricalCrossentropy\)/,
    );
    const oneHot = { data: new Float32Array(36).fill(1 / 3), shape: [12, 3], dtype: 'f32' as const };
    await expect(classifier().fit(x, oneHot, quiet)).rejects.toThrow(
      /takes class numbers.*These look one-hot: use loss 'categoricalCrossentropy'/,
    );
    await expect(classifier('mse').fit(x, y, quiet)).rejects.toThrow(/Expected \[n, 3\] as predicted, received \[n\]/);
    await expect(classifier().fit(x, y.subarray(0, 11), quiet)).rejects.toThrow(/y has 11 rows and x has 12/);
    await expect(classifier().fit(x, undefined as never, quiet)).rejects.toThrow(/there is no target for output "output"/);
  });
  it('inputs of the wrong shape', async () => {
    const wrong = { data: new Float32Array(60), shape: [12, 5], dtype: 'f32' as const };
    await expect(classifier().fit(wrong, y, quiet)).rejects.toThrow(/fit Sequential "net": input has shape \[\?, 5\]. Expected \[\?, 2\]/);
    await expect(classifier().predict(wrong)).rejects.toThrow(/predict Sequential "net": input has shape \[\?, 5\]/);
    const flat = sequential({ name: 'net', layers: [layers.flatten({ inputShape: [2, 2, 1] }), layers.dense({ units: 3 })] });
    await expect(flat.predict({ data: new Float32Array(8), shape: [2, 4], dtype: 'f32' })).rejects.toThrow(
      'Reshape the data to [?, 2, 2, 1].',
    );
    await expect(flat.predict({ data: new Float32Array(8), shape: [4, 2, 1], dtype: 'f32' })).rejects.toThrow(/Is an axis missing/);
  });
  it('impossible sizes and empty data', async () => {
    await expect(classifier().fit(x, y, { ...quiet, batchSize: 13 })).rejects.toThrow(
      'batchSize 13 is larger than the data. Expected at most 12',
    );
    await expect(classifier().fit(x, y, { ...quiet, batchSize: 0 })).rejects.toThrow('batchSize 0. Expected a whole number ≥ 1');
    await expect(classifier().fit(x, y, { ...quiet, epochs: 0 })).rejects.toThrow('epochs 0');
    await expect(classifier().fit(x, y, { ...quiet, validationSplit: 1 })).rejects.toThrow('validationSplit 1');
    const empty = { data: new Float32Array(0), shape: [0, 2], dtype: 'f32' as const };
    await expect(classifier().fit(empty, new Int32Array(0), quiet)).rejects.toThrow('the data are empty');
    await expect(classifier().evaluate(empty, new Int32Array(0), quiet)).rejects.toThrow('the data are empty');
    await expect(classifier().predict(empty)).rejects.toThrow('the data are empty');
    await expect(classifier().fit((function* () {})(), quiet)).rejects.toThrow('the data set gives no batch');
  });
  it('a second fit at the same time', async () => {
    const model = classifier();
    const first = model.fit(x, y, quiet);
    await expect(model.fit(x, y, quiet)).rejects.toThrow('the model is being trained already');
    await first;
    await model.fit(x, y, quiet);
  });
  it('streams of the wrong form', async () => {
    await expect(classifier().fit([[1, 2]].values() as never, quiet)).rejects.toThrow(/fit Sequential "net"/);
    await expect(classifier().fit([5].values() as never, quiet)).rejects.toThrow('a batch of the data set has an unknown form');
    await expect(classifier().fit([[x, y]].values() as never, { ...quiet, validationSplit: 0.5 })).rejects.toThrow(
      'validationSplit with a stream',
    );
  });
});

describe('a monitor that no log has: one notice, and training goes on', () => {
  const said: string[] = [];
  beforeEach(() => {
    said.length = 0;
    vi.spyOn(console, 'error').mockImplementation((text: string) => void said.push(text));
  });
  afterEach(() => vi.restoreAllMocks());

  it('an unknown name', async () => {
    const fit = classifier().fit(x, y, { ...quiet, epochs: 3, callbacks: [callbacks.earlyStopping({ monitor: 'los' })] });
    expect((await fit).epoch).toHaveLength(3);
    expect(said).toEqual([
      'tenon: earlyStopping: there is no "los" in the logs, so it does nothing. Expected one of loss. Monitor one of them.',
    ]);
  });
  it('valLoss without validation, and a validation metric that is none', async () => {
    const path = join(root, 'best.tenon');
    const list = [callbacks.modelCheckpoint({ filepath: path, saveBestOnly: true }), callbacks.reduceLROnPlateau()];
    await classifier().fit(x, y, { ...quiet, epochs: 2, callbacks: list });
    expect(said).toHaveLength(2);
    expect(said[0]).toMatch(/modelCheckpoint: there is no "valLoss".*Expected one of loss.*Give fit validationData/);
    expect(said[1]).toMatch(/reduceLROnPlateau: there is no "valLoss"/);
    await classifier().fit(x, y, { ...quiet, validationSplit: 0.5, callbacks: [callbacks.earlyStopping({ monitor: 'valAcc' })] });
    expect(said[2]).toMatch(/there is no "valAcc".*Expected one of loss, valLoss\. Monitor/);
  });
  it('is silent where validation is only rarer than epochs', async () => {
    const options = { ...quiet, epochs: 2, validationSplit: 0.5, validationFreq: 2 };
    await classifier().fit(x, y, { ...options, callbacks: [callbacks.earlyStopping()] });
    expect(said).toEqual([]);
  });
});

describe('a loss that is no number', () => {
  /** Row 20 is NaN; without shuffling it is in step 6 of batches of 4. */
  const bad = (): ReturnType<typeof points> => {
    const data = points(32);
    data.x.data[40] = Number.NaN;
    return data;
  };
  const make = (): Model => {
    setRandomSeed(1);
    const model = sequential({
      name: 'net',
      layers: [
        layers.dense({ units: 4, activation: 'tanh', inputShape: [2] }),
        layers.batchNormalization(),
        layers.dense({ units: 2, activation: 'softmax' }),
      ],
    });
    model.compile({ optimizer: optimizers.adam({ learningRate: 0.1 }), loss: 'sparseCategoricalCrossentropy', metrics: ['accuracy'] });
    return model;
  };
  const values = async (model: Model): Promise<number[][]> =>
    Promise.all([...model.weights, ...model.optimizer.variables].map(async (v) => Array.from(await v.data())));

  it('stops before the update and says at which step; the last checkpoint stays', async () => {
    const { x, y } = bad();
    const model = make();
    const folder = join(root, 'nan');
    const options = { ...quiet, batchSize: 4, shuffle: false, epochs: 2 };
    const error = await model.fit(x, y, { ...options, checkpoint: { folder, everySteps: 2 } }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(NonFiniteLossError);
    expect(String(error)).toMatch(
      /fit Sequential "net": the loss is NaN at step 6 \(epoch 1, batch 6\).*weights are those before this step\. The last good checkpoint is .*checkpoint-000000004\.tenon\..*learning rate \(it is 0\.1/s,
    );
    // The same as five good steps.
    const five = make();
    await five.fit({ data: x.data.subarray(0, 40), shape: [20, 2], dtype: 'f32' }, y.subarray(0, 20), { ...options, epochs: 1 });
    expect(await values(model)).toEqual(await values(five));
    const loaded = await loadModel(join(folder, 'checkpoint-000000004.tenon'));
    expect((await values(loaded)).flat().every(Number.isFinite)).toBe(true);
    // The model can be trained on.
    const history = await model.fit(points(32).x, y, { ...options, epochs: 1 });
    expect(history.history.loss[0]).toBeGreaterThan(0);
  });
  it('ends quietly with terminateOnNaN', async () => {
    const { x, y } = bad();
    const history = await make().fit(x, y, { ...quiet, batchSize: 4, shuffle: false, epochs: 3, callbacks: [callbacks.terminateOnNaN()] });
    expect(history.stopped).toBe('the loss is NaN at step 6');
    expect(history.epoch).toEqual([0]);
    expect(history.history.loss[0]).toBeNaN();
  });
  it('comes of an id out of range, and says so', async () => {
    const net = sequential({
      name: 'net',
      layers: [
        layers.embedding({ name: 'words', inputDim: 5, outputDim: 2, inputShape: [3] }),
        layers.flatten(),
        layers.dense({ units: 1 }),
      ],
    });
    net.compile({ optimizer: 'sgd', loss: 'mse' });
    const ids = { data: Int32Array.of(0, 1, 2, 3, 4, 5), shape: [2, 3], dtype: 'i32' } as const;
    const options = { ...quiet, batchSize: 1, shuffle: false };
    const before = await net.weights[0].data();
    await expect(net.fit({ ...ids, shape: [2, 3] }, [0, 1], options)).rejects.toThrow(
      /the loss is NaN at step 2 .*, or ids outside of 0 … 4 for Embedding "words"\.$/,
    );
    // The first step's update stands, and nothing of the second's.
    const after = await net.weights[0].data();
    expect(after.every(Number.isFinite)).toBe(true);
    expect(after.subarray(0, 6)).not.toEqual(before.subarray(0, 6));
    expect(after.subarray(6)).toEqual(before.subarray(6));
    await expect(net.trainOnBatch({ ...ids, shape: [2, 3] }, [0, 1])).rejects.toThrow('ids outside of 0 … 4');
  });
  it('is noticed under gradient accumulation, by watched batches and in trainOnBatch', async () => {
    const { x, y } = bad();
    const model = make();
    model.compile({ optimizer: optimizers.sgd({ gradientAccumulationSteps: 4 }), loss: 'sparseCategoricalCrossentropy' });
    await expect(model.fit(x, y, { ...quiet, batchSize: 4, shuffle: false })).rejects.toThrow('at step 6 (epoch 1, batch 6)');
    const seen: number[] = [];
    const watch = callbacks.lambda({ onTrainBatchEnd: (batch) => void seen.push(batch) });
    await expect(make().fit(x, y, { ...quiet, batchSize: 4, shuffle: false, callbacks: [watch] })).rejects.toThrow('at step 6');
    expect(seen).toEqual([0, 1, 2, 3, 4]);
    const one = make();
    const before = await values(one);
    await expect(one.trainOnBatch(x, y)).rejects.toThrow('trainOnBatch Sequential "net": the loss is NaN');
    expect((await values(one)).slice(0, before.length)).toEqual(before);
  });
});
