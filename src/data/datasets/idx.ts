/**
 * @file The idx format of MNIST and Fashion-MNIST (LeCun, Cortes, Burges): a big-endian magic number, the extents, the bytes.
 */
import { FormatError } from '../../base/errors.js';
import type { ArrayColumn } from '../column.js';
import type { LabelledImages } from './types.js';

/**
 * Parses an idx file of unsigned bytes with `rank` axes.
 * @returns u8 column with the file's extents
 * @throws FormatError naming the file for a wrong magic number, impossible extents or a wrong size
 */
export function parseIdx(file: string, bytes: Uint8Array, rank: number): ArrayColumn {
  const header = 4 + 4 * rank;
  if (bytes.length < header)
    throw new FormatError(
      `${file}: truncated in its header. Expected at least ${header} bytes, received ${bytes.length}. Fetch the file again.`,
    );
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = 0x0800 + rank;
  if (view.getUint32(0) !== magic)
    throw new FormatError(
      `${file}: not an idx file of unsigned bytes with ${rank} axes. Expected magic number ${magic}, received ${view.getUint32(0)}. Fetch the file again.`,
    );
  const shape = Array.from({ length: rank }, (_, i) => view.getUint32(4 + 4 * i));
  const expected = shape.reduce((n, d) => n * d, 1) + header;
  if (expected !== bytes.length)
    throw new FormatError(
      `${file}: wrong size for its extents [${shape.join(', ')}]. Expected ${expected} bytes, received ${bytes.length}. Fetch the file again.`,
    );
  // A plain view: a Buffer that came from Node would copy and print otherwise than typed arrays do.
  return { data: new Uint8Array(bytes.buffer, bytes.byteOffset + header, bytes.length - header), shape, dtype: 'u8' };
}

/**
 * Joins an images and a labels file: x u8 [n, 28, 28, 1], y u8 [n].
 * @throws FormatError when the pictures are not 28×28, the counts differ, or a label is not 0 … classes − 1
 */
export function parseMnistSplit(
  images: { file: string; bytes: Uint8Array },
  labels: { file: string; bytes: Uint8Array },
  classes: number,
): LabelledImages {
  const x = parseIdx(images.file, images.bytes, 3);
  const y = parseIdx(labels.file, labels.bytes, 1);
  const [n, height, width] = x.shape;
  if (height !== 28 || width !== 28)
    throw new FormatError(`${images.file}: wrong picture size. Expected 28×28, received ${height}×${width}.`);
  if (n === 0) throw new FormatError(`${images.file}: no pictures. Expected at least one, received 0. Fetch the file again.`);
  if (y.shape[0] !== n)
    throw new FormatError(`${labels.file}: labels and pictures differ in number. Expected ${n} labels, received ${y.shape[0]}.`);
  const wrong = y.data.findIndex((label) => label >= classes);
  if (wrong >= 0)
    throw new FormatError(
      `${labels.file}: label ${wrong} is out of range. Expected 0 to ${classes - 1}, received ${y.data[wrong]}. The file is corrupt or another data set's.`,
    );
  return { x: { data: x.data, shape: [n, height, width, 1], dtype: 'u8' }, y };
}
