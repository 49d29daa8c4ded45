/** @file The data sets by name. The published ones need files and so load Node's part on demand; shapes is made anywhere. */
import { ConfigError } from '../../base/errors.js';
import type { LoadOptions } from './official-node.js';
import { generateShapes, type ShapesOptions } from './shapes.js';
import type { ImageClassification } from './types.js';

export type { DownloadProgress } from './download-node.js';
export type { LoadOptions } from './official-node.js';
export { generateShapes, type ShapesOptions, shapesClassNames } from './shapes.js';
export type { ImageClassification, LabelledImages } from './types.js';

export interface Cifar100Options extends LoadOptions {
  /** `fine`: 100 classes (default); `coarse`: the 20 superclasses. */
  labelMode?: 'fine' | 'coarse';
}

/**
 * Ten kinds of drawn objects, made from a seed in a few seconds: x u8 [n, 32, 32, 3], y u8 [n].
 * @throws ConfigError for impossible options
 */
export async function shapes(options: ShapesOptions = {}): Promise<ImageClassification> {
  return generateShapes(options);
}

/**
 * CIFAR-10: 50,000 + 10,000 pictures, x u8 [n, 32, 32, 3], y u8 [n] (Krizhevsky 2009).
 * @throws FormatError for damaged files (file, expected and received size), ConfigError when there are none and none can be had
 */
export async function cifar10(options: LoadOptions = {}): Promise<ImageClassification> {
  return (await import('#node/data/datasets/official-node.js')).cifar10(options);
}

/**
 * CIFAR-100: as CIFAR-10 with 100 classes, or 20 with labelMode 'coarse'.
 * @throws as cifar10
 */
export async function cifar100(options: Cifar100Options = {}): Promise<ImageClassification> {
  const { labelMode = 'fine', ...rest } = options;
  if (labelMode !== 'fine' && labelMode !== 'coarse')
    throw new ConfigError(`cifar100: unknown labelMode. Expected 'fine' or 'coarse', received ${String(labelMode)}.`);
  return (await import('#node/data/datasets/official-node.js')).cifar100(rest, labelMode === 'fine' ? 1 : 0);
}

/**
 * MNIST: 60,000 + 10,000 handwritten digits, x u8 [n, 28, 28, 1], y u8 [n] (LeCun, Cortes, Burges).
 * @throws as cifar10
 */
export async function mnist(options: LoadOptions = {}): Promise<ImageClassification> {
  return (await import('#node/data/datasets/official-node.js')).mnist(options);
}

/**
 * Fashion-MNIST: as MNIST, with clothes (Xiao, Rasul, Vollgraf 2017).
 * @throws as cifar10
 */
export async function fashionMnist(options: LoadOptions = {}): Promise<ImageClassification> {
  return (await import('#node/data/datasets/official-node.js')).fashionMnist(options);
}

/** All of them: `await datasets.cifar10({ dataDir })`. */
export const datasets = { shapes, cifar10, cifar100, mnist, fashionMnist } as const;
