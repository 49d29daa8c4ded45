/** @file learningRateScheduler and reduceLROnPlateau: the optimizer's rate by epoch, or by how training goes. */
import { ConfigError } from '../../base/errors.js';
import { checkOptionNames } from '../../base/option-names.js';
import type { AnyModel } from '../../model/model.js';
import type { Callback } from './callback.js';
import { comparison, logName, type MonitorMode, monitored } from './monitor.js';

function rateOf(model: AnyModel, who: string): number {
  const rate = model.optimizer.learningRate;
  if (typeof rate !== 'number')
    throw new ConfigError(`${who}: the optimizer's learning rate is a schedule. Expected a number. Use one of the two.`);
  return rate;
}

/** Sets the rate to `schedule(epoch, rate)` before every epoch (from 0) and logs it as learningRate. */
export function learningRateScheduler(schedule: (epoch: number, rate: number) => number): Callback {
  return {
    name: 'learningRateScheduler',
    onEpochBegin(epoch, { model }) {
      const rate = schedule(epoch, rateOf(model, 'learningRateScheduler'));
      if (!(rate >= 0 && Number.isFinite(rate)))
        throw new ConfigError(`learningRateScheduler: the schedule gave ${rate} for epoch ${epoch}. Expected a number ≥ 0.`);
      model.optimizer.learningRate = rate;
    },
    onEpochEnd(_epoch, logs, { model }) {
      logs.learningRate = rateOf(model, 'learningRateScheduler');
    },
  };
}

export interface ReduceLROnPlateauOptions {
  /** Default 'valLoss'. */
  monitor?: string;
  /** New rate = rate × factor. Default 0.1. */
  factor?: number;
  /** Epochs without improvement. Default 10. */
  patience?: number;
  mode?: MonitorMode;
  /** Default 1e-4. */
  minDelta?: number;
  /** Epochs of rest after a reduction. Default 0. */
  cooldown?: number;
  /** Default 0. */
  minLearningRate?: number;
}

const optionNames: Readonly<Record<keyof ReduceLROnPlateauOptions, true>> = {
  monitor: true,
  factor: true,
  patience: true,
  mode: true,
  minDelta: true,
  cooldown: true,
  minLearningRate: true,
};

/** Keras's ReduceLROnPlateau: lowers the rate when a log has stopped getting better. */
export function reduceLROnPlateau(options: ReduceLROnPlateauOptions = {}): Callback {
  checkOptionNames(options, optionNames, 'reduceLROnPlateau');
  const monitor = logName(options.monitor ?? 'valLoss');
  const { factor = 0.1, patience = 10, mode = 'auto', minDelta = 1e-4, cooldown = 0, minLearningRate = 0 } = options;
  if (!(factor > 0 && factor < 1)) throw new ConfigError(`reduceLROnPlateau: factor ${factor}. Expected a number in (0, 1).`);
  const { isBetter, worst } = comparison(monitor, mode, minDelta);
  let [best, wait, rest] = [worst, 0, 0];
  let isResumed = false;
  return {
    name: `reduceLROnPlateau:${monitor}`,
    onTrainBegin() {
      if (!isResumed) [best, wait, rest] = [worst, 0, 0];
      isResumed = false;
    },
    onEpochEnd(_epoch, logs, { model, params }) {
      const rate = rateOf(model, 'reduceLROnPlateau');
      logs.learningRate = rate;
      const value = monitored('reduceLROnPlateau', monitor, logs, params.validates);
      if (value === null) return;
      if (rest > 0) {
        rest--;
        wait = 0;
      }
      if (isBetter(value, best)) {
        best = value;
        wait = 0;
      } else if (rest === 0 && ++wait >= patience) {
        if (rate > minLearningRate) {
          model.optimizer.learningRate = Math.max(rate * factor, minLearningRate);
          rest = cooldown;
          wait = 0;
        }
      }
    },
    getState: () => ({ json: { best, wait, rest } }),
    setState({ json }) {
      ({ best, wait, rest } = json as { best: number; wait: number; rest: number });
      isResumed = true;
    },
  };
}
