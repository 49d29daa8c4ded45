/**
 * @file LoRA (Hu et al. 2021) on any model: layers are wrapped in its tree, everything else is frozen. Several adapters may be on one base;
 * one of them, or none, is used. Rules of which modules are meant, initial values and scales are PEFT's.
 */
import { ConfigError, quote } from '../base/errors.js';
import { checkOptionNames } from '../base/option-names.js';
import type { Layer } from '../layers/index.js';
import { globalRandomState, RandomState, type Variable } from '../tensor/index.js';
import { layersOf, markChanged, replaceLayers } from './layer-tree.js';
import { loraKind } from './lora-kinds.js';
import { type AdaptedLayer, type AdapterSettings, DEFAULT_ADAPTER, isAdapted, Lora, pathOf, SavedCopy } from './lora-layer.js';
import type { AnyModel } from './model.js';
import { Quantized } from './quantized.js';
import { requireBuilt } from './weights.js';

export { Lora, SavedCopy } from './lora-layer.js';

/** Names of modules, each the end of a path ("q_proj", "layers.0.mlp.up_proj"); a pattern of paths; or all projections but the model's output. */
export type TargetModules = readonly string[] | RegExp | 'all-linear';

export interface LoraOptions {
  rank: number;
  /** The adapter's product is scaled by alpha / rank. */
  alpha: number;
  /** Of the adapter's input, in training. Default 0. */
  dropout?: number;
  /** Default 'all-linear'. */
  targetModules?: TargetModules;
  /** Scale by alpha / √rank instead. */
  rsLora?: boolean;
  /** Names of modules of which the adapter has whole copies, trained too. */
  modulesToSave?: readonly string[];
  /** Of the initial values. */
  seed?: number;
  /** Of the adapter; default 'default'. */
  name?: string;
}
const optionNames: Readonly<Record<keyof LoraOptions, true>> = {
  rank: true,
  alpha: true,
  dropout: true,
  targetModules: true,
  rsLora: true,
  modulesToSave: true,
  seed: true,
  name: true,
};

/** An adapter that is on a model. */
export interface AdapterInfo extends AdapterSettings {
  readonly name: string;
  /** Whether the model uses it now. */
  readonly isActive: boolean;
  /** Paths of the modules that have A and B, and of those that have copies; dots between the parts. */
  readonly modules: readonly string[];
  readonly savedModules: readonly string[];
}

const dotted = (path: string): string => path.replaceAll('/', '.');
/** A module's path in PEFT's spelling. */
export const modulePath = (layer: Layer): string => dotted(pathOf(layer));
const matchesName = (path: string, name: string): boolean => path === name || path.endsWith(`.${name}`);

/** The wrappers in a model. */
export const adaptedLayers = (model: Layer): AdaptedLayer[] => layersOf(model).filter(isAdapted);

/** Layers with weights by their paths, wrappers in the place of what they wrap. Throws ConfigError when two are at one. */
export function loraModules(model: AnyModel): Map<string, Layer> {
  const found = new Map<string, Layer>();
  const walk = (layer: Layer): void => {
    if (layer !== model && (isAdapted(layer) || layer.sublayers().length === 0)) {
      if (layer.weights.length === 0) return;
      const path = modulePath(layer);
      const other = found.get(path);
      if (other && other !== layer)
        throw new ConfigError(
          `${model.label}: two layers are at "${path}". Expected a path for each, since adapters go by it. Rename one.`,
        );
      found.set(path, layer);
    } else for (const child of layer.sublayers()) walk(child);
  };
  walk(model);
  return found;
}

/** The paths that `target` means. Throws ConfigError for a name that means none. */
export function selectModules(modules: ReadonlyMap<string, Layer>, target: TargetModules, model: AnyModel, who: string): string[] {
  const paths = [...modules.keys()];
  if (target instanceof RegExp) {
    const found = paths.filter((path) => new RegExp(target.source, target.flags.replace(/[gy]/g, '')).test(path));
    if (found.length > 0) return found;
    throw new ConfigError(`${who}: no module's path matches ${target}. Expected a pattern of paths such as ${quote(paths[0])}.`);
  }
  if (target === 'all-linear') {
    const outputs = new Set(model.outputLayers);
    return paths.filter((path) => {
      const layer = modules.get(path);
      return layer !== undefined && !outputs.has(layer) && (kindOf(layer)?.isLinear ?? false);
    });
  }
  if (!Array.isArray(target))
    throw new ConfigError(`${who}: targetModules is ${quote(target)}. Expected a list of names, a RegExp or 'all-linear'.`);
  const names: readonly string[] = target;
  const unknown = names.find((name) => !paths.some((path) => matchesName(path, name)));
  if (unknown !== undefined)
    throw new ConfigError(
      `${who}: there is no module ${quote(unknown)}. Expected one of ${[...new Set(paths.map((p) => p.slice(p.lastIndexOf('.') + 1)))].join(', ')}.`,
    );
  return paths.filter((path) => names.some((name) => matchesName(path, name)));
}
const kindOf = (layer: Layer): ReturnType<typeof loraKind> => loraKind(layer instanceof Lora ? layer.base : layer);

function checkSettings(options: LoraOptions, who: string): AdapterSettings {
  checkOptionNames(options, optionNames, who);
  const { rank, alpha, dropout = 0, rsLora = false } = options;
  if (!Number.isInteger(rank) || rank < 1) throw new ConfigError(`${who}: rank is ${quote(rank)}. Expected a whole number ≥ 1.`);
  if (!(Number.isFinite(alpha) && alpha > 0)) throw new ConfigError(`${who}: alpha is ${quote(alpha)}. Expected a number > 0.`);
  if (!(dropout >= 0 && dropout < 1)) throw new ConfigError(`${who}: dropout is ${quote(dropout)}. Expected a number in [0, 1).`);
  return { rank, alpha, dropout, rsLora };
}

/**
 * Puts a low-rank adapter on layers of a built model, makes it the one in use and freezes everything else: no gradient and no memory of the
 * optimizer for it. B (of tables A) is 0, so that the outputs are what they were. With another `name`, beside the adapters that are there.
 * Throws ConfigError for names that mean no module, and for layers that can't have one.
 * @example
 * const net = sequential({ layers: [layers.dense({ units: 8, inputShape: [4] }), layers.dense({ units: 1 })] });
 * const { trainable, total } = applyLora(net, { rank: 2, alpha: 4 });
 * console.log(trainable, total); // → 42 91
 */
export function applyLora(model: AnyModel, options: LoraOptions): { modules: readonly string[]; trainable: number; total: number } {
  const who = `applyLora ${model.label}`;
  const settings = checkSettings(options, who);
  const { targetModules = 'all-linear', modulesToSave = [], name = DEFAULT_ADAPTER, seed } = options;
  requireBuilt(model, 'applyLora');
  const modules = loraModules(model);
  const saved = modulesToSave.length > 0 ? selectModules(modules, modulesToSave, model, who) : [];
  const paths = selectModules(modules, targetModules, model, who).filter((path) => !saved.includes(path));
  if (paths.length + saved.length === 0)
    throw new ConfigError(
      `${who}: no layer is meant by ${quote(targetModules)}. Expected one that is no output. Name layers in targetModules.`,
    );
  const state = seed === undefined ? globalRandomState() : new RandomState(seed);
  addAdapter(model, { name, settings, paths, saved, nextSeed: () => state.nextSeed() }, who);
  const count = (list: readonly Variable[]): number => list.reduce((n, v) => n + v.size, 0);
  return { modules: paths, trainable: count(model.trainableWeights), total: count(model.weights) };
}

/** @internal What `applyLora` and files of adapters have in common: wraps modules by their paths. */
export function addAdapter(
  model: AnyModel,
  adapter: {
    readonly name: string;
    readonly settings: AdapterSettings;
    readonly paths: readonly string[];
    readonly saved: readonly string[];
    /** Null: the values come from a file. */
    readonly nextSeed: (() => number) | null;
  },
  who: string,
): void {
  const { name, settings, paths, saved, nextSeed } = adapter;
  if (!/^[^./\s]+$/.test(name))
    throw new ConfigError(`${who}: an adapter named ${quote(name)}. Expected a name without dots, slashes and blanks.`);
  if (adaptedLayers(model).some((l) => l.adapterNames.includes(name)))
    throw new ConfigError(`${who}: there is an adapter "${name}" already. Expected another name. Set name, or call unloadLora first.`);
  const modules = loraModules(model);
  const get = (path: string): Layer => {
    const layer = modules.get(path);
    if (layer) return layer;
    throw new ConfigError(`${who}: there is no module ${quote(path)}. Expected one of the model's.`);
  };
  const replacements = new Map<Layer, Layer>();
  const adding: (() => void)[] = [];
  for (const path of paths) {
    const layer = get(path);
    if (!kindOf(layer) || layer instanceof SavedCopy)
      throw new ConfigError(
        `${who}: "${path}" is a ${layer.className}, which can't have LoRA. Expected Dense, Linear, EinsumDense of one contraction, Embedding, or a convolution without groups.`,
      );
    const lora = layer instanceof Lora ? layer : new Lora({ layer });
    if (lora !== layer) replacements.set(layer, lora);
    adding.push(() => lora.add(name, settings, nextSeed ? nextSeed() : null));
  }
  for (const path of saved) {
    const layer = get(path);
    if (layer instanceof Lora || layer instanceof Quantized)
      throw new ConfigError(
        `${who}: "${path}" can't be saved as a whole, it is ${layer instanceof Lora ? 'adapted by LoRA' : 'quantized'}. Expected a plain layer.`,
      );
    const copy = layer instanceof SavedCopy ? layer : new SavedCopy({ layer });
    if (copy !== layer) replacements.set(layer, copy);
    adding.push(() => copy.add(name));
  }
  remember(model);
  if (replacements.size > 0) replaceLayers(model, replacements);
  for (const add of adding) add();
  freeze(model);
  setAdapter(model, name);
}

// ---- what is trained

/** What was trainable before the first adapter came. */
const before = new WeakMap<Layer, { layers: Map<Layer, boolean>; variables: Map<Variable, boolean> }>();
function remember(model: Layer): void {
  if (adaptedLayers(model).length > 0) return;
  before.set(model, {
    layers: new Map(layersOf(model).map((l) => [l, l.trainable])),
    variables: new Map(model.weights.map((v) => [v, v.trainable])),
  });
}
function restore(model: Layer): void {
  const known = before.get(model);
  if (!known) return;
  // Owners first: they set what they hold.
  for (const layer of layersOf(model)) {
    const was = known.layers.get(layer);
    if (was !== undefined) layer.trainable = was;
  }
  for (const v of model.weights) v.trainable = known.variables.get(v) ?? v.trainable;
  before.delete(model);
}
/** Everything but the wrappers' adapters. */
function freeze(layer: Layer): void {
  if (isAdapted(layer)) {
    layer.trainable = true;
    layer.base.trainable = false;
    layer.use(layer.active);
    return;
  }
  const inside = layer.sublayers();
  if (adaptedLayers(layer).length === 0) {
    layer.trainable = false;
    return;
  }
  layer.trainable = true;
  const below = new Set(inside.flatMap((l) => l.weights));
  for (const v of layer.weights) if (!below.has(v)) v.trainable = false;
  for (const l of inside) freeze(l);
}

// ---- which is used

/** The adapters on a model, in the order in which they came. */
export function adapters(model: Layer): AdapterInfo[] {
  const found = new Map<string, { settings: AdapterSettings | null; isActive: boolean; modules: string[]; savedModules: string[] }>();
  for (const layer of adaptedLayers(model))
    for (const name of layer.adapterNames) {
      const entry = found.get(name) ?? { settings: null, isActive: layer.active === name, modules: [], savedModules: [] };
      found.set(name, entry);
      if (layer instanceof Lora) {
        entry.settings ??= layer.adapters[name].settings;
        entry.modules.push(modulePath(layer));
      } else entry.savedModules.push(modulePath(layer));
    }
  return [...found].map(([name, { settings, ...rest }]) => ({
    name,
    ...(settings ?? { rank: 1, alpha: 1, dropout: 0, rsLora: false }),
    ...rest,
  }));
}
/** Throws ConfigError unless the model has the adapter. */
export function requireAdapter(model: Layer, name: string, who: string): AdapterInfo {
  const all = adapters(model);
  const found = all.find((a) => a.name === name);
  if (found) return found;
  throw new ConfigError(
    `${who} ${model.label}: there is no adapter ${quote(name)}. Expected ${all.length > 0 ? `one of ${all.map((a) => a.name).join(', ')}` : 'a model with adapters. Call applyLora or loadAdapter first'}.`,
  );
}

/** The adapter in use from now on, which is also the one that is trained; null: the base alone. Throws ConfigError for an unknown name. */
export function setAdapter(model: Layer, name: string | null): void {
  if (name !== null) requireAdapter(model, name, 'setAdapter');
  for (const layer of adaptedLayers(model)) layer.use(name);
  markChanged(model);
}

/**
 * What `work` gives while the model uses another adapter, or with null none: also inside a trace, so that one step can hold both.
 * Throws ConfigError for an unknown name, and when `work` is asynchronous.
 */
export function withAdapter<T>(model: Layer, name: string | null, work: () => T): T {
  if (name !== null) requireAdapter(model, name, 'withAdapter');
  const wrappers = adaptedLayers(model);
  const active = wrappers.map((l) => l.active);
  for (const layer of wrappers) layer.active = name;
  try {
    const result = work();
    if (result instanceof Promise)
      throw new ConfigError(
        `withAdapter ${model.label}: the work is asynchronous. Expected a function that gives its tensors at once. Use setAdapter around it.`,
      );
    return result;
  } finally {
    wrappers.forEach((layer, i) => {
      layer.active = active[i];
    });
  }
}

// ---- leaving

/**
 * Takes the adapters off: the model is as it was before the first one, what was trainable too. Several adapters and all are gone.
 */
export function unloadLora(model: AnyModel): void {
  take(model, new Map(adaptedLayers(model).map((l) => [l, l.base])));
}

/**
 * Adds an adapter (default: the one in use) to the weights, layer after layer, and takes all adapters off. A packed weight is decoded for it and
 * stays so. Throws ConfigError when there is no such adapter, or when the output matrix is a table that has one (it would change too).
 */
export async function mergeLora(model: AnyModel, options: { name?: string } = {}): Promise<void> {
  checkOptionNames(options, { name: true }, 'mergeLora');
  const name = options.name ?? adapters(model).find((a) => a.isActive)?.name;
  if (name === undefined)
    throw new ConfigError(`mergeLora ${model.label}: no adapter is in use. Expected one. Call setAdapter first, or give its name.`);
  requireAdapter(model, name, 'mergeLora');
  const tied = model.outputLayers.find((l) => l instanceof Lora && l.kind.isTable && l.adapterNames.includes(name));
  if (tied)
    throw new ConfigError(
      `mergeLora ${model.label}: "${modulePath(tied)}" is the output matrix too, which the adapter doesn't change. Expected an adapter on other layers. Keep it unmerged.`,
    );
  const merged = new Map<Layer, Layer>();
  for (const layer of adaptedLayers(model)) {
    layer.use(name);
    merged.set(layer, await layer.merged());
  }
  take(model, merged);
}

function take(model: AnyModel, replacements: ReadonlyMap<Layer, Layer>): void {
  if (replacements.size > 0) replaceLayers(model, replacements);
  restore(model);
}
