/**
 * @file Area under the ROC or the precision–recall curve, as in Keras 3: outputs fall into buckets between thresholds, and
 * the curve is summed over those. The exact, rank-based area of arrays is in report.ts.
 */
import { ConfigError } from '../base/errors.js';
import { asFloat, type Config } from '../losses/loss.js';
import {
  arange,
  cumsum,
  maximum,
  minimum,
  segmentSum,
  sigmoid,
  type Tensor,
  tensor,
  type Variable,
  where,
  zeros,
} from '../tensor/index.js';
import { hotLabels } from './confusion.js';
import { Metric, type PartialShape, safeDivide, spreadWeight } from './metric.js';

export interface AucOptions {
  name?: string;
  /** Evenly spaced in [0, 1] (default 200). */
  numThresholds?: number;
  curve?: 'ROC' | 'PR';
  /** Between thresholds: the trapezoid (for PR: Davis & Goadrich 2006), the lower or the upper end. */
  summationMethod?: 'interpolation' | 'minoring' | 'majoring';
  /** Thresholds of one's own in (0, 1), instead of even ones. */
  thresholds?: readonly number[] | null;
  /** One area a label, averaged; else all outputs count as one binary question. */
  multiLabel?: boolean;
  /** Weights of the average over labels. */
  labelWeights?: readonly number[] | null;
  fromLogits?: boolean;
}

export class Auc extends Metric {
  readonly #options: AucOptions;
  /** Ascending, without the ends. */
  readonly #inner: readonly number[] | null;
  /** Thresholds, the two ends (below 0 and above 1) included. */
  readonly #count: number;
  #labels = 1;
  /** Weights of the positive and negative labels in each bucket, [labels, thresholds]. */
  #positives: Variable | null = null;
  #negatives: Variable | null = null;

  constructor(options: AucOptions = {}) {
    super(options.name ?? 'auc');
    this.#options = options;
    this.#inner = options.thresholds ? [...options.thresholds].sort((a, b) => a - b) : null;
    this.#count = this.#inner ? this.#inner.length + 2 : (options.numThresholds ?? 200);
    if (!Number.isInteger(this.#count) || this.#count < 2)
      throw new ConfigError(`auc: numThresholds is ${options.numThresholds}. Expected an integer ≥ 2, received ${options.numThresholds}.`);
    if (this.#inner?.some((x) => !(x >= 0 && x <= 1)))
      throw new ConfigError(`auc: thresholds [${options.thresholds}] leave [0, 1]. Expected probabilities. Use fromLogits for logits.`);
    if (options.labelWeights && !options.multiLabel)
      throw new ConfigError('auc: labelWeights without multiLabel. Expected multiLabel: true. Set it or drop the weights.');
  }
  get className(): string {
    return 'auc';
  }
  protected override create(outputShape: PartialShape): void {
    const last = outputShape.length < 2 ? 1 : outputShape[outputShape.length - 1];
    if (last === null) throw new ConfigError('auc: the number of labels is not known. Expected a static last axis.');
    this.#labels = this.#options.multiLabel ? last : 1;
    this.#positives = this.accumulator('positives', [this.#labels, this.#count]);
    this.#negatives = this.accumulator('negatives', [this.#labels, this.#count]);
  }
  protected override gather(yTrue: Tensor, yPred: Tensor, sampleWeight?: Tensor): void {
    const [t, raw] = hotLabels(this.name, yTrue, yPred);
    const p = this.#options.fromLogits ? sigmoid(raw) : raw;
    const w = sampleWeight ? spreadWeight(this.name, sampleWeight, p).ravel() : null;
    // Bucket b: above threshold b and not above b + 1; threshold 0 lies below 0.
    let bucket = this.#inner
      ? p
          .ravel()
          .expandDims(-1)
          .greater(tensor([...this.#inner]))
          .cast('i32')
          .sum(-1)
      : p
          .ravel()
          .mul(this.#count - 1)
          .ceil()
          .sub(1)
          .clip(0, this.#count - 1)
          .cast('i32');
    if (this.#labels > 1)
      bucket = bucket
        .reshape([-1, this.#labels])
        .add(arange(0, this.#labels, 1, 'i32').mul(this.#count))
        .ravel();
    const isTrue = asFloat(t.notEqual(0)).ravel();
    const isFalse = isTrue.neg().add(1);
    const buckets = this.#labels * this.#count;
    const add = (to: Variable | null, x: Tensor): void =>
      void to?.assignAdd(segmentSum(w ? x.mul(w) : x, bucket, buckets).reshape([this.#labels, this.#count]));
    add(this.#positives, isTrue);
    add(this.#negatives, isFalse);
  }
  result(): Tensor {
    if (!this.#positives || !this.#negatives) return zeros([]);
    const [tp, fp] = [this.#positives, this.#negatives].map((v) => cumsum(v.read(), 1, { reverse: true }));
    // Everything is above the first threshold.
    const [positives, negatives] = [tp.get(':', ':1'), fp.get(':', ':1')];
    const areas = this.#area(tp, fp, positives, negatives);
    const { labelWeights } = this.#options;
    if (!labelWeights) return areas.mean();
    const w = tensor([...labelWeights]);
    return safeDivide(areas.mul(w).sum(), w.sum());
  }
  /** One a label, [labels]. */
  #area(tp: Tensor, fp: Tensor, positives: Tensor, negatives: Tensor): Tensor {
    const { curve = 'ROC', summationMethod = 'interpolation' } = this.#options;
    const [higher, lower] = [(x: Tensor) => x.get(':', ':-1'), (x: Tensor) => x.get(':', '1:')];
    const change = (x: Tensor): Tensor => higher(x).sub(lower(x));
    if (curve === 'PR' && summationMethod === 'interpolation') {
      const answers = tp.add(fp);
      const slope = safeDivide(change(tp), change(answers).maximum(0));
      const intercept = lower(tp).sub(slope.mul(lower(answers)));
      const bothSome = higher(answers).greater(0).logicalAnd(lower(answers).greater(0));
      const ratio = where(bothSome, safeDivide(higher(answers), lower(answers).maximum(0)), 1);
      return safeDivide(slope.mul(change(tp).add(intercept.mul(ratio.log()))), positives.broadcastTo(slope.shape)).sum(1);
    }
    const recall = safeDivide(tp, positives.broadcastTo(tp.shape));
    const [x, y] = curve === 'PR' ? [recall, safeDivide(tp, tp.add(fp))] : [safeDivide(fp, negatives.broadcastTo(fp.shape)), recall];
    const [a, b] = [higher(y), lower(y)];
    const height = { interpolation: () => a.add(b).mul(0.5), minoring: () => minimum(a, b), majoring: () => maximum(a, b) }[
      summationMethod
    ]();
    return change(x).mul(height).sum(1);
  }
  override getConfig(): Config {
    const o = this.#options;
    return {
      name: this.name,
      numThresholds: this.#count,
      curve: o.curve ?? 'ROC',
      summationMethod: o.summationMethod ?? 'interpolation',
      thresholds: o.thresholds ?? null,
      multiLabel: o.multiLabel ?? false,
      labelWeights: o.labelWeights ?? null,
      fromLogits: o.fromLogits ?? false,
    };
  }
}
