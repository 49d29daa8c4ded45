/** @file Accuracies, as in Keras 3: pure functions of labels and outputs, 1 where the answer is right: [batch, …]. */
import { ConfigError, ShapeError } from '../base/errors.js';
import { showShape } from '../base/shape.js';
import { aligned, asFloat, isSparse } from '../losses/loss.js';
import type { Tensor } from '../tensor/index.js';

/** Share of the last axis on which (yPred > threshold) agrees with the label. */
export function binaryAccuracy(yTrue: Tensor, yPred: Tensor, options: { threshold: number }): Tensor {
  const [t, p] = aligned('binaryAccuracy', yTrue, yPred);
  return p.greater(options.threshold).cast('f32').equal(t).cast('f32').mean(-1);
}

/** Labels [batch, …] or [batch, …, 1] as class numbers [batch, …] in i32. Throws ShapeError. */
function classNumbers(who: string, yTrue: Tensor, yPred: Tensor): Tensor {
  const lead = yPred.shape.slice(0, -1);
  const t = yTrue.rank === yPred.rank && yTrue.shape[yTrue.rank - 1] === 1 ? yTrue.squeeze(-1) : yTrue;
  if (t.rank !== lead.length || t.shape.some((d, i) => d !== lead[i]))
    throw new ShapeError(
      `${who}: labels ${showShape(yTrue.shape)} do not fit outputs ${showShape(yPred.shape)}. Expected class numbers ${showShape(lead)}, received ${showShape(yTrue.shape)}. Use the categorical form for one-hot labels.`,
    );
  return t.cast('i32');
}
/** Class numbers of labels that may be one-hot or numbers. */
export const classesOf = (who: string, yTrue: Tensor, yPred: Tensor): Tensor =>
  isSparse(yTrue, yPred) ? classNumbers(who, yTrue, yPred) : aligned(who, yTrue, yPred)[0].argmax(-1);

/** Whether the largest output is the class of the one-hot label (or, as the loss does, of a class number). */
export const categoricalAccuracy = (yTrue: Tensor, yPred: Tensor): Tensor =>
  classesOf('categoricalAccuracy', yTrue, yPred).equal(yPred.argmax(-1)).cast('f32');
export const sparseCategoricalAccuracy = (yTrue: Tensor, yPred: Tensor): Tensor =>
  classNumbers('sparseCategoricalAccuracy', yTrue, yPred).equal(yPred.argmax(-1)).cast('f32');

/** Whether fewer than k outputs exceed that of the class. */
function inTop(labels: Tensor, yPred: Tensor, k: number): Tensor {
  if (!Number.isInteger(k) || k < 1) throw new ConfigError(`topK accuracy: k is ${k}. Expected a positive integer, received ${k}.`);
  const p = asFloat(yPred);
  const own = p.takeAlongAxis(labels.expandDims(-1), p.rank - 1);
  return p.greater(own).cast('i32').sum(-1).less(k).cast('f32');
}
export const topKCategoricalAccuracy = (yTrue: Tensor, yPred: Tensor, options: { k: number }): Tensor =>
  inTop(classesOf('topKCategoricalAccuracy', yTrue, yPred), yPred, options.k);
export const sparseTopKCategoricalAccuracy = (yTrue: Tensor, yPred: Tensor, options: { k: number }): Tensor =>
  inTop(classNumbers('sparseTopKCategoricalAccuracy', yTrue, yPred), yPred, options.k);

/** Where label and output are the same number. */
export function accuracy(yTrue: Tensor, yPred: Tensor): Tensor {
  const [t, p] = aligned('accuracy', yTrue, yPred);
  return t.equal(p).cast('f32').mean(-1);
}
