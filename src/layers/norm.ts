/** @file Normalizations: batch, layer, group, RMS and unit. Batch statistics are Variables that a training call assigns. */
import { ConfigError, ShapeError } from '../base/errors.js';
import { normalizeAxes, showShape } from '../base/shape.js';
import { batchNormalization, layerNormalization, rmsNormalization, type Tensor, type Variable } from '../tensor/index.js';
import type { ConstraintLike } from './constraints.js';
import type { InitializerLike } from './initializers.js';
import { type CallContext, Layer, type LayerOptions, type PartialShape } from './layer.js';
import { inRange, knownExtent, singleShape, withDefaults } from './options.js';
import type { RegularizerLike } from './regularizers.js';

/** What the layers with gamma and beta share. */
export interface AffineOptions extends LayerOptions {
  epsilon?: number;
  /** Whether there is a beta. */
  center?: boolean;
  /** Whether there is a gamma. */
  scale?: boolean;
  betaInitializer?: InitializerLike;
  gammaInitializer?: InitializerLike;
  betaRegularizer?: RegularizerLike;
  gammaRegularizer?: RegularizerLike;
  betaConstraint?: ConstraintLike;
  gammaConstraint?: ConstraintLike;
}
const affineDefaults = { epsilon: 1e-3, center: true, scale: true, betaInitializer: 'zeros', gammaInitializer: 'ones' };
type Affine<O> = O & Required<Pick<AffineOptions, 'epsilon' | 'center' | 'scale'>>;

abstract class AffineNormalization<O extends AffineOptions> extends Layer<Affine<O>> {
  override supportsMasking = true;
  gamma: Variable | null = null;
  beta: Variable | null = null;
  constructor(options: Affine<O>) {
    super(options);
    inRange(this, 'epsilon', options.epsilon, 0, Number.POSITIVE_INFINITY);
  }
  protected addAffine(shape: readonly number[]): void {
    const o = this.options;
    if (o.scale)
      this.gamma = this.addWeight({
        name: 'gamma',
        shape,
        initializer: o.gammaInitializer,
        regularizer: o.gammaRegularizer,
        constraint: o.gammaConstraint,
      });
    if (o.center)
      this.beta = this.addWeight({
        name: 'beta',
        shape,
        initializer: o.betaInitializer,
        regularizer: o.betaRegularizer,
        constraint: o.betaConstraint,
      });
  }
  /** gamma and beta as the tensor operations take them. */
  protected get affine(): { scale?: Variable; offset?: Variable; epsilon: number } {
    return { scale: this.gamma ?? undefined, offset: this.beta ?? undefined, epsilon: this.options.epsilon };
  }
}

export interface BatchNormalizationOptions extends AffineOptions {
  axis?: number;
  /** Share of the old moving statistics that stays at each step. */
  momentum?: number;
  movingMeanInitializer?: InitializerLike;
  movingVarianceInitializer?: InitializerLike;
}
/**
 * Mean 0 and variance 1 a channel, over the batch in training and by moving statistics otherwise (Ioffe & Szegedy 2015).
 * `trainable = false` means inference mode even in training, as in Keras. The moving variance is of the biased estimate.
 */
export class BatchNormalization extends AffineNormalization<BatchNormalizationOptions & { axis: number; momentum: number }> {
  static override className = 'BatchNormalization';
  movingMean!: Variable;
  movingVariance!: Variable;
  constructor(options?: BatchNormalizationOptions) {
    const own = { axis: -1, momentum: 0.99, movingMeanInitializer: 'zeros', movingVarianceInitializer: 'ones' };
    super(withDefaults(options, { ...own, ...affineDefaults }));
    inRange(this, 'momentum', this.options.momentum, 0, 1);
  }
  override build(inputShape: PartialShape): void {
    const shape = singleShape(this, inputShape);
    const { axis, movingMeanInitializer, movingVarianceInitializer } = this.options;
    normalizeAxes(axis, shape.length, this.label);
    const channels = knownExtent(this, shape, axis);
    this.addAffine([channels]);
    const statistic = { shape: [channels], trainable: false };
    this.movingMean = this.addWeight({ name: 'moving_mean', initializer: movingMeanInitializer, ...statistic });
    this.movingVariance = this.addWeight({ name: 'moving_variance', initializer: movingVarianceInitializer, ...statistic });
    this.inputSpec = { rank: shape.length, axes: { [axis]: channels } };
    super.build(shape);
  }
  override call(x: Tensor, { training, mask }: CallContext): Tensor {
    const { axis, momentum } = this.options;
    if (!training || !this.trainable) return batchNormalization(x, this.movingMean, this.movingVariance, axis, this.affine);
    const floats = x.cast('f32');
    const [mean, variance] = this.#moments(floats, mask ?? null);
    for (const [moving, value] of [
      [this.movingMean, mean],
      [this.movingVariance, variance],
    ] as const)
      moving.assign(
        moving
          .read()
          .mul(momentum)
          .add(value.mul(1 - momentum)),
      );
    return batchNormalization(floats, mean, variance, axis, this.affine);
  }
  /** Over all axes but the channels'; masked steps don't count. */
  #moments(x: Tensor, mask: Tensor | null): [Tensor, Tensor] {
    const [channel] = normalizeAxes(this.options.axis, x.rank, this.label);
    const axes = x.shape.map((_, i) => i).filter((i) => i !== channel);
    if (!mask) return x.moments(axes);
    const spread = mask.cast('f32').reshape([...mask.shape, ...new Array<number>(x.rank - mask.rank).fill(1)]);
    const weights = spread.broadcastTo(x.shape);
    // Keras's guard against a batch in which nothing counts.
    const total = weights.sum(axes, true).maximum(1e-7);
    const mean = x.mul(weights).sum(axes, true).div(total);
    const variance = x.sub(mean).square().mul(weights).sum(axes, true).div(total);
    return [mean.squeeze(axes), variance.squeeze(axes)];
  }
}

/** The extents of `axis` (one or several) of the input, which scale and offset have. */
function normalizedShape(layer: Layer, shape: PartialShape, axis: number | readonly number[]): number[] {
  return normalizeAxes(axis, shape.length, layer.label).map((a) => knownExtent(layer, shape, a));
}

export interface LayerNormalizationOptions extends AffineOptions {
  axis?: number | readonly number[];
}
/** Mean 0 and variance 1 a sample, over `axis` (Ba et al. 2016). */
export class LayerNormalization extends AffineNormalization<LayerNormalizationOptions & { axis: number | readonly number[] }> {
  static override className = 'LayerNormalization';
  constructor(options?: LayerNormalizationOptions) {
    super(withDefaults(options, { axis: -1 as number | readonly number[], ...affineDefaults }));
  }
  override build(inputShape: PartialShape): void {
    const shape = singleShape(this, inputShape);
    this.addAffine(normalizedShape(this, shape, this.options.axis));
    this.inputSpec = { rank: shape.length };
    super.build(shape);
  }
  override call(x: Tensor): Tensor {
    return layerNormalization(x, this.options.axis, this.affine);
  }
}

export interface GroupNormalizationOptions extends AffineOptions {
  /** Default 32; −1: one group a channel (instance normalization). */
  groups?: number;
  axis?: number;
}
/** Mean 0 and variance 1 a sample and group of channels (Wu & He 2018). */
export class GroupNormalization extends AffineNormalization<GroupNormalizationOptions & { groups: number; axis: number }> {
  static override className = 'GroupNormalization';
  constructor(options?: GroupNormalizationOptions) {
    super(withDefaults(options, { groups: 32, axis: -1, ...affineDefaults }));
    const { groups } = this.options;
    if (!Number.isInteger(groups) || (groups < 1 && groups !== -1))
      throw new ConfigError(`${this.label}: groups is ${groups}. Expected a whole number ≥ 1, or -1 for one group a channel.`);
  }
  override build(inputShape: PartialShape): void {
    const shape = singleShape(this, inputShape);
    const { axis } = this.options;
    const [at] = normalizeAxes(axis, shape.length, this.label);
    if (at === 0) throw new ConfigError(`${this.label}: axis ${axis} is the batch. Expected another axis.`);
    const channels = knownExtent(this, shape, axis);
    if (channels % this.#groupsOf(channels))
      throw new ShapeError(
        `${this.label}: ${channels} channels of input ${showShape(shape)} in ${this.options.groups} groups. Expected channels divisible by groups. Set groups to a divisor of ${channels}.`,
      );
    this.addAffine([channels]);
    this.inputSpec = { rank: shape.length, axes: { [axis]: channels } };
    super.build(shape);
  }
  #groupsOf(channels: number): number {
    return this.options.groups === -1 ? channels : this.options.groups;
  }
  override call(x: Tensor): Tensor {
    const [axis] = normalizeAxes(this.options.axis, x.rank, this.label);
    const channels = x.shape[axis];
    const groups = this.#groupsOf(channels);
    const open = x.reshape([...x.shape.slice(0, axis), groups, channels / groups, ...x.shape.slice(axis + 1)]);
    const axes = open.shape.map((_, i) => i).filter((i) => i !== 0 && i !== axis);
    const y = layerNormalization(open, axes, { epsilon: this.options.epsilon }).reshape(x.shape);
    const wide = (v: Variable): Tensor => v.read().reshape(x.shape.map((d, i) => (i === axis ? d : 1)));
    const scaled = this.gamma ? y.mul(wide(this.gamma)) : y;
    return this.beta ? scaled.add(wide(this.beta)) : scaled;
  }
}

export interface RMSNormalizationOptions extends LayerOptions {
  axis?: number | readonly number[];
  epsilon?: number;
}
/** x · rsqrt(mean x² + epsilon) · scale (Zhang & Sennrich 2019). */
export class RMSNormalization extends Layer<RMSNormalizationOptions & { axis: number | readonly number[]; epsilon: number }> {
  static override className = 'RMSNormalization';
  override supportsMasking = true;
  scale!: Variable;
  constructor(options?: RMSNormalizationOptions) {
    super(withDefaults(options, { axis: -1 as number | readonly number[], epsilon: 1e-6 }));
  }
  override build(inputShape: PartialShape): void {
    const shape = singleShape(this, inputShape);
    this.scale = this.addWeight({ name: 'scale', shape: normalizedShape(this, shape, this.options.axis), initializer: 'ones' });
    this.inputSpec = { rank: shape.length };
    super.build(shape);
  }
  override call(x: Tensor): Tensor {
    const { axis, epsilon } = this.options;
    return rmsNormalization(x, axis, { scale: this.scale, epsilon });
  }
}

export interface UnitNormalizationOptions extends LayerOptions {
  axis?: number | readonly number[];
}
/** Euclidean norm 1 along `axis`. */
export class UnitNormalization extends Layer<UnitNormalizationOptions & { axis: number | readonly number[] }> {
  static override className = 'UnitNormalization';
  override supportsMasking = true;
  constructor(options?: UnitNormalizationOptions) {
    super(withDefaults(options, { axis: -1 as number | readonly number[] }));
  }
  override call(x: Tensor): Tensor {
    return x.l2Normalize(this.options.axis);
  }
}
