/** @file The folder of checkpoints: files written atomically, `latest.json` that names the newest, old ones removed. */
import { appendFile, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ConfigError, FormatError, reasonOf, TenonError } from '../base/errors.js';
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
      `checkpoint: the folder ${folder} can't be made (${reasonOf(error)}). Expected a folder that can be written to. Choose another place.`,
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

/** Checkpoints that a run can go on from, and what is wrong with the pointer to the newest; null when nothing is. */
export interface Found {
  /** Paths, newest first. Not all need be there: the pointer's comes first. */
  readonly paths: readonly string[];
  readonly fault: string | null;
}

/** The checkpoints of the folder from the one that the pointer names on; all, where no pointer can be read. */
export async function findCheckpoints(folder: string): Promise<Found> {
  const names: readonly string[] = await readdir(folder).catch(() => []);
  const newestFirst = names.filter(isCheckpoint).sort().reverse();
  const all = newestFirst.map((n) => join(folder, n));
  if (!names.includes(POINTER)) return { paths: all, fault: null };
  const pointer = join(folder, POINTER);
  try {
    const value: unknown = JSON.parse(decodeUtf8(await readFileBytes(pointer)));
    if (!isRecord(value) || typeof value.file !== 'string' || !isCheckpoint(value.file))
      return { paths: all, fault: `${pointer}: it names no checkpoint. Expected { "file": "checkpoint-….tenon" }.` };
    const newest = value.file;
    // What comes after it is of an earlier run in this folder, or was not finished.
    return { paths: [newest, ...newestFirst.filter((n) => n < newest)].map((n) => join(folder, n)), fault: null };
  } catch (error) {
    if (error instanceof TenonError && !(error instanceof FormatError)) return { paths: all, fault: error.message };
    return { paths: all, fault: `${pointer}: it is damaged. Expected { "file": "checkpoint-….tenon" }.` };
  }
}

/** A checkpoint's bytes. Throws FormatError when it is missing, TenonError when it can't be read. */
export async function readCheckpoint(path: string): Promise<Uint8Array> {
  try {
    return await readFileBytes(path);
  } catch (error) {
    const isMissing = error instanceof Error && isRecord(error.cause) && error.cause.code === 'ENOENT';
    throw isMissing ? new FormatError(`${path}: it is missing. Expected the file that ${POINTER} names.`, { cause: error }) : error;
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
    throw new ConfigError(`write ${path}: the system refused (${reasonOf(error)}). Choose another place, or free some space.`, {
      cause: error,
    });
  }
}
/** A file's text, or null when there is none. */
export async function readText(path: string): Promise<string | null> {
  return readFile(path, 'utf8').catch(() => null);
}
