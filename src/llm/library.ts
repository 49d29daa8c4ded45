/**
 * @file What is used of @huggingface/tokenizers, with types: its own declarations name files without their endings, so that Node's resolution
 * finds nothing behind them.
 */
import * as untyped from '@huggingface/tokenizers';

export interface LibraryTokenizer {
  encode(text: string, options: { readonly add_special_tokens: boolean }): { readonly ids: readonly number[] };
  decode(
    ids: readonly number[],
    options: { readonly skip_special_tokens: boolean; readonly clean_up_tokenization_spaces: boolean },
  ): string;
  /** The words of a part of a text without added tokens. */
  pre_tokenizer: ((text: string) => readonly string[]) | null;
  readonly model: {
    /** The tokens of words. */
    encode?: (words: readonly string[]) => string[];
    /** Of a BPE model: those of a word. */
    bpe?: (word: string) => string[];
  };
}
export interface LibrarySplit {
  /** As JavaScript has it. */
  readonly pattern: RegExp;
  /** Matches, and what is between them. */
  pre_tokenize_text(text: string): string[];
}
export interface LibraryModule {
  readonly SplitPreTokenizer: new (part: object) => LibrarySplit;
  readonly Tokenizer: new (tokenizerJson: object, tokenizerConfig: object) => LibraryTokenizer;
}

const partly: Partial<LibraryModule> = untyped;
export const library = partly as LibraryModule;
