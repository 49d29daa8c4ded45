/** @file earlyStopping: ends training when a log has stopped getting better; can bring the best weights back. */
import { checkOptionNames } from '../../base/option-names.js';
import type { TensorMap } from '../../io/safetensors.js';
import type { AnyModel } from '../../model/model.js';
import { restore, snapshot } from '../tensors.js';
import type { Callback, CallbackState } from './callback.js';
import { comparison, logName, type MonitorMode, monitored } from './monitor.js';

export interface EarlyStoppingOptions {
  /** Default 'valLoss'. */
  monitor?: string;
  /** A smaller change is no improvement. Default 0. */
  minDelta?: number;
  /** Epochs without improvement before it stops. Default 0. */
  patience?: number;
  /** Which way is better; default by the name. */
  mode?: MonitorMode;
  /** Stops when it isn't passed within `patience` epochs. */
  baseline?: number;
  /** Default false. */
  restoreBestWeights?: boolean;
  /** Epochs before are not watched. Default 0. */
  startFromEpoch?: number;
}
export interface EarlyStopping extends Callback {
  /** The epoch that stopped training, and the best one, from 0; null before. */
  readonly stoppedEpoch: number | null;
  readonly bestEpoch: number | null;
  readonly best: number;
}

const optionNames: Readonly<Record<keyof EarlyStoppingOptions, true>> = {
  monitor: true,
  minDelta: true,
  patience: true,
  mode: true,
  baseline: true,
  restoreBestWeights: true,
  startFromEpoch: true,
};

/** Keras's EarlyStopping. */
export function earlyStopping(options: EarlyStoppingOptions = {}): EarlyStopping {
  checkOptionNames(options, optionNames, 'earlyStopping');
  const monitor = logName(options.monitor ?? 'valLoss');
  const { minDelta = 0, patience = 0, mode = 'auto', baseline, restoreBestWeights = false, startFromEpoch = 0 } = options;
  const { isBetter, worst } = comparison(monitor, mode, minDelta);
  let best = worst;
  let wait = 0;
  let bestEpoch: number | null = null;
  let stoppedEpoch: number | null = null;
  let bestWeights: TensorMap | null = null;
  let isResumed = false;
  const bringBack = (model: AnyModel): void => {
    if (restoreBestWeights && bestWeights) restore(bestWeights, model.weights, 'earlyStopping: best weights');
  };
  return {
    name: `earlyStopping:${monitor}`,
    get stoppedEpoch() {
      return stoppedEpoch;
    },
    get bestEpoch() {
      return bestEpoch;
    },
    get best() {
      return best;
    },
    onTrainBegin() {
      if (isResumed) return;
      best = worst;
      wait = 0;
      bestEpoch = stoppedEpoch = null;
      bestWeights = null;
    },
    async onEpochEnd(epoch, logs, { model, stop, params }) {
      const value = monitored('earlyStopping', monitor, logs, params.validates);
      if (value === null || epoch < startFromEpoch) return;
      wait++;
      if (bestEpoch === null || isBetter(value, best)) {
        best = value;
        bestEpoch = epoch;
        if (restoreBestWeights) bestWeights = await snapshot(model.weights);
        if (baseline === undefined || isBetter(value, baseline)) wait = 0;
        return;
      }
      if (wait >= patience && epoch > 0) {
        stoppedEpoch = epoch;
        bringBack(model);
        stop(`earlyStopping: ${monitor} has not improved since epoch ${bestEpoch + 1}`);
      } else if (epoch === params.epochs - 1) bringBack(model);
    },
    onTrainEnd() {
      isResumed = false;
    },
    getState: (): CallbackState => ({ json: { best, wait, bestEpoch }, tensors: bestWeights ?? undefined }),
    setState({ json, tensors }) {
      const saved = json as { best: number; wait: number; bestEpoch: number | null };
      ({ best, wait, bestEpoch } = saved);
      bestWeights = tensors && tensors.size > 0 ? tensors : null;
      isResumed = true;
    },
  };
}
