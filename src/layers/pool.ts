/** @file Pooling of 1 to 3 spatial axes, channels last: largest or mean of windows, or of everything. */
import { ConfigError, ShapeError } from '../base/errors.js';
import { showShape } from '../base/shape.js';
import { averagePool, maxPool, type Tensor } from '../tensor/index.js';
import type { Extents } from './conv.js';
import { type CallContext, Layer, type LayerOptions, type PartialShape } from './layer.js';
import { oneOf, perAxis, requireRank, singleShape, withDefaults } from './options.js';

export interface PoolingOptions extends LayerOptions {
  /** Default 2. */
  poolSize?: Extents;
  /** Default: the pool size. */
  strides?: Extents | null;
  padding?: 'valid' | 'same';
  dataFormat?: 'channelsLast';
}
const axesNames = ['', '[batch, steps, channels]', '[batch, height, width, channels]', '[batch, depth, height, width, channels]'];
const defaults = { poolSize: 2 as Extents, padding: 'valid' as const };

function requireChannelsLast(layer: { label: string }, format: string | undefined): void {
  if (format !== undefined && format !== 'channelsLast' && format !== 'channels_last')
    throw new ConfigError(
      `${layer.label}: dataFormat is "${format}". Expected 'channelsLast'. Transpose the data to [n, ...spatial, channels].`,
    );
}

abstract class Pooling extends Layer<PoolingOptions> {
  readonly rank: number;
  readonly poolSize: readonly number[];
  readonly strides: readonly number[];
  readonly padding: 'valid' | 'same';
  constructor(rank: number, options: PoolingOptions | undefined) {
    const full = withDefaults(options, defaults);
    super(full);
    this.rank = rank;
    this.poolSize = perAxis(this, 'poolSize', full.poolSize, rank);
    this.strides = perAxis(this, 'strides', full.strides ?? full.poolSize, rank);
    this.padding = oneOf(this, 'padding', full.padding, ['valid', 'same']);
    requireChannelsLast(this, full.dataFormat);
  }
  override build(inputShape: PartialShape): void {
    requireRank(this, singleShape(this, inputShape), this.rank + 2, axesNames[this.rank]);
    this.inputSpec = { rank: this.rank + 2 };
    super.build(inputShape);
  }
  protected abstract pool(x: Tensor, size: readonly number[], options: { strides: readonly number[]; padding: 'valid' | 'same' }): Tensor;
  override call(x: Tensor): Tensor {
    const { poolSize, strides, padding } = this;
    if (padding === 'valid' && x.shape.slice(1, -1).some((d, i) => d < poolSize[i]))
      throw new ShapeError(
        `${this.label}: window ${poolSize.join('×')} does not fit input ${showShape(x.shape)}. Expected spatial extents ≥ ${poolSize.join(', ')} with padding "valid". Use padding: "same" or a smaller poolSize.`,
      );
    return this.pool(x, poolSize, { strides, padding });
  }
}
abstract class MaxPooling extends Pooling {
  protected pool(x: Tensor, size: readonly number[], options: { strides: readonly number[]; padding: 'valid' | 'same' }): Tensor {
    return maxPool(x, size, options);
  }
}
/** Means leave the padding out, as Keras on TensorFlow does. */
abstract class AveragePooling extends Pooling {
  protected pool(x: Tensor, size: readonly number[], options: { strides: readonly number[]; padding: 'valid' | 'same' }): Tensor {
    return averagePool(x, size, options);
  }
}
/** Largest of each window: [n, steps, c] → [n, steps', c]. */
export class MaxPooling1D extends MaxPooling {
  static override className = 'MaxPooling1D';
  constructor(options?: PoolingOptions) {
    super(1, options);
  }
}
/** Largest of each window: [n, h, w, c] → [n, h', w', c]. */
export class MaxPooling2D extends MaxPooling {
  static override className = 'MaxPooling2D';
  constructor(options?: PoolingOptions) {
    super(2, options);
  }
}
export class MaxPooling3D extends MaxPooling {
  static override className = 'MaxPooling3D';
  constructor(options?: PoolingOptions) {
    super(3, options);
  }
}
/** Mean of each window: [n, steps, c] → [n, steps', c]. */
export class AveragePooling1D extends AveragePooling {
  static override className = 'AveragePooling1D';
  constructor(options?: PoolingOptions) {
    super(1, options);
  }
}
/** Mean of each window: [n, h, w, c] → [n, h', w', c]. */
export class AveragePooling2D extends AveragePooling {
  static override className = 'AveragePooling2D';
  constructor(options?: PoolingOptions) {
    super(2, options);
  }
}
export class AveragePooling3D extends AveragePooling {
  static override className = 'AveragePooling3D';
  constructor(options?: PoolingOptions) {
    super(3, options);
  }
}

export interface GlobalPoolingOptions extends LayerOptions {
  /** Keeps the pooled axes with extent 1. */
  keepDims?: boolean;
  dataFormat?: 'channelsLast';
}
abstract class GlobalPooling extends Layer<GlobalPoolingOptions & { keepDims: boolean }> {
  readonly rank: number;
  constructor(rank: number, options: GlobalPoolingOptions | undefined) {
    super(withDefaults(options, { keepDims: false }));
    this.rank = rank;
    requireChannelsLast(this, this.options.dataFormat);
  }
  override build(inputShape: PartialShape): void {
    requireRank(this, singleShape(this, inputShape), this.rank + 2, axesNames[this.rank]);
    this.inputSpec = { rank: this.rank + 2 };
    super.build(inputShape);
  }
  protected get axes(): number[] {
    return Array.from({ length: this.rank }, (_, i) => i + 1);
  }
}
abstract class GlobalMaxPooling extends GlobalPooling {
  override call(x: Tensor): Tensor {
    return x.max(this.axes, this.options.keepDims);
  }
}
abstract class GlobalAveragePooling extends GlobalPooling {
  override call(x: Tensor, context: CallContext): Tensor {
    const { keepDims } = this.options;
    if (!context.mask || this.rank !== 1) return x.mean(this.axes, keepDims);
    const weights = context.mask.cast(x.dtype).expandDims(-1);
    return x.mul(weights).sum(this.axes, keepDims).div(weights.sum(this.axes, keepDims));
  }
}
/** Largest over time: [n, steps, c] → [n, c]. */
export class GlobalMaxPooling1D extends GlobalMaxPooling {
  static override className = 'GlobalMaxPooling1D';
  constructor(options?: GlobalPoolingOptions) {
    super(1, options);
  }
}
/** Largest of each channel: [n, h, w, c] → [n, c]. */
export class GlobalMaxPooling2D extends GlobalMaxPooling {
  static override className = 'GlobalMaxPooling2D';
  constructor(options?: GlobalPoolingOptions) {
    super(2, options);
  }
}
/** Mean over time, masked steps left out: [n, steps, c] → [n, c]. */
export class GlobalAveragePooling1D extends GlobalAveragePooling {
  static override className = 'GlobalAveragePooling1D';
  constructor(options?: GlobalPoolingOptions) {
    super(1, options);
  }
}
/** Mean of each channel: [n, h, w, c] → [n, c]. */
export class GlobalAveragePooling2D extends GlobalAveragePooling {
  static override className = 'GlobalAveragePooling2D';
  constructor(options?: GlobalPoolingOptions) {
    super(2, options);
  }
}
