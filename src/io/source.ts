/** @file Where a file's bytes come from: its path, in Node, or the bytes themselves, anywhere. */
import { ConfigError, quote } from '../base/errors.js';

/** A file by its path (Node only), or its bytes. */
export type ByteSource = string | Uint8Array | ArrayBuffer;

/**
 * The bytes, and the name that errors call them by.
 * @throws ConfigError for what is neither path nor bytes, and as `readFileBytes`.
 */
export async function readSource(source: ByteSource, who: string): Promise<{ bytes: Uint8Array; name: string }> {
  if (source instanceof Uint8Array) return { bytes: source, name: who };
  if (source instanceof ArrayBuffer) return { bytes: new Uint8Array(source), name: who };
  if (typeof source !== 'string') throw new ConfigError(`${who}: expected a path or bytes, received ${quote(source)}. Give a Uint8Array.`);
  const { readFileBytes } = await import('#node/io/read-file-node.js');
  return { bytes: await readFileBytes(source), name: source };
}
