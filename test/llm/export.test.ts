import { Tokenizer } from '@huggingface/tokenizers';
import { describe, expect, it } from 'vitest';
import { concatBytes } from '../../src/base/bytes.js';
import { ConfigError, FormatError } from '../../src/base/errors.js';
import { type GgufContent, type GgufFile, type GgufValue, ggufFile, ggufPieces } from '../../src/io/gguf.js';
import { bytesReader } from '../../src/io/source.js';
import type { TensorEntry } from '../../src/io/tensor-files.js';
import { characterTokenizer } from '../../src/llm/char-tokenizer.js';
import { ggufEntries } from '../../src/llm/export.js';
import { fromGguf, type GgufModel } from '../../src/llm/from-gguf.js';
import {
  byteLevelTokenizer,
  type Config,
  configOf,
  modelTypes,
  preTokenizers,
  sentencePieceConfig,
  sentencePieceTokenizer,
  shapesOf,
  type TokenizerJson,
  tensorsOf,
  VOCAB,
} from './small-models.js';

async function open(content: GgufContent): Promise<GgufFile> {
  const pieces: Uint8Array[] = [];
  for await (const piece of ggufPieces(content)) pieces.push(piece.slice());
  return ggufFile(bytesReader(concatBytes(pieces), 'm.gguf'));
}
const byteLevel = { json: byteLevelTokenizer(), config: { bos_token: '<|end|>', eos_token: '<|end|>' } };
const sentencePiece = { json: sentencePieceTokenizer(), config: sentencePieceConfig };
const llama = { config: configOf('llama'), tensors: tensorsOf(shapesOf('llama')) };
const exported = (json: TokenizerJson, config?: unknown): ReadonlyMap<string, GgufValue> =>
  ggufEntries(llama.config, { json, config }, llama.tensors, 'f32').metadata;
const value = (metadata: ReadonlyMap<string, GgufValue>, key: string): unknown => metadata.get(key)?.value;
const values = async (tensors: Iterable<TensorEntry>): Promise<Map<string, unknown>> => {
  const out = new Map<string, unknown>();
  for (const { name, dtype, shape, data } of tensors) out.set(name, { dtype, shape, data: await data() });
  return out;
};

it('characters are no tokens that llama.cpp reads: what to do instead', () => {
  const { json, config } = characterTokenizer('the ball');
  expect(() => exported(json as unknown as TokenizerJson, config)).toThrow(
    /neither byte-level nor SentencePiece's: its tokens are characters.*tenon pretrain's default is byte-level/,
  );
});

describe('there and back', () => {
  it.each(modelTypes)('%s: every tensor bit for bit, the configuration, the tokenizer', async (type) => {
    const tensors = tensorsOf(shapesOf(type));
    const config = configOf(type);
    const model = await fromGguf(await open(ggufEntries(config, byteLevel, tensors, 'f32')));
    expect(await values(model.tensors)).toEqual(await values(tensors));
    const { sliding_window: window, ...rest } = config;
    expect(model.config).toMatchObject(window === undefined ? rest : { ...rest, model_type: 'llama', max_position_embeddings: window });
    expect(model.tokenizer).toEqual({ json: byteLevel.json, config: { ...byteLevel.config, add_bos_token: false, add_eos_token: false } });
  });

  it('a Mistral’s window bounds the context, since llama.cpp knows none', () => {
    const { metadata } = ggufEntries(configOf('mistral'), byteLevel, tensorsOf(shapesOf('mistral')), 'f32');
    expect(value(metadata, 'llama.context_length')).toBe(48);
    const { metadata: whole } = ggufEntries(
      { ...configOf('mistral'), sliding_window: null },
      byteLevel,
      tensorsOf(shapesOf('mistral')),
      'f32',
    );
    expect(value(whole, 'llama.context_length')).toBe(128);
  });

  it('biases of a Llama, of which queries’ and keys’ move with their rows', async () => {
    const tensors = tensorsOf(shapesOf('llama', { biases: true, tied: false }));
    const config = { ...llama.config, tie_word_embeddings: false };
    const model = await fromGguf(await open(ggufEntries(config, byteLevel, tensors, 'f32')));
    expect(await values(model.tensors)).toEqual(await values(tensors));
    expect(model.config).toMatchObject({ attention_bias: true, mlp_bias: false, tie_word_embeddings: false });
  });

  it.each(['f16', 'bf16', 'q8_0'] as const)('matrices as %s, vectors as f32', async (type) => {
    const { metadata, tensors } = ggufEntries(llama.config, byteLevel, llama.tensors, type);
    expect(value(metadata, 'general.file_type')).toBe({ f16: 1, bf16: 32, q8_0: 7 }[type]);
    const file = await open({ metadata, tensors });
    expect(new Set(file.tensors.map((t) => `${t.shape.length} ${t.type}`))).toEqual(new Set([`2 ${type}`, '1 f32']));
    const model = await fromGguf(file);
    const k = model.tensors.find((t) => t.name === 'model.layers.1.self_attn.k_proj.weight');
    expect(k).toMatchObject({ dtype: type === 'q8_0' ? 'f32' : type, shape: [32, 64] });
    if (type !== 'q8_0') return expect(k?.blocks).toBeUndefined();
    const [blocks, data] = [await k?.blocks?.(), await k?.data()];
    const { dequantizeQ8_0 } = await import('../../src/io/quantized-blocks.js');
    expect(blocks && dequantizeQ8_0(blocks)).toEqual(data);
  });

  it('GPT-2’s positions stay f32; its own files leave a prefix out and hold masks', async () => {
    const plain = tensorsOf(shapesOf('gpt2'));
    const own = plain.map((t) => ({ ...t, name: t.name.replace('transformer.', '') }));
    const mask: TensorEntry = { name: 'h.0.attn.bias', dtype: 'f32', shape: [1, 1, 2, 2], data: () => new Float32Array(4) };
    const file = await open(ggufEntries(configOf('gpt2'), byteLevel, [...own, mask], 'q8_0'));
    expect(file.info('position_embd.weight').type).toBe('f32');
    expect(file.info('blk.0.attn_qkv.weight')).toMatchObject({ type: 'q8_0', shape: [192, 64] });
    expect((await fromGguf(file)).tensors.map((t) => t.name).sort()).toEqual(plain.map((t) => t.name).sort());
  });

  it('nanoGPT’s models without biases get zeros, which llama.cpp asks for', async () => {
    const tensors = tensorsOf(shapesOf('gpt2')).filter((t) => !/(attn|mlp)\.c_\w+\.bias$/.test(t.name));
    const written = await values(ggufEntries({ ...configOf('gpt2'), bias: false }, byteLevel, tensors, 'f32').tensors);
    expect(written.get('blk.1.attn_qkv.bias')).toEqual({ dtype: 'f32', shape: [192], data: new Float32Array(192) });
    expect(written.size).toBe(tensors.length + 8);
    expect(() => ggufEntries(configOf('gpt2'), byteLevel, tensors, 'f32')).toThrow('8 tensors are missing');
  });

  it('a tied matrix comes under either name and goes under the embeddings’', async () => {
    const [first, ...others] = llama.tensors;
    const files = await Promise.all(
      [
        [first, ...others],
        [...others, { ...first, name: 'lm_head.weight' }],
        [first, ...others, { ...first, name: 'lm_head.weight' }],
      ].map(async (tensors) => values(ggufEntries(llama.config, byteLevel, tensors, 'f32').tensors)),
    );
    expect(files[0].has('token_embd.weight') && !files[0].has('output.weight')).toBe(true);
    expect(files[1]).toEqual(files[0]);
    expect(files[2]).toEqual(files[0]);
  });
});

describe('what llama.cpp’s converter does to tensors', () => {
  it('query and key rows: reshape(heads, 2, half, …).swapaxes(1, 2), for llama alone', async () => {
    for (const type of ['llama', 'qwen2'] as const) {
      const tensors = tensorsOf(shapesOf(type));
      const written = await values(ggufEntries(configOf(type), byteLevel, tensors, 'f32').tensors);
      for (const [hf, gguf, heads] of [
        ['q_proj', 'attn_q', 4],
        ['k_proj', 'attn_k', 2],
        ['v_proj', 'attn_v', 0],
      ] as const) {
        const source = tensors.find((t) => t.name === `model.layers.0.self_attn.${hf}.weight`);
        const data = (await source?.data()) ?? new Float32Array();
        const expected = new Float32Array(data.length);
        const [rows, width] = source?.shape ?? [];
        const half = rows / heads / 2;
        for (let row = 0; row < rows; row++) {
          const [head, side, j] = [Math.floor(row / half / 2), Math.floor(row / half) % 2, row % half];
          const to = type === 'llama' && heads > 0 ? (head * half + j) * 2 + side : row;
          for (let i = 0; i < width; i++) expected[to * width + i] = data[row * width + i];
        }
        expect(written.get(`blk.0.${gguf}.weight`)).toMatchObject({ data: expected });
      }
    }
  });

  it('Llama 3’s scaling as factors of the frequencies', async () => {
    const scaling = { rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 };
    const config = { ...llama.config, rope_theta: 500000, rope_scaling: scaling };
    const { metadata, tensors } = ggufEntries(config, byteLevel, llama.tensors, 'q8_0');
    expect(tensors[0]).toMatchObject({ name: 'rope_freqs.weight', type: 'f32', shape: [8] });
    // By transformers' formula in Python: 500000 ** (-2i / 16), wavelengths against 2048 and 8192.
    expect([...(await tensors[0].data())].map((x) => Number(x.toFixed(4)))).toEqual([1, 1, 1, 1, 2.6945, 8, 8, 8]);
    expect((await fromGguf(await open({ metadata, tensors }))).config.rope_scaling).toEqual(scaling);
  });

  it('linear scaling as metadata; parameters where transformers 5 has them', async () => {
    const { rope_theta: _, ...rest } = llama.config;
    const config = { ...rest, rope_parameters: { rope_theta: 1000, rope_type: 'linear', factor: 2.5 } };
    const content = ggufEntries(config, byteLevel, llama.tensors, 'f32');
    expect(value(content.metadata, 'llama.rope.freq_base')).toBe(1000);
    expect(value(content.metadata, 'llama.rope.scaling.type')).toBe('linear');
    expect((await fromGguf(await open(content))).config).toMatchObject({
      rope_theta: 1000,
      rope_scaling: { rope_type: 'linear', factor: 2.5 },
    });
  });
});

describe('tokenizers', () => {
  it.each(Object.keys(preTokenizers))('byte-level BPE that splits as %s', (pre) => {
    const metadata = exported(byteLevelTokenizer(pre), byteLevel.config);
    expect(value(metadata, 'tokenizer.ggml.model')).toBe('gpt2');
    expect(value(metadata, 'tokenizer.ggml.pre')).toBe(pre);
    expect(value(metadata, 'tokenizer.ggml.bos_token_id')).toBe(0);
    expect(value(metadata, 'tokenizer.ggml.add_bos_token')).toBe(false);
    expect(metadata.has('tokenizer.ggml.scores')).toBe(false);
    const tokens = value(metadata, 'tokenizer.ggml.tokens');
    const types = value(metadata, 'tokenizer.ggml.token_type');
    if (!Array.isArray(tokens) || !(types instanceof Int32Array)) throw new Error('no tokens');
    expect([tokens.length, types.length]).toEqual([VOCAB, VOCAB]);
    expect(tokens.slice(263)).toEqual(['Ġan', 'Ġand', '12', '<tool>', ...Array.from({ length: VOCAB - 267 }, (_, i) => `[PAD${267 + i}]`)]);
    expect([...types]).toEqual([3, ...new Array(265).fill(1), 4, ...new Array(VOCAB - 267).fill(5)]);
    expect(value(metadata, 'tokenizer.ggml.merges')).toContain('Ġ the');
  });

  it('SentencePiece’s BPE: scores by rank, kinds of tokens, a space before', () => {
    const metadata = exported(sentencePiece.json, sentencePiece.config);
    expect(value(metadata, 'tokenizer.ggml.model')).toBe('llama');
    expect(value(metadata, 'tokenizer.ggml.add_space_prefix')).toBe(true);
    const { vocab } = sentencePiece.json.model as { vocab: Record<string, number> };
    const of = (key: string, token: string): unknown => (value(metadata, key) as ArrayLike<unknown>)[vocab[token]];
    expect(['<unk>', '<s>', '<0x0A>', '▁the'].map((t) => of('tokenizer.ggml.token_type', t))).toEqual([2, 3, 6, 1]);
    expect(['▁t', 'he', '▁the', 'in', 'an'].map((t) => of('tokenizer.ggml.scores', t))).toEqual([-0, -1, -2, -3, -6]);
    expect(of('tokenizer.ggml.scores', '</s>')).toBe(-7);
    expect(['bos', 'eos', 'unknown', 'padding'].map((t) => value(metadata, `tokenizer.ggml.${t}_token_id`))).toEqual([1, 2, 0, undefined]);
    expect(value(metadata, 'tokenizer.ggml.add_bos_token')).toBe(true);
    const json = {
      ...sentencePiece.json,
      normalizer: null,
      pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'never' },
    };
    expect(value(exported(json), 'tokenizer.ggml.add_space_prefix')).toBe(false);
  });

  it('templates, and numbers that only the configuration knows', () => {
    const named = [
      { name: 'tool_use', template: 'b' },
      { name: 'default', template: 'a' },
    ];
    expect(value(exported(byteLevel.json, { chat_template: 'x' }), 'tokenizer.chat_template')).toBe('x');
    expect(value(exported(byteLevel.json, { chat_template: named }), 'tokenizer.chat_template')).toBe('a');
    const files = { json: byteLevel.json, config: { chat_template: 'x' }, chatTemplate: 'mine' };
    const config = { ...llama.config, eos_token_id: [266, 0] };
    const { metadata } = ggufEntries(config, files, llama.tensors, 'f32', { name: 'tiny' });
    expect(value(metadata, 'tokenizer.chat_template')).toBe('mine');
    expect(value(metadata, 'tokenizer.ggml.eos_token_id')).toBe(266);
    expect(value(metadata, 'general.name')).toBe('tiny');
  });

  const texts = ["The 123 and the 4567's a1b\n\nc  d ", 'ein Häuschen 🙂 <tool> in<|end|>', 'the cat in a hat. than'];
  const encode = (model: GgufModel, text: string): number[] => {
    const tokenizer = new Tokenizer(model.tokenizer.json as object, model.tokenizer.config);
    return tokenizer.encode(text).ids;
  };
  it.each<[string, { json: TokenizerJson; config: object }]>([
    ...Object.keys(preTokenizers).map((pre): [string, typeof byteLevel] => [pre, { ...byteLevel, json: byteLevelTokenizer(pre) }]),
    ['SentencePiece', sentencePiece],
  ])('%s made anew from the metadata alone encodes the same', async (name, tokenizer) => {
    const { metadata, tensors } = ggufEntries(llama.config, tokenizer, llama.tensors, 'f32');
    const whole = await fromGguf(await open({ metadata, tensors }));
    metadata.delete('tokenizer.huggingface.json');
    for (const key of name === 'SentencePiece' ? ['', 'tokenizer.ggml.merges'] : ['']) {
      metadata.delete(key);
      const anew = await fromGguf(await open({ metadata, tensors }));
      expect(anew.tokenizer.json).not.toEqual(whole.tokenizer.json);
      for (const text of texts) expect(encode(anew, text)).toEqual(encode(whole, text));
    }
  });
});

describe('refuses to write', () => {
  const odd = (change: Partial<TokenizerJson>): TokenizerJson => ({ ...byteLevelTokenizer(), ...change });
  const nested = (depth: number): unknown => {
    let step: unknown = { type: 'NFC' };
    for (let i = 0; i < depth; i++) step = { type: 'Sequence', normalizers: [step] };
    return step;
  };
  const model = (change: object): TokenizerJson => odd({ model: { ...byteLevelTokenizer().model, ...change } });
  it.each<[string, TokenizerJson, string]>([
    ['another kind of tokenizer', model({ type: 'Unigram' }), 'is of type "Unigram". Expected BPE'],
    [
      'an unknown pattern',
      odd({ pre_tokenizer: { type: 'Split', pattern: { Regex: 'x' }, behavior: 'Isolated' } }),
      'has the step {"type":"Split"',
    ],
    [
      'an unknown pattern of bytes',
      odd({
        pre_tokenizer: {
          type: 'Sequence',
          pretokenizers: [{ type: 'Split', pattern: { Regex: 'x' }, behavior: 'Isolated' }, { type: 'ByteLevel' }],
        },
      }),
      'a pattern that llama.cpp knows under no name: ["x",',
    ],
    ['lower case', odd({ normalizer: { type: 'Lowercase' } }), 'normalizes by "Lowercase"'],
    ['a space before bytes', odd({ pre_tokenizer: { type: 'ByteLevel', add_prefix_space: true } }), 'puts a space before every text'],
    [
      'whole words first where llama.cpp merges',
      { ...byteLevelTokenizer('qwen2'), model: { ...byteLevelTokenizer('qwen2').model, ignore_merges: true } },
      'Set it so',
    ],
    ['a merge of three', model({ merges: ['a b c'] }), "a merge that llama.cpp can't hold"],
    [
      'numbers beyond the embeddings',
      odd({ added_tokens: [{ id: VOCAB, content: 'x', special: true }] }),
      `Expected fewer than the model's ${VOCAB}`,
    ],
    ['one number twice', odd({ added_tokens: [{ id: 5, content: 'x', special: true }] }), 'two tokens of number 5'],
    ['lists beyond the stack', odd({ padding: JSON.parse(`${'['.repeat(2e4)}${']'.repeat(2e4)}`) }), 'is nested too deeply'],
    ['steps beyond the stack', odd({ normalizer: nested(2e4) }), 'is nested too deeply'],
    ['a number that is none', odd({ added_tokens: [{ id: 1e9, content: 'x' }] }), 'gives "x" the number 1000000000'],
  ])('%s', (_, json, message) => {
    expect(() => exported(json)).toThrow(ConfigError);
    expect(() => exported(json)).toThrow(message);
  });

  it.each<[string, Config, string]>([
    ['another architecture', { model_type: 'bert' }, 'model_type "bert" is not written here. Expected one of llama, mistral'],
    ['another activation', { hidden_act: 'gelu' }, 'llama.cpp has no "gelu" as hidden_act here'],
    [
      'another scaling',
      { rope_scaling: { type: 'dynamic', factor: 2 } },
      'rope_scaling of type "dynamic". Expected default, linear or llama3',
    ],
    ['no size', { hidden_size: undefined }, "config.json's hidden_size is missing"],
    ['half a head', { num_attention_heads: 3 }, '3 attention heads share 2 key and value heads'],
    ['more layers than tensors', { num_hidden_layers: 9999 }, 'too few for 9999 layers'],
    ['missing layers', { num_hidden_layers: 3 }, '9 tensors are missing: "model.layers.2.input_layernorm.weight"'],
    ['fewer layers', { num_hidden_layers: 1 }, "9 tensors don't belong to this architecture"],
    ['other heads', { num_key_value_heads: 4 }, 'Expected [64, 64], received [32, 64]'],
    ['another vocabulary', { vocab_size: 299 }, 'Expected [299, 64], received [300, 64]'],
  ])('%s', (_, change, message) => {
    const write = (): unknown => ggufEntries({ ...llama.config, ...change }, byteLevel, llama.tensors, 'f32');
    // A malformed configuration is a file's fault.
    expect(write).toThrow(/config.json's|rope_scaling of|attention heads share/.test(message) ? FormatError : ConfigError);
    expect(write).toThrow(message);
  });

  it('Llama 3’s scaling of a Qwen, for which llama.cpp has no tensor', () => {
    const config = { ...configOf('qwen2'), rope_scaling: { rope_type: 'llama3', factor: 8 } };
    expect(() => ggufEntries(config, byteLevel, tensorsOf(shapesOf('qwen2')), 'f32')).toThrow(
      'RoPE scaled by "llama3" is not written for qwen2',
    );
  });

  it('options and types that there aren’t', () => {
    expect(() => ggufEntries(llama.config, byteLevel, llama.tensors, 'q4_0' as 'q8_0')).toThrow('type "q4_0" is not written here');
    expect(() => ggufEntries(llama.config, byteLevel, llama.tensors, 'f32', { title: 'x' } as object)).toThrow('no option "title"');
    expect(() => ggufEntries([], byteLevel, llama.tensors, 'f32')).toThrow('expected a parsed config.json');
  });
});

describe('refuses to read', () => {
  const u32 = (n: number): GgufValue => ({ type: 'u32', value: n });
  const text = (t: string): GgufValue => ({ type: 'string', value: t });
  it.each<[string, Readonly<Record<string, GgufValue | null>>, string]>([
    ['another architecture', { 'general.architecture': text('bert') }, 'the architecture "bert" is not read here'],
    ['no architecture', { 'general.architecture': null }, 'the architecture null is not read here'],
    ['a number as architecture', { 'general.architecture': u32(1) }, '"general.architecture" is malformed. Expected a text, received 1'],
    ['no number of layers', { 'llama.block_count': null }, 'llama.block_count is missing or 0'],
    ['too many layers', { 'llama.block_count': u32(4e9) }, '"llama.block_count" is malformed'],
    ['more layers than tensors', { 'llama.block_count': u32(1e6) }, 'too few for 1000000 layers'],
    ['missing layers', { 'llama.block_count': u32(3) }, '9 tensors are missing: "blk.2.attn_norm.weight"'],
    ['leftover layers', { 'llama.block_count': u32(1) }, "9 tensors don't belong"],
    ['heads that don’t fit', { 'llama.attention.head_count': u32(7), 'llama.attention.key_length': null }, 'heads of unequal keys'],
    ['heads of another number', { 'llama.attention.head_count': u32(3) }, 'Expected rows for 3 heads'],
    ['another scaling', { 'llama.rope.scaling.type': text('yarn') }, 'RoPE scaled by "yarn" is not read here'],
    ['no tokens', { 'tokenizer.ggml.tokens': null }, 'the file has no tokenizer.ggml.tokens'],
    ['a tokenizer that is no JSON', { 'tokenizer.huggingface.json': text('{') }, 'tokenizer.huggingface.json is not JSON'],
    ['another kind of tokenizer', { 'tokenizer.huggingface.json': null, 'tokenizer.ggml.model': text('bert') }, 'of kind "bert"'],
    ['another split', { 'tokenizer.huggingface.json': null, 'tokenizer.ggml.pre': text('viking') }, 'splits by "viking"'],
    ['no merges', { 'tokenizer.huggingface.json': null, 'tokenizer.ggml.merges': null }, 'the file has no tokenizer.ggml.merges'],
  ])('%s', async (_, changes, message) => {
    const { metadata, tensors } = ggufEntries(llama.config, byteLevel, llama.tensors, 'f32');
    for (const [key, change] of Object.entries(changes))
      if (change === null) metadata.delete(key);
      else metadata.set(key, change);
    const file = await open({ metadata, tensors });
    await expect(fromGguf(file, 'm.gguf')).rejects.toThrow(message);
    await expect(fromGguf(file, 'm.gguf')).rejects.toBeInstanceOf(FormatError);
  });
});
