/**
 * @file TokenShards: examples that lie tokenized on disk, asked for by number. Memory holds where each begins (4 bytes an example) and a
 * few blocks; every block is checked when it is read.
 */
import { ConfigError, FormatError, quote } from '../../base/errors.js';
import { crc32 } from '../../io/crc32.js';
import { checkedIndex, type TokenExample, type TokenExamples } from './examples.js';
import { BLOCK, type ReadAt, readShardHead, type Sha256, type ShardHead } from './shard-format.js';
import type { TokenReport } from './tokenize.js';

/** index.json beside the shards: written last, so that where it stands everything does. */
export interface ShardIndex {
  readonly format: 'tenon-tokens';
  readonly version: 1;
  /** Hash of the data, the tokenizer and the settings. */
  readonly key: string;
  readonly vocabSize: number;
  readonly group: 1 | 2;
  readonly sources: readonly { readonly name: string; readonly bytes: number; readonly sha256: string }[];
  readonly settings: Readonly<Record<string, unknown>>;
  readonly report: TokenReport;
  readonly shards: readonly { readonly file: string; readonly bytes: number; readonly hash: string }[];
}

/** A shard's file. */
export interface ShardFile {
  readonly name: string;
  readonly bytes: number;
  readonly read: ReadAt;
}

export interface ShardFiles {
  /** Where they lie. */
  readonly folder: string;
  file(name: string): Promise<ShardFile>;
  close(): Promise<void>;
  readonly sha256: Sha256;
}

const isObject = (x: unknown): x is Record<string, unknown> => typeof x === 'object' && x !== null && !Array.isArray(x);
const isCount = (x: unknown): x is number => typeof x === 'number' && Number.isSafeInteger(x) && x >= 0;
const isHash = (x: unknown): x is string => typeof x === 'string' && /^[0-9a-f]{32,64}$/.test(x);

/** The index in a file's text. Throws FormatError that names it. */
export function parseIndex(text: string, name: string): ShardIndex {
  const fail = (what: string): never => {
    throw new FormatError(`${name}: ${what}. Expected the index that tokenizing writes. Remove its folder to tokenize again.`);
  };
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    fail('this is no JSON');
  }
  const index = parsed;
  if (!isObject(index) || index.format !== 'tenon-tokens') return fail(`format is ${quote(isObject(index) ? index.format : index)}`);
  if (index.version !== 1) return fail(`version is ${quote(index.version)}`);
  const { sources, shards, report } = index;
  const isSource = (s: unknown): boolean => isObject(s) && typeof s.name === 'string' && isCount(s.bytes) && isHash(s.sha256);
  const isShard = (s: unknown): boolean =>
    isObject(s) && typeof s.file === 'string' && /^shard-\d{5,9}\.tokens$/.test(s.file) && isCount(s.bytes) && isHash(s.hash);
  for (const [field, isRight] of [
    ['key', isHash(index.key)],
    ['vocabSize', isCount(index.vocabSize) && index.vocabSize > 0],
    ['group', index.group === 1 || index.group === 2],
    ['sources', Array.isArray(sources) && sources.every(isSource)],
    ['settings', isObject(index.settings)],
    ['report', isReport(report)],
    ['shards', Array.isArray(shards) && shards.every(isShard)],
  ] as const)
    if (!isRight) fail(`"${field}" is ${quote(index[field])}`);
  return index as unknown as ShardIndex;
}

export function isReport(x: unknown): x is TokenReport {
  const isFile = (f: unknown): boolean =>
    isObject(f) &&
    typeof f.name === 'string' &&
    typeof f.layout === 'string' &&
    isObject(f.columns) &&
    Array.isArray(f.reasons) &&
    f.reasons.every((r) => typeof r === 'string') &&
    isCount(f.rows);
  return (
    isObject(x) &&
    isObject(x.counts) &&
    ['rows', 'examples', 'tokens', 'targets', 'empty', 'truncated', 'cutTokens', 'withoutTarget', 'skipped'].every((n) =>
      isCount((x.counts as Record<string, unknown>)[n]),
    ) &&
    Array.isArray(x.files) &&
    x.files.every(isFile) &&
    typeof x.loss === 'string' &&
    (x.maxLength === null || isCount(x.maxLength))
  );
}

interface OpenShard extends ShardHead {
  readonly file: ShardFile;
  /** Number of its first token, and of the first example that begins in it. */
  readonly firstToken: number;
  readonly firstExample: number;
  /** Where the examples that begin in it do, u32. */
  readonly begins: Uint32Array;
}

/** Blocks in memory: 16 MiB. */
const MOST_BLOCKS = 256;

/** Examples on disk; see tokenizeFiles and openTokenShards. */
export class TokenShards implements TokenExamples {
  readonly folder: string;
  readonly index: ShardIndex;
  readonly count: number;
  readonly group: 1 | 2;
  /** Tokens of all examples. */
  readonly tokens: number;
  readonly #shards: readonly OpenShard[];
  readonly #files: ShardFiles;
  readonly #blocks = new Map<number, Promise<Uint8Array>>();

  private constructor(index: ShardIndex, files: ShardFiles, shards: readonly OpenShard[]) {
    this.index = index;
    this.group = index.group;
    this.folder = files.folder;
    this.#files = files;
    this.#shards = shards;
    const last = shards.at(-1);
    this.count = last ? last.firstExample + last.begins.length : 0;
    this.tokens = last ? last.firstToken + last.tokens : 0;
  }

  /** Opens the shards that `index` names, and checks their sizes and heads. Throws FormatError. */
  static async open(index: ShardIndex, files: ShardFiles): Promise<TokenShards> {
    const shards: OpenShard[] = [];
    let [firstToken, firstExample] = [0, 0];
    let isOpen = false;
    for (const { file: name, bytes, hash } of index.shards) {
      const file = await files.file(name);
      const wrong = (what: string): FormatError =>
        new FormatError(`${file.name}: ${what}. The index is of other files. Remove the folder to tokenize again.`);
      if (file.bytes !== bytes) throw wrong(`Expected ${bytes} bytes, received ${file.bytes}`);
      const head = await readShardHead(file.read, file.bytes, file.name, files.sha256);
      if (head.hash !== hash) throw wrong(`Expected a shard of hash ${hash}, received ${head.hash}`);
      const begins = beginsOf(head.lengths, isOpen);
      shards.push({ ...head, file, firstToken, firstExample, begins });
      firstToken += head.tokens;
      firstExample += begins.length;
      isOpen = endsOpen(head.state);
    }
    const found = new TokenShards(index, files, shards);
    const { examples, tokens } = index.report.counts;
    if (found.count !== examples || found.tokens !== tokens || found.count % found.group !== 0)
      throw new FormatError(
        `${files.folder}: the shards hold ${found.count} examples and ${found.tokens} tokens. Expected ${examples} and ${tokens}, as the index says. Remove the folder to tokenize again.`,
      );
    return found;
  }

  /** What was read, and how: see describeTokens. */
  get report(): TokenReport {
    return this.index.report;
  }
  lengthOf(i: number): number {
    checkedIndex(i, this.count);
    return this.#startOf(i + 1) - this.#startOf(i);
  }

  /**
   * Tokens `start` … `end` − 1 of example i; all of them by default.
   * @throws FormatError when they are damaged on disk
   */
  async example(i: number, start = 0, end?: number): Promise<TokenExample> {
    const length = this.lengthOf(i);
    const to = Math.min(end ?? length, length);
    if (!(start >= 0 && start <= to)) throw new ConfigError(`example ${i}: tokens ${start} to ${to}. Expected them within its ${length}.`);
    const at = this.#startOf(i);
    const ids = new Int32Array(to - start);
    const isTarget = new Uint8Array(to - start);
    let done = 0;
    for (let s = this.#shardOf(at + start, 'firstToken'); done < ids.length; s++) {
      const shard = this.#shards[s];
      const first = at + start + done - shard.firstToken;
      const n = Math.min(ids.length - done, shard.tokens - first);
      if (n > 0) await this.#read(s, first, ids.subarray(done, done + n), isTarget.subarray(done, done + n));
      done += Math.max(0, n);
    }
    return { ids, isTarget };
  }

  /** Closes the files. */
  close(): Promise<void> {
    this.#blocks.clear();
    return this.#files.close();
  }

  /** Number of the token that example i begins with; for i = count their number. */
  #startOf(i: number): number {
    if (i === this.count) return this.tokens;
    const shard = this.#shards[this.#shardOf(i, 'firstExample')];
    return shard.firstToken + shard.begins[i - shard.firstExample];
  }

  /** The last shard whose first token or example is not after number n. */
  #shardOf(n: number, what: 'firstToken' | 'firstExample'): number {
    let low = 0;
    let high = this.#shards.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#shards[middle][what] <= n) low = middle;
      else high = middle - 1;
    }
    // A shard inside of one long example begins none: its neighbour has the same number.
    return low;
  }

  async #read(s: number, first: number, ids: Int32Array, isTarget: Uint8Array): Promise<void> {
    const { idBytes, hasMask, tokens, file } = this.#shards[s];
    const raw = new Uint8Array(ids.length * idBytes);
    const maskStart = tokens * idBytes + (first >> 3);
    const mask = new Uint8Array(hasMask ? ((first + ids.length - 1) >> 3) - (first >> 3) + 1 : 0);
    await Promise.all([this.#bytes(s, first * idBytes, raw), this.#bytes(s, maskStart, mask)]);
    const stored = idBytes === 2 ? new Uint16Array(raw.buffer) : new Uint32Array(raw.buffer);
    const { vocabSize } = this.index;
    for (let i = 0; i < stored.length; i++) {
      if (stored[i] >= vocabSize)
        throw new FormatError(`${file.name}: token ${first + i} is ${stored[i]}. Expected less than ${vocabSize}. Tokenize again.`);
      ids[i] = stored[i];
    }
    if (!hasMask) isTarget.fill(1);
    else
      for (let i = 0; i < isTarget.length; i++) {
        const bit = (first & 7) + i;
        isTarget[i] = (mask[bit >> 3] >> (bit & 7)) & 1;
      }
  }

  /** Bytes of a shard's payload from `at` on. */
  async #bytes(s: number, at: number, into: Uint8Array): Promise<void> {
    for (let done = 0; done < into.length; ) {
      const block = Math.floor((at + done) / BLOCK);
      const bytes = await this.#block(s, block);
      const from = at + done - block * BLOCK;
      const part = bytes.subarray(from, from + into.length - done);
      into.set(part, done);
      done += part.length;
    }
  }

  #block(s: number, block: number): Promise<Uint8Array> {
    // Shards have less than 2^20 blocks: 2^32 tokens of 4 bytes.
    const key = s * 2 ** 20 + block;
    const kept = this.#blocks.get(key);
    // Put in again, it is the last one to go.
    this.#blocks.delete(key);
    const bytes = kept ?? this.#load(s, block);
    this.#blocks.set(key, bytes);
    if (kept) return kept;
    // What failed is read anew the next time; whoever awaits it is told.
    bytes.catch(() => this.#blocks.delete(key));
    if (this.#blocks.size > MOST_BLOCKS) {
      const [oldest] = this.#blocks.keys();
      this.#blocks.delete(oldest);
    }
    return bytes;
  }

  async #load(s: number, block: number): Promise<Uint8Array> {
    const { file, headBytes, fileBytes, checksums } = this.#shards[s];
    const offset = headBytes + block * BLOCK;
    const length = Math.min(BLOCK, fileBytes - offset);
    const bytes = await file.read(offset, length);
    if (bytes.length !== length || crc32(bytes) !== checksums[block])
      throw new FormatError(
        `${file.name}: bytes ${offset} to ${offset + length} are damaged (their checksum is wrong). Remove the folder ${this.folder} to tokenize again.`,
      );
    return bytes;
  }
}

/** Where examples begin in a shard; the first length may be the rest of an example of the shard before. */
function beginsOf(lengths: Uint32Array, goesOn: boolean): Uint32Array {
  const begins = new Uint32Array(Math.max(0, lengths.length - (goesOn ? 1 : 0)));
  let at = goesOn && lengths.length > 0 ? lengths[0] : 0;
  for (let i = 0; i < begins.length; i++) {
    begins[i] = at;
    at += lengths[i + (goesOn ? 1 : 0)];
  }
  return begins;
}

/** Whether a shard's last example goes on in the next, by its state. */
export const endsOpen = (state: unknown): boolean => isObject(state) && isObject(state.tokenizer) && state.tokenizer.isOpen === true;
