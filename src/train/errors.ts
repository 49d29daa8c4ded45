/** @file The error of a loss that is no number. */
import { TenonError } from '../base/errors.js';
import { Embedding } from '../layers/core.js';
import type { Layer } from '../layers/layer.js';

/** The loss of a step is NaN or infinite. The weights are those before the step. */
export class NonFiniteLossError extends TenonError {
  override name = 'NonFiniteLossError';
  /** Number of the step since training began, from 1. */
  readonly step: number;
  /** From 0. */
  readonly epoch: number;
  constructor(message: string, step: number, epoch: number) {
    super(message);
    this.step = step;
    this.epoch = epoch;
  }
}

/** What else to look for in the data of a model with embeddings, whose ids out of range give NaN: the end of a sentence, or ''. */
export function idAdvice(model: Layer): string {
  const tables = (layer: Layer): Embedding[] => [...(layer instanceof Embedding ? [layer] : []), ...layer.sublayers().flatMap(tables)];
  return [...new Set(tables(model))].map((t) => `, or ids outside of 0 … ${t.options.inputDim - 1} for ${t.label}`).join('');
}
