/**
 * @file Functional models: a graph of layer calls from inputs to outputs. Layers may be shared and may be models;
 * inputs and outputs are one, a list, or an object by name.
 */
import { ConfigError } from '../base/errors.js';
import { showShape } from '../base/shape.js';
import type { CallContext, CallOptions, Layer, PartialShape } from '../layers/layer.js';
import { type Config, deserialize, isSerialized, type Json, registerBuiltins, serialize, serializeValue } from '../layers/registry.js';
import { input, isSymbolic, type SymbolicCall, type SymbolicTensor } from '../layers/symbolic.js';
import { cast, isTensor, type Tensor, type TensorSpec } from '../tensor/index.js';
import type { Structure } from '../train/batch.js';
import type { Replacements } from './layer-tree.js';
import { checkInputShapes, Model, type ModelOptions, type Outputs, requireUniqueNames } from './model.js';

export interface FunctionalOptions extends ModelOptions {
  inputs: Structure<SymbolicTensor>;
  outputs: Structure<SymbolicTensor>;
}
/** What predict gives for a structure of outputs. */
export type OutputsOf<S> = S extends SymbolicTensor ? Tensor : S extends readonly unknown[] ? Tensor[] : { [K in keyof S]: Tensor };

const isByName = (x: Structure<SymbolicTensor>): x is { readonly [name: string]: SymbolicTensor } => !isSymbolic(x) && !Array.isArray(x);
const listOf = (x: Structure<SymbolicTensor>): SymbolicTensor[] =>
  isSymbolic(x) ? [x] : Array.isArray(x) ? [...(x as readonly SymbolicTensor[])] : Object.values(x);

/** The calls between inputs and outputs, each after those it needs. Throws ConfigError when an output hangs on something else. */
export function callsBetween(inputs: readonly SymbolicTensor[], outputs: readonly SymbolicTensor[], who: string): SymbolicCall[] {
  const order: SymbolicCall[] = [];
  const done = new Set<SymbolicCall>();
  const open = new Set<SymbolicCall>();
  const given = new Set(inputs);
  const stack: SymbolicTensor[] = [...outputs].reverse();
  while (stack.length > 0) {
    const t = stack[stack.length - 1];
    const call = t.producer?.call;
    if (given.has(t) || (call && done.has(call))) {
      stack.pop();
      continue;
    }
    if (!call)
      throw new ConfigError(
        `${who}: the outputs depend on input "${t.name}" ${showShape(t.shape)}, which is not among the inputs. Expected ${inputs.map((i) => i.name).join(', ')}. Add it to inputs.`,
      );
    const missing = call.inputs.filter((x) => !given.has(x) && !(x.producer && done.has(x.producer.call)));
    if (missing.length === 0) {
      done.add(call);
      order.push(call);
      stack.pop();
    } else if (open.has(call))
      throw new ConfigError(`${who}: layer "${call.layer.name}" depends on itself. Expected a graph without cycles.`);
    else {
      open.add(call);
      stack.push(...[...missing].reverse());
    }
  }
  return order;
}

export class Functional<Y extends Outputs = Tensor> extends Model<Y, FunctionalOptions> {
  static override className = 'Functional';
  static override optionNames = ['inputs', 'outputs'];
  readonly inputs: readonly SymbolicTensor[];
  readonly outputs: readonly SymbolicTensor[];
  /** The layer calls in the order in which they run. */
  calls: readonly SymbolicCall[];
  #layers: readonly Layer[];
  readonly #inputNames: readonly string[];
  readonly #outputNames: readonly string[];

  constructor(options: FunctionalOptions) {
    super(options);
    this.inputs = listOf(options.inputs);
    this.outputs = listOf(options.outputs);
    for (const [what, list] of [
      ['inputs', this.inputs],
      ['outputs', this.outputs],
    ] as const)
      if (list.length === 0 || !list.every(isSymbolic))
        throw new ConfigError(
          `${this.label}: ${what} must be tensors of input() and of layers applied to them. Expected a SymbolicTensor, a list or an object of them.`,
        );
    const computed = this.inputs.find((t) => t.producer !== null);
    if (computed) throw new ConfigError(`${this.label}: "${computed.name}" is no input. Expected tensors made by input().`);
    this.calls = callsBetween(this.inputs, this.outputs, this.label);
    this.#layers = [...new Set(this.calls.map((c) => c.layer))];
    requireUniqueNames(this.#layers, this.label);
    this.#inputNames = isByName(options.inputs) ? Object.keys(options.inputs) : this.inputs.map((t) => t.name);
    this.#outputNames = isByName(options.outputs)
      ? Object.keys(options.outputs)
      : uniqueNames(this.outputs.map((t) => t.producer?.layer.name ?? t.name));
    const shapes = this.inputs.map((t) => t.shape);
    super.ensureBuilt(shapes, shapes.length > 1);
    if (options.trainable === false) this.trainable = false;
  }
  override get layers(): readonly Layer[] {
    return this.#layers;
  }
  override sublayers(): Layer[] {
    // The base constructor asks before there are any.
    return [...(this.#hasLayers() ? this.#layers : [])];
  }
  #hasLayers(): boolean {
    return #layers in this && this.#layers !== undefined;
  }
  /** @internal Puts layers in the place of others; `replaceLayers` does so in the whole tree. */
  exchange(replacements: Replacements): void {
    // The calls themselves may belong to other models too, which keep their layers.
    this.calls = this.calls.map((c) => ({ ...c, layer: replacements.get(c.layer) ?? c.layer }));
    this.#layers = this.#layers.map((l) => replacements.get(l) ?? l);
  }
  override get inputNames(): readonly string[] {
    return this.#inputNames;
  }
  override get outputNames(): readonly string[] {
    return this.#outputNames;
  }
  override get namesOutputs(): boolean {
    return isByName(this.options.outputs);
  }
  /** Nothing to build: the layers were built when they were applied. */
  override build(inputShape: PartialShape | readonly PartialShape[]): void {
    this.buildShape ??= inputShape;
    this.built = true;
  }
  override outputSpecs(): readonly { shape: PartialShape; dtype: TensorSpec['dtype'] }[] {
    return this.outputs.map((t) => ({ shape: t.shape, dtype: t.dtype }));
  }
  override prepare(inputs: readonly TensorSpec[], who: string): void {
    this.checkInputs(inputs, who);
  }
  protected override checkInputs(inputs: readonly TensorSpec[], who: string): void {
    checkInputShapes(
      inputs,
      this.inputs.map((t) => t.shape),
      this.#inputNames,
      who,
    );
  }

  override call(inputs: Tensor | Tensor[], _context: CallContext): Tensor | Tensor[] {
    const list = isTensor(inputs) ? [inputs] : inputs;
    checkInputShapes(
      list.map((t) => ({ shape: t.shape, dtype: t.dtype })),
      this.inputs.map((t) => t.shape),
      this.#inputNames,
      this.label,
    );
    const values = new Map<SymbolicTensor, Tensor>();
    // Bytes stay bytes up to here.
    this.inputs.forEach((t, i) => void values.set(t, list[i].dtype === t.dtype ? list[i] : cast(list[i], t.dtype)));
    const valueFor = (t: SymbolicTensor): Tensor => {
      const v = values.get(t);
      if (!v) throw new ConfigError(`${this.label}: tensor "${t.name}" has no value. Expected it to be computed before.`);
      return v;
    };
    for (const call of this.calls) {
      const given = call.inputs.map(valueFor);
      const out = call.layer.apply<Tensor | Tensor[]>(call.takesList ? given : given[0], call.options);
      const results = isTensor(out) ? [out] : out;
      call.outputs.forEach((t, i) => void values.set(t, results[i]));
    }
    const out = this.outputs.map(valueFor);
    return out.length === 1 && !Array.isArray(this.options.outputs) ? out[0] : out;
  }

  override getConfig(): Config {
    const at = (t: SymbolicTensor): Json => {
      const i = this.inputs.indexOf(t);
      return i >= 0 ? { input: i } : { call: this.calls.findIndex((c) => c.outputs.includes(t)), output: t.producer?.outputIndex ?? 0 };
    };
    const structure = (s: Structure<SymbolicTensor>): Json =>
      isSymbolic(s)
        ? at(s)
        : Array.isArray(s)
          ? (s as readonly SymbolicTensor[]).map(at)
          : Object.fromEntries(Object.entries(s).map(([k, t]) => [k, at(t as SymbolicTensor)]));
    return {
      name: this.name,
      trainable: this.trainable,
      inputTensors: this.inputs.map((t) => ({ name: t.name, shape: [...t.shape], dtype: t.dtype })),
      layers: this.#layers.map((l) => serialize(l)),
      calls: this.calls.map((c) => ({
        layer: c.layer.name,
        inputs: c.inputs.map(at),
        takesList: c.takesList,
        options: serializeValue(c.options, this.label) ?? {},
      })),
      inputs: structure(this.options.inputs),
      outputs: structure(this.options.outputs),
    };
  }
  /** The model that getConfig described. Throws ConfigError for classes that aren't known. */
  static fromConfig(config: Config): Functional<Outputs> {
    const c = config as unknown as SavedFunctional;
    const who = `Functional "${c.name}"`;
    const inputs = c.inputTensors.map((t) => input({ batchShape: t.shape, dtype: t.dtype, name: t.name }));
    const layers = new Map(
      c.layers.map((l) => {
        if (!isSerialized(l))
          throw new ConfigError(`${who}: a layer is no { className, config }. Expected the config that getConfig gave.`);
        const layer = deserialize(l, who) as Layer;
        return [layer.name, layer] as const;
      }),
    );
    const results: SymbolicTensor[][] = [];
    const at = (p: SavedPlace): SymbolicTensor => ('input' in p ? inputs[p.input] : results[p.call][p.output]);
    for (const call of c.calls) {
      const layer = layers.get(call.layer);
      if (!layer)
        throw new ConfigError(
          `${who}: a call of the layer "${call.layer}", which is not in the config. Expected one of ${[...layers.keys()].join(', ')}.`,
        );
      const given = call.inputs.map(at);
      const out = layer.apply<SymbolicTensor | SymbolicTensor[]>(call.takesList ? given : given[0], call.options as CallOptions);
      results.push(isSymbolic(out) ? [out] : out);
    }
    const structure = (s: SavedPlaces): Structure<SymbolicTensor> =>
      Array.isArray(s) ? s.map(at) : isPlace(s) ? at(s) : Object.fromEntries(Object.entries(s).map(([k, p]) => [k, at(p as SavedPlace)]));
    const made = new Functional<Outputs>({ name: c.name, inputs: structure(c.inputs), outputs: structure(c.outputs) });
    if (c.trainable === false) made.trainable = false;
    return made;
  }
}
type SavedPlace = { input: number } | { call: number; output: number };
type SavedPlaces = SavedPlace | SavedPlace[] | { [name: string]: SavedPlace };
const isPlace = (s: object): s is SavedPlace =>
  typeof (s as { input?: unknown }).input === 'number' || typeof (s as { call?: unknown }).call === 'number';
interface SavedFunctional {
  name: string;
  trainable: boolean;
  inputTensors: { name: string; shape: PartialShape; dtype: TensorSpec['dtype'] }[];
  layers: unknown[];
  calls: { layer: string; inputs: SavedPlace[]; takesList: boolean; options: unknown }[];
  inputs: SavedPlaces;
  outputs: SavedPlaces;
}

function uniqueNames(names: readonly string[]): string[] {
  const used = new Map<string, number>();
  return names.map((name) => {
    const n = used.get(name) ?? 0;
    used.set(name, n + 1);
    return n === 0 ? name : `${name}_${n}`;
  });
}

/**
 * A model of the layer calls between inputs and outputs.
 * @example const x = input({ shape: [8] }); const m = model({ inputs: x, outputs: layers.dense({ units: 1 }).apply(x) })
 */
export function model<S extends Structure<SymbolicTensor>>(options: {
  inputs: Structure<SymbolicTensor>;
  outputs: S;
  name?: string;
  trainable?: boolean;
}): Functional<OutputsOf<S>> {
  return new Functional(options);
}

registerBuiltins([Functional]);
