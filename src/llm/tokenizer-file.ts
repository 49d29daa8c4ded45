/**
 * @file tokenizer.json and tokenizer_config.json, checked: the vocabulary, the model, the added tokens and the roles of special ones.
 * Whatever comes out of here the library can be given: nothing in it is of a wrong kind, and what may take long is named in `risks`.
 */
import { FormatError, quote } from '../base/errors.js';
import { isRecord } from '../io/bytes.js';
import { FileValue } from './file-value.js';
import { type Spelling, spellingOf } from './token-spelling.js';
import { readParts } from './tokenizer-parts.js';

/** What the library's constructor takes. */
export interface LibraryFiles {
  readonly tokenizer: { readonly model: object; readonly [part: string]: unknown };
  readonly config: object;
}
export interface TokenizerFile {
  readonly files: LibraryFiles;
  /** By id; undefined where the vocabulary leaves a number out. */
  readonly tokens: readonly (string | undefined)[];
  readonly ids: ReadonlyMap<string, number>;
  /** Ids of tokens that are found in texts before anything else. */
  readonly added: ReadonlySet<number>;
  readonly special: ReadonlySet<number>;
  readonly bosId: number | null;
  readonly eosId: number | null;
  readonly padId: number | null;
  readonly unknownId: number | null;
  readonly spelling: Spelling;
  /** Of a BPE model: what it merges. */
  readonly bpe: Bpe | null;
  /** Why the library may not run it in the calling thread. */
  readonly risks: readonly string[];
}

export interface Bpe {
  readonly merges: readonly (readonly [string, string])[];
  readonly suffix: string;
}

/** No vocabulary has more ids; arrays are made of this length. */
const MAX_IDS = 2 ** 22;
/** Tokens beyond this length make a search in a text slow. */
const MAX_TOKEN = 512;

interface Model {
  readonly json: object;
  readonly ids: Map<string, number>;
  readonly unknown: string | null;
  readonly bpe?: Bpe;
  readonly risks: readonly string[];
}

/** Reads and checks both files. Throws FormatError that names the place of what is malformed, missing or not supported. */
export function readTokenizerFile(tokenizerJson: unknown, tokenizerConfig: unknown): TokenizerFile {
  const file = new FileValue(tokenizerJson, 'tokenizer.json');
  const config = new FileValue(tokenizerConfig ?? {}, 'tokenizer_config.json');
  const model = readModel(file.at('model'));
  const { ids } = model;
  const added = readAdded(file, config, ids);
  const tokens = byId(ids);
  const parts = readParts(file, (token) => ids.has(token));
  const roles = readRoles(config, ids);
  const special = new Set(added.filter((t) => t.special).map((t) => t.id));
  for (const id of roles.special) special.add(id);
  const unknown = model.unknown ?? roles.unknown;
  const longest = added.reduce((n, t) => Math.max(n, t.content.length), 0);
  const risks = [...model.risks, ...parts.risks, ...(longest > MAX_TOKEN ? [`an added token of ${longest} characters`] : [])];
  const { normalizer, pre_tokenizer, post_processor, decoder } = parts;
  return {
    files: {
      tokenizer: { added_tokens: added, normalizer, pre_tokenizer, model: model.json, post_processor, decoder },
      config: { unk_token: unknown, eos_token: roles.eosId === null ? null : tokens[roles.eosId] },
    },
    tokens,
    ids,
    added: new Set(added.map((t) => t.id)),
    special,
    bosId: roles.bosId,
    eosId: roles.eosId,
    padId: roles.padId,
    unknownId: unknown === null ? null : (ids.get(unknown) ?? null),
    spelling: spellingOf(decoder),
    bpe: model.bpe ?? null,
    risks,
  };
}

function byId(ids: ReadonlyMap<string, number>): (string | undefined)[] {
  let size = 0;
  for (const id of ids.values()) size = Math.max(size, id + 1);
  const tokens = new Array<string | undefined>(size).fill(undefined);
  for (const [token, id] of ids) {
    const other = tokens[id];
    if (other !== undefined)
      throw new FormatError(`tokenizer.json: two tokens have the id ${id}: ${quote(other)} and ${quote(token)}. The file is damaged.`);
    tokens[id] = token;
  }
  return tokens;
}

const modelTypes = ['BPE', 'WordPiece', 'Unigram', 'WordLevel'] as const;

function readModel(at: FileValue): Model {
  const type = at.at('type').isMissing ? guessType(at) : at.at('type').oneOf(modelTypes);
  if (type === 'Unigram') return readUnigram(at);
  const ids = readVocabulary(at.at('vocab'));
  const unknown = at.at('unk_token').optionalText();
  if (unknown !== null && !ids.has(unknown)) at.at('unk_token').refuse('a token of the vocabulary');
  const vocab = at.at('vocab').record();
  if (type === 'BPE') return readBpe(at, vocab, ids, unknown);
  // The library calls it by no name: words are tokens.
  if (type === 'WordLevel') return { json: { type: 'WordLevel', vocab }, ids, unknown, risks: [] };
  if (unknown === null) at.at('unk_token').refuse('a text');
  const most = at.at('max_input_chars_per_word').isMissing ? 100 : at.at('max_input_chars_per_word').whole(0, MAX_IDS);
  const continuing_subword_prefix = at.at('continuing_subword_prefix').optionalText() ?? '##';
  return {
    json: { type, vocab, unk_token: unknown, max_input_chars_per_word: most, continuing_subword_prefix },
    ids,
    unknown,
    // It looks at all parts of a word.
    risks: most > 200 || continuing_subword_prefix.length > 64 ? [`words of ${most} characters`] : [],
  };
}

/** Old files don't say what they are. */
function guessType(at: FileValue): (typeof modelTypes)[number] {
  if (Array.isArray(at.at('vocab').value)) return 'Unigram';
  if (!at.at('merges').isMissing) return 'BPE';
  return at.at('max_input_chars_per_word').isMissing ? at.at('type').oneOf(modelTypes) : 'WordPiece';
}

function readVocabulary(at: FileValue): Map<string, number> {
  const ids = new Map<string, number>();
  for (const [token, id] of Object.entries(at.record())) {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= MAX_IDS)
      throw new FormatError(
        `${at.place}: the id of the token ${quote(token)} is malformed. Expected a whole number from 0 to ${MAX_IDS - 1}, received ${quote(id)}.`,
      );
    ids.set(token, id);
  }
  return ids;
}

function readBpe(at: FileValue, vocab: object, ids: Map<string, number>, unknown: string | null): Model {
  const merges = at.at('merges');
  const pairs = merges.items().map((merge, i): [string, string] => {
    const pair: unknown = typeof merge === 'string' ? merge.split(' ') : merge;
    const [left, right]: unknown[] = Array.isArray(pair) && pair.length === 2 ? pair : [];
    if (typeof left === 'string' && typeof right === 'string' && ids.has(left) && ids.has(right) && ids.has(left + right))
      return [left, right];
    throw new FormatError(
      `${merges.place}[${i}] is malformed. Expected two tokens of the vocabulary that make a third one, received ${quote(merge)}.`,
    );
  });
  const affix = (key: string): string | null => at.at(key).optionalText() || null;
  if (affix('continuing_subword_prefix') !== null)
    at.at('continuing_subword_prefix').refuse('none: a prefix of parts is not supported with BPE');
  const suffix = affix('end_of_word_suffix') ?? '';
  return {
    json: {
      type: 'BPE',
      vocab,
      merges: pairs,
      unk_token: unknown ?? undefined,
      fuse_unk: at.at('fuse_unk').flag(false),
      byte_fallback: at.at('byte_fallback').flag(false),
      ignore_merges: at.at('ignore_merges').flag(false),
      end_of_word_suffix: suffix || undefined,
    },
    ids,
    unknown,
    bpe: { merges: pairs, suffix },
    risks: suffix.length > 64 ? ['a long end_of_word_suffix'] : [],
  };
}

function readUnigram(at: FileValue): Model {
  const place = at.at('vocab');
  const entries = place.items('a list of texts and their scores');
  if (entries.length === 0 || entries.length > MAX_IDS) place.refuse(`1 to ${MAX_IDS} texts and their scores`);
  const ids = new Map<string, number>();
  const vocab = entries.map((entry, i): [string, number] => {
    const [token, score]: unknown[] = Array.isArray(entry) && entry.length === 2 ? entry : [];
    if (typeof token === 'string' && typeof score === 'number' && !ids.has(token)) {
      ids.set(token, i);
      return [token, score];
    }
    throw new FormatError(`${place.place}[${i}] is malformed. Expected a text of its own and its score, received ${quote(entry)}.`);
  });
  if (at.at('byte_fallback').flag(false)) at.at('byte_fallback').refuse('false: bytes are not supported with Unigram');
  const unk_id = at.at('unk_id').isMissing ? null : at.at('unk_id').whole(0, vocab.length - 1);
  const longest = vocab.reduce((n, [token]) => Math.max(n, token.length), 0);
  return {
    json: { type: 'Unigram', vocab, unk_id },
    ids,
    unknown: unk_id === null ? null : vocab[unk_id][0],
    // At each place of a text it notes all tokens that begin there.
    risks: longest > 128 ? [`a token of ${longest} characters`] : [],
  };
}

interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly single_word: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly normalized: boolean;
  readonly special: boolean;
}

/** The added tokens of both files; those that the vocabulary lacks are put into `ids`. */
function readAdded(file: FileValue, config: FileValue, ids: Map<string, number>): AddedToken[] {
  const found = new Map<string, AddedToken>();
  const read = (at: FileValue, id: number): void => {
    const content = at.at('content').text();
    if (content === '') at.at('content').refuse('a text that is not empty');
    if (found.has(content)) return;
    const special = at.at('special').flag(false);
    found.set(content, {
      // As Hugging Face's library has it: the vocabulary's word is final.
      id: ids.get(content) ?? id,
      content,
      single_word: at.at('single_word').flag(false),
      lstrip: at.at('lstrip').flag(false),
      rstrip: at.at('rstrip').flag(false),
      normalized: at.at('normalized').flag(!special),
      special,
    });
  };
  for (const at of file.at('added_tokens').optionalList()) read(at, at.at('id').whole(0, MAX_IDS - 1));
  const decoder = config.at('added_tokens_decoder');
  if (!decoder.isMissing)
    for (const key of Object.keys(decoder.record()))
      read(decoder.at(key), new FileValue(Number(key), `${decoder.place}: ${key}`).whole(0, MAX_IDS - 1));
  for (const { content, id } of found.values()) ids.set(content, id);
  return [...found.values()];
}

interface Roles {
  readonly bosId: number | null;
  readonly eosId: number | null;
  readonly padId: number | null;
  readonly unknown: string | null;
  readonly special: readonly number[];
}

/** A token by its text, or an object that holds it. */
const contentOf = (at: FileValue): string | null => (isRecord(at.value) ? at.at('content').optionalText() : at.optionalText());

function readRoles(config: FileValue, ids: ReadonlyMap<string, number>): Roles {
  const idOf = (text: string | null): number | null => (text === null ? null : (ids.get(text) ?? null));
  const role = (name: string): number | null => idOf(contentOf(config.at(name)));
  const [bosId, eosId, padId] = ['bos_token', 'eos_token', 'pad_token'].map(role);
  const unknown = contentOf(config.at('unk_token'));
  const more = config
    .at('additional_special_tokens')
    .optionalList()
    .map((at) => idOf(contentOf(at)));
  const special = [bosId, eosId, padId, idOf(unknown), ...more].filter((id) => id !== null);
  return { bosId, eosId, padId, unknown: idOf(unknown) === null ? null : unknown, special };
}
