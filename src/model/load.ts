/** @file Loading whole models: what save, toBytes and fit's checkpoints wrote. Own classes are registered or given. */
import { FormatError, quote, TenonError } from '../base/errors.js';
import { checkOptionNames } from '../base/option-names.js';
import { type ByteSource, readSource } from '../io/source.js';
import { readTenon, type TenonParts } from '../io/tenon-file.js';
import { registerLayers } from '../layers/all.js';
import type { PartialShape } from '../layers/layer.js';
import { type ConfigurableClass, deserialize, isSerialized, registerBuiltins, registerClass, type Serialized } from '../layers/registry.js';
import type { CompileOptions } from '../train/compiled.js';
import { restore } from '../train/tensors.js';
import { Functional } from './functional.js';
import { Lora, SavedCopy } from './lora-layer.js';
import { type AnyModel, Model, type Outputs } from './model.js';
import { Quantized } from './quantized.js';
import { Sequential } from './sequential.js';

export interface LoadOptions {
  /** Classes of your own by the names that the file uses; the same as registerClass before. */
  customObjects?: Readonly<Record<string, ConfigurableClass>>;
  /** Default true: also compile options and the optimizer's state. */
  compile?: boolean;
}

/**
 * The model of a .tenon file (saved model or checkpoint), by its path or its bytes, with weights and, when it was compiled, compile
 * options and optimizer state. Throws FormatError for damaged files, ConfigError for classes that aren't known.
 * @example
 * await sequential({ layers: [layers.dense({ units: 1, inputShape: [2] })] }).save('net.tenon');
 * const net = await loadModel('net.tenon');
 * console.log((await net.predict(ones([3, 2]))).shape, net.countParams()); // → [ 3, 1 ] 3
 */
export async function loadModel<Y extends Outputs = import('../tensor/index.js').Tensor>(
  source: ByteSource,
  options: LoadOptions = {},
): Promise<Model<Y>> {
  checkOptionNames(options, { customObjects: true, compile: true } satisfies Record<keyof LoadOptions, true>, 'loadModel');
  const { bytes, name } = await readSource(source, 'loadModel');
  return modelFromParts<Y>(readTenon(bytes, name), name, options);
}

/** The model of a .tenon file's parts. */
export function modelFromParts<Y extends Outputs>(parts: TenonParts, where: string, options: LoadOptions = {}): Model<Y> {
  registerLayers();
  registerBuiltins([Sequential, Functional, Lora, SavedCopy, Quantized]);
  for (const [name, cls] of Object.entries(options.customObjects ?? {})) registerClass(name, cls);
  const { json, tensors } = parts;
  if (json.model === null || json.model === undefined)
    throw new FormatError(
      `${where}: it holds no model config. Expected what model.save wrote. Make the model in code and use loadWeights.`,
    );
  if (!tensors.weights) throw new FormatError(`${where}: it holds no weights. Expected what model.save wrote.`);
  const model = deserialize(requireConfig(json.model, where), where);
  if (!(model instanceof Model))
    throw new FormatError(`${where}: its config is of a ${model.constructor.name}, no model. Expected what model.save wrote.`);
  try {
    orFormatError(where, () => finish(model, parts, where, options));
  } catch (error) {
    // A damaged config may ask for more memory than there is: initial values are not computed for nothing.
    for (const v of [...model.weights, ...(model.compiled?.optimizer.variables ?? [])]) v.abandon();
    throw error;
  }
  return model as Model<Y>;
}

/** Throws FormatError when `config` is nothing that could be made. */
function requireConfig(config: unknown, where: string): Serialized {
  if (isSerialized(config)) return config;
  throw new FormatError(`${where}: its config is no config. Expected { className, config }, received ${quote(config)}.`);
}

/** Builds and compiles the model, and gives it the file's tensors. */
function finish(model: AnyModel, { json, tensors }: TenonParts, where: string, options: LoadOptions): void {
  const shape = json.buildShape as PartialShape | readonly PartialShape[] | null | undefined;
  if (!model.built && shape)
    model.ensureBuilt((Array.isArray(shape[0]) ? shape : [shape]) as readonly PartialShape[], Array.isArray(shape[0]));
  if (tensors.weights) restore(tensors.weights, model.weights, `${where}: weights`);
  if ((options.compile ?? true) && json.compile) {
    model.compile(json.compile as CompileOptions);
    if (tensors.optimizer && model.compiled) {
      model.compiled.buildOptimizer(model.trainableWeights);
      restore(tensors.optimizer, model.compiled.optimizer.variables, `${where}: optimizer`);
    }
  }
}

/** What isn't an error of Tenon's comes from a value that no version wrote: the file is to blame. */
function orFormatError(where: string, work: () => void): void {
  try {
    work();
  } catch (error) {
    if (error instanceof TenonError || !(error instanceof TypeError || error instanceof RangeError)) throw error;
    throw new FormatError(`${where}: its config is malformed (${error.message}). Expected what model.save wrote. Restore a copy.`, {
      cause: error,
    });
  }
}
