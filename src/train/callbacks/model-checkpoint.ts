/** @file modelCheckpoint: saves the model or its weights after epochs (or every so many batches), all or only the best. */
import { ConfigError } from '../../base/errors.js';
import { checkOptionNames } from '../../base/option-names.js';
import type { Callback, CallbackContext, Logs } from './callback.js';
import { comparison, logName, type MonitorMode, monitored } from './monitor.js';

export interface ModelCheckpointOptions {
  /** May hold {epoch} (from 1; {epoch:02d} pads), {batch} and names of logs, such as 'cnn-{epoch:02d}-{valLoss:.2f}.tenon'. */
  filepath: string;
  /** Default 'valLoss'. */
  monitor?: string;
  saveBestOnly?: boolean;
  /** As safetensors instead of a whole model. */
  saveWeightsOnly?: boolean;
  mode?: MonitorMode;
  /** 'epoch' (default), or a number of batches. */
  saveFreq?: 'epoch' | number;
  /** How many of its files stay; default all. */
  keep?: number;
  /** Best value so far, for a start with saveBestOnly. */
  initialValueThreshold?: number;
}

/** `pattern` with its fields filled in: {epoch:03d}, {valLoss:.4f}, {loss}. Throws ConfigError for a name that no log has. */
export function fillPattern(pattern: string, values: Logs): string {
  return pattern.replace(/\{(\w+)(?::(?:0?(\d+)d|\.(\d+)f))?\}/g, (_, raw: string, width?: string, digits?: string) => {
    const name = logName(raw);
    const value = values[name];
    if (value === undefined)
      throw new ConfigError(`modelCheckpoint: there is no "${raw}" for ${pattern}. Expected one of ${Object.keys(values).join(', ')}.`);
    if (digits !== undefined) return value.toFixed(Number(digits));
    return width !== undefined ? String(value).padStart(Number(width), '0') : Number.isInteger(value) ? String(value) : value.toFixed(4);
  });
}

const optionNames: Readonly<Record<keyof ModelCheckpointOptions, true>> = {
  filepath: true,
  monitor: true,
  saveBestOnly: true,
  saveWeightsOnly: true,
  mode: true,
  saveFreq: true,
  keep: true,
  initialValueThreshold: true,
};

/** Keras's ModelCheckpoint. */
export function modelCheckpoint(options: ModelCheckpointOptions): Callback & { readonly saved: readonly string[] } {
  checkOptionNames(options, optionNames, 'modelCheckpoint');
  const { filepath, saveBestOnly = false, saveWeightsOnly = false, mode = 'auto', saveFreq = 'epoch', keep } = options;
  const monitor = logName(options.monitor ?? 'valLoss');
  const { isBetter, worst } = comparison(monitor, mode);
  if (typeof saveFreq === 'number' && !(Number.isInteger(saveFreq) && saveFreq > 0))
    throw new ConfigError(`modelCheckpoint: saveFreq ${saveFreq}. Expected 'epoch' or a whole number of batches ≥ 1.`);
  let best = options.initialValueThreshold ?? worst;
  let batches = 0;
  let saved: string[] = [];
  const save = async ({ model, params }: CallbackContext, values: Logs): Promise<void> => {
    if (saveBestOnly) {
      const value = monitored('modelCheckpoint', monitor, values, params.validates);
      if (value === null || !isBetter(value, best)) return;
      best = value;
    }
    const path = fillPattern(filepath, values);
    if (saveWeightsOnly) await model.saveWeights(path);
    else await model.save(path);
    saved = [...saved.filter((p) => p !== path), path];
    if (keep !== undefined && saved.length > keep) {
      const { removeFiles } = await import('#node/train/checkpoint-files-node.js');
      await removeFiles(saved.slice(0, saved.length - keep));
      saved = saved.slice(saved.length - keep);
    }
  };
  let epochNow = 0;
  return {
    name: `modelCheckpoint:${filepath}`,
    get saved() {
      return saved;
    },
    onEpochBegin(epoch) {
      epochNow = epoch;
    },
    ...(saveFreq === 'epoch'
      ? { onEpochEnd: (epoch, logs, context) => save(context, { ...logs, epoch: epoch + 1 }) }
      : {
          onTrainBatchEnd: async (batch, logs, context) => {
            if (++batches % saveFreq === 0) await save(context, { ...logs, epoch: epochNow + 1, batch: batch + 1 });
          },
        }),
    getState: () => ({ json: { best, batches, saved, epochNow } }),
    setState({ json }) {
      ({ best, batches, saved, epochNow } = json as { best: number; batches: number; saved: string[]; epochNow: number });
    },
  };
}
