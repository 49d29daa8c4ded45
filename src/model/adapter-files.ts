/** @file Adapters in PEFT's files: written from a model with adapters, and read onto any model that has the modules. */
import { concatBytes } from '../base/bytes.js';
import { ConfigError, FormatError, quote } from '../base/errors.js';
import { checkOptionNames } from '../base/option-names.js';
import { type Shape, sameShape, showShape } from '../base/shape.js';
import { convertFloats, isFloatDType } from '../io/convert-floats.js';
import {
  moduleOfKey,
  PEFT_CONFIG_FILE,
  PEFT_CONFIG_LIMIT,
  PEFT_WEIGHTS_FILE,
  type PeftConfig,
  readPeftConfig,
  writePeftConfig,
} from '../io/peft.js';
import { readSafetensors, safetensorsChunks, type TensorData } from '../io/safetensors.js';
import { named, type TensorFiles } from '../io/tensor-files.js';
import { type TypedArray, wrap } from '../tensor/index.js';
import { snapshot } from '../train/tensors.js';
import { type AdapterInfo, adaptedLayers, adapters, addAdapter, loraModules, requireAdapter, selectModules } from './lora.js';
import { DEFAULT_ADAPTER, entriesFor, Lora } from './lora-layer.js';
import type { AnyModel } from './model.js';
import { requireBuilt } from './weights.js';

export interface SaveAdapterOptions {
  /** Default: the adapter in use. */
  name?: string;
  /** What the config calls the base: a name of the hub, or a folder. */
  baseModel?: string | null;
  /** Of Hugging Face's task types. Default: what the model says of itself. */
  taskType?: string | null;
}
/** The two files of an adapter. */
export interface AdapterFiles {
  readonly config: Uint8Array;
  readonly weights: Uint8Array | readonly Uint8Array[];
}

/** The contents of an adapter's two files, for where there are none. Throws ConfigError when there is no such adapter. */
export async function adapterFiles(model: AnyModel, options: SaveAdapterOptions = {}): Promise<AdapterFiles> {
  const known = { name: true, baseModel: true, taskType: true } satisfies Record<keyof SaveAdapterOptions, true>;
  checkOptionNames(options, known, 'saveAdapter');
  const name = options.name ?? adapters(model).find((a) => a.isActive)?.name ?? DEFAULT_ADAPTER;
  const info = requireAdapter(model, name, 'saveAdapter');
  const entries = adaptedLayers(model).flatMap((l) => l.entries(name));
  const values = [...(await snapshot(entries.map((e) => e.variable))).values()];
  const tensors = new Map(entries.map((e, i): [string, TensorData] => [e.key, values[i]]));
  const config: PeftConfig = {
    rank: info.rank,
    alpha: info.alpha,
    dropout: info.dropout,
    rsLora: info.rsLora,
    targetModules: shortNames(info, model),
    isPartial: false,
    modulesToSave: info.savedModules,
    fanInFanOut: adaptedLayers(model).some((l) => l instanceof Lora && name in l.adapters && l.kind.isTransposed),
    baseModel: options.baseModel ?? null,
    taskType: options.taskType === undefined ? model.task : options.taskType,
  };
  return { config: writePeftConfig(config), weights: safetensorsChunks(tensors, { format: 'pt' }) };
}

/** Names of an adapter's modules: their last parts where these mean no other module, else whole paths. */
function shortNames({ modules }: AdapterInfo, model: AnyModel): string[] {
  const last = [...new Set(modules.map((path) => path.slice(path.lastIndexOf('.') + 1)))].sort();
  const meant = [...loraModules(model).keys()].filter((path) => last.some((name) => path === name || path.endsWith(`.${name}`)));
  return meant.length === modules.length ? last : [...modules];
}

/**
 * Writes an adapter into the folder `dir` as PEFT does: adapter_config.json and adapter_model.safetensors, which appear together.
 * Throws ConfigError when there is no such adapter, and when the folder can't be written to.
 */
export async function saveAdapter(model: AnyModel, dir: string, options: SaveAdapterOptions = {}): Promise<void> {
  const { config, weights } = await adapterFiles(model, options);
  const { makeFolders } = await import('#node/io/make-folder-node.js');
  const { stageFile } = await import('#node/io/atomic-write-node.js');
  await makeFolders(dir);
  const tensors = await stageFile(`${dir}/${PEFT_WEIGHTS_FILE}`, weights);
  const json = await stageFile(`${dir}/${PEFT_CONFIG_FILE}`, config).catch(async (error: unknown) => {
    await tensors.discard();
    throw error;
  });
  await tensors.commit();
  await json.commit();
}

export interface LoadAdapterOptions {
  /** What the adapter is called on the model; default 'default'. */
  name?: string;
}

/**
 * Puts the adapter of a folder (or of its two files' bytes) on a built model, and makes it the one in use. The model may have others, and be
 * quantized. Throws FormatError for damaged files, for settings that aren't known (by name), and with a list of the keys that are missing,
 * extra or misshaped; the model is as it was then.
 */
export async function loadAdapter(model: AnyModel, source: string | AdapterFiles, options: LoadAdapterOptions = {}): Promise<PeftConfig> {
  checkOptionNames(options, { name: true }, 'loadAdapter');
  requireBuilt(model, 'loadAdapter');
  const { name = DEFAULT_ADAPTER } = options;
  const files = await open(source);
  try {
    const { config, tensors } = files;
    const { paths, saved } = modulesIn(model, config, tensors.names(), files.configName);
    requireFit(tensors, expectedEntries(model, config, paths, saved), `${files.weightsName}: an adapter for ${model.label}`);
    const values = new Map<string, TypedArray>();
    for (const key of tensors.names()) {
      const { dtype, data } = await tensors.read(key);
      if (isFloatDType(dtype)) values.set(key, convertFloats(data, dtype, 'f32'));
    }
    const { rank, alpha, dropout, rsLora } = config;
    addAdapter(model, { name, settings: { rank, alpha, dropout, rsLora }, paths, saved, nextSeed: null }, `loadAdapter ${model.label}`);
    for (const { key, variable } of adaptedLayers(model).flatMap((l) => l.entries(name))) {
      const data = values.get(key);
      if (data) variable.assign(wrap(data, variable.shape, 'f32'));
    }
    return config;
  } finally {
    await files.tensors.close();
  }
}

/** An adapter's files, of which only the config and the tensors' header are in memory. */
interface OpenAdapter {
  readonly config: PeftConfig;
  readonly tensors: Pick<TensorFiles, 'names' | 'info' | 'read' | 'close'>;
  readonly configName: string;
  readonly weightsName: string;
}
async function open(source: string | AdapterFiles): Promise<OpenAdapter> {
  if (typeof source !== 'string') return openBytes(source);
  const { openFile } = await import('#node/io/read-file-node.js');
  const { openSafetensors } = await import('#node/io/safetensors-files-node.js');
  const [configName, weightsName] = [`${source}/${PEFT_CONFIG_FILE}`, `${source}/${PEFT_WEIGHTS_FILE}`];
  const file = await openFile(configName);
  try {
    // One byte more than is allowed is enough to be refused.
    const config = readPeftConfig(await file.read(0, Math.min(file.size, PEFT_CONFIG_LIMIT + 1)), configName);
    return { config, tensors: await openSafetensors(weightsName), configName, weightsName };
  } finally {
    await file.close();
  }
}
function openBytes(source: AdapterFiles): OpenAdapter {
  const given: unknown = source;
  if (typeof given !== 'object' || given === null || !(source.config instanceof Uint8Array))
    throw new ConfigError(`loadAdapter: expected a folder's path or { config, weights }, received ${quote(given)}.`);
  const config = readPeftConfig(source.config, PEFT_CONFIG_FILE);
  const { weights } = source;
  const { tensors } = readSafetensors(weights instanceof Uint8Array ? weights : concatBytes([...weights]), PEFT_WEIGHTS_FILE);
  const get = (key: string): TensorData => named(tensors, key, PEFT_WEIGHTS_FILE);
  return {
    config,
    tensors: {
      names: () => [...tensors.keys()],
      info: (key) => ({ ...get(key), bytes: get(key).data.byteLength }),
      // The file's own memory may be changed by who gave it.
      read: async (key) => ({ ...get(key), data: get(key).data.slice() }),
      close: async () => undefined,
    },
    configName: PEFT_CONFIG_FILE,
    weightsName: PEFT_WEIGHTS_FILE,
  };
}

/** The model's modules that the file should be about: what its config names, and where that is a pattern, what its keys name. */
function modulesIn(model: AnyModel, config: PeftConfig, keys: readonly string[], who: string): { paths: string[]; saved: string[] } {
  const modules = loraModules(model);
  const { targetModules: targets, modulesToSave } = config;
  const choose = (names: readonly string[], option: string): string[] => {
    try {
      return selectModules(modules, names, model, option);
    } catch (error) {
      if (error instanceof ConfigError) throw new FormatError(`${who}: ${error.message}`, { cause: error });
      throw error;
    }
  };
  const saved = choose(modulesToSave, 'modules_to_save');
  const others = (paths: readonly string[]): string[] => paths.filter((path) => !saved.includes(path));
  if (!config.isPartial && targets === 'all-linear') return { paths: others(selectModules(modules, targets, model, who)), saved };
  const listed = Array.isArray(targets) ? choose(targets, 'target_modules') : null;
  if (!config.isPartial && listed) return { paths: others(listed), saved };
  // Of a pattern in Python's own language, or of some of the modules, only the file tells which.
  const inFile = new Set(keys.map(moduleOfKey));
  return { paths: others([...modules.keys()].filter((path) => inFile.has(path))), saved };
}

/** The keys and shapes of an adapter that isn't on the model yet. */
function expectedEntries(model: AnyModel, config: PeftConfig, paths: readonly string[], saved: readonly string[]): Map<string, Shape> {
  const entries = [...loraModules(model)].flatMap(([path, layer]) => {
    if (paths.includes(path)) return entriesFor(layer, { rank: config.rank });
    return saved.includes(path) ? entriesFor(layer, null) : [];
  });
  return new Map(entries);
}

/** Throws FormatError with a line for every tensor that is missing, extra, misshaped or no float. */
function requireFit(tensors: OpenAdapter['tensors'], expected: ReadonlyMap<string, Shape>, who: string): void {
  const lines: string[] = [];
  const names = new Set(tensors.names());
  for (const [key, shape] of expected) {
    const t = names.has(key) ? tensors.info(key) : null;
    if (!t) lines.push(`missing ${key} ${showShape(shape)}`);
    else if (!sameShape(t.shape, shape)) lines.push(`${key} has shape ${showShape(t.shape)}, expected ${showShape(shape)}`);
    else if (!isFloatDType(t.dtype)) lines.push(`${key} is ${t.dtype}, expected f32, f16 or bf16`);
  }
  for (const key of names) if (!expected.has(key)) lines.push(`extra ${quote(key)} ${showShape(tensors.info(key).shape)}`);
  if (lines.length > 0)
    throw new FormatError(
      `${who}: ${lines.length} of its tensors do not fit. Expected those of the modules that the config names. ${lines.slice(0, 12).join('; ')}${lines.length > 12 ? '; …' : ''}.`,
    );
}
