/** @file Saving: a whole model as one .tenon file, or its weights as safetensors. */
import { ConfigError } from '../base/errors.js';
import { safetensorsChunks, type TensorMap } from '../io/safetensors.js';
import { type TenonParts, tenonChunks } from '../io/tenon-file.js';
import { serialize } from '../layers/registry.js';
import { describeCompile } from '../train/checkpoint.js';
import { snapshot } from '../train/tensors.js';
import type { AnyModel } from './model.js';

/** What a .tenon file holds of a model. Throws ConfigError when it isn't built or holds what has no name. */
export async function modelParts(model: AnyModel, options: { optimizer?: boolean } = {}): Promise<TenonParts> {
  requireBuilt(model, 'save');
  const tensors: Record<string, TensorMap> = { weights: await snapshot(model.weights) };
  const optimizer = model.compiled?.optimizer;
  const state = optimizer?.isBuilt ? optimizer.variables : [];
  if ((options.optimizer ?? true) && state.length > 0) tensors.optimizer = await snapshot(state);
  return { json: { model: serialize(model), buildShape: model.buildShape, compile: describeCompile(model) }, tensors };
}
function requireBuilt(model: AnyModel, what: string): void {
  if (!model.built)
    throw new ConfigError(
      `${what} ${model.label}: it has no weights yet. Expected a built model. Give an inputShape, or apply it to data first.`,
    );
}

/** Writes config, weights, compile options and the optimizer's state to `path`. */
export async function saveModel(model: AnyModel, path: string, options: { optimizer?: boolean } = {}): Promise<void> {
  const chunks = tenonChunks(await modelParts(model, options));
  const { writeFileAtomically } = await import('#node/io/atomic-write-node.js');
  await writeFileAtomically(path, chunks);
}

/** Writes the weights alone to `path`. */
export async function saveWeights(model: AnyModel, path: string): Promise<void> {
  requireBuilt(model, 'saveWeights');
  const chunks = safetensorsChunks(await snapshot(model.weights));
  const { writeFileAtomically } = await import('#node/io/atomic-write-node.js');
  await writeFileAtomically(path, chunks);
}
