/** @file The data sets of the command line: loading, with a progress line for downloads, and what is said about them. */
import { stat } from 'node:fs/promises';
import { type ArrayColumn, sliceRows } from '../data/column.js';
import { type DownloadProgress, datasets, type ImageClassification, type LoadOptions } from '../data/datasets/index.js';
import { UsageError } from './failure.js';
import { plural, thousands } from './output.js';
import type { DatasetName } from './program.js';

export interface DatasetRequest {
  readonly name: DatasetName;
  readonly dataDir?: string;
  /** Only so many pictures of each part. */
  readonly limit?: number;
  /** Leaves the training part away where that saves work. */
  readonly testOnly?: boolean;
  readonly signal?: AbortSignal;
}
export interface LoadedDataset extends ImageClassification {
  readonly name: DatasetName;
  /** [height, width, channels]. */
  readonly pictureShape: readonly number[];
}

const official: Readonly<Record<Exclude<DatasetName, 'shapes'>, (options: LoadOptions) => Promise<ImageClassification>>> = {
  cifar10: datasets.cifar10,
  mnist: datasets.mnist,
  'fashion-mnist': datasets.fashionMnist,
};

/** How many epochs `tenon train` runs when it isn't told. */
export const defaultEpochs = (name: DatasetName): number => (name === 'shapes' ? 4 : 10);

/** Throws UsageError when `dir` is no folder. */
export async function requireFolder(option: string, dir: string): Promise<void> {
  const info = await stat(dir).catch(() => null);
  if (!info?.isDirectory()) throw new UsageError(`${option}: there is no folder ${dir}. Expected one that exists, received "${dir}".`);
}

/** Loads a data set. Throws UsageError and ConfigError when its files are missing, FormatError when they are damaged. */
export async function loadDataset(request: DatasetRequest): Promise<LoadedDataset> {
  const { name, dataDir, limit, signal } = request;
  if (dataDir !== undefined) await requireFolder('--data-dir', dataDir);
  const found =
    name === 'shapes'
      ? await datasets.shapes({ train: request.testOnly ? 0 : Math.min(limit ?? 20_000, 20_000), test: Math.min(limit ?? 4_000, 4_000) })
      : await official[name]({ dataDir, signal, onProgress: downloadLine() });
  const cut = (c: ArrayColumn): ArrayColumn => (limit === undefined || limit >= c.shape[0] ? c : sliceRows(c, 0, limit));
  return {
    name,
    train: { x: cut(found.train.x), y: cut(found.train.y) },
    test: { x: cut(found.test.x), y: cut(found.test.y) },
    classNames: found.classNames,
    pictureShape: found.test.x.shape.slice(1),
  };
}

/** `shapes: 20,000 training and 4,000 test pictures, 32×32×3, 10 classes`. */
export const describeDataset = (d: LoadedDataset): string =>
  `${d.name}: ${thousands(d.train.x.shape[0])} training and ${plural(d.test.x.shape[0], 'test picture')}, ${d.pictureShape.join('×')}, ${d.classNames.length} classes`;

/** Says how far a download is: in place in a terminal, every tenth elsewhere. */
function downloadLine(): (progress: DownloadProgress) => void {
  const { stderr } = process;
  let tenth = -1;
  return ({ file, received, total }) => {
    const share = total ? Math.floor((10 * received) / total) : 0;
    const text = `downloading ${file}: ${(received / 1e6).toFixed(1)}${total ? ` of ${(total / 1e6).toFixed(1)}` : ''} MB`;
    if (stderr.isTTY) stderr.write(`\r${text}\x1b[K${total !== null && received >= total ? '\n' : ''}`);
    else if (share > tenth) stderr.write(`${text}\n`);
    tenth = Math.max(tenth, share);
  };
}
