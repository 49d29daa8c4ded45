/** @file The names of the options of compile and fit: a misspelt one would be ignored without a word. */
import { ConfigError } from '../base/errors.js';
import type { Verbose } from './callbacks/progress-bar.js';
import type { CompileOptions } from './compiled.js';
import type { FitOptions } from './fit.js';

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

/** Throws ConfigError for an option that isn't known, with the name that was meant where one is near. */
export function checkOptionNames(options: object, known: Readonly<Record<string, true>>, who: string): void {
  const unknown = Object.keys(options).find((name) => !Object.hasOwn(known, name));
  if (unknown === undefined) return;
  const names = Object.keys(known);
  const near = nearest(unknown, names);
  throw new ConfigError(
    `${who}: there is no option "${unknown}". Expected ${near === null ? `some of ${names.join(', ')}` : `"${near}"`}, received "${unknown}".${near === null ? '' : ` Write ${near}.`}`,
  );
}

/** Throws ConfigError for a value that isn't one of Verbose. */
export function checkVerbose(verbose: Verbose | undefined, who: string): void {
  if (verbose !== undefined && !(['auto', 0, 1, 2] as readonly unknown[]).includes(verbose))
    throw new ConfigError(`${who}: verbose ${JSON.stringify(verbose)}. Expected 'auto', 0 (silent), 1 (a bar) or 2 (a line an epoch).`);
}

/** The name that `text` is a slip of; null when none is near. batch_size and batchsize are batchSize. */
function nearest(text: string, names: readonly string[]): string | null {
  const plain = (name: string): string => name.replaceAll('_', '').toLowerCase();
  const best = names.map((name) => ({ name, steps: distance(plain(text), plain(name)) })).reduce((a, b) => (b.steps < a.steps ? b : a));
  return best.steps <= Math.max(1, Math.floor(best.name.length / 3)) ? best.name : null;
}

/** Levenshtein's distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length];
}
