/** @file The order of an epoch: a permutation that depends on (n, seed, epoch) alone, so that a resumed run continues in it. */
import { ConfigError } from '../base/errors.js';
import { CounterRandom, streams } from './random.js';

/**
 * The order in which epoch `epoch` of a shuffled data set visits its n examples: Fisher–Yates on a counter-based generator.
 * The same arguments give the same permutation on every machine.
 * @returns u32 [n]
 * @throws ConfigError when n, seed or epoch is not an integer, or n or epoch is negative
 */
export function epochIndices(n: number, seed: number, epoch: number): Uint32Array {
  if (!Number.isInteger(n) || n < 0 || n > 4294967295)
    throw new ConfigError(`epochIndices: expected n to be a number of examples, received ${n}.`);
  if (!Number.isSafeInteger(seed)) throw new ConfigError(`epochIndices: expected an integer seed, received ${seed}.`);
  if (!Number.isSafeInteger(epoch) || epoch < 0)
    throw new ConfigError(`epochIndices: expected an epoch number, 0 or more, received ${epoch}.`);
  return permutation(n, new CounterRandom(seed, streams.shuffle, epoch));
}

/** A permutation of 0 … n − 1 drawn from `random`. */
export function permutation(n: number, random: CounterRandom): Uint32Array {
  const order = new Uint32Array(n);
  for (let i = 0; i < n; i++) {
    const j = random.below(i + 1);
    order[i] = order[j];
    order[j] = i;
  }
  return order;
}
