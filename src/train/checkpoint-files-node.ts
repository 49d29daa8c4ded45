/** @file The folder of checkpoints: files written atomically, `latest.json` that names the newest, old ones removed. */
import { appendFile, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ConfigError, FormatError } from '../base/errors.js';
import { writeFileAtomically } from '../io/atomic-write-node.js';
import { decodeUtf8, encodeUtf8, isRecord } from '../io/bytes.js';
import { makeFolders } from '../io/make-folder-node.js';
import { readFileBytes } from '../io/read-file-node.js';

const POINTER = 'latest.json';
const isCheckpoint = (name: string): boolean => /^checkpoint-\d{9,}\.tenon$/.test(name);

export const pathIn = (folder: string, name: string): string => join(folder, name);

/** Makes the folder and everything above it. Throws ConfigError. */
export async function makeFolder(folder: string): Promise<void> {
  try {
    await makeFolders(folder);
  } catch (error) {
    throw new ConfigError(
      `checkpoint: the folder ${folder} can't be made (${error instanceof Error ? error.message : String(error)}). Expected a folder that can be written to. Choose another place.`,
      { cause: error },
    );
  }
}

/** Writes a checkpoint, then points to it, then removes all but the newest `keep`. */
export async function saveCheckpoint(
  folder: string,
  name: string,
  chunks: readonly Uint8Array[],
  position: { epoch: number; batch: number; step: number },
  keep: number,
): Promise<void> {
  await writeFileAtomically(join(folder, name), chunks);
  await writeFileAtomically(join(folder, POINTER), encodeUtf8(`${JSON.stringify({ file: name, ...position })}\n`));
  const old = (await readdir(folder)).filter((n) => isCheckpoint(n) && n !== name).sort();
  for (const n of old.slice(0, Math.max(0, old.length - (keep - 1)))) await rm(join(folder, n), { force: true });
}

/** The newest checkpoint's path and bytes; null when the folder has none. Throws FormatError when the pointer is damaged. */
export async function readLatest(folder: string): Promise<{ path: string; bytes: Uint8Array } | null> {
  const names: readonly string[] = await readdir(folder).catch(() => []);
  let name = names.filter(isCheckpoint).sort().at(-1);
  if (names.includes(POINTER)) {
    const pointer = join(folder, POINTER);
    let value: unknown;
    try {
      value = JSON.parse(decodeUtf8(await readFileBytes(pointer)));
    } catch (error) {
      throw new FormatError(`${pointer}: it is damaged. Expected { "file": … }. Remove it to go on from ${name ?? 'the beginning'}.`, {
        cause: error,
      });
    }
    if (!isRecord(value) || typeof value.file !== 'string' || !isCheckpoint(value.file))
      throw new FormatError(
        `${pointer}: it names no checkpoint. Expected { "file": "checkpoint-….tenon" }. Remove it to go on from ${name ?? 'the beginning'}.`,
      );
    name = value.file;
  }
  if (name === undefined) return null;
  const path = join(folder, name);
  try {
    return { path, bytes: await readFileBytes(path) };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const others = names.filter(isCheckpoint);
    throw new FormatError(
      `${path}: the newest checkpoint is missing. Expected the file that ${POINTER} names. Others here: ${others.join(', ') || 'none'}.`,
      { cause: error },
    );
  }
}

/** Removes all checkpoints of the folder and their pointer. */
export async function removeCheckpoints(folder: string): Promise<void> {
  for (const n of await readdir(folder).catch(() => [])) if (isCheckpoint(n) || n === POINTER) await rm(join(folder, n), { force: true });
}

/** Removes files that may be gone already. */
export async function removeFiles(paths: readonly string[]): Promise<void> {
  for (const path of paths) await rm(path, { force: true });
}

/** Appends text to a file, or begins it anew; makes its folder. Throws ConfigError. */
export async function writeText(path: string, text: string, append: boolean): Promise<void> {
  try {
    await makeFolders(dirname(path));
    await (append ? appendFile(path, text) : writeFile(path, text));
  } catch (error) {
    throw new ConfigError(
      `write ${path}: the system refused (${error instanceof Error ? error.message : String(error)}). Choose another place, or free some space.`,
      {
        cause: error,
      },
    );
  }
}
/** A file's text, or null when there is none. */
export async function readText(path: string): Promise<string | null> {
  return readFile(path, 'utf8').catch(() => null);
}
