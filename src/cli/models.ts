/** @file The models of the command line: the two that it can build, files, and whether a model fits a data set. */
import { stat } from 'node:fs/promises';
import { quote, reasonOf } from '../base/errors.js';
import { decodeUtf8, isRecord } from '../io/bytes.js';
import { readFileBytes } from '../io/read-file-node.js';
import { readTenon, type TenonParts, tenonChunks } from '../io/tenon-file.js';
import * as layers from '../layers/index.js';
import { deserialize, isSerialized } from '../layers/registry.js';
import { Model, modelFromParts, type Sequential, sequential } from '../model/index.js';
import { modelParts } from '../model/save.js';
import type { LoadedDataset } from './datasets.js';
import { UsageError } from './failure.js';
import { isTenonFile, requireContent } from './file-kinds.js';
import { type DatasetName, datasetNames } from './program.js';

/** What the command line puts into a model's file beside the model. */
export interface ModelNotes {
  /** In label order; null when the file doesn't say. */
  readonly classNames: readonly string[] | null;
  readonly dataset: DatasetName | null;
}
export interface LoadedModel extends ModelNotes {
  readonly model: Model;
}

const builders: Readonly<Record<string, (pictureShape: readonly number[], classes: number) => Sequential>> = {
  // The tutorial's network. Pictures stay bytes up to the first layer, so that a saved model takes plain pictures.
  cnn: (pictureShape, classes) =>
    sequential({
      name: 'cnn',
      layers: [
        layers.rescaling({ scale: 1 / 255, inputShape: pictureShape }),
        layers.conv2d({ filters: 32, kernelSize: 3, activation: 'relu' }),
        layers.maxPooling2d({ poolSize: 2 }),
        layers.conv2d({ filters: 64, kernelSize: 3, activation: 'relu' }),
        layers.maxPooling2d({ poolSize: 2 }),
        layers.flatten(),
        layers.dense({ units: 128, activation: 'relu' }),
        layers.dense({ units: classes, activation: 'softmax' }),
      ],
    }),
  mlp: (pictureShape, classes) =>
    sequential({
      name: 'mlp',
      layers: [
        layers.rescaling({ scale: 1 / 255, inputShape: pictureShape }),
        layers.flatten(),
        layers.dense({ units: 256, activation: 'relu' }),
        layers.dropout({ rate: 0.2 }),
        layers.dense({ units: 128, activation: 'relu' }),
        layers.dropout({ rate: 0.2 }),
        layers.dense({ units: classes, activation: 'softmax' }),
      ],
    }),
};

export const isBuiltIn = (name: string): boolean => Object.hasOwn(builders, name);

/** A new `cnn` or `mlp` for pictures [height, width, channels]. */
export const buildModel = (name: string, pictureShape: readonly number[], classes: number): Model => builders[name](pictureShape, classes);

/** Throws UsageError when `path` is no file. */
export async function requireFile(what: string, path: string): Promise<void> {
  const info = await stat(path).catch(() => null);
  if (!info) throw new UsageError(`${what}: there is no file ${path}.`);
  if (!info.isFile()) throw new UsageError(`${what}: ${path} is a folder. Expected a file.`);
}

/**
 * The model of a .tenon file, or of a .json file that holds a config. Throws UsageError when there is none or the file is of
 * another kind, FormatError when it is damaged, ConfigError when it has unknown layers.
 */
export async function loadModelFile(path: string): Promise<LoadedModel> {
  await requireFile('model', path);
  const bytes = await readFileBytes(path);
  requireContent(path, bytes.length);
  if (!path.endsWith('.json')) {
    if (!isTenonFile(bytes)) throw new UsageError(`model: ${path} is no .tenon file. Expected what tenon train or model.save wrote.`);
    const parts = readTenon(bytes, path);
    if (!isRecord(parts.json.model))
      throw new UsageError(`model: ${path} holds no model config (weights alone?). Expected what tenon train or model.save wrote.`);
    return { model: modelFromParts(parts, path) as Model, ...notesOf(parts) };
  }
  let config: unknown;
  try {
    config = JSON.parse(decodeUtf8(bytes));
  } catch (error) {
    throw new UsageError(`model: ${path} is no JSON (${reasonOf(error)}). Expected { className, config }.`);
  }
  if (!isSerialized(config))
    throw new UsageError(`model: ${path} describes no model. Expected { className, config }, received ${quote(config)}.`);
  const model = deserialize(config, path);
  if (!(model instanceof Model))
    throw new UsageError(`model: ${path} describes no model. Expected the config of one: { className, config }.`);
  return { model, classNames: null, dataset: null };
}

function notesOf({ json }: TenonParts): ModelNotes {
  const notes = isRecord(json.commandLine) ? json.commandLine : {};
  const names = notes.classNames;
  return {
    classNames: Array.isArray(names) && names.every((n) => typeof n === 'string') ? names : null,
    dataset: datasetNames.find((n) => n === notes.dataset) ?? null,
  };
}

/** Saves a model with the notes that `evaluate` and `predict` use. */
export async function saveModelFile(model: Model, path: string, notes: ModelNotes): Promise<void> {
  const parts = await modelParts(model);
  const { writeFileAtomically } = await import('../io/atomic-write-node.js');
  await writeFileAtomically(path, tenonChunks({ ...parts, json: { ...parts.json, commandLine: { ...notes } } }));
}

/** [height, width, channels] that a model takes, null where any; null when it isn't built. Throws UsageError for other models. */
export function pictureShapeOf(model: Model, path: string): readonly (number | null)[] | null {
  const shape = model.buildShape;
  if (!shape) return null;
  if (shape.length !== 4 || Array.isArray(shape[0]))
    throw new UsageError(`${path}: the model takes ${quote(shape)}. Expected pictures: [null, height, width, channels].`);
  return (shape as readonly (number | null)[]).slice(1);
}

/** Throws UsageError when a model cannot be used on a data set. */
export function requireFit(model: Model, path: string, dataset: LoadedDataset): void {
  const wanted = pictureShapeOf(model, path);
  if (wanted && (wanted.length !== 3 || wanted.some((d, i) => d !== null && d !== dataset.pictureShape[i])))
    throw new UsageError(
      `${path}: the model takes pictures ${wanted.map((d) => d ?? '?').join('×')} and ${dataset.name} has ${dataset.pictureShape.join('×')}. Use another --dataset or model.`,
    );
  model.prepare([{ shape: [1, ...dataset.pictureShape], dtype: 'u8' }], path);
  const outputs = model.outputSpecs();
  const classes = outputs[0].shape[outputs[0].shape.length - 1];
  if (outputs.length !== 1 || outputs[0].shape.length !== 2 || classes !== dataset.classNames.length)
    throw new UsageError(
      `${path}: the model gives ${outputs.map((o) => `[${o.shape.map((d) => d ?? '?').join(', ')}]`).join(', ')} and ${dataset.name} has ${dataset.classNames.length} classes. Expected [?, ${dataset.classNames.length}]. Use another --dataset or model.`,
    );
}
