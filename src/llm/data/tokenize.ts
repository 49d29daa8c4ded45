/** @file From rows to tokens: ids, and which of them are to be predicted. What was cut or left out is counted. */
import { ConfigError, FormatError, quote, reasonOf } from '../../base/errors.js';
import { renderConversation } from '../chat-template.js';
import { Tokenizer } from '../tokenizer.js';
import { type TokenExample, TokenList } from './examples.js';
import { type FoundLayout, type LayoutOptions, recogniseLayout } from './layouts.js';
import { kindOf, objectRow, type Row } from './rows.js';
import { type ChatMessage, type Preferred, RowFault, type Sample, sampleOf } from './samples.js';
import { counted, grouped } from './words.js';

/** What tokenization needs of a tokenizer: a Tokenizer, or what is like one. */
export interface TextTokenizer {
  readonly vocabSize: number;
  readonly bosId: number | null;
  readonly eosId: number | null;
  readonly padId: number | null;
  /** Null: conversations can't be rendered. */
  readonly chatTemplate: string | null;
  /** The parsed files, by which shards on disk know their tokenizer. */
  readonly json: unknown;
  readonly config?: unknown;
  /** The tokens of `text`, special ones not added. */
  encode(text: string): Int32Array;
  /** A conversation by the chat template; `assistant` is 1 for each token that the assistant said. A Tokenizer's is known without it. */
  renderConversation?(messages: readonly ChatMessage[]): { readonly ids: Int32Array; readonly assistant: Uint8Array };
}

export interface TokenizeOptions extends LayoutOptions {
  /**
   * Which tokens are to be predicted: those of the completion (of a conversation without a prompt: its last answer), of everything the
   * assistant says, or all. Default: the completion where rows have a prompt, else what the assistant says. Of plain text: always all.
   */
  readonly lossOn?: 'completion' | 'assistant' | 'all';
  /** Tokens of an example, at most: what is beyond is cut off and counted. Plain text is cut or split when batches are made. Default: no limit. */
  readonly maxLength?: number;
  /** Alpaca's rows as conversations or by Alpaca's own prompt; default: conversations when the tokenizer has a chat template. */
  readonly alpaca?: 'chat' | 'prompt';
  /** What conversations are written by where the tokenizer has no chat template. Default: they are refused. */
  readonly chatTemplate?: 'chatml';
  /** What a row that doesn't hold what its layout wants does; 'skip' counts it. Default 'error'. */
  readonly badRows?: 'error' | 'skip';
}

/** What came of rows. `tokens` counts those kept; `targets` those that are predicted. */
export interface TokenCounts {
  rows: number;
  examples: number;
  tokens: number;
  targets: number;
  /** Rows with nothing to learn. */
  empty: number;
  /** Examples that were longer than maxLength, and the tokens that they lost. */
  truncated: number;
  cutTokens: number;
  /** Examples of which nothing to predict was left (their prompts alone fill maxLength). */
  withoutTarget: number;
  /** Bad rows passed over. */
  skipped: number;
}
export const noTokens = (): TokenCounts => ({
  rows: 0,
  examples: 0,
  tokens: 0,
  targets: 0,
  empty: 0,
  truncated: 0,
  cutTokens: 0,
  withoutTarget: 0,
  skipped: 0,
});

/** How the rows of a file were read. */
export interface FileReading extends FoundLayout {
  readonly name: string;
  rows: number;
}
export interface TokenReport {
  readonly files: readonly FileReading[];
  readonly counts: Readonly<TokenCounts>;
  /** Which tokens are predicted, in words. */
  readonly loss: string;
  readonly maxLength: number | null;
}

/** Some tokens of an example; `goesOn`: the next ones belong to the same example. */
export interface TokenPiece extends TokenExample {
  readonly goesOn: boolean;
}

/** Throws ConfigError for options that can't be. */
export function checkTokenizeOptions(options: TokenizeOptions, who: string): void {
  const { maxLength, lossOn, alpaca, badRows, chatTemplate } = options;
  if (maxLength !== undefined && !(Number.isInteger(maxLength) && maxLength >= 2))
    throw new ConfigError(`${who}: maxLength ${maxLength}. Expected a whole number ≥ 2.`);
  for (const [name, value, known] of [
    ['lossOn', lossOn, ['completion', 'assistant', 'all']],
    ['alpaca', alpaca, ['chat', 'prompt']],
    ['badRows', badRows, ['error', 'skip']],
    ['chatTemplate', chatTemplate, ['chatml']],
  ] as const)
    if (value !== undefined && !(known as readonly string[]).includes(value))
      throw new ConfigError(`${who}: ${name} is ${quote(value)}. Expected ${known.map((k) => `'${k}'`).join(' or ')}.`);
}

/** Whether conversations are written by the options' template. Throws ConfigError, which begins with `what`, where they can't be. */
function usesOption(tokenizer: TextTokenizer, options: TokenizeOptions, what: string): boolean {
  if (tokenizer.chatTemplate !== null) return false;
  if (options.chatTemplate !== undefined && tokenizer instanceof Tokenizer) return true;
  throw new ConfigError(
    `${what}, and the tokenizer has no chat template. Expected a tokenizer_config.json with chat_template. Add one to the tokenizer's folder, set the option chatTemplate: 'chatml', or bring the data to prompt and completion.`,
  );
}
/** Whether a layout is one of conversations, whatever the options. */
export const isConversation = (layout: FoundLayout['layout']): boolean => layout === 'messages' || layout === 'ShareGPT';
/** For tokens that were made before: throws ConfigError where they are of conversations that these options refuse. */
export function requireTemplate(files: readonly FileReading[], tokenizer: TextTokenizer, options: TokenizeOptions, who: string): void {
  for (const { layout, name } of files)
    if (isConversation(layout)) usesOption(tokenizer, options, `${who}: there are conversations (${layout}) in ${name}`);
}

/** Where a RowTokenizer stands between two rows; JSON. */
export interface TokenizerState {
  readonly counts: TokenCounts;
  readonly files: FileReading[];
  /** The last one is the present one: its layout is known. */
  isBegun: boolean;
  /** The last row's document goes on. */
  isOpen: boolean;
}

/** Turns the rows of one file after another into tokens. */
export class RowTokenizer {
  readonly state: TokenizerState;
  #name = '';
  readonly #tokenizer: TextTokenizer;
  readonly #options: TokenizeOptions;
  readonly #who: string;

  constructor(tokenizer: TextTokenizer, options: TokenizeOptions, who: string, state?: TokenizerState) {
    checkTokenizeOptions(options, who);
    this.#tokenizer = tokenizer;
    this.#options = options;
    this.#who = who;
    this.state = state ?? { counts: noTokens(), files: [], isBegun: false, isOpen: false };
  }

  /** The next rows are this file's: another one, or where an earlier run left it. */
  beginFile(name: string, isNew = true): void {
    this.#name = name;
    if (isNew) this.state.isBegun = false;
  }
  /** Recognises the layout of the present file, unless it is known. Throws ConfigError. */
  recognise(columns: readonly string[]): FileReading {
    const { files } = this.state;
    if (!this.state.isBegun) files.push({ ...this.#layoutOf(columns), name: this.#name, rows: 0 });
    this.state.isBegun = true;
    return files[files.length - 1];
  }
  get report(): TokenReport {
    const { counts, files } = this.state;
    return { files, counts, loss: lossInWords(files, this.#options.lossOn), maxLength: this.#options.maxLength ?? null };
  }
  /** Whether examples are pairs. Throws ConfigError when only some files hold pairs. */
  get group(): 1 | 2 {
    const pairs = this.state.files.filter((f) => f.layout === 'prompt/chosen/rejected');
    if (pairs.length > 0 && pairs.length < this.state.files.length)
      throw new ConfigError(
        `${this.#who}: ${pairs[0].name} holds pairs (${pairs[0].layout}), and other files don't. Expected the same of all. Read them apart.`,
      );
    return pairs.length > 0 ? 2 : 1;
  }

  /** The layout of a file by its first good row. Throws ConfigError. */
  #layoutOf(columns: readonly string[]): FoundLayout {
    const name = this.#name;
    const found = recogniseLayout(columns, this.#options, `${this.#who}: ${name}`);
    if (!this.#isChat(found)) return found;
    if (usesOption(this.#tokenizer, this.#options, `${this.#who}: there are conversations (${found.layout}) in ${name}`))
      return { ...found, reasons: [...found.reasons, 'The tokenizer has no chat template: ChatML is used.'] };
    return found.layout === 'Alpaca'
      ? {
          ...found,
          reasons: [
            ...found.reasons,
            "They become conversations, as the tokenizer has a chat template (alpaca: 'prompt' for Alpaca's own).",
          ],
        }
      : found;
  }
  #isChat(found: FoundLayout): boolean {
    return isConversation(found.layout) || (found.layout === 'Alpaca' && this.#alpacaAsChat);
  }
  get #alpacaAsChat(): boolean {
    const { alpaca = this.#tokenizer.chatTemplate === null ? 'prompt' : 'chat' } = this.#options;
    return alpaca === 'chat';
  }

  /**
   * The tokens of the next row: none, some of a text, an example, or two of a preference. `place` says where it stands.
   * @throws FormatError that names the place, unless bad rows are skipped; ConfigError for a layout that isn't known
   */
  pieces(row: Row, place: () => string): TokenPiece[] {
    const { counts, isOpen } = this.state;
    try {
      if (row.fault !== undefined) throw new RowFault(row.fault);
      const file = this.recognise(Object.keys(row.values));
      const sample = sampleOf(row, file, this.#alpacaAsChat);
      // The pieces of a long document are one row.
      if (!isOpen) {
        counts.rows++;
        file.rows++;
      }
      const pieces = sample ? this.#pieces(sample) : [];
      if (!sample || (sample.kind === 'text' && pieces.length === 0)) counts.empty++;
      return pieces;
    } catch (error) {
      if (!(error instanceof RowFault)) throw error;
      if (this.#options.badRows === 'skip') {
        counts.skipped++;
        return [];
      }
      throw new FormatError(`${this.#who}: ${place()}: ${error.message} Correct it, or pass over such rows with badRows: 'skip'.`, {
        cause: error,
      });
    }
  }

  #pieces(sample: Sample): TokenPiece[] {
    if (sample.kind === 'text') return this.#text(sample.text, sample.goesOn);
    const { maxLength = Number.POSITIVE_INFINITY } = this.#options;
    const { counts } = this.state;
    const list = sample.kind === 'preference' ? [sample.chosen, sample.rejected] : [sample];
    const whole = list.map((s) => this.#example(s, sample.kind === 'preference'));
    for (const { ids } of whole)
      if (ids.length > maxLength) {
        counts.truncated++;
        counts.cutTokens += ids.length - maxLength;
      }
    const cut = whole.map(({ ids, isTarget }) =>
      ids.length > maxLength ? { ids: ids.slice(0, maxLength), isTarget: isTarget.slice(0, maxLength) } : { ids, isTarget },
    );
    const targets = cut.map(({ isTarget }) => countTargets(isTarget));
    // Of a pair both or none.
    if (targets.includes(0)) {
      counts.withoutTarget += cut.length;
      return [];
    }
    for (const [i, { ids }] of cut.entries()) {
      counts.examples++;
      counts.tokens += ids.length;
      counts.targets += targets[i];
    }
    return cut.map((example) => ({ ...example, goesOn: false }));
  }

  #text(text: string, goesOn: boolean): TokenPiece[] {
    const { bosId, eosId } = this.#tokenizer;
    const { counts, isOpen } = this.state;
    const isFirst = !isOpen;
    if (isFirst && !goesOn && text === '') return [];
    const ids = this.#joined(isFirst ? bosId : null, [text], goesOn ? null : eosId).ids;
    this.state.isOpen = goesOn;
    if (isFirst) counts.examples++;
    counts.tokens += ids.length;
    counts.targets += ids.length - (isFirst && ids.length > 0 ? 1 : 0);
    return [{ ids, isTarget: new Uint8Array(ids.length).fill(1), goesOn }];
  }

  #example(sample: Preferred, isPreference: boolean): TokenExample {
    const { bosId, eosId } = this.#tokenizer;
    const { lossOn } = this.#options;
    if (sample.kind === 'completion') {
      const { ids, starts } = this.#joined(bosId, [sample.prompt, sample.completion], eosId);
      const isTarget = new Uint8Array(ids.length).fill(1);
      if (lossOn !== 'all' || isPreference) isTarget.fill(0, 0, starts[1]);
      isTarget[0] = 0;
      return { ids, isTarget };
    }
    const { messages, from } = sample;
    const { ids, assistant } = this.#render(messages);
    const on = isPreference ? 'completion' : (lossOn ?? (from > 0 ? 'completion' : 'assistant'));
    const isTarget = on === 'all' ? new Uint8Array(ids.length).fill(1) : Uint8Array.from(assistant);
    if (on === 'completion') isTarget.fill(0, 0, from > 0 ? this.#promptLength(messages.slice(0, from), ids) : lastRun(isTarget));
    if (isTarget.length > 0) isTarget[0] = 0;
    return { ids, isTarget };
  }

  #render(messages: readonly ChatMessage[]): { readonly ids: Int32Array; readonly assistant: Uint8Array } {
    const tokenizer = this.#tokenizer;
    try {
      if (tokenizer.renderConversation) return tokenizer.renderConversation(messages);
      if (tokenizer instanceof Tokenizer) {
        const { chatTemplate: template } = this.#options;
        return renderConversation(tokenizer, messages, tokenizer.chatTemplate === null && template !== undefined ? { template } : {});
      }
    } catch (error) {
      // Templates refuse, for instance, two messages of the user in a row.
      throw new RowFault(`Expected a conversation that the chat template takes, received one that it refuses (${reasonOf(error)}).`);
    }
    throw new RowFault('Expected text, received a conversation, and the tokenizer renders none. Use a Tokenizer with a chat template.');
  }

  /** Tokens that a conversation has in common with its first messages. */
  #promptLength(prompt: readonly ChatMessage[], ids: Int32Array): number {
    const before = this.#render(prompt).ids;
    let n = 0;
    while (n < before.length && n < ids.length && before[n] === ids[n]) n++;
    return n;
  }

  #joined(bos: number | null, texts: readonly string[], eos: number | null): { ids: Int32Array; starts: number[] } {
    const parts = texts.map((text) => (text === '' ? new Int32Array(0) : this.#tokenizer.encode(text)));
    const ids = new Int32Array(parts.reduce((n, p) => n + p.length, (bos === null ? 0 : 1) + (eos === null ? 0 : 1)));
    const starts: number[] = [];
    let at = 0;
    if (bos !== null) ids[at++] = bos;
    for (const part of parts) {
      starts.push(at);
      ids.set(part, at);
      at += part.length;
    }
    if (eos !== null) ids[at] = eos;
    return { ids, starts };
  }
}

/** Targets that have a token before them. */
function countTargets(isTarget: Uint8Array): number {
  let n = 0;
  for (let i = 1; i < isTarget.length; i++) n += isTarget[i];
  return n;
}

/** Where the last run of ones begins; 0 without one. */
function lastRun(mask: Uint8Array): number {
  const end = mask.lastIndexOf(1);
  if (end < 0) return 0;
  let start = end;
  while (start > 0 && mask[start - 1] === 1) start--;
  return start;
}

/** Which tokens are predicted, in words. */
export function lossInWords(files: readonly FoundLayout[], lossOn: TokenizeOptions['lossOn']): string {
  if (lossOn === 'all' || (files.length > 0 && files.every((f) => f.layout === 'text'))) return 'every token';
  if (lossOn === 'assistant') return 'what the assistant says';
  if (lossOn === 'completion') return 'the completion';
  return files.some((f) => f.layout === 'messages' || f.layout === 'ShareGPT') ? 'what the assistant says' : 'the completion';
}

/**
 * Tokenizes rows in memory, or as they come.
 * @throws FormatError for a row that doesn't hold what its layout wants, ConfigError for an unknown layout or wrong options
 */
export async function tokenizeRows(
  rows: Iterable<Readonly<Record<string, unknown>>> | AsyncIterable<Readonly<Record<string, unknown>>>,
  tokenizer: TextTokenizer,
  options: TokenizeOptions = {},
): Promise<{ examples: TokenList; report: TokenReport }> {
  const who = 'tokenizeRows';
  if (typeof rows !== 'object' || rows === null || !(Symbol.iterator in rows || Symbol.asyncIterator in rows))
    throw new ConfigError(`${who}: expected rows that can be iterated, received ${kindOf(rows)}.`);
  const work = new RowTokenizer(tokenizer, options, who);
  work.beginFile('the rows');
  const list: TokenExample[] = [];
  let number = 0;
  for await (const values of rows) {
    const row = objectRow(values, ++number);
    list.push(...work.pieces(row, () => `row ${number}`));
  }
  return { examples: new TokenList(list, work.group), report: work.report };
}

/** What was read and made of it, in sentences: `I read 29,000 rows as prompt/completion. …` */
export function describeTokens(report: TokenReport): string[] {
  const { files, counts, loss, maxLength } = report;
  const lines: string[] = [];
  const groups = new Map<string, FileReading[]>();
  for (const file of files) {
    const key = [file.layout, ...file.reasons].join(' ');
    groups.set(key, [...(groups.get(key) ?? []), file]);
  }
  for (const group of groups.values()) {
    const rows = group.reduce((n, f) => n + f.rows, 0);
    const from = group.length === 1 ? '' : ` of ${group.length} files`;
    lines.push([`I read ${counted(rows, 'row')}${from} as ${group[0].layout}.`, ...group[0].reasons].join(' '));
  }
  if (files.length === 0) lines.push('I read no rows.');
  lines.push(
    `${counted(counts.examples, 'example')}, ${counted(counts.tokens, 'token')}, of which ${grouped(counts.targets)} are predicted: ${loss}.`,
  );
  if (counts.truncated > 0)
    lines.push(
      `${counted(counts.truncated, 'example')} of more than ${maxLength} tokens cut: ${counted(counts.cutTokens, 'token')} lost. Raise maxLength to keep them.`,
    );
  if (counts.withoutTarget > 0) lines.push(`${counted(counts.withoutTarget, 'example')} left out, as nothing to predict was left of them.`);
  if (counts.empty > 0) lines.push(`${counted(counts.empty, 'row')} had nothing to learn and count for nothing.`);
  if (counts.skipped > 0) lines.push(`${counted(counts.skipped, 'bad row')} passed over.`);
  return lines;
}
