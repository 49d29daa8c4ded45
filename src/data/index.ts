/** @file What data/ offers. Parts that need Node or sharp load when they are called, so that the rest builds for the browser. */
import type { ArrayColumn } from './column.js';
import type { DecodeImageOptions } from './decode-image-node.js';
import type { ImageFolder, ImageFolderOptions } from './image-folder-node.js';

export { toCategorical } from './categorical.js';
export type { ArrayColumn, ColumnLike, NestedNumbers } from './column.js';
export { type Batched, type Columns, Dataset, type ElementPosition, type InMemory, type IterableSource } from './dataset.js';
export {
  datasets,
  type ImageClassification,
  type LabelledImages,
  type LoadOptions,
  type ShapesOptions,
} from './datasets/index.js';
export type { DecodeImageOptions } from './decode-image-node.js';
export type { ColumnTree, ColumnTreeLike, Element, ElementLike } from './element.js';
export type { ImageFolder, ImageFolderOptions } from './image-folder-node.js';
export { epochIndices } from './shuffle.js';

/**
 * A picture's pixels as u8 [height, width, channels], from bytes or a path, through sharp.
 * @throws ConfigError when sharp is missing or an option is wrong, FormatError when it is no picture
 */
export async function decodeImage(source: string | Uint8Array, options: DecodeImageOptions = {}): Promise<ArrayColumn> {
  return (await import('#node/data/decode-image-node.js')).decodeImage(source, options);
}

/**
 * A Dataset of the pictures in `dir`, one subfolder a class: x u8 [n, height, width, channels], y the class's number.
 * @throws ConfigError when the folder, a class, its pictures or sharp are missing
 * @example
 * ```ts no-run
 * const { dataset, classNames } = await imageFolder('flowers', { size: [64, 64], shuffle: true });
 * ```
 */
export async function imageFolder(dir: string, options: ImageFolderOptions): Promise<ImageFolder> {
  return (await import('#node/data/image-folder-node.js')).imageFolder(dir, options);
}
