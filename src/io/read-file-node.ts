/** @file Reading a whole file into aligned memory, also beyond Node's 2 GiB for one read, with errors that say what to do. */
import { open } from 'node:fs/promises';
import { ConfigError, FormatError, reasonOf, TenonError } from '../base/errors.js';

/** One read call takes less than 2 GiB. */
const PIECE = 2 ** 30;
/** What the container formats here can hold, and an array of bytes too. */
const MAX_BYTES = 2 ** 32;

/**
 * The bytes of the file `path`, at the beginning of a buffer of their own (so that aligned members can be used in place).
 * @throws ConfigError when it is missing, a folder or may not be read; FormatError when it is 4 GiB or larger; TenonError when the disk fails.
 */
export async function readFileBytes(path: string): Promise<Uint8Array> {
  try {
    const file = await open(path, 'r');
    try {
      const info = await file.stat();
      if (info.isDirectory()) throw new ConfigError(`read ${path}: this is a folder. Expected a file.`);
      if (info.size >= MAX_BYTES)
        throw new FormatError(`read ${path}: the file is too large. Expected less than ${MAX_BYTES} bytes (4 GiB), received ${info.size}.`);
      const bytes = new Uint8Array(info.size);
      let at = 0;
      while (at < bytes.length) {
        const { bytesRead } = await file.read(bytes, at, Math.min(PIECE, bytes.length - at), at);
        if (bytesRead === 0)
          throw new FormatError(`read ${path}: the file became shorter while it was read. Expected ${bytes.length} bytes, received ${at}.`);
        at += bytesRead;
      }
      return bytes;
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof TenonError) throw error;
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOENT' || code === 'ENOTDIR') throw new ConfigError(`read ${path}: there is no such file.`, { cause: error });
    if (code === 'EACCES' || code === 'EPERM')
      throw new ConfigError(`read ${path}: the file may not be read. Change its permissions.`, { cause: error });
    throw new TenonError(`read ${path}: the system refused (${reasonOf(error)}).`, { cause: error });
  }
}
