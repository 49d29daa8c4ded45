/**
 * @file trainTokenizer: a byte-level BPE vocabulary from texts, in the form and with the merges of Hugging Face's tokenizers. Words are counted
 * first, split as the tokenizer will split them; then merges are learned from the counts (bpe-trainer.ts). Deterministic.
 */
import { ConfigError, quote } from '../base/errors.js';
import { checkOptionNames } from '../base/option-names.js';
import { turn } from '../base/turn.js';
import { BpeTrainer } from './bpe-trainer.js';
import { byteToChar } from './byte-alphabet.js';
import { splitPatterns } from './split-patterns.js';
import { Tokenizer, wellFormed } from './tokenizer.js';
import { WordCounts, wordSplitter } from './word-counts.js';

export interface TrainTokenizerOptions {
  /** Tokens in all: special ones, 256 bytes, and as many merges as there is room for. */
  readonly vocabSize: number;
  /** The first ids; default <|endoftext|>, <|im_start|>, <|im_end|>. */
  readonly specialTokens?: readonly string[];
  /** Which special tokens begin a document, end it and fill up rows; null: none; default: the first special token. */
  readonly bos?: string | null;
  readonly eos?: string | null;
  readonly pad?: string | null;
  /** A regular expression, as in tokenizer.json, that matches words; no token crosses their borders. Default: llama.cpp's llama-bpe. */
  readonly pattern?: string;
  /** A pair that occurs less often isn't merged; default 2. */
  readonly minFrequency?: number;
  /** A chat template for tokenizer_config.json. */
  readonly chatTemplate?: string;
  readonly signal?: AbortSignal;
  /** Called some times a second. */
  readonly onProgress?: (progress: TrainTokenizerProgress) => void;
}

export interface TrainTokenizerProgress {
  readonly phase: 'reading' | 'merging';
  readonly texts: number;
  /** Of the texts, in UTF-8. */
  readonly bytes: number;
  /** Different ones. */
  readonly words: number;
  /** Tokens so far, and in the end. */
  readonly tokens: number;
  readonly vocabSize: number;
}

export interface TrainedTokenizer {
  /** With the files' contents as `json` and `config`; `saveTokenizer` writes them. Smaller than asked for where no pair occurs often enough. */
  readonly tokenizer: Tokenizer;
  readonly texts: number;
  readonly bytes: number;
  readonly words: number;
  readonly merges: number;
}

const optionNames: { readonly [name in keyof TrainTokenizerOptions]-?: true } = {
  vocabSize: true,
  specialTokens: true,
  bos: true,
  eos: true,
  pad: true,
  pattern: true,
  minFrequency: true,
  chatTemplate: true,
  signal: true,
  onProgress: true,
};

/** Of a document, and of a conversation in ChatML. */
const usualTokens: readonly string[] = ['<|endoftext|>', '<|im_start|>', '<|im_end|>'];
/** Milliseconds between turns of the event loop. */
const turnEvery = 50;
/** Merges between looks at the clock. */
const mergesAtOnce = 16;

type Settings = Required<Pick<TrainTokenizerOptions, 'vocabSize' | 'specialTokens' | 'bos' | 'eos' | 'pad' | 'pattern' | 'minFrequency'>>;

function settingsOf(options: TrainTokenizerOptions): Settings {
  checkOptionNames(options, optionNames, 'trainTokenizer');
  const { vocabSize, specialTokens = usualTokens, pattern = splitPatterns['llama-bpe'], minFrequency = 2 } = options;
  const refuse = (what: string, expected: string, value: unknown): never => {
    throw new ConfigError(`trainTokenizer: ${what}. Expected ${expected}, received ${quote(value)}.`);
  };
  const wrong = specialTokens.find(
    (t, i) => typeof t !== 'string' || t.length < 2 || wellFormed(t) !== t || specialTokens.indexOf(t) !== i,
  );
  if (wrong !== undefined) refuse('a special token is malformed or there twice', 'different texts of two characters or more', wrong);
  const least = specialTokens.length + 256;
  if (!Number.isInteger(vocabSize) || vocabSize < least || vocabSize > 2 ** 22)
    refuse('vocabSize does not fit', `a whole number from ${least} (the bytes and special tokens) to ${2 ** 22}`, vocabSize);
  if (!Number.isInteger(minFrequency) || minFrequency < 1) refuse('minFrequency does not fit', 'a whole number ≥ 1', minFrequency);
  const role = (name: 'bos' | 'eos' | 'pad'): string | null => {
    const token = options[name] === undefined ? (specialTokens[0] ?? null) : options[name];
    return token === null || specialTokens.includes(token) ? token : refuse(`${name} is no special token`, specialTokens.join(', '), token);
  };
  return { vocabSize, specialTokens, bos: role('bos'), eos: role('eos'), pad: role('pad'), pattern, minFrequency };
}

/**
 * Learns a vocabulary from texts, which are read once.
 * @example
 * const { tokenizer } = await trainTokenizer(['low lower lowest', 'new newer newest'], { vocabSize: 300 });
 * console.log(tokenizer.decode(tokenizer.encode('lower')));
 * // → lower
 * @throws ConfigError for wrong options; the signal's reason when it is aborted.
 */
export async function trainTokenizer(
  texts: Iterable<string> | AsyncIterable<string>,
  options: TrainTokenizerOptions,
): Promise<TrainedTokenizer> {
  const settings = settingsOf(options);
  if (typeof texts === 'string')
    throw new ConfigError('trainTokenizer: expected a list or stream of texts, received one text. Write [text].');
  const { vocabSize, specialTokens } = settings;
  const tokens = [...specialTokens, ...[...byteToChar].sort()];
  const words = new WordCounts();
  const split = wordSplitter(settings.pattern);
  let count = 0;
  let bytes = 0;
  let last = performance.now();
  /** Lets others have their turn, when it is time. */
  const pause = async (phase: 'reading' | 'merging', isEnd = false): Promise<void> => {
    if (!isEnd && performance.now() - last < turnEvery) return;
    options.signal?.throwIfAborted();
    options.onProgress?.({ phase, texts: count, bytes, words: words.size, tokens: tokens.length, vocabSize });
    await turn();
    options.signal?.throwIfAborted();
    last = performance.now();
  };
  for await (const text of texts) {
    if (typeof text !== 'string')
      throw new ConfigError(`trainTokenizer: text ${count} is malformed. Expected a text, received ${quote(text)}.`);
    for (const word of split(wellFormed(text))) bytes += words.add(word);
    count++;
    await pause('reading');
  }
  await pause('reading', true);
  const ids = Int32Array.from(byteToChar, (char) => tokens.indexOf(char, specialTokens.length));
  const { symbols, starts, counts } = words.symbols(ids);
  const trainer = new BpeTrainer(tokens, symbols, starts, counts, settings.minFrequency);
  // A pair that comes back (see BpeTrainer) keeps its place.
  const merges = new Set<string>();
  for (let step = 1; tokens.length < vocabSize; step++) {
    const merge = trainer.next();
    if (!merge) break;
    merges.add(`${tokens[merge.left]} ${tokens[merge.right]}`);
    if (step % mergesAtOnce === 0) await pause('merging');
  }
  await pause('merging', true);
  const tokenizer = Tokenizer.fromJson(tokenizerJson(tokens, [...merges], settings), tokenizerConfig(settings, options.chatTemplate), {
    isTrusted: true,
  });
  return { tokenizer, texts: count, bytes, words: words.size, merges: merges.size };
}

/** A special token as both files have it. */
const special = (content: string): Record<string, unknown> => ({
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
});

function tokenizerJson(tokens: readonly string[], merges: readonly string[], { specialTokens, bos, pattern }: Settings): object {
  const byteLevel = (use_regex: boolean): object => ({ type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex });
  const sequence = (id: 'A' | 'B', type_id: number): object[] => [
    ...(bos === null ? [] : [{ SpecialToken: { id: bos, type_id } }]),
    { Sequence: { id, type_id } },
  ];
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: specialTokens.map((content, id) => ({ id, ...special(content) })),
    normalizer: null,
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [{ type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false }, byteLevel(false)],
    },
    post_processor:
      bos === null
        ? byteLevel(true)
        : {
            type: 'TemplateProcessing',
            single: sequence('A', 0),
            pair: [...sequence('A', 0), ...sequence('B', 1)],
            special_tokens: { [bos]: { id: bos, ids: [specialTokens.indexOf(bos)], tokens: [bos] } },
          },
    decoder: byteLevel(true),
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  };
}

function tokenizerConfig({ specialTokens, bos, eos, pad }: Settings, chatTemplate: string | undefined): object {
  return {
    add_bos_token: bos !== null,
    add_eos_token: false,
    added_tokens_decoder: Object.fromEntries(specialTokens.map((content, id) => [id, special(content)])),
    bos_token: bos,
    ...(chatTemplate === undefined ? {} : { chat_template: chatTemplate }),
    clean_up_tokenization_spaces: false,
    eos_token: eos,
    pad_token: pad,
    tokenizer_class: 'PreTrainedTokenizerFast',
    unk_token: null,
  };
}
