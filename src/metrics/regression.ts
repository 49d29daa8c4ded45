/** @file R²: how much of the labels' variance the outputs explain. */
import { ConfigError } from '../base/errors.js';
import { aligned, type Config } from '../losses/loss.js';
import { type Tensor, type Variable, where, zeros } from '../tensor/index.js';
import { Metric, type PartialShape, safeDivide, spreadWeight } from './metric.js';

export interface R2Options {
  name?: string;
  /** null: one score an output. */
  classAggregation?: 'uniformAverage' | 'varianceWeightedAverage' | null;
  /** Number of inputs, for the adjusted score; 0: not adjusted. */
  numRegressors?: number;
}
/** 1 − Σ (y − ŷ)² / Σ (y − mean y)², an output at a time. */
export class R2Score extends Metric {
  readonly #options: Required<Omit<R2Options, 'name'>>;
  #sums: readonly Variable[] = [];

  constructor(options: R2Options = {}) {
    super(options.name ?? 'r2Score');
    const { classAggregation = 'uniformAverage', numRegressors = 0 } = options;
    if (!Number.isInteger(numRegressors) || numRegressors < 0)
      throw new ConfigError(`${this.name}: numRegressors is ${numRegressors}. Expected an integer ≥ 0, received ${numRegressors}.`);
    this.#options = { classAggregation, numRegressors };
  }
  get className(): string {
    return 'r2Score';
  }
  protected override create(outputShape: PartialShape): void {
    const outputs = outputShape.length < 2 ? 1 : outputShape[outputShape.length - 1];
    if (outputs === null) throw new ConfigError(`${this.name}: the number of outputs is not known. Expected a static last axis.`);
    this.#sums = [
      ...['count', 'mean', 'scatter', 'residual'].map((name) => this.accumulator(name, [outputs])),
      this.accumulator('samples'),
    ];
  }
  protected override gather(yTrue: Tensor, yPred: Tensor, sampleWeight?: Tensor): void {
    const [whole, out] = aligned(this.name, yTrue, yPred);
    const shape = [-1, out.shape[out.rank - 1]];
    const [t, p] = [whole.reshape(shape), out.reshape(shape)];
    const w = (sampleWeight ? spreadWeight(this.name, sampleWeight, out) : out.mul(0).add(1)).reshape(shape);
    const [count, mean, scatter, residual, samples] = this.#sums;
    // Running means and sums of squares about them (Chan et al. 1979): Σy² − (Σy)²/n has no digits left in f32.
    const batch = w.sum(0);
    const batchMean = safeDivide(t.mul(w).sum(0), batch);
    const batchScatter = t.sub(batchMean).square().mul(w).sum(0);
    const all = count.read().add(batch);
    const apart = batchMean.sub(mean.read());
    const moved = mean.read().add(safeDivide(apart.mul(batch), all));
    const between = safeDivide(apart.square().mul(count.read()).mul(batch), all);
    scatter.assign(scatter.read().add(batchScatter).add(between));
    mean.assign(moved);
    count.assign(all);
    residual.assignAdd(t.sub(p).square().mul(w).sum(0));
    samples.assignAdd(t.shape[0]);
  }
  result(): Tensor {
    if (this.#sums.length === 0) return zeros([]);
    const [, , total, residual, samples] = this.#sums.map((v) => v.read());
    const score = where(total.equal(0), 0, safeDivide(residual, total).neg().add(1));
    const { classAggregation, numRegressors } = this.#options;
    const averaged =
      classAggregation === 'uniformAverage'
        ? score.mean()
        : classAggregation === 'varianceWeightedAverage'
          ? safeDivide(score.mul(total).sum(), total.sum())
          : score;
    if (numRegressors === 0) return averaged;
    const factor = safeDivide(samples.sub(1), samples.sub(numRegressors + 1));
    return averaged.neg().add(1).mul(factor).neg().add(1);
  }
  override getConfig(): Config {
    return { name: this.name, ...this.#options };
  }
}
