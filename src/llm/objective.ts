/** @file What training a language model minimises: cross-entropy of the next token, where there is a label. */
import { ConfigError } from '../base/errors.js';
import { linearCrossEntropy, type Tensor } from '../tensor/index.js';
import type { Objective } from '../train/objective.js';
import { CausalLM, causalSequence } from '../zoo/index.js';

/** The label of a position without a loss. */
export const IGNORE = -100;

/** The model as a language model. Throws ConfigError for another. */
export function requireLanguageModel(model: unknown, who: string): CausalLM {
  if (model instanceof CausalLM) return model;
  throw new ConfigError(`${who}: the model is no language model. Expected one of languageModel(config) or fromPretrained(folder).`);
}

/**
 * Mean of −log p(label) over the batch's labels (all of a window's, under gradient accumulation). Inputs: ids, positions and starts
 * [batch, steps]; targets: the labels [batch, steps], and where the batches give them, the flat places that have one and their labels.
 */
export const nextTokenObjective: Objective = (model, batch) => {
  const lm = requireLanguageModel(model, 'objective');
  const [ids, positions, starts] = batch.inputs;
  const [every, rows, rowLabels] = batch.targets;
  const all = lm.hidden(ids, causalSequence(ids, positions, starts));
  const flat: Tensor = all.reshape([-1, all.shape[2]]);
  const labels = (rowLabels ?? every).reshape([-1]);
  const losses = linearCrossEntropy(rows ? flat.take(rows.reshape([-1]), 0, { mode: 'clip' }) : flat, lm.head, labels);
  // A batch of padding alone counts nothing, and divides nothing by zero.
  return { lossSum: losses.sum(), weight: labels.notEqual(IGNORE).cast('f32').sum().maximum(1e-7) };
};
