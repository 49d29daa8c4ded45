/**
 * @file The alphabet of byte-level vocabularies (GPT-2's): a printable character for each byte, so that every token is a text.
 * Printable bytes of Latin-1 stand for themselves, the others for the characters from U+0100 on.
 */

const isPrintable = (byte: number): boolean => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;

function makeAlphabet(): string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isPrintable(byte) ? byte : next++));
}

/** The character of each byte. */
export const byteToChar: readonly string[] = makeAlphabet();
/** The byte of each character's code; −1: not of the alphabet. */
const codeToByte = new Int16Array(324).fill(-1);
for (const [byte, char] of byteToChar.entries()) codeToByte[char.charCodeAt(0)] = byte;

/** Bytes as characters of the alphabet. */
export function charsOfBytes(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += byteToChar[byte];
  return text;
}

/** The bytes that characters of the alphabet stand for; null where one isn't of it. */
export function bytesOfChars(text: string): Uint8Array | null {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    const byte = code < codeToByte.length ? codeToByte[code] : -1;
    if (byte < 0) return null;
    bytes[i] = byte;
  }
  return bytes;
}
