/**
 * @file Losses of classifiers, as in Keras 3: cross-entropies (also focal), Kullback–Leibler divergence, hinges.
 * Pure functions: labels and outputs [batch, …, classes] → [batch, …].
 */
import { ConfigError, ShapeError } from '../base/errors.js';
import { showShape } from '../base/shape.js';
import { arange, binaryCrossEntropyFromLogits, crossEntropyFromLogits, sigmoid, softmax, type Tensor, where } from '../tensor/index.js';
import { aligned, asFloat, isSparse, perSample } from './loss.js';

/** Probabilities stay this far from 0 and 1 (Keras's epsilon). */
export const EPSILON = 1e-7;

const clipped = (p: Tensor): Tensor => p.clip(EPSILON, 1 - EPSILON);
/** Rows made to sum to 1, clipped: what Keras takes the logarithm of. */
const normalized = (p: Tensor): Tensor => clipped(p.div(p.sum(-1, true)));
/** x with `axis` moved to the end. */
const classesLast = (x: Tensor, axis: number): Tensor => (axis === -1 || axis === x.rank - 1 ? x : x.moveaxis(axis, -1));

function requireSmoothing(who: string, x: number): void {
  if (!(x >= 0 && x <= 1)) throw new ConfigError(`${who}: labelSmoothing is out of range. Expected a number in [0, 1], received ${x}.`);
}

export interface CategoricalOptions {
  /** Whether the outputs are logits. */
  fromLogits: boolean;
  /** Share of each label spread over all classes. */
  labelSmoothing: number;
  /** Where the classes are. */
  axis: number;
}
/**
 * −Σ yTrue · ln yPred over the classes. Labels one-hot or probabilities; class numbers [batch] or [batch, 1] for more than
 * one class are taken as sparse labels. Throws ShapeError when they don't fit.
 */
export function categoricalCrossentropy(yTrue: Tensor, yPred: Tensor, options: CategoricalOptions): Tensor {
  requireSmoothing('categoricalCrossentropy', options.labelSmoothing);
  const pred = classesLast(asFloat(yPred), options.axis);
  if (isSparse(yTrue, pred)) return sparse(yTrue, pred, { ...options, ignoreClass: null }, 'categoricalCrossentropy');
  const [t, p] = aligned('categoricalCrossentropy', classesLast(yTrue, options.axis), pred);
  const classes = p.shape[p.rank - 1];
  const labels = options.labelSmoothing === 0 ? t : t.mul(1 - options.labelSmoothing).add(options.labelSmoothing / classes);
  if (options.fromLogits) return crossEntropyFromLogits(p, labels);
  return labels.mul(normalized(p).log()).sum(-1).neg();
}

export interface SparseOptions {
  fromLogits: boolean;
  /** Labels of this number have no loss and don't count in the mean. */
  ignoreClass: number | null;
  labelSmoothing: number;
  axis: number;
}
/** −ln yPred[label]: class numbers [batch, …] or [batch, …, 1]. Numbers outside [0, classes) give 0. */
export function sparseCategoricalCrossentropy(yTrue: Tensor, yPred: Tensor, options: SparseOptions): Tensor {
  requireSmoothing('sparseCategoricalCrossentropy', options.labelSmoothing);
  return sparse(yTrue, classesLast(asFloat(yPred), options.axis), options, 'sparseCategoricalCrossentropy');
}
function sparse(yTrue: Tensor, pred: Tensor, options: SparseOptions, who: string): Tensor {
  const lead = pred.shape.slice(0, -1);
  const classes = pred.shape[pred.rank - 1];
  const isColumn = yTrue.rank === pred.rank && yTrue.shape[yTrue.rank - 1] === 1;
  const labels = (isColumn ? yTrue.squeeze(-1) : yTrue).cast('i32');
  if (labels.rank !== lead.length || labels.shape.some((d, i) => d !== lead[i]))
    throw new ShapeError(
      `${who}: labels ${showShape(yTrue.shape)} do not fit outputs ${showShape(pred.shape)}. Expected class numbers ${showShape(lead)}, received ${showShape(yTrue.shape)}. Use categoricalCrossentropy for one-hot labels.`,
    );
  // By comparison with the class numbers and not by a gather: forward and backward stay elementwise and fuse.
  const isOwn = labels.expandDims(-1).equal(arange(0, classes, 1, 'i32'));
  const smoothing = options.labelSmoothing;
  const values = options.fromLogits ? pred.logSoftmax() : normalized(pred).log();
  let loss = where(isOwn, values, 0).sum(-1).neg();
  if (smoothing > 0) loss = loss.mul(1 - smoothing).sub(values.mean(-1).mul(smoothing));
  return options.ignoreClass === null ? loss : where(labels.notEqual(options.ignoreClass), loss, 0);
}
/** The part of each sample's labels that isn't `ignoreClass`, [batch]. */
export const countedLabels = (yTrue: Tensor, options: SparseOptions): Tensor =>
  perSample(
    yTrue
      .cast('i32')
      .notEqual(options.ignoreClass ?? -1)
      .cast('f32'),
  );

export interface BinaryOptions {
  fromLogits: boolean;
  labelSmoothing: number;
}
const smoothed = (t: Tensor, x: number): Tensor => (x === 0 ? t : t.mul(1 - x).add(0.5 * x));
/** Elementwise −y ln p − (1 − y) ln(1 − p). */
function binaryTerms(t: Tensor, p: Tensor, fromLogits: boolean): Tensor {
  if (fromLogits) return binaryCrossEntropyFromLogits(p, t);
  const q = clipped(p);
  return t
    .mul(q.log())
    .add(t.neg().add(1).mul(q.neg().add(1).log()))
    .neg();
}
/** Mean over the last axis of −y ln p − (1 − y) ln(1 − p). */
export function binaryCrossentropy(yTrue: Tensor, yPred: Tensor, options: BinaryOptions): Tensor {
  requireSmoothing('binaryCrossentropy', options.labelSmoothing);
  const [t, p] = aligned('binaryCrossentropy', yTrue, yPred);
  return binaryTerms(smoothed(t, options.labelSmoothing), p, options.fromLogits).mean(-1);
}

export interface BinaryFocalOptions extends BinaryOptions {
  applyClassBalancing: boolean;
  alpha: number;
  gamma: number;
}
/** Cross-entropy weighted by (1 − p of the true class)^gamma (Lin et al. 2018). */
export function binaryFocalCrossentropy(yTrue: Tensor, yPred: Tensor, options: BinaryFocalOptions): Tensor {
  const [raw, p] = aligned('binaryFocalCrossentropy', yTrue, yPred);
  const t = smoothed(raw, options.labelSmoothing);
  const probability = options.fromLogits ? sigmoid(p) : p;
  const ofTrue = t.mul(probability).add(t.neg().add(1).mul(probability.neg().add(1)));
  let loss = ofTrue
    .neg()
    .add(1)
    .pow(options.gamma)
    .mul(binaryTerms(t, p, options.fromLogits));
  if (options.applyClassBalancing)
    loss = loss.mul(
      t.mul(options.alpha).add(
        t
          .neg()
          .add(1)
          .mul(1 - options.alpha),
      ),
    );
  return loss.mean(-1);
}
export interface CategoricalFocalOptions extends CategoricalOptions {
  alpha: number;
  gamma: number;
}
/** −Σ alpha · (1 − p)^gamma · y ln p over the classes. */
export function categoricalFocalCrossentropy(yTrue: Tensor, yPred: Tensor, options: CategoricalFocalOptions): Tensor {
  const [raw, out] = aligned('categoricalFocalCrossentropy', classesLast(yTrue, options.axis), classesLast(yPred, options.axis));
  const classes = out.shape[out.rank - 1];
  const t = options.labelSmoothing === 0 ? raw : raw.mul(1 - options.labelSmoothing).add(options.labelSmoothing / classes);
  const p = options.fromLogits ? clipped(softmax(out)) : normalized(out);
  const factor = p.neg().add(1).pow(options.gamma).mul(options.alpha);
  return factor.mul(t).mul(p.log()).sum(-1).neg();
}

/** Σ yTrue ln(yTrue / yPred), both clipped to [1e-7, 1]. */
export function klDivergence(yTrue: Tensor, yPred: Tensor): Tensor {
  const [t, p] = aligned('klDivergence', yTrue, yPred);
  const [u, q] = [t.clip(EPSILON, 1), p.clip(EPSILON, 1)];
  return u.mul(u.div(q).log()).sum(-1);
}

/** Labels of only 0 and 1 become −1 and 1. */
function signs(t: Tensor): Tensor {
  const isBinary = t.equal(0).logicalOr(t.equal(1)).all();
  return where(isBinary, t.mul(2).sub(1), t);
}
/** Mean of max(1 − y · ŷ, 0), labels ±1 or 0/1. */
export function hinge(yTrue: Tensor, yPred: Tensor): Tensor {
  const [t, p] = aligned('hinge', yTrue, yPred);
  return signs(t).mul(p).neg().add(1).maximum(0).mean(-1);
}
export function squaredHinge(yTrue: Tensor, yPred: Tensor): Tensor {
  const [t, p] = aligned('squaredHinge', yTrue, yPred);
  return signs(t).mul(p).neg().add(1).maximum(0).square().mean(-1);
}
/** max(largest wrong − right + 1, 0), labels one-hot. */
export function categoricalHinge(yTrue: Tensor, yPred: Tensor): Tensor {
  const [t, p] = aligned('categoricalHinge', yTrue, yPred);
  const right = t.mul(p).sum(-1);
  const wrong = t.neg().add(1).mul(p).max(-1);
  return wrong.sub(right).add(1).maximum(0);
}
