/**
 * @file Reads a tar stream (POSIX ustar and GNU long names are enough for what is published): named members into memory, nothing else.
 * Nothing is ever written to disk under a name from the archive, so no path can escape.
 */
import { FormatError } from '../../base/errors.js';

const block = 512;

/** A member wanted from an archive, with its exact size. */
export interface WantedMember {
  readonly name: string;
  readonly bytes: number;
}

function text(header: Uint8Array, start: number, length: number): string {
  let end = start;
  while (end < start + length && header[end] !== 0) end++;
  return String.fromCharCode(...header.subarray(start, end));
}

function octal(header: Uint8Array, start: number, length: number, file: string): number {
  const digits = text(header, start, length).trim();
  if (!/^[0-7]+$/.test(digits))
    throw new FormatError(`${file}: corrupt tar header. Expected an octal number, received "${digits}". Fetch the file again.`);
  return Number.parseInt(digits, 8);
}

function checkHeader(header: Uint8Array, file: string): void {
  let sum = 0;
  for (let i = 0; i < block; i++) sum += i >= 148 && i < 156 ? 32 : header[i];
  const stated = octal(header, 148, 8, file);
  if (sum !== stated)
    throw new FormatError(`${file}: corrupt tar header. Expected checksum ${stated}, received ${sum}. Fetch the file again.`);
}

/** Hands out exactly n bytes at a time from a stream of chunks. */
class ByteReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** Fills `into`; returns how many bytes there were before the stream ended. */
  async read(into: Uint8Array): Promise<number> {
    let filled = 0;
    await this.#consume(into.length, (part) => {
      into.set(part, filled);
      filled += part.length;
    });
    return filled;
  }

  async skip(bytes: number): Promise<number> {
    let skipped = 0;
    await this.#consume(bytes, (part) => {
      skipped += part.length;
    });
    return skipped;
  }

  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  async #consume(bytes: number, take: (part: Uint8Array) => void): Promise<void> {
    while (bytes > 0) {
      if (this.#rest.length === 0) {
        const next = await this.#chunks.next();
        if (next.done) return;
        this.#rest = next.value;
        continue;
      }
      const part = this.#rest.subarray(0, bytes);
      take(part);
      this.#rest = this.#rest.subarray(part.length);
      bytes -= part.length;
    }
  }
}

/**
 * Yields the wanted members of the tar stream in the archive's order, each as its bytes, and reads the stream to its end,
 * so that a checksum behind it (gzip's) gets checked.
 * @param file the archive's name, for errors
 * @throws FormatError for a corrupt header, a member of another size than wanted, a truncated archive or a missing member
 */
export async function* readTarMembers(
  chunks: AsyncIterable<Uint8Array>,
  wanted: readonly WantedMember[],
  file: string,
): AsyncGenerator<{ name: string; bytes: Uint8Array }> {
  const missing = new Map(wanted.map((w) => [w.name, w.bytes]));
  const reader = new ByteReader(chunks);
  const header = new Uint8Array(block);
  try {
    for (;;) {
      const got = await reader.read(header);
      if (got === 0 || (got === block && header.every((b) => b === 0))) break;
      if (got < block)
        throw new FormatError(`${file}: truncated in a tar header. Expected ${block} bytes, received ${got}. Fetch the file again.`);
      checkHeader(header, file);
      const size = octal(header, 124, 12, file);
      const prefix = text(header, 257, 5) === 'ustar' ? text(header, 345, 155) : '';
      const name = ((prefix && `${prefix}/`) + text(header, 0, 100)).replace(/^\.\//, '');
      const isFile = header[156] === 0 || header[156] === 0x30;
      const padding = (block - (size % block)) % block;
      const expected = isFile ? missing.get(name) : undefined;
      if (expected === undefined) {
        await reader.skip(size + padding);
        continue;
      }
      if (size !== expected)
        throw new FormatError(
          `${file}: member ${name} has a wrong size. Expected ${expected} bytes, received ${size}. Fetch the file again.`,
        );
      const bytes = new Uint8Array(size);
      const received = await reader.read(bytes);
      if (received < size)
        throw new FormatError(`${file}: truncated in ${name}. Expected ${size} bytes, received ${received}. Fetch the file again.`);
      await reader.skip(padding);
      missing.delete(name);
      yield { name, bytes };
    }
    await reader.skip(Number.POSITIVE_INFINITY);
    if (missing.size > 0)
      throw new FormatError(`${file}: members are missing. Expected ${[...missing.keys()].join(', ')}. Fetch the file again.`);
  } finally {
    await reader.close();
  }
}
