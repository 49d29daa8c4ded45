/**
 * @file Data files tokenized once, into shards on disk. A shard appears whole, under its name, or not at all, and says where in the data the
 * next one begins: a run that was killed goes on after its last shard. What is there already is opened.
 */
import { createHash } from 'node:crypto';
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ConfigError, FormatError, reasonOf } from '../../base/errors.js';
import { turn } from '../../base/turn.js';
import { writeFileAtomically } from '../../io/atomic-write-node.js';
import { makeFolders } from '../../io/make-folder-node.js';
import { bytesOf, type DataFile, type DataFileOptions, dataFiles, type ReadRowsOptions } from './files-node.js';
import { encodeShard, readShardHead } from './shard-format.js';
import { ShardWriter } from './shard-writer.js';
import { isReport, type ShardIndex, type TokenShards } from './shards.js';
import { cachedShards, FolderFiles, INDEX, openTokenShards, sha256 } from './shards-node.js';
import { RowTokenizer, requireTemplate, type TextTokenizer, type TokenizeOptions, type TokenizerState } from './tokenize.js';

export interface TokenizeFilesOptions extends TokenizeOptions, DataFileOptions {
  /** Where the shards are kept; default: in the cache (TENON_CACHE_DIR), by the hash of data, tokenizer and settings. */
  readonly folder?: string;
  /** About how large a shard is; default 64 MiB. */
  readonly shardBytes?: number;
  /** Told a few times a second, and at the end. */
  readonly onProgress?: (progress: TokenizeProgress) => void;
  /** Ends the work; the shards that are whole stay. */
  readonly signal?: AbortSignal;
}

export interface TokenizeProgress {
  /** Of the data files, as they lie on disk. */
  readonly bytesRead: number;
  readonly bytesTotal: number;
  readonly rows: number;
  readonly examples: number;
  readonly tokens: number;
  readonly shards: number;
  readonly seconds: number;
  readonly isDone: boolean;
}

const WHO = 'tokenizeFiles';
/** Raised when the same data and settings give other tokens than before. */
const VERSION = 1;

/** Where a shard ends: the file, and the row of it that comes next. */
interface Place {
  readonly file: number;
  readonly row: number;
}
/** What the head of a shard says of the work so far. */
interface ShardState {
  readonly key: string;
  readonly next: Place;
  readonly tokenizer: TokenizerState;
}
type Sources = ShardIndex['sources'];

/**
 * The tokens of data files (text, JSON lines, JSON, CSV, TSV, Parquet; a folder stands for the files in it), tokenized now or before.
 * @throws FormatError for a bad row, with file and line; ConfigError for files that are missing, an unknown layout or wrong options
 * @example
 * ```ts no-run
 * const tokenizer = await loadTokenizer('models/SmolLM2-135M');
 * const shards = await tokenizeFiles('captions.jsonl', tokenizer, { maxLength: 512 });
 * for (const line of describeTokens(shards.report)) console.log(line);
 * ```
 */
export async function tokenizeFiles(
  data: string | readonly string[],
  tokenizer: TextTokenizer,
  options: TokenizeFilesOptions = {},
): Promise<TokenShards> {
  const { shardBytes = 64 * 2 ** 20 } = options;
  if (!(Number.isInteger(shardBytes) && shardBytes >= 1 && shardBytes <= 2 ** 30))
    throw new ConfigError(`${WHO}: shardBytes ${shardBytes}. Expected a whole number, at most ${2 ** 30}.`);
  // Wrong options show before anything is read.
  new RowTokenizer(tokenizer, options, WHO);
  const files = await dataFiles(data, options, WHO);
  const sources = await hashedSources(files, options.signal);
  const settings = settingsOf(options);
  const key = keyOf(files, sources, tokenizer, settings);
  const folder = options.folder ?? cachedShards(key);
  if (await exists(join(folder, INDEX))) {
    const found = await openTokenShards(folder).catch((error) => {
      // In the cache a damaged index is made again from the shards; a folder of the user's is left as it is.
      if (!(error instanceof FormatError) || options.folder !== undefined) throw error;
      return null;
    });
    if (found && found.index.key === key) {
      requireTemplate(found.report.files, tokenizer, options, WHO);
      return found;
    }
    await found?.close();
    if (found) throw otherData(folder);
  }
  await makeFolders(folder).catch((cause) => {
    throw new ConfigError(`${WHO}: the folder ${folder} can't be made (${reasonOf(cause)}). Choose another, or set TENON_CACHE_DIR.`, {
      cause,
    });
  });
  return new Work(files, tokenizer, options, { sources, settings, key, folder, shardBytes }).run();
}

const otherData = (folder: string): ConfigError =>
  new ConfigError(
    `${WHO}: ${folder} holds tokens of other data, another tokenizer or other settings. Expected an empty folder. Choose another, or remove it.`,
  );

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

async function hashedSources(files: readonly DataFile[], signal: AbortSignal | undefined): Promise<Sources> {
  const sources: Sources[number][] = [];
  for (const { path, size } of files) {
    const hash = createHash('sha256');
    for await (const chunk of bytesOf(path)) {
      signal?.throwIfAborted();
      hash.update(chunk);
    }
    sources.push({ name: path, bytes: size, sha256: hash.digest('hex') });
  }
  return sources;
}

/** The options that the tokens depend on. Not the chat template: without it there would be none. */
function settingsOf(options: TokenizeFilesOptions): Record<string, unknown> {
  const { lossOn, maxLength, alpaca, badRows, layout, columns, documents, maxRowLength, columnNames } = options;
  const all = { lossOn, maxLength, alpaca, badRows, layout, columns, documents, maxRowLength, columnNames };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

function keyOf(files: readonly DataFile[], sources: Sources, tokenizer: TextTokenizer, settings: Record<string, unknown>): string {
  const { json, config, chatTemplate, vocabSize, bosId, eosId } = tokenizer;
  const hash = createHash('sha256');
  const data = files.map((f, i) => [f.format, sources[i].sha256]);
  for (const part of [
    { version: VERSION, data, settings },
    { json, config, chatTemplate, vocabSize, bosId, eosId },
  ])
    hash.update(`${JSON.stringify(part)}\0`);
  return hash.digest('hex').slice(0, 32);
}

const shardName = (i: number): string => `shard-${String(i).padStart(5, '0')}.tokens`;

interface Setting {
  readonly sources: Sources;
  readonly settings: Record<string, unknown>;
  readonly key: string;
  readonly folder: string;
  readonly shardBytes: number;
}

/** One call of tokenizeFiles that found something left to do. */
class Work {
  readonly #files: readonly DataFile[];
  readonly #tokenizer: TextTokenizer;
  readonly #options: TokenizeFilesOptions;
  readonly #setting: Setting;
  readonly #shards: ShardIndex['shards'][number][] = [];
  readonly #begun = performance.now();
  readonly #total: number;
  #bytesRead = 0;
  #told = 0;
  #paused = performance.now();

  constructor(files: readonly DataFile[], tokenizer: TextTokenizer, options: TokenizeFilesOptions, setting: Setting) {
    this.#files = files;
    this.#tokenizer = tokenizer;
    this.#options = options;
    this.#setting = setting;
    this.#total = files.reduce((n, f) => n + f.size, 0);
  }

  async run(): Promise<TokenShards> {
    const { key, folder, sources, settings } = this.#setting;
    const before = await this.#resume();
    const work = new RowTokenizer(this.#tokenizer, this.#options, WHO, before?.tokenizer);
    const from = before?.next ?? { file: 0, row: 0 };
    this.#bytesRead = this.#files.slice(0, from.file).reduce((n, f) => n + f.size, 0);
    let writer = new ShardWriter(this.#tokenizer.vocabSize, work.state.isOpen);
    const flush = async (next: Place): Promise<void> => {
      await this.#write(writer, { key, next, tokenizer: work.state });
      writer = new ShardWriter(this.#tokenizer.vocabSize, work.state.isOpen);
    };
    for (const [f, file] of this.#files.entries()) {
      if (f < from.file) continue;
      const skip = f === from.file ? from.row : 0;
      work.beginFile(file.path, skip === 0);
      const names = await file.columns();
      const wanted = names ? Object.values(work.recognise(names).columns) : undefined;
      let row = 0;
      const onBytes = (bytes: number): void => {
        this.#bytesRead += bytes;
      };
      for await (const given of file.rows(wanted, onBytes)) {
        if (row++ < skip) continue;
        for (const piece of work.pieces(given, () => `${file.path}, ${file.unit} ${given.line}`)) writer.add(piece);
        if (writer.bytes >= this.#setting.shardBytes) await flush({ file: f, row });
        await this.#breathe(work);
      }
    }
    if (!writer.isEmpty) await flush({ file: this.#files.length, row: 0 });
    const { group, report } = work;
    if (report.counts.examples === 0)
      throw new ConfigError(
        `${WHO}: ${sources.map((s) => s.name).join(', ')}: there is nothing to learn in ${report.counts.rows} rows. Expected text.`,
      );
    const index: ShardIndex = {
      format: 'tenon-tokens',
      version: 1,
      key,
      vocabSize: this.#tokenizer.vocabSize,
      group,
      sources,
      settings,
      report,
      shards: this.#shards,
    };
    await writeFileAtomically(join(folder, INDEX), new TextEncoder().encode(`${JSON.stringify(index, null, 1)}\n`));
    this.#bytesRead = this.#total;
    this.#tell(work, true);
    return openTokenShards(folder);
  }

  /** Takes the whole shards of an earlier run; what comes after the first damaged or missing one is removed. */
  async #resume(): Promise<ShardState | null> {
    const { folder, key } = this.#setting;
    const files = new FolderFiles(folder);
    let state: ShardState | null = null;
    try {
      for (let i = 0; await exists(join(folder, shardName(i))); i++) {
        const file = await files.file(shardName(i));
        const head = await readShardHead(file.read, file.bytes, file.name, sha256).catch((error) => {
          if (error instanceof FormatError) return null;
          throw error;
        });
        if (!head || !isShardState(head.state)) break;
        if (head.state.key !== key) throw otherData(folder);
        state = head.state;
        this.#shards.push({ file: shardName(i), bytes: head.fileBytes, hash: head.hash });
      }
    } finally {
      await files.close();
    }
    const kept = new Set(this.#shards.map((s) => s.file));
    for (const name of await readdir(folder))
      if (/^shard-\d+\.tokens$/.test(name) && !kept.has(name)) await rm(join(folder, name), { force: true });
    return state;
  }

  async #write(writer: ShardWriter, state: ShardState): Promise<void> {
    const file = shardName(this.#shards.length);
    const pieces = encodeShard(writer.content(state), sha256);
    await writeFileAtomically(join(this.#setting.folder, file), pieces);
    const hash = Buffer.from(pieces[0].subarray(32, 64)).toString('hex');
    this.#shards.push({ file, bytes: pieces.reduce((n, p) => n + p.length, 0), hash });
  }

  /** Lets others in the process have their turn, and tells how far the work is. */
  async #breathe(work: RowTokenizer): Promise<void> {
    const now = performance.now();
    if (now - this.#paused < 20) return;
    this.#options.signal?.throwIfAborted();
    await turn();
    this.#paused = performance.now();
    if (now - this.#told > 200) this.#tell(work, false);
  }

  #tell(work: RowTokenizer, isDone: boolean): void {
    this.#told = performance.now();
    const { rows, examples, tokens } = work.state.counts;
    this.#options.onProgress?.({
      bytesRead: Math.min(this.#bytesRead, this.#total),
      bytesTotal: this.#total,
      rows,
      examples,
      tokens,
      shards: this.#shards.length,
      seconds: (performance.now() - this.#begun) / 1000,
      isDone,
    });
  }
}

function isShardState(x: unknown): x is ShardState {
  if (typeof x !== 'object' || x === null || !('key' in x && 'next' in x && 'tokenizer' in x)) return false;
  const { next, tokenizer } = x as { next: Partial<Place> | null; tokenizer: Partial<TokenizerState> | null };
  return (
    Number.isSafeInteger(next?.file) &&
    Number.isSafeInteger(next?.row) &&
    typeof tokenizer?.isOpen === 'boolean' &&
    typeof tokenizer.isBegun === 'boolean' &&
    isReport({ counts: tokenizer.counts, files: tokenizer.files, loss: '', maxLength: null })
  );
}

/** Rows of data files as they stand, to look at. Throws FormatError for a bad one, unless these are skipped. */
export async function openRows(
  data: string | readonly string[],
  options: ReadRowsOptions,
): Promise<AsyncIterable<Readonly<Record<string, unknown>>>> {
  const files = await dataFiles(data, options, 'readRows');
  return (async function* () {
    for (const file of files)
      for await (const row of file.rows()) {
        if (row.fault === undefined) yield row.values;
        else if (options.badRows !== 'skip')
          throw new FormatError(
            `readRows: ${file.path}, ${file.unit} ${row.line}: ${row.fault} Correct it, or pass over such rows with badRows: 'skip'.`,
          );
      }
  })();
}
