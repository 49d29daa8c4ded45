/**
 * @file The update rules: pure functions of one parameter, (weight, gradient, slots) → new ones, in the forms and with the
 * defaults of Keras 3 (epsilon outside of the bias correction). All tensors are f32; scalars are shared by all parameters.
 */
import { type Tensor, tensor } from '../tensor/index.js';

/** What a rule sees of one parameter. */
export interface RuleInput {
  readonly weight: Tensor;
  readonly gradient: Tensor;
  /** One tensor a name of `slots`, of the weight's shape. */
  readonly slots: Readonly<Record<string, Tensor>>;
  /** Scalar. */
  readonly learningRate: Tensor;
  /** 1 at the first update, scalar f32. */
  readonly step: Tensor;
  /** Scalars kept for all parameters together; already advanced. */
  readonly shared: Readonly<Record<string, Tensor>>;
}
export interface RuleOutput {
  readonly weight: Tensor;
  readonly slots: Readonly<Record<string, Tensor>>;
}
export interface Rule<O> {
  /** Keras's defaults; `learningRate` among them. */
  readonly defaults: O & { readonly learningRate: number; readonly weightDecay?: number };
  /** Names of the slots and what they begin with. */
  slots(options: O): readonly { readonly name: string; readonly initial: number }[];
  /** Scalars kept for all parameters together and what they begin with. */
  readonly shared?: Readonly<Record<string, number>>;
  advance?(shared: Readonly<Record<string, Tensor>>, step: Tensor, options: O): Readonly<Record<string, Tensor>>;
  update(input: RuleInput, options: O): RuleOutput;
}

const zeroSlots = (...names: string[]): { name: string; initial: number }[] => names.map((name) => ({ name, initial: 0 }));
/** decay · a + (1 − decay) · b, as one step from a towards b. */
const towards = (a: Tensor, b: Tensor, decay: number): Tensor => a.add(b.sub(a).mul(1 - decay));
/** 1 − betaᵗ. By expm1 with a logarithm in double precision: in f32 1 − 0.999 has lost half of its digits. */
const correction = (beta: number, step: Tensor): Tensor => (beta === 0 ? tensor(1) : step.mul(Math.log(beta)).expm1().neg());

export interface SgdOptions {
  momentum: number;
  nesterov: boolean;
}
const sgd: Rule<SgdOptions> = {
  defaults: { learningRate: 0.01, momentum: 0, nesterov: false },
  slots: (o) => (o.momentum === 0 ? [] : zeroSlots('momentum')),
  update({ weight, gradient, slots, learningRate }, o) {
    const move = gradient.mul(learningRate);
    if (o.momentum === 0) return { weight: weight.sub(move), slots };
    const momentum = slots.momentum.mul(o.momentum).sub(move);
    const by = o.nesterov ? momentum.mul(o.momentum).sub(move) : momentum;
    return { weight: weight.add(by), slots: { momentum } };
  },
};

export interface AdamOptions {
  beta1: number;
  beta2: number;
  epsilon: number;
  amsgrad: boolean;
}
const adam: Rule<AdamOptions> = {
  defaults: { learningRate: 0.001, beta1: 0.9, beta2: 0.999, epsilon: 1e-7, amsgrad: false },
  slots: (o) => zeroSlots('m', 'v', ...(o.amsgrad ? ['vHat'] : [])),
  update({ weight, gradient, slots, learningRate, step }, o) {
    const rate = learningRate.mul(correction(o.beta2, step).sqrt()).div(correction(o.beta1, step));
    const m = towards(slots.m, gradient, o.beta1);
    const v = towards(slots.v, gradient.square(), o.beta2);
    const next: Record<string, Tensor> = { m, v };
    if (o.amsgrad) next.vHat = slots.vHat.maximum(v);
    return { weight: weight.sub(m.mul(rate).div((next.vHat ?? v).sqrt().add(o.epsilon))), slots: next };
  },
};
/** Adam with decoupled weight decay by default (Loshchilov & Hutter 2019). */
const adamW: Rule<AdamOptions> = { ...adam, defaults: { ...adam.defaults, weightDecay: 0.004 } };

export interface RmspropOptions {
  rho: number;
  momentum: number;
  epsilon: number;
  centered: boolean;
}
const rmsprop: Rule<RmspropOptions> = {
  defaults: { learningRate: 0.001, rho: 0.9, momentum: 0, epsilon: 1e-7, centered: false },
  slots: (o) => zeroSlots('velocity', ...(o.momentum > 0 ? ['momentum'] : []), ...(o.centered ? ['averageGradient'] : [])),
  update({ weight, gradient, slots, learningRate }, o) {
    const next: Record<string, Tensor> = { velocity: towards(slots.velocity, gradient.square(), o.rho) };
    let spread = next.velocity;
    if (o.centered) {
      next.averageGradient = towards(slots.averageGradient, gradient, o.rho);
      spread = spread.sub(next.averageGradient.square());
    }
    let move = gradient.mul(learningRate).mul(spread.add(o.epsilon).rsqrt());
    if (o.momentum > 0) move = next.momentum = slots.momentum.mul(o.momentum).add(move);
    return { weight: weight.sub(move), slots: next };
  },
};

export interface AdagradOptions {
  initialAccumulatorValue: number;
  epsilon: number;
}
const adagrad: Rule<AdagradOptions> = {
  defaults: { learningRate: 0.001, initialAccumulatorValue: 0.1, epsilon: 1e-7 },
  slots: (o) => [{ name: 'accumulator', initial: o.initialAccumulatorValue }],
  update({ weight, gradient, slots, learningRate }, o) {
    const accumulator = slots.accumulator.add(gradient.square());
    return { weight: weight.sub(gradient.mul(learningRate).div(accumulator.add(o.epsilon).sqrt())), slots: { accumulator } };
  },
};

export interface AdadeltaOptions {
  rho: number;
  epsilon: number;
}
const adadelta: Rule<AdadeltaOptions> = {
  defaults: { learningRate: 0.001, rho: 0.95, epsilon: 1e-7 },
  slots: () => zeroSlots('accumulatedGradient', 'accumulatedDelta'),
  update({ weight, gradient, slots, learningRate }, o) {
    const accumulatedGradient = towards(slots.accumulatedGradient, gradient.square(), o.rho);
    const ratio = slots.accumulatedDelta.add(o.epsilon).sqrt().div(accumulatedGradient.add(o.epsilon).sqrt());
    const delta = gradient.mul(ratio).neg();
    const accumulatedDelta = towards(slots.accumulatedDelta, delta.square(), o.rho);
    return { weight: weight.add(delta.mul(learningRate)), slots: { accumulatedGradient, accumulatedDelta } };
  },
};

export interface MomentsOptions {
  beta1: number;
  beta2: number;
  epsilon: number;
}
const adamax: Rule<MomentsOptions> = {
  defaults: { learningRate: 0.001, beta1: 0.9, beta2: 0.999, epsilon: 1e-7 },
  slots: () => zeroSlots('m', 'u'),
  update({ weight, gradient, slots, learningRate, step }, o) {
    const m = towards(slots.m, gradient, o.beta1);
    const u = slots.u.mul(o.beta2).maximum(gradient.abs());
    const rate = learningRate.div(correction(o.beta1, step));
    return { weight: weight.sub(m.mul(rate).div(u.add(o.epsilon))), slots: { m, u } };
  },
};

/** The momentum of step t in Nadam's schedule. */
const nadamMomentum = (step: Tensor, beta1: number): Tensor => step.mul(Math.log(0.96)).exp().mul(-0.5).add(1).mul(beta1);
const nadam: Rule<MomentsOptions> = {
  defaults: { learningRate: 0.001, beta1: 0.9, beta2: 0.999, epsilon: 1e-7 },
  slots: () => zeroSlots('m', 'v'),
  shared: { momentumProduct: 1 },
  advance: (shared, step, o) => ({ momentumProduct: shared.momentumProduct.mul(nadamMomentum(step, o.beta1)) }),
  update({ weight, gradient, slots, learningRate, step, shared }, o) {
    const now = nadamMomentum(step, o.beta1);
    const next = nadamMomentum(step.add(1), o.beta1);
    const product = shared.momentumProduct;
    const m = towards(slots.m, gradient, o.beta1);
    const v = towards(slots.v, gradient.square(), o.beta2);
    const ofMean = next.div(product.mul(next).neg().add(1));
    const ofGradient = now.neg().add(1).div(product.neg().add(1));
    const mHat = m.mul(ofMean).add(gradient.mul(ofGradient));
    const spread = v.div(correction(o.beta2, step)).sqrt().add(o.epsilon);
    return { weight: weight.sub(mHat.mul(learningRate).div(spread)), slots: { m, v } };
  },
};

export interface LionOptions {
  beta1: number;
  beta2: number;
}
/** Chen et al. 2023: the sign of an average. */
const lion: Rule<LionOptions> = {
  defaults: { learningRate: 0.001, beta1: 0.9, beta2: 0.99 },
  slots: () => zeroSlots('m'),
  update({ weight, gradient, slots, learningRate }, o) {
    const direction = slots.m
      .mul(o.beta1)
      .add(gradient.mul(1 - o.beta1))
      .sign();
    return { weight: weight.sub(direction.mul(learningRate)), slots: { m: towards(slots.m, gradient, o.beta2) } };
  },
};

/** Every optimizer, simple to complex. */
export const rules = { sgd, rmsprop, adagrad, adadelta, adam, adamW, adamax, nadam, lion };
export type RuleName = keyof typeof rules;
