/**
 * @file Rows: what a data file is read as, one at a time. A reader gives faults as rows too, so that whoever counts or refuses them
 * does it in one place, and the number of a row means the same in every pass.
 */
import { FormatError } from '../../base/errors.js';

export type RowFormat = 'text' | 'jsonl' | 'json' | 'csv' | 'tsv' | 'parquet';

/**
 * What is a document in a file of plain text: all of it; each line that isn't blank; runs of lines between blank ones; or what stands
 * between lines that hold the separator alone, such as `<|endoftext|>`.
 */
export type Documents = 'file' | 'lines' | 'paragraphs' | { readonly separator: string };

export interface Row {
  /** Columns by name. */
  readonly values: Readonly<Record<string, unknown>>;
  /** Number of the line it begins on, or of the row, from 1. */
  readonly line: number;
  /** The document of this row's text goes on in the next row. */
  readonly goesOn?: boolean;
  /** Why this is no row: what was wanted and what was found. `values` is empty then. */
  readonly fault?: string;
}

export interface ParseOptions {
  /** Of plain text; default 'file'. */
  readonly documents?: Documents;
  /** Most bytes of a line, characters of an element; default 64 MiB. */
  readonly maxRowLength?: number;
  /** Names of the columns of a CSV or TSV file without a header line. */
  readonly columnNames?: readonly string[];
}

export const defaultMaxRowLength: number = 64 * 2 ** 20;

/** Bytes of a file, in order. */
export type Chunks = Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

export const faultyRow = (line: number, fault: string): Row => ({ values: {}, line, fault });

/** What errors say of a value that is no row. */
export const kindOf = (x: unknown): string =>
  x === null ? 'null' : Array.isArray(x) ? 'an array' : typeof x === 'object' ? 'an object' : `a ${typeof x}`;

/** A value that JSON gave, as a row. */
export const objectRow = (value: unknown, line: number): Row =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? { values: value as Record<string, unknown>, line }
    : faultyRow(line, `Expected a JSON object with the row's columns, received ${kindOf(value)}.`);

/** A line of text, or why it is none. */
export interface Line {
  readonly text: string;
  /** From 1. */
  readonly line: number;
  readonly fault?: string;
}

const NEWLINE = 10;

/** The lines of UTF-8 text without their ends; CR LF counts as one end. The last line needs none. */
export async function* linesOf(chunks: Chunks, most: number): AsyncGenerator<Line> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let parts: Uint8Array[] = [];
  let length = 0;
  let line = 1;
  const finish = (last: Uint8Array): Line => {
    const total = length + last.length;
    const bytes = parts.length === 0 ? last : joined([...parts, last], Math.min(total, most + 1));
    parts = [];
    length = 0;
    const number = line++;
    if (total > most)
      return { text: '', line: number, fault: `Expected at most ${most} bytes a line, received ${total}. Raise maxRowLength.` };
    const end = bytes[bytes.length - 1] === 13 ? bytes.length - 1 : bytes.length;
    try {
      return { text: decoder.decode(bytes.subarray(0, end)), line: number };
    } catch {
      return { text: '', line: number, fault: 'Expected UTF-8 text, received bytes that are none.' };
    }
  };
  for await (const chunk of chunks) {
    let at = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, at)) {
      yield finish(chunk.subarray(at, end));
      at = end + 1;
    }
    if (at < chunk.length) {
      // A line that is too long is measured, not kept; chunks may be used again by whoever gave them.
      if (length <= most) parts.push(chunk.slice(at));
      length += chunk.length - at;
    }
  }
  if (length > 0) yield finish(new Uint8Array(0));
}

function joined(parts: readonly Uint8Array[], most: number): Uint8Array {
  const out = new Uint8Array(most);
  let at = 0;
  for (const part of parts) {
    const fits = part.subarray(0, most - at);
    out.set(fits, at);
    at += fits.length;
  }
  return out;
}

/** The text of a file piece by piece. Throws FormatError that names it where the bytes are no UTF-8. */
export async function* textOf(chunks: Chunks, name: string): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const decode = (bytes?: Uint8Array): string => {
    try {
      return bytes ? decoder.decode(bytes, { stream: true }) : decoder.decode();
    } catch (cause) {
      throw new FormatError(`${name}: Expected UTF-8 text, received bytes that are none. Convert the file, for instance with iconv.`, {
        cause,
      });
    }
  };
  for await (const chunk of chunks) {
    const text = decode(chunk);
    if (text !== '') yield text;
  }
  const last = decode();
  if (last !== '') yield last;
}
