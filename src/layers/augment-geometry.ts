/**
 * @file Random flips, shifts and crops of pictures [n, h, w, c], drawn for each picture, in training only. Outside of it
 * flips and shifts hand their input on and a crop takes the middle.
 */
import { isFloat } from '../base/dtype.js';
import { ConfigError, quote } from '../base/errors.js';
import { arange, RandomState, type Tensor, where } from '../tensor/index.js';
import * as random from '../tensor/random.js';
import { type CallContext, Layer, type LayerOptions } from './layer.js';
import { inRange, oneOf, requireRank, wholeNumber, withDefaults } from './options.js';
import type { CropOptions } from './preprocess.js';
import { centerResize } from './resize.js';

export interface SeedOptions extends LayerOptions {
  /** A stream of its own instead of the global one. */
  seed?: number | null;
}
abstract class Augmentation<O extends SeedOptions> extends Layer<O> {
  /** Undefined: the global state. A property that checkpoints find. */
  readonly random: RandomState | undefined;
  constructor(options: O) {
    super(options);
    this.random = options.seed === undefined || options.seed === null ? undefined : new RandomState(options.seed, this.name);
  }
  /** One number in [low, high) a picture: [n]. */
  protected draw(n: number, low: number, high: number): Tensor {
    return random.uniform([n], low, high, { seed: this.random });
  }
  protected pictures(x: Tensor): Tensor {
    requireRank(this, x.shape, 4, '[batch, height, width, channels]');
    return isFloat(x.dtype) ? x : x.cast('f32');
  }
}

export type FlipMode = 'horizontal' | 'vertical' | 'horizontalAndVertical';
export interface RandomFlipOptions extends SeedOptions {
  mode?: FlipMode | 'horizontal_and_vertical';
}
/** Mirrors every second picture, by chance. */
export class RandomFlip extends Augmentation<RandomFlipOptions & { mode: FlipMode | 'horizontal_and_vertical' }> {
  static override className = 'RandomFlip';
  constructor(options?: RandomFlipOptions | FlipMode) {
    const full: RandomFlipOptions = typeof options === 'string' ? { mode: options } : (options ?? {});
    super(withDefaults(full, { mode: 'horizontalAndVertical' as const }));
    oneOf(this, 'mode', this.options.mode, ['horizontal', 'vertical', 'horizontalAndVertical', 'horizontal_and_vertical']);
  }
  override call(inputs: Tensor, { training }: CallContext): Tensor {
    const x = this.pictures(inputs);
    if (!training) return x;
    const { mode } = this.options;
    const some = (): Tensor => this.draw(x.shape[0], 0, 1).less(0.5).reshape([x.shape[0], 1, 1, 1]);
    const across = mode === 'vertical' ? x : where(some(), x.flip(2), x);
    return mode === 'horizontal' ? across : where(some(), across.flip(1), across);
  }
}

export type FillMode = 'reflect' | 'constant' | 'nearest' | 'wrap';
export interface RandomTranslationOptions extends SeedOptions {
  /** Largest shift as a share of the height, both ways, or [lowest, highest]; positive is down. */
  heightFactor: number | readonly [number, number];
  /** The same across; positive is right. */
  widthFactor: number | readonly [number, number];
  /** What comes in from outside. 'reflect': d c b a | a b c d | d c b a. */
  fillMode?: FillMode;
  interpolation?: 'bilinear' | 'nearest';
  fillValue?: number;
}
const shiftDefaults = { fillMode: 'reflect' as FillMode, interpolation: 'bilinear' as 'bilinear' | 'nearest', fillValue: 0 };

/** Shifts each picture by its own random amount. */
export class RandomTranslation extends Augmentation<RandomTranslationOptions & typeof shiftDefaults> {
  static override className = 'RandomTranslation';
  readonly #height: readonly [number, number];
  readonly #width: readonly [number, number];
  constructor(options: RandomTranslationOptions) {
    super(withDefaults(options, shiftDefaults));
    this.#height = this.#range('heightFactor', options.heightFactor);
    this.#width = this.#range('widthFactor', options.widthFactor);
    oneOf(this, 'fillMode', this.options.fillMode, ['reflect', 'constant', 'nearest', 'wrap']);
    oneOf(this, 'interpolation', this.options.interpolation, ['bilinear', 'nearest']);
  }
  #range(option: string, factor: number | readonly [number, number]): [number, number] {
    const list = typeof factor === 'number' ? [-Math.abs(factor), Math.abs(factor)] : [...(factor ?? [])].sort((a, b) => a - b);
    if (list.length !== 2)
      throw new ConfigError(
        `${this.label}: ${option} is ${factor === undefined ? 'missing' : quote(factor)}. Expected a number or [lowest, highest].`,
      );
    const [low, high] = list;
    return [inRange(this, option, low, -1, 1), inRange(this, option, high, -1, 1)];
  }
  override call(inputs: Tensor, { training }: CallContext): Tensor {
    const x = this.pictures(inputs);
    if (!training) return x;
    const [n, h, w] = x.shape;
    const rows = this.draw(n, ...this.#height).mul(h);
    const columns = this.draw(n, ...this.#width).mul(w);
    return this.#shift(this.#shift(x, 1, rows), 2, columns);
  }
  /** Output i along `axis` is the input at i − shift[sample]. */
  #shift(x: Tensor, axis: 1 | 2, shift: Tensor): Tensor {
    const { interpolation, fillMode, fillValue } = this.options;
    const [n, extent] = [x.shape[0], x.shape[axis]];
    const at = arange(extent)
      .reshape([1, extent])
      .sub(shift.reshape([n, 1]));
    const wide = (t: Tensor): Tensor => t.reshape([n, ...(axis === 1 ? [extent, 1] : [1, extent]), 1]);
    const tap = (position: Tensor): Tensor => {
      const value = takeEach(x, axis, fold(position, extent, fillMode));
      if (fillMode !== 'constant') return value;
      return where(wide(position.greaterEqual(0).logicalAnd(position.less(extent))), value, fillValue);
    };
    if (interpolation === 'nearest') return tap(at.add(0.5).floor().cast('i32'));
    const low = at.floor();
    const share = wide(at.sub(low));
    const first = low.cast('i32');
    const [a, b] = [tap(first), tap(first.add(1))];
    return a.add(b.sub(a).mul(share));
  }
}
/** Any position as one inside [0, extent). */
function fold(position: Tensor, extent: number, mode: FillMode): Tensor {
  if (mode === 'wrap') return position.mod(extent);
  if (mode === 'reflect') {
    const phase = position.mod(2 * extent);
    return phase.minimum(phase.mul(-1).add(2 * extent - 1));
  }
  return position.clip(0, extent - 1);
}
/** x with the slices `indices` [n, k] of each sample along `axis` (1 or 2). */
function takeEach(x: Tensor, axis: 1 | 2, indices: Tensor): Tensor {
  const [n, h, w, c] = x.shape;
  const k = indices.shape[1];
  if (axis === 1) {
    const flat = indices.add(arange(0, n * h, h, 'i32').reshape([n, 1]));
    return x
      .reshape([n * h, w * c])
      .take(flat.reshape([n * k]), 0, { mode: 'clip' })
      .reshape([n, k, w, c]);
  }
  const starts = arange(0, n * h * w, w, 'i32').reshape([n, h, 1]);
  const flat = indices.reshape([n, 1, k]).add(starts);
  return x
    .reshape([n * h * w, c])
    .take(flat.reshape([n * h * k]), 0, { mode: 'clip' })
    .reshape([n, h, k, c]);
}

/**
 * A window of each picture, at its own random place (Keras takes one place for the whole batch). Outside of training,
 * and for pictures that are too small, the largest window of that aspect ratio in the middle, resized.
 */
export class RandomCrop extends Augmentation<CropOptions & SeedOptions> {
  static override className = 'RandomCrop';
  constructor(options: CropOptions & SeedOptions) {
    super(options);
    wholeNumber(this, 'height', options.height);
    wholeNumber(this, 'width', options.width);
  }
  override call(inputs: Tensor, { training }: CallContext): Tensor {
    const x = this.pictures(inputs);
    const { height, width } = this.options;
    const [n, h, w] = x.shape;
    if (h === height && w === width) return x;
    if (!training || h < height || w < width) return centerResize(x, height, width, 'bilinear');
    const starts = (room: number, length: number): Tensor =>
      this.draw(n, 0, room + 1)
        .floor()
        .cast('i32')
        .clip(0, room)
        .reshape([n, 1])
        .add(arange(0, length, 1, 'i32').reshape([1, length]));
    return takeEach(takeEach(x, 1, starts(h - height, height)), 2, starts(w - width, width));
  }
}
