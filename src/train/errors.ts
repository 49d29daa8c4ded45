/** @file The error of a loss that is no number. */
import { TenonError } from '../base/errors.js';

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
