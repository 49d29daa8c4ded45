/**
 * @file GGUF, the file of llama.cpp: a header of typed metadata and tensors' places, then their data at aligned offsets. Versions 2 and
 * 3 are read, strictly (ggml's src/gguf.cpp is the model), version 3 is written; both a tensor at a time. Shapes are row-major
 * here; in the file the fastest dimension comes first.
 */
import { type DType, dtypes } from '../base/dtype.js';
import { ConfigError, FormatError, quote } from '../base/errors.js';
import { type Shape, showShape, size } from '../base/shape.js';
import { encodeUtf8 } from './bytes.js';
import { convertedPieces, isFloatDType } from './convert-floats.js';
import { GgufCursor, type GgufValue, GgufWriter, MAX_HEADER, MoreBytes, showValue } from './gguf-values.js';
import { dequantizeQ8_0, packQ8_0, type Q8_0, Q8_0_BLOCK, Q8_0_BYTES, quantizeQ8_0, unpackQ8_0 } from './quantized-blocks.js';
import { checkElements, viewAs } from './safetensors-header.js';
import type { PositionedReader } from './source.js';
import { named, type TensorData, type TensorEntry } from './tensor-files.js';

export type { GgufArray, GgufValue } from './gguf-values.js';

/** ggml's types by their numbers: name, values in a block, bytes of a block (gguf-py's constants.py). */
const ggmlTypes: ReadonlyMap<number, { readonly name: string; readonly block: number; readonly bytes: number }> = new Map(
  (
    [
      [0, 'f32', 1, 4],
      [1, 'f16', 1, 2],
      [2, 'q4_0', 32, 18],
      [3, 'q4_1', 32, 20],
      [6, 'q5_0', 32, 22],
      [7, 'q5_1', 32, 24],
      [8, 'q8_0', Q8_0_BLOCK, Q8_0_BYTES],
      [9, 'q8_1', 32, 36],
      [10, 'q2_k', 256, 84],
      [11, 'q3_k', 256, 110],
      [12, 'q4_k', 256, 144],
      [13, 'q5_k', 256, 176],
      [14, 'q6_k', 256, 210],
      [15, 'q8_k', 256, 292],
      [16, 'iq2_xxs', 256, 66],
      [17, 'iq2_xs', 256, 74],
      [18, 'iq3_xxs', 256, 98],
      [19, 'iq1_s', 256, 50],
      [20, 'iq4_nl', 32, 18],
      [21, 'iq3_s', 256, 110],
      [22, 'iq2_s', 256, 82],
      [23, 'iq4_xs', 256, 136],
      [24, 'i8', 1, 1],
      [25, 'i16', 1, 2],
      [26, 'i32', 1, 4],
      [27, 'i64', 1, 8],
      [28, 'f64', 1, 8],
      [29, 'iq1_m', 256, 56],
      [30, 'bf16', 1, 2],
      [34, 'tq1_0', 256, 54],
      [35, 'tq2_0', 256, 66],
      [39, 'mxfp4', 32, 17],
      [40, 'nvfp4', 64, 36],
      [41, 'q1_0', 128, 18],
    ] as const
  ).map(([number, name, block, bytes]) => [number, { name, block, bytes }]),
);

/** What is written here; what is read here, too. */
const typeNumbers = { f32: 0, f16: 1, q8_0: 8, bf16: 30 } as const;
export type GgufType = keyof typeof typeNumbers;
const isGgufType = (name: string): name is GgufType => Object.hasOwn(typeNumbers, name);

const MAGIC = 0x46554747;
const DEFAULT_ALIGNMENT = 32;
const MAX_RANK = 4;
/** Bounds of the format on names, in bytes: for keys, for tensors when read, and when written (ggml's GGML_MAX_NAME). */
const MAX_KEY = 65535;
const MAX_NAME = 1024;
const MAX_WRITTEN_NAME = 63;

/** A tensor's row in a header: `bytes` bytes at `offset` after the header's `dataOffset`. `type` is ggml's name in lower case. */
export interface GgufTensor {
  readonly name: string;
  readonly shape: Shape;
  readonly type: string;
  readonly offset: number;
  readonly bytes: number;
}

export interface GgufHeader {
  readonly version: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: readonly GgufTensor[];
  readonly alignment: number;
  readonly dataOffset: number;
}

/**
 * The header of a GGUF file from its bytes.
 * @throws FormatError when it is none, of another version or byte order, or malformed: counts and lengths beyond the file, lists nested deeper than 4,
 * names that come twice, unknown types, tensors that overlap, are out of order or lie outside of the file.
 */
export function parseGgufHeader(bytes: Uint8Array, where = 'gguf'): GgufHeader {
  return parse(bytes, bytes.length, where);
}

/** `parseGgufHeader` of a file of which no more than the header is read. */
export async function readGgufHeader(reader: PositionedReader): Promise<GgufHeader> {
  let wanted = 2 ** 20;
  for (;;) {
    const bytes = await reader.read(0, Math.min(wanted, reader.size));
    try {
      return parse(bytes, reader.size, reader.name);
    } catch (error) {
      if (!(error instanceof MoreBytes)) throw error;
      // Doubled, so that reading again costs no more than reading once.
      wanted = Math.min(Math.max(error.atLeast, 2 * wanted), MAX_HEADER);
    }
  }
}

function parse(bytes: Uint8Array, fileBytes: number, where: string): GgufHeader {
  const cursor = new GgufCursor(bytes, fileBytes, where);
  if (cursor.u32('the first word') !== MAGIC) cursor.fail('this is no GGUF file. Expected it to begin with "GGUF".');
  const version = cursor.u32('the version');
  if (version !== 2 && version !== 3)
    cursor.fail(
      version > 0 && version % 65536 === 0
        ? 'the file is big-endian. Expected a little-endian one. Convert it with gguf-py.'
        : `version ${version} is not known. Expected 2 or 3.`,
    );
  const tensorCount = cursor.countOf('the number of tensors', 24);
  const metadata = parseMetadata(cursor);
  const alignment = alignmentOf(metadata, (message) => cursor.fail(message));
  const tensors = parseTensors(cursor, tensorCount, alignment);
  const dataOffset = align(cursor.at, alignment);
  const last = tensors.at(-1);
  if (last && dataOffset + last.offset + last.bytes > fileBytes)
    cursor.fail(
      `tensor ${quote(last.name)} lies outside the file. Expected ${dataOffset + last.offset + last.bytes} bytes or more, received ${fileBytes}. The file is truncated or damaged.`,
    );
  return { version, metadata, tensors, alignment, dataOffset };
}

const align = (at: number, alignment: number): number => Math.ceil(at / alignment) * alignment;

function parseMetadata(cursor: GgufCursor): Map<string, GgufValue> {
  const count = cursor.countOf('the number of metadata', 13);
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < count; i++) {
    const key = cursor.string(`the key of metadata ${i}`, MAX_KEY);
    if (metadata.has(key)) cursor.fail(`metadata ${quote(key)} comes twice. The file is damaged.`);
    metadata.set(key, cursor.value(`metadata ${quote(key)}`));
  }
  return metadata;
}

function alignmentOf(metadata: ReadonlyMap<string, GgufValue>, fail: (message: string) => never): number {
  const found = metadata.get('general.alignment');
  if (found === undefined) return DEFAULT_ALIGNMENT;
  const { type, value } = found;
  if (type !== 'u32' || value < 1 || value > 2 ** 30 || (value & (value - 1)) !== 0)
    return fail(`general.alignment is malformed. Expected a power of two as u32, received ${showValue(found)}.`);
  return value;
}

function parseTensors(cursor: GgufCursor, count: number, alignment: number): GgufTensor[] {
  const names = new Set<string>();
  const tensors: GgufTensor[] = [];
  let end = 0;
  for (let i = 0; i < count; i++) {
    const name = cursor.string(`the name of tensor ${i}`, MAX_NAME);
    const who = `tensor ${quote(name)}`;
    if (names.has(name)) cursor.fail(`${who} comes twice. The file is damaged.`);
    names.add(name);
    const rank = cursor.u32(`the rank of ${who}`);
    if (rank > MAX_RANK) cursor.fail(`${who} has too many dimensions. Expected at most ${MAX_RANK}, received ${rank}.`);
    const shape = Array.from({ length: rank }, () => cursor.count(`the shape of ${who}`)).reverse();
    const number = cursor.u32(`the type of ${who}`);
    const type = ggmlTypes.get(number);
    if (type === undefined) return cursor.fail(`${who} has the unknown type ${number}. The file is damaged, or newer than this reader.`);
    const offset = cursor.count(`the offset of ${who}`);
    if ((shape.at(-1) ?? 1) % type.block !== 0)
      cursor.fail(
        `${who} has rows that aren't whole blocks. Expected a multiple of ${type.block} for ${type.name}, received ${showShape(shape)}.`,
      );
    const bytes = (size(shape) / type.block) * type.bytes;
    if (!Number.isSafeInteger(offset + bytes)) cursor.fail(`${who} is too large: ${showShape(shape)}. The file is damaged.`);
    if (offset % alignment !== 0 || offset < end)
      cursor.fail(
        `${who} has a wrong offset. Expected a multiple of ${alignment} from ${end} on, received ${offset}. The file is damaged.`,
      );
    end = offset + bytes;
    tensors.push({ name, shape, type: type.name, offset, bytes });
  }
  return tensors;
}

/** An open GGUF file, of which only the header is in memory. */
export interface GgufFile extends GgufHeader {
  /** Throws ConfigError when there is no tensor of this name. */
  info(name: string): GgufTensor;
  /** A tensor of type f32, f16 or bf16 as it is stored, of q8_0 as f32. Throws FormatError for other types. */
  read(name: string): Promise<TensorData>;
  /** The blocks of a tensor of type q8_0. Throws ConfigError for other types. */
  readQ8_0(name: string): Promise<Q8_0>;
  close(): Promise<void>;
}

/**
 * A GGUF file from a reader of its parts (`bytesReader` for one in memory; `openGguf` for one on disk); `close` closes the reader.
 * @throws FormatError as `parseGgufHeader`.
 */
export async function ggufFile(reader: PositionedReader): Promise<GgufFile> {
  const header = await readGgufHeader(reader);
  const table = new Map(header.tensors.map((t) => [t.name, t]));
  const info = (name: string): GgufTensor => named(table, name, reader.name);
  const bytesOf = ({ offset, bytes }: GgufTensor): Promise<Uint8Array> => reader.read(header.dataOffset + offset, bytes);
  const read = async (name: string): Promise<TensorData> => {
    const tensor = info(name);
    const { shape, type } = tensor;
    if (!isGgufType(type))
      throw new FormatError(
        `${reader.name}: tensor ${quote(name)} is of type ${type}, which is not read here. Expected one of ${Object.keys(typeNumbers).join(', ')}. Convert it with llama-quantize.`,
      );
    const raw = await bytesOf(tensor);
    if (type === 'q8_0') return { dtype: 'f32', shape, data: dequantizeQ8_0(unpackQ8_0(raw)) };
    return { dtype: type, shape, data: viewAs(type, raw, size(shape)) };
  };
  const readQ8_0 = async (name: string): Promise<Q8_0> => {
    const tensor = info(name);
    if (tensor.type !== 'q8_0')
      throw new ConfigError(`${reader.name}: tensor ${quote(name)} is of type ${tensor.type}. Expected q8_0. Use read().`);
    return unpackQ8_0(await bytesOf(tensor));
  };
  return { ...header, info, read, readQ8_0, close: () => reader.close() };
}

/** A tensor to be written and the type it gets; its own dtype is a float's. */
export interface GgufEntry extends TensorEntry {
  readonly type: GgufType;
}

export interface GgufContent {
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: Iterable<GgufEntry>;
}

/** A tensor and where it will lie. */
interface Placed {
  readonly entry: GgufEntry;
  readonly offset: number;
  readonly bytes: number;
}

/**
 * The file's bytes piece after piece; a tensor's data are asked for when their turn comes.
 * @throws ConfigError for names that are too long or come twice, more than 4 dimensions, q8_0 with rows that aren't multiples of 32, data that aren't as
 * stated, or values that q8_0 can't hold.
 */
export async function* ggufPieces({ metadata, tensors }: GgufContent): AsyncGenerator<Uint8Array> {
  const alignment = alignmentOf(metadata, (message) => {
    throw new ConfigError(`gguf: ${message}`);
  });
  const placed = place(tensors, alignment);
  yield headerBytes(metadata, placed, alignment);
  for (const { entry, bytes } of placed) {
    yield* dataPieces(entry);
    const rest = align(bytes, alignment) - bytes;
    if (rest > 0) yield new Uint8Array(rest);
  }
}

function place(tensors: Iterable<GgufEntry>, alignment: number): Placed[] {
  const names = new Set<string>();
  let offset = 0;
  return Array.from(tensors, (entry) => {
    const { name, shape, dtype, type } = entry;
    const who = `gguf: tensor ${quote(name)}`;
    if (names.has(name)) throw new ConfigError(`${who} comes twice. Give every one its own name.`);
    names.add(name);
    if (encodeUtf8(name).length > MAX_WRITTEN_NAME)
      throw new ConfigError(`${who} has too long a name. Expected at most ${MAX_WRITTEN_NAME} bytes.`);
    if (shape.length < 1 || shape.length > MAX_RANK)
      throw new ConfigError(`${who} has shape ${showShape(shape)}. Expected 1 to ${MAX_RANK} dimensions.`);
    if (!isFloatDType(dtype)) throw new ConfigError(`${who} holds ${dtype}. Expected f32, f16 or bf16.`);
    if (type === 'q8_0' && !fitsQ8_0(shape))
      throw new ConfigError(`${who} can't be q8_0. Expected rows of a multiple of ${Q8_0_BLOCK}, received ${showShape(shape)}. Use f16.`);
    const bytes = type === 'q8_0' ? (size(shape) / Q8_0_BLOCK) * Q8_0_BYTES : size(shape) * dtypes[type].bytes;
    const at = offset;
    offset += align(bytes, alignment);
    return { entry, offset: at, bytes };
  });
}

const fitsQ8_0 = (shape: Shape): boolean => shape[shape.length - 1] % Q8_0_BLOCK === 0;

/**
 * The type that a tensor gets in a file of `wanted` matrices, as llama.cpp's converter chooses: vectors stay f32, and rows that q8_0 can't
 * hold become f16.
 */
export const ggufTypeFor = (wanted: GgufType, shape: Shape): GgufType =>
  shape.length < 2 ? 'f32' : wanted === 'q8_0' && !fitsQ8_0(shape) ? 'f16' : wanted;

function headerBytes(metadata: ReadonlyMap<string, GgufValue>, placed: readonly Placed[], alignment: number): Uint8Array {
  const writer = new GgufWriter();
  writer.u32(MAGIC);
  writer.u32(3);
  writer.u64(placed.length);
  writer.u64(metadata.size);
  for (const [key, value] of metadata) {
    writer.string(key);
    writer.value(value);
  }
  for (const { entry, offset } of placed) {
    writer.string(entry.name);
    writer.u32(entry.shape.length);
    for (const extent of [...entry.shape].reverse()) writer.u64(extent);
    writer.u32(typeNumbers[entry.type]);
    writer.u64(offset);
  }
  return writer.finish(alignment);
}

async function* dataPieces(entry: GgufEntry): AsyncGenerator<Uint8Array> {
  const { name, shape, dtype, type } = entry;
  const who = `gguf: tensor ${quote(name)}`;
  const values = await entry.data();
  checkElements(who, { dtype, shape, data: values });
  const stored: DType = type === 'q8_0' ? 'f32' : type;
  for (const piece of convertedPieces(values, dtype, stored)) {
    if (type === 'q8_0') {
      // Whole blocks: pieces are multiples of them, and so are rows.
      if (piece instanceof Float32Array) yield packQ8_0(quantizeQ8_0(piece, who));
    } else yield new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength);
  }
}
