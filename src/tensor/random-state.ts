/**
 * @file The state of random numbers: Philox4x32-10 by position, so that one seed gives the same numbers on every device. Eagerly each
 * call takes the next step of the state; in a trace the step is a Variable that the Program counts up, and each call a stream.
 */
import { ConfigError } from '../base/errors.js';
import { philox4x32 } from '../base/philox.js';
import type { Shape } from '../base/shape.js';
import { ops } from '../graph/builder.js';
import type { Node } from '../graph/node.js';
import { fromHost, toTensor } from './operand.js';
import { state } from './state.js';
import { fromNode, type Tensor } from './tensor.js';
import { Variable } from './variable.js';

/** Stream of eager calls: no trace counts so far. */
const EAGER_STREAM = 0x7fffffff;

/** What a checkpoint keeps of a RandomState. */
export interface RandomSnapshot {
  seed: [number, number];
  /** Runs of Programs that drew from it. */
  step: number;
  /** Eager calls that drew from it. */
  calls: number;
}

const seedWords = (seed: number): [number, number] => {
  if (!Number.isSafeInteger(seed) || seed < 0) throw new ConfigError(`random: seed ${seed}. Expected a whole number in [0, 2^53).`);
  return [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0];
};

/** A source of random numbers: a seed, and how often it was used. */
export class RandomState {
  /** u32 [2] and u32 []: read and counted up by Programs. */
  readonly seed: Variable;
  readonly step: Variable;
  #words: [number, number];
  #calls = 0;
  #key: Tensor | null = null;

  constructor(seed = 0, name = 'random') {
    this.#words = seedWords(seed);
    this.seed = new Variable(Uint32Array.from(this.#words), { name: `${name}/seed`, trainable: false });
    this.step = new Variable(fromHost(Uint32Array.of(0), []), { name: `${name}/step`, trainable: false });
  }

  /** Starts anew from `seed`. */
  reset(seed: number): void {
    this.restore({ seed: seedWords(seed), step: 0, calls: 0 });
  }
  async snapshot(): Promise<RandomSnapshot> {
    return { seed: [...this.#words], step: (await this.step.data())[0], calls: this.#calls };
  }
  restore(snapshot: RandomSnapshot): void {
    this.#words = [...snapshot.seed];
    this.#calls = snapshot.calls;
    this.#key = null;
    this.seed.set(Uint32Array.from(this.#words));
    this.step.set(Uint32Array.of(snapshot.step));
  }

  /** A seed of its own for a weight or a shuffle, drawn on the host: the next one of this state, inside traces too. */
  nextSeed(): number {
    const [low, high] = philox4x32(this.#calls++, 0, 0, EAGER_STREAM, ...this.#words);
    return low + (high & 0x1fffff) * 2 ** 32;
  }
  /** u32 bits, new ones at each call (eager) or run (traced). */
  bits(shape: Shape): Node {
    const open = state.trace;
    if (!open) {
      this.#key ??= toTensor(Uint32Array.from(this.#words));
      return ops.randomBits(this.#key.node, fromHost(Uint32Array.of(this.#calls++), []).node, shape, EAGER_STREAM);
    }
    open.atEnd(this.#countUp);
    return ops.randomBits(this.seed.read().node, open.firstRead(this.step), shape, open.nextStream());
  }
  readonly #countUp = (): void => {
    this.step.assign(fromNode(ops.add(this.step.read().node, ops.full([], 1, 'u32'))));
  };
}

const globalState = new RandomState(Math.floor(Math.random() * 2 ** 32), 'global');
/** Makes everything random that follows repeatable: initializers, shuffles, dropout. */
export const setRandomSeed = (seed: number): void => globalState.reset(seed);
export const globalRandomState = (): RandomState => globalState;

/** u32 bits: of a number always the same, of a state the next ones. */
export function bitsOf(shape: Shape, seed: number | RandomState | undefined): Node {
  if (typeof seed === 'number')
    return ops.randomBits(toTensor(Uint32Array.from(seedWords(seed))).node, ops.full([], 0, 'u32'), shape, EAGER_STREAM);
  return (seed ?? globalState).bits(shape);
}
