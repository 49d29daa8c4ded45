/**
 * @file Metrics from counts of right and wrong: precision, recall, their kin and F-scores, the confusion matrix. As in
 * Keras 3; labels may be one-hot, multi-hot or class numbers.
 */
import { ConfigError } from '../base/errors.js';
import { aligned, asFloat, type Config, isSparse } from '../losses/loss.js';
import { matmul, multiHot, oneHot, type Tensor, tensor, topK, type Variable, where, zeros } from '../tensor/index.js';
import { classesOf } from './accuracy.js';
import { Metric, type PartialShape, safeDivide, spreadWeight } from './metric.js';

/** Labels and outputs in one shape; class numbers become one-hot. */
export function hotLabels(who: string, yTrue: Tensor, yPred: Tensor): [Tensor, Tensor] {
  const classes = yPred.shape[yPred.rank - 1];
  const t = isSparse(yTrue, yPred) ? oneHot((yTrue.rank === yPred.rank ? yTrue.squeeze(-1) : yTrue).cast('i32'), classes) : yTrue;
  return aligned(who, t, yPred);
}
const lastExtent = (who: string, shape: PartialShape): number => {
  const extent = shape.length < 2 ? 1 : shape[shape.length - 1];
  if (extent === null)
    throw new ConfigError(`${who}: the number of classes is not known. Expected a static last axis, received [${shape}].`);
  return extent;
};

export interface CountOptions {
  name?: string;
  /** An output above it is positive; several give a vector (default 0.5; with topK: no threshold). */
  thresholds?: number | readonly number[] | null;
  /** Only the k largest outputs of each row can be positive. */
  topK?: number | null;
  /** Only this column counts. */
  classId?: number | null;
}
type Count = 'truePositives' | 'falsePositives' | 'falseNegatives' | 'trueNegatives';

/** A function of some of the four counts, [thresholds]. */
export class CountMetric extends Metric {
  readonly #id: string;
  readonly #options: CountOptions;
  readonly #thresholds: readonly number[];
  readonly #counts: readonly { readonly count: Count; readonly sum: Variable }[];
  readonly #value: (counts: readonly Tensor[]) => Tensor;

  constructor(id: string, counts: readonly Count[], value: (counts: readonly Tensor[]) => Tensor, options: CountOptions = {}) {
    super(options.name ?? id);
    this.#id = id;
    this.#options = options;
    this.#value = value;
    // Below every probability and logit: whatever topK left is positive.
    const given = options.thresholds ?? (options.topK ? -1e9 : 0.5);
    this.#thresholds = typeof given === 'number' ? [given] : given;
    if (this.#thresholds.length === 0) throw new ConfigError(`${this.name}: thresholds are empty. Expected at least one number.`);
    this.#counts = counts.map((count) => ({ count, sum: this.accumulator(count, [this.#thresholds.length]) }));
  }
  get className(): string {
    return this.#id;
  }
  protected override gather(yTrue: Tensor, yPred: Tensor, sampleWeight?: Tensor): void {
    let [t, p] = hotLabels(this.name, yTrue, yPred);
    let weight = sampleWeight && spreadWeight(this.name, sampleWeight, p);
    const { topK: k, classId } = this.#options;
    if (k) p = where(multiHot(topK(p, k).indices, p.shape[p.rank - 1], 'bool'), p, -1e10);
    if (classId !== undefined && classId !== null) {
      [t, p] = [t.get('...', classId), p.get('...', classId)];
      weight = weight?.get('...', classId);
    }
    const isTrue = t.ravel().notEqual(0).expandDims(-1);
    const isPositive = p
      .ravel()
      .expandDims(-1)
      .greater(tensor([...this.#thresholds]));
    const w = weight?.ravel().expandDims(-1);
    for (const { count, sum } of this.#counts) {
      const label = count === 'truePositives' || count === 'falseNegatives' ? isTrue : isTrue.logicalNot();
      const output = count === 'truePositives' || count === 'falsePositives' ? isPositive : isPositive.logicalNot();
      const hits = label.logicalAnd(output).cast('f32');
      sum.assignAdd((w ? hits.mul(w) : hits).sum(0));
    }
  }
  result(): Tensor {
    const value = this.#value(this.#counts.map((c) => c.sum.read()));
    return this.#thresholds.length === 1 ? value.reshape([]) : value;
  }
  override getConfig(): Config {
    const { thresholds = null, topK: k = null, classId = null } = this.#options;
    return { name: this.name, thresholds, topK: k, classId };
  }
}
const ratio = ([a, b]: readonly Tensor[]): Tensor => safeDivide(a, a.add(b));
export const precision = (options?: CountOptions): Metric =>
  new CountMetric('precision', ['truePositives', 'falsePositives'], ratio, options);
export const recall = (options?: CountOptions): Metric => new CountMetric('recall', ['truePositives', 'falseNegatives'], ratio, options);
const single =
  (count: Count) =>
  (options?: CountOptions): Metric =>
    new CountMetric(count, [count], ([x]) => x, options);
export const truePositives = single('truePositives');
export const falsePositives = single('falsePositives');
export const trueNegatives = single('trueNegatives');
export const falseNegatives = single('falseNegatives');

export interface FBetaOptions {
  name?: string;
  /** null: one score a class; micro: all counts together; macro: the classes' mean; weighted: by their labels. */
  average?: 'micro' | 'macro' | 'weighted' | null;
  /** Recall counts beta times as much. */
  beta?: number;
  /** An output above it is positive; null: the largest one (0.5 where there is but one output). */
  threshold?: number | null;
}
/** (1 + β²) · precision · recall / (β² · precision + recall). */
export class FBeta extends Metric {
  readonly #id: string;
  readonly average: 'micro' | 'macro' | 'weighted' | null;
  readonly beta: number;
  readonly threshold: number | null;
  #sums: readonly Variable[] = [];

  constructor(options: FBetaOptions = {}, id = 'fBetaScore') {
    super(options.name ?? id);
    this.#id = id;
    this.average = options.average ?? null;
    this.beta = options.beta ?? 1;
    this.threshold = options.threshold ?? null;
    if (!(this.beta > 0)) throw new ConfigError(`${this.name}: beta is ${this.beta}. Expected a number > 0, received ${this.beta}.`);
  }
  get className(): string {
    return this.#id;
  }
  protected override create(outputShape: PartialShape): void {
    const shape = this.average === 'micro' ? [] : [lastExtent(this.name, outputShape)];
    this.#sums = ['truePositives', 'falsePositives', 'falseNegatives'].map((count) => this.accumulator(count, shape));
  }
  protected override gather(yTrue: Tensor, yPred: Tensor, sampleWeight?: Tensor): void {
    const [t, p] = hotLabels(this.name, yTrue, yPred);
    const classes = p.shape[p.rank - 1];
    const threshold = this.threshold ?? (classes === 1 ? 0.5 : null);
    const isPositive = threshold === null ? p.equal(p.max(-1, true)).logicalAnd(p.abs().greater(1e-9)) : p.greater(threshold);
    const [label, output] = [t.reshape([-1, classes]), isPositive.cast('f32').reshape([-1, classes])];
    const w = sampleWeight && spreadWeight(this.name, sampleWeight, p).reshape([-1, classes]);
    const axis = this.average === 'micro' ? undefined : 0;
    const not = (x: Tensor): Tensor => x.neg().add(1);
    const counts = [output.mul(label), output.mul(not(label)), not(output).mul(label)];
    for (const [i, sum] of this.#sums.entries()) sum.assignAdd((w ? counts[i].mul(w) : counts[i]).sum(axis));
  }
  result(): Tensor {
    const [tp, fp, fn] = this.#sums.map((v) => v.read());
    const [p, r] = [safeDivide(tp, tp.add(fp)), safeDivide(tp, tp.add(fn))];
    const b = this.beta * this.beta;
    const score = safeDivide(p.mul(r).mul(1 + b), p.mul(b).add(r));
    if (this.average === 'macro') return score.mean();
    if (this.average !== 'weighted') return score;
    const support = tp.add(fn);
    return safeDivide(score.mul(support).sum(), support.sum());
  }
  override getConfig(): Config {
    return { name: this.name, average: this.average, beta: this.beta, threshold: this.threshold };
  }
}

export interface ConfusionMatrixOptions {
  name?: string;
  /** Default: the outputs; 2 where there is but one. */
  numClasses?: number | null;
  /** Of a single output. */
  threshold?: number;
}
/** Weights of the samples by true class (rows) and answered class (columns), f32 [classes, classes]. */
export class ConfusionMatrix extends Metric {
  readonly #options: ConfusionMatrixOptions;
  #matrix: Variable | null = null;

  constructor(options: ConfusionMatrixOptions = {}) {
    super(options.name ?? 'confusionMatrix');
    this.#options = options;
  }
  get className(): string {
    return 'confusionMatrix';
  }
  protected override create(outputShape: PartialShape): void {
    const outputs = lastExtent(this.name, outputShape);
    const classes = this.#options.numClasses ?? Math.max(2, outputs);
    if (classes < outputs)
      throw new ConfigError(`${this.name}: numClasses is ${classes} for ${outputs} outputs. Expected at least ${outputs}. Leave it out.`);
    this.#matrix = this.accumulator('matrix', [classes, classes]);
  }
  protected override gather(yTrue: Tensor, yPred: Tensor, sampleWeight?: Tensor): void {
    const matrix = this.#matrix;
    if (matrix === null) return;
    const classes = matrix.shape[0];
    let [label, answer]: Tensor[] = [];
    if (yPred.rank < 2 || yPred.shape[yPred.rank - 1] === 1) {
      const [t, p] = aligned(this.name, yTrue, yPred);
      [label, answer] = [t.cast('i32'), p.greater(this.#options.threshold ?? 0.5).cast('i32')];
    } else [label, answer] = [classesOf(this.name, yTrue, yPred), yPred.argmax(-1)];
    const rows = oneHot(label.ravel(), classes);
    const columns = oneHot(answer.ravel(), classes);
    const w = sampleWeight && spreadWeight(this.name, sampleWeight, asFloat(label)).ravel().expandDims(-1);
    matrix.assignAdd(matmul(rows.transpose(), w ? columns.mul(w) : columns));
  }
  result(): Tensor {
    return this.#matrix?.read() ?? zeros([0, 0]);
  }
  override getConfig(): Config {
    return { name: this.name, numClasses: this.#options.numClasses ?? null, threshold: this.#options.threshold ?? 0.5 };
  }
}
