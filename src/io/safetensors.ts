/**
 * @file safetensors: an 8-byte length, a JSON header (name → dtype, shape, offsets) and the tensors' bytes, little-endian.
 * Here: a file that is whole in memory; what is read is views of its bytes wherever alignment allows.
 */

import { concatBytes } from '../base/bytes.js';
import {
  byElementSize,
  checkTensor,
  decodeTensor,
  headerLengthOf,
  parseSafetensorsHeader,
  safetensorsHeader,
} from './safetensors-header.js';
import type { TensorData, TensorMap } from './tensor-files.js';

export type { TensorData, TensorMap } from './tensor-files.js';

/** What a safetensors file holds: the tensors and the free `__metadata__` texts. */
export interface Safetensors {
  readonly tensors: TensorMap;
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * Reads a safetensors file. I16, U16 and I64 come as i32 (I64 with a range check); other dtypes than those of the table are refused.
 * @param where names the file in errors.
 * @throws FormatError naming the tensor when the header is too large or malformed, a dtype is unknown, or the tensors' bytes
 * overlap, leave holes or pass the end.
 */
export function readSafetensors(bytes: Uint8Array, where = 'safetensors'): Safetensors {
  const start = 8 + headerLengthOf(bytes, bytes.length, where);
  const { entries, metadata } = parseSafetensorsHeader(bytes.subarray(8, start), bytes.length - start, where);
  const data = bytes.subarray(start);
  return { tensors: new Map(entries.map((e) => [e.name, decodeTensor(e, data.subarray(e.begin, e.end), where)])), metadata };
}

/**
 * The file as pieces to be written one after another: the header and views of the tensors' own memory, so that a large model is saved without a copy of it.
 * Data is laid out by element size, largest first, so that every tensor is aligned.
 * @throws ConfigError when a tensor's data does not match its dtype and shape, or is named `__metadata__`.
 */
export function safetensorsChunks(tensors: ReadonlyMap<string, TensorData>, metadata: Readonly<Record<string, string>> = {}): Uint8Array[] {
  for (const [name, t] of tensors) checkTensor(name, t);
  const ordered = [...tensors].map(([name, t]) => ({ name, ...t })).sort(byElementSize);
  return [
    safetensorsHeader(ordered, metadata),
    ...ordered.map(({ data }) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength)),
  ];
}

/** A safetensors file in one array; see `safetensorsChunks` for the form without copies and what is thrown. */
export function writeSafetensors(tensors: ReadonlyMap<string, TensorData>, metadata: Readonly<Record<string, string>> = {}): Uint8Array {
  return concatBytes(safetensorsChunks(tensors, metadata));
}
