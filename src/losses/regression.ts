/** @file Losses of regression, as in Keras 3. Pure functions: labels and outputs [batch, …, features] → [batch, …]. */
import { l2Normalize, softplus, type Tensor, where } from '../tensor/index.js';
import { EPSILON } from './classification.js';
import { aligned } from './loss.js';

/** Mean of (y − ŷ)². */
export function meanSquaredError(yTrue: Tensor, yPred: Tensor): Tensor {
  const [t, p] = aligned('meanSquaredError', yTrue, yPred);
  return p.sub(t).square().mean(-1);
}
export function meanAbsoluteError(yTrue: Tensor, yPred: Tensor): Tensor {
  const [t, p] = aligned('meanAbsoluteError', yTrue, yPred);
  return p.sub(t).abs().mean(-1);
}
/** In percent of |y|, at least 1e-7. */
export function meanAbsolutePercentageError(yTrue: Tensor, yPred: Tensor): Tensor {
  const [t, p] = aligned('meanAbsolutePercentageError', yTrue, yPred);
  return t.sub(p).div(t.abs().maximum(EPSILON)).abs().mean(-1).mul(100);
}
/** Mean of (ln(1 + y) − ln(1 + ŷ))², negative numbers counting as 1e-7. */
export function meanSquaredLogarithmicError(yTrue: Tensor, yPred: Tensor): Tensor {
  const [t, p] = aligned('meanSquaredLogarithmicError', yTrue, yPred);
  return p.maximum(EPSILON).log1p().sub(t.maximum(EPSILON).log1p()).square().mean(-1);
}
/** Squared up to `delta`, linear beyond (Huber 1964). */
export function huber(yTrue: Tensor, yPred: Tensor, options: { delta: number }): Tensor {
  const [t, p] = aligned('huber', yTrue, yPred);
  const { delta } = options;
  const e = p.sub(t);
  const a = e.abs();
  return where(a.lessEqual(delta), e.square().mul(0.5), a.mul(delta).sub(0.5 * delta * delta)).mean(-1);
}
/** Mean of ln cosh(ŷ − y). */
export function logCosh(yTrue: Tensor, yPred: Tensor): Tensor {
  const [t, p] = aligned('logCosh', yTrue, yPred);
  const e = p.sub(t);
  return e
    .add(softplus(e.mul(-2)))
    .sub(Math.LN2)
    .mean(-1);
}
/** Mean of ŷ − y ln ŷ. */
export function poisson(yTrue: Tensor, yPred: Tensor): Tensor {
  const [t, p] = aligned('poisson', yTrue, yPred);
  return p.sub(t.mul(p.add(EPSILON).log())).mean(-1);
}
/** −cos of the angle between y and ŷ along `axis`: −1 when they point the same way. */
export function cosineSimilarity(yTrue: Tensor, yPred: Tensor, options: { axis: number }): Tensor {
  const [t, p] = aligned('cosineSimilarity', yTrue, yPred);
  return l2Normalize(t, options.axis).mul(l2Normalize(p, options.axis)).sum(options.axis).neg();
}
