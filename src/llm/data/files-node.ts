/** @file Data files: which they are, what format they have, and their rows, read as a stream. gzip is unpacked on the way. */
import { type FileHandle, open, readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { ConfigError, FormatError, reasonOf, TenonError } from '../../base/errors.js';
import { jsonArrayRows, jsonLineRows } from './json-rows.js';
import { type Pieces, parquetColumns, parquetRows } from './parquet-rows.js';
import type { ParseOptions, Row, RowFormat } from './rows.js';
import { tableRows } from './table-rows.js';
import { textRows } from './text-rows.js';

export interface DataFileOptions extends ParseOptions {
  /** Default: by the name's ending (.txt .jsonl .json .csv .tsv .parquet, with or without .gz), else by how the file begins. */
  readonly format?: RowFormat;
}

export interface ReadRowsOptions extends DataFileOptions {
  /** What a row that can't be read does. Default 'error'. */
  readonly badRows?: 'error' | 'skip';
}

export interface DataFile {
  readonly path: string;
  readonly format: RowFormat;
  /** Bytes on disk. */
  readonly size: number;
  /** What rows are counted by in errors. */
  readonly unit: 'line' | 'row';
  /** The names of the columns, of formats that know them without reading rows; else null. */
  columns(): Promise<readonly string[] | null>;
  /** The rows; `columns`: what is needed of them, where leaving the others out saves work. `onBytes` is told how much was read. */
  rows(columns?: readonly string[], onBytes?: (bytes: number) => void): AsyncIterable<Row>;
}

const endings: Readonly<Record<string, RowFormat>> = {
  txt: 'text',
  text: 'text',
  md: 'text',
  jsonl: 'jsonl',
  ndjson: 'jsonl',
  json: 'json',
  csv: 'csv',
  tsv: 'tsv',
  parquet: 'parquet',
};
const formats = [...new Set(Object.values(endings))];
const endingOf = (path: string): string | undefined => /\.([a-z]+)(?:\.gz)?$/i.exec(basename(path))?.[1].toLowerCase();

/**
 * The files that `data` names, each a file or a folder (its data files, sorted by name).
 * @throws ConfigError when one is missing, or a folder holds none
 */
export async function dataFiles(data: string | readonly string[], options: DataFileOptions, who: string): Promise<DataFile[]> {
  if (options.format !== undefined && !formats.includes(options.format))
    throw new ConfigError(`${who}: format "${options.format}". Expected one of ${formats.join(', ')}.`);
  const names = typeof data === 'string' ? [data] : data;
  if (!Array.isArray(names) || names.length === 0 || names.some((n) => typeof n !== 'string'))
    throw new ConfigError(`${who}: no data. Expected the path of a file or a folder, or a list of them.`);
  const files: DataFile[] = [];
  for (const name of names) for (const path of await pathsOf(name, who)) files.push(await openFile(path, options, who));
  return files;
}

async function pathsOf(name: string, who: string): Promise<string[]> {
  const info = await stat(name).catch((cause) => {
    throw new ConfigError(`${who}: ${name} can't be read (${reasonOf(cause)}). Expected a data file or a folder of them.`, { cause });
  });
  if (!info.isDirectory()) return [name];
  // Code units, not locales: the same order everywhere.
  const found = (await readdir(name)).filter((n) => !n.startsWith('.') && Object.hasOwn(endings, endingOf(n) ?? '')).sort();
  if (found.length === 0)
    throw new ConfigError(
      `${who}: the folder ${name} holds no data files. Expected names that end in ${Object.keys(endings).join(', ')} (or these with .gz).`,
    );
  return found.map((n) => join(name, n));
}

async function openFile(path: string, options: DataFileOptions, who: string): Promise<DataFile> {
  const head = await headOf(path, who);
  const format = options.format ?? formatOf(path, head.text);
  const { size } = await stat(path);
  const chunks = (onBytes?: (bytes: number) => void): AsyncIterable<Uint8Array> =>
    head.isGzip ? gunzipped(path, onBytes) : bytesOf(path, onBytes);
  if (format === 'parquet' && head.isGzip)
    throw new ConfigError(`${who}: ${path} is a Parquet file inside of gzip. Expected it unpacked. Run gunzip.`);
  return {
    path,
    format,
    size,
    unit: format === 'parquet' ? 'row' : 'line',
    columns: () => (format === 'parquet' ? withPieces(path, size, (file) => parquetColumns(file, path)) : Promise.resolve(null)),
    rows(columns, onBytes) {
      switch (format) {
        case 'text':
          return textRows(chunks(onBytes), path, options);
        case 'jsonl':
          return jsonLineRows(chunks(onBytes), options);
        case 'json':
          return jsonArrayRows(chunks(onBytes), path, options);
        case 'csv':
        case 'tsv':
          return tableRows(chunks(onBytes), path, format, options);
        case 'parquet':
          return parquetFile(path, size, columns, onBytes);
        default:
          return format satisfies never;
      }
    },
  };
}

function formatOf(path: string, head: string): RowFormat {
  const begins = head.trimStart();
  const named = endings[endingOf(path) ?? ''];
  // Files of JSON lines are called .json as well.
  if (named === 'json') return begins.startsWith('{') ? 'jsonl' : 'json';
  if (named !== undefined) return named;
  if (head.startsWith('PAR1')) return 'parquet';
  return begins.startsWith('{') ? 'jsonl' : 'text';
}

/** The beginning of a file's content, as Latin-1 where it isn't text. */
async function headOf(path: string, who: string): Promise<{ isGzip: boolean; text: string }> {
  const first = await firstOf(bytesOf(path));
  const isGzip = first.length >= 2 && first[0] === 0x1f && first[1] === 0x8b;
  if (first.length >= 4 && ((first[0] === 0x28 && first[1] === 0xb5) || (first[0] === 0x42 && first[1] === 0x5a && first[2] === 0x68)))
    throw new ConfigError(
      `${who}: ${path} is packed with ${first[0] === 0x28 ? 'zstd' : 'bzip2'}. Expected plain or gzip. Unpack it first.`,
    );
  const bytes = isGzip ? await firstOf(gunzipped(path)) : first;
  return { isGzip, text: new TextDecoder('utf-8').decode(bytes.subarray(0, 4096)) };
}

async function firstOf(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  for await (const chunk of chunks) if (chunk.length > 0) return chunk;
  return new Uint8Array(0);
}

const CHUNK = 256 * 1024;

/** A file's bytes in order. The system's errors name it. */
export async function* bytesOf(path: string, onBytes?: (bytes: number) => void): AsyncGenerator<Uint8Array> {
  const file = await opened(path);
  try {
    for (;;) {
      // A chunk of its own: readers keep parts of it.
      const { bytesRead, buffer } = await file.read(new Uint8Array(CHUNK), 0, CHUNK, null);
      if (bytesRead === 0) return;
      onBytes?.(bytesRead);
      yield buffer.subarray(0, bytesRead);
    }
  } catch (error) {
    throw named(path, error);
  } finally {
    await file.close();
  }
}

const opened = (path: string): Promise<FileHandle> =>
  open(path, 'r').catch((error) => {
    throw named(path, error);
  });

const named = (path: string, error: unknown): TenonError =>
  error instanceof TenonError ? error : new ConfigError(`read ${path}: the system refused (${reasonOf(error)}).`, { cause: error });

async function* gunzipped(path: string, onBytes?: (bytes: number) => void): AsyncGenerator<Uint8Array> {
  const unpacked = pipeline(bytesOf(path, onBytes), createGunzip({ chunkSize: CHUNK }), () => undefined);
  try {
    for await (const chunk of unpacked) yield chunk as Uint8Array;
  } catch (error) {
    if (error instanceof TenonError) throw error;
    throw new FormatError(`${path}: Expected a whole gzip file, received a damaged one (${reasonOf(error)}). Get it again.`, {
      cause: error,
    });
  }
}

async function* parquetFile(
  path: string,
  size: number,
  columns?: readonly string[],
  onBytes?: (bytes: number) => void,
): AsyncGenerator<Row> {
  const file = await opened(path);
  try {
    yield* parquetRows(piecesOf(file, path, size, onBytes), path, columns);
  } finally {
    await file.close();
  }
}

async function withPieces<T>(path: string, size: number, body: (file: Pieces) => Promise<T>): Promise<T> {
  const file = await opened(path);
  try {
    return await body(piecesOf(file, path, size));
  } finally {
    await file.close();
  }
}

function piecesOf(file: FileHandle, path: string, byteLength: number, onBytes?: (bytes: number) => void): Pieces {
  const read = async (start: number, end: number): Promise<ArrayBuffer> => {
    if (!(start >= 0 && end >= start && end <= byteLength))
      throw new FormatError(`${path}: it names bytes ${start} to ${end} of itself. Expected them within its ${byteLength}.`);
    const bytes = new Uint8Array(end - start);
    for (let at = 0; at < bytes.length; ) {
      const { bytesRead } = await file.read(bytes, at, bytes.length - at, start + at);
      if (bytesRead === 0) throw new FormatError(`${path}: the file became shorter while it was read.`);
      at += bytesRead;
    }
    onBytes?.(bytes.length);
    return bytes.buffer;
  };
  return {
    byteLength,
    slice(start, end = byteLength) {
      const bytes = read(start, end);
      // What is read ahead may fail before anybody waits for it.
      bytes.catch(() => undefined);
      return bytes;
    },
  };
}
