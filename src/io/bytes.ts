/** @file What every reader of files from outside needs: strict UTF-8, joined pieces and the shape of parsed JSON. */

/** Decodes UTF-8; throws TypeError on malformed bytes instead of replacing them. */
export const decodeUtf8 = (bytes: Uint8Array): string => new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);

export const encodeUtf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** An object of JSON: not null, not a list. */
export const isRecord = (x: unknown): x is Record<string, unknown> => typeof x === 'object' && x !== null && !Array.isArray(x);

/** Joins pieces into one array. */
export function concatBytes(chunks: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(chunks.reduce((n, c) => n + c.length, 0));
  let at = 0;
  for (const c of chunks) {
    out.set(c, at);
    at += c.length;
  }
  return out;
}
