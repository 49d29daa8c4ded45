/** @file What every reader of files from outside needs: strict UTF-8 and the shape of parsed JSON. */

/** Decodes UTF-8; throws TypeError on malformed bytes instead of replacing them. */
export const decodeUtf8 = (bytes: Uint8Array): string => new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);

export const encodeUtf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** An object of JSON: not null, not a list. */
export const isRecord = (x: unknown): x is Record<string, unknown> => typeof x === 'object' && x !== null && !Array.isArray(x);
