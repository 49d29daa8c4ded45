/** @file What llm/data offers: files to rows to tokens to batches. What works on files loads when it is called, so that the rest builds for the browser. */
import type { ReadRowsOptions } from './files-node.js';
import type { TokenShards } from './shards.js';
import type { TextTokenizer } from './tokenize.js';
import type { TokenizeFilesOptions } from './tokenize-files-node.js';

export { type BatchStats, TokenBatches, type TokenBatchesOptions } from './batches.js';
export { NO_LABEL, type TokenBatch } from './collate.js';
export { type SplitOptions, splitExamples, type TokenExample, type TokenExamples, TokenList, targetSpans } from './examples.js';
export type { DataFileOptions, ReadRowsOptions } from './files-node.js';
export { type ColumnMap, type FoundLayout, type Layout, type LayoutOptions, layouts, recogniseLayout } from './layouts.js';
export { type Packing, packBestFit } from './pack.js';
export type { Documents, RowFormat } from './rows.js';
export type { ChatMessage } from './samples.js';
export type { ShardIndex, TokenShards } from './shards.js';
export {
  describeTokens,
  type FileReading,
  type TextTokenizer,
  type TokenCounts,
  type TokenizeOptions,
  type TokenReport,
  tokenizeRows,
} from './tokenize.js';
export type { TokenizeFilesOptions, TokenizeProgress } from './tokenize-files-node.js';

/**
 * The tokens of data files (text, JSON lines, JSON, CSV, TSV, Parquet, with or without gzip; a folder stands for the files in it), tokenized now, or
 * opened when that was done before. A run that was killed goes on.
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
  return (await import('#node/llm/data/data-node.js')).tokenizeFiles(data, tokenizer, options);
}

/**
 * Opens what tokenizeFiles wrote.
 * @throws ConfigError when there are no shards in the folder, FormatError when they are damaged
 */
export async function openTokenShards(folder: string): Promise<TokenShards> {
  return (await import('#node/llm/data/data-node.js')).openTokenShards(folder);
}

/** Rows of data files as they stand, to look at. Throws FormatError for a bad one (unless these are skipped), ConfigError for files that are missing. */
export async function* readRows(
  data: string | readonly string[],
  options: ReadRowsOptions = {},
): AsyncGenerator<Readonly<Record<string, unknown>>> {
  yield* await (await import('#node/llm/data/data-node.js')).openRows(data, options);
}
