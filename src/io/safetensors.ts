/**
 * @file safetensors: an 8-byte length, a JSON header (name → dtype, shape, offsets) and the tensors' bytes, little-endian.
 * Strict as the reference reader (github.com/huggingface/safetensors, tensor.rs): the tensors tile the data without gap
 * or overlap, the header is bounded. What is read is views of the file's bytes wherever alignment allows.
 */

import { concatBytes } from '../base/bytes.js';
import { type DType, dtypes, type TypedArray } from '../base/dtype.js';
import { ConfigError, FormatError, quote } from '../base/errors.js';
import { type Shape, showShape } from '../base/shape.js';
import { decodeUtf8, encodeUtf8, isRecord } from './bytes.js';

/** A tensor on the host: `data` holds `shape`'s elements row-major in the storage form of `dtype`. */
export interface TensorData {
  readonly dtype: DType;
  readonly shape: Shape;
  readonly data: TypedArray;
}

export type TensorMap = Map<string, TensorData>;

/** What a safetensors file holds: the tensors and the free `__metadata__` texts. */
export interface Safetensors {
  readonly tensors: TensorMap;
  readonly metadata: Readonly<Record<string, string>>;
}

/** The reference reader's bound on the header. */
const MAX_HEADER = 100_000_000;
/** Data starts at a multiple of this, so that views and vector loads are aligned in an aligned file. */
const ALIGN = 64;

/** How a file's dtype is held here: `wide` ones are converted element by element with a range check. */
interface FileDType {
  readonly bytes: number;
  readonly dtype: DType;
  readonly wide?: (view: DataView, offset: number) => number | bigint;
}

const fileDTypes: Readonly<Record<string, FileDType>> = {
  F32: { bytes: 4, dtype: 'f32' },
  F16: { bytes: 2, dtype: 'f16' },
  BF16: { bytes: 2, dtype: 'bf16' },
  I32: { bytes: 4, dtype: 'i32' },
  U32: { bytes: 4, dtype: 'u32' },
  I8: { bytes: 1, dtype: 'i8' },
  U8: { bytes: 1, dtype: 'u8' },
  BOOL: { bytes: 1, dtype: 'bool' },
  I16: { bytes: 2, dtype: 'i32', wide: (view, at) => view.getInt16(at, true) },
  U16: { bytes: 2, dtype: 'i32', wide: (view, at) => view.getUint16(at, true) },
  I64: { bytes: 8, dtype: 'i32', wide: (view, at) => view.getBigInt64(at, true) },
};

const fileNames: Readonly<Record<DType, string>> = {
  f32: 'F32',
  f16: 'F16',
  bf16: 'BF16',
  i32: 'I32',
  u32: 'U32',
  i8: 'I8',
  u8: 'U8',
  bool: 'BOOL',
};

interface Entry {
  readonly name: string;
  readonly file: FileDType;
  readonly shape: Shape;
  readonly length: number;
  readonly begin: number;
  readonly end: number;
}

/**
 * Reads a safetensors file. I16, U16 and I64 come as i32 (I64 with a range check); other dtypes than those of the table are refused.
 * @param where names the file in errors.
 * @throws FormatError naming the tensor when the header is too large or malformed, a dtype is unknown, or the tensors' bytes
 * overlap, leave holes or pass the end.
 */
export function readSafetensors(bytes: Uint8Array, where = 'safetensors'): Safetensors {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 8) throw new FormatError(`${where}: the file is truncated. Expected at least 8 bytes, received ${bytes.length}.`);
  const headerLength = Number(view.getBigUint64(0, true));
  if (headerLength > MAX_HEADER)
    throw new FormatError(
      `${where}: the header is too large. Expected at most ${MAX_HEADER} bytes, received ${headerLength}. Is this a safetensors file?`,
    );
  if (8 + headerLength > bytes.length)
    throw new FormatError(
      `${where}: the file is truncated inside its header. Expected ${8 + headerLength} bytes or more, received ${bytes.length}.`,
    );
  const header = parseHeader(bytes.subarray(8, 8 + headerLength), where);
  const data = bytes.subarray(8 + headerLength);
  const entries: Entry[] = [];
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') metadata = parseMetadata(value, where);
    else entries.push(parseEntry(name, value, data.length, where));
  }
  checkTiling(entries, data.length, where);
  return { tensors: new Map(entries.map((e) => [e.name, load(e, data, where)])), metadata };
}

function parseHeader(bytes: Uint8Array, where: string): Record<string, unknown> {
  let header: unknown;
  try {
    header = JSON.parse(decodeUtf8(bytes));
  } catch (error) {
    throw new FormatError(`${where}: the header is not JSON in UTF-8. The file is damaged or no safetensors file.`, { cause: error });
  }
  if (!isRecord(header)) throw new FormatError(`${where}: the header is not a JSON object. The file is damaged or no safetensors file.`);
  return header;
}

function parseMetadata(value: unknown, where: string): Record<string, string> {
  if (!isRecord(value)) throw new FormatError(`${where}: __metadata__ is malformed. Expected an object of strings.`);
  const entries: [string, string][] = [];
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string') throw new FormatError(`${where}: __metadata__ is malformed. Expected a string for ${quote(key)}.`);
    entries.push([key, text]);
  }
  return Object.fromEntries(entries);
}

const isCount = (x: unknown): x is number => typeof x === 'number' && Number.isSafeInteger(x) && x >= 0;

function parseEntry(name: string, value: unknown, dataLength: number, where: string): Entry {
  const who = `${where}: tensor ${quote(name)}`;
  if (!isRecord(value)) throw new FormatError(`${who} is malformed. Expected an object of dtype, shape and data_offsets.`);
  const { dtype, shape, data_offsets: offsets } = value;
  const extra = Object.keys(value).find((key) => key !== 'dtype' && key !== 'shape' && key !== 'data_offsets');
  if (extra !== undefined) throw new FormatError(`${who} has the unknown field ${quote(extra)}. Expected dtype, shape and data_offsets.`);
  if (typeof dtype !== 'string' || !Object.hasOwn(fileDTypes, dtype))
    throw new FormatError(
      `${who} has an unknown dtype. Expected one of ${Object.keys(fileDTypes).join(', ')}, received ${quote(dtype)}. Convert it when the file is written.`,
    );
  if (!Array.isArray(shape) || !shape.every(isCount))
    throw new FormatError(`${who} has a malformed shape. Expected a list of integers ≥ 0, received ${quote(shape)}.`);
  const extents: readonly number[] = shape;
  const file = fileDTypes[dtype];
  const length = extents.reduce((n, d) => n * d, 1);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount))
    throw new FormatError(`${who} has malformed data_offsets. Expected [begin, end], received ${quote(offsets)}.`);
  const [begin, end]: readonly number[] = offsets;
  if (begin > end || end > dataLength)
    throw new FormatError(
      `${who} lies outside the file. Expected 0 ≤ begin ≤ end ≤ ${dataLength}, received [${begin}, ${end}]. The file is truncated or damaged.`,
    );
  if (length * file.bytes !== end - begin)
    throw new FormatError(
      `${who}: its size and shape disagree. Expected ${length * file.bytes} bytes for ${dtype} ${showShape(extents)}, received ${end - begin}.`,
    );
  return { name, file, shape: extents, length, begin, end };
}

function checkTiling(entries: readonly Entry[], dataLength: number, where: string): void {
  let at = 0;
  for (const e of [...entries].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (e.begin !== at)
      throw new FormatError(
        `${where}: tensor ${quote(e.name)} ${e.begin < at ? 'overlaps the one before it' : 'leaves a hole before it'}. Expected its data at byte ${at}, received ${e.begin}.`,
      );
    at = e.end;
  }
  if (at !== dataLength)
    throw new FormatError(
      `${where}: ${dataLength - at} bytes follow the last tensor. Expected ${at} bytes of data, received ${dataLength}.`,
    );
}

function load(e: Entry, data: Uint8Array, where: string): TensorData {
  const { dtype, wide } = e.file;
  const ArrayType = dtypes[dtype].array;
  if (wide) {
    const out = new ArrayType(e.length);
    const view = new DataView(data.buffer, data.byteOffset + e.begin, e.end - e.begin);
    for (let i = 0; i < e.length; i++) {
      const x = wide(view, i * e.file.bytes);
      if (x < -2147483648 || x > 2147483647)
        throw new FormatError(
          `${where}: tensor ${quote(e.name)} holds ${x}, which does not fit i32. Expected 64-bit integers in [-2^31, 2^31).`,
        );
      out[i] = Number(x);
    }
    return { dtype, shape: e.shape, data: out };
  }
  const raw = data.subarray(e.begin, e.end);
  if (dtype === 'bool' && raw.some((x) => x > 1))
    throw new FormatError(`${where}: tensor ${quote(e.name)} holds a BOOL that is neither 0 nor 1. The file is damaged.`);
  return { dtype, shape: e.shape, data: viewAs(dtype, raw, e.length) };
}

/** The elements in place where they are aligned, copied where not. */
function viewAs(dtype: DType, raw: Uint8Array, length: number): TypedArray {
  const { bytes } = dtypes[dtype];
  const source = raw.byteOffset % bytes === 0 ? raw : raw.slice();
  switch (dtype) {
    case 'f32':
      return new Float32Array(source.buffer, source.byteOffset, length);
    case 'i32':
      return new Int32Array(source.buffer, source.byteOffset, length);
    case 'u32':
      return new Uint32Array(source.buffer, source.byteOffset, length);
    case 'f16':
    case 'bf16':
      return new Uint16Array(source.buffer, source.byteOffset, length);
    case 'i8':
      return new Int8Array(source.buffer, source.byteOffset, length);
    case 'u8':
    case 'bool':
      return new Uint8Array(source.buffer, source.byteOffset, length);
  }
}

/**
 * The file as pieces to be written one after another: the header and views of the tensors' own memory, so that a large model is saved without a copy of it.
 * Data is laid out by element size, largest first, so that every tensor is aligned.
 * @throws ConfigError when a tensor's data does not match its dtype and shape, or is named `__metadata__`.
 */
export function safetensorsChunks(tensors: ReadonlyMap<string, TensorData>, metadata: Readonly<Record<string, string>> = {}): Uint8Array[] {
  for (const [name, t] of tensors) checkTensor(name, t);
  const ordered = [...tensors].sort(([, a], [, b]) => dtypes[b.dtype].bytes - dtypes[a.dtype].bytes);
  const fields: [string, unknown][] = [];
  if (Object.keys(metadata).length > 0) fields.push(['__metadata__', metadata]);
  let at = 0;
  for (const [name, t] of ordered) {
    fields.push([name, { dtype: fileNames[t.dtype], shape: t.shape, data_offsets: [at, at + t.data.byteLength] }]);
    at += t.data.byteLength;
  }
  const json = encodeUtf8(JSON.stringify(Object.fromEntries(fields)));
  const headerLength = Math.ceil((8 + json.length) / ALIGN) * ALIGN - 8;
  if (headerLength > MAX_HEADER)
    throw new ConfigError(
      `safetensors: the header is too large. Expected at most ${MAX_HEADER} bytes, received ${headerLength}. Use several files.`,
    );
  const head = new Uint8Array(8 + headerLength).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(headerLength), true);
  head.set(json, 8);
  return [head, ...ordered.map(([, { data }]) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength))];
}

function checkTensor(name: string, { dtype, shape, data }: TensorData): void {
  const who = `safetensors: tensor ${quote(name)}`;
  if (name === '__metadata__') throw new ConfigError(`${who} has a reserved name. Rename it.`);
  if (!shape.every(isCount)) throw new ConfigError(`${who} has shape ${showShape(shape)}. Expected integers ≥ 0.`);
  if (!(data instanceof dtypes[dtype].array))
    throw new ConfigError(`${who}: dtype ${dtype} is held in a ${dtypes[dtype].array.name}, received a ${data.constructor.name}.`);
  const length = shape.reduce((n, d) => n * d, 1);
  if (data.length !== length)
    throw new ConfigError(
      `${who}: its data and shape disagree. Expected ${length} elements for ${showShape(shape)}, received ${data.length}.`,
    );
}

/** A safetensors file in one array; see `safetensorsChunks` for the form without copies and what is thrown. */
export function writeSafetensors(tensors: ReadonlyMap<string, TensorData>, metadata: Readonly<Record<string, string>> = {}): Uint8Array {
  return concatBytes(safetensorsChunks(tensors, metadata));
}
