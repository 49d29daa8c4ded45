/**
 * @file Tokenizer: any tokenizer.json through @huggingface/tokenizers. What a file says is checked first (tokenizer-file.ts); a file with
 * patterns that nobody knows runs in a worker with a limit of time (guard.ts).
 */
import { ConfigError, FormatError, quote, reasonOf, TenonError } from '../base/errors.js';
import { isRecord } from '../io/bytes.js';
import { type GuardedTokenizer, guardedTokenizer } from './guard.js';
import { quickTokenizer } from './quick-bpe.js';
import { isExact, type Spelling, spell, textOf } from './token-spelling.js';
import { readTokenizerFile, type TokenizerFile } from './tokenizer-file.js';

export interface TokenizerOptions {
  /** Runs patterns that aren't known in this thread too: where the file is your own, or in a browser. */
  readonly isTrusted?: boolean;
  /** Milliseconds that a file with unknown patterns may take for a text, and as many for each further million characters; default 5,000. */
  readonly timeLimit?: number;
}
export interface EncodeOptions {
  /** Adds what the file's post_processor adds, such as bos; default false. */
  readonly addSpecialTokens?: boolean;
}
export interface DecodeOptions {
  /** Leaves special tokens out; default true. */
  readonly skipSpecialTokens?: boolean;
}

/** Text to ids and back. */
export class Tokenizer {
  /** The parsed tokenizer.json and tokenizer_config.json, as they were given. */
  readonly json: Readonly<Record<string, unknown>>;
  readonly config: Readonly<Record<string, unknown>>;
  /** One more than the largest id. */
  readonly vocabSize: number;
  readonly bosId: number | null;
  readonly eosId: number | null;
  readonly padId: number | null;
  /** The id of what the vocabulary cannot say; null where it can say everything, or has none. */
  readonly unknownId: number | null;
  /** The chat template of the files; null where they have none. */
  readonly chatTemplate: string | null;
  readonly #file: TokenizerFile;
  /** The library, here or in a worker. */
  readonly #engine: GuardedTokenizer;
  readonly #bytes: (Uint8Array | undefined)[] = [];

  private constructor(json: Record<string, unknown>, config: Record<string, unknown>, options: TokenizerOptions) {
    const file = readTokenizerFile(json, config);
    this.json = json;
    this.config = config;
    this.#file = file;
    this.#engine =
      file.risks.length === 0 || options.isTrusted === true
        ? inThisThread(file)
        : guardedTokenizer(file.files, file.risks, options.timeLimit ?? 5000);
    this.vocabSize = file.tokens.length;
    this.bosId = file.bosId;
    this.eosId = file.eosId;
    this.padId = file.padId;
    this.unknownId = file.unknownId;
    this.chatTemplate = templatesOf(config).get('default') ?? null;
  }

  /**
   * A tokenizer from the parsed files; the second one has the roles of special tokens and the chat template.
   * @throws FormatError for what is malformed or not supported.
   */
  static fromJson(tokenizerJson: unknown, tokenizerConfig: unknown = {}, options: TokenizerOptions = {}): Tokenizer {
    if (!isRecord(tokenizerJson))
      throw new FormatError(`tokenizer.json is malformed. Expected an object, received ${quote(tokenizerJson)}.`);
    if (!isRecord(tokenizerConfig))
      throw new FormatError(`tokenizer_config.json is malformed. Expected an object, received ${quote(tokenizerConfig)}.`);
    return new Tokenizer(tokenizerJson, tokenizerConfig, options);
  }

  /** The ids of a text. Halves of surrogate pairs count as U+FFFD. */
  encode(text: string, { addSpecialTokens = false }: EncodeOptions = {}): Int32Array {
    if (typeof text !== 'string') throw new ConfigError(`encode: expected a text, received ${quote(text)}.`);
    const found = run('encode', () => this.#engine.encode(wellFormed(text), addSpecialTokens));
    const ids = Int32Array.from(found);
    for (let i = 0; i < ids.length; i++)
      if (found[i] !== ids[i])
        throw new FormatError(`encode: the vocabulary has no token for part of the text ${quote(text)}, and no unknown one.`);
    return ids;
  }

  /**
   * The text of ids. A space that the tokenizer puts before every text is taken off; malformed UTF-8 becomes U+FFFD.
   * @throws ConfigError for what is no id. Ids that no token has give nothing, as models may have more rows than there are tokens.
   */
  decode(ids: Iterable<number>, { skipSpecialTokens = true }: DecodeOptions = {}): string {
    const { special, spelling, tokens } = this.#file;
    const kept = Array.from(ids, (id) => this.#check(id)).filter(
      (id) => tokens[id] !== undefined && !(skipSpecialTokens && special.has(id)),
    );
    if (kept.length === 0) return '';
    if (!isExact(spelling)) return run('decode', () => this.#engine.decode(kept));
    return textOf(
      kept.map((id) => this.bytesOf(id)),
      spelling,
    );
  }

  /** The token of an id, as the vocabulary writes it. Throws ConfigError where there is none. */
  tokenOf(id: number): string {
    const token = this.#file.tokens[id];
    if (token === undefined)
      throw new ConfigError(`tokenOf: no token has the id ${quote(id)}. Expected one from 0 to ${this.vocabSize - 1}.`);
    return token;
  }
  /** The id of a token, as the vocabulary writes it; null where it has none. */
  idOf(token: string): number | null {
    return this.#file.ids.get(token) ?? null;
  }
  isSpecial(id: number): boolean {
    return this.#file.special.has(id);
  }
  /** How the vocabulary spells bytes. */
  get spelling(): Spelling {
    return this.#file.spelling;
  }

  /**
   * What a token adds to a text, in bytes: those of a sequence, one after another, are its text in UTF-8 (before a leading space of the
   * tokenizer's own is taken off), though one token may hold only part of a character. Nothing for ids that no token has.
   */
  bytesOf(id: number): Uint8Array {
    const known = this.#bytes[id];
    if (known) return known;
    const token = this.#file.tokens[this.#check(id)];
    const bytes = token === undefined ? new Uint8Array(0) : spell(token, this.#file.spelling, this.#file.added.has(id));
    if (token !== undefined) this.#bytes[id] = bytes;
    return bytes;
  }

  #check(id: number): number {
    if (Number.isInteger(id) && id >= 0) return id;
    throw new ConfigError(`decode: an id is malformed. Expected a whole number ≥ 0, received ${quote(id)}.`);
  }
}

/** Whatever the library throws is said of the file. */
function run<T>(who: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof TenonError) throw error;
    throw new FormatError(`${who}: this tokenizer fails on the text: ${reasonOf(error)}.`, { cause: error });
  }
}

function inThisThread(file: TokenizerFile): GuardedTokenizer {
  const made = run('tokenizer.json', () => quickTokenizer(file));
  return {
    encode: (text, add_special_tokens) => made.encode(text, { add_special_tokens }).ids,
    decode: (ids) => made.decode([...ids], { skip_special_tokens: false, clean_up_tokenization_spaces: false }),
  };
}

/** Halves of surrogate pairs as U+FFFD, as UTF-8 has them. */
export const wellFormed = (text: string): string => (/\p{Cs}/u.test(text) ? text.replace(/\p{Cs}/gu, '\uFFFD') : text);

/** The chat templates of a tokenizer_config.json by name: one, which is called default, or several. Throws FormatError. */
export function templatesOf(config: Readonly<Record<string, unknown>>): Map<string, string> {
  const value = config.chat_template ?? null;
  const refuse = (): never => {
    throw new FormatError(
      `tokenizer_config.json: chat_template is malformed. Expected a text or a list of names and templates, received ${quote(value)}.`,
    );
  };
  if (value === null) return new Map();
  if (typeof value === 'string') return new Map([['default', value]]);
  if (!Array.isArray(value)) return refuse();
  return new Map(
    value.map((entry: unknown): [string, string] => {
      const { name, template } = isRecord(entry) ? entry : refuse();
      return typeof name === 'string' && typeof template === 'string' ? [name, template] : refuse();
    }),
  );
}
