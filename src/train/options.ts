/** @file What may be given to compile, fit, evaluate and predict: names of options, and values that can be told wrong at once. */
import { ConfigError, quote } from '../base/errors.js';
import { getLoss, type LossLike } from '../losses/index.js';
import { checkMetric } from '../metrics/index.js';
import type { Verbose } from './callbacks/progress-bar.js';
import type { CompileOptions } from './compiled.js';
import type { EvaluateOptions } from './evaluate.js';
import type { FitOptions } from './fit.js';
import type { PredictOptions } from './predict.js';

export { checkOptionNames } from '../base/option-names.js';

/** One entry an option: the compiler says when one is missing. */
export const compileOptionNames: Readonly<Record<keyof CompileOptions, true>> = {
  optimizer: true,
  loss: true,
  lossWeights: true,
  metrics: true,
  weightedMetrics: true,
  objective: true,
};
export const fitOptionNames: Readonly<Record<keyof FitOptions, true>> = {
  batchSize: true,
  epochs: true,
  initialEpoch: true,
  stepsPerEpoch: true,
  validationData: true,
  validationSplit: true,
  validationBatchSize: true,
  validationSteps: true,
  validationFreq: true,
  shuffle: true,
  seed: true,
  classWeight: true,
  sampleWeight: true,
  verbose: true,
  callbacks: true,
  signal: true,
  checkpoint: true,
};
export const predictOptionNames: Readonly<Record<keyof PredictOptions, true>> = {
  batchSize: true,
  steps: true,
  verbose: true,
  callbacks: true,
  signal: true,
};
export const evaluateOptionNames: Readonly<Record<keyof EvaluateOptions, true>> = {
  ...predictOptionNames,
  sampleWeight: true,
  classWeight: true,
};

/** Throws ConfigError for a loss or metric that compile cannot take, before any data are seen. */
export function checkCompileOptions(options: CompileOptions, who: string): void {
  const given: unknown = options;
  if (typeof given !== 'object' || given === null)
    throw new ConfigError(`${who}: it was given ${quote(given)}. Expected options. Call compile({ optimizer, loss, metrics }).`);
  const { loss, metrics, weightedMetrics } = options;
  for (const id of leaves(loss)) getLoss(id as LossLike);
  for (const [name, list] of Object.entries({ metrics, weightedMetrics })) {
    if (list !== undefined && list !== null && typeof list !== 'object')
      throw new ConfigError(`${who}: ${name} is ${quote(list)}. Expected a list, or an object by output. Write ['accuracy'].`);
    for (const id of leaves(list)) checkMetric(id);
  }
}
/** The ids in lists and objects by output, which may be nested; null is none. */
function leaves(ids: unknown): unknown[] {
  if (ids === undefined || ids === null) return [];
  if (Array.isArray(ids)) return ids.flatMap(leaves);
  const isByOutput = typeof ids === 'object' && Object.getPrototypeOf(ids) === Object.prototype;
  const isOne = isByOutput && ('className' in ids || ('call' in ids && typeof ids.call === 'function'));
  return isByOutput && !isOne ? Object.values(ids).flatMap(leaves) : [ids];
}

/** Throws ConfigError for a value that isn't one of Verbose. */
export function checkVerbose(verbose: Verbose | undefined, who: string): void {
  if (verbose !== undefined && !(['auto', 0, 1, 2] as readonly unknown[]).includes(verbose))
    throw new ConfigError(`${who}: verbose ${JSON.stringify(verbose)}. Expected 'auto', 0 (silent), 1 (a bar) or 2 (a line an epoch).`);
}
