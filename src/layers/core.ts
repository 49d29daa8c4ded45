/** @file Layers of every model: dense, linear, einsumDense, embedding, activation, identity, lambda, masking. */
import { isFloat } from '../base/dtype.js';
import { ConfigError, ShapeError } from '../base/errors.js';
import { showShape } from '../base/shape.js';
import { einsum, type Tensor, type Variable } from '../tensor/index.js';
import { type Activation, type ActivationLike, activationName, getActivation } from './activations.js';
import type { ConstraintLike } from './constraints.js';
import type { InitializerLike } from './initializers.js';
import { type CallContext, Layer, type LayerOptions, type PartialShape } from './layer.js';
import { knownExtent, singleShape, wholeNumber, withDefaults } from './options.js';
import type { Config } from './registry.js';
import type { RegularizerLike } from './regularizers.js';

/** Options of layers with a kernel and a bias. */
export interface KernelOptions extends LayerOptions {
  activation?: ActivationLike;
  useBias?: boolean;
  kernelInitializer?: InitializerLike;
  biasInitializer?: InitializerLike;
  kernelRegularizer?: RegularizerLike;
  biasRegularizer?: RegularizerLike;
  kernelConstraint?: ConstraintLike;
  biasConstraint?: ConstraintLike;
}
export const kernelDefaults = {
  activation: 'linear',
  useBias: true,
  kernelInitializer: 'glorotUniform',
  biasInitializer: 'zeros',
} as const;
export type WithKernel<O extends KernelOptions> = O & Required<Pick<KernelOptions, 'activation' | 'useBias' | 'biasInitializer'>>;

/** A float weight in the dtype of a float input: 16-bit inputs are computed with as such (sums in f32), whatever the weight is kept in. */
export const likeInput = (weight: Variable, x: Tensor): Tensor => {
  const w = weight.read();
  return w.dtype === x.dtype || !isFloat(w.dtype) || !isFloat(x.dtype) ? w : w.cast(x.dtype);
};

/** Base of the layers that end in `activation(… + bias)`. */
export abstract class KernelLayer<O extends KernelOptions> extends Layer<WithKernel<O>> {
  readonly activation: Activation;
  kernel!: Variable;
  bias: Variable | null = null;

  constructor(options: WithKernel<O>) {
    super(options);
    this.activation = getActivation(options.activation);
  }
  protected addKernel(shape: readonly number[], name = 'kernel'): Variable {
    const { kernelInitializer: initializer, kernelRegularizer: regularizer, kernelConstraint: constraint } = this.options;
    return this.addWeight({ name, shape, initializer, regularizer, constraint });
  }
  protected addBias(shape: readonly number[]): Variable | null {
    if (!this.options.useBias) return null;
    const { biasInitializer: initializer, biasRegularizer: regularizer, biasConstraint: constraint } = this.options;
    return this.addWeight({ name: 'bias', shape, initializer, regularizer, constraint });
  }
  /** What the activation is applied to: where layers around this one add to it. */
  abstract preactivation(x: Tensor): Tensor;
  override call(x: Tensor): Tensor {
    return this.activation(this.preactivation(x));
  }
  protected plusBias(x: Tensor): Tensor {
    return this.bias ? x.add(likeInput(this.bias, x)) : x;
  }
  override getConfig(): Config {
    return { ...super.getConfig(), activation: activationName(this.activation) };
  }
}

export interface DenseOptions extends KernelOptions {
  units: number;
}
/** activation(x · kernel + bias) over the last axis: [..., in] → [..., units]; kernel [in, units]. */
export class Dense extends KernelLayer<DenseOptions> {
  static override className = 'Dense';
  override supportsMasking = true;
  constructor(options: DenseOptions) {
    super(withDefaults(options, kernelDefaults));
    wholeNumber(this, 'units', options.units);
  }
  override build(inputShape: PartialShape): void {
    const shape = singleShape(this, inputShape);
    if (shape.length < 2)
      throw new ShapeError(`${this.label}: input ${showShape(shape)}. Expected [batch, ..., features]. Reshape the data to two axes.`);
    const features = knownExtent(this, shape, -1);
    this.kernel = this.addKernel([features, this.options.units]);
    this.bias = this.addBias([this.options.units]);
    this.inputSpec = { minRank: 2, axes: { [-1]: features } };
    super.build(shape);
  }
  override preactivation(x: Tensor): Tensor {
    return this.plusBias(x.matmul(likeInput(this.kernel, x)));
  }
}

export interface LinearOptions extends KernelOptions {
  units: number;
}
/**
 * PyTorch's Linear: x · weightᵀ + bias over the last axis, [..., in] → [..., units]; weight [units, in], as files of language models hold
 * it, so that one output's weights lie together. Otherwise a Dense.
 */
export class Linear extends KernelLayer<LinearOptions> {
  static override className = 'Linear';
  override supportsMasking = true;
  constructor(options: LinearOptions) {
    super(withDefaults(options, kernelDefaults));
    wholeNumber(this, 'units', options.units);
  }
  override build(inputShape: PartialShape): void {
    const shape = singleShape(this, inputShape);
    const features = knownExtent(this, shape, -1);
    this.kernel = this.addKernel([this.options.units, features], 'weight');
    this.bias = this.addBias([this.options.units]);
    this.inputSpec = { minRank: 2, axes: { [-1]: features } };
    super.build(shape);
  }
  override preactivation(x: Tensor): Tensor {
    return this.plusBias(x.matmul(likeInput(this.kernel, x).transpose()));
  }
}

export interface EinsumDenseOptions extends Omit<KernelOptions, 'useBias'> {
  /** Such as 'abc,cd->abd'; a leading '...' is allowed on the first operand and the result. */
  equation: string;
  /** Without the batch axis; null where it follows the input. */
  outputShape: number | readonly (number | null)[];
  /** Letters of the result that the bias has, such as 'd'. */
  biasAxes?: string | null;
}
/** activation(einsum(equation, x, kernel) + bias). */
export class EinsumDense extends KernelLayer<EinsumDenseOptions & KernelOptions> {
  static override className = 'EinsumDense';
  constructor(options: EinsumDenseOptions) {
    super(withDefaults({ ...options, useBias: options.biasAxes !== undefined && options.biasAxes !== null }, kernelDefaults));
  }
  override build(inputShape: PartialShape): void {
    const shape = singleShape(this, inputShape);
    const match = /^(\.\.\.)?([a-zA-Z]+),([a-zA-Z]+)->(\.\.\.)?([a-zA-Z]+)$/.exec(this.options.equation.replaceAll(' ', ''));
    if (!match) throw new ConfigError(`${this.label}: equation "${this.options.equation}". Expected one like "abc,cd->abd".`);
    const [, dotsIn, x, w, dotsOut, y] = match;
    const given = typeof this.options.outputShape === 'number' ? [this.options.outputShape] : this.options.outputShape;
    const extents = new Map<string, number | null>();
    [...x].forEach((c, i) => void extents.set(c, shape.at(dotsIn ? i - x.length : i) ?? null));
    // outputShape leaves out the batch, so it is aligned to the end of the result.
    [...y].forEach((c, i) => {
      const d = given.at(i - y.length);
      if (i - y.length >= -given.length && typeof d === 'number') extents.set(c, d);
    });
    if (Boolean(dotsIn) !== Boolean(dotsOut) || (!dotsIn && shape.length !== x.length))
      throw new ShapeError(
        `${this.label}: input ${showShape(shape)} does not fit equation "${this.options.equation}". Expected ${x.length} axes.`,
      );
    const extentOf = (c: string): number => {
      const d = extents.get(c);
      if (typeof d !== 'number')
        throw new ShapeError(
          `${this.label}: the extent of "${c}" in "${this.options.equation}" is unknown. Expected it in the input or in outputShape.`,
        );
      return d;
    };
    this.kernel = this.addKernel([...w].map(extentOf));
    const { biasAxes } = this.options;
    if (biasAxes) {
      const first = Math.min(...[...biasAxes].map((c) => y.indexOf(c)));
      if (first < 0) throw new ConfigError(`${this.label}: biasAxes "${biasAxes}" are not in the result "${y}". Expected letters of it.`);
      this.bias = this.addBias([...y.slice(first)].map((c) => (biasAxes.includes(c) ? extentOf(c) : 1)));
    }
    super.build(shape);
  }
  override preactivation(x: Tensor): Tensor {
    return this.plusBias(einsum(this.options.equation, x, this.kernel));
  }
  override getConfig(): Config {
    const { useBias: _, ...config } = super.getConfig();
    return config;
  }
}

export interface EmbeddingOptions extends LayerOptions {
  inputDim: number;
  outputDim: number;
  embeddingsInitializer?: InitializerLike;
  embeddingsRegularizer?: RegularizerLike;
  embeddingsConstraint?: ConstraintLike;
  /** Index 0 is padding: masked in the layers that follow. */
  maskZero?: boolean;
}
/** Rows of a table: indices [...] → [..., outputDim]; embeddings [inputDim, outputDim]. */
export class Embedding extends Layer<EmbeddingOptions & { embeddingsInitializer: InitializerLike; maskZero: boolean }> {
  static override className = 'Embedding';
  embeddings!: Variable;
  constructor(options: EmbeddingOptions) {
    super(withDefaults(options, { embeddingsInitializer: 'uniform', maskZero: false }));
    wholeNumber(this, 'inputDim', options.inputDim);
    wholeNumber(this, 'outputDim', options.outputDim);
  }
  override build(inputShape: PartialShape): void {
    this.embeddings = this.addWeight({
      name: 'embeddings',
      shape: [this.options.inputDim, this.options.outputDim],
      initializer: this.options.embeddingsInitializer,
      regularizer: this.options.embeddingsRegularizer,
      constraint: this.options.embeddingsConstraint,
    });
    super.build(inputShape);
  }
  /** Ids that the table doesn't have give NaN; negative ones count from its end. */
  override call(x: Tensor): Tensor {
    return this.embeddings.read().take(x.cast('i32'), 0);
  }
  override computeMask(x: Tensor): Tensor | null {
    return this.options.maskZero ? x.notEqual(0) : null;
  }
}

export interface ActivationOptions extends LayerOptions {
  activation: ActivationLike;
}
/** An activation function as a layer. */
export class ActivationLayer extends Layer<ActivationOptions> {
  static override className = 'Activation';
  override supportsMasking = true;
  readonly activation: Activation;
  constructor(options: ActivationOptions | ActivationLike) {
    const full = typeof options === 'object' && options !== null ? options : { activation: options };
    super(full);
    this.activation = getActivation(full.activation);
  }
  override call(x: Tensor): Tensor {
    return this.activation(x);
  }
  override getConfig(): Config {
    return { ...super.getConfig(), activation: activationName(this.activation) };
  }
}

/** Its input. */
export class IdentityLayer extends Layer {
  static override className = 'Identity';
  override supportsMasking = true;
  override call(x: Tensor): Tensor {
    return x;
  }
}

/** The start of a Sequential, for those who write it as a layer: `inputLayer({ inputShape: [28, 28, 1] })`. */
export class InputLayer extends IdentityLayer {
  static override className = 'InputLayer';
  constructor(options: LayerOptions) {
    super(options);
    if (!this.givenInputShape)
      throw new ConfigError(`${this.label}: inputShape is missing. Expected the shape of one sample, such as { inputShape: [28, 28, 1] }.`);
  }
}

export interface LambdaOptions extends LayerOptions {
  /** A function of tensors; saved only when `registerFunction` knows it. */
  function: ((x: Tensor, context: CallContext) => Tensor) | string;
}
/** A function as a layer; without weights. */
export class Lambda extends Layer<LambdaOptions> {
  static override className = 'Lambda';
  override supportsMasking = true;
  readonly fn: (x: Tensor, context: CallContext) => Tensor;
  constructor(options: LambdaOptions | LambdaOptions['function']) {
    const full = typeof options === 'object' ? options : { function: options };
    super(full);
    this.fn = typeof full.function === 'function' ? full.function : (getActivation(full.function) as LambdaFunction);
  }
  override call(x: Tensor, context: CallContext): Tensor {
    return this.fn(x, context);
  }
}
type LambdaFunction = (x: Tensor, context: CallContext) => Tensor;

export interface MaskingOptions extends LayerOptions {
  maskValue?: number;
}
/** Masks (and zeroes) the time steps whose features all equal maskValue. */
export class Masking extends Layer<MaskingOptions & { maskValue: number }> {
  static override className = 'Masking';
  constructor(options?: MaskingOptions) {
    super(withDefaults(options, { maskValue: 0 }));
  }
  override call(x: Tensor): Tensor {
    return x.mul(x.notEqual(this.options.maskValue).any(-1, true).cast(x.dtype));
  }
  override computeMask(x: Tensor): Tensor {
    return x.notEqual(this.options.maskValue).any(-1);
  }
}
