/** @file The metrics by Keras's names: factories, look-up of ids, what files hold. */
import { ConfigError, quote } from '../base/errors.js';
import { checkOptionNames } from '../base/option-names.js';
import { getLoss, type Loss, type LossName, losses } from '../losses/index.js';
import type { Config } from '../losses/loss.js';
import { sqrt, type Tensor } from '../tensor/index.js';
import * as accuracies from './accuracy.js';
import { Auc, type AucOptions } from './auc.js';
import * as confusion from './confusion.js';
import { Mean, MeanOf, Metric, type PartialShape, Sum } from './metric.js';
import { type R2Options, R2Score } from './regression.js';

export { Averaging, Mean, MeanOf, Metric, type PartialShape, Sum } from './metric.js';
export * from './report.js';

interface Named {
  name?: string;
}
type ValuesOf<O> = (yTrue: Tensor, yPred: Tensor, options: O) => Tensor;

/** `make`, refusing options that its metric's config doesn't have: all are in there. */
const checked =
  <O extends object, M extends Metric>(make: (options?: O) => M) =>
  (options?: O): M => {
    const metric = make(options);
    checkOptionNames(options ?? {}, metric.getConfig(), metric.className);
    return metric;
  };
/** A factory of the mean of `values`. */
const meanOf =
  <O extends { readonly [key: string]: number }>(id: string, values: ValuesOf<O>, defaults: O) =>
  (given: Partial<O> & Named = {}): Metric => {
    checkOptionNames(given, { name: true, ...defaults }, id);
    const { name, ...rest } = given;
    const options: O = { ...defaults, ...rest };
    return new MeanOf(id, (t, p) => values(t, p, options), { name, config: options });
  };
/** A factory of a loss's mean. */
const ofLoss =
  (id: LossName, name: string = id) =>
  (given: Config & Named = {}): Metric => {
    const loss = getLoss({ className: id, config: { ...given, name: given.name ?? name } });
    return new MeanOf(name, (t, p) => loss.call(t, p), { name: loss.name, config: loss.getConfig() });
  };

/** Factories; every option has Keras's default. @example metrics.topKCategoricalAccuracy({ k: 3 }) */
export const metrics = {
  mean: checked((options?: Named) => new Mean(options)),
  sum: checked((options?: Named) => new Sum(options)),
  binaryAccuracy: meanOf('binaryAccuracy', accuracies.binaryAccuracy, { threshold: 0.5 }),
  categoricalAccuracy: meanOf('categoricalAccuracy', accuracies.categoricalAccuracy, {}),
  sparseCategoricalAccuracy: meanOf('sparseCategoricalAccuracy', accuracies.sparseCategoricalAccuracy, {}),
  topKCategoricalAccuracy: meanOf('topKCategoricalAccuracy', accuracies.topKCategoricalAccuracy, { k: 5 }),
  sparseTopKCategoricalAccuracy: meanOf('sparseTopKCategoricalAccuracy', accuracies.sparseTopKCategoricalAccuracy, { k: 5 }),
  precision: checked(confusion.precision),
  recall: checked(confusion.recall),
  truePositives: checked(confusion.truePositives),
  falsePositives: checked(confusion.falsePositives),
  trueNegatives: checked(confusion.trueNegatives),
  falseNegatives: checked(confusion.falseNegatives),
  fBetaScore: checked((options?: confusion.FBetaOptions): Metric => new confusion.FBeta(options)),
  f1Score: checked((options?: Omit<confusion.FBetaOptions, 'beta'>): Metric => new confusion.FBeta({ ...options, beta: 1 }, 'f1Score')),
  auc: checked((options?: AucOptions): Metric => new Auc(options)),
  confusionMatrix: checked((options?: confusion.ConfusionMatrixOptions): Metric => new confusion.ConfusionMatrix(options)),
  r2Score: checked((options?: R2Options): Metric => new R2Score(options)),
  rootMeanSquaredError: checked((options?: Named): Metric => {
    const loss = losses.meanSquaredError();
    return new MeanOf('rootMeanSquaredError', (t, p) => loss.call(t, p), { name: options?.name, finish: (m) => sqrt(m) });
  }),
  cosineSimilarity: checked(({ name, axis = -1 }: { axis?: number } & Named = {}): Metric => {
    const loss = losses.cosineSimilarity({ axis });
    return new MeanOf('cosineSimilarity', (t, p) => loss.call(t, p).neg(), { name, config: { axis } });
  }),
  meanSquaredError: ofLoss('meanSquaredError'),
  meanAbsoluteError: ofLoss('meanAbsoluteError'),
  meanAbsolutePercentageError: ofLoss('meanAbsolutePercentageError'),
  meanSquaredLogarithmicError: ofLoss('meanSquaredLogarithmicError'),
  logCoshError: ofLoss('logCosh', 'logCoshError'),
  poisson: ofLoss('poisson'),
  klDivergence: ofLoss('klDivergence'),
  categoricalCrossentropy: ofLoss('categoricalCrossentropy'),
  sparseCategoricalCrossentropy: ofLoss('sparseCategoricalCrossentropy'),
  binaryCrossentropy: ofLoss('binaryCrossentropy'),
  hinge: ofLoss('hinge'),
  squaredHinge: ofLoss('squaredHinge'),
  categoricalHinge: ofLoss('categoricalHinge'),
};
export type MetricName = keyof typeof metrics;
export interface SerializedMetric {
  readonly className: string;
  readonly config: Config;
}
/** What `getMetric` takes. */
export type MetricLike = MetricName | 'accuracy' | (string & {}) | Metric | ((yTrue: Tensor, yPred: Tensor) => Tensor) | SerializedMetric;
/** What decides which accuracy 'accuracy' is. */
export interface MetricContext {
  readonly loss?: Loss;
  /** [batch, …, classes]. */
  readonly outputShape: PartialShape;
  /** Whether labels are class numbers: of a rank less than the outputs, or with a last axis of 1. */
  readonly sparseLabels: boolean;
}

const aliases: Readonly<Record<string, MetricName>> = {
  mse: 'meanSquaredError',
  mae: 'meanAbsoluteError',
  mape: 'meanAbsolutePercentageError',
  msle: 'meanSquaredLogarithmicError',
  rmse: 'rootMeanSquaredError',
  bce: 'binaryCrossentropy',
  kld: 'klDivergence',
  kullbackleiblerdivergence: 'klDivergence',
  logcosh: 'logCoshError',
  r2: 'r2Score',
};
/** Names whose default is a vector, in fit a number: the classes' mean. */
const scalarForms: Readonly<Record<string, Factory>> = {
  f1: () => metrics.f1Score({ name: 'f1', average: 'macro' }),
  f1score: () => metrics.f1Score({ average: 'macro' }),
  fbetascore: () => metrics.fBetaScore({ average: 'macro' }),
};
const plain = (name: string): string => name.replaceAll('_', '').toLowerCase();
type Factory = (options?: Config) => Metric;
const byPlainName = new Map<string, Factory>(Object.entries(metrics).map(([name, make]) => [plain(name), make as Factory]));
for (const [alias, name] of Object.entries(aliases)) byPlainName.set(alias, metrics[name] as Factory);

/** Makes a metric of your own known by name, so that saved models that use it load. */
export function registerMetric(name: string, make: (options?: Config) => Metric): void {
  byPlainName.set(plain(name), make);
}

/** Names of several forms. */
const families: Readonly<Record<string, string>> = {
  accuracy: 'Accuracy',
  acc: 'Accuracy',
  crossentropy: 'Crossentropy',
  ce: 'Crossentropy',
};
/** Which of the three forms, as Keras: one output is binary, class numbers are sparse, the rest categorical. */
function resolved(id: string, context: MetricContext): { name: MetricName; as: string } | null {
  const family = families[id];
  if (family === undefined) return null;
  const { outputShape, sparseLabels } = context;
  const form =
    outputShape.length < 2 || outputShape[outputShape.length - 1] === 1 ? 'binary' : sparseLabels ? 'sparseCategorical' : 'categorical';
  const names: Readonly<Record<string, MetricName>> = {
    binaryAccuracy: 'binaryAccuracy',
    categoricalAccuracy: 'categoricalAccuracy',
    sparseCategoricalAccuracy: 'sparseCategoricalAccuracy',
    binaryCrossentropy: 'binaryCrossentropy',
    categoricalCrossentropy: 'categoricalCrossentropy',
    sparseCategoricalCrossentropy: 'sparseCategoricalCrossentropy',
  };
  return { name: names[`${form}${family}`], as: id };
}

const isSerialized = (x: unknown): x is SerializedMetric =>
  typeof x === 'object' && x !== null && !(x instanceof Metric) && 'className' in x && 'config' in x;

/**
 * The metric that `id` names or is, built for the outputs. 'accuracy' ('acc') and 'crossentropy' ('ce') become the binary,
 * categorical or sparse form by the shapes and keep their names. Throws ConfigError for an unknown name.
 */
export function getMetric(id: MetricLike, context: MetricContext): Metric {
  const metric = find(id, context);
  metric.build(context.outputShape);
  return metric;
}
function find(id: MetricLike, context: MetricContext): Metric {
  if (id instanceof Metric) return id;
  if (typeof id === 'function') return new MeanOf(id.name || 'metric', id);
  const form = typeof id === 'string' ? resolved(plain(id), context) : null;
  if (form) return (metrics[form.name] as Factory)({ name: form.as });
  const scalar = typeof id === 'string' ? scalarForms[plain(id)] : undefined;
  return scalar ? scalar() : factoryOf(id)(isSerialized(id) ? id.config : {});
}
/** What makes the metric of a name or config. Throws ConfigError for what is neither. */
function factoryOf(id: unknown): Factory {
  const name = isSerialized(id) ? id.className : id;
  if (typeof name !== 'string')
    throw new ConfigError(
      `metric: it is ${quote(id)}. Expected a name such as 'accuracy', a function (yTrue, yPred) → tensor, or a Metric such as metrics.auc().`,
    );
  const make = byPlainName.get(plain(name));
  if (!make)
    throw new ConfigError(
      `metric: ${quote(name)} is not known. Expected one of accuracy, ${Object.keys(metrics).join(', ')}, a function or a Metric, received ${quote(name)}. Give the function itself, or call registerMetric first.`,
    );
  return make;
}
/** Throws ConfigError for what getMetric doesn't take, before there are outputs. */
export function checkMetric(id: unknown): void {
  const isNamed = typeof id === 'string' && (plain(id) in families || plain(id) in scalarForms);
  if (!(id instanceof Metric || typeof id === 'function' || isNamed)) factoryOf(id);
}
/** What a file keeps of the metric. Throws ConfigError for one without a registered name. */
export function serializeMetric(metric: Metric): SerializedMetric {
  if (!byPlainName.has(plain(metric.className)))
    throw new ConfigError(
      `metric "${metric.name}": a function can't be saved. Expected a registered name. Call registerMetric('${metric.name}', …).`,
    );
  return { className: metric.className, config: metric.getConfig() };
}
