/** @file `tenon predict`: the most likely classes of pictures. */
import { dirname } from 'node:path';
import { FormatError } from '../../base/errors.js';
import { type DecodeImageOptions, decodeImage } from '../../data/index.js';
import { readFileBytes } from '../../io/read-file-node.js';
import { requireFolder } from '../datasets.js';
import { useDevice } from '../device.js';
import { UsageError } from '../failure.js';
import { isPictureFile, requireContent } from '../file-kinds.js';
import { loadModelFile, pictureShapeOf, requireFile } from '../models.js';
import { percent, say, writeJson } from '../output.js';
import type { PredictCommandOptions } from '../program.js';

/** Runs the command. Throws UsageError and what the library throws. */
export async function predict(path: string, images: readonly string[], options: PredictCommandOptions): Promise<void> {
  if (options.device !== undefined) useDevice('--device', options.device);
  if (options.json !== undefined) await requireFolder('--json', dirname(options.json));
  for (const image of images) await requireFile('image', image);
  const { model, classNames } = await loadModelFile(path);
  const [height, width, channels] = pictureShapeOf(model, path) ?? [null, null, null];
  if (!height || !width || (channels !== 1 && channels !== 3))
    throw new UsageError(
      `${path}: the model takes pictures of no fixed size. Expected height, width and 1 or 3 channels. Use model.predict in code.`,
    );
  const size = height * width * channels;
  const data = new Uint8Array(images.length * size);
  for (const [i, image] of images.entries()) data.set(await pixels(image, { size: [height, width], channels }), i * size);
  const output = await model.predict({ data, shape: [images.length, height, width, channels], dtype: 'u8' }, { batchSize: images.length });
  const classes = output.shape[output.rank - 1];
  if (output.rank !== 2)
    throw new UsageError(`${path}: the model gives [${output.shape.join(', ')}]. Expected one row of probabilities a picture.`);
  const values = await output.data();
  const results = images.map((image, row) => ({
    image,
    classes: best(values.subarray(row * classes, (row + 1) * classes), options.top, classNames),
  }));
  if (options.json !== undefined) await writeJson(options.json, results);
  const longest = Math.max(...results.flatMap((r) => r.classes.map((c) => c.name.length)));
  for (const { image, classes } of results)
    say(
      `${image}: ${classes.map((c, i) => `${i === 0 ? c.name.padEnd(images.length > 1 ? longest : 0) : c.name} ${percent(c.probability)}`).join(', ')}`,
    );
}

/** A picture's pixels. Throws UsageError when the file is of another kind, FormatError when it is damaged. */
async function pixels(image: string, options: DecodeImageOptions): Promise<ArrayLike<number>> {
  try {
    return (await decodeImage(image, options)).data as ArrayLike<number>;
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    const bytes = await readFileBytes(image);
    requireContent(image, bytes.length);
    throw isPictureFile(bytes.subarray(0, 12)) ? error : new UsageError(error.message, { cause: error });
  }
}

interface Answer {
  readonly name: string;
  readonly label: number;
  readonly probability: number;
}
function best(values: ArrayLike<number>, top: number, names: readonly string[] | null): Answer[] {
  return Array.from(values, (probability, label) => ({ name: names?.[label] ?? `class ${label}`, label, probability }))
    .sort((a, b) => b.probability - a.probability)
    .slice(0, top);
}
