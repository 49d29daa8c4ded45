/** @file A tokenizer whose tokens are the characters of a text: tokenizer.json with a vocabulary and no merges. */

/** The files of a tokenizer of all characters (code points, in their order) of `text`, or of a collection of them; no special tokens. */
export function characterTokenizer(text: Iterable<string>): {
  readonly json: Record<string, unknown>;
  readonly config: Record<string, unknown>;
} {
  const characters = [...new Set(text)].sort((a, b) => (a.codePointAt(0) ?? 0) - (b.codePointAt(0) ?? 0));
  return {
    json: {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: null,
      post_processor: null,
      decoder: { type: 'Fuse' },
      model: {
        type: 'BPE',
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: false,
        vocab: Object.fromEntries(characters.map((c, i) => [c, i])),
        merges: [],
      },
    },
    config: { tokenizer_class: 'PreTrainedTokenizerFast', clean_up_tokenization_spaces: false },
  };
}
