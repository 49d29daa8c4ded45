/**
 * @file Initializers, with Keras's names, defaults and fans. Random ones draw from one seed a weight: reproducible from
 * setRandomSeed and the order in which weights are made, on every device.
 */
import type { DType } from '../base/dtype.js';
import { ConfigError, ShapeError } from '../base/errors.js';
import { philox4x32 } from '../base/philox.js';
import { type Shape, sameShape, showShape, size } from '../base/shape.js';
import { eye, fromHost, full, globalRandomState, type Tensor, type TensorLike, toTensor } from '../tensor/index.js';
import * as random from '../tensor/random.js';
import {
  type Config,
  type Configurable,
  deserialize,
  findClass,
  isSerialized,
  type Json,
  registerBuiltins,
  type Serialized,
  serializeValue,
} from './registry.js';

/** Makes the first value of a weight. */
export abstract class Initializer implements Configurable {
  static className = 'Initializer';
  abstract call(shape: Shape, dtype: DType): Tensor;
  getConfig(): Config {
    return {};
  }
}
/** A name in Keras's or camelCase spelling, an object, a saved config, a function of the shape, or the values themselves. */
export type InitializerLike = string | Initializer | Serialized | ((shape: Shape, dtype: DType) => TensorLike) | TensorLike;

export class Zeros extends Initializer {
  static override className = 'Zeros';
  call(shape: Shape, dtype: DType): Tensor {
    return full(shape, 0, dtype);
  }
}
export class Ones extends Initializer {
  static override className = 'Ones';
  call(shape: Shape, dtype: DType): Tensor {
    return full(shape, 1, dtype);
  }
}
export class Constant extends Initializer {
  static override className = 'Constant';
  readonly value: number;
  constructor(options: { value?: number } | number = {}) {
    super();
    this.value = typeof options === 'number' ? options : (options.value ?? 0);
  }
  call(shape: Shape, dtype: DType): Tensor {
    return full(shape, this.value, dtype);
  }
  override getConfig(): Config {
    return { value: this.value };
  }
}
/** The values given: they must have the weight's shape. */
export class Values extends Initializer {
  static override className = 'Values';
  readonly values: TensorLike;
  constructor(options: { values: TensorLike }) {
    super();
    this.values = options.values;
  }
  call(shape: Shape, dtype: DType): Tensor {
    let given = toTensor(this.values, dtype);
    if (ArrayBuffer.isView(this.values) && given.size === size(shape)) given = fromHost(this.values, shape, dtype);
    if (!sameShape(given.shape, shape))
      throw new ShapeError(
        `initializer: the given values have shape ${showShape(given.shape)}. Expected ${showShape(shape)}. Reshape them.`,
      );
    return given;
  }
  override getConfig(): Config {
    return { values: serializeValue(toTensor(this.values), 'initializer') };
  }
}
/** The identity matrix times `gain`. */
export class Identity extends Initializer {
  static override className = 'IdentityInitializer';
  readonly gain: number;
  constructor(options: { gain?: number } = {}) {
    super();
    this.gain = options.gain ?? 1;
  }
  call(shape: Shape, dtype: DType): Tensor {
    if (shape.length !== 2)
      throw new ShapeError(`Identity initializer: shape ${showShape(shape)}. Expected a matrix. Use another initializer for this weight.`);
    return eye(shape[0], shape[1], 0, dtype).mul(this.gain);
  }
  override getConfig(): Config {
    return { gain: this.gain };
  }
}

/** Base of the random ones: a given seed makes the same values every time. */
abstract class Seeded extends Initializer {
  readonly seed: number | null;
  constructor(seed: number | null | undefined) {
    super();
    this.seed = seed ?? null;
  }
  protected nextSeed(): number {
    return this.seed ?? globalRandomState().nextSeed();
  }
}
type SeedOption = { seed?: number | null };

export class RandomUniform extends Seeded {
  static override className = 'RandomUniform';
  readonly minval: number;
  readonly maxval: number;
  constructor(options: SeedOption & { minval?: number; maxval?: number } = {}) {
    super(options.seed);
    this.minval = options.minval ?? -0.05;
    this.maxval = options.maxval ?? 0.05;
  }
  call(shape: Shape, dtype: DType): Tensor {
    return random.uniform(shape, this.minval, this.maxval, { seed: this.nextSeed(), dtype });
  }
  override getConfig(): Config {
    return { minval: this.minval, maxval: this.maxval, seed: this.seed };
  }
}
export class RandomNormal extends Seeded {
  static override className = 'RandomNormal';
  readonly mean: number;
  readonly stddev: number;
  constructor(options: SeedOption & { mean?: number; stddev?: number } = {}) {
    super(options.seed);
    this.mean = options.mean ?? 0;
    this.stddev = options.stddev ?? 0.05;
  }
  call(shape: Shape, dtype: DType): Tensor {
    return random.normal(shape, this.mean, this.stddev, { seed: this.nextSeed(), dtype });
  }
  override getConfig(): Config {
    return { mean: this.mean, stddev: this.stddev, seed: this.seed };
  }
}
export class TruncatedNormal extends RandomNormal {
  static override className = 'TruncatedNormal';
  override call(shape: Shape, dtype: DType): Tensor {
    return random.truncatedNormal(shape, this.mean, this.stddev, { seed: this.nextSeed(), dtype });
  }
}

/** [fan in, fan out] of a weight, as Keras counts them. */
export function computeFans(shape: Shape): [number, number] {
  if (shape.length === 0) return [1, 1];
  if (shape.length === 1) return [shape[0], shape[0]];
  const window = size(shape.slice(0, -2));
  const [a, b] = shape.slice(-2);
  return [a * window, b * window];
}

export interface VarianceScalingOptions extends SeedOption {
  scale?: number;
  mode?: 'fanIn' | 'fanOut' | 'fanAvg';
  distribution?: 'truncatedNormal' | 'untruncatedNormal' | 'uniform';
}
/** Variance scale / fan. */
export class VarianceScaling extends Seeded {
  static override className = 'VarianceScaling';
  readonly scale: number;
  readonly mode: 'fanIn' | 'fanOut' | 'fanAvg';
  readonly distribution: 'truncatedNormal' | 'untruncatedNormal' | 'uniform';
  constructor(options: VarianceScalingOptions = {}) {
    super(options.seed);
    this.scale = options.scale ?? 1;
    this.mode = options.mode ?? 'fanIn';
    this.distribution = options.distribution ?? 'truncatedNormal';
    if (!(this.scale > 0)) throw new ConfigError(`VarianceScaling: scale ${this.scale}. Expected a number > 0.`);
    if (!['fanIn', 'fanOut', 'fanAvg'].includes(this.mode))
      throw new ConfigError(`VarianceScaling: mode "${this.mode}". Expected fanIn, fanOut or fanAvg.`);
    if (!['truncatedNormal', 'untruncatedNormal', 'uniform'].includes(this.distribution))
      throw new ConfigError(
        `VarianceScaling: distribution "${this.distribution}". Expected truncatedNormal, untruncatedNormal or uniform.`,
      );
  }
  call(shape: Shape, dtype: DType): Tensor {
    const [fanIn, fanOut] = computeFans(shape);
    const fan = this.mode === 'fanIn' ? fanIn : this.mode === 'fanOut' ? fanOut : (fanIn + fanOut) / 2;
    const variance = this.scale / Math.max(1, fan);
    const options = { seed: this.nextSeed(), dtype };
    if (this.distribution === 'uniform') {
      const limit = Math.sqrt(3 * variance);
      return random.uniform(shape, -limit, limit, options);
    }
    if (this.distribution === 'untruncatedNormal') return random.normal(shape, 0, Math.sqrt(variance), options);
    // The standard deviation of a standard normal cut off at two.
    return random.truncatedNormal(shape, 0, Math.sqrt(variance) / 0.87962566103423978, options);
  }
  override getConfig(): Config {
    return { scale: this.scale, mode: this.mode, distribution: this.distribution, seed: this.seed };
  }
}
const scaling = (className: string, preset: Omit<VarianceScalingOptions, 'seed'>): (new (options?: SeedOption) => VarianceScaling) =>
  class extends VarianceScaling {
    static override className = className;
    constructor(options: SeedOption = {}) {
      super({ ...preset, seed: options.seed });
    }
    override getConfig(): Config {
      return { seed: this.seed };
    }
  };
/** Glorot & Bengio 2010. */
export const GlorotUniform = scaling('GlorotUniform', { scale: 1, mode: 'fanAvg', distribution: 'uniform' });
export const GlorotNormal = scaling('GlorotNormal', { scale: 1, mode: 'fanAvg', distribution: 'truncatedNormal' });
/** He et al. 2015. */
export const HeUniform = scaling('HeUniform', { scale: 2, mode: 'fanIn', distribution: 'uniform' });
export const HeNormal = scaling('HeNormal', { scale: 2, mode: 'fanIn', distribution: 'truncatedNormal' });
/** LeCun et al. 1998. */
export const LecunUniform = scaling('LecunUniform', { scale: 1, mode: 'fanIn', distribution: 'uniform' });
export const LecunNormal = scaling('LecunNormal', { scale: 1, mode: 'fanIn', distribution: 'truncatedNormal' });

/** Standard normal numbers on the host (Box–Muller over Philox). */
function hostNormals(count: number, seed: number): Float64Array {
  const out = new Float64Array(count);
  for (let i = 0; i < count; i += 2) {
    const [a, b] = philox4x32(i >>> 1, 1, 0, 0, seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0);
    const radius = Math.sqrt(-2 * Math.log((a + 1) / 2 ** 32));
    const angle = (2 * Math.PI * b) / 2 ** 32;
    out[i] = radius * Math.cos(angle);
    if (i + 1 < count) out[i + 1] = radius * Math.sin(angle);
  }
  return out;
}
/** Orthonormal rows or columns (whichever are fewer) times `gain`, by QR of a normal matrix (Saxe et al. 2014). */
export class Orthogonal extends Seeded {
  static override className = 'Orthogonal';
  readonly gain: number;
  constructor(options: SeedOption & { gain?: number } = {}) {
    super(options.seed);
    this.gain = options.gain ?? 1;
  }
  call(shape: Shape, dtype: DType): Tensor {
    if (shape.length < 2)
      throw new ShapeError(`Orthogonal initializer: shape ${showShape(shape)}. Expected at least two axes. Use another initializer.`);
    const columns = shape[shape.length - 1];
    const rows = size(shape) / Math.max(1, columns);
    const [count, length] = [Math.min(rows, columns), Math.max(rows, columns)];
    const q = hostNormals(count * length, this.nextSeed());
    // Gram–Schmidt, twice for accuracy; R's diagonal is positive, which makes the result uniform over rotations.
    for (let i = 0; i < count; i++) {
      const row = q.subarray(i * length, (i + 1) * length);
      for (let pass = 0; pass < 2; pass++)
        for (let j = 0; j < i; j++) {
          const other = q.subarray(j * length, (j + 1) * length);
          let dot = 0;
          for (let k = 0; k < length; k++) dot += row[k] * other[k];
          for (let k = 0; k < length; k++) row[k] -= dot * other[k];
        }
      const norm = Math.hypot(...(length < 1e4 ? row : [Math.sqrt(row.reduce((s, v) => s + v * v, 0))]));
      for (let k = 0; k < length; k++) row[k] /= norm;
    }
    const values = new Float32Array(rows * columns);
    for (let r = 0; r < rows; r++)
      for (let c = 0; c < columns; c++) values[r * columns + c] = this.gain * (rows <= columns ? q[r * length + c] : q[c * length + r]);
    return fromHost(values, shape).cast(dtype);
  }
  override getConfig(): Config {
    return { gain: this.gain, seed: this.seed };
  }
}

/** A function of yours as an initializer; saved only when registered. */
class FunctionInitializer extends Initializer {
  static override className = 'FunctionInitializer';
  readonly fn: (shape: Shape, dtype: DType) => TensorLike;
  constructor(fn: (shape: Shape, dtype: DType) => TensorLike) {
    super();
    this.fn = fn;
  }
  call(shape: Shape, dtype: DType): Tensor {
    return toTensor(this.fn(shape, dtype), dtype);
  }
  override getConfig(): Config {
    return { fn: serializeValue(this.fn, 'initializer') as Json };
  }
}

const builtins = [Zeros, Ones, Constant, Values, Identity, RandomUniform, RandomNormal, TruncatedNormal, VarianceScaling, Orthogonal];
const scaled = [GlorotUniform, GlorotNormal, HeUniform, HeNormal, LecunUniform, LecunNormal];
registerBuiltins([...builtins, ...scaled]);
const aliases: Record<string, string> = {
  normal: 'RandomNormal',
  uniform: 'RandomUniform',
  one: 'Ones',
  zero: 'Zeros',
  eye: 'IdentityInitializer',
  identity: 'IdentityInitializer',
  Identity: 'IdentityInitializer',
};

/** The initializer that `id` names or is. Throws ConfigError for an unknown name. */
export function getInitializer(id: InitializerLike): Initializer {
  if (id instanceof Initializer) return id;
  if (typeof id === 'string') {
    const cls = findClass(aliases[id] ?? id);
    const made = cls && cls.prototype instanceof Initializer ? new (cls as unknown as new () => Initializer)() : null;
    if (!made)
      throw new ConfigError(
        `initializer: "${id}" is not known. Expected one of ${[...builtins, ...scaled].map((c) => (c as { className?: string }).className).join(', ')}.`,
      );
    return made;
  }
  if (isSerialized(id)) {
    const made = deserialize(id, 'initializer');
    if (made instanceof Initializer) return made;
    throw new ConfigError(`initializer: "${id.className}" is not an initializer. Expected one such as GlorotUniform.`);
  }
  if (typeof id === 'function') return new FunctionInitializer(id);
  return new Values({ values: id });
}
/** Factories as in tfjs: `initializers.heNormal()`. */
export const initializers = {
  zeros: (): Initializer => new Zeros(),
  ones: (): Initializer => new Ones(),
  constant: (options: { value?: number } | number): Initializer => new Constant(options),
  values: (values: TensorLike): Initializer => new Values({ values }),
  identity: (options?: { gain?: number }): Initializer => new Identity(options),
  randomUniform: (options?: SeedOption & { minval?: number; maxval?: number }): Initializer => new RandomUniform(options),
  randomNormal: (options?: SeedOption & { mean?: number; stddev?: number }): Initializer => new RandomNormal(options),
  truncatedNormal: (options?: SeedOption & { mean?: number; stddev?: number }): Initializer => new TruncatedNormal(options),
  varianceScaling: (options?: VarianceScalingOptions): Initializer => new VarianceScaling(options),
  orthogonal: (options?: SeedOption & { gain?: number }): Initializer => new Orthogonal(options),
  glorotUniform: (options?: SeedOption): Initializer => new GlorotUniform(options),
  glorotNormal: (options?: SeedOption): Initializer => new GlorotNormal(options),
  heUniform: (options?: SeedOption): Initializer => new HeUniform(options),
  heNormal: (options?: SeedOption): Initializer => new HeNormal(options),
  lecunUniform: (options?: SeedOption): Initializer => new LecunUniform(options),
  lecunNormal: (options?: SeedOption): Initializer => new LecunNormal(options),
};
