/**
 * @file Learning-rate schedules. Each is one formula over an arithmetic, so that the number at a step (`at`) and the traced
 * tensor (`call`) cannot differ. Names and defaults are Keras's; one-cycle is PyTorch's.
 */
import { ConfigError } from '../base/errors.js';
import { checkOptionNames } from '../base/option-names.js';
import { floor, maximum, minimum, type Tensor, tensor, where } from '../tensor/index.js';

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json | undefined };
export type Config = { readonly [key: string]: Json | undefined };

/** What a formula is written in: of numbers or of f32 scalars. */
interface Arithmetic<T> {
  add(a: T, b: T | number): T;
  mul(a: T, b: T | number): T;
  div(a: T, b: T | number): T;
  min(a: T, b: number): T;
  max(a: T, b: number): T;
  floor(a: T): T;
  ceil(a: T): T;
  cos(a: T): T;
  /** baseᵃ for a positive constant base. */
  powerOf(base: number, a: T): T;
  /** aⁿ for a ≥ 0. */
  pow(a: T, n: number): T;
  /** a < b ? x : y */
  ifLess(a: T, b: T | number, x: T, y: T): T;
  constant(x: number): T;
}
const numbers: Arithmetic<number> = {
  add: (a, b) => a + b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  min: Math.min,
  max: Math.max,
  floor: Math.floor,
  ceil: Math.ceil,
  cos: Math.cos,
  powerOf: (base, a) => base ** a,
  pow: (a, n) => a ** n,
  ifLess: (a, b, x, y) => (a < b ? x : y),
  constant: (x) => x,
};
const tensors: Arithmetic<Tensor> = {
  add: (a, b) => a.add(b),
  mul: (a, b) => a.mul(b),
  div: (a, b) => a.div(b),
  min: minimum,
  max: maximum,
  floor,
  ceil: (a) => a.ceil(),
  cos: (a) => a.cos(),
  powerOf: (base, a) => tensor(base).pow(a),
  pow: (a, n) => a.pow(n),
  ifLess: (a, b, x, y) => where(a.less(b), x, y),
  constant: (x) => tensor(x),
};
type Formula = <T>(o: Arithmetic<T>, step: T) => T;

export class Schedule {
  /** The factory's name, as in `schedules`. */
  readonly className: string;
  readonly #options: Config;
  /** @internal */
  readonly formula: Formula;

  /** @internal Use `schedules`. Throws ConfigError for an option of `given` that isn't among `options`, which are all. */
  constructor(className: string, given: object, options: Config, formula: Formula) {
    checkOptionNames(given, options, className);
    this.className = className;
    this.#options = options;
    this.formula = formula;
  }
  /** The rate at a step, from 0. */
  at(step: number): number {
    return this.formula(numbers, step);
  }
  /** The rate as a scalar f32 of a scalar step, traceable. */
  call(step: Tensor): Tensor {
    return this.formula(tensors, step.cast('f32'));
  }
  getConfig(): Config {
    return this.#options;
  }
}

function requirePositive(who: string, options: Readonly<Record<string, number>>): void {
  for (const [name, x] of Object.entries(options))
    if (!(x > 0)) throw new ConfigError(`${who}: ${name} is not positive. Expected a number > 0, received ${x}.`);
}
/** low + (high − low) · (1 + cos πf) / 2, falling from high at f = 0 to low at 1. */
const cosineFall = <T>(o: Arithmetic<T>, fraction: T, high: number, low: number): T =>
  o.add(o.mul(o.add(o.cos(o.mul(fraction, Math.PI)), 1), 0.5 * (high - low)), low);

export interface ExponentialDecayOptions {
  initialLearningRate: number;
  decaySteps: number;
  decayRate: number;
  /** In whole steps of decaySteps. */
  staircase?: boolean;
}
export interface PiecewiseConstantOptions {
  /** Last steps of each value but the last, ascending. */
  boundaries: readonly number[];
  /** One more than boundaries. */
  values: readonly number[];
}
export interface PolynomialDecayOptions {
  initialLearningRate: number;
  decaySteps: number;
  endLearningRate?: number;
  power?: number;
  /** Begin again, over a longer time, whenever the end is reached. */
  cycle?: boolean;
}
export interface CosineDecayOptions {
  /** Where the warm-up begins, or the decay without a warm-up. */
  initialLearningRate: number;
  /** Length of the decay, without the warm-up. */
  decaySteps: number;
  /** The end, as a share of the peak. */
  alpha?: number;
  /** The peak after a linear warm-up; null: no warm-up. */
  warmupTarget?: number | null;
  warmupSteps?: number;
}
export interface CosineDecayRestartsOptions {
  initialLearningRate: number;
  firstDecaySteps: number;
  /** Each period is this many times the one before. */
  tMul?: number;
  /** Each start is this share of the one before. */
  mMul?: number;
  alpha?: number;
}
export interface OneCycleOptions {
  maxLearningRate: number;
  totalSteps: number;
  /** Share of the steps spent rising. */
  pctStart?: number;
  /** Peak / start. */
  divFactor?: number;
  /** Start / end. */
  finalDivFactor?: number;
  annealStrategy?: 'cos' | 'linear';
  threePhase?: boolean;
}
export interface WarmupStableDecayOptions {
  learningRate: number;
  /** All of the training, warm-up and decay included. */
  totalSteps: number;
  warmupSteps?: number;
  /** Length of the fall at the end; default a fifth of totalSteps. */
  decaySteps?: number;
  /** The end, as a share of the rate; default 0. */
  alpha?: number;
}
export interface LinearWarmupOptions {
  /** What follows: a rate, or a schedule that counts from the end of the warm-up. */
  learningRate: number | Schedule | SerializedSchedule;
  warmupSteps: number;
  /** Where the warm-up begins (default 0). */
  initialLearningRate?: number;
}
export interface SerializedSchedule {
  readonly className: string;
  readonly config: Config;
}

/** Factories. @example optimizers.adam({ learningRate: schedules.cosineDecay({ initialLearningRate: 1e-3, decaySteps: 1000 }) }) */
export const schedules = {
  /** initial · rate^(step / decaySteps). */
  exponentialDecay(options: ExponentialDecayOptions): Schedule {
    const { initialLearningRate, decaySteps, decayRate, staircase = false } = options;
    requirePositive('exponentialDecay', { decaySteps, decayRate });
    return new Schedule('exponentialDecay', options, { initialLearningRate, decaySteps, decayRate, staircase }, (o, step) => {
      const p = o.div(step, decaySteps);
      return o.mul(o.powerOf(decayRate, staircase ? o.floor(p) : p), initialLearningRate);
    });
  },
  /** Times gamma after every `stepSize` steps (PyTorch's StepLR). */
  stepDecay(options: { initialLearningRate: number; stepSize: number; gamma?: number }): Schedule {
    const { initialLearningRate, stepSize, gamma = 0.1 } = options;
    requirePositive('stepDecay', { stepSize, gamma });
    return new Schedule('stepDecay', options, { initialLearningRate, stepSize, gamma }, (o, step) =>
      o.mul(o.powerOf(gamma, o.floor(o.div(step, stepSize))), initialLearningRate),
    );
  },
  /** values[i] up to boundaries[i]. */
  piecewiseConstantDecay(options: PiecewiseConstantOptions): Schedule {
    const { boundaries, values } = options;
    if (values.length !== boundaries.length + 1 || boundaries.some((b, i) => i > 0 && b <= boundaries[i - 1]))
      throw new ConfigError(
        `piecewiseConstantDecay: boundaries [${boundaries}] and values [${values}] do not fit. Expected ascending boundaries and one more value.`,
      );
    return new Schedule('piecewiseConstantDecay', options, { boundaries, values }, (o, step) =>
      boundaries.reduceRight(
        (later, b, i) => o.ifLess(o.constant(b), step, later, o.constant(values[i])),
        o.constant(values[boundaries.length]),
      ),
    );
  },
  /** From initial to end by (1 − step / decaySteps)^power. */
  polynomialDecay(options: PolynomialDecayOptions): Schedule {
    const { initialLearningRate, decaySteps, endLearningRate = 1e-4, power = 1, cycle = false } = options;
    requirePositive('polynomialDecay', { decaySteps });
    return new Schedule('polynomialDecay', options, { initialLearningRate, decaySteps, endLearningRate, power, cycle }, (o, step) => {
      const p = cycle
        ? o.div(step, o.mul(o.max(o.ceil(o.div(step, decaySteps)), 1), decaySteps))
        : o.div(o.min(step, decaySteps), decaySteps);
      const left = o.max(o.add(o.mul(p, -1), 1), 0);
      return o.add(o.mul(power === 1 ? left : o.pow(left, power), initialLearningRate - endLearningRate), endLearningRate);
    });
  },
  /** initial / (1 + rate · step / decaySteps). */
  inverseTimeDecay(options: ExponentialDecayOptions): Schedule {
    const { initialLearningRate, decaySteps, decayRate, staircase = false } = options;
    requirePositive('inverseTimeDecay', { decaySteps });
    return new Schedule('inverseTimeDecay', options, { initialLearningRate, decaySteps, decayRate, staircase }, (o, step) => {
      const p = o.div(step, decaySteps);
      return o.div(o.constant(initialLearningRate), o.add(o.mul(staircase ? o.floor(p) : p, decayRate), 1));
    });
  },
  /** Linear warm-up to warmupTarget, then half a cosine down to alpha · peak (Loshchilov & Hutter 2017). */
  cosineDecay(options: CosineDecayOptions): Schedule {
    const { initialLearningRate, decaySteps, alpha = 0, warmupTarget = null, warmupSteps = 0 } = options;
    requirePositive('cosineDecay', { decaySteps });
    const config = { initialLearningRate, decaySteps, alpha, warmupTarget, warmupSteps };
    return new Schedule('cosineDecay', options, config, (o, step) => {
      const peak = warmupTarget ?? initialLearningRate;
      const since = warmupTarget === null ? step : o.max(o.add(step, -warmupSteps), 0);
      const decayed = cosineFall(o, o.div(o.min(since, decaySteps), decaySteps), peak, alpha * peak);
      if (warmupTarget === null || warmupSteps === 0) return decayed;
      const rising = o.add(o.mul(o.div(step, warmupSteps), warmupTarget - initialLearningRate), initialLearningRate);
      return o.ifLess(step, warmupSteps, rising, decayed);
    });
  },
  /** Cosine falls one after another, each tMul times as long and from mMul times the height. */
  cosineDecayRestarts(options: CosineDecayRestartsOptions): Schedule {
    const { initialLearningRate, firstDecaySteps, tMul = 2, mMul = 1, alpha = 0 } = options;
    requirePositive('cosineDecayRestarts', { firstDecaySteps, mMul });
    if (!(tMul >= 1)) throw new ConfigError(`cosineDecayRestarts: tMul is ${tMul}. Expected a number ≥ 1, received ${tMul}.`);
    const config = { initialLearningRate, firstDecaySteps, tMul, mMul, alpha };
    return new Schedule('cosineDecayRestarts', options, config, (o, step) => {
      const [restarts, fraction] = periodOf(o, o.div(step, firstDecaySteps), tMul, 2 ** 31 / firstDecaySteps);
      const height = mMul === 1 ? o.constant(1) : o.powerOf(mMul, restarts);
      const wave = o.mul(o.add(o.cos(o.mul(fraction, Math.PI)), 1), 0.5);
      return o.mul(o.add(o.mul(o.mul(wave, height), 1 - alpha), alpha), initialLearningRate);
    });
  },
  /** Up to the peak and down far below the start (Smith & Topin 2018), as PyTorch's OneCycleLR. */
  oneCycle(options: OneCycleOptions): Schedule {
    const { maxLearningRate: peak, totalSteps, pctStart = 0.3, divFactor = 25, finalDivFactor = 1e4 } = options;
    const { annealStrategy = 'cos', threePhase = false } = options;
    requirePositive('oneCycle', { totalSteps, divFactor, finalDivFactor });
    const config = { maxLearningRate: peak, totalSteps, pctStart, divFactor, finalDivFactor, annealStrategy, threePhase };
    const start = peak / divFactor;
    const end = start / finalDivFactor;
    const up = pctStart * totalSteps - 1;
    const last = totalSteps - 1;
    const phases = threePhase
      ? [
          { to: up, from: start, at: peak },
          { to: 2 * pctStart * totalSteps - 2, from: peak, at: start },
          { to: last, from: start, at: end },
        ]
      : [
          { to: up, from: start, at: peak },
          { to: last, from: peak, at: end },
        ];
    return new Schedule('oneCycle', options, config, (o, step) => {
      const now = o.min(step, last);
      const piece = (i: number): typeof now => {
        const begin = i === 0 ? 0 : phases[i - 1].to;
        const { to, from, at } = phases[i];
        const fraction = to > begin ? o.div(o.add(now, -begin), to - begin) : o.constant(1);
        const value = annealStrategy === 'cos' ? cosineFall(o, fraction, from, at) : o.add(o.mul(fraction, at - from), from);
        return i === phases.length - 1 ? value : o.ifLess(o.constant(to), now, piece(i + 1), value);
      };
      return piece(0);
    });
  },
  /** A linear rise, a constant rate, and a fall in a line (Hu et al. 2024, MiniCPM's WSD): how long to train can be decided late. */
  warmupStableDecay(options: WarmupStableDecayOptions): Schedule {
    const { learningRate, totalSteps, warmupSteps = 0, decaySteps = Math.max(1, Math.round(totalSteps / 5)), alpha = 0 } = options;
    requirePositive('warmupStableDecay', { totalSteps, decaySteps });
    const config = { learningRate, totalSteps, warmupSteps, decaySteps, alpha };
    return new Schedule('warmupStableDecay', options, config, (o, step) => {
      const left = o.div(o.max(o.add(o.mul(step, -1), totalSteps), 0), decaySteps);
      const after = o.mul(o.add(o.mul(o.min(left, 1), 1 - alpha), alpha), learningRate);
      return warmupSteps === 0 ? after : o.ifLess(step, warmupSteps, o.mul(o.div(o.add(step, 1), warmupSteps + 1), learningRate), after);
    });
  },
  /** From initial to the rate that follows, in a line. */
  linearWarmup(options: LinearWarmupOptions): Schedule {
    const { warmupSteps, initialLearningRate = 0 } = options;
    requirePositive('linearWarmup', { warmupSteps });
    const next = typeof options.learningRate === 'number' ? options.learningRate : getSchedule(options.learningRate);
    const saved = typeof next === 'number' ? next : serializeSchedule(next);
    const target = typeof next === 'number' ? next : next.at(0);
    const config: Config = { learningRate: typeof saved === 'number' ? saved : { ...saved }, warmupSteps, initialLearningRate };
    return new Schedule('linearWarmup', options, config, (o, step) => {
      const rising = o.add(o.mul(o.div(step, warmupSteps), target - initialLearningRate), initialLearningRate);
      const after = typeof next === 'number' ? o.constant(next) : next.formula(o, o.max(o.add(step, -warmupSteps), 0));
      return o.ifLess(step, warmupSteps, rising, after);
    });
  },
};
export type ScheduleName = keyof typeof schedules;

/** Which period of lengths 1, tMul, tMul² … x ≥ 0 is in, and how far into it, in [0, 1). Never beyond `largest`. */
function periodOf<T>(o: Arithmetic<T>, x: T, tMul: number, largest: number): [T, T] {
  if (tMul === 1) {
    const whole = o.floor(x);
    return [whole, o.add(x, o.mul(whole, -1))];
  }
  // Keras takes the floor of a logarithm, which is a period off at the restarts when rounding goes the wrong way; counting
  // the ends that were passed is not.
  let restarts = o.constant(0);
  let begin = o.constant(0);
  let length = o.constant(1);
  let end = 1;
  for (let i = 1; i < 2000 && end < largest; i++) {
    const grown = tMul ** i;
    restarts = o.ifLess(x, end, restarts, o.constant(i));
    begin = o.ifLess(x, end, begin, o.constant(end));
    length = o.ifLess(x, end, length, o.constant(grown));
    end += grown;
  }
  return [restarts, o.div(o.add(x, o.mul(begin, -1)), length)];
}

const plain = (name: string): string => name.replaceAll('_', '').toLowerCase();
/** The schedule that a config describes. Throws ConfigError for an unknown name. */
export function getSchedule(id: Schedule | SerializedSchedule): Schedule {
  if (id instanceof Schedule) return id;
  const found = Object.entries(schedules).find(([name]) => plain(name) === plain(id.className));
  if (!found)
    throw new ConfigError(
      `schedule: "${id.className}" is not known. Expected one of ${Object.keys(schedules).join(', ')}, received "${id.className}".`,
    );
  return (found[1] as (options: Config) => Schedule)(id.config);
}
/** What a file keeps of the schedule. */
export const serializeSchedule = (schedule: Schedule): SerializedSchedule => ({
  className: schedule.className,
  config: schedule.getConfig(),
});
