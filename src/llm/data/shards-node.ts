/** @file Shards in a folder: opened, and where shards are kept when nobody says. */
import { createHash } from 'node:crypto';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { join } from 'node:path';
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

export class FolderFiles implements ShardFiles {
  readonly folder: string;
  readonly sha256 = sha256;
  readonly #open = new Map<string, Promise<FileHandle>>();

  constructor(folder: string) {
    this.folder = folder;
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
    const file = kept ?? open(path, 'r');
    const isKept = kept !== undefined || this.#open.size < MOST_OPEN;
    if (isKept) this.#open.set(path, file);
    try {
      const bytes = new Uint8Array(length);
      const handle = await file;
      let at = 0;
      while (at < length) {
        const { bytesRead } = await handle.read(bytes, at, length - at, offset + at);
        if (bytesRead === 0) break;
        at += bytesRead;
      }
      return bytes.subarray(0, at);
    } catch (cause) {
      this.#open.delete(path);
      throw new FormatError(`${path}: it can't be read (${reasonOf(cause)}).`, { cause });
    } finally {
      if (!isKept) await file.then((handle) => handle.close()).catch(() => undefined);
    }
  }

  async close(): Promise<void> {
    const open = [...this.#open.values()];
    this.#open.clear();
    await Promise.all(open.map((file) => file.then((handle) => handle.close()).catch(() => undefined)));
  }
}
