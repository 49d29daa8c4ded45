/**
 * @file The parts of a tokenizer.json that change text before and after the model: normalizer, pre_tokenizer, post_processor, decoder.
 * Each is checked, and rewritten into others where @huggingface/tokenizers does something else than Hugging Face's own library (modes of
 * Split, Punctuation, Digits, Metaspace). Whatever could take long or grow without end on the file's behalf is named as a risk.
 */
import { FormatError, quote } from '../base/errors.js';
import type { FileValue } from './file-value.js';
import { isKnownPattern, splitPatterns } from './split-patterns.js';

/** A part as the library gets it. */
export interface Part {
  readonly json: object | null;
  /** Why this part may not run in the calling thread; none: it may. */
  readonly risks: readonly string[];
  /** How many times longer its output may be than its input. */
  readonly growth: number;
}
type Reader = (at: FileValue) => Part;

/** A text in a file that is longer than this is no separator but an attack. */
const MAX_TEXT = 64;
/** Compiling a pattern takes time too. */
const MAX_PATTERN = 20_000;
const MAX_PARTS = 64;
/** More than this in a row of replacements is a bomb. */
const MAX_GROWTH = 32;

const harmless = (json: object, growth = 1): Part => ({ json, risks: [], growth });
const typeOf = (at: FileValue): string => at.at('type').text();
const simple: Reader = (at) => harmless({ type: typeOf(at) });

function short(at: FileValue, otherwise: string): string {
  const text = at.optionalText() ?? otherwise;
  return text.length <= MAX_TEXT ? text : at.refuse(`at most ${MAX_TEXT} characters`);
}

/** Parts by type, and lists of parts in a Sequence under `key`. */
function reader(what: string, types: Readonly<Record<string, Reader>>, key: string): Reader {
  const read: Reader = (at) => {
    if (at.isMissing) return { json: null, risks: [], growth: 1 };
    const type = typeOf(at);
    if (type === 'Sequence') {
      const list = at.at(key).list();
      if (list.length > MAX_PARTS) at.at(key).refuse(`at most ${MAX_PARTS} parts`);
      const parts = list.map((x) => read(x));
      const growth = parts.reduce((product, p) => product * p.growth, 1);
      return { json: { type, [key]: parts.map((p) => p.json) }, risks: parts.flatMap((p) => p.risks), growth };
    }
    if (!Object.hasOwn(types, type))
      throw new FormatError(
        `${at.place}: a ${what} of type ${quote(type)} is not supported. Expected one of ${Object.keys(types).join(', ')}, Sequence.`,
      );
    return types[type](at);
  };
  return read;
}

interface Pattern {
  /** As the library reads it. */
  readonly json: { readonly String: string } | { readonly Regex: string };
  readonly regex: string;
  /** Runs of what doesn't match. */
  readonly others: string;
  readonly risks: readonly string[];
  /** No match is shorter, as far as we know. */
  readonly length: number;
}

/** `{ "String": … }` or `{ "Regex": … }`. */
function patternOf(at: FileValue): Pattern {
  if (Object.hasOwn(at.record(), 'String')) {
    const text = at.at('String').text();
    if (text === '' || text.length > MAX_TEXT) at.at('String').refuse(`1 to ${MAX_TEXT} characters`);
    const regex = text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
    const code = text.codePointAt(0) ?? 0;
    const isOne = text.length === String.fromCodePoint(code).length;
    const others = isOne ? `[^\\u{${code.toString(16)}}]+` : othersThan(regex);
    return { json: { String: text }, regex, others, risks: [], length: text.length };
  }
  const place = at.at('Regex');
  const regex = place.text();
  if (regex.length > MAX_PATTERN) place.refuse(`at most ${MAX_PATTERN} characters`);
  // The library drops \G, which makes another pattern of it.
  if (/(?:^|[^\\])(?:\\\\)*\\G/.test(regex)) place.refuse(String.raw`a pattern without \G, which is not supported`);
  const risks = isKnownPattern(regex) ? [] : [`the pattern ${quote(regex)}`];
  return { json: { Regex: regex }, regex, others: othersThan(regex), risks, length: 1 };
}
const othersThan = (regex: string): string => `(?:(?!${regex})[\\s\\S])+`;

function replacement(at: FileValue): Part {
  const pattern = patternOf(at.at('pattern'));
  const content = short(at.at('content'), '');
  return {
    json: { type: 'Replace', pattern: pattern.json, content },
    risks: pattern.risks,
    growth: Math.max(1, content.length / pattern.length),
  };
}

const readNormalizer = reader(
  'normalizer',
  {
    BertNormalizer: (at) =>
      harmless({
        type: 'BertNormalizer',
        clean_text: at.at('clean_text').flag(true),
        handle_chinese_chars: at.at('handle_chinese_chars').flag(true),
        strip_accents: at.at('strip_accents').isMissing ? null : at.at('strip_accents').flag(true),
        lowercase: at.at('lowercase').flag(true),
      }),
    Lowercase: simple,
    NFC: simple,
    NFD: simple,
    NFKC: simple,
    NFKD: simple,
    Precompiled: simple,
    Prepend: (at) => harmless({ type: 'Prepend', prepend: short(at.at('prepend'), '') }),
    Replace: replacement,
    Strip: (at) => harmless({ type: 'Strip', strip_left: at.at('strip_left').flag(true), strip_right: at.at('strip_right').flag(true) }),
    StripAccents: simple,
  },
  'normalizers',
);

const splitModes = ['Isolated', 'Removed', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'] as const;

/** A Split in the library's two modes: Isolated, and nothing but the matches. */
function splitBy({ regex, others, risks }: Pick<Pattern, 'regex' | 'others' | 'risks'>, mode: string): Part {
  const pieces: Readonly<Record<string, string>> = {
    Isolated: regex,
    Removed: others,
    Contiguous: `(?:${regex})+|${others}`,
    MergedWithPrevious: `(?:${others})?(?:${regex})|${others}`,
    MergedWithNext: `(?:${regex})(?:${others})?|${others}`,
  };
  const invert = mode === 'Removed';
  return { json: { type: 'Split', pattern: { Regex: pieces[mode] }, behavior: invert ? 'Removed' : 'Isolated', invert }, risks, growth: 1 };
}
/** By a pattern of ours. */
const splitOurs = (regex: string, mode: string, others = othersThan(regex)): Part => splitBy({ regex, others, risks: [] }, mode);
/** Nothing but the matches of a pattern of ours. */
const matchesOf = (regex: string): Part => splitBy({ regex: '', others: regex, risks: [] }, 'Removed');
const inOrder = (...parts: readonly Part[]): Part => ({
  json: { type: 'Sequence', pretokenizers: parts.map((p) => p.json) },
  risks: parts.flatMap((p) => p.risks),
  growth: parts.reduce((product, p) => product * p.growth, 1),
});

function splitPart(at: FileValue): Part {
  const pattern = patternOf(at.at('pattern'));
  const mode = at.at('behavior').isMissing ? 'Isolated' : at.at('behavior').oneOf(splitModes);
  if (mode === 'Isolated') return splitBy(pattern, mode);
  // Made into another pattern, a known one is known no more.
  const risks = Object.hasOwn(pattern.json, 'String') ? [] : [`the pattern ${quote(pattern.regex)} (${mode})`];
  if (!at.at('invert').flag(false)) return splitBy({ ...pattern, risks }, mode);
  if (mode !== 'Removed') at.at('invert').refuse(`false with the behavior ${mode}`);
  return splitBy({ regex: '', others: pattern.regex, risks: pattern.risks }, 'Removed');
}

const letters = String.raw`\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}`;
const marks = String.raw`\p{P}\x21-\x2F\x3A-\x40\x5B-\x60\x7B-\x7E`;

function byteLevel(at: FileValue): Part {
  const prefix = at.at('add_prefix_space').flag(false);
  const usesRegex = at.at('use_regex').flag(true);
  const bytes = (use_regex: boolean): Part => harmless({ type: 'ByteLevel', add_prefix_space: prefix, trim_offsets: true, use_regex });
  // The library's own pattern has JavaScript's idea of white space.
  return usesRegex && !prefix ? inOrder(splitOurs(splitPatterns.gpt2, 'Isolated'), bytes(false)) : bytes(usesRegex);
}

function metaspace(at: FileValue): Part {
  const replacement = short(at.at('replacement'), '▁');
  if (replacement.length !== 1) at.at('replacement').refuse('one character');
  const scheme = at.at('prepend_scheme');
  const prepend_scheme = scheme.isMissing
    ? at.at('add_prefix_space').flag(true)
      ? 'always'
      : 'never'
    : scheme.oneOf(['always', 'first', 'never']);
  const marked = harmless({ type: 'Metaspace', replacement, prepend_scheme });
  if (!at.at('split').flag(true)) return marked;
  const code = `\\u{${replacement.charCodeAt(0).toString(16)}}`;
  return inOrder(marked, splitOurs(code, 'MergedWithNext', `[^${code}]+`));
}

const readPreTokenizer = reader(
  'pre_tokenizer',
  {
    BertPreTokenizer: simple,
    ByteLevel: byteLevel,
    Digits: (at) => splitOurs(String.raw`\p{N}`, at.at('individual_digits').flag(false) ? 'Isolated' : 'Contiguous', String.raw`\P{N}+`),
    FixedLength: (at) => harmless({ type: 'FixedLength', length: at.at('length').whole(1, 2 ** 31 - 1) }),
    Metaspace: metaspace,
    Punctuation: (at) =>
      splitOurs(`[${marks}]`, at.at('behavior').isMissing ? 'Isolated' : at.at('behavior').oneOf(splitModes), `[^${marks}]+`),
    Replace: replacement,
    Split: splitPart,
    // Words as Rust has them.
    Whitespace: () => matchesOf(`[${letters}]+|[^${letters}\\s]+`),
    WhitespaceSplit: () => matchesOf(String.raw`\S+`),
  },
  'pretokenizers',
);

/** Pieces of a template; each may stand for the text once. */
const MAX_PIECES = 64;
type HasToken = (token: string) => boolean;

function tokenIn(at: FileValue, has: HasToken): string {
  const token = at.text();
  return has(token) ? token : at.refuse('a token of the vocabulary');
}

/** A TemplateProcessing: special tokens by their own texts. */
function template(at: FileValue, has: HasToken): Part {
  const tokens = at.at('special_tokens');
  const single = at
    .at('single')
    .list()
    .flatMap((item): object[] => {
      if (!Object.hasOwn(item.record(), 'SpecialToken'))
        return [{ Sequence: { id: item.at('Sequence').at('id').oneOf(['A']), type_id: 0 } }];
      const name = item.at('SpecialToken').at('id');
      const entry = tokens.isMissing ? tokens : tokens.at(name.text());
      const texts = entry.isMissing
        ? [tokenIn(name, has)]
        : entry
            .at('tokens')
            .list()
            .map((x) => tokenIn(x, has));
      return texts.map((id) => ({ SpecialToken: { id, type_id: 0 } }));
    });
  const growth = single.filter((item) => 'Sequence' in item).length;
  if (single.length > MAX_PIECES || growth > 1) at.at('single').refuse(`at most ${MAX_PIECES} pieces, and the text once`);
  return harmless({ type: 'TemplateProcessing', single, pair: single });
}

function bert(at: FileValue, has: HasToken): Part {
  const token = (key: string): unknown => [tokenIn(at.at(key).list()[0] ?? at.at(key).refuse('a token and its id'), has), 0];
  return harmless({ type: typeOf(at), sep: token('sep'), cls: token('cls') });
}

const readPostProcessor = (has: HasToken): Reader =>
  reader(
    'post_processor',
    {
      ByteLevel: simple,
      BertProcessing: (at) => bert(at, has),
      RobertaProcessing: (at) => bert(at, has),
      TemplateProcessing: (at) => template(at, has),
    },
    'processors',
  );

const readDecoder = reader(
  'decoder',
  {
    ByteLevel: simple,
    ByteFallback: simple,
    Fuse: simple,
    BPEDecoder: (at) => harmless({ type: 'BPEDecoder', suffix: short(at.at('suffix'), '</w>') }),
    CTC: (at) =>
      harmless({
        type: 'CTC',
        pad_token: short(at.at('pad_token'), '<pad>'),
        word_delimiter_token: short(at.at('word_delimiter_token'), '|'),
        cleanup: at.at('cleanup').flag(true),
      }),
    Metaspace: (at) => harmless({ type: 'Metaspace', replacement: short(at.at('replacement'), '▁'), isPrefixed: isPrefixed(at) }),
    Replace: replacement,
    Strip: (at) =>
      harmless({
        type: 'Strip',
        content: short(at.at('content'), ' '),
        start: at.at('start').isMissing ? 0 : at.at('start').whole(0, 1000),
        stop: at.at('stop').isMissing ? 0 : at.at('stop').whole(0, 1000),
      }),
    WordPiece: (at) => harmless({ type: 'WordPiece', prefix: short(at.at('prefix'), '##'), cleanup: at.at('cleanup').flag(true) }),
  },
  'decoders',
);
/** Whether a space before the text is the tokenizer's own. */
const isPrefixed = (at: FileValue): boolean =>
  at.at('prepend_scheme').isMissing ? at.at('add_prefix_space').flag(true) : at.at('prepend_scheme').text() !== 'never';

export interface TokenizerParts {
  readonly normalizer: object | null;
  readonly pre_tokenizer: object | null;
  readonly post_processor: object | null;
  readonly decoder: object | null;
  readonly risks: readonly string[];
}

/** Reads the four parts of a tokenizer.json. Throws FormatError for what is malformed or unknown. */
export function readParts(file: FileValue, has: HasToken): TokenizerParts {
  const normalizer = readNormalizer(file.at('normalizer'));
  const preTokenizer = readPreTokenizer(file.at('pre_tokenizer'));
  const postProcessor = readPostProcessor(has)(file.at('post_processor'));
  const decoder = readDecoder(file.at('decoder'));
  const risks = [normalizer, preTokenizer, postProcessor, decoder].flatMap((p) => p.risks);
  if (normalizer.growth * preTokenizer.growth > MAX_GROWTH || decoder.growth > MAX_GROWTH)
    risks.push('replacements that make a text many times longer');
  return {
    normalizer: normalizer.json,
    pre_tokenizer: preTokenizer.json,
    post_processor: postProcessor.json,
    decoder: decoder.json,
    risks,
  };
}
