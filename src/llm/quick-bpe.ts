/**
 * @file Makes the library's BPE quicker without changing what comes out: merges by number instead of by text (bpe-merger.ts), and, in
 * byte-level vocabularies, words whose tokens are known are never written in the byte alphabet at all.
 */
import { decodeUtf8, encodeUtf8, isRecord } from '../io/bytes.js';
import { BpeMerger } from './bpe-merger.js';
import { charsOfBytes } from './byte-alphabet.js';
import { type LibraryTokenizer, library } from './library.js';
import type { TokenizerFile } from './tokenizer-file.js';

/** Words whose tokens are remembered, of up to so many characters. */
const CACHE_SIZE = 100_000;
const CACHED_LENGTH = 64;

/** The library's tokenizer of a checked file. */
export function quickTokenizer({ files, bpe, tokens, ids }: TokenizerFile): LibraryTokenizer {
  const { tokenizer, config } = files;
  if (!bpe) return new library.Tokenizer(tokenizer, config);
  const made = new library.Tokenizer({ ...tokenizer, model: { ...tokenizer.model, merges: [] } }, config);
  const merger = new BpeMerger(tokens, ids, bpe.merges, bpe.suffix);
  made.model.bpe = (word) => merger.split(word);
  const split = wordsBeforeBytes(tokenizer.pre_tokenizer);
  if (!split) return made;
  const encode = made.model.encode?.bind(made.model);
  if (!encode) return made;
  const cache = new Map<string, readonly string[]>();
  made.pre_tokenizer = split;
  made.model.encode = (words) => {
    const found: string[] = [];
    for (const word of words) {
      let parts = cache.get(word);
      if (!parts) {
        const bytes = encodeUtf8(word);
        parts = encode([charsOfBytes(bytes)]);
        if (word.length <= CACHED_LENGTH) {
          if (cache.size >= CACHE_SIZE) cache.clear();
          // A copy: a word cut out of a text would keep all of the text in memory.
          cache.set(decodeUtf8(bytes), parts);
        }
      }
      for (const part of parts) found.push(part);
    }
    return found;
  };
  return made;
}

type Split = (text: string) => readonly string[];

/** The words of a pre_tokenizer that splits by patterns and then writes bytes, before it writes bytes; null: it does something else. */
function wordsBeforeBytes(part: unknown): Split | null {
  const parts = flat(part);
  const last = parts.pop();
  if (last?.type !== 'ByteLevel' || last.use_regex !== false || last.add_prefix_space !== false) return null;
  if (!parts.every((p) => p.type === 'Split')) return null;
  const splits = parts.map(splitOf);
  if (splits.length === 1) return splits[0];
  return (text) => splits.reduce<readonly string[]>((words, split) => words.flatMap(split), [text]);
}

const flat = (part: unknown): Record<string, unknown>[] => {
  if (!isRecord(part)) return [];
  return Array.isArray(part.pretokenizers) ? part.pretokenizers.flatMap(flat) : [part];
};

/** As the library's Split, which walks over the matches one by one. */
export function splitOf(part: object): Split {
  const split = new library.SplitPreTokenizer(part);
  return (text) => {
    const words: readonly string[] = text.match(split.pattern) ?? [];
    let length = 0;
    for (const word of words) length += word.length;
    return length === text.length && !words.includes('') ? words : split.pre_tokenize_text(text);
  };
}
