/** @file Where a file's bytes come from: its path, in Node, or the bytes themselves, anywhere; whole, or a part at a time. */
import { ConfigError, FormatError, quote } from '../base/errors.js';

/** A file by its path (Node only), or its bytes. */
export type ByteSource = string | Uint8Array | ArrayBuffer;

/** A file of which parts are read as they are needed. */
export interface PositionedReader {
  /** What errors call it by. */
  readonly name: string;
  /** In bytes. */
  readonly size: number;
  /** `length` bytes from `at` on, in memory of their own. */
  read(at: number, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** Bytes in memory as a file to be read in parts. Its `read` throws FormatError past the end. */
export function bytesReader(bytes: Uint8Array, name: string): PositionedReader {
  const read = async (at: number, length: number): Promise<Uint8Array> => {
    if (at + length > bytes.length)
      throw new FormatError(`${name}: the file is too short. Expected ${at + length} bytes or more, received ${bytes.length}.`);
    return bytes.slice(at, at + length);
  };
  return { name, size: bytes.length, read, close: async () => undefined };
}

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
