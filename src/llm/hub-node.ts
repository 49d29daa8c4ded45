/**
 * @file Models of the Hugging Face hub as folders: into the cache that the hub's own tools use (models--owner--name with blobs, refs and
 * snapshots), each file resumed where it stopped and checked by its hash. Asking the hub is @huggingface/hub's; its own download begins
 * anew after every cut, checks nothing and prints, so files are fetched as data sets are.
 */
import { randomUUID } from 'node:crypto';
import { copyFile, readFile, readlink, rename, rm, stat, statfs, symlink } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { ConfigError, FormatError, quote, reasonOf, TenonError } from '../base/errors.js';
import { DownloadError, downloadFile } from '../data/datasets/download-node.js';
import { writeFileAtomically } from '../io/atomic-write-node.js';
import { isRecord } from '../io/bytes.js';
import { makeFolders } from '../io/make-folder-node.js';
import { hubFetch } from './hub-fetch-node.js';

/** How far a download is, in bytes. */
export interface HubProgress {
  readonly file: string;
  readonly received: number;
  readonly total: number;
  /** Over all files, those that were there already included. */
  readonly allReceived: number;
  readonly allTotal: number;
}

export interface DownloadModelOptions {
  /** A branch, tag or commit; default main. */
  readonly revision?: string;
  /** For models that are private or gated; default: the environment's HF_TOKEN. */
  readonly token?: string;
  /** Default: HF_HUB_CACHE, or HF_HOME/hub, or ~/.cache/huggingface/hub. */
  readonly cacheDir?: string;
  /** Only look into the cache; default: whether HF_HUB_OFFLINE is set. */
  readonly offline?: boolean;
  /** Names, in which * stands for anything within a folder. Default: config, generation config, tokenizer, chat template, safetensors. */
  readonly files?: readonly string[];
  /** More bytes than this are not begun with; default 500 GB. */
  readonly maxBytes?: number;
  /** Default: the environment's HF_ENDPOINT, or the hub. */
  readonly hubUrl?: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: HubProgress) => void;
}

/** A file that is wanted. */
interface Wanted {
  readonly path: string;
  readonly size: number;
  /** The name of its blob: SHA-256 for large files, Git's name for the others. */
  readonly blob: string;
  readonly isLarge: boolean;
  /** Other words that the hub may have for the same content. */
  readonly otherTags: readonly string[];
}

interface Place {
  /** `downloadModel "owner/name"`, for errors. */
  readonly who: string;
  readonly name: string;
  readonly revision: string;
  /** models--owner--name in the cache. */
  readonly folder: string;
}

type Hub = typeof import('@huggingface/hub');

const defaultFiles: readonly string[] = [
  ...['config.json', 'generation_config.json', 'adapter_config.json'],
  ...['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json', 'vocab.json', 'merges.txt'],
  ...['chat_template.jinja', 'chat_template.json', '*.safetensors', '*.safetensors.index.json'],
];
/** What `fromPretrained` reads, where there is any; a model may have the same weights under other names too. */
const usualWeights = /^model(-\d{5}-of-\d{5})?\.safetensors$/;
const commitHash = /^[0-9a-f]{40}$/;
const MAX_BYTES = 500e9;
/** Of a JSON or text file: a tokenizer of 250,000 tokens is 30 MB. */
const MAX_TEXT_BYTES = 256 * 2 ** 20;
const MAX_LISTED = 100_000;
/** The hashes of no bytes. */
const NOTHING = {
  git: 'e69de29bb2d1d6434b8b29ae775ad8c2e48c5391',
  sha256: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
};

/**
 * Downloads what a language model needs and gives the folder that holds it, a snapshot of one commit. What is in the cache isn't
 * fetched again.
 * @throws ConfigError for a name, revision or file that isn't there, a missing token, a full disk, and offline where the cache lacks it;
 * FormatError when the hub's answers or a file are not what they must be; DownloadError when the hub can't be reached.
 */
export async function downloadModel(name: string, options: DownloadModelOptions = {}): Promise<string> {
  const { revision = 'main', signal } = options;
  const who = `downloadModel ${quote(name)}`;
  if (!/^([A-Za-z0-9_][\w.-]*\/)?[A-Za-z0-9_][\w.-]*$/.test(name) || /\.\.|--/.test(name))
    throw new ConfigError(`${who}: this is no name of a model. Expected owner/name.`);
  if (!isSafePath(revision)) throw new ConfigError(`${who}: ${quote(revision)} is no revision. Expected a branch, a tag or a commit.`);
  for (const file of options.files ?? [])
    if (!isSafePath(file.replaceAll('*', 'x'))) throw new ConfigError(`${who}: ${quote(file)} is no name of a file in a model.`);
  const place: Place = { who, name, revision, folder: join(options.cacheDir ?? hubCacheDir(), `models--${name.replace('/', '--')}`) };
  signal?.throwIfAborted();
  if (options.offline ?? isSet('HF_HUB_OFFLINE')) return findCached(place, options.files);
  try {
    return await download(place, options);
  } catch (error) {
    if (!(error instanceof Error && 'syscall' in error) || signal?.aborted) throw error;
    throw new TenonError(`${who}: the cache ${place.folder} can't be written to (${reasonOf(error)}). Give cacheDir or set HF_HUB_CACHE.`, {
      cause: error,
    });
  }
}

/** The folder of the hub's cache, as its own tools find it. */
export function hubCacheDir(): string {
  const { HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME, XDG_CACHE_HOME } = process.env;
  return HF_HUB_CACHE || HUGGINGFACE_HUB_CACHE || join(HF_HOME || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'huggingface'), 'hub');
}

const isSet = (name: string): boolean => /^(1|on|yes|true)$/i.test(process.env[name] ?? '');

/** A relative path without tricks: nothing that leaves a folder on any system, nothing that means something in a URL. */
const isSafePath = (path: string): boolean =>
  path.length <= 500 && path.split('/').every((part) => /^[\w.+=@~ -]+$/.test(part) && !/^\.+$|^ | $/.test(part));

async function download(place: Place, options: DownloadModelOptions): Promise<string> {
  const { who, name, revision, folder } = place;
  const hub = await loadHub(who);
  const accessToken = options.token ?? (process.env.HF_TOKEN || undefined);
  if (accessToken !== undefined && !/^hf_\S+$/.test(accessToken))
    throw new ConfigError(`${who}: the token is none. Expected one that begins with hf_.`);
  const hubUrl = (options.hubUrl ?? (process.env.HF_ENDPOINT || hub.HUB_URL)).replace(/\/+$/, '');
  const { signal } = options;
  const { sha: commit } = await explained(place, hub, signal, () =>
    hub.modelInfo({ name, revision, additionalFields: ['sha'], hubUrl, fetch: hubFetch(who, hubUrl, signal, null), accessToken }),
  );
  if (typeof commit !== 'string' || !commitHash.test(commit))
    throw new FormatError(`${who}: the hub names no commit. Expected 40 hexadecimal digits, received ${quote(commit)}.`);
  const asked: Asked = { hubUrl, fetch: hubFetch(who, hubUrl, signal, commit), accessToken };
  const files = await explained(place, hub, signal, () => listWanted(place, hub, commit, asked, options.files));
  const total = checkSizes(place, files, options);
  await makeFolders(join(folder, 'blobs'));
  const missing: Wanted[] = [];
  for (const file of files) if (!(await hasBlob(folder, file))) missing.push(file);
  await requireSpace(place, missing);
  let before = total - missing.reduce((sum, file) => sum + file.size, 0);
  for (const file of missing) {
    signal?.throwIfAborted();
    const onReceived = (received: number): void =>
      options.onProgress?.({ file: file.path, received, total: file.size, allReceived: before + received, allTotal: total });
    await explained(place, hub, signal, () => fetchBlob(place, hub, commit, file, asked, onReceived, signal));
    before += file.size;
  }
  const snapshot = join(folder, 'snapshots', commit);
  for (const file of files) await link(join(folder, 'blobs', file.blob), join(snapshot, file.path));
  // Last, so that the name of a branch leads to a whole snapshot.
  if (revision !== commit) {
    const ref = join(folder, 'refs', revision);
    await makeFolders(dirname(ref));
    await writeFileAtomically(ref, new TextEncoder().encode(commit));
  }
  return snapshot;
}

async function loadHub(who: string): Promise<Hub> {
  try {
    return await import('@huggingface/hub');
  } catch (error) {
    throw new ConfigError(
      `${who}: downloading needs the package @huggingface/hub, which is not there (${reasonOf(error)}). Run npm install @huggingface/hub, or fetch the files by hand.`,
      { cause: error },
    );
  }
}

/** Errors of the hub and of the network in words that say what to do. */
async function explained<T>({ who, revision }: Place, hub: Hub, signal: AbortSignal | undefined, body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    if (error instanceof TenonError || signal?.aborted) throw error;
    if (error instanceof DownloadError) {
      const way = 'Try again: it goes on where it stopped. With offline: true only the cache is used.';
      throw new DownloadError(`${who}: ${error.message.replace(/\.$/, '')}. ${way}`, error.isTransient);
    }
    // What the package throws when it reads something else than it expects.
    if (error instanceof hub.InvalidApiResponseFormatError || error instanceof SyntaxError || error instanceof TypeError)
      throw new FormatError(`${who}: the hub's answer is not what it has to be (${error.message}).`, { cause: error });
    if (!(error instanceof hub.HubApiError)) throw error;
    const { statusCode } = error;
    const cause = { cause: error };
    if (statusCode === 401 || statusCode === 403)
      throw new ConfigError(
        `${who}: the hub does not give it (${statusCode}). It is private or gated, or there is none of this name. Check the name, accept the model's terms on its page, and give token or set HF_TOKEN.`,
        cause,
      );
    if (statusCode === 404)
      throw new ConfigError(`${who}: there is no such model, or none of revision ${quote(revision)} (404). Check both.`, cause);
    throw new DownloadError(`${who}: the hub answered ${statusCode}. Try again later.`, statusCode >= 500);
  }
}

interface Asked {
  readonly hubUrl: string;
  readonly fetch: typeof fetch;
  readonly accessToken: string | undefined;
}

/** The files of the commit that are wanted, with what is needed to check them. */
async function listWanted(place: Place, hub: Hub, commit: string, asked: Asked, patterns?: readonly string[]): Promise<Wanted[]> {
  const { who, name } = place;
  const isWanted = matcher(patterns ?? defaultFiles);
  const recursive = patterns?.some((pattern) => pattern.includes('/')) ?? false;
  const files: Wanted[] = [];
  let listed = 0;
  for await (const entry of hub.listFiles({ repo: { type: 'model', name }, revision: commit, recursive, ...asked })) {
    if (++listed > MAX_LISTED) throw new FormatError(`${who}: the hub lists more than ${MAX_LISTED} files. Expected fewer.`);
    if (!isRecord(entry)) throw new FormatError(`${who}: the hub lists ${quote(entry)} among its files. Expected an object.`);
    if (entry.type !== 'file') continue;
    if (typeof entry.path !== 'string' || !isWanted(entry.path)) continue;
    if (!isSafePath(entry.path)) throw new FormatError(`${who}: the hub lists a file ${quote(entry.path)}, which could leave its folder.`);
    files.push(wantedOf(who, entry));
  }
  const hasUsual = patterns === undefined && files.some(({ path }) => usualWeights.test(path));
  const chosen = hasUsual
    ? files.filter(({ path }) => !path.endsWith('.safetensors') || usualWeights.test(path) || path.startsWith('adapter'))
    : files;
  for (const pattern of patterns ?? [])
    if (!chosen.some(({ path }) => matcher([pattern])(path)))
      throw new ConfigError(`${who}: there is no file ${quote(pattern)} in revision ${quote(place.revision)}.`);
  if (chosen.length === 0) throw new ConfigError(`${who}: it has none of the files of a language model. Name what you want with files.`);
  return chosen;
}

function wantedOf(who: string, entry: import('@huggingface/hub').ListFileEntry): Wanted {
  const { path, lfs } = entry;
  const size = lfs?.size ?? entry.size;
  const blob = lfs?.oid ?? entry.oid;
  const isLarge = lfs !== undefined && lfs !== null;
  if (typeof blob !== 'string' || !(isLarge ? /^[0-9a-f]{64}$/ : commitHash).test(blob) || !Number.isSafeInteger(size) || size < 0)
    throw new FormatError(`${who}: the hub lists ${quote(path)} without a usable hash or size, received ${quote({ oid: blob, size })}.`);
  return { path, size, blob, isLarge, otherTags: typeof entry.xetHash === 'string' ? [entry.xetHash] : [] };
}

function matcher(patterns: readonly string[]): (path: string) => boolean {
  const source = patterns.map((pattern) => pattern.replace(/[.+^${}()|[\]\\?]/g, '\\$&').replaceAll('*', '[^/]*')).join('|');
  const test = new RegExp(`^(?:${source})$`);
  return (path) => test.test(path);
}

/** All bytes. Throws FormatError and ConfigError when they are too many. */
function checkSizes({ who }: Place, files: readonly Wanted[], { files: patterns, maxBytes = MAX_BYTES }: DownloadModelOptions): number {
  for (const { path, size } of files)
    if (patterns === undefined && !path.endsWith('.safetensors') && size > MAX_TEXT_BYTES)
      throw new FormatError(`${who}: ${quote(path)} is larger than it can be. Expected at most ${MAX_TEXT_BYTES} bytes, received ${size}.`);
  const total = files.reduce((sum, { size }) => sum + size, 0);
  if (total > maxBytes) throw new ConfigError(`${who}: its files have ${total} bytes. Expected at most ${maxBytes}. Raise maxBytes.`);
  return total;
}

/** Whether the file's content is in the cache. One of another size is not what its name says, and removed. */
async function hasBlob(folder: string, { blob, size }: Wanted): Promise<boolean> {
  const path = join(folder, 'blobs', blob);
  const info = await stat(path).catch(() => null);
  if (info?.isFile() && info.size === size) return true;
  if (info) await rm(path, { recursive: true });
  return false;
}

async function requireSpace({ who, folder }: Place, missing: readonly Wanted[]): Promise<void> {
  const needed = missing.reduce((sum, { size }) => sum + size, 0);
  const disk = await statfs(folder).catch(() => null);
  const free = disk ? disk.bavail * disk.bsize : Number.POSITIVE_INFINITY;
  if (needed > free)
    throw new ConfigError(
      `${who}: ${needed} bytes are to be downloaded, and ${folder} has room for ${free}. Free some space, or give cacheDir.`,
    );
}

/** Downloads what the cache lacks to its place there. */
async function fetchBlob(
  { who, name, folder }: Place,
  hub: Hub,
  commit: string,
  file: Wanted,
  asked: Asked,
  onReceived: (received: number) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { path, size, blob, isLarge } = file;
  const destination = join(folder, 'blobs', blob);
  if (size === 0) {
    // A range of nothing can't be asked for.
    if (blob !== (isLarge ? NOTHING.sha256 : NOTHING.git))
      throw new FormatError(`${who}: ${quote(path)} is empty, and ${blob} is not the hash of nothing.`);
    return writeFileAtomically(destination, new Uint8Array(0));
  }
  const info = await hub.fileDownloadInfo({ repo: { type: 'model', name }, path, revision: commit, ...asked });
  if (info === null) throw new FormatError(`${who}: the hub lists ${quote(path)} and doesn't have it.`);
  if (info.size !== size)
    throw new FormatError(`${who}: ${quote(path)} has another size than the hub lists. Expected ${size} bytes, received ${info.size}.`);
  const tag = info.etag.replace(/^W\//, '').replaceAll('"', '');
  if (/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(tag) && ![blob, ...file.otherTags].includes(tag))
    throw new FormatError(`${who}: ${quote(path)} has another ETag than the hub lists. Expected ${blob}, received ${tag}.`);
  const isOwn = new URL(info.url).origin === new URL(asked.hubUrl).origin;
  await downloadFile({
    url: info.url,
    destination,
    ...(isLarge ? { sha256: blob } : { gitBlob: { id: blob, bytes: size } }),
    ...(isOwn && asked.accessToken !== undefined && { headers: { authorization: `Bearer ${asked.accessToken}` } }),
    maxBytes: size,
    onProgress: ({ received }) => onReceived(received),
    signal,
  });
}

/** `path` in the snapshot becomes a link to the blob; a copy where the system has no links. */
async function link(blob: string, path: string): Promise<void> {
  const target = relative(dirname(path), blob);
  if ((await readlink(path).catch(() => null)) === target) return;
  await makeFolders(dirname(path));
  const temporary = `${path}.${randomUUID().slice(0, 8)}.tmp`;
  try {
    await symlink(target, temporary);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && ['EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP'].includes(String(error.code))))
      throw error;
    await copyFile(blob, temporary);
  }
  await rename(temporary, path);
}

/** The snapshot of the revision in the cache, whole. Throws ConfigError when there is none. */
async function findCached({ who, revision, folder }: Place, patterns?: readonly string[]): Promise<string> {
  const way = 'Download it once without offline (HF_HUB_OFFLINE).';
  const commit = commitHash.test(revision) ? revision : (await readFile(join(folder, 'refs', revision), 'utf8').catch(() => '')).trim();
  const snapshot = join(folder, 'snapshots', commit);
  if (!commitHash.test(commit) || !(await stat(snapshot).catch(() => null))?.isDirectory())
    throw new ConfigError(`${who}: revision ${quote(revision)} is not in the cache ${folder}. ${way}`);
  const lacking: string[] = [];
  const need = async (file: string): Promise<void> => {
    // Through the link: a link whose blob is gone is no file.
    if (!(await stat(join(snapshot, file)).catch(() => null))?.isFile()) lacking.push(file);
  };
  for (const file of patterns?.filter((pattern) => !pattern.includes('*')) ?? []) await need(file);
  if (patterns === undefined) for (const file of await shardsOf(who, snapshot)) await need(file);
  if (lacking.length > 0)
    throw new ConfigError(
      `${who}: the cache ${folder} lacks ${lacking
        .slice(0, 5)
        .map((f) => quote(f))
        .join(', ')} of revision ${quote(revision)}. ${way}`,
    );
  return snapshot;
}

/** The files of weights that the index names; none without an index. */
async function shardsOf(who: string, snapshot: string): Promise<string[]> {
  const path = join(snapshot, 'model.safetensors.index.json');
  const text = await readFile(path, 'utf8').catch(() => null);
  if (text === null) return [];
  let index: unknown;
  try {
    index = JSON.parse(text);
  } catch (error) {
    throw new FormatError(`${who}: ${path} is no JSON (${reasonOf(error)}).`);
  }
  const names = isRecord(index) && isRecord(index.weight_map) ? [...new Set(Object.values(index.weight_map))] : [];
  return names.map((shard) => {
    if (typeof shard !== 'string' || !isSafePath(shard)) throw new FormatError(`${who}: ${path} names a file ${quote(shard)}.`);
    return shard;
  });
}
