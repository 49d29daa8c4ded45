/**
 * @file QuantizedTable: an Embedding whose table is held as q8_0. Looked-up rows are decoded as they are taken; where the table is the output
 * matrix too, the product decodes it as it reads it.
 */
import { ConfigError } from '../base/errors.js';
import { type Q8_0, Q8_0_BLOCK } from '../io/quantized-blocks.js';
import { Embedding, Layer, type LayerOptions, type PartialShape } from '../layers/index.js';
import { type Config, deserialize, registerBuiltins, type Serialized, serialize } from '../layers/registry.js';
import { type DType, type Readable, type Tensor, Variable, zeros } from '../tensor/index.js';

interface QuantizedTableOptions extends LayerOptions {
  layer: Layer | Serialized;
}

export class QuantizedTable extends Layer<QuantizedTableOptions> {
  static override className = 'QuantizedTable';
  static override optionNames = ['layer'];
  /** i8 [rows, width]. */
  codes!: Variable;
  /** f16 [rows, width / 32]. */
  scales!: Variable;
  readonly #layer: Embedding;

  constructor(options: QuantizedTableOptions) {
    const given = options.layer instanceof Layer ? options.layer : deserialize(options.layer, 'QuantizedTable');
    if (!(given instanceof Embedding)) throw new ConfigError('QuantizedTable: its layer is of another kind. Expected an Embedding.');
    super({ ...options, name: given.name, trainable: false });
    this.#layer = given;
    if (given.built) this.ensureBuilt([given.buildShape as PartialShape], false);
  }
  /** The layer itself is no part of the tree: its table is gone. */
  override sublayers(): Layer[] {
    return [];
  }
  override get scopeName(): string {
    return '';
  }
  override build(inputShape: PartialShape): void {
    const layer = this.#layer;
    layer.ensureBuilt([inputShape], false);
    const { name, shape } = layer.embeddings;
    const [rows, width] = shape;
    const make = (part: string, columns: number, dtype: DType): Variable =>
      new Variable(zeros([rows, columns], dtype), { name: `${name}/${part}`, trainable: false });
    this.codes = make('q8_0', width, 'i8');
    this.scales = make('scales', width / Q8_0_BLOCK, 'f16');
    // The packed form takes its place.
    layer.embeddings.release();
    super.build(inputShape);
  }
  fill({ quants, scales }: Q8_0): void {
    this.codes.fill(quants);
    this.scales.fill(scales);
  }

  /** What an Embedding's is: the table, f32 [rows, width], decoded where it is read. */
  get embeddings(): Readable {
    return { read: () => decodeQ8_0(this.codes.read(), this.scales.read()) };
  }
  override call(x: Tensor): Tensor {
    const ids = x.cast('i32');
    return decodeQ8_0(this.codes.read().take(ids, 0, { mode: 'clip' }), this.scales.read().take(ids, 0, { mode: 'clip' }));
  }
  override getConfig(): Config {
    return { name: this.name, layer: serialize(this.#layer) };
  }
}

/** i8 […, width] and f16 […, width / 32] → f32 […, width]. */
export function decodeQ8_0(codes: Tensor, scales: Tensor): Tensor {
  const blocks = scales.shape;
  return codes
    .cast('f32')
    .reshape([...blocks, Q8_0_BLOCK])
    .mul(scales.cast('f32').expandDims(-1))
    .reshape(codes.shape);
}

registerBuiltins([QuantizedTable]);
