/** @file Shards in a folder: opened, and where shards are kept when nobody says. */
import { createHash } from 'node:crypto';
import { close, open, read } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ConfigError, FormatError, reasonOf } from '../../base/errors.js';
import { host } from '../../base/host.js';
import { readFileBytes } from '../../io/read-file-node.js';
import { parseIndex, type ShardFile, type ShardFiles, TokenShards } from './shards.js';

export const INDEX = 'index.json';
/** Files of a folder that stay open; those beyond are opened for each read. */
const MOST_OPEN = 256;
const MOST_INDEX = 64 * 2 ** 20;

export const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

/** The folder of the cache for shards of this key. */
export const cachedShards = (key: string): string => join(host.cacheDirectory() ?? '', 'tokens', key);

/**
 * Opens what tokenizeFiles wrote.
 * @throws ConfigError when there are no shards in the folder, FormatError when they are damaged
 */
export async function openTokenShards(folder: string): Promise<TokenShards> {
  const path = join(folder, INDEX);
  const { size } = await stat(path).catch((cause) => {
    throw new ConfigError(`openTokenShards: ${folder} holds no finished tokens (${reasonOf(cause)}). Expected what tokenizeFiles wrote.`, {
      cause,
    });
  });
  if (size > MOST_INDEX) throw new FormatError(`${path}: ${size} bytes. Expected an index of less than ${MOST_INDEX}.`);
  const index = parseIndex(new TextDecoder().decode(await readFileBytes(path)), path);
  const files = new FolderFiles(folder);
  try {
    return await TokenShards.open(index, files);
  } catch (error) {
    await files.close();
    throw error;
  }
}

type OpenFiles = Map<string, Promise<number>>;
const openFile = promisify(open);
const closeFile = promisify(close);

async function closeAll(files: OpenFiles): Promise<void> {
  const all = [...files.values()];
  files.clear();
  await Promise.all(all.map((file) => file.then((fd) => closeFile(fd)).catch(() => undefined)));
}
/** Closes the files of shards that nobody holds any more. Descriptors are numbers, as Node forbids to leave its FileHandles to that. */
const forgotten = new FinalizationRegistry<OpenFiles>((files) => void closeAll(files));

export class FolderFiles implements ShardFiles {
  readonly folder: string;
  readonly sha256 = sha256;
  readonly #open: OpenFiles = new Map();

  constructor(folder: string) {
    this.folder = folder;
    forgotten.register(this, this.#open);
  }

  /** @throws FormatError when it is missing */
  async file(name: string): Promise<ShardFile> {
    const path = join(this.folder, name);
    const { size } = await stat(path).catch((cause) => {
      throw new FormatError(`${path}: it is missing or can't be read (${reasonOf(cause)}). Remove the folder to tokenize again.`, {
        cause,
      });
    });
    return { name: path, bytes: size, read: (offset, length) => this.#read(path, offset, length) };
  }

  async #read(path: string, offset: number, length: number): Promise<Uint8Array> {
    const kept = this.#open.get(path);
    const file = kept ?? openFile(path, 'r');
    const isKept = kept !== undefined || this.#open.size < MOST_OPEN;
    if (isKept) this.#open.set(path, file);
    try {
      const bytes = new Uint8Array(length);
      const fd = await file;
      let at = 0;
      while (at < length) {
        const n = await readAt(fd, bytes, at, offset + at);
        if (n === 0) break;
        at += n;
      }
      return bytes.subarray(0, at);
    } catch (cause) {
      this.#open.delete(path);
      throw new FormatError(`${path}: it can't be read (${reasonOf(cause)}).`, { cause });
    } finally {
      if (!isKept) await file.then((fd) => closeFile(fd)).catch(() => undefined);
    }
  }

  close(): Promise<void> {
    return closeAll(this.#open);
  }
}

const readAt = (fd: number, into: Uint8Array, at: number, position: number): Promise<number> =>
  new Promise((resolve, reject) => {
    read(fd, into, at, into.length - at, position, (error, n) => (error ? reject(error) : resolve(n)));
  });
