/** @file Sequential: layers one after another. Built when the input's shape is known: from the first layer, or from data. */
import { ConfigError } from '../base/errors.js';
import { type CallContext, Layer, type PartialShape } from '../layers/layer.js';
import { type Config, deserialize, registerBuiltins, serialize } from '../layers/registry.js';
import { input, isSymbolic, type SymbolicTensor } from '../layers/symbolic.js';
import { cast, isTensor, type Tensor } from '../tensor/index.js';
import type { Replacements } from './layer-tree.js';
import { Model, type ModelOptions, requireUniqueNames } from './model.js';

export interface SequentialOptions extends ModelOptions {
  /** In their order; the first may be an input(). */
  layers?: readonly (Layer | SymbolicTensor)[];
}

export class Sequential extends Model<Tensor, SequentialOptions> {
  static override className = 'Sequential';
  static override optionNames = ['layers'];
  readonly #layers: Layer[] = [];
  /** The tensors between the layers, once the input's shape is known. */
  #chain: SymbolicTensor[] = [];
  #input: SymbolicTensor | null = null;

  constructor(options: SequentialOptions | readonly (Layer | SymbolicTensor)[] = {}) {
    const own: SequentialOptions = Array.isArray(options)
      ? { layers: options as readonly (Layer | SymbolicTensor)[] }
      : (options as SequentialOptions);
    super(own);
    for (const l of own.layers ?? []) this.add(l);
    if (own.trainable === false) this.trainable = false;
  }
  override get layers(): readonly Layer[] {
    return this.#layers;
  }
  override sublayers(): Layer[] {
    return #layers in this && this.#layers !== undefined ? [...this.#layers] : [];
  }
  /** The tensor before the first layer, where its shape is known. */
  get input(): SymbolicTensor | null {
    return this.#input;
  }
  /** The tensors after each layer, where the input's shape is known. */
  get chain(): readonly SymbolicTensor[] {
    return this.#chain;
  }

  /** Appends a layer; an input() may come first. Throws ConfigError and ShapeError when it doesn't fit. */
  add(layer: Layer | SymbolicTensor): this {
    if (isSymbolic(layer)) {
      if (this.#layers.length > 0 || this.#input) throw new ConfigError(`${this.label}: input() comes first. Expected a layer here.`);
      this.#input = layer;
      return this;
    }
    if (!(layer instanceof Layer))
      throw new ConfigError(`${this.label}: add was given ${typeof layer}. Expected a layer, such as layers.dense({ units: 10 }).`);
    requireUniqueNames([...this.#layers, layer], this.label);
    if (this.#layers.includes(layer))
      throw new ConfigError(`${this.label}: the layer "${layer.name}" is in it already. Expected each layer once. Make another one.`);
    if (this.#layers.length === 0 && !this.#input && layer.givenInputShape) this.#input = input({ batchShape: layer.givenInputShape });
    if (this.#input) this.#extend(layer);
    this.#layers.push(layer);
    this.changed();
    return this;
  }
  /** Removes the last layer. Throws ConfigError when there is none. */
  pop(): Layer {
    const layer = this.#layers.pop();
    if (!layer) throw new ConfigError(`${this.label}: pop from a model without layers. Expected at least one.`);
    this.#chain = this.#chain.slice(0, this.#layers.length);
    this.changed();
    return layer;
  }
  /** @internal Puts layers in the place of others; `replaceLayers` does so in the whole tree. */
  exchange(replacements: Replacements): void {
    this.#layers.forEach((l, i) => {
      this.#layers[i] = replacements.get(l) ?? l;
    });
    // The tensors between layers know the layers that they come from.
    if (this.#chain.length > 0) {
      this.#chain = [];
      for (const l of this.#layers) this.#extend(l);
    }
  }
  #extend(layer: Layer): void {
    const last = this.#chain.at(-1) ?? this.#input;
    if (!last) return;
    const out = layer.apply<SymbolicTensor | SymbolicTensor[]>(last);
    if (!isSymbolic(out))
      throw new ConfigError(`${this.label}: layer "${layer.name}" returns a list. Expected one tensor. Use model({ inputs, outputs }).`);
    this.#chain.push(out);
    this.buildShape = this.#input?.shape ?? null;
    this.built = true;
  }
  override build(inputShape: PartialShape | readonly PartialShape[]): void {
    if (this.#layers.length === 0) throw new ConfigError(`${this.label}: it has no layers. Expected at least one. Add one with add().`);
    if (Array.isArray(inputShape[0]))
      throw new ConfigError(`${this.label}: it was given a list of inputs. Expected one. Use model({ inputs, outputs }).`);
    if (!this.#input) {
      const isIndices = this.#layers[0].className === 'Embedding';
      this.#input = input({ batchShape: inputShape as PartialShape, dtype: isIndices ? 'i32' : 'f32' });
    }
    this.#chain = [];
    for (const l of this.#layers) this.#extend(l);
    this.buildShape ??= inputShape;
    this.built = true;
  }

  override call(inputs: Tensor | Tensor[], _context: CallContext): Tensor {
    if (!isTensor(inputs))
      throw new ConfigError(`${this.label}: it was given ${inputs.length} inputs. Expected one. Use model({ inputs, outputs }).`);
    if (this.#layers.length === 0) throw new ConfigError(`${this.label}: it has no layers. Expected at least one. Add one with add().`);
    const dtype = this.#input?.dtype ?? 'f32';
    let x = inputs.dtype === dtype ? inputs : cast(inputs, dtype);
    for (const l of this.#layers) x = l.apply(x);
    return x;
  }

  override getConfig(): Config {
    return {
      name: this.name,
      trainable: this.trainable,
      input: this.#input ? { name: this.#input.name, shape: [...this.#input.shape], dtype: this.#input.dtype } : null,
      layers: this.#layers.map((l) => serialize(l)),
    };
  }
  /** The model that getConfig described. Throws ConfigError for classes that aren't known. */
  static fromConfig(config: Config): Sequential {
    const c = config as unknown as {
      name: string;
      trainable: boolean;
      input: { name: string; shape: PartialShape; dtype: Tensor['dtype'] } | null;
      layers: unknown[];
    };
    if (!Array.isArray(c.layers))
      throw new ConfigError(`Sequential "${c.name}": its config has no layers. Expected { name, layers: [{ className, config }, …] }.`);
    const made = new Sequential({ name: c.name });
    if (c.input) made.add(input({ batchShape: c.input.shape, dtype: c.input.dtype, name: c.input.name }));
    for (const l of c.layers) made.add(deserialize(l, `Sequential "${c.name}"`) as Layer);
    if (c.trainable === false) made.trainable = false;
    return made;
  }
}

/**
 * A model of layers one after another.
 * @example const m = sequential({ layers: [layers.dense({ units: 10, inputShape: [784] })] })
 */
export const sequential = (options: SequentialOptions | readonly (Layer | SymbolicTensor)[] = {}): Sequential => new Sequential(options);

registerBuiltins([Sequential]);
