/** @file Options that don't exist are refused by everything that takes options, naming who and what. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/base/errors.js';
import * as layers from '../../src/layers/index.js';
import { Layer, type LayerOptions } from '../../src/layers/layer.js';
import { findClass } from '../../src/layers/registry.js';
import { losses } from '../../src/losses/index.js';
import { metrics } from '../../src/metrics/index.js';
import { Functional } from '../../src/model/functional.js';
import { loadModel } from '../../src/model/load.js';
import { Sequential, sequential } from '../../src/model/sequential.js';
import { optimizers, type ScheduleName, schedules } from '../../src/optimizers/index.js';
import type { Tensor } from '../../src/tensor/index.js';
import * as callbacks from '../../src/train/callbacks/index.js';

type Make = (options: object) => unknown;
type LayerClass = { new (options: object): Layer; readonly className: string; readonly optionNames: readonly string[] };
const layerClasses = [...new Set<unknown>(Object.values(layers)), Sequential, Functional].filter(
  (x): x is LayerClass =>
    typeof x === 'function' && x.prototype instanceof Layer && findClass((x as unknown as LayerClass).className) === x,
);
const decay = { initialLearningRate: 1, decaySteps: 2 };
const needs: Readonly<Record<ScheduleName, object>> = {
  exponentialDecay: { ...decay, decayRate: 0.5 },
  stepDecay: { initialLearningRate: 1, stepSize: 2 },
  piecewiseConstantDecay: { boundaries: [1], values: [1, 2] },
  polynomialDecay: decay,
  inverseTimeDecay: { ...decay, decayRate: 0.5 },
  cosineDecay: decay,
  cosineDecayRestarts: { initialLearningRate: 1, firstDecaySteps: 2 },
  oneCycle: { maxLearningRate: 1, totalSteps: 10 },
  linearWarmup: { learningRate: 1, warmupSteps: 2 },
  warmupStableDecay: { learningRate: 1, totalSteps: 10 },
};
const makers: [who: string, make: Make][] = [
  ...layerClasses.map((cls): [string, Make] => [cls.className, (o) => new cls(o)]),
  ...Object.entries({ ...losses, ...optimizers }).map(([name, make]): [string, Make] => [name, make as Make]),
  // A metric that is a loss's mean is named after the loss.
  ...Object.entries(metrics).map(([name, make]): [string, Make] => [name === 'logCoshError' ? 'logCosh' : name, make as Make]),
  ...Object.keys(callbacks)
    .filter((name) => !['History', 'terminateOnNaN', 'learningRateScheduler', 'csvLogger', 'jsonLines'].includes(name))
    .map((name): [string, Make] => [name, (callbacks as unknown as Record<string, Make>)[name]]),
  ['csvLogger', (o) => callbacks.csvLogger('log.csv', o)],
  ['jsonLines', (o) => callbacks.jsonLines('log.jsonl', o)],
];

describe('options that do not exist', () => {
  it('are looked for in everything that takes options', () => {
    expect(layerClasses.length).toBeGreaterThan(70);
    expect(makers.length).toBeGreaterThan(130);
    for (const cls of layerClasses) expect(Object.hasOwn(cls, 'optionNames'), cls.className).toBe(true);
  });
  it.each(makers)('are refused by %s', (who, make) => {
    // No option has a q or an x beside a digit.
    fc.assert(
      fc.property(fc.stringMatching(/^[a-z_]{0,6}q[0-9]x[A-Za-z]{0,6}$/), fc.anything(), (name, value) => {
        expect(() => make({ [name]: value })).toThrow(ConfigError);
        expect(() => make({ [name]: value })).toThrow(`there is no option "${name}"`);
        expect(() => make({ [name]: value })).toThrow(who);
      }),
      { numRuns: 5, seed: 7 },
    );
  });
  it.each(Object.entries(needs))('are refused by %s', (name, own) => {
    const make = (schedules as unknown as Record<string, Make>)[name];
    expect(() => make(own)).not.toThrow();
    expect(() => make({ ...own, decayStep: 1 })).toThrow(`${name}: there is no option "decayStep"`);
  });
  it('have the name that was meant in their error', () => {
    const from =
      (f: Make, options: object): (() => unknown) =>
      () =>
        f(options);
    expect(from((o) => new layers.Dense(o as layers.DenseOptions), { unit: 10 })).toThrow(
      /^Dense "dense\w*": there is no option "unit". Expected "units", received "unit". Write units\.$/,
    );
    expect(from(layers.conv2d as Make, { filters: 3, kernalSize: 3 })).toThrow('Write kernelSize.');
    expect(from(layers.conv2d as Make, { filters: 3, kernel_size: 3 })).toThrow('Write kernelSize.');
    expect(from(layers.flatten as Make, { inputshape: [2] })).toThrow('Write inputShape.');
    expect(from(callbacks.earlyStopping, { patiance: 3 })).toThrow('earlyStopping: there is no option "patiance". Expected "patience"');
    expect(from(callbacks.lambda, { onEpochEnds: () => undefined })).toThrow('Write onEpochEnd.');
    expect(from(optimizers.adam as Make, { learningrate: 3 })).toThrow('adam: there is no option "learningrate". Expected "learningRate"');
    expect(from(losses.huber as Make, { delt: 3 })).toThrow('Write delta.');
    expect(from(sequential as Make, { layer: [] })).toThrow('Write layers.');
  });
  it('are those of the class and its bases for a layer of one’s own that declares some, and free for others', () => {
    class Scale extends layers.Dense {
      static override className = 'Scale';
      static override optionNames = ['factor'];
    }
    class Free extends Layer<LayerOptions & { factor?: number }> {
      override call(x: Tensor): Tensor {
        return x;
      }
    }
    const options = (o: object): layers.DenseOptions => ({ units: 1, ...o });
    expect(new Scale(options({ factor: 2, useBias: false, name: 'own' })).options).toMatchObject({ factor: 2 });
    expect(() => new Scale(options({ facto: 2 }))).toThrow(/^Scale "scale": there is no option "facto". Expected "factor"/);
    expect(() => new Scale(options({ usebias: 2 }))).toThrow('Write useBias.');
    expect(new Free({ factor: 2, other: 3 } as object).options).toEqual({ factor: 2, other: 3 });
  });
  it('are refused by evaluate, predict and loadModel', async () => {
    const m = sequential({ name: 'net', layers: [layers.dense({ units: 1, inputShape: [2] })] });
    m.compile({ loss: 'mse' });
    const x = new Float32Array(2);
    const data = [[0, 0]];
    await expect(m.evaluate(data, [[0]], { batchsize: 1 } as object)).rejects.toThrow(
      'evaluate Sequential "net": there is no option "batchsize". Expected "batchSize"',
    );
    await expect(m.evaluate(data, [[0]], { verbose: 3 } as object)).rejects.toThrow('verbose 3. Expected');
    await expect(m.predict(data, { sampleWeight: x } as object)).rejects.toThrow(
      'predict Sequential "net": there is no option "sampleWeight". Expected some of batchSize, steps, verbose, callbacks, signal',
    );
    await expect(loadModel('none.tenon', { customObject: {} } as object)).rejects.toThrow('Write customObjects.');
  });
});

describe('compile says what it was given and what it takes', () => {
  const compile =
    (options: unknown): (() => unknown) =>
    () =>
      sequential({ name: 'net' }).compile(options as object);
  it('for options, loss, optimizer and metrics', () => {
    expect(compile(undefined)).toThrow(
      'compile Sequential "net": it was given undefined. Expected options. Call compile({ optimizer, loss, metrics }).',
    );
    expect(compile('adam')).toThrow('it was given "adam". Expected options.');
    for (const loss of [5, [5], { a: 5 }])
      expect(compile({ loss })).toThrow("loss: it is 5. Expected a name such as 'mse', a function (yTrue, yPred) → tensor, or a Loss");
    expect(compile({ loss: true })).toThrow('loss: it is true.');
    expect(compile({ optimizer: 5 })).toThrow('optimizer: it is 5. Expected one of sgd, rmsprop');
    expect(compile({ optimizer: {} })).toThrow('optimizer: it is {}. Expected one of');
    expect(compile({ metrics: 5 })).toThrow(
      'compile Sequential "net": metrics is 5. Expected a list, or an object by output. Write [\'accuracy\'].',
    );
    expect(compile({ weightedMetrics: 'accuracy' })).toThrow('weightedMetrics is "accuracy". Expected a list');
    for (const list of [[5], [[5]], { a: [5] }])
      expect(compile({ metrics: list })).toThrow("metric: it is 5. Expected a name such as 'accuracy'");
    expect(compile({ metrics: ['acuracy'] })).toThrow('metric: "acuracy" is not known.');
  });
  it('and takes all forms', () => {
    const own = (a: Tensor, b: Tensor): Tensor => a.sub(b);
    expect(compile({ loss: { a: 'mse', b: null }, metrics: { a: ['acc', own], b: 'f1' } })).not.toThrow();
    expect(compile({ loss: own, metrics: [['Accuracy'], [metrics.auc()], []], optimizer: null })).not.toThrow();
    expect(compile({ loss: { className: 'huber', config: { delta: 2 } }, metrics: [{ className: 'auc', config: {} }] })).not.toThrow();
    expect(compile({ loss: losses.huber(), metrics: null })).not.toThrow();
  });
});
