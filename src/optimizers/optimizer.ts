/**
 * @file Optimizer: a rule of rules.ts with what surrounds it: clipping, weight decay, constraints, averages of the weights,
 * accumulation over several batches, the learning rate. `apply` only assigns Variables, so a compiled step holds all of it.
 */
import { ConfigError, ShapeError } from '../base/errors.js';
import { sameShape, showShape } from '../base/shape.js';
import { maximum, type Tensor, type TensorLike, tensor, type Variable, variable, where, zeros } from '../tensor/index.js';
import type { Rule } from './rules.js';
import { type Config, getSchedule, type Schedule, type SerializedSchedule, serializeSchedule } from './schedules.js';

/** Options that every optimizer has, with Keras's meaning and defaults. */
export interface OptimizerOptions {
  name?: string;
  learningRate?: number | Schedule | SerializedSchedule;
  /** Decoupled: weights shrink by learningRate · weightDecay a step. null: none. */
  weightDecay?: number | null;
  /** Regular expressions: weights whose name one of them finds don't decay. */
  excludeFromWeightDecay?: readonly string[];
  /** Largest norm of one variable's gradient. At most one of the three. */
  clipNorm?: number | null;
  /** Largest norm of all gradients together. */
  globalClipNorm?: number | null;
  /** Largest magnitude of an element. */
  clipValue?: number | null;
  /** Keep an exponential moving average of the weights. */
  useEma?: boolean;
  emaMomentum?: number;
  /** Every so many updates the weights become their averages. */
  emaOverwriteFrequency?: number | null;
  /** Gradients of so many calls make one update. */
  gradientAccumulationSteps?: number | null;
}
export interface BuildOptions {
  /** What a weight is moved to after each update, if anything. */
  constraintOf?: (variable: Variable) => ((weight: Tensor) => Tensor) | null | undefined;
}
type Writes = Map<Variable, Tensor>;

const f32 = (x: Tensor): Tensor => (x.dtype === 'f32' ? x : x.cast('f32'));

export abstract class Optimizer {
  readonly name: string;
  readonly weightDecay: number | null;
  readonly clipNorm: number | null;
  readonly globalClipNorm: number | null;
  readonly clipValue: number | null;
  readonly useEma: boolean;
  readonly emaMomentum: number;
  readonly emaOverwriteFrequency: number | null;
  /** 1: every call of `apply` is an update. */
  readonly gradientAccumulationSteps: number;
  /** Updates made, i32. */
  readonly iterations: Variable;

  readonly #rule: Rule<object>;
  readonly #options: object;
  readonly #excluded: RegExp[];
  readonly #excludedVariables = new Set<Variable>();
  #schedule: Schedule | null = null;
  /** The rate as last set and the version of its Variable then. */
  #rate = 0;
  #rateVersion = 0;
  readonly #rateVariable: Variable;
  #trainable: readonly Variable[] = [];
  #constraintOf: BuildOptions['constraintOf'];
  readonly #slots = new Map<Variable, Map<string, Variable>>();
  readonly #shared = new Map<string, Variable>();
  readonly #averages = new Map<Variable, Variable>();
  readonly #sums = new Map<Variable, Variable>();
  /** Weight of the open window, and calls of `apply` in it. */
  #windowWeight: Variable | null = null;
  #windowCalls: Variable | null = null;
  #isBuilt = false;
  #areAveragesIn = false;

  /** @param options those of the rule, complete. */
  constructor(id: string, rule: Rule<object>, options: object, common: OptimizerOptions) {
    this.name = common.name ?? id;
    this.#rule = rule;
    this.#options = options;
    this.weightDecay = (common.weightDecay === undefined ? rule.defaults.weightDecay : common.weightDecay) || null;
    this.clipNorm = common.clipNorm ?? null;
    this.globalClipNorm = common.globalClipNorm ?? null;
    this.clipValue = common.clipValue ?? null;
    this.useEma = common.useEma ?? false;
    this.emaMomentum = common.emaMomentum ?? 0.99;
    this.emaOverwriteFrequency = common.emaOverwriteFrequency ?? null;
    this.gradientAccumulationSteps = common.gradientAccumulationSteps ?? 1;
    this.#excluded = (common.excludeFromWeightDecay ?? []).map((pattern) => new RegExp(pattern));
    this.#check();
    this.iterations = variable(tensor(0, 'i32'), { name: `${this.name}/iterations`, trainable: false });
    this.#rateVariable = variable(tensor(0), { name: `${this.name}/learningRate`, trainable: false });
    this.learningRate = common.learningRate === undefined ? rule.defaults.learningRate : common.learningRate;
  }
  /** The name in configs, as in `optimizers`. */
  abstract get className(): string;

  #check(): void {
    const clips = [this.clipNorm, this.globalClipNorm, this.clipValue].filter((c) => c !== null);
    if (clips.length > 1)
      throw new ConfigError(
        `${this.name}: ${clips.length} ways of clipping. Expected one of clipNorm, globalClipNorm and clipValue. Drop the others.`,
      );
    if (clips.some((c) => !(c > 0)))
      throw new ConfigError(`${this.name}: clipping at ${clips[0]}. Expected a number > 0, received ${clips[0]}.`);
    if (!(this.emaMomentum >= 0 && this.emaMomentum <= 1))
      throw new ConfigError(`${this.name}: emaMomentum is out of range. Expected a number in [0, 1], received ${this.emaMomentum}.`);
    const whole = { gradientAccumulationSteps: this.gradientAccumulationSteps, emaOverwriteFrequency: this.emaOverwriteFrequency ?? 1 };
    for (const [option, x] of Object.entries(whole))
      if (!Number.isInteger(x) || x < 1)
        throw new ConfigError(`${this.name}: ${option} is ${x}. Expected a positive integer, received ${x}.`);
  }

  // ---- learning rate

  /**
   * The rate, or the schedule that gives it. A number may be set at any time, also between compiled steps. Throws ConfigError
   * for a number over a schedule and the other way round once built, since compiled steps hold one or the other.
   */
  get learningRate(): number | Schedule {
    if (this.#schedule) return this.#schedule;
    if (this.#rateVariable.version !== this.#rateVersion) {
      // Somebody else has written it, such as a checkpoint.
      const rate = this.#rateVariable.dataSync()[0];
      if (Math.fround(this.#rate) !== rate) this.#rate = shortest(rate);
      this.#rateVersion = this.#rateVariable.version;
    }
    return this.#rate;
  }
  set learningRate(given: number | Schedule | SerializedSchedule) {
    const isNumber = typeof given === 'number';
    if (this.#isBuilt && isNumber !== (this.#schedule === null))
      throw new ConfigError(
        `${this.name}: the learning rate is ${isNumber ? 'a schedule and is set to a number' : 'a number and is set to a schedule'} after building. Expected the same kind. Make the optimizer with what you want to set later.`,
      );
    if (!isNumber) {
      this.#schedule = getSchedule(given);
      return;
    }
    if (!(given >= 0 && given < Infinity))
      throw new ConfigError(`${this.name}: learningRate is ${given}. Expected a finite number ≥ 0, received ${given}.`);
    this.#schedule = null;
    this.#rate = given;
    this.#rateVariable.assign(given);
    this.#rateVersion = this.#rateVariable.version;
  }
  /** The rate of the next update as a scalar tensor, traced or eager. */
  currentLearningRate(): Tensor {
    return this.#schedule ? this.#schedule.call(this.iterations.read()) : this.#rateVariable.read();
  }

  // ---- state

  get isBuilt(): boolean {
    return this.#isBuilt;
  }
  /** Everything that a checkpoint holds: iterations, the rate, scalars, slots, averages, the open window; in stable order. */
  get variables(): readonly Variable[] {
    return [
      this.iterations,
      ...(this.#schedule ? [] : [this.#rateVariable]),
      ...this.#shared.values(),
      ...this.#trainable.flatMap((v) => [...(this.#slots.get(v)?.values() ?? [])]),
      ...this.#averages.values(),
      ...this.#sums.values(),
      ...(this.#windowWeight ? [this.#windowWeight] : []),
      ...(this.#windowCalls ? [this.#windowCalls] : []),
    ];
  }
  /** The weights that it was built for. */
  get trainable(): readonly Variable[] {
    return this.#trainable;
  }

  /** Makes the slots, once. Throws ConfigError when built for other weights before. */
  build(trainable: readonly Variable[], options: BuildOptions = {}): void {
    if (options.constraintOf) this.#constraintOf = options.constraintOf;
    if (this.#isBuilt) {
      const stranger = trainable.find((v) => !this.#slots.has(v));
      if (stranger)
        throw new ConfigError(
          `${this.name}: it was built for other weights and does not know "${stranger.name}". Expected the same weights. Make a new optimizer, or build it for all of them.`,
        );
      return;
    }
    this.#isBuilt = true;
    this.#trainable = [...new Set(trainable)];
    for (const [name, initial] of Object.entries(this.#rule.shared ?? {}))
      this.#shared.set(name, variable(tensor(initial), { name: `${this.name}/${name}`, trainable: false }));
    const used = new Map<string, number>();
    const slots = this.#rule.slots(this.#options);
    for (const v of this.#trainable) {
      const seen = used.get(v.name) ?? 0;
      used.set(v.name, seen + 1);
      const weight = seen === 0 ? v.name : `${v.name}_${seen}`;
      const slot = (kind: string, initial: Tensor): Variable =>
        variable(initial, { name: `${this.name}/${kind}/${weight}`, trainable: false });
      const own = new Map<string, Variable>();
      for (const { name, initial } of slots) own.set(name, slot(name, zeros(v.shape).add(initial)));
      this.#slots.set(v, own);
      if (this.useEma) this.#averages.set(v, slot('average', f32(v.read())));
      if (this.gradientAccumulationSteps > 1) this.#sums.set(v, slot('gradientSum', zeros(v.shape)));
    }
    if (this.gradientAccumulationSteps > 1) {
      this.#windowWeight = variable(tensor(0), { name: `${this.name}/windowWeight`, trainable: false });
      this.#windowCalls = variable(tensor(0, 'i32'), { name: `${this.name}/windowCalls`, trainable: false });
    }
  }
  /** Adds weights that don't decay. */
  excludeFromWeightDecay(what: { variables?: readonly Variable[]; names?: readonly string[] }): void {
    for (const v of what.variables ?? []) this.#excludedVariables.add(v);
    for (const pattern of what.names ?? []) this.#excluded.push(new RegExp(pattern));
  }
  #decays(v: Variable): boolean {
    return this.weightDecay !== null && !this.#excludedVariables.has(v) && !this.#excluded.some((e) => e.test(v.name));
  }

  // ---- updates

  /**
   * One update of `variables` (default: those it was built for) by `gradients`, in the same order. Traceable: it assigns.
   * With gradientAccumulationSteps k it updates at every k-th call, by the mean of the k gradients.
   * Throws ShapeError and ConfigError when gradients and weights don't fit.
   * @example
   * const w = variable([1, 2]);
   * const { gradients } = valueAndGrad(() => w.read().square().sum(), [w]);
   * optimizers.sgd({ learningRate: 0.25 }).apply(gradients, [w]);
   * console.log(await w.read().array()); // → [ 0.5, 1 ]
   */
  apply(gradients: readonly Tensor[], variables: readonly Variable[] = this.#trainable): void {
    this.build(variables);
    this.#checkGradients(gradients, variables);
    if (this.gradientAccumulationSteps === 1) {
      this.#commit(this.#update(gradients, variables));
      return;
    }
    // Both outcomes are computed and one is chosen: a traced function can't branch. fit uses two Programs instead.
    const calls = required(this.#windowCalls).read().add(1);
    const isLast = calls.equal(this.gradientAccumulationSteps);
    const sums = gradients.map((g, i) => this.#sumOf(variables[i]).read().add(f32(g)));
    const writes = this.#update(
      sums.map((s) => s.div(this.gradientAccumulationSteps)),
      variables,
    );
    const chosen: Writes = new Map([...writes].map(([v, x]) => [v, where(isLast, x, v.read())]));
    for (const [i, v] of variables.entries()) chosen.set(this.#sumOf(v), where(isLast, 0, sums[i]));
    chosen.set(required(this.#windowCalls), where(isLast, 0, calls));
    this.#commit(chosen);
  }
  /**
   * Adds unnormalised gradients (of the sum of the losses) to the window; `weight` is the sum of the sample weights behind
   * them. The first of the two functions of gradient accumulation; needs gradientAccumulationSteps > 1.
   */
  accumulate(gradients: readonly Tensor[], weight: TensorLike, variables: readonly Variable[] = this.#trainable): void {
    this.build(variables);
    this.#checkGradients(gradients, variables);
    const total = this.#requireWindow('accumulate');
    for (const [i, g] of gradients.entries()) this.#sumOf(variables[i]).assignAdd(f32(g));
    total.assignAdd(weight);
  }
  /** One update by the window's gradients divided by its weight; empties the window. An empty window changes nothing. */
  applyAccumulated(variables: readonly Variable[] = this.#trainable): void {
    const total = this.#requireWindow('applyAccumulated');
    const weight = total.read();
    const isEmpty = weight.equal(0);
    const gradients = variables.map((v) =>
      this.#sumOf(v)
        .read()
        .div(where(isEmpty, 1, weight)),
    );
    const writes: Writes = new Map([...this.#update(gradients, variables)].map(([v, x]) => [v, where(isEmpty, v.read(), x)]));
    for (const v of variables) writes.set(this.#sumOf(v), zeros(v.shape));
    writes.set(total, tensor(0));
    this.#commit(writes);
  }
  #requireWindow(who: string): Variable {
    if (this.#windowWeight === null)
      throw new ConfigError(
        `${this.name}: ${who} without a window. Expected gradientAccumulationSteps > 1 and a built optimizer, received ${this.gradientAccumulationSteps}. Set gradientAccumulationSteps.`,
      );
    return this.#windowWeight;
  }
  #sumOf(v: Variable): Variable {
    return required(this.#sums.get(v));
  }
  #checkGradients(gradients: readonly Tensor[], variables: readonly Variable[]): void {
    if (gradients.length !== variables.length)
      throw new ConfigError(
        `${this.name}: ${gradients.length} gradients for ${variables.length} weights. Expected one each, in the same order.`,
      );
    gradients.forEach((g, i) => {
      if (!sameShape(g.shape, variables[i].shape))
        throw new ShapeError(
          `${this.name}: the gradient of "${variables[i].name}" does not fit. Expected ${showShape(variables[i].shape)}, received ${showShape(g.shape)}. Give gradients in the order of the weights.`,
        );
    });
  }
  #commit(writes: Writes): void {
    for (const [v, value] of writes) v.assign(value);
  }

  /** What one update writes. Pure. */
  #update(gradients: readonly Tensor[], variables: readonly Variable[]): Writes {
    const writes: Writes = new Map();
    const learningRate = this.currentLearningRate();
    const iterations = this.iterations.read();
    const step = iterations.cast('f32').add(1);
    const before = Object.fromEntries([...this.#shared].map(([name, v]) => [name, v.read()]));
    const shared = this.#rule.advance?.(before, step, this.#options) ?? before;
    for (const [name, v] of this.#shared) writes.set(v, shared[name]);
    const clipped = this.#clipped(gradients.map(f32));
    variables.forEach((v, i) => {
      const own = required(this.#slots.get(v));
      const slots = Object.fromEntries([...own].map(([name, slot]) => [name, slot.read()]));
      let weight = f32(v.read());
      if (this.#decays(v)) weight = weight.sub(weight.mul(learningRate.mul(this.weightDecay ?? 0)));
      const out = this.#rule.update({ weight, gradient: clipped[i], slots, learningRate, step, shared }, this.#options);
      for (const [name, slot] of own) writes.set(slot, out.slots[name]);
      const constrain = this.#constraintOf?.(v);
      writes.set(v, this.#averaged(v, constrain ? constrain(out.weight) : out.weight, iterations, writes));
    });
    writes.set(this.iterations, iterations.add(1));
    return writes;
  }
  /** Notes the new average of `v` and returns its new value, which is the average where that overwrites. */
  #averaged(v: Variable, weight: Tensor, iterations: Tensor, writes: Writes): Tensor {
    const average = this.#averages.get(v);
    if (!average) return weight;
    // The first average is the weight itself.
    const momentum = where(iterations.equal(0), 0, this.emaMomentum);
    const next = average
      .read()
      .mul(momentum)
      .add(weight.mul(momentum.neg().add(1)));
    writes.set(average, next);
    if (this.emaOverwriteFrequency === null) return weight;
    return where(iterations.add(1).mod(this.emaOverwriteFrequency).equal(0), next, weight);
  }
  #clipped(gradients: readonly Tensor[]): readonly Tensor[] {
    const { clipNorm, clipValue, globalClipNorm } = this;
    if (clipValue !== null) return gradients.map((g) => g.clip(-clipValue, clipValue));
    if (clipNorm !== null) return gradients.map((g) => g.mul(scaleTo(clipNorm, g.square().sum())));
    if (globalClipNorm === null || gradients.length === 0) return gradients;
    const scale = scaleTo(
      globalClipNorm,
      gradients.map((g) => g.square().sum()).reduce((a, b) => a.add(b)),
    );
    return gradients.map((g) => g.mul(scale));
  }

  // ---- averages

  /** Whether the weights are their averages at the moment. */
  get areAveragesIn(): boolean {
    return this.#areAveragesIn;
  }
  /** Exchanges weights and averages, for an evaluation or a file; again to go back. Needs useEma. */
  swapAverages(): void {
    this.#requireAverages('swapAverages');
    for (const [v, average] of this.#averages) {
      const weight = v.read();
      v.assign(average.read());
      average.assign(weight);
    }
    this.#areAveragesIn = !this.#areAveragesIn;
  }
  /** Makes the averages the weights for good: at the end of training (Keras's finalize_variable_values). Needs useEma. */
  overwriteWithAverages(): void {
    this.#requireAverages('overwriteWithAverages');
    for (const [v, average] of this.#averages) v.assign(average.read());
  }
  #requireAverages(who: string): void {
    if (!this.useEma || !this.#isBuilt)
      throw new ConfigError(`${this.name}: ${who} without averages. Expected useEma: true and a built optimizer. Set useEma.`);
  }

  getConfig(): Config {
    const rate = this.learningRate;
    return {
      name: this.name,
      learningRate: typeof rate === 'number' ? rate : { ...serializeSchedule(rate) },
      weightDecay: this.weightDecay,
      excludeFromWeightDecay: this.#excluded.map((e) => e.source),
      clipNorm: this.clipNorm,
      globalClipNorm: this.globalClipNorm,
      clipValue: this.clipValue,
      useEma: this.useEma,
      emaMomentum: this.emaMomentum,
      emaOverwriteFrequency: this.emaOverwriteFrequency,
      gradientAccumulationSteps: this.gradientAccumulationSteps,
      ...this.#options,
    };
  }
}

/** The factor that brings a vector of that squared norm to at most `limit`. */
const scaleTo = (limit: number, squaredNorm: Tensor): Tensor => tensor(limit).div(maximum(squaredNorm.sqrt(), limit));
function required<T>(x: T | null | undefined): T {
  if (x === null || x === undefined)
    throw new ConfigError('optimizer: a weight is not known. Expected one that it was built for. Call build first.');
  return x;
}

/** The number with the fewest digits that is `x` in f32: 0.001 for what a Variable made of it. */
function shortest(x: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(x.toPrecision(digits));
    if (Math.fround(short) === x) return short;
  }
  return x;
}
