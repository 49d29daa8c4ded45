/**
 * @file Which tokens lie in which stretches of a text. The library gives no offsets, so tokens' bytes are laid along the text's; where
 * that fails (a normalizer changed the text), beginnings of the text are encoded and compared.
 */
import { encodeUtf8 } from '../io/bytes.js';
import type { Tokenizer } from './tokenizer.js';

/** From one UTF-16 unit of a text to before another. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** 1 for each of the text's tokens that has some of its text in one of the spans. */
export function spansToTokens(tokenizer: Tokenizer, text: string, ids: Int32Array, spans: readonly Span[]): Uint8Array {
  const inside = new Uint8Array(ids.length);
  const bytes = encodeUtf8(text);
  const ends = endsOf(tokenizer, bytes, ids);
  for (const { start, end } of spans) {
    if (end <= start) continue;
    if (!ends) {
      inside.fill(1, tokensBefore(tokenizer, text, ids, start), tokensBefore(tokenizer, text, ids, end));
      continue;
    }
    const from = encodeUtf8(text.slice(0, start)).length;
    const to = from + encodeUtf8(text.slice(start, end)).length;
    for (let k = 0; k < ids.length; k++) {
      const first = k === 0 ? 0 : ends[k - 1];
      // A token without text (a space of the tokenizer's own) is where the next one is.
      if (first < to && (ends[k] > from || (ends[k] === first && first >= from))) inside[k] = 1;
    }
  }
  return inside;
}

/** How many tokens at the beginning are the same without the text from `at` on. */
function tokensBefore(tokenizer: Tokenizer, text: string, ids: Int32Array, at: number): number {
  if (at >= text.length) return ids.length;
  const shorter = tokenizer.encode(text.slice(0, at));
  let same = 0;
  while (same < shorter.length && same < ids.length && shorter[same] === ids[same]) same++;
  return same;
}

const isSpace = (byte: number): boolean => byte === 0x20 || (byte >= 9 && byte <= 13);

/** Where in the text's bytes each token ends; null where tokens' bytes don't lie along the text's. */
export function endsOf(tokenizer: Tokenizer, text: Uint8Array, ids: Int32Array): Int32Array | null {
  const ends = new Int32Array(ids.length);
  const has = (bytes: Uint8Array, at: number, from = 0): boolean => {
    if (at + bytes.length - from > text.length) return false;
    for (let i = from; i < bytes.length; i++) if (text[at + i - from] !== bytes[i]) return false;
    return true;
  };
  /** The end of a token that begins at `at`, its first space perhaps the tokenizer's own; −1: it doesn't. */
  const endAt = (id: number, at: number): number => {
    const bytes = tokenizer.bytesOf(id);
    if (has(bytes, at)) return at + bytes.length;
    return bytes[0] === 0x20 && has(bytes, at, 1) ? at + bytes.length - 1 : -1;
  };
  let at = 0;
  for (let k = 0; k < ids.length; k++) {
    let end = endAt(ids[k], at);
    // Special tokens may swallow white space around them.
    for (let skipped = at; end < 0 && skipped < text.length && isSpace(text[skipped]); ) end = endAt(ids[k], ++skipped);
    if (end < 0 && ids[k] === tokenizer.unknownId) {
      // An unknown stretch goes as far as the next token can be.
      end = at + 1;
      while (end < text.length && (k + 1 === ids.length || endAt(ids[k + 1], end) < 0)) end++;
    }
    if (end < 0) return null;
    ends[k] = end;
    at = end;
  }
  while (at < text.length && isSpace(text[at])) at++;
  return at === text.length ? ends : null;
}
