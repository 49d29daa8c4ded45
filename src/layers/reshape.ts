/** @file Layers that move elements: flatten, reshape, permute, repeat, pad, crop, enlarge. Pictures are [n, h, w, c]. */
import { ConfigError, quote, ShapeError } from '../base/errors.js';
import { showShape, size } from '../base/shape.js';
import { pad, type Tensor, upSample } from '../tensor/index.js';
import type { Extents } from './conv.js';
import { Layer, type LayerOptions, type PartialShape } from './layer.js';
import { oneOf, perAxis, requireRank, singleShape, wholeNumber, withDefaults } from './options.js';
import { resizeImages } from './resize.js';

/** [n, ...] → [n, the rest]. */
export class Flatten extends Layer {
  static override className = 'Flatten';
  override call(x: Tensor): Tensor {
    if (x.rank < 1) throw new ShapeError(`${this.label}: input ${showShape(x.shape)}. Expected a batch axis.`);
    return x.reshape([x.shape[0], size(x.shape.slice(1))]);
  }
}

export interface ReshapeOptions extends LayerOptions {
  /** Without the batch; one extent may be −1. */
  targetShape: readonly number[];
}
/** [n, ...] → [n, ...targetShape]. */
export class Reshape extends Layer<ReshapeOptions> {
  static override className = 'Reshape';
  constructor(options: ReshapeOptions) {
    super(options);
    const { targetShape } = options;
    if (
      !Array.isArray(targetShape) ||
      targetShape.some((d) => !Number.isInteger(d) || d < -1) ||
      targetShape.filter((d) => d === -1).length > 1
    )
      throw new ConfigError(
        `${this.label}: targetShape is ${targetShape === undefined ? 'missing' : quote(targetShape)}. Expected whole numbers, at most one of them -1.`,
      );
  }
  override call(x: Tensor): Tensor {
    const { targetShape } = this.options;
    const elements = size(x.shape.slice(1));
    const known = size(targetShape.filter((d) => d !== -1));
    if (targetShape.includes(-1) ? known === 0 || elements % known !== 0 : known !== elements)
      throw new ShapeError(
        `${this.label}: ${elements} elements a sample of input ${showShape(x.shape)} do not fill targetShape ${showShape(targetShape)}. Expected a shape of ${elements} elements.`,
      );
    return x.reshape([x.shape[0], ...targetShape.map((d) => (d === -1 ? elements / known : d))]);
  }
}

export interface PermuteOptions extends LayerOptions {
  /** The axes in their new order, counted from 1. */
  dims: readonly number[];
}
/** Reorders the axes after the batch. */
export class Permute extends Layer<PermuteOptions> {
  static override className = 'Permute';
  constructor(options: PermuteOptions) {
    super(options);
    const sorted = [...(options.dims ?? [])].sort((a, b) => a - b);
    if (sorted.length === 0 || sorted.some((d, i) => d !== i + 1))
      throw new ConfigError(
        `${this.label}: dims is ${options.dims === undefined ? 'missing' : quote(options.dims)}. Expected 1 … ${Math.max(1, sorted.length)} in some order.`,
      );
  }
  override build(inputShape: PartialShape): void {
    requireRank(this, singleShape(this, inputShape), this.options.dims.length + 1, 'the batch and one a dim');
    super.build(inputShape);
  }
  override call(x: Tensor): Tensor {
    return x.transpose([0, ...this.options.dims]);
  }
}

export interface RepeatVectorOptions extends LayerOptions {
  n: number;
}
/** [batch, features] → [batch, n, features]. */
export class RepeatVector extends Layer<RepeatVectorOptions> {
  static override className = 'RepeatVector';
  constructor(options: RepeatVectorOptions | number) {
    super(typeof options === 'number' ? { n: options } : options);
    wholeNumber(this, 'n', this.options.n);
  }
  override call(x: Tensor): Tensor {
    requireRank(this, x.shape, 2, '[batch, features]');
    return x.expandDims(1).broadcastTo([x.shape[0], this.options.n, x.shape[1]]);
  }
}

/** [before, after] an axis, from one number, one an axis, or pairs. */
function sides(layer: Layer, option: string, value: unknown, rank: number): (readonly [number, number])[] {
  const isCount = (v: unknown): v is number => typeof v === 'number' && Number.isInteger(v) && v >= 0;
  const isPair = (v: unknown): v is [number, number] => Array.isArray(v) && v.length === 2 && v.every(isCount);
  if (isCount(value)) return Array.from({ length: rank }, () => [value, value] as const);
  // With one axis a pair is its two sides; with two it is one number for each axis, as in Keras.
  if (rank === 1 && isPair(value)) return [value];
  if (Array.isArray(value) && value.length === rank) {
    const list = value.map((v) => (isCount(v) ? ([v, v] as const) : isPair(v) ? v : null));
    if (list.every((v) => v !== null)) return list;
  }
  throw new ConfigError(
    `${layer.label}: ${option} is ${quote(value)}. Expected a number ≥ 0, ${rank === 1 ? '[before, after]' : '[height, width] or [[top, bottom], [left, right]]'}.`,
  );
}
type Sides1D = number | readonly [number, number];
type Sides2D = number | readonly [number, number] | readonly [readonly [number, number], readonly [number, number]];

/** Base of padding and cropping. */
abstract class SidesLayer<O extends LayerOptions> extends Layer<O> {
  readonly rank: number;
  readonly sides: (readonly [number, number])[];
  constructor(rank: number, options: O, option: string, value: unknown) {
    super(options);
    this.rank = rank;
    this.sides = sides(this, option, value, rank);
  }
  override build(inputShape: PartialShape): void {
    requireRank(
      this,
      singleShape(this, inputShape),
      this.rank + 2,
      this.rank === 1 ? '[batch, steps, channels]' : '[batch, height, width, channels]',
    );
    this.inputSpec = { rank: this.rank + 2 };
    super.build(inputShape);
  }
}
abstract class ZeroPadding<O extends LayerOptions> extends SidesLayer<O> {
  override call(x: Tensor): Tensor {
    return pad(x, [[0, 0], ...this.sides, [0, 0]]);
  }
}
export interface ZeroPadding1DOptions extends LayerOptions {
  padding?: Sides1D;
}
/** Zeros before and after the steps. */
export class ZeroPadding1D extends ZeroPadding<ZeroPadding1DOptions> {
  static override className = 'ZeroPadding1D';
  constructor(options?: ZeroPadding1DOptions) {
    const full = withDefaults(options, { padding: 1 as Sides1D });
    super(1, full, 'padding', full.padding);
  }
}
export interface ZeroPadding2DOptions extends LayerOptions {
  padding?: Sides2D;
}
/** Zeros around pictures. */
export class ZeroPadding2D extends ZeroPadding<ZeroPadding2DOptions> {
  static override className = 'ZeroPadding2D';
  constructor(options?: ZeroPadding2DOptions) {
    const full = withDefaults(options, { padding: 1 as Sides2D });
    super(2, full, 'padding', full.padding);
  }
}
abstract class Cropping<O extends LayerOptions> extends SidesLayer<O> {
  override call(x: Tensor): Tensor {
    const extents = x.shape.slice(1, -1).map((d, i) => d - this.sides[i][0] - this.sides[i][1]);
    if (extents.some((d) => d < 1))
      throw new ShapeError(
        `${this.label}: cropping ${quote(this.sides)} leaves nothing of input ${showShape(x.shape)}. Expected less than the extents.`,
      );
    return x.slice([0, ...this.sides.map(([before]) => before), 0], [x.shape[0], ...extents, x.shape[x.rank - 1]]);
  }
}
export interface Cropping1DOptions extends LayerOptions {
  cropping?: Sides1D;
}
/** Leaves out steps at both ends. */
export class Cropping1D extends Cropping<Cropping1DOptions> {
  static override className = 'Cropping1D';
  constructor(options?: Cropping1DOptions) {
    const full = withDefaults(options, { cropping: 1 as Sides1D });
    super(1, full, 'cropping', full.cropping);
  }
}
export interface Cropping2DOptions extends LayerOptions {
  cropping?: Sides2D;
}
/** Leaves out the edges of pictures. */
export class Cropping2D extends Cropping<Cropping2DOptions> {
  static override className = 'Cropping2D';
  constructor(options?: Cropping2DOptions) {
    const full = withDefaults(options, { cropping: 0 as Sides2D });
    super(2, full, 'cropping', full.cropping);
  }
}

export interface UpSampling1DOptions extends LayerOptions {
  size?: number;
}
/** Each step `size` times. */
export class UpSampling1D extends Layer<UpSampling1DOptions & { size: number }> {
  static override className = 'UpSampling1D';
  constructor(options?: UpSampling1DOptions) {
    super(withDefaults(options, { size: 2 }));
    wholeNumber(this, 'size', this.options.size);
  }
  override call(x: Tensor): Tensor {
    requireRank(this, x.shape, 3, '[batch, steps, channels]');
    return upSample(x, [this.options.size]);
  }
}
export interface UpSampling2DOptions extends LayerOptions {
  size?: Extents;
  interpolation?: 'nearest' | 'bilinear';
}
/** Pictures enlarged by whole factors. */
export class UpSampling2D extends Layer<UpSampling2DOptions & { size: Extents; interpolation: 'nearest' | 'bilinear' }> {
  static override className = 'UpSampling2D';
  readonly factors: readonly number[];
  constructor(options?: UpSampling2DOptions) {
    super(withDefaults(options, { size: 2 as Extents, interpolation: 'nearest' as 'nearest' | 'bilinear' }));
    this.factors = perAxis(this, 'size', this.options.size, 2);
    oneOf(this, 'interpolation', this.options.interpolation, ['nearest', 'bilinear']);
  }
  override call(x: Tensor): Tensor {
    requireRank(this, x.shape, 4, '[batch, height, width, channels]');
    if (this.options.interpolation === 'nearest') return upSample(x, this.factors);
    return resizeImages(x, x.shape[1] * this.factors[0], x.shape[2] * this.factors[1], 'bilinear');
  }
}
