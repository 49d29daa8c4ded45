/** @file Small language models of every architecture in Hugging Face's terms, and tokenizers of both kinds, made here. */
import type { TypedArray } from '../../src/base/dtype.js';
import { size } from '../../src/base/shape.js';
import type { TensorEntry } from '../../src/io/tensor-files.js';

export type Config = Readonly<Record<string, unknown>>;
export type ModelType = 'llama' | 'mistral' | 'qwen2' | 'qwen3' | 'gpt2';
export const modelTypes: readonly ModelType[] = ['llama', 'mistral', 'qwen2', 'qwen3', 'gpt2'];
export const VOCAB = 300;

const rotary = {
  hidden_size: 64,
  intermediate_size: 96,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 128,
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
  hidden_act: 'silu',
  vocab_size: VOCAB,
  bos_token_id: 0,
  eos_token_id: 0,
};

/** config.json of a model of this type, with tied embeddings. */
export const configOf = (type: ModelType): Config => ({
  model_type: type,
  tie_word_embeddings: true,
  ...(type === 'gpt2'
    ? { n_embd: 64, n_layer: 2, n_head: 4, n_positions: 128, layer_norm_epsilon: 1e-5, activation_function: 'gelu_new', vocab_size: VOCAB }
    : rotary),
  ...(type === 'qwen3' ? { head_dim: 32 } : {}),
  ...(type === 'mistral' ? { sliding_window: 48 } : {}),
});

/** Names and shapes of the weights, as Hugging Face's files have them. */
export function shapesOf(type: ModelType, { biases = type === 'qwen2', tied = true } = {}): Map<string, readonly number[]> {
  const shapes = new Map<string, readonly number[]>();
  const both = (name: string, shape: readonly number[], bias: number): void => {
    shapes.set(`${name}.weight`, shape);
    shapes.set(`${name}.bias`, [bias]);
  };
  if (type === 'gpt2') {
    shapes.set('transformer.wte.weight', [VOCAB, 64]);
    shapes.set('transformer.wpe.weight', [128, 64]);
    for (let i = 0; i < 2; i++) {
      const p = `transformer.h.${i}.`;
      for (const norm of ['ln_1', 'ln_2']) both(p + norm, [64], 64);
      both(`${p}attn.c_attn`, [64, 192], 192);
      both(`${p}attn.c_proj`, [64, 64], 64);
      both(`${p}mlp.c_fc`, [64, 256], 256);
      both(`${p}mlp.c_proj`, [256, 64], 64);
    }
    both('transformer.ln_f', [64], 64);
    return shapes;
  }
  const head = type === 'qwen3' ? 32 : 16;
  shapes.set('model.embed_tokens.weight', [VOCAB, 64]);
  for (let i = 0; i < 2; i++) {
    const p = `model.layers.${i}.`;
    shapes.set(`${p}input_layernorm.weight`, [64]);
    shapes.set(`${p}post_attention_layernorm.weight`, [64]);
    for (const [name, out] of [['q_proj', 4 * head] as const, ['k_proj', 2 * head] as const, ['v_proj', 2 * head] as const]) {
      shapes.set(`${p}self_attn.${name}.weight`, [out, 64]);
      if (biases) shapes.set(`${p}self_attn.${name}.bias`, [out]);
    }
    shapes.set(`${p}self_attn.o_proj.weight`, [64, 4 * head]);
    if (type === 'qwen3') for (const name of ['q_norm', 'k_norm']) shapes.set(`${p}self_attn.${name}.weight`, [head]);
    for (const name of ['gate_proj', 'up_proj']) shapes.set(`${p}mlp.${name}.weight`, [96, 64]);
    shapes.set(`${p}mlp.down_proj.weight`, [64, 96]);
  }
  shapes.set('model.norm.weight', [64]);
  if (!tied) shapes.set('lm_head.weight', [VOCAB, 64]);
  return shapes;
}

/** Tensors of these shapes with values that bf16 holds exactly. */
export function tensorsOf(shapes: ReadonlyMap<string, readonly number[]>): TensorEntry[] {
  let seed = 1;
  return [...shapes].map(([name, shape]) => {
    const values: TypedArray = Float32Array.from({ length: size(shape) }, () => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return ((seed >>> 16) % 256) / 256 - 0.5;
    });
    return { name, dtype: 'f32', shape, data: () => values };
  });
}

const words = (numbers: string): string =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${numbers}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
const split = (pattern: string): unknown => ({ type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false });
const bytes = (useRegex: boolean): unknown => ({ type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: useRegex });
const sequence = (...pretokenizers: unknown[]): unknown => ({ type: 'Sequence', pretokenizers });
/** Pre-tokenizers as published models have them, by llama.cpp's names. */
export const preTokenizers: Readonly<Record<string, { readonly pre: unknown; readonly ignoreMerges: boolean }>> = {
  'llama-bpe': { pre: sequence(split(words('\\p{N}{1,3}')), bytes(false)), ignoreMerges: true },
  'smaug-bpe': { pre: sequence(split(words('\\p{N}{1,3}')), bytes(false)), ignoreMerges: false },
  qwen2: { pre: sequence(split(words('\\p{N}')), bytes(false)), ignoreMerges: false },
  'gpt-2': { pre: bytes(true), ignoreMerges: false },
  smollm: { pre: sequence({ type: 'Digits', individual_digits: true }, bytes(true)), ignoreMerges: false },
};

export type TokenizerJson = Record<string, unknown> & { model: Record<string, unknown>; added_tokens: unknown[] };
const added = (id: number, content: string, special = true): unknown => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special,
});

/** GPT-2's letters for bytes. */
function byteLetters(): string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, b) => {
    const isShown = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    return String.fromCodePoint(isShown ? b : next++);
  });
}

/** A byte-level tokenizer of 267 tokens that splits as `name` says. */
export function byteLevelTokenizer(name = 'llama-bpe'): TokenizerJson {
  const { pre, ignoreMerges } = preTokenizers[name];
  const merges = ['t h', 'th e', 'Ġ a', 'Ġ the', 'i n', 'Ġ th', 'Ġa n', 'Ġan d', '1 2'];
  const tokens = ['<|end|>', ...byteLetters(), ...new Set(merges.map((m) => m.replace(' ', ''))), '<tool>'];
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [added(0, '<|end|>'), added(tokens.length - 1, '<tool>', false)],
    normalizer: name === 'qwen2' ? { type: 'NFC' } : null,
    pre_tokenizer: pre,
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: ignoreMerges,
      vocab: Object.fromEntries(tokens.slice(0, -1).map((token, i) => [token, i])),
      merges,
    },
  };
}

/** A tokenizer as SentencePiece's are converted, of fewer than 300 tokens, bytes among them. */
export function sentencePieceTokenizer(): TokenizerJson {
  const merges: [string, string][] = [
    ['▁', 't'],
    ['h', 'e'],
    ['▁t', 'he'],
    ['i', 'n'],
    ['▁', 'a'],
    ['▁', 'the'],
    ['a', 'n'],
  ];
  const letters = [...new Set('▁abcdefghijklmnopqrstuvw.')];
  const hex = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`);
  const tokens = [...new Set(['<unk>', '<s>', '</s>', ...hex, ...letters, 'the', ...merges.map((pair) => pair.join(''))])];
  const special = (type: number): unknown => ({ SpecialToken: { id: '<s>', type_id: type } });
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: ['<unk>', '<s>', '</s>'].map((content, id) => added(id, content)),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '▁' },
        { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      ],
    },
    pre_tokenizer: null,
    post_processor: {
      type: 'TemplateProcessing',
      single: [special(0), { Sequence: { id: 'A', type_id: 0 } }],
      pair: [special(0), { Sequence: { id: 'A', type_id: 0 } }, special(1), { Sequence: { id: 'B', type_id: 1 } }],
      special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } },
    },
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: '<unk>',
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, i) => [token, i])),
      merges,
    },
  };
}
export const sentencePieceConfig = { bos_token: { content: '<s>' }, eos_token: '</s>', unk_token: '<unk>', pad_token: null };
