/**
 * @file What tokens stand for, in bytes: byte-level vocabularies (GPT-2's alphabet), SentencePiece-like ones (`▁` for a space, `<0xE2>` for
 * a byte), and the others as far as a token alone says it.
 */
import { concatBytes } from '../base/bytes.js';
import { encodeUtf8, isRecord } from '../io/bytes.js';
import { bytesOfChars } from './byte-alphabet.js';

/**
 * - `bytes`: characters of the byte alphabet, added tokens as they are;
 * - `pieces`: texts with a mark for a space, and bytes where `hasBytes`; `isPrefixed`: text begins with a space that nobody wrote;
 * - `words`: of WordPiece: a space before each that doesn't continue a word;
 * - `plain`: whatever else.
 */
export type Spelling =
  | { readonly kind: 'bytes' }
  | { readonly kind: 'pieces'; readonly space: string; readonly hasBytes: boolean; readonly isPrefixed: boolean; readonly isExact: boolean }
  | { readonly kind: 'words'; readonly prefix: string }
  | { readonly kind: 'plain'; readonly suffix: string };

/** Whether the bytes of tokens, one after another, are what the decoder makes of them. */
export const isExact = (spelling: Spelling): boolean => spelling.kind === 'bytes' || (spelling.kind === 'pieces' && spelling.isExact);

const flat = (decoder: unknown): Record<string, unknown>[] => {
  if (!isRecord(decoder)) return [];
  return decoder.type === 'Sequence' && Array.isArray(decoder.decoders) ? decoder.decoders.flatMap(flat) : [decoder];
};

/** How a checked decoder spells. */
export function spellingOf(decoder: object | null): Spelling {
  const parts = flat(decoder);
  const types = parts.map((p) => String(p.type)).join(' ');
  const part = (type: string): Record<string, unknown> | undefined => parts.find((p) => p.type === type);
  if (types === 'ByteLevel') return { kind: 'bytes' };
  const spaces = part('Metaspace') ?? parts.find((p) => p.type === 'Replace' && p.content === ' ' && marked(p) !== null);
  if (spaces) {
    const isReplace = spaces.type === 'Replace';
    const strip = part('Strip');
    const strips = strip?.content === ' ' && strip.start === 1 && strip.stop === 0;
    return {
      kind: 'pieces',
      space: isReplace ? (marked(spaces) ?? '') : String(spaces.replacement),
      hasBytes: part('ByteFallback') !== undefined,
      isPrefixed: isReplace ? strips : spaces.isPrefixed === true,
      isExact:
        types === 'Metaspace' ||
        /^Replace( ByteFallback)? Fuse$/.test(types) ||
        (strips && /^Replace( ByteFallback)? Fuse Strip$/.test(types)),
    };
  }
  const words = part('WordPiece');
  if (words) return { kind: 'words', prefix: String(words.prefix) };
  return { kind: 'plain', suffix: String(part('BPEDecoder')?.suffix ?? '') };
}

/** The text that a Replace looks for; null: a pattern. */
const marked = (part: Record<string, unknown>): string | null =>
  isRecord(part.pattern) && typeof part.pattern.String === 'string' ? part.pattern.String : null;

/** The bytes of a token. */
export function spell(token: string, spelling: Spelling, isAdded: boolean): Uint8Array {
  switch (spelling.kind) {
    case 'bytes':
      return (isAdded ? null : bytesOfChars(token)) ?? encodeUtf8(token);
    case 'pieces': {
      const byte = spelling.hasBytes && /^<0x[0-9A-Fa-f]{2}>$/.test(token) ? Number.parseInt(token.slice(3, 5), 16) : -1;
      return byte >= 0 ? Uint8Array.of(byte) : encodeUtf8(token.replaceAll(spelling.space, ' '));
    }
    case 'words':
      if (isAdded) return encodeUtf8(token);
      return encodeUtf8(token.startsWith(spelling.prefix) ? token.slice(spelling.prefix.length) : ` ${token}`);
    case 'plain':
      return encodeUtf8(spelling.suffix !== '' && token.endsWith(spelling.suffix) ? `${token.slice(0, -spelling.suffix.length)} ` : token);
  }
}

/** The text of tokens' bytes in an exact spelling. Malformed UTF-8 becomes U+FFFD. */
export function textOf(pieces: readonly Uint8Array[], spelling: Spelling): string {
  // A byte order mark is a character like others.
  const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(concatBytes(pieces));
  return spelling.kind === 'pieces' && spelling.isPrefixed && text.startsWith(' ') ? text.slice(1) : text;
}
