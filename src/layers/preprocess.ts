/** @file Layers that prepare data: rescaling, normalization, resizing, centerCrop. They act in training and outside of it. */
import { isFloat } from '../base/dtype.js';
import { ConfigError, ShapeError } from '../base/errors.js';
import { normalizeAxes, sameShape, showShape } from '../base/shape.js';
import { isTensor, isVariable, sqrt, type Tensor, type TensorLike, tensor, toTensor, type Variable } from '../tensor/index.js';
import { Layer, type LayerOptions, type PartialShape } from './layer.js';
import { knownExtent, oneOf, requireRank, singleShape, wholeNumber, withDefaults } from './options.js';
import { centerResize, type Interpolation, resizeImages } from './resize.js';

export interface RescalingOptions extends LayerOptions {
  scale: number | readonly number[];
  offset?: number | readonly number[];
}
/** x · scale + offset, as floats. Bytes to [0, 1]: scale 1/255. */
export class Rescaling extends Layer<RescalingOptions & { offset: number | readonly number[] }> {
  static override className = 'Rescaling';
  override supportsMasking = true;
  constructor(options: RescalingOptions | number) {
    super(
      withDefaults<RescalingOptions, { offset: number | readonly number[] }>(typeof options === 'number' ? { scale: options } : options, {
        offset: 0,
      }),
    );
    if (this.options.scale === undefined) throw new ConfigError(`${this.label}: scale is missing. Expected a number, such as 1/255.`);
  }
  override call(x: Tensor): Tensor {
    const { scale, offset } = this.options;
    const y = (isFloat(x.dtype) ? x : x.cast('f32')).mul(typeof scale === 'number' ? scale : tensor(scale));
    return offset === 0 ? y : y.add(typeof offset === 'number' ? offset : tensor(offset));
  }
}

/** What `adapt` reads: an array, or batches. A batch may be [x, y], { x, y } or { xs, ys }: then its x counts. */
export type AdaptData = TensorLike | Iterable<unknown> | AsyncIterable<unknown>;

export interface NormalizationOptions extends LayerOptions {
  /** Axes with a mean and variance for each index; null: one of each for everything. Default −1. */
  axis?: number | readonly number[] | null;
  mean?: number | readonly number[] | null;
  variance?: number | readonly number[] | null;
  /** The other way: x · √variance + mean. */
  invert?: boolean;
}
/** (x − mean) / √variance, given or learned by `adapt`. */
export class Normalization extends Layer<NormalizationOptions & { axis: number | readonly number[] | null; invert: boolean }> {
  static override className = 'Normalization';
  override supportsMasking = true;
  mean: Variable | null = null;
  variance: Variable | null = null;
  count: Variable | null = null;
  constructor(options?: NormalizationOptions) {
    super(withDefaults(options, { axis: -1 as number | readonly number[] | null, invert: false }));
    const { mean, variance } = this.options;
    if (((mean ?? null) === null) !== ((variance ?? null) === null))
      throw new ConfigError(
        `${this.label}: ${mean === undefined || mean === null ? 'variance' : 'mean'} alone. Expected mean and variance, or neither. Call adapt(data) to learn them.`,
      );
  }
  #kept(rank: number): number[] {
    const { axis } = this.options;
    return axis === null ? [] : normalizeAxes(axis, rank, this.label);
  }
  override build(inputShape: PartialShape): void {
    const shape = singleShape(this, inputShape);
    const kept = this.#kept(shape.length);
    const extents = kept.map((a) => knownExtent(this, shape, a));
    if (this.options.mean === undefined || this.options.mean === null) {
      this.mean = this.addWeight({ name: 'mean', shape: extents, initializer: 'zeros', trainable: false });
      this.variance = this.addWeight({ name: 'variance', shape: extents, initializer: 'ones', trainable: false });
      this.count = this.addWeight({ name: 'count', shape: [], dtype: 'i32', initializer: 'zeros', trainable: false });
    }
    this.inputSpec = { rank: shape.length, axes: Object.fromEntries(kept.map((a, i) => [a, extents[i]])) };
    super.build(shape);
  }
  override call(x: Tensor): Tensor {
    const floats = isFloat(x.dtype) ? x : x.cast('f32');
    const kept = this.#kept(x.rank);
    const shape = x.shape.map((d, i) => (kept.includes(i) ? d : 1));
    const wide = (learned: Variable | null, given: NormalizationOptions['mean']): Tensor => {
      if (learned) return learned.read().reshape(shape);
      const t = toTensor(given ?? 0);
      // A scalar fits everything; a list is one value for each kept index.
      return t.rank === 0 ? t : t.broadcastTo(kept.map((a) => x.shape[a])).reshape(shape);
    };
    const mean = wide(this.mean, this.options.mean);
    const deviation = sqrt(wide(this.variance, this.options.variance)).maximum(1e-7);
    return this.options.invert ? floats.mul(deviation).add(mean) : floats.sub(mean).div(deviation);
  }
  /** Learns mean and variance from data, in double precision over batches. Throws ConfigError when they were given. */
  async adapt(data: AdaptData): Promise<this> {
    if (this.options.mean !== undefined && this.options.mean !== null)
      throw new ConfigError(`${this.label}: adapt, though mean and variance were given. Expected neither in the options.`);
    let count = 0;
    let mean: Float64Array | null = null;
    let spread = new Float64Array(0);
    for await (const batch of batches(data)) {
      const x = toTensor(batch);
      this.ensureBuilt([x.shape], false);
      const kept = this.#kept(x.rank);
      const reduced = x.shape.map((_, i) => i).filter((i) => !kept.includes(i));
      if (
        this.mean &&
        !sameShape(
          this.mean.shape,
          kept.map((a) => x.shape[a]),
        )
      )
        throw new ShapeError(
          `${this.label}: adapt on data ${showShape(x.shape)}. Expected the extents it was built for, ${showShape(this.mean.shape)}.`,
        );
      const [m, v] = x.cast('f32').moments(reduced);
      const [batchMean, batchVariance] = [await m.data(), await v.data()];
      const n = x.size / Math.max(1, batchMean.length);
      if (n === 0) continue;
      mean ??= new Float64Array(batchMean.length);
      if (spread.length === 0) spread = new Float64Array(batchMean.length);
      // Chan et al. 1979: means and squared deviations of two parts combined.
      for (let i = 0; i < mean.length; i++) {
        const delta = batchMean[i] - mean[i];
        spread[i] += batchVariance[i] * n + (delta * delta * count * n) / (count + n);
        mean[i] += (delta * n) / (count + n);
      }
      count += n;
    }
    if (!mean || !this.mean || !this.variance || !this.count)
      throw new ConfigError(`${this.label}: adapt was given no data. Expected at least one sample.`);
    this.mean.set(Float32Array.from(mean));
    this.variance.set(Float32Array.from(spread, (s) => s / count));
    this.count.set(Int32Array.of(count));
    return this;
  }
}
/** Nested numbers, as opposed to a list of batches. */
const isNumbers = (x: unknown): boolean => typeof x === 'number' || typeof x === 'boolean' || (Array.isArray(x) && isNumbers(x[0] ?? 0));

async function* batches(data: AdaptData): AsyncGenerator<TensorLike> {
  if (isTensor(data) || isVariable(data) || ArrayBuffer.isView(data) || isNumbers(data)) {
    yield data as TensorLike;
    return;
  }
  for await (const batch of data as Iterable<unknown> | AsyncIterable<unknown>) {
    const hasParts = Array.isArray(batch) && batch.some((b) => isTensor(b) || ArrayBuffer.isView(b));
    if (hasParts) yield batch[0];
    else if (typeof batch === 'object' && batch !== null && 'x' in batch) yield batch.x as TensorLike;
    else if (typeof batch === 'object' && batch !== null && 'xs' in batch) yield batch.xs as TensorLike;
    else yield batch as TensorLike;
  }
}

export interface ResizingOptions extends LayerOptions {
  height: number;
  width: number;
  interpolation?: Interpolation;
  /** Cuts the sides off instead of distorting. */
  cropToAspectRatio?: boolean;
}
/** Pictures of another size. */
export class Resizing extends Layer<ResizingOptions & { interpolation: Interpolation; cropToAspectRatio: boolean }> {
  static override className = 'Resizing';
  constructor(options: ResizingOptions) {
    super(withDefaults(options, { interpolation: 'bilinear' as Interpolation, cropToAspectRatio: false }));
    wholeNumber(this, 'height', options.height);
    wholeNumber(this, 'width', options.width);
    oneOf(this, 'interpolation', this.options.interpolation, ['bilinear', 'nearest']);
  }
  override call(x: Tensor): Tensor {
    requireRank(this, x.shape, 4, '[batch, height, width, channels]');
    const { height, width, interpolation, cropToAspectRatio } = this.options;
    return (cropToAspectRatio ? centerResize : resizeImages)(x, height, width, interpolation);
  }
}

export interface CropOptions extends LayerOptions {
  height: number;
  width: number;
}
/** The middle of each picture; smaller ones are enlarged. */
export class CenterCrop extends Layer<CropOptions> {
  static override className = 'CenterCrop';
  constructor(options: CropOptions) {
    super(options);
    wholeNumber(this, 'height', options.height);
    wholeNumber(this, 'width', options.width);
  }
  override call(x: Tensor): Tensor {
    requireRank(this, x.shape, 4, '[batch, height, width, channels]');
    const { height, width } = this.options;
    const [n, h, w, c] = x.shape;
    if (h < height || w < width) return centerResize(x, height, width, 'bilinear');
    return x.slice([0, Math.floor((h - height) / 2), Math.floor((w - width) / 2), 0], [n, height, width, c]);
  }
}
