/**
 * @file Layers around layers that are trained instead of them: Lora adds scale · B(A(x)) to what the layer gives (Hu et al. 2021), SavedCopy
 * is a whole copy of it (PEFT's modules_to_save). The layer inside stays as it is, its weights' names too; adapters go by name.
 */
import { ConfigError } from '../base/errors.js';
import { type Shape, size } from '../base/shape.js';
import { type CallContext, Layer, type LayerOptions, type PartialShape } from '../layers/index.js';
import { fileNameOf } from '../layers/names.js';
import { type Config, deserialize, type Json, registerBuiltins, type Serialized, serialize } from '../layers/registry.js';
import { type Readable, type Tensor, Variable, zeros } from '../tensor/index.js';
import * as random from '../tensor/random.js';
import { isProjection, type LoraKind, loraKind } from './lora-kinds.js';
import { Quantized } from './quantized.js';

/** What an adapter is, apart from its weights. */
export interface AdapterSettings {
  readonly rank: number;
  readonly alpha: number;
  /** Of the adapter's input, in training. */
  readonly dropout: number;
  /** The scale is alpha / √rank instead of alpha / rank (Kalajdzievski 2023). */
  readonly rsLora: boolean;
}

/** What an adapter is called where nobody says. */
export const DEFAULT_ADAPTER = 'default';
/** PEFT's prefix of every key. */
const PREFIX = 'base_model/model';

/** Where a layer is in files: its weights' names without their own part. */
export function pathOf(layer: Layer): string {
  if (layer instanceof Lora || layer instanceof SavedCopy) return layer.path;
  const name = layer instanceof Quantized ? layer.weightName : (layer.weights[0]?.name ?? layer.name);
  const at = `/${name}`.lastIndexOf(`/${layer.name}/`);
  return at < 0 ? layer.name : name.slice(0, at + layer.name.length);
}
/** A weight's name in a model: of the default adapter as in files, of others as PEFT's modules have them: lora_A/NAME/weight. */
const nameIn = (adapter: string, path: string, weight: string): string =>
  `${PREFIX}/${path}/${adapter === DEFAULT_ADAPTER ? weight : weight.replace(/(\/[^/]+)?$/, `/${adapter}$1`)}`;
/** Its key in PEFT's files. */
const keyOf = (path: string, weight: string): string => fileNameOf(`${PREFIX}/${path}/${weight}`);

/** A layer's A and B for one adapter. */
class LoraAdapter extends Layer<LayerOptions> {
  static override className = 'LoraAdapter';
  readonly a: Variable;
  readonly b: Variable;
  readonly settings: AdapterSettings;
  readonly #lora: Lora;

  constructor(name: string, lora: Lora, settings: AdapterSettings, seed: number | null) {
    super({ name });
    this.settings = settings;
    this.#lora = lora;
    const { path, kind } = lora;
    const shapes = kind.shapes(settings.rank);
    const [nameA, nameB] = kind.names;
    const { isTable } = kind;
    // kaiming_uniform with a = √5 is uniform within ±1/√fanIn. Without a seed the values are to come from a file.
    const bound = 1 / Math.sqrt(Math.max(1, size(shapes.a.slice(1))));
    const a = seed === null || isTable ? zeros(shapes.a) : random.uniform(shapes.a, -bound, bound, { seed });
    const b = seed !== null && isTable ? random.normal(shapes.b, 0, 1, { seed }) : zeros(shapes.b);
    this.a = new Variable(a, { name: nameIn(name, path, nameA), dtype: 'f32' });
    this.b = new Variable(b, { name: nameIn(name, path, nameB), dtype: 'f32' });
    this.built = true;
  }
  get scale(): number {
    const { rank, alpha, rsLora } = this.settings;
    return alpha / (rsLora ? Math.sqrt(rank) : rank);
  }
  /** scale · B(A(x)). */
  override call(x: Tensor, { training }: CallContext): Tensor {
    const { dropout } = this.settings;
    const { kind } = this.#lora;
    const input = training && dropout > 0 && !kind.isTable ? random.dropout(x, dropout) : x;
    return kind.up(kind.down(input, this.a).mul(this.scale), this.b);
  }
  /** scale · B·A, as a change of the layer's weight. */
  product(): Tensor {
    return this.#lora.kind.product(this.a.read(), this.b.read()).mul(this.scale);
  }
}

export type { LoraAdapter };

interface WrapperOptions extends LayerOptions {
  layer: Layer | Serialized;
  active?: string | null;
}
const layerOf = (given: Layer | Serialized, who: string): Layer => {
  const layer = given instanceof Layer ? given : deserialize(given, who);
  if (layer instanceof Layer) return layer;
  throw new ConfigError(`${who}: it is around something that is no layer. Expected a layer or its config.`);
};

/** What a layer was built for, as `ensureBuilt` wants it. */
function shapesOf({ buildShape }: Layer): [shapes: readonly PartialShape[], takesList: boolean] {
  const shape = buildShape ?? [];
  const takesList = Array.isArray(shape[0]);
  return [(takesList ? shape : [shape]) as readonly PartialShape[], takesList];
}

/** What Lora and SavedCopy share: the layer inside, and which adapter is used. */
abstract class Wrapper<O extends WrapperOptions> extends Layer<O> {
  readonly base: Layer;
  /** Null: the layer alone. */
  active: string | null;

  constructor(options: O, who: string) {
    const base = layerOf(options.layer, who);
    // It goes by the layer's name, so that models find it where the layer was.
    super({ ...options, layer: base, name: base.name, activityRegularizer: base.activityRegularizer ?? undefined });
    this.base = base;
    this.active = options.active ?? null;
    this.supportsMasking = base.supportsMasking;
  }
  /** The layer inside keeps the names of its weights. */
  override get scopeName(): string {
    return '';
  }
  get path(): string {
    return pathOf(this.base);
  }
  abstract get adapterNames(): string[];
  /** Which weights of the adapter are in a file, and their keys. */
  abstract entries(adapter: string): { readonly key: string; readonly variable: Variable }[];
  /** Uses the adapter of that name, where this layer has one, from now on. */
  abstract use(adapter: string | null): void;

  override build(inputShape: PartialShape | readonly PartialShape[]): void {
    const takesList = Array.isArray(inputShape[0]);
    this.base.ensureBuilt((takesList ? inputShape : [inputShape]) as readonly PartialShape[], takesList);
    this.inputSpec = this.base.inputSpec;
    super.build(inputShape);
  }
  protected buildAsBase(): void {
    if (this.base.built) this.ensureBuilt(...shapesOf(this.base));
  }
  override computeMask(inputs: Tensor | Tensor[], mask: Tensor | null, masks: readonly (Tensor | null)[]): Tensor | null {
    return this.base.computeMask(inputs, mask, masks);
  }
}

interface LoraOptions extends WrapperOptions {
  adapters?: Readonly<Record<string, AdapterSettings>>;
}
/** A layer with low-rank adapters: activation(layer(x) + scale · B(A(x))). */
export class Lora extends Wrapper<LoraOptions> {
  static override className = 'Lora';
  static override optionNames = ['layer', 'active', 'adapters'];
  readonly adapters: Record<string, LoraAdapter> = {};
  #kind: { readonly layer: Layer; readonly kind: LoraKind | null } | null = null;

  constructor(options: LoraOptions) {
    super(options, 'Lora');
    this.buildAsBase();
  }
  override build(inputShape: PartialShape | readonly PartialShape[]): void {
    super.build(inputShape);
    for (const [name, settings] of Object.entries(this.options.adapters ?? {})) this.add(name, settings, null);
    this.use(this.active);
  }
  get kind(): LoraKind {
    // The layer inside may have been quantized since.
    if (this.#kind?.layer !== this.base) this.#kind = { layer: this.base, kind: loraKind(this.base) };
    const { kind } = this.#kind;
    if (!kind)
      throw new ConfigError(
        `${this.label}: LoRA can't go around a ${this.base.className}. Expected a Dense, Linear, EinsumDense, Embedding or convolution without groups.`,
      );
    return kind;
  }
  /** Null where the layer alone is used. */
  get current(): LoraAdapter | null {
    return this.active === null ? null : (this.adapters[this.active] ?? null);
  }
  override get adapterNames(): string[] {
    return Object.keys(this.adapters);
  }
  /** Gives it an adapter of that name; with a seed its A (of tables its B) is random, else everything is 0. */
  add(name: string, settings: AdapterSettings, seed: number | null): void {
    this.adapters[name] = new LoraAdapter(name, this, settings, seed);
  }
  override use(adapter: string | null): void {
    this.active = adapter;
    for (const [name, own] of Object.entries(this.adapters)) own.trainable = name === adapter;
  }
  override entries(adapter: string): { readonly key: string; readonly variable: Variable }[] {
    const own = this.adapters[adapter];
    const [a, b] = this.kind.names;
    if (!own) return [];
    return [
      { key: keyOf(this.path, a), variable: own.a },
      { key: keyOf(this.path, b), variable: own.b },
    ];
  }

  override call(x: Tensor, context: CallContext): Tensor | Tensor[] {
    const { base, current } = this;
    if (!current) return base.call(x, context);
    const change = current.call(x, context);
    const plus = (y: Tensor): Tensor => y.add(change.cast(y.dtype));
    return isProjection(base) ? base.activation(plus(base.preactivation(x))) : plus(base.call(x, context) as Tensor);
  }
  /**
   * The weight with the adapter in it, for models that multiply by it themselves (a language model's output matrix); dropout doesn't
   * reach it. Undefined for layers without one.
   */
  get kernel(): Readable | undefined {
    const { weight } = this.kind;
    if (!weight || this.kind.isTable) return undefined;
    const read = (): Tensor => {
      const w = weight.read();
      return this.current ? w.add(this.current.product().cast(w.dtype)) : w;
    };
    return { read };
  }
  /** The table alone: as in PEFT, an output matrix that is the table of tokens stays as it is. */
  get embeddings(): Variable | undefined {
    return this.kind.isTable ? (this.kind.weight ?? undefined) : undefined;
  }
  /** The layer inside, with the adapter in its weight. */
  async merged(): Promise<Layer> {
    const { base, current } = this;
    if (!current) return base;
    if (base instanceof Quantized) return base.restore(current.product());
    const { weight } = this.kind;
    if (weight) weight.assign(await weight.read().cast('f32').add(current.product()).cast(weight.dtype).realize());
    return base;
  }

  override getConfig(): Config {
    const adapters = Object.fromEntries(Object.entries(this.adapters).map(([name, a]) => [name, { ...a.settings } as Json]));
    return { trainable: this.trainable, layer: serialize(this.base), adapters, active: this.active };
  }
}

interface SavedCopyOptions extends WrapperOptions {
  copies?: readonly string[];
}
/** A layer of which adapters hold whole copies, which are trained in its place. */
export class SavedCopy extends Wrapper<SavedCopyOptions> {
  static override className = 'SavedCopy';
  static override optionNames = ['layer', 'active', 'copies'];
  readonly copies: Record<string, Layer> = {};

  constructor(options: SavedCopyOptions) {
    super(options, 'SavedCopy');
    this.buildAsBase();
  }
  override build(inputShape: PartialShape | readonly PartialShape[]): void {
    super.build(inputShape);
    for (const name of this.options.copies ?? []) this.add(name);
    this.use(this.active);
  }
  get current(): Layer {
    return (this.active === null ? null : this.copies[this.active]) ?? this.base;
  }
  override get adapterNames(): string[] {
    return Object.keys(this.copies);
  }
  /** Gives it a copy of the layer as it is now, its weights in f32. */
  add(name: string): void {
    const { className, config } = serialize(this.base);
    const copy = layerOf({ className, config: { ...config, dtype: 'f32', trainable: true } }, this.label);
    copy.ensureBuilt(...shapesOf(this.base));
    copy.setWeights(this.base.getWeights());
    const parts = this.#parts;
    copy.weights.forEach((v, i) => {
      v.name = nameIn(name, this.path, name === DEFAULT_ADAPTER ? parts[i] : `modules_to_save/${parts[i]}`);
    });
    this.copies[name] = copy;
  }
  /** The names of the layer's weights after its path. */
  get #parts(): string[] {
    return this.base.weights.map((v) => v.name.slice(this.path.length + 1));
  }
  override use(adapter: string | null): void {
    this.active = adapter;
    for (const [name, own] of Object.entries(this.copies)) own.trainable = name === adapter;
  }
  override entries(adapter: string): { readonly key: string; readonly variable: Variable }[] {
    const parts = this.#parts;
    return (this.copies[adapter]?.weights ?? []).map((variable, i) => ({ key: keyOf(this.path, parts[i]), variable }));
  }
  override call(x: Tensor | Tensor[], context: CallContext): Tensor | Tensor[] {
    return this.current.call(x, context);
  }
  /** For models that read a layer's weight themselves. */
  get kernel(): Readable | undefined {
    return weightOf(this.current, 'kernel');
  }
  get embeddings(): Readable | undefined {
    return weightOf(this.current, 'embeddings');
  }
  /** The layer inside, with the copy's weights. */
  merged(): Layer {
    const { base, current } = this;
    if (current !== base) base.setWeights(current.getWeights());
    return base;
  }

  override getConfig(): Config {
    return { trainable: this.trainable, layer: serialize(this.base), copies: Object.keys(this.copies), active: this.active };
  }
}
const weightOf = (layer: Layer, name: 'kernel' | 'embeddings'): Readable | undefined => {
  const found = Object.entries(layer).find(([key]) => key === name)?.[1];
  return found instanceof Variable ? found : undefined;
};

/** The keys and shapes of what a file holds of a layer that isn't adapted yet: A and B of a rank, or (null) its own weights. */
export function entriesFor(layer: Layer, adapter: { readonly rank: number } | null): [key: string, shape: Shape][] {
  const path = pathOf(layer);
  const base = isAdapted(layer) ? layer.base : layer;
  const kind = adapter ? loraKind(base) : null;
  if (!adapter || !kind) return base.weights.map((v) => [keyOf(path, v.name.slice(path.length + 1)), v.shape]);
  const shapes = kind.shapes(adapter.rank);
  return [
    [keyOf(path, kind.names[0]), shapes.a],
    [keyOf(path, kind.names[1]), shapes.b],
  ];
}

/** What stands in a layer's place while adapters are on it. */
export type AdaptedLayer = Lora | SavedCopy;
export const isAdapted = (layer: Layer): layer is AdaptedLayer => layer instanceof Lora || layer instanceof SavedCopy;

registerBuiltins([Lora, SavedCopy]);
