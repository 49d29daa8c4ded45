/** @file A Dataset of the pictures in a folder: one subfolder a class, decoded while the consumer works. */
import type { Dirent } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ConfigError } from '../base/errors.js';
import type { ArrayColumn } from './column.js';
import { Dataset } from './dataset.js';
import { type DecodeImageOptions, decodeImage, imageSize, loadSharp } from './decode-image-node.js';
import type { Element } from './element.js';

export interface ImageFolderOptions extends DecodeImageOptions {
  /** [height, width] that all pictures are stretched to, or one number for both. */
  size: number | readonly [height: number, width: number];
  /** Subfolders in label order; default: all of them, sorted by name. */
  classNames?: readonly string[];
  /** Default 32; null gives single examples, to map before they are batched. */
  batchSize?: number | null;
  /** Another order of the files in every epoch; default: in the order of classes and names. */
  shuffle?: boolean;
  /** Of the order; default 0. */
  seed?: number;
  /** Pictures decoded at once; default 4. */
  parallel?: number;
}

export interface ImageFolder {
  /** x u8 [n, height, width, channels], y u8 [n] (i32 above 256 classes); without the first axis when batchSize is null. */
  dataset: Dataset<Element<ArrayColumn, ArrayColumn>>;
  /** In label order. */
  classNames: string[];
  /** In the order of classes and names. */
  files: { readonly path: string; readonly label: number }[];
}

const extensions = ['.jpg', '.jpeg', '.png', '.webp', '.gif', '.avif', '.tif', '.tiff'];
const isPicture = (name: string): boolean => extensions.some((e) => name.toLowerCase().endsWith(e));

// Code units, not locales: the label of a class is the same everywhere.
const byName = (a: Dirent, b: Dirent): number => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);

const isFolder = async (path: string, entry: Dirent): Promise<boolean> =>
  entry.isDirectory() || (entry.isSymbolicLink() && (await stat(join(path, entry.name)).catch(() => null))?.isDirectory() === true);

async function list(folder: string): Promise<Dirent[]> {
  try {
    return (await readdir(folder, { withFileTypes: true })).filter((e) => !e.name.startsWith('.')).sort(byName);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    throw new ConfigError(`imageFolder: ${folder} cannot be read (${code}). Expected a folder with a subfolder for each class.`, {
      cause: error,
    });
  }
}

/** Pictures below `folder`; linked folders inside a class are not entered, so that no link can go round. */
async function pictures(folder: string): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await list(folder)) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) found.push(...(await pictures(path)));
    else if (isPicture(entry.name)) found.push(path);
  }
  return found;
}

/**
 * The pictures of `dir`/<class>/…, resized, with the class's number as label. Only names are read now; pictures are decoded as the
 * Dataset is iterated, `parallel` at once.
 * @throws ConfigError when the folder, a class or its pictures are missing, or sharp is; FormatError naming a file that is no picture
 */
export async function imageFolder(dir: string, options: ImageFolderOptions): Promise<ImageFolder> {
  const { batchSize = 32, channels = 3, parallel = 4, shuffle = false, seed = 0 } = options;
  if (imageSize(options, 'imageFolder') === null)
    throw new ConfigError('imageFolder: no size. Expected size: [height, width], which all pictures are brought to.');
  await loadSharp('imageFolder');
  const entries = await list(dir);
  const present: string[] = [];
  for (const entry of entries) if (await isFolder(dir, entry)) present.push(entry.name);
  if (present.length === 0)
    throw new ConfigError(`imageFolder: ${dir} has no subfolders. Expected one for each class, holding its pictures.`);
  const classNames = [...(options.classNames ?? present)];
  const missing = classNames.filter((name) => !present.includes(name));
  if (missing.length > 0)
    throw new ConfigError(
      `imageFolder: ${dir} has no subfolder ${missing.join(', ')}. Expected one for each of classNames, received ${present.join(', ')}.`,
    );
  if (new Set(classNames).size < classNames.length)
    throw new ConfigError(`imageFolder: classNames ${classNames.join(', ')} hold a name twice. Expected each once.`);
  const files: { path: string; label: number }[] = [];
  for (const [label, name] of classNames.entries()) {
    const found = await pictures(join(dir, name));
    if (found.length === 0)
      throw new ConfigError(
        `imageFolder: ${join(dir, name)} holds no pictures. Expected files ${extensions.join(', ')}. Remove the folder, or leave it out of classNames.`,
      );
    for (const path of found) files.push({ path, label });
  }
  const isWide = classNames.length > 256;
  const labelOf = (label: number): ArrayColumn =>
    isWide ? { data: Int32Array.of(label), shape: [], dtype: 'i32' } : { data: Uint8Array.of(label), shape: [], dtype: 'u8' };
  const named = Dataset.fromIterable(files);
  const examples = (shuffle ? named.shuffle({ seed }) : named).map(
    async ({ path, label }): Promise<Element<ArrayColumn, ArrayColumn>> => ({
      x: await decodeImage(path, { size: options.size, channels }),
      y: labelOf(label),
    }),
    { parallel },
  );
  return { dataset: batchSize === null ? examples : examples.batch(batchSize), classNames, files };
}
