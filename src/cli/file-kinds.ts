/**
 * @file Whether a file is of the kind that a command takes: another kind is a mistake on the command line (exit code 2), a damaged
 * file of the right kind is not (1). A file is of a kind when one of the marks that the kind leaves is still there.
 */
import { FormatError } from '../base/errors.js';

/** Throws FormatError when a file has no content: whatever it was, it is damaged. */
export function requireContent(path: string, size: number): void {
  if (size === 0) throw new FormatError(`${path}: the file is empty. Restore a copy.`);
}

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** A zip whose first member is tenon.json, by its beginning or by its end. */
export function isTenonFile(bytes: Uint8Array): boolean {
  const file = asBuffer(bytes);
  const first = file.subarray(30, 40).toString('latin1');
  if (file.subarray(0, 4).toString('latin1') === 'PK\x03\x04' && 'tenon.json'.startsWith(first)) return true;
  return file.subarray(-22, -18).toString('latin1') === 'PK\x05\x06' && file.includes('tenon.json');
}

/** By the first bytes: JPEG, PNG, GIF, TIFF, WebP or AVIF. */
export function isPictureFile(head: Uint8Array): boolean {
  const text = asBuffer(head).toString('latin1');
  return (
    ['\xff\xd8\xff', '\x89PNG', 'GIF8', 'II*\0', 'MM\0*'].some((mark) => text.startsWith(mark)) ||
    (text.startsWith('RIFF') && text.slice(8, 12) === 'WEBP') ||
    text.slice(4, 8) === 'ftyp'
  );
}
