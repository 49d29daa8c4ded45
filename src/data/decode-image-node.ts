/** @file Pictures from files and bytes, through sharp (an optional dependency: prebuilt libvips). */
import { ConfigError, FormatError } from '../base/errors.js';
import type { ArrayColumn } from './column.js';

export interface DecodeImageOptions {
  /** [height, width], or one number for both; the picture is stretched. Default: its own size. */
  size?: number | readonly [height: number, width: number];
  /** 1: grey, 3: RGB (default). */
  channels?: 1 | 3;
}

/** More pixels than this are refused: a small file may claim to be a huge picture. */
const mostPixels = 2 ** 28;

/** sharp, or a ConfigError that names `who`. `load` is another way to get it, for tests. */
export async function loadSharp(who: string, load = () => import('sharp')): Promise<typeof import('sharp')['default']> {
  try {
    return (await load()).default;
  } catch (error) {
    throw new ConfigError(`${who}: reading pictures needs the package sharp, which is not installed. Run npm install sharp.`, {
      cause: error,
    });
  }
}

/** Checks options. Throws ConfigError that names `who`. */
export function imageSize(options: DecodeImageOptions, who: string): { height: number; width: number } | null {
  const { size, channels = 3 } = options;
  if (channels !== 1 && channels !== 3) throw new ConfigError(`${who}: channels ${String(channels)}. Expected 1 (grey) or 3 (RGB).`);
  if (size === undefined) return null;
  const [height, width] = typeof size === 'number' ? [size, size] : size;
  for (const extent of [height, width])
    if (!Number.isInteger(extent) || extent < 1 || extent > 16_384)
      throw new ConfigError(`${who}: size ${JSON.stringify(size)}. Expected a number of pixels or [height, width], from 1 to 16,384.`);
  return { height, width };
}

/**
 * The pixels of a JPEG, PNG, WebP, GIF, AVIF or TIFF picture, given as bytes or by path, as u8 [height, width, channels]: turned as
 * the camera says, transparent parts on white.
 * @throws ConfigError when sharp is missing or an option is wrong, FormatError when it is no picture
 */
export async function decodeImage(source: string | Uint8Array, options: DecodeImageOptions = {}): Promise<ArrayColumn> {
  const who = typeof source === 'string' ? `decodeImage ${source}` : 'decodeImage';
  const size = imageSize(options, who);
  const { channels = 3 } = options;
  const sharp = await loadSharp('decodeImage');
  try {
    let picture = sharp(source, { limitInputPixels: mostPixels }).rotate().flatten({ background: 'white' });
    if (size) picture = picture.resize(size.width, size.height, { fit: 'fill' });
    const { data, info } = await picture
      .toColourspace(channels === 1 ? 'b-w' : 'srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    if (info.channels !== channels) throw new Error(`it has ${info.channels} channels`);
    return { data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength), shape: [info.height, info.width, channels], dtype: 'u8' };
  } catch (error) {
    throw new FormatError(
      `${who}: this is no picture that can be read (${error instanceof Error ? error.message.replace(/\s+/g, ' ').trim() : String(error)}). Expected a whole JPEG, PNG, WebP, GIF, AVIF or TIFF file.`,
      { cause: error },
    );
  }
}
