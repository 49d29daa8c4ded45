/** @file Saving a whole model as one .tenon file, or as its bytes. */
import type { TensorMap } from '../io/safetensors.js';
import { type TenonParts, tenonChunks, writeTenon } from '../io/tenon-file.js';
import { serialize } from '../layers/registry.js';
import { describeCompile } from '../train/describe.js';
import { snapshot } from '../train/tensors.js';
import type { AnyModel } from './model.js';
import { requireBuilt } from './weights.js';

export interface SaveOptions {
  /** Default true: also the optimizer's state. */
  optimizer?: boolean;
}

/** What a .tenon file holds of a model. Throws ConfigError when it isn't built or holds what has no name. */
export async function modelParts(model: AnyModel, options: SaveOptions = {}): Promise<TenonParts> {
  requireBuilt(model, 'save');
  const tensors: Record<string, TensorMap> = { weights: await snapshot(model.weights) };
  const optimizer = model.compiled?.optimizer;
  const state = optimizer?.isBuilt ? optimizer.variables : [];
  if ((options.optimizer ?? true) && state.length > 0) tensors.optimizer = await snapshot(state);
  return { json: { model: serialize(model), buildShape: model.buildShape, compile: describeCompile(model) }, tensors };
}

/** Writes config, weights, compile options and the optimizer's state to `path`. */
export async function saveModel(model: AnyModel, path: string, options: SaveOptions = {}): Promise<void> {
  const chunks = tenonChunks(await modelParts(model, options));
  const { writeFileAtomically } = await import('#node/io/atomic-write-node.js');
  await writeFileAtomically(path, chunks);
}

/** The same in memory: what a page downloads or uploads. */
export const modelBytes = async (model: AnyModel, options: SaveOptions = {}): Promise<Uint8Array<ArrayBuffer>> =>
  writeTenon(await modelParts(model, options));
