/** @file A model's weights alone: as safetensors, and back from safetensors or .tenon files. */

import { concatBytes } from '../base/bytes.js';
import { ConfigError, FormatError } from '../base/errors.js';
import { readSafetensors, safetensorsChunks, type TensorMap } from '../io/safetensors.js';
import { type ByteSource, readSource } from '../io/source.js';
import { readTenon } from '../io/tenon-file.js';
import { restore, snapshot } from '../train/tensors.js';
import type { AnyModel } from './model.js';

/** Throws ConfigError for a model without weights. */
export function requireBuilt(model: AnyModel, what: string): void {
  if (!model.built)
    throw new ConfigError(
      `${what} ${model.label}: it has no weights yet. Expected a built model. Give an inputShape, or apply it to data first.`,
    );
}

async function weightsChunks(model: AnyModel, what: string): Promise<Uint8Array[]> {
  requireBuilt(model, what);
  return safetensorsChunks(await snapshot(model.weights));
}

/** Writes the weights alone to `path`. */
export async function saveWeights(model: AnyModel, path: string): Promise<void> {
  const chunks = await weightsChunks(model, 'saveWeights');
  const { writeFileAtomically } = await import('#node/io/atomic-write-node.js');
  await writeFileAtomically(path, chunks);
}

/** The same in memory. */
export const weightsBytes = async (model: AnyModel): Promise<Uint8Array<ArrayBuffer>> =>
  concatBytes(await weightsChunks(model, 'weightsToBytes'));

/** Overwrites a model's weights from a safetensors or .tenon file, by its path or its bytes. Throws FormatError that lists what doesn't fit. */
export async function loadWeights(model: AnyModel, source: ByteSource): Promise<void> {
  requireBuilt(model, 'loadWeights');
  const { bytes, name } = await readSource(source, `loadWeights ${model.label}`);
  // A zip begins with "PK"; a safetensors header is never that long.
  const isZip = bytes[0] === 0x50 && bytes[1] === 0x4b && bytes[2] === 3 && bytes[3] === 4;
  let tensors: TensorMap;
  if (isZip) {
    const parts = readTenon(bytes, name);
    if (!parts.tensors.weights) throw new FormatError(`${name}: it holds no weights. Expected what save or saveWeights wrote.`);
    tensors = parts.tensors.weights;
  } else tensors = readSafetensors(bytes, name).tensors;
  restore(tensors, model.weights, `${name}: weights for ${model.label}`);
}
