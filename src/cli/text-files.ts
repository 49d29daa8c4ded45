/** @file Plain text files for the command line, plain or gzipped, in pieces that end with a line: as large as they like. */
import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { FormatError, reasonOf } from '../base/errors.js';
import { UsageError } from './failure.js';

/** About so many characters a piece. */
const pieceLength = 1 << 18;
/** A line that is longer is cut anywhere. */
const longestPiece = 1 << 22;

export interface TextFile {
  readonly path: string;
  readonly bytes: number;
  readonly isGzipped: boolean;
}

/** The files, looked at. Throws UsageError for what is missing, a folder, or another kind of file. */
export async function requireTextFiles(paths: readonly string[]): Promise<TextFile[]> {
  const found: TextFile[] = [];
  for (const path of paths) {
    const info = await stat(path).catch(() => null);
    if (!info) throw new UsageError(`there is no file ${path}. Expected text files, plain or gzipped, received "${path}".`);
    if (info.isDirectory()) throw new UsageError(`${path} is a folder. Expected text files, plain or gzipped.`);
    const kind = /\.(jsonl?|parquet|csv|tsv)(\.gz)?$/i.exec(path);
    if (kind)
      throw new UsageError(
        `${path} is no plain text: its ${kind[1]} would be learned too. Expected text files, plain or gzipped. Write its texts into one.`,
      );
    found.push({ path, bytes: info.size, isGzipped: await startsAsGzip(path) });
  }
  return found;
}

async function startsAsGzip(path: string): Promise<boolean> {
  const file = await open(path, 'r');
  try {
    const { buffer } = await file.read(new Uint8Array(2), 0, 2, 0);
    return buffer[0] === 0x1f && buffer[1] === 0x8b;
  } finally {
    await file.close();
  }
}

/** The files' texts, one after another; `onRead` hears how many bytes of the files have been read. */
export async function* readTexts(files: readonly TextFile[], onRead?: (bytes: number) => void): AsyncGenerator<string> {
  let read = 0;
  for (const { path, isGzipped } of files) {
    const raw = createReadStream(path);
    raw.on('data', (chunk) => {
      read += chunk.length;
      onRead?.(read);
    });
    const stream: Readable = isGzipped ? raw.pipe(createGunzip()) : raw;
    // pipe() doesn't pass faults on.
    raw.on('error', (error) => stream.destroy(error));
    yield* pieces(path, stream);
  }
}

async function* pieces(path: string, stream: Readable): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let rest = '';
  const decode = (chunk?: Uint8Array): string => {
    try {
      return decoder.decode(chunk, { stream: chunk !== undefined });
    } catch (error) {
      throw new FormatError(`${path} is not UTF-8. Expected a text file, plain or gzipped.`, { cause: error });
    }
  };
  const chunks: AsyncIterator<Uint8Array> = stream[Symbol.asyncIterator]();
  for (;;) {
    const next = await chunks.next().catch((error: unknown) => {
      throw new FormatError(`${path} cannot be read: ${reasonOf(error)}.`, { cause: error });
    });
    if (next.done === true) break;
    rest += decode(next.value);
    while (rest.length >= pieceLength) {
      const end = endOfPiece(rest);
      if (end === 0) break;
      yield rest.slice(0, end);
      rest = rest.slice(end);
    }
  }
  rest += decode();
  if (rest !== '') yield rest;
}

/** Where a piece may end: after a line that white space doesn't follow, so that no word crosses the end. 0: nowhere yet. */
function endOfPiece(text: string): number {
  for (let at = text.lastIndexOf('\n', text.length - 2); at > 0; at = text.lastIndexOf('\n', at - 1))
    if (/\S/.test(text[at + 1])) return at + 1;
  if (text.length < longestPiece) return 0;
  // No half of a surrogate pair.
  return /[\uD800-\uDBFF]/.test(text[text.length - 1]) ? text.length - 1 : text.length;
}
