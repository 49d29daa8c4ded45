/**
 * @file Quantized: a Dense or Linear whose weight is held packed (NF4 or q8_0) and decoded by tensor operations where the product reads it:
 * elementwise on the packed arrays, for one user, so that the compiler needn't ever have the whole matrix.
 */
import { ConfigError } from '../base/errors.js';
import { dynamicTable, NF4_BLOCK, NF4_TABLE, type Nf4, type QuantizedScales, SCALE_BLOCK } from '../io/nf4.js';
import { type Q8_0, Q8_0_BLOCK } from '../io/quantized-blocks.js';
import type { Activation } from '../layers/activations.js';
import { Dense, KernelLayer, Layer, type LayerOptions, Linear, likeInput, type PartialShape } from '../layers/index.js';
import { type Config, deserialize, registerBuiltins, type Serialized, serialize } from '../layers/registry.js';
import { arange, type DType, fromHost, type Readable, realize, type Tensor, type TypedArray, Variable, zeros } from '../tensor/index.js';
import { decodeQ8_0 } from './quantized-table.js';

/** Packed formats: 4 bits a weight and an f32 for 64, or 8 bits and an f16 for 32. */
export type PackedType = 'nf4' | 'q8_0';
/** A weight [units, inputs] in a packed format. */
export type PackedWeight =
  | { readonly type: 'nf4'; readonly blocks: Nf4; readonly scales: QuantizedScales | null }
  | { readonly type: 'q8_0'; readonly blocks: Q8_0 };

interface QuantizedOptions extends LayerOptions {
  layer: Layer | Serialized;
  type: PackedType;
  doubleQuant?: boolean;
}

/** Layers whose weight can be packed. */
export type Packable = Dense | Linear;
export const isPackable = (layer: Layer): layer is Packable =>
  (layer instanceof Dense || layer instanceof Linear) && layer.call === KernelLayer.prototype.call;

/** Whether it is part of a packed weight: codes or scales. */
export const isPackedPart = (v: Variable): boolean => /\/(nf4|q8_0|scales|scale_scales|scale_offset)$/.test(v.name);

const shared = new Map<Float32Array, Tensor>();
/** One tensor a table, so that Programs hold it once. */
function tableOf(values: Float32Array): Tensor {
  let table = shared.get(values);
  if (!table) {
    table = fromHost(values, [values.length]);
    shared.set(values, table);
  }
  return table;
}

export class Quantized extends Layer<QuantizedOptions> {
  static override className = 'Quantized';
  static override optionNames = ['layer', 'type', 'doubleQuant'];
  override supportsMasking = true;
  readonly type: PackedType;
  readonly activation: Activation;
  bias: Variable | null = null;
  /** nf4: u8, two a byte; q8_0: i8 [units, inputs]. */
  codes!: Variable;
  /** nf4: f32 a block, or u8 where they are quantized again; q8_0: f16 [units, inputs / 32]. */
  scales!: Variable;
  /** Of scales that are quantized again: f32 a block of them, and their mean. */
  scaleScales: Variable | null = null;
  scaleOffset: Variable | null = null;
  /** The layer as it was, without its weight. */
  readonly #layer: Packable;

  constructor(options: QuantizedOptions) {
    const given = options.layer instanceof Layer ? options.layer : deserialize(options.layer, 'Quantized');
    if (!(given instanceof Layer && isPackable(given)))
      throw new ConfigError('Quantized: its layer is of another kind. Expected a Dense or a Linear.');
    super({ ...options, name: given.name, trainable: given.trainable });
    this.type = options.type;
    this.#layer = given;
    this.activation = given.activation;
    if (given.built) this.ensureBuilt([given.buildShape as PartialShape], false);
  }
  /** The layer itself is no part of the tree: its weight is gone. */
  override sublayers(): Layer[] {
    return [];
  }
  /** Weights are named as the layer's own. */
  override get scopeName(): string {
    return '';
  }
  get units(): number {
    return this.#layer.options.units;
  }
  get inputs(): number {
    return this.#weight.size / this.units;
  }
  /** Whether the layer's own weight is [inputs, units]; the packed one never is. */
  get isTransposed(): boolean {
    return this.#layer instanceof Dense;
  }
  /** Of the weight, in files and for adapters. */
  get weightName(): string {
    return this.#weight.name;
  }
  get #weight(): Variable {
    return this.#layer.kernel;
  }

  override build(inputShape: PartialShape): void {
    const layer = this.#layer;
    layer.ensureBuilt([inputShape], false);
    this.bias = layer.bias;
    this.inputSpec = layer.inputSpec;
    const count = this.#weight.size;
    const make = (name: string, shape: readonly number[], dtype: DType): Variable =>
      new Variable(zeros(shape, dtype), { name: `${this.#weight.name}/${name}`, trainable: false });
    const blocks = Math.ceil(count / NF4_BLOCK);
    if (this.type === 'q8_0') {
      this.codes = make('q8_0', [this.units, this.inputs], 'i8');
      this.scales = make('scales', [this.units, this.inputs / Q8_0_BLOCK], 'f16');
    } else {
      this.codes = make('nf4', this.#hasWholeRows ? [this.units, this.inputs / 2] : [(blocks * NF4_BLOCK) / 2], 'u8');
      this.scales = make('scales', [blocks], this.options.doubleQuant ? 'u8' : 'f32');
      if (this.options.doubleQuant) {
        this.scaleScales = make('scale_scales', [Math.ceil(blocks / SCALE_BLOCK)], 'f32');
        this.scaleOffset = make('scale_offset', [], 'f32');
      }
    }
    // The packed form takes its place.
    this.#weight.release();
    super.build(inputShape);
  }
  /** Whether no block passes the end of a row: then places in the packed arrays follow row and column by themselves. */
  get #hasWholeRows(): boolean {
    return this.inputs % NF4_BLOCK === 0;
  }

  /** Takes a packed weight for its own. */
  fill(packed: PackedWeight): void {
    const put = (v: Variable | null, data: TypedArray): void => v?.fill(data);
    if (packed.type === 'q8_0') {
      put(this.codes, packed.blocks.quants);
      put(this.scales, packed.blocks.scales);
    } else {
      put(this.codes, packed.blocks.codes);
      put(this.scales, packed.scales?.codes ?? packed.blocks.scales);
      if (packed.scales) {
        put(this.scaleScales, packed.scales.scales);
        put(this.scaleOffset, Float32Array.of(packed.scales.offset));
      }
    }
  }

  /** For models that multiply by it themselves; a Dense's own would be the other way round. */
  get kernel(): Readable {
    return { read: () => this.decoded() };
  }
  /** The decoded weight, f32 [units, inputs]: lazy, elementwise. */
  decoded(): Tensor {
    const { units, inputs } = this;
    if (this.type === 'q8_0') return decodeQ8_0(this.codes.read(), this.scales.read());
    const blocks = this.scales.size;
    // High half first.
    const codes = this.codes
      .read()
      .cast('i32')
      .expandDims(-1)
      .rightShift(arange(4, -1, -4, 'i32'))
      .bitwiseAnd(15);
    const values = tableOf(NF4_TABLE).take(codes, 0, { mode: 'clip' });
    const perRow = this.#hasWholeRows ? [units, inputs / NF4_BLOCK] : [blocks];
    const scaled = values.reshape([...perRow, NF4_BLOCK]).mul(this.#blockScales().reshape([...perRow, 1]));
    if (this.#hasWholeRows) return scaled.reshape([units, inputs]);
    return scaled
      .reshape([-1])
      .slice([0], [units * inputs])
      .reshape([units, inputs]);
  }
  /** f32 a block of NF4. */
  #blockScales(): Tensor {
    const { scaleScales, scaleOffset } = this;
    const scales = this.scales.read();
    if (!scaleScales || !scaleOffset) return scales;
    const groups = scaleScales.size;
    const values = tableOf(dynamicTable()).take(scales.cast('i32'), 0, { mode: 'clip' });
    const each = scaleScales.read().expandDims(-1).broadcastTo([groups, SCALE_BLOCK]).reshape([-1]).slice([0], [scales.size]);
    return values.mul(each).add(scaleOffset.read());
  }

  preactivation(x: Tensor): Tensor {
    const y = x.matmul(this.decoded().cast(x.dtype).transpose());
    return this.bias ? y.add(likeInput(this.bias, y)) : y;
  }
  override call(x: Tensor): Tensor {
    return this.activation(this.preactivation(x));
  }

  /** The layer as it was, its weight f32 and decoded (plus `change`, [units, inputs]). This one is of no use afterwards. */
  async restore(change: Tensor | null = null): Promise<Layer> {
    const decoded = change ? this.decoded().add(change) : this.decoded();
    const weight = (this.isTransposed ? decoded.transpose() : decoded).cast(this.#weight.dtype);
    await realize([weight]);
    this.#weight.assign(weight);
    return this.#layer;
  }

  override getConfig(): Config {
    const { type, doubleQuant = false } = this.options;
    return { name: this.name, trainable: this.trainable, layer: serialize(this.#layer), type, doubleQuant };
  }
}

registerBuiltins([Quantized]);
