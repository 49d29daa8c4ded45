/**
 * @file Loads the published data sets from a data directory, the cache, or their official addresses.
 * Looks in dataDir (or TENON_DATA_DIR), then in the cache folder; downloads into the cache only.
 */
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream';
import { promisify } from 'node:util';
import { createGunzip, gunzip } from 'node:zlib';
import { ConfigError, FormatError, reasonOf } from '../../base/errors.js';
import { host } from '../../base/host.js';
import { allocateCifar, type CifarSpec, cifar10Spec, cifar100Spec, parseCifar, recordBytes } from './cifar.js';
import { DownloadError, type DownloadProgress, downloadFile } from './download-node.js';
import { parseMnistSplit } from './idx.js';
import { readTarMembers } from './tar.js';
import type { ImageClassification, LabelledImages } from './types.js';

export interface LoadOptions {
  /** Folder that holds the official files (or a folder of them by data set); default TENON_DATA_DIR, then the cache. */
  dataDir?: string;
  /** Whether missing files may be fetched; default true, but false when dataDir names a folder. */
  download?: boolean;
  /** Where downloads are kept; default TENON_CACHE_DIR or the user's cache folder, /tenon/datasets. */
  cacheDir?: string;
  onProgress?: (progress: DownloadProgress) => void;
  signal?: AbortSignal;
}

interface RemoteFile {
  readonly name: string;
  readonly sha256: string;
  readonly bytes: number;
}

/** A published data set: what it is called in folders, where it is published, and its files there. */
export interface Source {
  readonly who: string;
  readonly title: string;
  readonly folders: readonly string[];
  readonly address: string;
  readonly files: readonly RemoteFile[];
}

export const sources = {
  cifar10: {
    who: 'cifar10',
    title: 'CIFAR-10',
    folders: ['cifar10', 'cifar-10'],
    address: 'https://www.cs.toronto.edu/~kriz/',
    files: [
      { name: 'cifar-10-binary.tar.gz', bytes: 170_052_171, sha256: 'c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd' },
    ],
  },
  cifar100: {
    who: 'cifar100',
    title: 'CIFAR-100',
    folders: ['cifar100', 'cifar-100'],
    address: 'https://www.cs.toronto.edu/~kriz/',
    files: [
      { name: 'cifar-100-binary.tar.gz', bytes: 168_513_733, sha256: '58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec' },
    ],
  },
  // The authors' own page no longer serves the files and points to copies; this is the one TensorFlow's documentation uses.
  mnist: {
    who: 'mnist',
    title: 'MNIST',
    folders: ['mnist'],
    address: 'https://storage.googleapis.com/cvdf-datasets/mnist/',
    files: [
      { name: 'train-images-idx3-ubyte.gz', bytes: 9_912_422, sha256: '440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609' },
      { name: 'train-labels-idx1-ubyte.gz', bytes: 28_881, sha256: '3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c' },
      { name: 't10k-images-idx3-ubyte.gz', bytes: 1_648_877, sha256: '8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6' },
      { name: 't10k-labels-idx1-ubyte.gz', bytes: 4_542, sha256: 'f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6' },
    ],
  },
  fashionMnist: {
    who: 'fashionMnist',
    title: 'Fashion-MNIST',
    folders: ['fashion-mnist', 'fashion_mnist', 'FashionMNIST'],
    address: 'http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/',
    files: [
      { name: 'train-images-idx3-ubyte.gz', bytes: 26_421_880, sha256: '3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84' },
      { name: 'train-labels-idx1-ubyte.gz', bytes: 29_515, sha256: 'a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845' },
      { name: 't10k-images-idx3-ubyte.gz', bytes: 4_422_102, sha256: '346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073' },
      { name: 't10k-labels-idx1-ubyte.gz', bytes: 5_148, sha256: '67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5' },
    ],
  },
} as const satisfies Record<string, Source>;

/** The folder downloads of `who` are kept in. */
function cacheFolder(source: Source, options: LoadOptions): string {
  return join(options.cacheDir ?? host.cacheDirectory() ?? tmpdir(), 'datasets', source.folders[0]);
}

const isFile = async (path: string): Promise<boolean> => (await stat(path).catch(() => undefined))?.isFile() === true;

const namedFolder = (options: LoadOptions): string | undefined => options.dataDir ?? host.environment('TENON_DATA_DIR');

/** The folders that may hold the data set: DIR/<its name>, DIR, the cache. */
function roots(source: Source, options: LoadOptions): string[] {
  const dir = namedFolder(options);
  const cache = cacheFolder(source, options);
  return dir === undefined ? [cache] : [...source.folders.map((f) => join(dir, f)), dir, cache];
}

async function fetchAll(source: Source, expected: string, options: LoadOptions): Promise<void> {
  const dir = namedFolder(options);
  const cache = cacheFolder(source, options);
  const put =
    `Expected ${expected} in ${dir === undefined ? cache : `${dir} or ${cache}`}. ` +
    `Fetch ${source.files.map((f) => f.name).join(', ')} from ${source.address} and put ${source.files.length > 1 ? 'them' : 'it'} there, or name the folder (dataDir, TENON_DATA_DIR).`;
  if (!(options.download ?? options.dataDir === undefined))
    throw new ConfigError(`${source.who}: ${source.title} is not there and download is off. ${put}`);
  for (const file of source.files) {
    const destination = join(cache, file.name);
    if (await isFile(destination)) continue;
    try {
      await downloadFile({
        url: source.address + file.name,
        destination,
        sha256: file.sha256,
        maxBytes: file.bytes * 2,
        onProgress: options.onProgress,
        signal: options.signal,
      });
    } catch (e) {
      if (e instanceof DownloadError)
        throw new ConfigError(`${source.who}: ${file.name} is not there and cannot be downloaded (${e.message}). ${put}`);
      throw e;
    }
  }
}

/** A file's bytes, after its size was compared with `bytes`. */
async function readExactly(path: string, bytes: number, title: string): Promise<Uint8Array> {
  const { size } = await stat(path).catch(() => {
    throw new FormatError(`${title}: ${path} is missing beside the other files. Expected ${bytes} bytes. Unpack the archive again.`);
  });
  if (size !== bytes)
    throw new FormatError(`${title}: ${path} has a wrong size. Expected ${bytes} bytes, received ${size}. Unpack or fetch it again.`);
  return readFile(path);
}

const damaged = (path: string, e: unknown): FormatError =>
  new FormatError(
    `${path}: damaged gzip data (${reasonOf(e)}). Expected a whole .gz file, received a truncated or corrupt one. Fetch it again.`,
  );

async function* gunzipped(path: string): AsyncGenerator<Uint8Array> {
  const stream = createGunzip({ chunkSize: 1 << 18 });
  // The iterator below reports every error; the callback is only there because pipeline wants one.
  pipeline(createReadStream(path, { highWaterMark: 1 << 18 }), stream, () => undefined);
  try {
    for await (const chunk of stream) yield chunk;
  } catch (e) {
    throw (e as NodeJS.ErrnoException).code?.startsWith('Z_') ? damaged(path, e) : e;
  }
}

async function findCifar(
  spec: CifarSpec,
  source: Source,
  options: LoadOptions,
): Promise<{ folder: string } | { archive: string } | undefined> {
  for (const root of roots(source, options)) {
    for (const folder of [join(root, spec.folder), root])
      for (const name of [...spec.train, spec.test]) if (await isFile(join(folder, name))) return { folder };
    if (await isFile(join(root, spec.archive))) return { archive: join(root, spec.archive) };
  }
  return undefined;
}

/** Reads a CIFAR set by its spec (the tests pass smaller ones). */
export async function loadCifar(spec: CifarSpec, source: Source, options: LoadOptions, labelByte: number): Promise<ImageClassification> {
  let found = await findCifar(spec, source, options);
  if (!found) {
    await fetchAll(source, `${spec.folder}/ or ${spec.archive}`, options);
    found = { archive: join(cacheFolder(source, options), spec.archive) };
  }
  const train = allocateCifar(spec.trainRecords * spec.train.length);
  const test = allocateCifar(spec.testRecords);
  const take = (name: string, bytes: Uint8Array): void => {
    if (name === spec.test) parseCifar(spec, name, bytes, test, 0, spec.testRecords, labelByte);
    else parseCifar(spec, name, bytes, train, spec.train.indexOf(name) * spec.trainRecords, spec.trainRecords, labelByte);
  };
  const wanted = [...spec.train.map((name) => ({ name, bytes: spec.trainRecords })), { name: spec.test, bytes: spec.testRecords }].map(
    (w) => ({
      name: w.name,
      bytes: w.bytes * recordBytes(spec),
    }),
  );
  if ('folder' in found) for (const w of wanted) take(w.name, await readExactly(join(found.folder, w.name), w.bytes, spec.title));
  else {
    const members = wanted.map((w) => ({ name: `${spec.folder}/${w.name}`, bytes: w.bytes }));
    for await (const m of readTarMembers(gunzipped(found.archive), members, found.archive))
      take(m.name.slice(spec.folder.length + 1), m.bytes);
  }
  return { train, test, classNames: [...spec.labels[labelByte].classes] };
}

const unpack = promisify(gunzip);

async function readIdxFile(path: string, maxBytes: number): Promise<Uint8Array> {
  const { size } = await stat(path);
  if (size > maxBytes) throw new FormatError(`${path}: larger than it can be. Expected at most ${maxBytes} bytes, received ${size}.`);
  const bytes = await readFile(path);
  if (!path.endsWith('.gz')) return bytes;
  return unpack(bytes, { maxOutputLength: maxBytes }).catch((e: unknown) => {
    throw damaged(path, e);
  });
}

/** Four idx files in one folder, .gz or plain (also under the name with a dot that some unpackers write). */
async function findIdx(source: Source, options: LoadOptions): Promise<string[] | undefined> {
  for (const root of roots(source, options)) {
    const paths: string[] = [];
    const missing: string[] = [];
    for (const file of source.files) {
      const plain = file.name.slice(0, -3);
      const dotted = plain.replace('-idx', '.idx');
      let path: string | undefined;
      for (const name of [file.name, plain, dotted]) if (path === undefined && (await isFile(join(root, name)))) path = join(root, name);
      if (path === undefined) missing.push(file.name);
      else paths.push(path);
    }
    if (missing.length === 0) return paths;
    // In the cache a missing file is one still to be fetched; elsewhere half a data set is a mistake worth naming.
    if (paths.length > 0 && root !== cacheFolder(source, options))
      throw new FormatError(
        `${source.title}: ${root} holds a part of the data set. Expected also ${missing.join(', ')}. Put the missing files there.`,
      );
  }
  return undefined;
}

/** Reads an MNIST-like set. */
export async function loadMnist(source: Source, options: LoadOptions, classNames: readonly string[]): Promise<ImageClassification> {
  let paths = await findIdx(source, options);
  if (!paths) {
    await fetchAll(source, source.files.map((f) => f.name).join(', '), options);
    paths = source.files.map((f) => join(cacheFolder(source, options), f.name));
  }
  const split = async (images: string, labels: string): Promise<LabelledImages> =>
    parseMnistSplit(
      { file: images, bytes: await readIdxFile(images, 1 << 26) },
      { file: labels, bytes: await readIdxFile(labels, 1 << 20) },
      classNames.length,
    );
  return { train: await split(paths[0], paths[1]), test: await split(paths[2], paths[3]), classNames: [...classNames] };
}

export const cifar10 = (options: LoadOptions): Promise<ImageClassification> => loadCifar(cifar10Spec, sources.cifar10, options, 0);

export const cifar100 = (options: LoadOptions, labelByte: number): Promise<ImageClassification> =>
  loadCifar(cifar100Spec, sources.cifar100, options, labelByte);

export const mnist = (options: LoadOptions): Promise<ImageClassification> => loadMnist(sources.mnist, options, [...'0123456789']);

const fashion = ['T-shirt/top', 'Trouser', 'Pullover', 'Dress', 'Coat', 'Sandal', 'Shirt', 'Sneaker', 'Bag', 'Ankle boot'];
export const fashionMnist = (options: LoadOptions): Promise<ImageClassification> => loadMnist(sources.fashionMnist, options, fashion);
