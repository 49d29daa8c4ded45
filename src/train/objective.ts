/**
 * @file Objective: what a step minimises: the sum of the examples' losses and how many they are. Keras's
 * loss(yTrue, yPred) per output is an adapter over it.
 */

import { ShapeError } from '../base/errors.js';
import { sameShape, showShape, size } from '../base/shape.js';
import { logitsOf } from '../layers/activations.js';
import { maskOf } from '../layers/layer.js';
import type { Loss } from '../losses/index.js';
import type { Metric } from '../metrics/index.js';
import type { AnyModel } from '../model/model.js';
import { full, reshape, squeeze, type Tensor } from '../tensor/index.js';
import type { Batch } from './batch.js';
import { camel } from './names.js';

export interface ObjectiveContext {
  readonly training: boolean;
}
export interface ObjectiveResult {
  /** Scalar: the losses of the batch, added up. */
  readonly lossSum: Tensor;
  /** Scalar: what they are divided by, usually the number of examples. */
  readonly weight: Tensor;
  /** Other scalars to report, as means over the batches weighted by batch size. */
  readonly metrics?: Readonly<Record<string, Tensor>>;
  /** The model's outputs, for metrics. */
  readonly outputs?: readonly Tensor[];
}
/** Pure tensor code, traced. What it minimises is lossSum / weight. */
export type Objective = (model: AnyModel, batch: Batch, context: ObjectiveContext) => ObjectiveResult;

/** The loss of one output. */
export interface OutputLoss {
  readonly output: string;
  readonly loss: Loss | null;
  readonly weight: number;
}
/** A metric of one output. */
export interface OutputMetric {
  readonly name: string;
  readonly metric: Metric;
  readonly output: number;
  readonly weighted: boolean;
}

/** Keras's objective: weighted losses of the outputs, plus what layers added (regularization, addLoss). */
export function kerasObjective(losses: readonly OutputLoss[], reportEach: boolean): Objective {
  const used = losses.filter((l) => l.loss).length;
  return (model, batch, { training }) => {
    const outputs = model.forward(batch.inputs, training);
    const n = full([], batch.size, 'f32');
    let lossSum: Tensor | null = null;
    let weight = n;
    const metrics: Record<string, Tensor> = {};
    losses.forEach(({ loss, weight: factor, output }, i) => {
      if (!loss) return;
      let [sum, counted] = sumOf(loss, batch, batch.targets[i], outputs[i], n);
      if (reportEach) metrics[camel(output, 'loss')] = sum.div(counted);
      // Several losses are means of their own before they are added.
      if (used > 1) [sum, counted] = [sum.div(counted).mul(n), n];
      if (factor !== 1) sum = sum.mul(factor);
      weight = counted;
      lossSum = lossSum ? lossSum.add(sum) : sum;
    });
    for (const extra of model.losses) {
      const scaled = extra.reshape([]).mul(weight);
      lossSum = lossSum ? lossSum.add(scaled) : scaled;
    }
    return { lossSum: lossSum ?? full([], 0, 'f32'), weight, outputs, metrics };
  };
}

/** The examples' losses added up, and what to divide by: their number, or how much of them counts. */
function sumOf(loss: Loss, batch: Batch, yTrue: Tensor, yPred: Tensor, n: Tensor): [Tensor, Tensor] {
  const mask = maskOf(yPred);
  const w = batch.sampleWeight;
  if (mask && mask.rank === 2 && yPred.rank >= 3) {
    // Time steps that don't count: every step becomes an example with a weight of its own.
    const [b, t] = mask.shape;
    const steps = (x: Tensor): Tensor => reshape(x, [b * t, ...x.shape.slice(2)]);
    const tail = logitsFor(loss, yPred);
    const target = alignTarget(yTrue, yPred);
    const each = tail ? tail(steps(target), (x) => steps(x)) : perExample(loss, loss.call(steps(target), steps(yPred)), b * t);
    const counts = reshape(mask, [b * t]).cast('f32');
    const weights = w
      ? w
          .reshape([b, 1])
          .mul(counts.reshape([b, t]))
          .reshape([b * t])
      : counts;
    return [each.mul(weights).sum(), counts.sum().maximum(1e-7)];
  }
  const target = alignTarget(yTrue, yPred);
  const tail = logitsFor(loss, yPred);
  let each = tail ? tail(target, (x) => x) : perExample(loss, loss.call(target, yPred), batch.size);
  if (mask && mask.rank === 1) each = each.mul(mask.cast('f32'));
  const weighted = w ? each.mul(w) : each;
  if (loss.countedPart) {
    const part = loss.countedPart(target);
    return [weighted.sum(), (w ? part.mul(w) : part).sum().maximum(1e-7)];
  }
  return [weighted.sum(), n];
}

/** The loss from the logits, where the output is exactly their softmax or sigmoid; else null. */
function logitsFor(loss: Loss, yPred: Tensor): ((yTrue: Tensor, form: (x: Tensor) => Tensor) => Tensor) | null {
  if (!loss.callFromLogits || loss.fromLogits) return null;
  const tail = logitsOf(yPred);
  if (!tail || tail.activation !== loss.activation) return null;
  return (yTrue, form) => {
    const logits = form(tail.logits);
    return perExample(loss, loss.callFromLogits?.(yTrue, logits) ?? loss.call(yTrue, form(yPred)), logits.shape[0]);
  };
}

/** What a loss gave as [batch]. */
function perExample(loss: Loss, each: Tensor, batch: number): Tensor {
  if (each.rank === 1 && each.shape[0] === batch) return each;
  // A loss function of the user's: one number for the batch, or one a position.
  if (each.size === 1) return reshape(each, [1]).broadcastTo([batch]);
  if (each.shape[0] === batch) return reshape(each, [batch, size(each.shape) / batch]).mean(1);
  throw new ShapeError(
    `loss "${loss.name}": it returned shape ${showShape(each.shape)} for a batch of ${batch}. Expected [${batch}]: one loss an example.`,
  );
}

/** [n] and [n, 1] are the same to a model with one output an example; class numbers lose a last axis of 1. */
export function alignTarget(yTrue: Tensor, yPred: Tensor): Tensor {
  if (sameShape(yTrue.shape, yPred.shape)) return yTrue;
  const last = yPred.shape[yPred.rank - 1];
  if (yTrue.rank === yPred.rank - 1 && last === 1) return reshape(yTrue, yPred.shape);
  if (yTrue.rank === yPred.rank && yTrue.shape[yTrue.rank - 1] === 1 && last > 1) return squeeze(yTrue, -1);
  if (yTrue.rank === yPred.rank + 1 && yTrue.shape[yTrue.rank - 1] === 1) return squeeze(yTrue, -1);
  return yTrue;
}
