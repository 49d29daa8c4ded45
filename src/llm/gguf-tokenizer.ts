/**
 * @file Tokenizers between Hugging Face's tokenizer.json and llama.cpp's metadata (its convert_hf_to_gguf.py and llama-vocab.cpp). Two
 * kinds: byte-level BPE, whose split pattern llama.cpp knows by a name, and SentencePiece's BPE, of which llama.cpp keeps the merges as
 * scores of the tokens. The whole tokenizer.json goes along (the format's `tokenizer.huggingface.json`), so that reading gives it back.
 */
import { ConfigError, FormatError, quote } from '../base/errors.js';
import { isRecord } from '../io/bytes.js';
import type { GgufValue } from '../io/gguf.js';

/** A tokenizer's parsed files; an instance of Tokenizer is one. */
export interface TokenizerFiles {
  /** tokenizer.json */
  readonly json: unknown;
  /** tokenizer_config.json */
  readonly config?: unknown;
  /** Where it isn't in `config`. */
  readonly chatTemplate?: string | null;
}

const WHO = 'ggufEntries: the tokenizer';
const DIGITS = '\\p{N}';
const words = (numbers: string): string =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${numbers}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
/** What ByteLevel splits by when it does so itself. */
const GPT2_PATTERN = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const TEKKEN_PATTERN =
  '[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';

/** How llama.cpp splits under a name, and whether it takes a word that is a token before it looks at merges. */
interface Splitting {
  readonly pre: string;
  readonly patterns: readonly string[];
  readonly ignoreMerges: boolean;
}
const splittings: readonly Splitting[] = [
  { pre: 'llama-bpe', patterns: [words('\\p{N}{1,3}')], ignoreMerges: true },
  { pre: 'smaug-bpe', patterns: [words('\\p{N}{1,3}')], ignoreMerges: false },
  { pre: 'qwen2', patterns: [words('\\p{N}')], ignoreMerges: false },
  { pre: 'gpt-2', patterns: [GPT2_PATTERN], ignoreMerges: false },
  { pre: 'smollm', patterns: [DIGITS, GPT2_PATTERN], ignoreMerges: false },
  { pre: 'tekken', patterns: [TEKKEN_PATTERN], ignoreMerges: true },
];

/** llama.cpp's kinds of tokens. */
const kinds = { normal: 1, unknown: 2, control: 3, user: 4, unused: 5, byte: 6 } as const;

/** What both kinds of tokenizers have. */
interface Parsed {
  readonly vocab: ReadonlyMap<string, number>;
  readonly merges: readonly (readonly [string, string])[];
  readonly added: readonly { readonly id: number; readonly content: string; readonly special: boolean }[];
  readonly model: Readonly<Record<string, unknown>>;
  readonly json: Readonly<Record<string, unknown>>;
}

function refuse(message: string): never {
  throw new ConfigError(`${WHO} ${message}`);
}

function parseJson(json: unknown): Parsed {
  if (!isRecord(json) || !isRecord(json.model)) return refuse('has no model. Expected a parsed tokenizer.json.');
  const { model } = json;
  if (model.type !== undefined && model.type !== 'BPE')
    return refuse(`is of type ${quote(model.type)}. Expected BPE: llama.cpp's formats of it are written here.`);
  if (!isRecord(model.vocab) || !Array.isArray(model.merges)) return refuse('has no vocab or merges. Expected a parsed tokenizer.json.');
  const vocab = new Map<string, number>();
  for (const [token, id] of Object.entries(model.vocab)) vocab.set(token, index(id, token));
  const merges = model.merges.map((merge: unknown): [string, string] => {
    const pair: unknown = typeof merge === 'string' ? merge.split(' ') : merge;
    if (!Array.isArray(pair) || pair.length !== 2 || !pair.every((p) => typeof p === 'string' && !p.includes(' ')))
      return refuse(`has a merge that llama.cpp can't hold: ${quote(merge)}. Expected two tokens without spaces.`);
    return [String(pair[0]), String(pair[1])];
  });
  const list: readonly unknown[] = Array.isArray(json.added_tokens) ? json.added_tokens : [];
  const added = list.map((token) => {
    if (!isRecord(token) || typeof token.content !== 'string') return refuse(`has a malformed added token: ${quote(token)}.`);
    return { id: index(token.id, token.content), content: token.content, special: token.special === true };
  });
  return { vocab, merges, added, model, json };
}

/** A token's number: bounded, so that a list of them is. */
function index(id: unknown, token: string): number {
  if (typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < 2 ** 24) return id;
  return refuse(`gives ${quote(token)} the number ${quote(id)}. Expected an integer from 0 to 2^24.`);
}

/** The parts of a normalizer or pre-tokenizer, whether it is a sequence or one. */
function steps(part: unknown, list: 'normalizers' | 'pretokenizers', depth = 0): Readonly<Record<string, unknown>>[] {
  if (!isRecord(part)) return [];
  if (part.type !== 'Sequence') return [part];
  if (depth > 8) return refuse('is nested too deeply. Expected sequences of steps.');
  const inner: unknown = part[list];
  return Array.isArray(inner) ? inner.flatMap((p: unknown) => steps(p, list, depth + 1)) : [];
}

/** tokenizer.json again; what is nested beyond the stack has no text. */
function textOf(json: unknown): string {
  try {
    return JSON.stringify(json);
  } catch {
    return refuse('is nested too deeply. Expected a parsed tokenizer.json.');
  }
}

/** The patterns by which a byte-level tokenizer splits, one after another. */
function patternsOf({ json }: Parsed): string[] {
  return steps(json.pre_tokenizer, 'pretokenizers').flatMap((step) => {
    if (step.type === 'Digits' && step.individual_digits === true) return [DIGITS];
    if (step.type === 'ByteLevel') {
      if (step.add_prefix_space === true) return refuse('puts a space before every text. llama.cpp does not for byte-level BPE.');
      return step.use_regex === false ? [] : [GPT2_PATTERN];
    }
    const pattern = isRecord(step.pattern) ? (step.pattern.Regex ?? step.pattern.String) : undefined;
    if (step.type === 'Split' && typeof pattern === 'string' && step.behavior === (step.invert === true ? 'Removed' : 'Isolated'))
      return [pattern];
    return refuse(`splits by ${quote(step)}. Expected Split, Digits or ByteLevel.`);
  });
}

function splittingOf(parsed: Parsed): string {
  // llama.cpp leaves Unicode's forms as they are, and so does its converter: text is nearly always NFC already.
  for (const step of steps(parsed.json.normalizer, 'normalizers'))
    if (step.type !== 'NFC') refuse(`normalizes by ${quote(step.type)}. Expected none, or NFC: llama.cpp has no other for byte-level BPE.`);
  const patterns = patternsOf(parsed);
  const ignoreMerges = parsed.model.ignore_merges === true;
  const alike = splittings.filter((s) => s.patterns.join('\n') === patterns.join('\n'));
  const found = alike.find((s) => s.ignoreMerges === ignoreMerges);
  if (found) return found.pre;
  if (alike.length > 0)
    return refuse(
      `has ignore_merges: ${ignoreMerges}. llama.cpp's ${alike[0].pre}, which splits so, works as if it were ${alike[0].ignoreMerges}. Set it so.`,
    );
  return refuse(
    `splits by a pattern that llama.cpp knows under no name: ${quote(patterns)}. Expected that of ${splittings.map((s) => s.pre).join(', ')}.`,
  );
}

/** Whether SentencePiece's sign stands for spaces, and one is put before a text; null for a byte-level tokenizer. */
function spacesOf({ json }: Parsed): { readonly prefix: boolean } | null {
  const pre = steps(json.pre_tokenizer, 'pretokenizers');
  if (pre.some((step) => step.type === 'ByteLevel')) return null;
  const normalizers = steps(json.normalizer, 'normalizers');
  const metaspace = pre.find((step) => step.type === 'Metaspace');
  const replaces = normalizers.some((step) => step.type === 'Replace' && step.content === '▁');
  const others = [...normalizers.filter((s) => s.type !== 'Prepend' && s.type !== 'Replace'), ...pre.filter((s) => s !== metaspace)];
  if (others.length > 0) return refuse(`has the step ${quote(others[0])}, which llama.cpp's formats can't say.`);
  if (!metaspace && !replaces)
    return refuse(
      `is neither byte-level nor SentencePiece's${pre.length === 0 ? ': its tokens are characters or whole texts' : ''}. Expected one of these, as llama.cpp reads no other. Train the model with one of them (tenon pretrain's default is byte-level), or export safetensors.`,
    );
  if (metaspace) {
    const scheme: unknown = metaspace.prepend_scheme ?? (metaspace.add_prefix_space === false ? 'never' : 'always');
    return { prefix: scheme !== 'never' };
  }
  return { prefix: normalizers.some((step) => step.type === 'Prepend') };
}

const u32 = (value: number): GgufValue => ({ type: 'u32', value });
const bool = (value: boolean): GgufValue => ({ type: 'bool', value });
const text = (value: string): GgufValue => ({ type: 'string', value });

/**
 * The `tokenizer.*` metadata of a model with `size` rows of embeddings.
 * @throws ConfigError when it is no BPE tokenizer of the two kinds, splits by a pattern that llama.cpp doesn't know, or has more tokens than rows.
 */
export function tokenizerMetadata(files: TokenizerFiles, size: number, model: Readonly<Record<string, unknown>>): [string, GgufValue][] {
  const parsed = parseJson(files.json);
  const config = isRecord(files.config) ? files.config : {};
  const spaces = spacesOf(parsed);
  const { tokens, types } = tokensOf(parsed, size, spaces !== null);
  const ids = specialIds(parsed, config, model);
  const out: [string, GgufValue][] = [
    ['tokenizer.ggml.model', text(spaces ? 'llama' : 'gpt2')],
    ['tokenizer.ggml.pre', text(spaces ? 'default' : splittingOf(parsed))],
    ['tokenizer.ggml.tokens', { type: 'array', of: 'string', value: tokens }],
    ['tokenizer.ggml.token_type', { type: 'array', of: 'i32', value: types }],
    ['tokenizer.ggml.merges', { type: 'array', of: 'string', value: parsed.merges.map((pair) => pair.join(' ')) }],
  ];
  if (spaces) {
    out.push(['tokenizer.ggml.scores', { type: 'array', of: 'f32', value: scoresOf(parsed, tokens) }]);
    out.push(['tokenizer.ggml.add_space_prefix', bool(spaces.prefix)]);
  }
  for (const [name, id] of Object.entries(ids)) if (id !== null) out.push([`tokenizer.ggml.${name}_token_id`, u32(id)]);
  const [bos, eos] = (['bos', 'eos'] as const).map((end) => addsToken(parsed, config, end, ids[end]));
  out.push(['tokenizer.ggml.add_bos_token', bool(bos)], ['tokenizer.ggml.add_eos_token', bool(eos)]);
  const template = files.chatTemplate ?? templateOf(config.chat_template);
  if (template !== null) out.push(['tokenizer.chat_template', text(template)]);
  out.push(['tokenizer.huggingface.json', text(textOf(parsed.json))]);
  return out;
}

function tokensOf({ vocab, added, model }: Parsed, size: number, isSentencePiece: boolean): { tokens: string[]; types: Int32Array } {
  const tokens: (string | undefined)[] = new Array<undefined>(size);
  const types = new Int32Array(size).fill(kinds.normal);
  const put = (id: number, token: string): void => {
    if (id >= size) refuse(`has a token of number ${id}, ${quote(token)}. Expected fewer than the model's ${size} rows of embeddings.`);
    if (tokens[id] !== undefined && tokens[id] !== token)
      refuse(`has two tokens of number ${id}: ${quote(tokens[id])} and ${quote(token)}.`);
    tokens[id] = token;
  };
  for (const [token, id] of vocab) {
    put(id, token);
    if (isSentencePiece && /^<0x[0-9A-F]{2}>$/.test(token)) types[id] = kinds.byte;
  }
  for (const { id, content, special } of added) {
    put(id, content);
    types[id] = special ? kinds.control : kinds.user;
    // llama.cpp looks for these in the text as it is given.
    if (!special && isSentencePiece) tokens[id] = content.replaceAll('▁', ' ');
  }
  const unknown = typeof model.unk_token === 'string' ? vocab.get(model.unk_token) : undefined;
  if (unknown !== undefined && isSentencePiece) types[unknown] = kinds.unknown;
  const named = tokens.map((token, id) => {
    if (token !== undefined) return token;
    types[id] = kinds.unused;
    return `[PAD${id}]`;
  });
  // Holes of a sparse list aren't visited by map.
  for (let id = 0; id < size; id++) if (named[id] === undefined) [named[id], types[id]] = [`[PAD${id}]`, kinds.unused];
  if (new Set(named).size !== size) refuse('has two tokens with one text, or of the form [PAD7]. llama.cpp takes no such vocabulary.');
  return { tokens: named, types };
}

/** llama.cpp joins the two neighbours whose union has the highest score: the earlier a merge, the higher. */
function scoresOf({ merges }: Parsed, tokens: readonly string[]): Float32Array {
  const rank = new Map<string, number>();
  for (const [i, [left, right]] of merges.entries()) if (!rank.has(left + right)) rank.set(left + right, i);
  // Single characters are never joined; what no merge makes comes last.
  return Float32Array.from(tokens, (token) => -(rank.get(token) ?? ([...token].length === 1 ? 0 : merges.length)));
}

type Special = 'bos' | 'eos' | 'unknown' | 'padding';
const specialNames: Readonly<Record<Special, 'bos' | 'eos' | 'unk' | 'pad'>> = { bos: 'bos', eos: 'eos', unknown: 'unk', padding: 'pad' };

/** Numbers of the special tokens, by tokenizer_config.json, else by the model's configuration. */
function specialIds(
  parsed: Parsed,
  config: Readonly<Record<string, unknown>>,
  model: Readonly<Record<string, unknown>>,
): Record<Special, number | null> {
  const byContent = new Map([...parsed.vocab, ...parsed.added.map(({ content, id }): [string, number] => [content, id])]);
  const find = (special: Special): number | null => {
    const short = specialNames[special];
    const named: unknown = config[`${short}_token`];
    const content = isRecord(named) ? named.content : named;
    const id = typeof content === 'string' ? byContent.get(content) : undefined;
    if (id !== undefined) return id;
    const given: unknown = model[`${short}_token_id`];
    const first: unknown = Array.isArray(given) ? given[0] : given;
    return typeof first === 'number' && [...byContent.values()].includes(first) ? first : null;
  };
  return { bos: find('bos'), eos: find('eos'), unknown: find('unknown'), padding: find('padding') };
}

/** Whether texts are begun (ended) with the special token: as configured, else as the post-processor does. */
function addsToken({ json }: Parsed, config: Readonly<Record<string, unknown>>, end: 'bos' | 'eos', id: number | null): boolean {
  if (id === null) return false;
  const configured: unknown = config[`add_${end}_token`];
  if (typeof configured === 'boolean') return configured;
  const post = json.post_processor;
  const processors: readonly unknown[] = isRecord(post) && Array.isArray(post.processors) ? post.processors : [post];
  return processors.some((p) => {
    const single: readonly unknown[] = isRecord(p) && Array.isArray(p.single) ? p.single : [];
    const piece = end === 'bos' ? single[0] : single.at(-1);
    return isRecord(piece) && isRecord(piece.SpecialToken);
  });
}

/** The template, or the one called default among several. */
function templateOf(given: unknown): string | null {
  if (typeof given === 'string') return given;
  const several: readonly unknown[] = Array.isArray(given) ? given : [];
  for (const one of several) if (isRecord(one) && one.name === 'default' && typeof one.template === 'string') return one.template;
  return null;
}

/** What is read of a file's metadata. */
export interface Metadata {
  string(key: string): string | null;
  strings(key: string): readonly string[] | null;
  number(key: string): number | null;
  numbers(key: string): ArrayLike<number> | null;
  /** A whole number from 0 to 2^31. */
  count(key: string): number | null;
  bool(key: string): boolean | null;
}

/**
 * The files of the tokenizer in a GGUF: the tokenizer.json that it carries, else one that does the same.
 * @throws FormatError when the metadata lack tokens, contradict themselves, or are of a kind that isn't read here.
 */
export function tokenizerFromMetadata(metadata: Metadata, where: string): { json: unknown; config: Record<string, unknown> } {
  const tokens = metadata.strings('tokenizer.ggml.tokens');
  if (tokens === null)
    throw new FormatError(`${where}: the file has no tokenizer.ggml.tokens. Expected a language model with its tokenizer.`);
  const config = configOf(metadata, tokens);
  const whole = metadata.string('tokenizer.huggingface.json');
  if (whole !== null) {
    try {
      const json: unknown = JSON.parse(whole);
      return { json, config };
    } catch (error) {
      throw new FormatError(`${where}: tokenizer.huggingface.json is not JSON. The file is damaged.`, { cause: error });
    }
  }
  const types = metadata.numbers('tokenizer.ggml.token_type');
  if (types && types.length !== tokens.length)
    throw new FormatError(`${where}: tokens and their types differ in number. Expected ${tokens.length}, received ${types.length}.`);
  const kind = metadata.string('tokenizer.ggml.model');
  if (kind !== 'gpt2' && kind !== 'llama')
    throw new FormatError(`${where}: the tokenizer is of kind ${quote(kind)}. Expected gpt2 or llama.`);
  const added = tokens.flatMap((content, id) => {
    const type = types?.[id] ?? kinds.normal;
    if (type !== kinds.control && type !== kinds.user && type !== kinds.unknown) return [];
    return [{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: type !== kinds.user }];
  });
  const vocab = Object.fromEntries(tokens.flatMap((token, id) => (types?.[id] === kinds.unused ? [] : [[token, id]])));
  const parts = kind === 'gpt2' ? byteLevel(metadata, where) : sentencePiece(metadata, tokens, where);
  const model = { type: 'BPE', dropout: null, unk_token: null, fuse_unk: false, byte_fallback: false, ...parts.model, vocab };
  const bos = config.add_bos_token === true && typeof config.bos_token === 'string' ? config.bos_token : null;
  const post = bos === null ? parts.post : beginning(bos, metadata.count('tokenizer.ggml.bos_token_id') ?? 0);
  const { normalizer, pre_tokenizer, decoder } = parts;
  return {
    json: {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: added,
      normalizer,
      pre_tokenizer,
      post_processor: post,
      decoder,
      model,
    },
    config,
  };
}

function configOf(metadata: Metadata, tokens: readonly string[]): Record<string, unknown> {
  const config: Record<string, unknown> = {};
  for (const [name, short] of Object.entries(specialNames)) {
    const id = metadata.count(`tokenizer.ggml.${name}_token_id`);
    if (id !== null && id < tokens.length) config[`${short}_token`] = tokens[id];
  }
  for (const end of ['bos', 'eos']) {
    const adds = metadata.bool(`tokenizer.ggml.add_${end}_token`);
    // llama.cpp's own habit where the file doesn't say: SentencePiece's and Llama 3's texts are begun.
    const kind = metadata.string('tokenizer.ggml.model') === 'llama' || metadata.string('tokenizer.ggml.pre') === 'llama-bpe';
    config[`add_${end}_token`] = adds ?? (end === 'bos' && kind);
  }
  const template = metadata.string('tokenizer.chat_template');
  if (template !== null) config.chat_template = template;
  return config;
}

/** What differs between the kinds. */
interface Parts {
  readonly model: Readonly<Record<string, unknown>>;
  readonly normalizer: unknown;
  readonly pre_tokenizer: unknown;
  readonly decoder: unknown;
  readonly post: unknown;
}

function byteLevel(metadata: Metadata, where: string): Parts {
  const merges = metadata.strings('tokenizer.ggml.merges');
  if (merges === null) throw new FormatError(`${where}: the file has no tokenizer.ggml.merges. Expected them for byte-level BPE.`);
  const pre = metadata.string('tokenizer.ggml.pre');
  const splitting = splittings.find((s) => s.pre === pre);
  if (!splitting)
    throw new FormatError(`${where}: the tokenizer splits by ${quote(pre)}. Expected one of ${splittings.map((s) => s.pre).join(', ')}.`);
  const bytes = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false };
  const split = splitting.patterns.map((p) => ({ type: 'Split', pattern: { Regex: p }, behavior: 'Isolated', invert: false }));
  return {
    model: { ignore_merges: splitting.ignoreMerges, merges },
    normalizer: pre === 'qwen2' ? { type: 'NFC' } : null,
    pre_tokenizer: { type: 'Sequence', pretokenizers: [...split, bytes] },
    decoder: { ...bytes, add_prefix_space: true, use_regex: true },
    post: { ...bytes, add_prefix_space: true, trim_offsets: false, use_regex: true },
  };
}

function sentencePiece(metadata: Metadata, tokens: readonly string[], where: string): Parts {
  const merges = metadata.strings('tokenizer.ggml.merges') ?? mergesOf(metadata, tokens, where);
  const unknown = metadata.count('tokenizer.ggml.unknown_token_id') ?? 0;
  const replace = { type: 'Replace', pattern: { String: ' ' }, content: '▁' };
  const prefix = metadata.bool('tokenizer.ggml.add_space_prefix') ?? true;
  const back = [{ type: 'Replace', pattern: { String: '▁' }, content: ' ' }, { type: 'ByteFallback' }, { type: 'Fuse' }];
  return {
    model: { unk_token: tokens[unknown] ?? null, fuse_unk: true, byte_fallback: true, merges },
    normalizer: { type: 'Sequence', normalizers: prefix ? [{ type: 'Prepend', prepend: '▁' }, replace] : [replace] },
    pre_tokenizer: null,
    decoder: { type: 'Sequence', decoders: prefix ? [...back, { type: 'Strip', content: ' ', start: 1, stop: 0 }] : back },
    post: null,
  };
}

/** Merges for scores: every way to make a token of two others, the best token first (transformers' convert_slow_tokenizer.py). */
function mergesOf(metadata: Metadata, tokens: readonly string[], where: string): string[] {
  const scores = metadata.numbers('tokenizer.ggml.scores');
  if (scores === null || scores.length !== tokens.length)
    throw new FormatError(
      `${where}: the file has neither merges nor a score for every token. Expected tokenizer.ggml.scores of ${tokens.length}.`,
    );
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const found: { readonly score: number; readonly left: number; readonly right: number }[] = [];
  for (const [id, token] of tokens.entries()) {
    // Longer ones would take a square of their length, and no vocabulary has them.
    if (token.length > 256) continue;
    for (let cut = 1; cut < token.length; cut++) {
      const left = ids.get(token.slice(0, cut));
      const right = ids.get(token.slice(cut));
      if (left !== undefined && right !== undefined) found.push({ score: scores[id], left, right });
    }
  }
  found.sort((a, b) => b.score - a.score || a.left - b.left || a.right - b.right);
  return found.map(({ left, right }) => `${tokens[left]} ${tokens[right]}`);
}

/** Puts a token before every text. */
const beginning = (token: string, id: number): unknown => {
  const special = (type: number): unknown => ({ SpecialToken: { id: token, type_id: type } });
  const sequence = (name: string, type: number): unknown => ({ Sequence: { id: name, type_id: type } });
  return {
    type: 'TemplateProcessing',
    single: [special(0), sequence('A', 0)],
    pair: [special(0), sequence('A', 0), special(1), sequence('B', 1)],
    special_tokens: { [token]: { id: token, ids: [id], tokens: [token] } },
  };
};
