/** @file Layers that only act in training: dropout and noise. Outside of it they hand their input on. */
import { RandomState, type Tensor, where } from '../tensor/index.js';
import * as random from '../tensor/random.js';
import { type CallContext, Layer, type LayerOptions } from './layer.js';
import { inRange, requireRank } from './options.js';

export interface DropoutOptions extends LayerOptions {
  rate: number;
  /** 1 where the mask is shared; null where it follows the input. */
  noiseShape?: readonly (number | null)[];
  /** A stream of its own instead of the global one. */
  seed?: number;
}

/** Base of the layers with a rate and a random stream. */
abstract class NoiseLayer<O extends LayerOptions & { seed?: number }> extends Layer<O> {
  override supportsMasking = true;
  /** Undefined: the global state, which setRandomSeed starts anew. A property that checkpoints find. */
  readonly random: RandomState | undefined;
  constructor(options: O) {
    super(options);
    this.random = options.seed === undefined || options.seed === null ? undefined : new RandomState(options.seed, this.name);
  }
}

/** Zeroes a share `rate` of the elements and scales the others by 1 / (1 − rate). */
export class Dropout extends NoiseLayer<DropoutOptions> {
  static override className = 'Dropout';
  constructor(options: DropoutOptions | number) {
    super(typeof options === 'number' ? { rate: options } : options);
    inRange(this, 'rate', this.options.rate, 0, 1);
  }
  override call(x: Tensor, { training }: CallContext): Tensor {
    return training ? this.drop(x, this.options.noiseShape) : x;
  }
  protected drop(x: Tensor, noiseShape: readonly (number | null)[] | undefined): Tensor {
    const { rate } = this.options;
    if (rate === 0) return x;
    // A rate of 1 drops everything.
    return rate === 1 ? x.mul(0) : random.dropout(x, rate, { seed: this.random, noiseShape });
  }
}
/** Drops whole channels over time: [n, steps, channels]. */
export class SpatialDropout1D extends Dropout {
  static override className = 'SpatialDropout1D';
  override call(x: Tensor, { training }: CallContext): Tensor {
    requireRank(this, x.shape, 3, '[batch, steps, channels]');
    return training ? this.drop(x, [null, 1, null]) : x;
  }
}
/** Drops whole feature maps: [n, h, w, channels]. */
export class SpatialDropout2D extends Dropout {
  static override className = 'SpatialDropout2D';
  override call(x: Tensor, { training }: CallContext): Tensor {
    requireRank(this, x.shape, 4, '[batch, height, width, channels]');
    return training ? this.drop(x, [null, 1, 1, null]) : x;
  }
}
export interface GaussianNoiseOptions extends LayerOptions {
  stddev: number;
  seed?: number;
}
/** Adds normal noise. */
export class GaussianNoise extends NoiseLayer<GaussianNoiseOptions> {
  static override className = 'GaussianNoise';
  constructor(options: GaussianNoiseOptions | number) {
    super(typeof options === 'number' ? { stddev: options } : options);
    inRange(this, 'stddev', this.options.stddev, 0, Number.POSITIVE_INFINITY);
  }
  override call(x: Tensor, { training }: CallContext): Tensor {
    return training ? x.add(random.normal(x.shape, 0, this.options.stddev, { seed: this.random })) : x;
  }
}
/** Multiplies by normal noise around 1 with standard deviation √(rate / (1 − rate)). */
export class GaussianDropout extends NoiseLayer<{ rate: number } & LayerOptions & { seed?: number }> {
  static override className = 'GaussianDropout';
  constructor(options: { rate: number; seed?: number } & LayerOptions) {
    super(options);
    inRange(this, 'rate', options.rate, 0, 1, true);
  }
  override call(x: Tensor, { training }: CallContext): Tensor {
    const { rate } = this.options;
    if (!training || rate === 0) return x;
    return x.mul(random.normal(x.shape, 1, Math.sqrt(rate / (1 - rate)), { seed: this.random }));
  }
}
/** Dropout that keeps mean and variance of what SELU gives (Klambauer et al. 2017). */
export class AlphaDropout extends NoiseLayer<DropoutOptions> {
  static override className = 'AlphaDropout';
  constructor(options: DropoutOptions | number) {
    super(typeof options === 'number' ? { rate: options } : options);
    inRange(this, 'rate', this.options.rate, 0, 1, true);
  }
  override call(x: Tensor, { training }: CallContext): Tensor {
    const { rate, noiseShape } = this.options;
    if (!training || rate === 0) return x;
    const shape = noiseShape ? noiseShape.map((d, i) => d ?? x.shape[i]) : x.shape;
    const kept = random.uniform(shape, 0, 1, { seed: this.random }).greaterEqual(rate);
    // What SELU tends to for very negative inputs: −alpha · scale.
    const floor = -1.7580993408473766;
    const a = 1 / Math.sqrt((1 - rate) * (1 + rate * floor * floor));
    return where(kept, x, floor)
      .mul(a)
      .add(-a * floor * rate);
  }
}
/** Adds a penalty of its input to the loss: l1·Σ|x| + l2·Σx². */
export class ActivityRegularization extends Layer<LayerOptions & { l1?: number; l2?: number }> {
  static override className = 'ActivityRegularization';
  override supportsMasking = true;
  constructor(options: LayerOptions & { l1?: number; l2?: number } = {}) {
    super(options);
    inRange(this, 'l1', options.l1 ?? 0, 0, Number.POSITIVE_INFINITY);
    inRange(this, 'l2', options.l2 ?? 0, 0, Number.POSITIVE_INFINITY);
  }
  override call(x: Tensor): Tensor {
    const { l1 = 0, l2 = 0 } = this.options;
    if (l1 > 0) this.addLoss(x.abs().sum().mul(l1));
    if (l2 > 0) this.addLoss(x.square().sum().mul(l2));
    return x;
  }
}
