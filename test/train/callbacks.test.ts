import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as layers from '../../src/layers/index.js';
import { loadModel } from '../../src/model/load.js';
import type { Model } from '../../src/model/model.js';
import { sequential } from '../../src/model/sequential.js';
import { optimizers } from '../../src/optimizers/index.js';
import { setRandomSeed } from '../../src/tensor/index.js';
import * as callbacks from '../../src/train/callbacks/index.js';
import { fillPattern } from '../../src/train/callbacks/model-checkpoint.js';
import { barLine } from '../../src/train/callbacks/progress-bar.js';
import { points } from './support.js';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tenon-callbacks-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const quiet = { verbose: 0 } as const;
const { x, y } = points(16);
function make(learningRate = 0.1): Model {
  setRandomSeed(1);
  const model = sequential({ name: 'net', layers: [layers.dense({ units: 2, activation: 'softmax', inputShape: [2] })] });
  model.compile({ optimizer: optimizers.sgd({ learningRate }), loss: 'sparseCategoricalCrossentropy', metrics: ['accuracy'] });
  return model;
}
/** Puts given values of a log in the place of the real ones. */
const pretend = (name: string, values: readonly number[]): callbacks.Callback =>
  callbacks.lambda({
    onEpochEnd(epoch, logs) {
      logs[name] = values[epoch];
    },
  });

describe('hooks', () => {
  it('come in order, and may be async', async () => {
    const calls: string[] = [];
    const note =
      (name: string) =>
      async (...args: unknown[]): Promise<void> => {
        await Promise.resolve();
        calls.push(typeof args[0] === 'number' ? `${name} ${args[0]}` : name);
      };
    const all = callbacks.lambda({
      onTrainBegin: note('train'),
      onTrainEnd: note('/train'),
      onEpochBegin: note('epoch'),
      onEpochEnd: note('/epoch'),
      onTrainBatchBegin: note('batch'),
      onTrainBatchEnd: note('/batch'),
      onTestBegin: note('test'),
      onTestEnd: note('/test'),
      onTestBatchBegin: note('tbatch'),
      onTestBatchEnd: note('/tbatch'),
    });
    await make().fit(x, y, { ...quiet, batchSize: 8, validationData: [x, y], callbacks: [all] });
    expect(calls.join(', ')).toBe(
      'train, epoch 0, batch 0, /batch 0, batch 1, /batch 1, test, tbatch 0, /tbatch 0, tbatch 1, /tbatch 1, /test, /epoch 0, /train',
    );
  });
  it('see the means of the epoch so far, can stop, and can evaluate without harm', async () => {
    const model = make();
    const losses: number[] = [];
    const history = await model.fit(x, y, {
      ...quiet,
      batchSize: 4,
      epochs: 5,
      callbacks: [
        callbacks.lambda({
          async onTrainBatchEnd(batch, logs, context) {
            losses.push(logs.loss);
            await context.model.evaluate(x, y, quiet);
            if (context.history.epoch.length === 1 && batch === 1) context.stop('enough');
          },
        }),
      ],
    });
    expect(history.stopped).toBe('enough');
    expect(history.epoch).toEqual([0, 1]);
    expect(history.history.loss[0]).toBe(losses[3]);
    const plain = make();
    expect((await plain.fit(x, y, { ...quiet, batchSize: 4 })).history.loss[0]).toBe(losses[3]);
  });
});

describe('earlyStopping', () => {
  it('stops after patience, and brings the best weights back', async () => {
    const model = make();
    const weights: number[][] = [];
    const stop = callbacks.earlyStopping({ monitor: 'val_loss', patience: 2, restoreBestWeights: true });
    const keep = callbacks.lambda({
      onEpochEnd: async (_epoch, _logs, context) => void weights.push(Array.from(await context.model.weights[0].data())),
    });
    const history = await model.fit(x, y, { ...quiet, epochs: 9, callbacks: [pretend('valLoss', [3, 1, 2, 2, 0]), keep, stop] });
    expect(history.epoch).toEqual([0, 1, 2, 3]);
    expect([stop.bestEpoch, stop.stoppedEpoch, stop.best]).toEqual([1, 3, 1]);
    expect(Array.from(await model.weights[0].data())).toEqual(weights[1]);
    expect(history.stopped).toBe('earlyStopping: valLoss has not improved since epoch 2');
  });
  it('knows minDelta, mode, baseline and startFromEpoch', async () => {
    const epochs = async (options: callbacks.EarlyStoppingOptions, values: number[]): Promise<number> =>
      (
        await make().fit(x, y, {
          ...quiet,
          epochs: 6,
          callbacks: [pretend('valAccuracy', values), callbacks.earlyStopping({ monitor: 'valAccuracy', ...options })],
        })
      ).epoch.length;
    expect(await epochs({}, [0.1, 0.2, 0.3, 0.3, 0.5, 0.6])).toBe(4);
    expect(await epochs({ mode: 'min' }, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])).toBe(2);
    expect(await epochs({ minDelta: 0.15 }, [0.1, 0.3, 0.4, 0.5, 0.6, 0.7])).toBe(3);
    expect(await epochs({ baseline: 0.9, patience: 3 }, [0.1, 0.2, 0.3, 0.25, 0.5, 0.6])).toBe(4);
    expect(await epochs({ startFromEpoch: 3 }, [0.9, 0.2, 0.3, 0.2, 0.1, 0.6])).toBe(5);
  });
});

describe('modelCheckpoint', () => {
  it('saves models by pattern, only the best, and keeps the last ones', async () => {
    const folder = await mkdtemp(join(root, 'models-'));
    const best = callbacks.modelCheckpoint({ filepath: join(folder, 'best-{epoch:02d}-{valLoss:.2f}.tenon'), saveBestOnly: true });
    const last = callbacks.modelCheckpoint({ filepath: join(folder, 'last-{epoch}.safetensors'), saveWeightsOnly: true, keep: 2 });
    const model = make();
    await model.fit(x, y, { ...quiet, epochs: 4, callbacks: [pretend('valLoss', [3, 1, 2, 0.5]), best, last] });
    expect((await readdir(folder)).sort()).toEqual([
      'best-01-3.00.tenon',
      'best-02-1.00.tenon',
      'best-04-0.50.tenon',
      'last-3.safetensors',
      'last-4.safetensors',
    ]);
    const loaded = await loadModel(join(folder, 'best-04-0.50.tenon'));
    expect(await loaded.weights[0].array()).toEqual(await model.weights[0].array());
    await loaded.loadWeights(join(folder, 'last-3.safetensors'));
    expect(await loaded.weights[0].array()).not.toEqual(await model.weights[0].array());
  });
  it('saves every so many batches', async () => {
    const folder = await mkdtemp(join(root, 'batches-'));
    const callback = callbacks.modelCheckpoint({ filepath: join(folder, '{epoch}-{batch}.tenon'), saveFreq: 3 });
    await make().fit(x, y, { ...quiet, batchSize: 4, epochs: 2, callbacks: [callback] });
    expect((await readdir(folder)).sort()).toEqual(['1-3.tenon', '2-2.tenon']);
  });
  it('fills patterns', () => {
    expect(fillPattern('m-{epoch:03d}-{val_loss:.3f}-{loss}', { epoch: 7, valLoss: 0.12345, loss: 1.5 })).toBe('m-007-0.123-1.5000');
    expect(() => fillPattern('{acc}', { loss: 1 })).toThrow('there is no "acc"');
  });
});

describe('learning rates', () => {
  it('follow a scheduler by epoch', async () => {
    const history = await make().fit(x, y, {
      ...quiet,
      epochs: 3,
      callbacks: [callbacks.learningRateScheduler((epoch, rate) => (epoch === 0 ? rate : rate / 2))],
    });
    expect(history.history.learningRate).toEqual([0.1, 0.05, 0.025]);
    const frozen = make();
    const before = await frozen.weights[0].array();
    await frozen.fit(x, y, { ...quiet, callbacks: [callbacks.learningRateScheduler(() => 0)] });
    expect(await frozen.weights[0].array()).toEqual(before);
  });
  it('fall on a plateau, with rests and a least one', async () => {
    const history = await make().fit(x, y, {
      ...quiet,
      epochs: 8,
      callbacks: [
        pretend('valLoss', [1, 1, 1, 1, 1, 1, 1, 1]),
        callbacks.reduceLROnPlateau({ factor: 0.5, patience: 2, cooldown: 1, minLearningRate: 0.03 }),
      ],
    });
    expect(history.history.learningRate).toEqual([0.1, 0.1, 0.1, 0.05, 0.05, 0.03, 0.03, 0.03]);
  });
});

describe('loggers', () => {
  it('write CSV and JSON lines', async () => {
    const [csv, json] = [join(root, 'log', 'a.csv'), join(root, 'a.jsonl')];
    const history = await make().fit(x, y, { ...quiet, epochs: 2, callbacks: [callbacks.csvLogger(csv), callbacks.jsonLines(json)] });
    await make().fit(x, y, { ...quiet, epochs: 1, callbacks: [callbacks.csvLogger(csv, { append: true })] });
    const rows = (await readFile(csv, 'utf8')).trimEnd().split('\n');
    expect(rows[0]).toBe('epoch,loss,accuracy');
    expect(rows.slice(1, 3)).toEqual(history.history.loss.map((l, i) => `${i},${l},${history.history.accuracy[i]}`));
    expect(rows).toHaveLength(4);
    const lines = (await readFile(json, 'utf8'))
      .trimEnd()
      .split('\n')
      .map((l) => JSON.parse(l));
    expect(lines.map((l) => l.event)).toEqual(['begin', 'epoch', 'epoch', 'end']);
    expect(lines[2]).toMatchObject({ epoch: 1, loss: history.history.loss[1] });
  });
});

describe('the progress bar', () => {
  const params = { epochs: 2, initialEpoch: 0, batchSize: 32, steps: 100, samples: 3200, validates: false };
  const event = {
    phase: 'train',
    epoch: 0,
    step: 25,
    firstStep: 0,
    samplesDone: 800,
    seconds: 2,
    logs: { loss: 0.51234, accuracy: 0.75 },
  } as const;
  it('shows steps, time left, speed and means, and fits narrow terminals', () => {
    expect(barLine(event, params, 120)).toBe(
      ` 25/100 ${'━'.repeat(5)}${'─'.repeat(15)} ETA 6s - 80ms/step - 400 samples/s - loss: 0.5123 - accuracy: 0.7500`,
    );
    expect(barLine(event, params, 70)).toBe(' 25/100 ETA 6s - 80ms/step - loss: 0.5123 - accuracy: 0.7500');
    expect(barLine(event, params, 50)).toBe(' 25/100 ETA 6s - loss: 0.5123 - accuracy: 0.7500');
    expect(barLine(event, params, 20)).toBe(' 25/100 loss: 0.5123');
    for (let width = 0; width < 130; width++) expect(barLine(event, params, width).length).toBeLessThanOrEqual(width);
  });
  it('rewrites one line in a terminal, and writes plain lines elsewhere', async () => {
    const written: string[] = [];
    const write = (text: string): void => void written.push(text);
    await make().fit(x, y, {
      ...quiet,
      epochs: 2,
      validationData: [x, y],
      callbacks: [callbacks.progressBar({ terminal: { write, isTTY: true, columns: 200 } })],
    });
    const text = written.join('').replaceAll('\x1b[K', '<clear>');
    expect(text).toMatch(
      /^Epoch 1\/2\n.*\r1\/1 ━{20} .* - loss: \S+ - accuracy: \S+ - valLoss: \S+ - valAccuracy: \S+<clear>\nEpoch 2\/2\n/s,
    );
    written.length = 0;
    await make().fit(x, y, { ...quiet, epochs: 2, callbacks: [callbacks.progressBar({ terminal: { write } })] });
    expect(written).toHaveLength(2);
    expect(written[0]).toMatch(/^Epoch 1\/2 - \d+\.\ds - \S+\/step - loss: \d\.\d{4} - accuracy: \d\.\d{4}\n$/);
  });
  it('says how to go on after an interrupt', async () => {
    const written: string[] = [];
    const controller = new AbortController();
    const folder = join(root, 'interrupt');
    await make().fit(x, y, {
      ...quiet,
      epochs: 3,
      signal: controller.signal,
      checkpoint: { folder },
      callbacks: [
        callbacks.progressBar({ terminal: { write: (t) => written.push(t) } }),
        callbacks.lambda({ onEpochEnd: () => controller.abort() }),
      ],
    });
    expect(written.at(-1)).toBe(
      `Interrupted. Saved ${join(folder, 'checkpoint-000000001.tenon')} (1 of 3 epochs, step 1). Go on with checkpoint: { folder: '${folder}', resume: true }.\n`,
    );
  });
});

describe('data', () => {
  it('comes from streams: arrays of batches, generators with stepsPerEpoch, async ones', async () => {
    const part = (i: number): [ReturnType<typeof points>['x'], Int32Array] => [
      { data: x.data.subarray(i * 8, i * 8 + 8), shape: [4, 2], dtype: 'f32' },
      y.subarray(i * 4, i * 4 + 4),
    ];
    const expected = make();
    const h = await expected.fit(x, y, { ...quiet, batchSize: 4, epochs: 2, shuffle: false });
    const again = {
      *[Symbol.iterator]() {
        for (let i = 0; i < 4; i++) yield part(i);
      },
    };
    async function* endless(): AsyncGenerator<ReturnType<typeof part>> {
      for (let i = 0; ; i++) yield part(i % 4);
    }
    for (const [stream, options] of [
      [again, {}],
      [endless(), { stepsPerEpoch: 4 }],
      [
        {
          *[Symbol.iterator]() {
            for (let i = 0; i < 4; i++) yield { x: part(i)[0], y: part(i)[1] };
          },
        },
        {},
      ],
    ] as const) {
      const model = make();
      const history = await model.fit(stream, { ...quiet, epochs: 2, ...options });
      expect(await model.weights[0].array()).toEqual(await expected.weights[0].array());
      expect(history.history).toEqual(h.history);
    }
    const evaluated = await expected.evaluate(again, quiet);
    expect(evaluated).toEqual(await expected.evaluate(x, y, { ...quiet, batchSize: 4 }));
    expect(await (await expected.predict(again)).array()).toEqual(await (await expected.predict(x)).array());
    const generator = again[Symbol.iterator]();
    await expect(make().fit(generator, { ...quiet, epochs: 2 })).rejects.toThrow('epoch 2 had no batch');
  });
  it('is in another order in every epoch, the same for the same seed', async () => {
    const losses = async (seed: number): Promise<number[]> =>
      (await make().fit(x, y, { ...quiet, epochs: 2, batchSize: 5, seed })).history.loss;
    expect(await losses(3)).toEqual(await losses(3));
    expect(await losses(3)).not.toEqual(await losses(4));
  });
  it('is limited by stepsPerEpoch, and validated at the epochs asked for', async () => {
    let batches = 0;
    const history = await make().fit(x, y, {
      ...quiet,
      epochs: 4,
      initialEpoch: 1,
      batchSize: 4,
      stepsPerEpoch: 3,
      validationSplit: 0.25,
      validationFreq: 2,
      callbacks: [callbacks.lambda({ onTrainBatchEnd: () => void batches++ })],
    });
    expect(batches).toBe(9);
    expect(history.epoch).toEqual([1, 2, 3]);
    expect(history.history.loss).toHaveLength(3);
    expect(history.history.valLoss).toHaveLength(2);
  });
  it('may be bytes, tensors or nested arrays', async () => {
    const bytes = Uint8Array.from({ length: 32 }, (_, i) => (i * 37) % 251);
    const model = (): Model => {
      setRandomSeed(2);
      const m = sequential({
        layers: [layers.rescaling({ scale: 1 / 255, inputShape: [2] }), layers.dense({ units: 2, activation: 'softmax' })],
      });
      m.compile({ optimizer: 'adam', loss: 'sparseCategoricalCrossentropy' });
      return m;
    };
    const [a, b] = [model(), model()];
    await a.fit({ data: bytes, shape: [16, 2], dtype: 'u8' }, Uint8Array.from(y), { ...quiet, shuffle: false });
    const nested = Array.from({ length: 16 }, (_, i) => [bytes[2 * i], bytes[2 * i + 1]]);
    await b.fit(nested, Array.from(y), { ...quiet, shuffle: false });
    expect(await a.weights[0].array()).toEqual(await b.weights[0].array());
  });
  it('in one batch: trainOnBatch, testOnBatch, predictOnBatch', async () => {
    const model = make();
    const before = await model.testOnBatch(x, y);
    const trained = await model.trainOnBatch(x, y);
    expect(trained.loss).toBeCloseTo(before.loss, 6);
    expect((await model.testOnBatch(x, y)).loss).toBeLessThan(before.loss);
    expect((await model.predictOnBatch(x)).shape).toEqual([16, 2]);
    expect(Object.keys(trained)).toEqual(['loss', 'accuracy']);
  });
});
