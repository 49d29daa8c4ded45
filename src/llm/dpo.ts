/**
 * @file Direct preference optimization (Rafailov et al. 2023): the policy shall find the chosen answer more likely than the rejected one, measured
 * against the reference, which is the model with its adapter switched off: no second model in memory.
 */
import { linearCrossEntropy, logSigmoid, stopGradients, type Tensor } from '../tensor/index.js';
import type { Batch } from '../train/batch.js';
import type { Objective, ObjectiveResult } from '../train/objective.js';
import { type CausalLM, causalSequence } from '../zoo/index.js';
import { IGNORE, requireLanguageModel } from './objective.js';

export interface DpoOptions {
  /** How strongly the policy is held to the reference. Default 0.1. */
  beta?: number;
  /** Weight of the chosen answers' own cross-entropy, a mean over their tokens (Pang et al. 2024): keeps the policy able to say them. Default 0. */
  sftWeight?: number;
  /** Runs `f` with the model being the reference. */
  reference: <T>(model: CausalLM, f: () => T) => T;
}

/** −log p of each row's labels added up, [rows], and the number of labels of each. */
function rowLosses(model: CausalLM, batch: Batch): { sums: Tensor; counts: Tensor } {
  const [ids, positions, starts] = batch.inputs;
  const [rows, steps] = ids.shape;
  const hidden = model.hidden(ids, causalSequence(ids, positions, starts));
  const losses = linearCrossEntropy(hidden.reshape([rows * steps, -1]), model.head, batch.y.reshape([-1]));
  return { sums: losses.reshape([rows, steps]).sum(1), counts: batch.y.notEqual(IGNORE).cast('f32').sum(1) };
}

/**
 * Of batches whose rows 2i are prompts with the chosen answers and whose rows 2i + 1 are the same prompts with the rejected ones (TokenBatches
 * of preference pairs); a pair of padding has no labels. Reports the share of pairs whose implied reward is right (`rewardAccuracy`) and its mean `margin`.
 */
export function dpoObjective({ beta = 0.1, sftWeight = 0, reference }: DpoOptions): Objective {
  return (model, batch): ObjectiveResult => {
    const lm = requireLanguageModel(model, 'dpo');
    const { sums, counts } = rowLosses(lm, batch);
    const held = stopGradients(reference(lm, () => rowLosses(lm, batch).sums));
    const pairs = sums.shape[0] / 2;
    const half = (x: Tensor, i: number): Tensor => x.reshape([pairs, 2]).slice([0, i], [pairs, 1]).reshape([pairs]);
    const chosen = (x: Tensor): Tensor => half(x, 0);
    // Log-probabilities are the negative sums.
    const gain = held.sub(sums);
    const margin = chosen(gain).sub(half(gain, 1)).mul(beta);
    const isReal = chosen(counts).greater(0).cast('f32');
    const weight = isReal.sum().maximum(1e-7);
    let losses = logSigmoid(margin).neg();
    if (sftWeight > 0) losses = losses.add(chosen(sums).div(chosen(counts).maximum(1)).mul(sftWeight));
    const mean = (x: Tensor): Tensor => x.mul(isReal).sum().div(weight);
    return {
      lossSum: losses.mul(isReal).sum(),
      weight,
      metrics: { rewardAccuracy: mean(margin.greater(0).cast('f32')), margin: mean(margin) },
    };
  };
}
