/** @file Reading a picture file at a given size, through sharp (an optional dependency: prebuilt libvips). */
import { ConfigError, FormatError } from '../base/errors.js';

export interface ImageSize {
  readonly height: number;
  readonly width: number;
  /** 1: grey, 3: RGB. */
  readonly channels: 1 | 3;
}

async function loadSharp(): Promise<typeof import('sharp')['default']> {
  try {
    return (await import('sharp')).default;
  } catch (error) {
    throw new ConfigError('readImage: reading picture files needs the package sharp, which is not installed. Run npm install sharp.', {
      cause: error,
    });
  }
}

/**
 * The pixels of a JPEG, PNG, WebP, GIF, AVIF or TIFF file as u8 [height, width, channels], stretched to `size`, turned as the
 * camera says, with transparent parts on white.
 * @throws ConfigError when sharp is missing, FormatError when the file is no picture
 */
export async function readImage(path: string, size: ImageSize): Promise<Uint8Array> {
  const sharp = await loadSharp();
  const { height, width, channels } = size;
  try {
    const picture = sharp(path, { limitInputPixels: 2 ** 28 })
      .rotate()
      .flatten({ background: 'white' })
      .resize(width, height, { fit: 'fill' })
      .toColourspace(channels === 1 ? 'b-w' : 'srgb');
    const { data, info } = await picture.raw().toBuffer({ resolveWithObject: true });
    if (info.channels !== channels || info.width !== width || info.height !== height)
      throw new Error(`it came out as ${info.height}×${info.width}×${info.channels}`);
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  } catch (error) {
    throw new FormatError(
      `readImage ${path}: this is no picture that can be read (${error instanceof Error ? error.message.replace(/\s+/g, ' ') : String(error)}). Expected a whole JPEG, PNG, WebP, GIF, AVIF or TIFF file.`,
      { cause: error },
    );
  }
}
