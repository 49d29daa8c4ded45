/**
 * @file Models in safetensors files on disk, one file or shards with an index as Hugging Face lays them out. Reading takes the headers
 * alone and then a tensor at a time by its position; writing takes a tensor at a time. Either way no model is in memory twice.
 */
import { lstat, readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type DType, dtypes } from '../base/dtype.js';
import { ConfigError, FormatError, quote, reasonOf } from '../base/errors.js';
import { checkOptionNames } from '../base/option-names.js';
import { size } from '../base/shape.js';
import { type StagedFile, stageFile, writeFileAtomically } from './atomic-write-node.js';
import { decodeUtf8, encodeUtf8, isRecord } from './bytes.js';
import { convertedPieces, type FloatDType, isFloatDType } from './convert-floats.js';
import { makeFolders } from './make-folder-node.js';
import { openFile } from './read-file-node.js';
import {
  byElementSize,
  checkElements,
  checkLayout,
  decodeTensor,
  headerLengthOf,
  parseSafetensorsHeader,
  type SafetensorsEntry,
  safetensorsHeader,
} from './safetensors-header.js';
import type { PositionedReader } from './source.js';
import { named, type TensorEntry, type TensorFiles } from './tensor-files.js';

const SINGLE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';
/** Bounds on an index: published models have fewer than 300 shards. */
const MAX_INDEX = 100_000_000;
const MAX_SHARDS = 1000;

/** An open file and where its tensors are. */
interface Shard {
  readonly reader: PositionedReader;
  readonly start: number;
  readonly entries: readonly SafetensorsEntry[];
  readonly metadata: Readonly<Record<string, string>>;
}
interface Place {
  readonly shard: Shard;
  readonly entry: SafetensorsEntry;
}

/**
 * Opens a safetensors file, an index of shards, or a folder that holds `model.safetensors` or `model.safetensors.index.json`. Only the headers are read.
 * @throws ConfigError when there is nothing to open; FormatError when a header or the index is malformed, or the index and the shards
 * disagree: a tensor that is missing, in another shard than stated, or not stated.
 */
export async function openSafetensors(path: string): Promise<TensorFiles> {
  const file = await findFile(path);
  if (!file.endsWith('.json')) {
    const shard = await openShard(file);
    return tensorFiles(path, [shard], new Map(shard.entries.map((entry) => [entry.name, { shard, entry }])));
  }
  const shardOf = await readIndex(file);
  const shards = new Map<string, Shard>();
  try {
    for (const name of new Set(shardOf.values())) shards.set(name, await openShard(join(dirname(file), name)));
    return tensorFiles(path, [...shards.values()], placesOf(file, shardOf, shards));
  } catch (error) {
    for (const { reader } of shards.values()) await reader.close();
    throw error;
  }
}

/** The file or index that `path` means. */
async function findFile(path: string): Promise<string> {
  const names = await readdir(path).catch(() => null);
  if (names === null) return path;
  for (const name of [SINGLE, INDEX]) if (names.includes(name)) return join(path, name);
  const near = names.filter((name) => name.includes('.safetensors')).slice(0, 3);
  throw new ConfigError(
    `openSafetensors: ${path} holds no weights. Expected ${SINGLE} or ${INDEX}, received ${near.length > 0 ? near.join(', ') : 'neither'}. Name the file itself if it is called otherwise.`,
  );
}

async function openShard(path: string): Promise<Shard> {
  const reader = await openFile(path);
  try {
    const length = headerLengthOf(await reader.read(0, Math.min(8, reader.size)), reader.size, path);
    const start = 8 + length;
    return { reader, start, ...parseSafetensorsHeader(await reader.read(8, length), reader.size - start, path) };
  } catch (error) {
    await reader.close();
    throw error;
  }
}

/** The index's table from tensors to files of its own folder. */
async function readIndex(path: string): Promise<Map<string, string>> {
  const reader = await openFile(path);
  try {
    if (reader.size > MAX_INDEX)
      throw new FormatError(`${path}: the index is too large. Expected at most ${MAX_INDEX} bytes, received ${reader.size}.`);
    return parseSafetensorsIndex(await reader.read(0, reader.size), path);
  } finally {
    await reader.close();
  }
}

/**
 * The `weight_map` of an index: for every tensor the name of the file that holds it.
 * @throws FormatError when it is no such index, or names a file that isn't a plain name ending in .safetensors.
 */
export function parseSafetensorsIndex(bytes: Uint8Array, where: string): Map<string, string> {
  let index: unknown;
  try {
    index = JSON.parse(decodeUtf8(bytes));
  } catch (error) {
    throw new FormatError(`${where}: the index is not JSON in UTF-8. The file is damaged.`, { cause: error });
  }
  const map = isRecord(index) ? index.weight_map : undefined;
  if (!isRecord(map)) throw new FormatError(`${where}: the index has no weight_map. Expected an object of tensors' names and files.`);
  const shardOf = new Map<string, string>();
  for (const [name, file] of Object.entries(map)) {
    // Nothing outside of the folder may be opened: no separators, drives or dots alone.
    if (typeof file !== 'string' || !/^[^/\\:\0]{1,255}\.safetensors$/.test(file))
      throw new FormatError(
        `${where}: tensor ${quote(name)} has no proper file. Expected the name of a .safetensors file in the same folder, received ${quote(file)}.`,
      );
    shardOf.set(name, file);
  }
  const shards = new Set(shardOf.values()).size;
  if (shards > MAX_SHARDS) throw new FormatError(`${where}: there are too many files. Expected at most ${MAX_SHARDS}, received ${shards}.`);
  return shardOf;
}

/** Every tensor's place, when the index and the shards say the same. */
function placesOf(path: string, shardOf: ReadonlyMap<string, string>, shards: ReadonlyMap<string, Shard>): Map<string, Place> {
  const places = new Map<string, Place>();
  for (const [file, shard] of shards)
    for (const entry of shard.entries) {
      const stated = shardOf.get(entry.name);
      if (stated !== file)
        throw new FormatError(
          `${path}: tensor ${quote(entry.name)} is in ${file}. The index ${stated === undefined ? 'does not name it' : `says ${stated}`}. The files are of different saves.`,
        );
      places.set(entry.name, { shard, entry });
    }
  for (const [name, file] of shardOf)
    if (!places.has(name))
      throw new FormatError(`${path}: tensor ${quote(name)} is not in ${file}, as the index says. The files are of different saves.`);
  return places;
}

function tensorFiles(path: string, shards: readonly Shard[], places: ReadonlyMap<string, Place>): TensorFiles {
  return {
    metadata: shards[0]?.metadata ?? {},
    names: () => [...places.keys()],
    info: (name) => {
      const { entry } = named(places, name, path);
      return { dtype: entry.file.dtype, shape: entry.shape, bytes: entry.end - entry.begin };
    },
    read: async (name) => {
      const { shard, entry } = named(places, name, path);
      const raw = await shard.reader.read(shard.start + entry.begin, entry.end - entry.begin);
      return decodeTensor(entry, raw, shard.reader.name);
    },
    close: async () => {
      for (const { reader } of shards) await reader.close();
    },
  };
}

export interface WriteSafetensorsOptions {
  /** A file with more than this many bytes of tensors is divided; default 5e9, as Hugging Face's. */
  readonly maxShardBytes?: number;
  /** Free texts of every file; default { format: 'pt' }, without which transformers opens none. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** What tensors of floats are stored as; default what they are. */
  readonly dtype?: FloatDType;
}
const optionNames: Readonly<Record<keyof WriteSafetensorsOptions, true>> = { maxShardBytes: true, metadata: true, dtype: true };

/** A tensor and how it will be stored. */
interface Stored {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly bytes: number;
  readonly entry: TensorEntry;
}

/**
 * Writes tensors to `folder` (made when missing) as `model.safetensors`, or as `model-00001-of-0000N.safetensors` and their index. Tensors are
 * asked for one after another. All files are on the disk before the first gets its name, and the index comes last: who reads finds the old model, the new
 * one or, for the moment in which shards replace shards, none; never a mixture. Weights of an older save under the other names are removed.
 * @returns the files' names, the index last.
 * @throws ConfigError for a name that comes twice, data that aren't as stated, or a folder that can't be written to; TenonError when the disk is full.
 */
export async function writeSafetensorsFiles(
  folder: string,
  entries: Iterable<TensorEntry>,
  options: WriteSafetensorsOptions = {},
): Promise<string[]> {
  const who = 'writeSafetensorsFiles';
  checkOptionNames(options, optionNames, who);
  const { maxShardBytes = 5e9, metadata = { format: 'pt' }, dtype } = options;
  if (!Number.isSafeInteger(maxShardBytes) || maxShardBytes < 1)
    throw new ConfigError(`${who}: maxShardBytes must be a whole number of bytes. Expected at least 1, received ${maxShardBytes}.`);
  if (dtype !== undefined && dtype !== 'f32' && dtype !== 'f16' && dtype !== 'bf16')
    throw new ConfigError(`${who}: dtype ${quote(dtype)} is not for weights. Expected f32, f16 or bf16.`);
  const shards = divide(plan(entries, dtype, who), maxShardBytes);
  const files = shards.map((_, i) => (shards.length === 1 ? SINGLE : `model-${digits(i + 1)}-of-${digits(shards.length)}.safetensors`));
  await makeFolders(folder).catch((error: unknown) => {
    throw new ConfigError(`${who}: the folder ${folder} can't be made (${reasonOf(error)}). Choose another place.`, { cause: error });
  });
  const staged: StagedFile[] = [];
  try {
    for (const [i, shard] of shards.entries()) staged.push(await stageFile(join(folder, files[i]), pieces(shard, metadata)));
    // Old shards with new ones among them must have no index.
    if (shards.length > 1) await rm(join(folder, INDEX), { force: true });
    for (const file of staged) await file.commit();
  } catch (error) {
    for (const file of staged) await file.discard();
    throw error;
  }
  if (shards.length > 1) {
    await writeFileAtomically(join(folder, INDEX), indexOf(shards, files));
    files.push(INDEX);
  }
  await removeOthers(folder, files);
  return files;
}

const digits = (n: number): string => String(n).padStart(5, '0');

function plan(entries: Iterable<TensorEntry>, dtype: FloatDType | undefined, who: string): Stored[] {
  const names = new Set<string>();
  return Array.from(entries, (entry) => {
    const { name, shape } = entry;
    checkLayout(name, shape);
    if (names.has(name)) throw new ConfigError(`${who}: two tensors are named ${quote(name)}. Give every one its own name.`);
    names.add(name);
    const stored = dtype !== undefined && isFloatDType(entry.dtype) ? dtype : entry.dtype;
    return { name, dtype: stored, shape, bytes: size(shape) * dtypes[stored].bytes, entry };
  });
}

/** Fills one file after another; every one but the last has something. */
function divide(tensors: readonly Stored[], most: number): Stored[][] {
  const shards: Stored[][] = [[]];
  let bytes = 0;
  for (const tensor of tensors) {
    if (bytes > 0 && bytes + tensor.bytes > most) {
      shards.push([]);
      bytes = 0;
    }
    shards[shards.length - 1].push(tensor);
    bytes += tensor.bytes;
  }
  return shards.map((shard) => shard.sort(byElementSize));
}

/** A file's bytes, piece after piece. */
async function* pieces(tensors: readonly Stored[], metadata: Readonly<Record<string, string>>): AsyncGenerator<Uint8Array> {
  yield safetensorsHeader(tensors, metadata);
  for (const { name, dtype, shape, entry } of tensors) {
    const data = await entry.data();
    checkElements(`writeSafetensorsFiles: tensor ${quote(name)}`, { dtype: entry.dtype, shape, data });
    for (const piece of convertedPieces(data, entry.dtype, dtype)) yield new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength);
  }
}

function indexOf(shards: readonly (readonly Stored[])[], files: readonly string[]): Uint8Array {
  const places = shards.flatMap((shard, i) => shard.map(({ name }): [string, string] => [name, files[i]]));
  places.sort(([a], [b]) => (a < b ? -1 : 1));
  const total = shards.flat().reduce((n, { bytes }) => n + bytes, 0);
  return encodeUtf8(`${JSON.stringify({ metadata: { total_size: total }, weight_map: Object.fromEntries(places) }, null, 2)}\n`);
}

/** Weights of an older save, which a reader might prefer: files by the exact names that are given here. */
async function removeOthers(folder: string, files: readonly string[]): Promise<void> {
  const isWeights = (name: string): boolean => name === SINGLE || name === INDEX || /^model-\d{5}-of-\d{5}\.safetensors$/.test(name);
  for (const name of await readdir(folder)) {
    if (!isWeights(name) || files.includes(name)) continue;
    const path = join(folder, basename(name));
    if (!(await lstat(path)).isDirectory()) await rm(path, { force: true });
  }
}
