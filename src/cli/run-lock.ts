/**
 * @file One process a run: the folder's lock file names the process that trains there. A lock whose process is gone (kill -9,
 * a machine that went down) is taken over.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { isRecord } from '../io/bytes.js';
import { UsageError } from './failure.js';

const LOCK_FILE = 'run.lock';

export interface RunLock {
  /** Gives the folder back; may be called again. */
  release(): void;
}
interface Holder {
  readonly pid: number;
  readonly host: string;
  /** When the process began, in the system's own words: numbers of processes are used again. Null where it doesn't say. */
  readonly started: string | null;
}

/**
 * Takes the folder for this process until `release` or the end of the process.
 * Throws UsageError when another process trains there, and the system's error when nothing can be written there.
 */
export async function lockRun(option: string, folder: string): Promise<RunLock> {
  const path = join(folder, LOCK_FILE);
  const own: Holder = { pid: process.pid, host: hostname(), started: processInfo(process.pid)?.started ?? null };
  const text = `${JSON.stringify(own)}\n`;
  while (!(await create(path, text))) {
    const seen = await settledText(path);
    if (seen === null) continue;
    refuse(option, folder, seen);
    await removeDead(path, seen);
  }
  let isHeld = true;
  const release = (): void => {
    // Once: the next lock there is another's.
    if (!isHeld) return;
    isHeld = false;
    process.off('exit', release);
    rmSync(path, { force: true });
  };
  // A second Ctrl-C ends the process at once.
  process.on('exit', release);
  return { release };
}

/** Throws UsageError when a process trains in the folder now. */
export async function requireNotLocked(option: string, folder: string): Promise<void> {
  refuse(option, folder, (await settledText(join(folder, LOCK_FILE))) ?? '');
}

async function create(path: string, text: string): Promise<boolean> {
  try {
    await writeFile(path, text, { flag: 'wx' });
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

/** The lock's content: its maker may be between making and writing it. Null when there is none, empty when its maker died there. */
async function settledText(path: string): Promise<string | null> {
  for (let tries = 0; ; tries++) {
    const text = await readFile(path, 'utf8').catch(() => null);
    if (text === null || text.endsWith('\n') || tries === 20) return text;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function refuse(option: string, folder: string, text: string): void {
  const holder = parseHolder(text);
  if (!holder) return;
  if (holder.host !== hostname())
    throw new UsageError(
      `${option}: ${folder} is in use by process ${holder.pid} on ${holder.host}. Expected a run that nobody trains. Wait for it; if it is gone, remove ${join(folder, LOCK_FILE)}.`,
    );
  if (isAlive(holder))
    throw new UsageError(
      `${option}: ${folder} is in use: process ${holder.pid} trains there. Expected a run that nobody trains. Wait for it, or choose another folder.`,
    );
}

/** Removes the lock that was seen. Renamed first: of several that saw it only one moves it, and a new lock is put back. */
async function removeDead(path: string, seen: string): Promise<void> {
  const aside = `${path}.${randomUUID().slice(0, 8)}`;
  try {
    await rename(path, aside);
  } catch {
    return;
  }
  const moved = await readFile(aside, 'utf8').catch(() => seen);
  if (moved !== seen) await rename(aside, path).catch(() => undefined);
  else await rm(aside, { force: true });
}

function parseHolder(text: string): Holder | null {
  try {
    const value: unknown = JSON.parse(text);
    if (!isRecord(value)) return null;
    const { pid, host, started } = value;
    if (typeof pid !== 'number' || !Number.isInteger(pid) || pid < 1 || typeof host !== 'string') return null;
    return { pid, host, started: typeof started === 'string' ? started : null };
  } catch {
    return null;
  }
}

function isAlive({ pid, started }: Holder): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: there is one, of another user.
    if (!(error instanceof Error && 'code' in error && error.code === 'EPERM')) return false;
  }
  const info = processInfo(pid);
  if (!info) return true;
  return !info.isGone && (started === null || info.started === started);
}

/** What /proc says of a process (state and start, fields 3 and 22 of stat); null where there is no /proc. */
function processInfo(pid: number): { readonly isGone: boolean; readonly started: string } | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { isGone: /[ZXx]/.test(fields[0]), started: fields[19] };
  } catch {
    return null;
  }
}
