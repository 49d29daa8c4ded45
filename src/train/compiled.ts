/**
 * @file Compiled: what model.compile() keeps: the optimizer, a loss and metrics for each output (chosen when the shapes
 * of the labels are known), the running means, and the Programs made so far.
 */
import { ConfigError, quote } from '../base/errors.js';
import { showShape } from '../base/shape.js';
import { weightRules } from '../layers/layer.js';
import type { PartialShape } from '../layers/symbolic.js';
import { getLoss, type Loss, type LossLike } from '../losses/index.js';
import { getMetric, type Metric, type MetricLike } from '../metrics/index.js';
import type { AnyModel } from '../model/model.js';
import { getOptimizer, type Optimizer, type OptimizerLike } from '../optimizers/index.js';
import type { Step, TensorSpec, Variable } from '../tensor/index.js';
import type { Structure } from './batch.js';
import { areClassNumbers, checkLabelRange, checkLabelShape } from './labels.js';
import { camel } from './names.js';
import { kerasObjective, type Objective, type OutputLoss, type OutputMetric } from './objective.js';
import { checkOptionNames, compileOptionNames } from './options.js';
import type { BatchSource } from './source.js';
import { Means, Progress } from './state.js';

export interface CompileOptions {
  /** A name with default settings, or an optimizer. Default 'rmsprop', as Keras. */
  optimizer?: OptimizerLike;
  /** One for all outputs, or a list or object of one an output (null: none). */
  loss?: Structure<LossLike | null>;
  /** Factors of the outputs' losses. */
  lossWeights?: readonly number[] | Readonly<Record<string, number>>;
  /** For all outputs, or by output: in an object, or a list of lists. */
  metrics?: MetricsOption;
  /** The same, but they count sampleWeight and classWeight. */
  weightedMetrics?: MetricsOption;
  /** Instead of `loss`: what a step minimises. */
  objective?: Objective;
}
export type MetricsOption = readonly (MetricLike | readonly MetricLike[])[] | Readonly<Record<string, MetricLike | readonly MetricLike[]>>;

/** Losses and metrics for labels of given shapes. */
export interface Resolved {
  readonly key: string;
  readonly losses: readonly OutputLoss[];
  readonly metrics: readonly OutputMetric[];
  readonly objective: Objective;
}

export class Compiled {
  readonly options: CompileOptions;
  readonly optimizer: Optimizer;
  /** Running means of losses, and how training stands; the steps write them. */
  readonly means: Means = new Means();
  readonly progress: Progress = new Progress();
  /** Programs by what they do and on which shapes. */
  readonly programs: Map<string, Promise<Step>> = new Map();
  readonly #resolved = new Map<string, Resolved>();
  readonly #metrics = new Map<string, readonly OutputMetric[]>();
  /** Batches given to trainOnBatch, for windows of gradient accumulation. */
  batchesDone = 0;
  /** Whether a fit is running. */
  isTraining = false;
  #aside: Compiled | null = null;
  #builtFor: readonly Variable[] | null = null;

  /** Throws ConfigError for unknown names. */
  constructor(options: CompileOptions, who: string, outputNames: readonly string[] | null = null) {
    checkOptionNames(options, compileOptionNames, who);
    this.options = options;
    this.optimizer = getOptimizer(options.optimizer ?? 'rmsprop');
    if (options.loss !== undefined && options.objective)
      throw new ConfigError(`${who}: both loss and objective. Expected one of them. An objective computes its loss itself.`);
    for (const id of isList(options.loss) ? options.loss : isByName(options.loss) ? Object.values(options.loss) : [options.loss])
      if (typeof id === 'string') getLoss(id);
    // Otherwise when the outputs are known.
    if (outputNames) {
      this.lossIds(outputNames, who);
      this.#lossWeights(outputNames, who);
    }
  }

  /** Means and metrics beside those of a training under way. */
  get aside(): Compiled {
    this.#aside ??= new Compiled(this.options, 'compile');
    return this.#aside;
  }

  /** The model's structure changed: what was made for the old one is of no use. */
  forget(): void {
    this.programs.clear();
    this.#aside = null;
    this.#resolved.clear();
    this.#metrics.clear();
  }
  /** Gives the optimizer its slots; again when other weights are trainable. */
  buildOptimizer(trainable: readonly Variable[]): void {
    if (this.#builtFor && this.#builtFor.length === trainable.length && this.#builtFor.every((v, i) => v === trainable[i])) return;
    this.optimizer.build(trainable, {
      constraintOf: (v) => {
        const { constraint } = weightRules(v);
        return constraint ? (w) => constraint.call(w) : null;
      },
    });
    this.#builtFor = [...trainable];
  }

  /**
   * Losses and metrics for a source's labels; checks the labels. Throws ConfigError and ShapeError that name the output,
   * the shapes and the fix.
   */
  resolve(model: AnyModel, source: BatchSource, who: string): Resolved {
    const outputs = model.outputSpecs();
    const names = model.outputNames ?? outputs.map((_, i) => (outputs.length === 1 ? 'output' : `output${i}`));
    const { targets } = source.shapes;
    const key = `${names.join()}|${outputs.map((o) => showShape(o.shape)).join()}|${targets.map((t) => showShape(t.shape.slice(1)) + t.dtype).join()}`;
    let resolved = this.#resolved.get(key);
    const ids = this.lossIds(names, who);
    if (!resolved) {
      resolved = this.#make(
        key,
        names,
        outputs.map((o) => o.shape),
        ids,
        targets,
        who,
      );
      this.#resolved.set(key, resolved);
    }
    resolved.losses.forEach(({ loss, output }, i) => {
      if (!loss) return;
      if (!targets[i])
        throw new ConfigError(`${who}: there is no target for output "${output}". Expected y with ${names.length} columns. Pass y.`);
      const check = {
        who,
        output,
        loss: typeof ids[i] === 'function' ? 'custom' : loss.name,
        shape: outputs[i].shape,
        fromLogits: loss.fromLogits,
      };
      checkLabelShape(targets[i].shape, check);
      if (source.columns) checkLabelRange(source.columns.targets[i], check);
    });
    return resolved;
  }

  #make(
    key: string,
    names: readonly string[],
    shapes: readonly PartialShape[],
    ids: readonly (LossLike | null)[],
    targets: readonly TensorSpec[],
    who: string,
  ): Resolved {
    const { options } = this;
    const weights = this.#lossWeights(names, who);
    const sparse = shapes.map((s, i) => targets[i] !== undefined && areClassNumbers(targets[i].shape, s));
    const losses = ids.map((id, i): OutputLoss => {
      const loss: Loss | null = id === null ? null : getLoss(id);
      return { output: names[i], loss, weight: weights[i] };
    });
    const metricKey = `${names.join()}|${shapes.map(showShape).join()}|${sparse.join()}`;
    let metrics = this.#metrics.get(metricKey);
    if (!metrics) {
      metrics = this.#makeMetrics(names, shapes, losses, sparse, who);
      this.#metrics.set(metricKey, metrics);
    }
    const objective = options.objective ?? kerasObjective(losses, losses.filter((l) => l.loss).length > 1);
    return { key, losses, metrics, objective };
  }

  /** The loss given for each output; nulls with an objective of one's own. Throws ConfigError when they don't fit the names. */
  lossIds(names: readonly string[], who: string): (LossLike | null)[] {
    const { loss, objective } = this.options;
    if (objective || loss === undefined || loss === null) return names.map(() => null);
    return perOutput<LossLike | null>(loss, names, `${who}: loss`, null);
  }
  #lossWeights(names: readonly string[], who: string): number[] {
    const { lossWeights } = this.options;
    if (lossWeights === undefined || lossWeights === null) return names.map(() => 1);
    const weights = perOutput<number>(lossWeights, names, `${who}: lossWeights`, 1);
    const wrong = weights.findIndex((w) => !Number.isFinite(w));
    if (wrong >= 0) throw new ConfigError(`${who}: lossWeights of "${names[wrong]}" is ${String(weights[wrong])}. Expected a number.`);
    return weights;
  }
  #makeMetrics(
    names: readonly string[],
    shapes: readonly PartialShape[],
    losses: readonly OutputLoss[],
    sparse: readonly boolean[],
    who: string,
  ): OutputMetric[] {
    const out: OutputMetric[] = [];
    const used = new Set<string>(['loss', ...(losses.length > 1 ? names.map((n) => camel(n, 'loss')) : [])]);
    for (const [option, weighted] of [
      [this.options.metrics, false],
      [this.options.weightedMetrics, true],
    ] as const)
      metricsPerOutput(option, names, who).forEach((list, output) => {
        for (const id of list) {
          const metric = getMetric(id, {
            loss: losses[output].loss ?? undefined,
            outputShape: shapes[output],
            sparseLabels: sparse[output],
          });
          const base = names.length > 1 ? camel(names[output], metric.name) : metric.name;
          let name = base;
          for (let i = 1; used.has(name); i++) name = `${base}${i}`;
          used.add(name);
          out.push({ name, metric, output, weighted });
        }
      });
    return out;
  }
  /** Every metric object in use, in a stable order. */
  get metrics(): Metric[] {
    return [...new Set([...this.#metrics.values()].flat().map((m) => m.metric))];
  }
}

const isList = <T>(x: Structure<T> | undefined | null): x is readonly T[] => Array.isArray(x);
/** Losses and what files keep of them are plain objects too. */
const isByName = <T>(x: Structure<T> | undefined | null): x is { readonly [name: string]: T } =>
  typeof x === 'object' &&
  x !== null &&
  Object.getPrototypeOf(x) === Object.prototype &&
  !('className' in x) &&
  !('call' in x && typeof x.call === 'function');

function perOutput<T>(option: Structure<T> | readonly T[], names: readonly string[], who: string, missing: T): T[] {
  if (isList(option)) {
    if (option.length !== names.length)
      throw new ConfigError(`${who}: ${option.length} entries. Expected ${names.length}: ${names.join(', ')}.`);
    return [...option];
  }
  if (isByName(option)) {
    const unknown = Object.keys(option).filter((k) => !names.includes(k));
    if (unknown.length > 0)
      throw new ConfigError(
        `${who}: no output "${unknown[0]}". Expected one of ${names.join(', ')}, received ${Object.keys(option).join(', ')}.`,
      );
    return names.map((n) => (n in option ? option[n] : missing));
  }
  return names.map(() => option as T);
}

function metricsPerOutput(option: MetricsOption | undefined, names: readonly string[], who: string): (readonly MetricLike[])[] {
  if (option === undefined || option === null) return names.map(() => []);
  if (typeof option !== 'object')
    throw new ConfigError(`${who}: metrics is ${quote(option)}. Expected a list, or an object by output, such as ['accuracy'].`);
  const many = (x: MetricLike | readonly MetricLike[]): readonly MetricLike[] =>
    Array.isArray(x) ? (x as readonly MetricLike[]) : [x as MetricLike];
  if (Array.isArray(option)) {
    const list = option as readonly (MetricLike | readonly MetricLike[])[];
    if (list.length > 0 && list.every((m) => Array.isArray(m))) {
      if (list.length !== names.length)
        throw new ConfigError(`${who}: metrics has ${list.length} lists. Expected ${names.length}: ${names.join(', ')}.`);
      return list.map(many);
    }
    return names.map(() => list.flatMap(many));
  }
  const byName = option as Readonly<Record<string, MetricLike | readonly MetricLike[]>>;
  const unknown = Object.keys(byName).find((k) => !names.includes(k));
  if (unknown !== undefined) throw new ConfigError(`${who}: metrics for "${unknown}". Expected outputs ${names.join(', ')}.`);
  return names.map((n) => (n in byName ? many(byName[n]) : []));
}
