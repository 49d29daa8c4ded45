/** @file Convolutions of 1 to 3 spatial axes, channels last: plain, transposed, depthwise, separable. Keras's weight layouts. */
import { ConfigError, ShapeError } from '../base/errors.js';
import { showShape } from '../base/shape.js';
import { conv, convTranspose, depthwiseConv, type Tensor, type Variable } from '../tensor/index.js';
import type { ConstraintLike } from './constraints.js';
import { KernelLayer, type KernelOptions, kernelDefaults, type WithKernel } from './core.js';
import type { InitializerLike } from './initializers.js';
import type { PartialShape } from './layer.js';
import { knownExtent, oneOf, perAxis, singleShape, wholeNumber, withDefaults } from './options.js';
import type { RegularizerLike } from './regularizers.js';

/** A number for all spatial axes, or one each. */
export type Extents = number | readonly number[];
export type ConvPadding = 'valid' | 'same' | 'causal';

interface WindowOptions extends KernelOptions {
  kernelSize: Extents;
  strides?: Extents;
  padding?: ConvPadding;
  dilationRate?: Extents;
  dataFormat?: 'channelsLast';
}
export interface ConvOptions extends WindowOptions {
  filters: number;
  groups?: number;
}
const placement = { strides: 1 as Extents, padding: 'valid' as ConvPadding, dilationRate: 1 as Extents };
const windowDefaults = { ...kernelDefaults, ...placement };
/** For layers whose kernels have rules of their own. */
const depthwiseDefaults = {
  ...placement,
  activation: kernelDefaults.activation,
  useBias: true,
  biasInitializer: kernelDefaults.biasInitializer,
  depthMultiplier: 1,
  depthwiseInitializer: 'glorotUniform',
};
const spatialNames = [[], ['steps'], ['height', 'width'], ['depth', 'height', 'width']];

/** "height and width ≥ 5", or "height ≥ 3 and width ≥ 5" where they differ. */
function leastExtents(names: readonly string[], least: readonly number[]): string {
  const isSame = least.every((n) => n === least[0]);
  const parts = isSame ? [...names] : names.map((name, i) => `${name} ≥ ${least[i]}`);
  const last = parts.pop() ?? '';
  return `${parts.length > 0 ? `${parts.join(', ')} and ` : ''}${last}${isSame ? ` ≥ ${least[0]}` : ''}`;
}

/** What all convolutions check and resolve. */
abstract class WindowLayer<O extends WindowOptions> extends KernelLayer<O> {
  readonly rank: number;
  readonly kernelSize: readonly number[];
  readonly strides: readonly number[];
  readonly dilationRate: readonly number[];
  readonly padding: ConvPadding;

  constructor(rank: number, options: WithKernel<O> & Required<Pick<WindowOptions, keyof typeof placement>>) {
    super(options);
    this.rank = rank;
    this.kernelSize = perAxis(this, 'kernelSize', options.kernelSize, rank);
    this.strides = perAxis(this, 'strides', options.strides, rank);
    this.dilationRate = perAxis(this, 'dilationRate', options.dilationRate, rank);
    this.padding = oneOf(this, 'padding', options.padding, rank === 1 ? ['valid', 'same', 'causal'] : ['valid', 'same']);
    const format: string | undefined = options.dataFormat;
    if (format !== undefined && format !== 'channelsLast' && format !== 'channels_last')
      throw new ConfigError(
        `${this.label}: dataFormat is "${format}". Expected 'channelsLast'. Transpose the data to [n, ...spatial, channels].`,
      );
    if (this.strides.some((s) => s > 1) && this.dilationRate.some((d) => d > 1))
      throw new ConfigError(
        `${this.label}: strides [${this.strides}] with dilationRate [${this.dilationRate}]. Expected one of them to be 1. Set the other to 1.`,
      );
  }
  /** The number of channels; checks the number of axes and remembers both. */
  protected channelsOf(inputShape: PartialShape): number {
    const shape = singleShape(this, inputShape);
    if (shape.length !== this.rank + 2)
      throw new ShapeError(
        `${this.label}: input ${showShape(shape)} has ${shape.length} axes. Expected ${this.rank + 2}: [batch, ${spatialNames[this.rank].join(', ')}, channels]. Reshape the data${shape.length === this.rank + 1 ? ' to add the axis of channels' : ''}.`,
      );
    const channels = knownExtent(this, shape, -1);
    this.inputSpec = { rank: this.rank + 2, axes: { [-1]: channels } };
    return channels;
  }
  /** Throws ShapeError when a window without padding doesn't fit the picture. */
  protected requireFit(x: Tensor): void {
    if (this.padding !== 'valid') return;
    const span = this.kernelSize.map((k, i) => (k - 1) * this.dilationRate[i] + 1);
    if (x.shape.slice(1, -1).some((d, i) => d < span[i]))
      throw new ShapeError(
        `${this.label}: kernel ${span.join('×')} does not fit input ${showShape(x.shape)}. Expected ${leastExtents(spatialNames[this.rank], span)} with padding "valid". Use padding: "same".`,
      );
  }
  /** Options of the tensor operation. Causal padding is in front only. */
  get window(): { strides: readonly number[]; dilationRate: readonly number[]; padding: 'valid' | 'same' | [[number, number]] } {
    const { strides, dilationRate, padding } = this;
    if (padding !== 'causal') return { strides, dilationRate, padding };
    return { strides, dilationRate, padding: [[(this.kernelSize[0] - 1) * dilationRate[0], 0]] };
  }
}

abstract class Conv extends WindowLayer<ConvOptions> {
  constructor(rank: number, options: ConvOptions) {
    super(rank, withDefaults(options, { ...windowDefaults, groups: 1 }));
    wholeNumber(this, 'filters', options.filters);
    const groups = wholeNumber(this, 'groups', options.groups ?? 1);
    if (options.filters % groups)
      throw new ConfigError(`${this.label}: ${options.filters} filters in ${groups} groups. Expected filters divisible by groups.`);
  }
  override build(inputShape: PartialShape): void {
    const channels = this.channelsOf(inputShape);
    const groups = this.options.groups ?? 1;
    if (channels % groups)
      throw new ShapeError(
        `${this.label}: ${channels} channels of input ${showShape(inputShape)} in ${groups} groups. Expected channels divisible by groups.`,
      );
    this.kernel = this.addKernel([...this.kernelSize, channels / groups, this.options.filters]);
    this.bias = this.addBias([this.options.filters]);
    super.build(inputShape);
  }
  override preactivation(x: Tensor): Tensor {
    this.requireFit(x);
    return this.plusBias(conv(x, this.kernel, { ...this.window, groups: this.options.groups }));
  }
}
/** Convolution over time: [n, steps, channels] → [n, steps', filters]; kernel [k, channels / groups, filters]. */
export class Conv1D extends Conv {
  static override className = 'Conv1D';
  constructor(options: ConvOptions) {
    super(1, options);
  }
}
/** [n, h, w, channels] → [n, h', w', filters]; kernel [kh, kw, channels / groups, filters]. */
export class Conv2D extends Conv {
  static override className = 'Conv2D';
  constructor(options: ConvOptions) {
    super(2, options);
  }
}
/** [n, d, h, w, channels] → [n, d', h', w', filters]. */
export class Conv3D extends Conv {
  static override className = 'Conv3D';
  constructor(options: ConvOptions) {
    super(3, options);
  }
}

export interface ConvTransposeOptions extends Omit<ConvOptions, 'groups'> {
  padding?: 'valid' | 'same';
  outputPadding?: Extents | null;
}
abstract class ConvTranspose extends WindowLayer<ConvTransposeOptions> {
  constructor(rank: number, options: ConvTransposeOptions) {
    super(rank, withDefaults(options, { ...windowDefaults, padding: 'valid' as 'valid' | 'same' }));
    wholeNumber(this, 'filters', options.filters);
    oneOf(this, 'padding', this.padding, ['valid', 'same']);
    const extra = options.outputPadding;
    if (extra !== undefined && extra !== null && perAxis(this, 'outputPadding', extra, rank, 0).some((p, i) => p >= this.strides[i]))
      throw new ConfigError(`${this.label}: outputPadding [${extra}] with strides [${this.strides}]. Expected less than the stride.`);
  }
  override build(inputShape: PartialShape): void {
    const channels = this.channelsOf(inputShape);
    this.kernel = this.addKernel([...this.kernelSize, this.options.filters, channels]);
    this.bias = this.addBias([this.options.filters]);
    super.build(inputShape);
  }
  override preactivation(x: Tensor): Tensor {
    const { strides, dilationRate, padding } = this;
    const { outputPadding } = this.options;
    return this.plusBias(
      convTranspose(x, this.kernel, { strides, dilationRate, padding: padding === 'same' ? 'same' : 'valid', outputPadding }),
    );
  }
}
/** Transposed convolution over time; kernel [k, filters, channels]. */
export class Conv1DTranspose extends ConvTranspose {
  static override className = 'Conv1DTranspose';
  constructor(options: ConvTransposeOptions) {
    super(1, options);
  }
}
/** Transposed convolution of pictures; kernel [kh, kw, filters, channels]. */
export class Conv2DTranspose extends ConvTranspose {
  static override className = 'Conv2DTranspose';
  constructor(options: ConvTransposeOptions) {
    super(2, options);
  }
}

interface DepthwiseRules {
  depthMultiplier?: number;
  depthwiseInitializer?: InitializerLike;
  depthwiseRegularizer?: RegularizerLike;
  depthwiseConstraint?: ConstraintLike;
}
type WithoutKernelRules = Omit<WindowOptions, 'kernelInitializer' | 'kernelRegularizer' | 'kernelConstraint'>;
export interface DepthwiseConvOptions extends WithoutKernelRules, DepthwiseRules {}

abstract class DepthwiseConv extends WindowLayer<WindowOptions & DepthwiseRules> {
  constructor(rank: number, options: DepthwiseConvOptions) {
    super(rank, withDefaults<WindowOptions & DepthwiseRules, typeof depthwiseDefaults>(options, depthwiseDefaults));
    wholeNumber(this, 'depthMultiplier', options.depthMultiplier ?? 1);
  }
  override build(inputShape: PartialShape): void {
    const channels = this.channelsOf(inputShape);
    const { depthMultiplier = 1, depthwiseInitializer, depthwiseRegularizer, depthwiseConstraint } = this.options;
    this.kernel = this.addWeight({
      name: 'kernel',
      shape: [...this.kernelSize, channels, depthMultiplier],
      initializer: depthwiseInitializer,
      regularizer: depthwiseRegularizer,
      constraint: depthwiseConstraint,
    });
    this.bias = this.addBias([channels * depthMultiplier]);
    super.build(inputShape);
  }
  override preactivation(x: Tensor): Tensor {
    this.requireFit(x);
    return this.plusBias(depthwiseConv(x, this.kernel, this.window));
  }
}
/** Each channel by itself, over time; kernel [k, channels, depthMultiplier]. */
export class DepthwiseConv1D extends DepthwiseConv {
  static override className = 'DepthwiseConv1D';
  constructor(options: DepthwiseConvOptions) {
    super(1, options);
  }
}
/** Each channel by itself; kernel [kh, kw, channels, depthMultiplier]. */
export class DepthwiseConv2D extends DepthwiseConv {
  static override className = 'DepthwiseConv2D';
  constructor(options: DepthwiseConvOptions) {
    super(2, options);
  }
}

export interface SeparableConvOptions extends WithoutKernelRules, DepthwiseRules {
  filters: number;
  pointwiseInitializer?: InitializerLike;
  pointwiseRegularizer?: RegularizerLike;
  pointwiseConstraint?: ConstraintLike;
}
abstract class SeparableConv extends WindowLayer<WindowOptions & SeparableConvOptions> {
  pointwiseKernel!: Variable;
  constructor(rank: number, options: SeparableConvOptions) {
    const full: WindowOptions & SeparableConvOptions = { pointwiseInitializer: 'glorotUniform', ...options };
    super(rank, withDefaults(full, depthwiseDefaults));
    wholeNumber(this, 'filters', options.filters);
    wholeNumber(this, 'depthMultiplier', options.depthMultiplier ?? 1);
  }
  override build(inputShape: PartialShape): void {
    const channels = this.channelsOf(inputShape);
    const { depthMultiplier = 1, filters } = this.options;
    this.kernel = this.addWeight({
      name: 'depthwise_kernel',
      shape: [...this.kernelSize, channels, depthMultiplier],
      initializer: this.options.depthwiseInitializer,
      regularizer: this.options.depthwiseRegularizer,
      constraint: this.options.depthwiseConstraint,
    });
    this.pointwiseKernel = this.addWeight({
      name: 'pointwise_kernel',
      shape: [...this.kernelSize.map(() => 1), channels * depthMultiplier, filters],
      initializer: this.options.pointwiseInitializer,
      regularizer: this.options.pointwiseRegularizer,
      constraint: this.options.pointwiseConstraint,
    });
    this.bias = this.addBias([filters]);
    super.build(inputShape);
  }
  override preactivation(x: Tensor): Tensor {
    this.requireFit(x);
    return this.plusBias(conv(depthwiseConv(x, this.kernel, this.window), this.pointwiseKernel));
  }
}
/** Depthwise, then pointwise, over time. */
export class SeparableConv1D extends SeparableConv {
  static override className = 'SeparableConv1D';
  constructor(options: SeparableConvOptions) {
    super(1, options);
  }
}
/** Depthwise [kh, kw, channels, depthMultiplier], then pointwise [1, 1, channels · depthMultiplier, filters]. */
export class SeparableConv2D extends SeparableConv {
  static override className = 'SeparableConv2D';
  constructor(options: SeparableConvOptions) {
    super(2, options);
  }
}
