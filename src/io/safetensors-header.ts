/**
 * @file The header of a safetensors file and the meaning of its entries, apart from where the bytes come from: a whole file in memory
 * (safetensors.ts) or positioned reads of one on disk (safetensors-files-node.ts). Strict as the reference reader
 * (github.com/huggingface/safetensors, tensor.rs): the tensors tile the data without gap or overlap, the header is bounded.
 */

import { type DType, dtypes, type TypedArray } from '../base/dtype.js';
import { ConfigError, FormatError, quote } from '../base/errors.js';
import { type Shape, showShape, size } from '../base/shape.js';
import { decodeUtf8, encodeUtf8, isRecord } from './bytes.js';
import type { TensorData } from './tensor-files.js';

/** The reference reader's bound on the header. */
const MAX_HEADER = 100_000_000;
/** Data starts at a multiple of this, so that views and vector loads are aligned in an aligned file. */
const ALIGN = 64;

/** NumPy's bound on dimensions: a shape is shown in errors. */
const MAX_RANK = 64;

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

/** One tensor of a header: `length` elements in the bytes [begin, end) of the data that follow the header. */
export interface SafetensorsEntry {
  readonly name: string;
  readonly file: FileDType;
  readonly shape: Shape;
  readonly length: number;
  readonly begin: number;
  readonly end: number;
}

export interface SafetensorsHeader {
  readonly entries: readonly SafetensorsEntry[];
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * The length of the header, from a file's first 8 bytes.
 * @param fileBytes the length of the whole file.
 * @throws FormatError when the file is too short for it, or it is beyond the bound.
 */
export function headerLengthOf(first: Uint8Array, fileBytes: number, where: string): number {
  if (first.length < 8 || fileBytes < 8)
    throw new FormatError(`${where}: the file is truncated. Expected at least 8 bytes, received ${Math.min(first.length, fileBytes)}.`);
  const length = Number(new DataView(first.buffer, first.byteOffset, 8).getBigUint64(0, true));
  if (length > MAX_HEADER)
    throw new FormatError(
      `${where}: the header is too large. Expected at most ${MAX_HEADER} bytes, received ${length}. Is this a safetensors file?`,
    );
  if (8 + length > fileBytes)
    throw new FormatError(
      `${where}: the file is truncated inside its header. Expected ${8 + length} bytes or more, received ${fileBytes}.`,
    );
  return length;
}

/**
 * The entries and free texts of a header.
 * @param dataLength how many bytes follow the header.
 * @throws FormatError naming the tensor when the header is malformed, a dtype is unknown, or the tensors' bytes overlap, leave holes
 * or pass the end.
 */
export function parseSafetensorsHeader(json: Uint8Array, dataLength: number, where: string): SafetensorsHeader {
  const entries: SafetensorsEntry[] = [];
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(parseJson(json, where))) {
    if (name === '__metadata__') metadata = parseMetadata(value, where);
    else entries.push(parseEntry(name, value, dataLength, where));
  }
  checkTiling(entries, dataLength, where);
  return { entries, metadata };
}

function parseJson(bytes: Uint8Array, where: string): Record<string, unknown> {
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

function parseEntry(name: string, value: unknown, dataLength: number, where: string): SafetensorsEntry {
  const who = `${where}: tensor ${quote(name)}`;
  if (!isRecord(value)) throw new FormatError(`${who} is malformed. Expected an object of dtype, shape and data_offsets.`);
  const { dtype, shape, data_offsets: offsets } = value;
  const extra = Object.keys(value).find((key) => key !== 'dtype' && key !== 'shape' && key !== 'data_offsets');
  if (extra !== undefined) throw new FormatError(`${who} has the unknown field ${quote(extra)}. Expected dtype, shape and data_offsets.`);
  if (typeof dtype !== 'string' || !Object.hasOwn(fileDTypes, dtype))
    throw new FormatError(
      `${who} has an unknown dtype. Expected one of ${Object.keys(fileDTypes).join(', ')}, received ${quote(dtype)}. Convert it when the file is written.`,
    );
  if (!Array.isArray(shape) || shape.length > MAX_RANK || !shape.every(isCount))
    throw new FormatError(`${who} has a malformed shape. Expected a list of at most ${MAX_RANK} integers ≥ 0, received ${quote(shape)}.`);
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

function checkTiling(entries: readonly SafetensorsEntry[], dataLength: number, where: string): void {
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

/**
 * The tensor of an entry from its bytes alone: a view of `raw` wherever alignment allows. I16, U16 and I64 come as i32.
 * @throws FormatError naming the tensor when a 64-bit integer doesn't fit, or a BOOL is neither 0 nor 1.
 */
export function decodeTensor(e: SafetensorsEntry, raw: Uint8Array, where: string): TensorData {
  const { dtype, wide } = e.file;
  const ArrayType = dtypes[dtype].array;
  if (wide) {
    const out = new ArrayType(e.length);
    const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
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
  if (dtype === 'bool' && raw.some((x) => x > 1))
    throw new FormatError(`${where}: tensor ${quote(e.name)} holds a BOOL that is neither 0 nor 1. The file is damaged.`);
  return { dtype, shape: e.shape, data: viewAs(dtype, raw, e.length) };
}

/** The elements in place where they are aligned, copied where not. */
export function viewAs(dtype: DType, raw: Uint8Array, length: number): TypedArray {
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

/** A tensor's row in a header to be written. */
export interface HeaderRow {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
}

/**
 * The beginning of a file whose tensors follow in this order without gaps; its length is a multiple of 64.
 * @throws ConfigError when there are too many tensors for one header.
 */
export function safetensorsHeader(rows: readonly HeaderRow[], metadata: Readonly<Record<string, string>>): Uint8Array {
  const fields: [string, unknown][] = [];
  if (Object.keys(metadata).length > 0) fields.push(['__metadata__', metadata]);
  let at = 0;
  for (const { name, dtype, shape } of rows) {
    const end = at + size(shape) * dtypes[dtype].bytes;
    fields.push([name, { dtype: fileNames[dtype], shape, data_offsets: [at, end] }]);
    at = end;
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
  return head;
}

/** The order of tensors in a file that keeps every one aligned: by element size, largest first, else as given. */
export const byElementSize = (a: { readonly dtype: DType }, b: { readonly dtype: DType }): number =>
  dtypes[b.dtype].bytes - dtypes[a.dtype].bytes;

/** Throws ConfigError when a tensor's data does not match its dtype and shape, or its name is reserved. */
export function checkTensor(name: string, { dtype, shape, data }: TensorData): void {
  checkLayout(name, shape);
  checkElements(`safetensors: tensor ${quote(name)}`, { dtype, shape, data });
}

/** Throws ConfigError for a reserved name or a shape that isn't one. */
export function checkLayout(name: string, shape: Shape): void {
  const who = `safetensors: tensor ${quote(name)}`;
  if (name === '__metadata__') throw new ConfigError(`${who} has a reserved name. Rename it.`);
  if (!shape.every(isCount)) throw new ConfigError(`${who} has shape ${showShape(shape)}. Expected integers ≥ 0.`);
}

/** Throws ConfigError when the data aren't what dtype and shape say. */
export function checkElements(who: string, { dtype, shape, data }: TensorData): void {
  if (!(data instanceof dtypes[dtype].array))
    throw new ConfigError(`${who}: dtype ${dtype} is held in a ${dtypes[dtype].array.name}, received a ${data.constructor.name}.`);
  const length = shape.reduce((n, d) => n * d, 1);
  if (data.length !== length)
    throw new ConfigError(
      `${who}: its data and shape disagree. Expected ${length} elements for ${showShape(shape)}, received ${data.length}.`,
    );
}
