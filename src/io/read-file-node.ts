/** @file Reading files into aligned memory, whole or a part at a time, also beyond Node's 2 GiB for one read, with errors that say what to do. */
import { type FileHandle, open } from 'node:fs/promises';
import { ConfigError, FormatError, reasonOf, TenonError } from '../base/errors.js';
import type { PositionedReader } from './source.js';

/** One read call takes less than 2 GiB. */
const PIECE = 2 ** 30;
/** What the container formats here can hold, and an array of bytes too. */
const MAX_BYTES = 2 ** 32;

/**
 * The bytes of the file `path`, at the beginning of a buffer of their own (so that aligned members can be used in place).
 * @throws ConfigError when it is missing, a folder or may not be read; FormatError when it is 4 GiB or larger; TenonError when the disk fails.
 */
export async function readFileBytes(path: string): Promise<Uint8Array> {
  const file = await openFile(path);
  try {
    return await file.read(0, file.size);
  } finally {
    await file.close();
  }
}

/**
 * Opens the file `path` for reads of its parts.
 * @throws ConfigError when it is missing, a folder or may not be read; TenonError when the disk fails. Its `read` throws FormatError for
 * 4 GiB or more at once, and when the file has become shorter.
 */
export async function openFile(path: string): Promise<PositionedReader> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, 'r');
    const info = await file.stat();
    if (info.isDirectory()) throw new ConfigError(`read ${path}: this is a folder. Expected a file.`);
    return reader(path, file, info.size);
  } catch (error) {
    await file?.close();
    throw explain(path, error);
  }
}

function reader(path: string, file: FileHandle, size: number): PositionedReader {
  const read = async (at: number, length: number): Promise<Uint8Array> => {
    if (length >= MAX_BYTES)
      throw new FormatError(`read ${path}: the file is too large. Expected less than ${MAX_BYTES} bytes (4 GiB), received ${length}.`);
    if (at + length > size)
      throw new FormatError(`read ${path}: the file is too short. Expected ${at + length} bytes or more, received ${size}.`);
    const bytes = new Uint8Array(length);
    let done = 0;
    try {
      while (done < length) {
        const { bytesRead } = await file.read(bytes, done, Math.min(PIECE, length - done), at + done);
        if (bytesRead === 0)
          throw new FormatError(
            `read ${path}: the file became shorter while it was read. Expected ${at + length} bytes, received ${at + done}.`,
          );
        done += bytesRead;
      }
    } catch (error) {
      throw explain(path, error);
    }
    return bytes;
  };
  return { name: path, size, read, close: () => file.close() };
}

/** The system's error in words that say what to do. */
function explain(path: string, error: unknown): TenonError {
  if (error instanceof TenonError) return error;
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOENT' || code === 'ENOTDIR') return new ConfigError(`read ${path}: there is no such file.`, { cause: error });
  if (code === 'EACCES' || code === 'EPERM')
    return new ConfigError(`read ${path}: the file may not be read. Change its permissions.`, { cause: error });
  return new TenonError(`read ${path}: the system refused (${reasonOf(error)}).`, { cause: error });
}
