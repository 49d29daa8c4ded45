/**
 * @file Writing a file so that its name holds the old content or the new one and nothing between, whenever the process
 * or the machine stops: a temporary file in the same folder, fsync, rename, fsync of the folder.
 */
import { randomUUID } from 'node:crypto';
import { type FileHandle, open, readdir, realpath, rename, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { ConfigError, reasonOf, TenonError } from '../base/errors.js';

/** What a file is written from, piece after piece; a generator's pieces are made as they are needed. */
export type Content = Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** A file whose content is on the disk under a temporary name. One of the two is called. */
export interface StagedFile {
  /** Gives it its name. Rejects as `writeFileAtomically`. */
  commit(): Promise<void>;
  /** Removes it. */
  discard(): Promise<void>;
}

/**
 * Replaces or makes the file `path` with `content` (pieces are written one after another). When it fails, the old file is
 * as it was and the temporary is gone. What processes that were killed left in the folder is removed.
 * @throws ConfigError when the folder is missing or may not be written to, or `path` is a folder; TenonError when the disk is full
 * or fails (`cause` is the system's error); what a generator of pieces throws, as it is.
 */
export async function writeFileAtomically(path: string, content: Content): Promise<void> {
  await (await stageFile(path, content)).commit();
}

/** The first half of `writeFileAtomically`, for files that are to appear together. */
export async function stageFile(path: string, content: Content): Promise<StagedFile> {
  const chunks = content instanceof Uint8Array ? [content] : content;
  // Through a link, so that the link stays one.
  const target = await realpath(path).catch(() => path);
  const folder = dirname(target);
  const temporary = join(folder, `.${basename(target)}${owner()}${process.pid}-${randomUUID().slice(0, 8)}.tmp`);
  const discard = (): Promise<void> => rm(temporary, { force: true }).catch(() => undefined);
  const fail = async (error: unknown): Promise<never> => {
    await discard();
    throw isOfSystem(error) ? explain(path, error, await isFolder(folder)) : error;
  };
  try {
    const mode = await stat(target).then(
      (s) => s.mode & 0o777,
      () => undefined,
    );
    await withFile(temporary, 'wx', async (file) => {
      if (mode !== undefined) await file.chmod(mode);
      for await (const chunk of chunks) await file.writeFile(chunk);
      await file.sync();
    });
  } catch (error) {
    return fail(error);
  }
  const commit = async (): Promise<void> => {
    try {
      await rename(temporary, target);
    } catch (error) {
      return fail(error);
    }
    await syncFolder(folder);
    await removeLeftovers(folder);
  };
  return { commit, discard };
}

/** An error of a call to the system, and not of who makes the pieces. */
const isOfSystem = (error: unknown): boolean => error instanceof Error && !(error instanceof TenonError) && 'syscall' in error;

async function withFile(path: string, flags: string, body: (file: FileHandle) => Promise<void>): Promise<void> {
  const file = await open(path, flags, 0o666);
  try {
    await body(file);
  } finally {
    await file.close();
  }
}

/** Makes the rename itself durable. Some systems cannot open or sync a folder; the file is whole there all the same. */
async function syncFolder(folder: string): Promise<void> {
  await withFile(folder, 'r', (file) => file.sync()).catch(() => undefined);
}

/** Between the file's name and the process's id in the name of a temporary. */
const owner = (): string => `.${hostname()}-`;

/** Removes temporaries whose process on this machine is gone: of any file, since a killed run may never write that one again. */
async function removeLeftovers(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names) {
    const found = name.startsWith('.') ? /-(\d+)-[0-9a-f]{8}\.tmp$/.exec(name) : null;
    if (!found || !name.slice(0, found.index + 1).endsWith(owner())) continue;
    if (!isRunning(Number(found[1]))) await rm(join(folder, name), { force: true }).catch(() => undefined);
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) !== 'ESRCH';
  }
}

const codeOf = (error: unknown): string => (error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '');

const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    (s) => s.isDirectory(),
    () => false,
  );

/** The system's error in words that say what to do. */
function explain(path: string, error: unknown, hasFolder: boolean): TenonError {
  const folder = dirname(path);
  const cause = { cause: error };
  switch (codeOf(error)) {
    case 'ENOENT':
      // File systems of the kernel, such as /proc, say so of what they don't let be made.
      if (hasFolder)
        return new ConfigError(
          `write ${path}: nothing can be written to the folder ${folder} (${reasonOf(error)}). Choose another place.`,
          cause,
        );
      return new ConfigError(`write ${path}: there is no folder ${folder}. Make it, or choose another place.`, cause);
    case 'ENOTDIR':
      return new ConfigError(`write ${path}: ${folder} is a file, not a folder. Choose another place.`, cause);
    case 'EISDIR':
      return new ConfigError(`write ${path}: this is a folder. Expected the name of a file.`, cause);
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new ConfigError(
        `write ${path}: the folder ${folder} may not be written to. Change its permissions, or choose another place.`,
        cause,
      );
    case 'ENAMETOOLONG':
      return new ConfigError(`write ${path}: the name is too long. Choose a shorter one.`, cause);
    case 'ENOSPC':
    case 'EDQUOT':
    case 'EFBIG':
      return new TenonError(
        `write ${path}: there is no room left (${codeOf(error)}). Nothing was changed: an older file of this name is as it was. Free some space and try again.`,
        cause,
      );
    default:
      return new TenonError(`write ${path}: the system refused (${reasonOf(error)}). An older file of this name is as it was.`, cause);
  }
}
