/**
 * @file A shard: tokens of many examples in one file. A head (numbers, JSON, lengths of the examples, checksums of blocks, all under one
 * SHA-256), then the ids (u16 or u32) and, unless every token is a target, a bit for each. Little-endian.
 *
 *     0  "TENONTOK"     8  version u32   12  bytes of an id u32   16  examples u32   20  tokens u32   24  has mask u32   28  bytes of JSON u32
 *    32  SHA-256 of the rest of the head     64  JSON · lengths u32 [examples] · CRC-32 of each 64 KiB of what follows
 */
import { FormatError, quote, reasonOf } from '../../base/errors.js';
import { crc32 } from '../../io/crc32.js';

export const BLOCK = 65_536;
const FIXED = 64;
const VERSION = 1;
const MAGIC = 'TENONTOK';
/** Of the JSON in a head: more is no shard of ours. */
const MOST_JSON = 16 * 2 ** 20;

export interface ShardContent {
  /** u16 or u32 [tokens]. */
  readonly ids: Uint16Array | Uint32Array;
  /** A bit a token, the lowest first; null: all are targets. */
  readonly mask: Uint8Array | null;
  /** Tokens of each example in this shard; the first may go on from the shard before, the last into the next. */
  readonly lengths: Uint32Array;
  readonly state: unknown;
}

export interface ShardHead {
  readonly idBytes: 2 | 4;
  readonly tokens: number;
  readonly hasMask: boolean;
  readonly lengths: Uint32Array;
  readonly checksums: Uint32Array;
  readonly state: unknown;
  /** SHA-256 of the head, in hexadecimal: two shards of the same content have the same. */
  readonly hash: string;
  /** Where the ids begin. */
  readonly headBytes: number;
  readonly fileBytes: number;
}

const payloadBytes = (tokens: number, idBytes: number, hasMask: boolean): number =>
  tokens * idBytes + (hasMask ? Math.ceil(tokens / 8) : 0);

export type Sha256 = (bytes: Uint8Array) => Uint8Array;

/** The pieces of a shard's file. Hosts are little-endian, as typed arrays of every engine are. */
export function encodeShard(content: ShardContent, sha256: Sha256): Uint8Array[] {
  const { ids, mask, lengths } = content;
  const json = new TextEncoder().encode(JSON.stringify(content.state));
  const idsAsBytes = bytesOf(ids);
  const payload = mask ? [idsAsBytes, mask] : [idsAsBytes];
  const checksums = blockChecksums(payload);
  const head = new Uint8Array(FIXED + json.length + lengths.byteLength + checksums.byteLength);
  const view = new DataView(head.buffer);
  head.set(new TextEncoder().encode(MAGIC));
  for (const [i, n] of [VERSION, ids.BYTES_PER_ELEMENT, lengths.length, ids.length, mask ? 1 : 0, json.length].entries())
    view.setUint32(8 + 4 * i, n, true);
  head.set(json, FIXED);
  head.set(bytesOf(lengths), FIXED + json.length);
  head.set(bytesOf(checksums), FIXED + json.length + lengths.byteLength);
  head.set(sha256(hashed(head)), 32);
  return [head, ...payload];
}

const bytesOf = (a: Uint16Array | Uint32Array): Uint8Array => new Uint8Array(a.buffer, a.byteOffset, a.byteLength);

/** What the hash of a head covers: everything but itself. */
function hashed(head: Uint8Array): Uint8Array {
  const copy = head.slice();
  copy.fill(0, 32, FIXED);
  return copy;
}

function blockChecksums(payload: readonly Uint8Array[]): Uint32Array {
  const total = payload.reduce((n, p) => n + p.length, 0);
  const sums = new Uint32Array(Math.ceil(total / BLOCK));
  let at = 0;
  for (const part of payload)
    for (let i = 0; i < part.length; ) {
      const block = Math.floor(at / BLOCK);
      const n = Math.min(part.length - i, (block + 1) * BLOCK - at);
      sums[block] = crc32(part.subarray(i, i + n), sums[block]);
      at += n;
      i += n;
    }
  return sums;
}

/** Reads `length` bytes of the file at `offset`; fewer only at its end. */
export type ReadAt = (offset: number, length: number) => Promise<Uint8Array>;

/** The head of a shard of `fileBytes` bytes, checked. Throws FormatError. */
export async function readShardHead(read: ReadAt, fileBytes: number, name: string, sha256: Sha256): Promise<ShardHead> {
  const fail = (text: string): never => {
    throw new FormatError(`${name}: ${text}. The file is damaged. Remove its folder to tokenize again.`);
  };
  const fixed = await read(0, FIXED);
  if (fixed.length < FIXED || new TextDecoder('latin1').decode(fixed.subarray(0, 8)) !== MAGIC)
    fail(`Expected a shard of tokens, "${MAGIC}" first`);
  const view = new DataView(fixed.buffer, fixed.byteOffset);
  const [version, idBytes, examples, tokens, hasMask, jsonBytes] = [0, 1, 2, 3, 4, 5].map((i) => view.getUint32(8 + 4 * i, true));
  if (version !== VERSION) throw new FormatError(`${name}: version ${version} of the format. Expected ${VERSION}. Tokenize again.`);
  if ((idBytes !== 2 && idBytes !== 4) || hasMask > 1 || jsonBytes > MOST_JSON) fail('Its numbers are out of bounds');
  const payload = payloadBytes(tokens, idBytes, hasMask === 1);
  const blocks = Math.ceil(payload / BLOCK);
  const headBytes = FIXED + jsonBytes + 4 * examples + 4 * blocks;
  if (headBytes + payload !== fileBytes) fail(`Expected ${headBytes + payload} bytes, received ${fileBytes}`);
  const head = await read(0, headBytes);
  const digest = sha256(hashed(head));
  if (head.length < headBytes || digest.some((b, i) => head[32 + i] !== b)) fail('Its checksum is wrong');
  const table = (at: number, n: number): Uint32Array => new Uint32Array(head.slice(at, at + 4 * n).buffer);
  const lengths = table(FIXED + jsonBytes, examples);
  let sum = 0;
  for (const n of lengths) sum += n;
  if (sum !== tokens) fail(`Its examples have ${sum} tokens. Expected ${tokens}`);
  let state: unknown;
  try {
    state = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(head.subarray(FIXED, FIXED + jsonBytes)));
  } catch (error) {
    fail(`Its JSON can't be read (${quote(reasonOf(error))})`);
  }
  return {
    idBytes: idBytes as 2 | 4,
    tokens,
    hasMask: hasMask === 1,
    lengths,
    checksums: table(FIXED + jsonBytes + 4 * examples, blocks),
    state,
    hash: Array.from(digest, (b) => b.toString(16).padStart(2, '0')).join(''),
    headBytes,
    fileBytes,
  };
}
