/** @file lambda: a callback from its hooks. */
import { checkOptionNames } from '../../base/option-names.js';
import type { Callback } from './callback.js';

const hookNames: Readonly<Record<keyof Callback, true>> = {
  name: true,
  onTrainBegin: true,
  onTrainEnd: true,
  onEpochBegin: true,
  onEpochEnd: true,
  onTrainBatchBegin: true,
  onTrainBatchEnd: true,
  onTestBegin: true,
  onTestEnd: true,
  onTestBatchBegin: true,
  onTestBatchEnd: true,
  onPredictBegin: true,
  onPredictEnd: true,
  onProgress: true,
  onNonFinite: true,
  onCheckpoint: true,
  onInterrupt: true,
  checkpoint: true,
  getState: true,
  setState: true,
};

/** Keras's LambdaCallback. @example lambda({ onEpochEnd: (epoch, logs) => console.log(epoch, logs.loss) }) */
export function lambda(hooks: Callback): Callback {
  checkOptionNames(hooks, hookNames, 'lambda');
  return hooks;
}
