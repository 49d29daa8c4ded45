/** @file What every reader of files from outside needs: strict UTF-8 and the shape of parsed JSON. */

// Making one takes longer than decoding a word with it.
const decoder = /* @__PURE__ */ new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const encoder = /* @__PURE__ */ new TextEncoder();

/** Decodes UTF-8; throws TypeError on malformed bytes instead of replacing them. */
export const decodeUtf8 = (bytes: Uint8Array): string => decoder.decode(bytes);

export const encodeUtf8 = (text: string): Uint8Array => encoder.encode(text);

/** Writes `text` as UTF-8 into `into`, as far as it fits; gives the number of bytes. */
export const encodeUtf8Into = (text: string, into: Uint8Array): number => encoder.encodeInto(text, into).written;

/** An object of JSON: not null, not a list. */
export const isRecord = (x: unknown): x is Record<string, unknown> => typeof x === 'object' && x !== null && !Array.isArray(x);
