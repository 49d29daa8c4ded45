/**
 * @file Fetches a published file into a folder: resumed by Range requests, checked by its hash, put in place by one rename.
 * A part file carries the process id of its writer, so that two processes never write into one and a dead one's work is taken up.
 */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { FormatError, InternalError } from '../../base/errors.js';
import { makeFolders } from '../../io/make-folder-node.js';

/** How far a download is; `total` is null when the server does not say. */
export interface DownloadProgress {
  file: string;
  received: number;
  total: number | null;
}

export interface DownloadOptions {
  url: string;
  /** Where the file goes; its folder is made. */
  destination: string;
  /** Lower-case hex; this or gitBlob. */
  sha256?: string;
  /** Git's name for a file of so many bytes: the SHA-1 of a header and the content. */
  gitBlob?: { readonly id: string; readonly bytes: number };
  /** Sent with every request, and by fetch only to the URL's own origin where it redirects. */
  headers?: Readonly<Record<string, string>>;
  /** More than this ends the download with an error. */
  maxBytes: number;
  onProgress?: (progress: DownloadProgress) => void;
  signal?: AbortSignal;
  /** Attempts after a broken connection, each resuming; default 3. */
  retries?: number;
  /** A connection that gives nothing for so long counts as broken; default 30,000. */
  stallMilliseconds?: number;
}

/** The server cannot be reached or refuses; says nothing about the file. */
export class DownloadError extends Error {
  override name = 'DownloadError';
  /** Whether the same request may work in a moment. */
  readonly isTransient: boolean;
  constructor(message: string, isTransient: boolean) {
    super(message);
    this.isTransient = isTransient;
  }
}

const running = new Map<string, Promise<void>>();

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch (e) {
    return (e as NodeJS.ErrnoException).code === 'EPERM';
  }
};

/** Takes over the longest part file whose writer has ended; returns the path of this process's part file. */
async function claimPart(destination: string): Promise<string> {
  const folder = dirname(destination);
  const own = join(folder, `${basename(destination)}.${process.pid}.part`);
  let best: string | undefined;
  let bestSize = -1;
  for (const name of await readdir(folder)) {
    if (!name.startsWith(`${basename(destination)}.`)) continue;
    const pid = /\.(\d+)\.part$/.exec(name)?.[1];
    if (pid === undefined || (Number(pid) !== process.pid && isAlive(Number(pid)))) continue;
    const path = join(folder, name);
    const { size } = await stat(path);
    if (size > bestSize) {
      best = path;
      bestSize = size;
    }
  }
  // Another process may have claimed it in between: then this one starts anew.
  if (best !== undefined && best !== own) await rename(best, own).catch(() => undefined);
  return own;
}

/** What the file must hash to: the name of the hash, a new one, and its end. */
function checksumOf({ sha256, gitBlob, destination }: DownloadOptions): {
  readonly name: string;
  start(): Hash;
  readonly expected: string;
} {
  if (gitBlob) return { name: 'Git SHA-1', start: () => createHash('sha1').update(`blob ${gitBlob.bytes}\0`), expected: gitBlob.id };
  if (sha256 === undefined) throw new InternalError(`downloadFile ${destination}: no checksum.`);
  return { name: 'SHA-256', start: () => createHash('sha256'), expected: sha256 };
}

async function hashPart(path: string, hash: Hash): Promise<{ hash: Hash; size: number }> {
  let size = 0;
  try {
    for await (const chunk of createReadStream(path)) {
      hash.update(chunk);
      size += chunk.length;
    }
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code !== 'ENOENT') throw e;
  }
  return { hash, size };
}

const reason = (e: unknown): string => {
  if (!(e instanceof Error)) return String(e);
  return e.cause instanceof Error ? e.cause.message || String((e.cause as NodeJS.ErrnoException).code) : e.message;
};

async function attempt(o: DownloadOptions, part: string): Promise<void> {
  const name = basename(o.destination);
  const checksum = checksumOf(o);
  let { hash, size } = await hashPart(part, checksum.start());
  const stall = new AbortController();
  const limit = o.stallMilliseconds ?? 30_000;
  let timer = setTimeout(() => stall.abort(), limit);
  let file: FileHandle | undefined;
  try {
    const headers: Record<string, string> = { ...o.headers, 'accept-encoding': 'identity' };
    if (size > 0) headers.range = `bytes=${size}-`;
    const signal = o.signal ? AbortSignal.any([o.signal, stall.signal]) : stall.signal;
    const response = await fetch(o.url, { headers, signal });
    // 416: nothing lies beyond what we have. The checksum says whether that is the file.
    if (response.status !== 416) {
      if (!response.ok || response.body === null)
        throw new DownloadError(`${new URL(o.url).host} answered ${response.status} ${response.statusText}`, response.status >= 500);
      const isResumed = response.status === 206 && response.headers.get('content-range')?.startsWith(`bytes ${size}-`) === true;
      if (!isResumed) {
        hash = checksum.start();
        size = 0;
      }
      const length = response.headers.get('content-length');
      const total = length === null ? null : size + Number(length);
      file = await open(part, isResumed ? 'a' : 'w');
      const reader = response.body.getReader();
      for (;;) {
        const { done, value: chunk } = await reader.read();
        if (done) break;
        clearTimeout(timer);
        timer = setTimeout(() => stall.abort(), limit);
        size += chunk.length;
        if (size > o.maxBytes) {
          await rm(part, { force: true });
          throw new FormatError(
            `${name}: larger than it can be. Expected at most ${o.maxBytes} bytes from ${o.url}. The server sends something else.`,
          );
        }
        hash.update(chunk);
        await file.write(chunk);
        o.onProgress?.({ file: name, received: size, total });
      }
      await file.sync();
      if (total !== null && size < total) throw new DownloadError(`the connection ended after ${size} of ${total} bytes`, true);
    } else await response.body?.cancel();
  } catch (e) {
    if (e instanceof FormatError || e instanceof DownloadError || o.signal?.aborted) throw e;
    // The disk's own errors (full, not writable) carry a code and a path; fetch's do not and are worth another try.
    if (e instanceof Error && 'syscall' in e && !stall.signal.aborted && !(e instanceof TypeError)) throw e;
    throw new DownloadError(stall.signal.aborted ? `${new URL(o.url).host} sent nothing for ${limit / 1000} s` : reason(e), true);
  } finally {
    clearTimeout(timer);
    await file?.close();
  }
  const received = hash.digest('hex');
  if (received !== checksum.expected) {
    await rm(part, { force: true });
    throw new FormatError(
      `${name}: wrong checksum after downloading ${o.url}. Expected ${checksum.name} ${checksum.expected}, received ${received} (${size} bytes). Try again, or fetch the file by hand.`,
    );
  }
  await rename(part, o.destination);
}

async function run(o: DownloadOptions): Promise<void> {
  await makeFolders(dirname(o.destination));
  const part = await claimPart(o.destination);
  for (let left = o.retries ?? 3; ; left--)
    try {
      return await attempt(o, part);
    } catch (e) {
      if (!(e instanceof DownloadError) || !e.isTransient || left === 0 || o.signal?.aborted) throw e;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
}

/**
 * Downloads `url` to `destination`, taking up an interrupted download. Two calls for one destination share one download.
 * @throws DownloadError when the server is out of reach, FormatError when the file is not the published one (the part is deleted)
 */
export function downloadFile(options: DownloadOptions): Promise<void> {
  const known = running.get(options.destination);
  if (known) return known;
  const task = run(options).finally(() => running.delete(options.destination));
  running.set(options.destination, task);
  return task;
}
