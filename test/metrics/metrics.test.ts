/** @file Streaming metrics against scikit-learn over batches, eager and compiled, weighted and not; names and configs. */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { setDevice } from '../../src/device/registry.js';
import { getMetric, type Metric, type MetricContext, metrics, registerMetric, serializeMetric } from '../../src/metrics/index.js';
import { compileStep, type Tensor, tensor } from '../../src/tensor/index.js';

/** Expected values by name: a number, or nested arrays of them. */
type Value = number | readonly Value[];
interface Golden {
  classes: {
    labels: number[];
    scores: number[][];
    weights: number[];
    want: Record<string, Value>;
    f1: Record<string, Value>;
    fHalf: Record<string, Value>;
  };
  binary: {
    labels: number[];
    scores: number[];
    weights: number[];
    want: Record<string, Value>;
    areas: { curve: 'ROC' | 'PR'; summationMethod: 'interpolation' | 'minoring' | 'majoring'; numThresholds: number; value: number }[];
    counts: number[][];
  };
  regression: { labels: number[][]; outputs: number[][]; weights: number[]; want: Record<string, Value> };
}
const golden: Golden = JSON.parse(readFileSync(new URL('../golden/metrics.json', import.meta.url), 'utf8'));

// Hundreds of small programs: without a C compiler's start for each.
beforeAll(() => setDevice('reference'));

/** The result after two batches, eager and then, after a reset, by a compiled step. */
async function streamed(metric: Metric, yTrue: Tensor, yPred: Tensor, weight?: Tensor): Promise<ArrayLike<number>> {
  const half = yPred.shape[0] / 2;
  const batches = [`:${half}`, `${half}:`].map((range) => [yTrue, yPred, ...(weight ? [weight] : [])].map((x) => x.get(range)));
  for (const [t, p, w] of batches) metric.update(t, p, w);
  const eager = await metric.result().data();
  metric.reset();
  const step = await compileStep(
    ([t, p, w]) => {
      metric.update(t, p, w);
      return { outputs: [metric.result()] };
    },
    batches[0].map(({ shape, dtype }) => ({ shape, dtype })),
  );
  const [first] = await step.run(batches[0]);
  const [compiled] = await step.run(batches[1]);
  expect(first).not.toEqual(compiled);
  close(compiled, [...eager], 'compiled');
  close(await metric.result().data(), [...eager], 'read afterwards');
  metric.reset();
  return eager;
}
const flat = (x: Value): number[] => (typeof x === 'number' ? [x] : x.flatMap(flat));
const close = (got: ArrayLike<number>, want: Value, what: string, tolerance = 1e-5): void => {
  const expected = flat(want);
  expect(got.length, what).toBe(expected.length);
  expected.forEach((w, i) => {
    expect(Math.abs(got[i] - w), `${what} ${i}: ${got[i]} against ${w}`).toBeLessThan(tolerance * Math.max(1, Math.abs(w)));
  });
};

const c = golden.classes;
const classes = {
  sparse: tensor(c.labels, 'i32'),
  hot: tensor(c.labels.map((l) => [0, 1, 2, 3].map((k) => Number(k === l)))),
  scores: tensor(c.scores),
  weights: tensor(c.weights),
};
describe('classes', () => {
  const check = (
    title: string,
    make: () => Metric,
    want: Value,
    weighted = false,
    forms: ('sparse' | 'hot')[] = ['sparse', 'hot'],
  ): void => {
    it(title, async () => {
      for (const form of forms)
        close(await streamed(make(), classes[form], classes.scores, weighted ? classes.weights : undefined), want, `${title} ${form}`);
    });
  };
  check('categoricalAccuracy', metrics.categoricalAccuracy, c.want.accuracy);
  check('weighted categoricalAccuracy', metrics.categoricalAccuracy, c.want.weightedAccuracy, true);
  check('sparseCategoricalAccuracy', metrics.sparseCategoricalAccuracy, c.want.accuracy, false, ['sparse']);
  check('topKCategoricalAccuracy', () => metrics.topKCategoricalAccuracy({ k: 2 }), c.want.top2);
  check('sparseTopKCategoricalAccuracy', () => metrics.sparseTopKCategoricalAccuracy({ k: 2 }), c.want.weightedTop2, true, ['sparse']);
  check('confusionMatrix', metrics.confusionMatrix, c.want.confusion);
  check('weighted confusionMatrix', metrics.confusionMatrix, c.want.weightedConfusion, true);
  check('f1 of each class', metrics.f1Score, c.f1.perClass);
  for (const average of ['macro', 'micro', 'weighted'] as const) check(`f1 ${average}`, () => metrics.f1Score({ average }), c.f1[average]);
  check('f1 macro, samples weighted', () => metrics.f1Score({ average: 'macro' }), c.f1.macroSampleWeighted, true);
  check('fBeta of each class', () => metrics.fBetaScore({ beta: 0.5 }), c.fHalf.perClass);
  check('fBeta macro', () => metrics.fBetaScore({ beta: 0.5, average: 'macro' }), c.fHalf.macro);
  check('precision', metrics.precision, c.want.microPrecision);
  check('recall', metrics.recall, c.want.microRecall);
  check('precision of a class', () => metrics.precision({ classId: 1 }), c.want.precisionOfClass1);
  check('recall of a class', () => metrics.recall({ classId: 1 }), c.want.recallOfClass1);
  check('recall of the top 1', () => metrics.recall({ topK: 1 }), c.want.top1Recall);
  check('categoricalCrossentropy', metrics.categoricalCrossentropy, c.want.crossentropy);
  check('sparseCategoricalCrossentropy', metrics.sparseCategoricalCrossentropy, c.want.weightedCrossentropy, true, ['sparse']);
});

const b = golden.binary;
const binary = { labels: tensor(b.labels), scores: tensor(b.scores, { shape: [200, 1] }), weights: tensor(b.weights) };
describe('two classes', () => {
  const check = (title: string, make: () => Metric, want: Value, weighted = false): void => {
    it(title, async () => close(await streamed(make(), binary.labels, binary.scores, weighted ? binary.weights : undefined), want, title));
  };
  check('binaryAccuracy', metrics.binaryAccuracy, b.want.accuracy);
  check('precision', metrics.precision, b.want.precision);
  check('recall', metrics.recall, b.want.recall);
  check('precision at two thresholds', () => metrics.precision({ thresholds: [0.305, 0.705] }), b.want.precisionAt);
  check('weighted recall at two thresholds', () => metrics.recall({ thresholds: [0.305, 0.705] }), b.want.recallAt, true);
  check('f1', metrics.f1Score, b.want.f1);
  check('trueNegatives', metrics.trueNegatives, b.counts[0][0]);
  check('falsePositives', metrics.falsePositives, b.counts[0][1]);
  check('falseNegatives', metrics.falseNegatives, b.counts[1][0]);
  check('truePositives', metrics.truePositives, b.counts[1][1]);
  check('confusionMatrix', metrics.confusionMatrix, b.counts);
  for (const { value, ...options } of b.areas) check(`auc ${JSON.stringify(options)}`, () => metrics.auc(options), value);
  check('weighted auc', metrics.auc, b.want.weightedArea, true);
  check('auc of own thresholds', () => metrics.auc({ thresholds: [0.25, 0.4, 0.7] }), b.want.areaOfThresholds);
  it('auc of logits and of several labels', async () => {
    const logits = binary.scores.clip(0.001, 0.999).div(binary.scores.clip(0.001, 0.999).neg().add(1)).log();
    close(await streamed(metrics.auc({ fromLogits: true }), binary.labels, logits), b.areas[0].value, 'logits', 1e-3);
    const two = (x: Tensor, y: Tensor): Tensor =>
      tensor(x)
        .reshape([200, 1])
        .mul([1, 0])
        .add(y.reshape([200, 1]).mul([0, 1]));
    const multi = metrics.auc({ multiLabel: true, labelWeights: [3, 1] });
    const flipped = binary.scores.neg().add(1);
    const area = Number(b.areas[0].value);
    close(
      await streamed(multi, two(binary.labels, binary.labels), two(binary.scores, flipped)),
      (3 * area + (1 - area)) / 4,
      'labels',
      1e-2,
    );
  });
});

const r = golden.regression;
const regression = { labels: tensor(r.labels), outputs: tensor(r.outputs), weights: tensor(r.weights) };
describe('regression', () => {
  const check = (title: string, make: () => Metric, want: Value, weighted = false, tolerance = 2e-5): void => {
    it(title, async () =>
      close(
        await streamed(make(), regression.labels, regression.outputs, weighted ? regression.weights : undefined),
        want,
        title,
        tolerance,
      ),
    );
  };
  check('meanSquaredError', metrics.meanSquaredError, r.want.mse);
  check('weighted meanSquaredError', metrics.meanSquaredError, r.want.weightedMse, true);
  check('meanAbsoluteError', metrics.meanAbsoluteError, r.want.mae);
  check('rootMeanSquaredError', metrics.rootMeanSquaredError, r.want.rmse);
  check('meanAbsolutePercentageError', metrics.meanAbsolutePercentageError, r.want.mape);
  // Labels around 100 with a spread of 0.1: sums of squares alone would leave no digits.
  check('r2Score', metrics.r2Score, r.want.r2, false, 2e-4);
  check('r2Score of each output', () => metrics.r2Score({ classAggregation: null }), r.want.r2PerOutput, false, 2e-4);
  check('r2Score by variance', () => metrics.r2Score({ classAggregation: 'varianceWeightedAverage' }), r.want.r2Variance, false, 2e-4);
  check('weighted r2Score', metrics.r2Score, r.want.weightedR2, true, 2e-4);
  check('adjusted r2Score', () => metrics.r2Score({ numRegressors: 4 }), r.want.r2Adjusted, false, 2e-4);
  it('cosineSimilarity', async () => {
    const metric = metrics.cosineSimilarity();
    metric.update(
      [
        [0, 1],
        [1, 1],
      ],
      [
        [1, 0],
        [1, 1],
      ],
    );
    close(await metric.result().data(), 0.5, 'mean of 0 and 1');
    metric.reset();
    metric.update(
      [
        [0, 1],
        [1, 1],
      ],
      [
        [1, 0],
        [1, 1],
      ],
      [0.3, 0.7],
    );
    close(await metric.result().data(), 0.7, 'weighted');
  });
});

describe('mean and sum', () => {
  it('count by weight, of any shape', async () => {
    const mean = metrics.mean();
    expect(await mean.result().item()).toBe(0);
    mean.update([1, 3, 5, 7], [1, 1, 0, 0]);
    expect(await mean.result().item()).toBe(2);
    mean.update(8);
    expect(await mean.result().item()).toBe(4);
    const sum = metrics.sum();
    sum.update([1, 3, 5, 7], [1, 1, 0, 2]);
    expect(await sum.result().item()).toBe(18);
    sum.reset();
    expect(await sum.result().item()).toBe(0);
  });
});

const context = (classes: number, sparseLabels = false): MetricContext => ({ outputShape: [null, classes], sparseLabels });
describe('names and configs', () => {
  it('chooses the accuracy by the shapes and keeps its name', async () => {
    for (const id of ['accuracy', 'acc']) {
      for (const [ctx, className] of [
        [context(1), 'binaryAccuracy'],
        [context(3), 'categoricalAccuracy'],
        [context(3, true), 'sparseCategoricalAccuracy'],
      ] as const) {
        const metric = getMetric(id, ctx);
        expect([metric.name, metric.className]).toEqual([id, className]);
      }
    }
    expect(getMetric('crossentropy', context(3, true)).className).toBe('sparseCategoricalCrossentropy');
  });
  it('makes the accumulators before the first step', () => {
    for (const name of Object.keys(metrics)) {
      const metric = getMetric(name, context(3));
      expect(metric.variables.length, name).toBeGreaterThan(0);
      const names = metric.variables.map((v) => v.name);
      expect(new Set(names).size).toBe(names.length);
      expect(metric.variables.every((v) => !v.trainable)).toBe(true);
    }
  });
  it('knows Python and camelCase spellings and short names; f1 in fit is a number', async () => {
    expect(getMetric('sparse_categorical_accuracy', context(3)).name).toBe('sparseCategoricalAccuracy');
    expect(getMetric('rmse', context(3)).name).toBe('rootMeanSquaredError');
    const f1 = getMetric('f1', context(4));
    f1.update(classes.sparse, classes.scores);
    expect(f1.result().shape).toEqual([]);
    close(await f1.result().data(), c.f1.macro, 'f1');
    expect(() => getMetric('nothing', context(3))).toThrow(/metric: "nothing" is not known/);
  });
  it('comes back from its config', async () => {
    const made = [
      metrics.precision({ thresholds: [0.2, 0.6], name: 'p' }),
      metrics.fBetaScore({ beta: 2, average: 'weighted' }),
      metrics.auc({ curve: 'PR', numThresholds: 50 }),
      metrics.topKCategoricalAccuracy({ k: 2 }),
      metrics.categoricalCrossentropy({ labelSmoothing: 0.1 }),
      metrics.r2Score({ classAggregation: 'varianceWeightedAverage' }),
      metrics.confusionMatrix({ numClasses: 4 }),
      metrics.rootMeanSquaredError({ name: 'root' }),
    ];
    for (const metric of made) {
      const again = getMetric(JSON.parse(JSON.stringify(serializeMetric(metric))), context(4));
      expect([again.className, again.name, again.getConfig()]).toEqual([metric.className, metric.name, metric.getConfig()]);
      for (const m of [metric, again]) m.update(classes.hot, classes.scores);
      expect(await again.result().data()).toEqual(await metric.result().data());
    }
  });
  it('takes functions and registered metrics', async () => {
    const metric = getMetric((t, p) => t.sub(p).abs().max(-1), context(2));
    metric.update([[1, 2]], [[2, 5]]);
    expect(await metric.result().item()).toBe(3);
    expect(() => serializeMetric(metric)).toThrow(/can't be saved/);
    registerMetric('myOwn', () => metrics.precision({ name: 'myOwn' }));
    expect(getMetric('my_own', context(2)).name).toBe('myOwn');
  });
  it('says what does not fit', () => {
    expect(() => metrics.meanSquaredError().update([[1, 2]], [[1, 2]], [1, 2, 3])).toThrow(/sample weights .*3.* do not fit/);
    expect(() => metrics.sparseCategoricalAccuracy().update([[0, 1, 0]], [[0.1, 0.2, 0.7]])).toThrow(/Expected class numbers/);
    expect(() => metrics.auc({ numThresholds: 1 })).toThrow(/numThresholds/);
  });
});
