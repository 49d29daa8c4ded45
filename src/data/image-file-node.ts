/** @file Reading a picture file as the bytes of a model's input. */
import { decodeImage } from './decode-image-node.js';

export interface ImageSize {
  readonly height: number;
  readonly width: number;
  /** 1: grey, 3: RGB. */
  readonly channels: 1 | 3;
}

/**
 * The pixels of a picture file as u8 [height, width, channels], stretched to `size`.
 * @throws as decodeImage
 */
export async function readImage(path: string, { height, width, channels }: ImageSize): Promise<Uint8Array> {
  return Uint8Array.from((await decodeImage(path, { size: [height, width], channels })).data);
}
