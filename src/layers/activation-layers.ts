/** @file Activations with parameters of their own, as layers: reLU, leakyReLU, pReLU, eLU, softmax. */
import { ConfigError } from '../base/errors.js';
import { normalizeAxis } from '../base/shape.js';
import { elu, softmax, type Tensor, type Variable, where, zerosLike } from '../tensor/index.js';
import { activations } from './activations.js';
import type { ConstraintLike } from './constraints.js';
import type { InitializerLike } from './initializers.js';
import { type CallContext, Layer, type LayerOptions, type PartialShape } from './layer.js';
import { inRange, knownExtent, singleShape, withDefaults } from './options.js';
import type { RegularizerLike } from './regularizers.js';

export interface ReLUOptions extends LayerOptions {
  maxValue?: number | null;
  negativeSlope?: number;
  threshold?: number;
}
/** x from `threshold` up, at most `maxValue`; negativeSlope·(x − threshold) below. */
export class ReLU extends Layer<ReLUOptions & { maxValue: number | null; negativeSlope: number; threshold: number }> {
  static override className = 'ReLU';
  override supportsMasking = true;
  constructor(options?: ReLUOptions) {
    super(withDefaults(options, { maxValue: null as number | null, negativeSlope: 0, threshold: 0 }));
    inRange(this, 'maxValue', this.options.maxValue ?? 0, 0, Number.POSITIVE_INFINITY);
    inRange(this, 'negativeSlope', this.options.negativeSlope, 0, Number.POSITIVE_INFINITY);
    inRange(this, 'threshold', this.options.threshold, 0, Number.POSITIVE_INFINITY);
  }
  override call(x: Tensor): Tensor {
    const { maxValue, negativeSlope, threshold } = this.options;
    if (negativeSlope === 0 && threshold === 0) return maxValue === null ? x.relu() : x.relu().minimum(maxValue);
    const above = maxValue === null ? x : x.minimum(maxValue);
    const below = negativeSlope === 0 ? zerosLike(x) : x.sub(threshold).mul(negativeSlope);
    return where(threshold === 0 ? x.greater(0) : x.greaterEqual(threshold), above, below);
  }
}

export interface LeakyReLUOptions extends LayerOptions {
  /** Default 0.3 (the function's default is 0.2, as in Keras). */
  negativeSlope?: number;
  /** tfjs's name for negativeSlope. */
  alpha?: number;
}
/** x for x > 0, else negativeSlope·x. */
export class LeakyReLU extends Layer<LeakyReLUOptions & { negativeSlope: number }> {
  static override className = 'LeakyReLU';
  override supportsMasking = true;
  constructor(options?: LeakyReLUOptions) {
    const { alpha, ...rest } = options ?? {};
    super(withDefaults<LeakyReLUOptions, { negativeSlope: number }>(rest, { negativeSlope: alpha ?? 0.3 }));
    inRange(this, 'negativeSlope', this.options.negativeSlope, 0, Number.POSITIVE_INFINITY);
  }
  override call(x: Tensor): Tensor {
    return x.leakyRelu(this.options.negativeSlope);
  }
}

export interface PReLUOptions extends LayerOptions {
  alphaInitializer?: InitializerLike;
  alphaRegularizer?: RegularizerLike;
  alphaConstraint?: ConstraintLike;
  /** Axes (the batch is 0) that share their slopes: [1, 2] for pictures. */
  sharedAxes?: number | readonly number[] | null;
}
/** x for x > 0, else alpha·x with learned slopes (He et al. 2015). */
export class PReLU extends Layer<PReLUOptions & { alphaInitializer: InitializerLike }> {
  static override className = 'PReLU';
  override supportsMasking = true;
  alpha!: Variable;
  constructor(options?: PReLUOptions) {
    super(withDefaults(options, { alphaInitializer: 'zeros' }));
  }
  override build(inputShape: PartialShape): void {
    const shape = singleShape(this, inputShape);
    const { sharedAxes, alphaInitializer, alphaRegularizer, alphaConstraint } = this.options;
    const shared = [sharedAxes ?? []].flat();
    if (shared.some((a) => !Number.isInteger(a) || a < 1 || a >= shape.length))
      throw new ConfigError(`${this.label}: sharedAxes [${shared}]. Expected axes in [1, ${shape.length - 1}].`);
    const extents = shape.slice(1).map((_, i) => (shared.includes(i + 1) ? 1 : knownExtent(this, shape, i + 1)));
    this.alpha = this.addWeight({
      name: 'alpha',
      shape: extents,
      initializer: alphaInitializer,
      regularizer: alphaRegularizer,
      constraint: alphaConstraint,
    });
    this.inputSpec = { rank: shape.length };
    super.build(shape);
  }
  override call(x: Tensor): Tensor {
    return where(x.greater(0), x, x.mul(this.alpha));
  }
}

export interface ELUOptions extends LayerOptions {
  alpha?: number;
}
/** x for x > 0, else alpha·(eˣ − 1). */
export class ELU extends Layer<ELUOptions & { alpha: number }> {
  static override className = 'ELU';
  override supportsMasking = true;
  constructor(options?: ELUOptions) {
    super(withDefaults(options, { alpha: 1 }));
  }
  override call(x: Tensor): Tensor {
    return elu(x, this.options.alpha);
  }
}

export interface SoftmaxOptions extends LayerOptions {
  axis?: number | readonly number[];
}
/** eˣ / Σ eˣ along `axis`; masked positions get (almost) nothing. */
export class Softmax extends Layer<SoftmaxOptions & { axis: number | readonly number[] }> {
  static override className = 'Softmax';
  override supportsMasking = true;
  constructor(options?: SoftmaxOptions) {
    super(withDefaults(options, { axis: -1 as number | readonly number[] }));
  }
  override build(inputShape: PartialShape): void {
    for (const axis of [this.options.axis].flat()) normalizeAxis(axis, inputShape.length, this.label);
    super.build(inputShape);
  }
  override call(x: Tensor, { mask }: CallContext): Tensor {
    const hidden = mask
      ? x.add(
          mask
            .logicalNot()
            .cast(x.dtype)
            .mul(x.dtype === 'f16' ? -3e4 : -1e9),
        )
      : x;
    // By the named function where that is what it is, so that losses find the logits.
    return this.options.axis === -1 ? activations.softmax(hidden) : softmax(hidden, this.options.axis);
  }
}
