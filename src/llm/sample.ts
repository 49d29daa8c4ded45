/** @file Choosing the next token from its logits: penalties and cuts in the order of transformers' generate, then one draw. */
import { ConfigError, TenonError } from '../base/errors.js';
import { philox4x32 } from '../base/philox.js';

/** How tokens are drawn. */
export interface SamplingOptions {
  /** 0: always the most likely token. Default 1. */
  temperature?: number;
  /** Only the k most likely; 0: all. Default 0. */
  topK?: number;
  /** Only the most likely ones that together reach this probability (Holtzman et al. 2020); 0: the first alone. Default 1. */
  topP?: number;
  /** Only those at least this likely, as a share of the most likely one's (Nguyen et al. 2024). Default 0. */
  minP?: number;
  /** Divides the positive logits of tokens seen so far, multiplies the negative ones (Keskar et al. 2019). Default 1. */
  repetitionPenalty?: number;
  /** Of the draws; the same seed gives the same text, whatever else is generated beside it. Default: a random one. */
  seed?: number;
}

export type Sampling = Required<Omit<SamplingOptions, 'seed'>> & { readonly seed: number };

/** The options with their defaults. Throws ConfigError for values out of range. */
export function resolveSampling(options: SamplingOptions, who = 'generate'): Sampling {
  const { temperature = 1, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1 } = options;
  const seed = options.seed ?? Math.floor(Math.random() * 2 ** 31);
  const require = (name: string, value: number, ok: boolean, wanted: string): void => {
    if (!ok) throw new ConfigError(`${who}: ${name} is ${value}. Expected ${wanted}.`);
  };
  require('temperature', temperature, temperature >= 0 && temperature < Number.POSITIVE_INFINITY, 'a number ≥ 0');
  require('topK', topK, Number.isInteger(topK) && topK >= 0, 'a whole number ≥ 0');
  require('topP', topP, topP >= 0 && topP <= 1, 'a number in [0, 1]');
  require('minP', minP, minP >= 0 && minP <= 1, 'a number in [0, 1]');
  require('repetitionPenalty', repetitionPenalty, repetitionPenalty > 0 && repetitionPenalty < Number.POSITIVE_INFINITY, 'a number > 0');
  require('seed', seed, Number.isInteger(seed) && seed >= 0 && seed <= Number.MAX_SAFE_INTEGER, 'a whole number ≥ 0');
  return { temperature, topK, topP, minP, repetitionPenalty, seed };
}

/** The first largest of `x`; NaN never wins. */
function argmax(x: Float32Array): number {
  let best = 0;
  let top = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < x.length; i++)
    if (x[i] > top) {
      top = x[i];
      best = i;
    }
  return best;
}

/** Uniform in [0, 1): the draw number `step` of a seed. */
function draw(seed: number, step: number): number {
  const [word] = philox4x32(step >>> 0, 0, 0, 0, seed >>> 0, Math.floor(seed / 2 ** 32));
  return word / 2 ** 32;
}

/**
 * The next token. `logits` (one a token of the vocabulary) is overwritten; `seen` are the tokens of prompt and answer so far, `step` counts
 * the draws of this seed. Throws TenonError where no logit is finite.
 */
export function sampleToken(logits: Float32Array, sampling: Sampling, seen: Iterable<number>, step: number): number {
  const { temperature, topK, topP, minP, repetitionPenalty, seed } = sampling;
  if (repetitionPenalty !== 1)
    for (const id of new Set(seen)) logits[id] = logits[id] > 0 ? logits[id] / repetitionPenalty : logits[id] * repetitionPenalty;
  const best = argmax(logits);
  if (!Number.isFinite(logits[best]))
    throw new TenonError(
      'generate: the model computes no finite logits. Expected numbers. Its weights may be damaged, or its training diverged.',
    );
  if (temperature === 0 || topK === 1 || topP === 0) return best;
  const top = logits[best];
  const isCut = topK > 0 || topP < 1;
  // What is e⁻³⁰ times as likely as the first is never drawn, and needn't be sorted.
  const least = top - 30 * temperature;
  let ids: number[] = [];
  for (let i = 0; i < logits.length; i++) if (logits[i] >= least) ids.push(i);
  if (isCut) ids.sort((a, b) => logits[b] - logits[a] || a - b);
  if (topK > 0 && ids.length > topK) ids = ids.slice(0, topK);
  let weights = ids.map((i) => Math.exp((logits[i] - top) / temperature));
  let total = weights.reduce((a, b) => a + b, 0);
  if (topP < 1) {
    let kept = 0;
    let sum = 0;
    while (kept < weights.length && sum < topP * total) sum += weights[kept++];
    ids.length = kept;
    weights.length = kept;
    total = sum;
  }
  if (minP > 0) {
    // The most likely one's weight is 1.
    ids = ids.filter((_, i) => weights[i] >= minP);
    weights = weights.filter((w) => w >= minP);
    total = weights.reduce((a, b) => a + b, 0);
  }
  let rest = draw(seed, step) * total;
  for (let i = 0; i < ids.length; i++) {
    rest -= weights[i];
    if (rest < 0) return ids[i];
  }
  return ids[ids.length - 1] ?? best;
}
