/**
 * @file A language model in a GGUF in Hugging Face's terms: config.json, tokenizer.json and tensors by their names there, read as they are
 * asked for. The way back of export.ts, for files by llama.cpp's converter too.
 */
import type { TypedArray } from '../base/dtype.js';
import { ConfigError, FormatError, quote } from '../base/errors.js';
import { size } from '../base/shape.js';
import type { GgufFile, GgufTensor, GgufValue } from '../io/gguf.js';
import { showValue } from '../io/gguf-values.js';
import type { Q8_0 } from '../io/quantized-blocks.js';
import type { TensorEntry } from '../io/tensor-files.js';
import {
  type Architecture,
  architectures,
  blocksFromGguf,
  changedShape,
  fromGguf as dataFromGguf,
  FREQUENCIES,
  llama3ScalingOf,
  refuseNames,
  type Sizes,
  type TensorName,
  tensorNames,
} from './gguf-tensors.js';
import { type Metadata, tokenizerFromMetadata } from './gguf-tokenizer.js';

/** A tensor of a GGUF under Hugging Face's name. */
export interface GgufSource extends TensorEntry {
  /** The blocks themselves of a q8_0 matrix, in Hugging Face's order; absent for other types, and for GPT-2's transposed ones. */
  readonly blocks?: () => Promise<Q8_0>;
}

/** A language model in a GGUF, in Hugging Face's terms. */
export interface GgufModel {
  readonly config: Record<string, unknown>;
  readonly tokenizer: { readonly json: unknown; readonly config: Record<string, unknown> };
  readonly tensors: readonly GgufSource[];
}

/**
 * The model in an open GGUF file; tensors are read when their data are asked for.
 * @param where names the file in errors.
 * @throws FormatError when it is of another architecture, or its metadata or names are not those of a whole model.
 */
export async function fromGguf(file: GgufFile, where = 'gguf'): Promise<GgufModel> {
  const metadata = reader(file.metadata, where);
  const name = metadata.string('general.architecture');
  const architecture = name === 'mistral' ? undefined : architectures.get(name);
  if (architecture === undefined)
    throw new FormatError(`${where}: the architecture ${quote(name)} is not read here. Expected llama, qwen2, qwen3 or gpt2.`);
  const table = new Map(file.tensors.map((t) => [t.name, t]));
  const sizes = sizesFrom(metadata, architecture, table, where);
  try {
    const tensors = sources(file, table, architecture, sizes, where);
    const tokenizer = tokenizerFromMetadata(metadata, where);
    return { config: await configFrom(architecture, sizes, metadata, file, table, where), tokenizer, tensors };
  } catch (error) {
    // What a caller's mistake would be on the way out is the file's on the way in.
    throw error instanceof ConfigError ? new FormatError(error.message, { cause: error }) : error;
  }
}

const isList = (value: unknown): value is Float32Array | Int32Array | Uint32Array =>
  value instanceof Float32Array || value instanceof Int32Array || value instanceof Uint32Array;

/** Metadata by key and expected type. Throws FormatError for a value of another type. */
function reader(metadata: ReadonlyMap<string, GgufValue>, where: string): Metadata {
  const get = <T>(key: string, expected: string, read: (value: GgufValue) => T | undefined): T | null => {
    const value = metadata.get(key);
    if (value === undefined) return null;
    const found = read(value);
    if (found === undefined)
      throw new FormatError(`${where}: metadata ${quote(key)} is malformed. Expected ${expected}, received ${showValue(value)}.`);
    return found;
  };
  return {
    string: (key) => get(key, 'a text', (v) => (v.type === 'string' ? v.value : undefined)),
    strings: (key) => get(key, 'a list of texts', (v) => (v.type === 'array' && v.of === 'string' ? v.value : undefined)),
    bool: (key) => get(key, 'a bool', (v) => (v.type === 'bool' ? v.value : undefined)),
    number: (key) => get(key, 'a number', (v) => (typeof v.value === 'number' && Number.isFinite(v.value) ? v.value : undefined)),
    numbers: (key) => get(key, 'a list of numbers', ({ value }) => (isList(value) ? value : undefined)),
    count: (key) =>
      get(key, 'a whole number from 0 to 2^31', ({ value }) => {
        const number = typeof value === 'bigint' ? Number(value) : value;
        return typeof number === 'number' && Number.isInteger(number) && number >= 0 && number < 2 ** 31 ? number : undefined;
      }),
  };
}

function sources(
  file: GgufFile,
  table: ReadonlyMap<string, GgufTensor>,
  architecture: Architecture,
  sizes: Sizes,
  where: string,
): GgufSource[] {
  const names = tensorNames(architecture, sizes);
  const known = new Set([...names.map((n) => n.gguf), FREQUENCIES]);
  const missing = names.filter((n) => !n.optional && !table.has(n.gguf)).map((n) => n.gguf);
  refuseNames(
    where,
    missing,
    [...table.keys()].filter((name) => !known.has(name)),
  );
  return names.flatMap((name) => {
    const tensor = table.get(name.gguf);
    return tensor ? [source(file, tensor, name, where)] : [];
  });
}

function source(file: GgufFile, { name, shape, type }: GgufTensor, { hf, change }: TensorName, where: string): GgufSource {
  const dtype = type === 'f16' || type === 'bf16' ? type : 'f32';
  const data = async (): Promise<TypedArray> => dataFromGguf((await file.read(name)).data, dtype, shape, change);
  const entry = { name: hf, dtype, shape: changedShape(shape, change, `${where}: tensor ${quote(name)}`), data } as const;
  if (type !== 'q8_0' || change === 'transpose') return entry;
  return { ...entry, blocks: async () => blocksFromGguf(await file.readQ8_0(name), shape, change) };
}

function sizesFrom(metadata: Metadata, architecture: Architecture, table: ReadonlyMap<string, GgufTensor>, where: string): Sizes {
  const key = (name: string): string => `${architecture}.${name}`;
  const number = (name: string, fallback?: number): number => {
    const value = metadata.count(key(name)) ?? fallback;
    if (value === undefined || value < 1)
      throw new FormatError(`${where}: ${key(name)} is missing or 0. Expected a whole number from 1 on.`);
    return value;
  };
  const [layers, hidden, heads] = [number('block_count'), number('embedding_length'), number('attention.head_count')];
  if (layers > table.size) throw new FormatError(`${where}: ${table.size} tensors are too few for ${layers} layers.`);
  const headDim = number('attention.key_length', hidden / heads);
  if (
    !Number.isInteger(headDim) ||
    number('attention.value_length', headDim) !== headDim ||
    number('rope.dimension_count', headDim) !== headDim
  )
    throw new FormatError(`${where}: heads of unequal keys, values and rotated parts are not read here. Expected one size for all.`);
  const epsilon = metadata.number(key(architecture === 'gpt2' ? 'attention.layer_norm_epsilon' : 'attention.layer_norm_rms_epsilon'));
  return {
    layers,
    heads,
    keyHeads: number('attention.head_count_kv', heads),
    headDim,
    hidden,
    feedForward: number('feed_forward_length'),
    context: number('context_length'),
    vocab: table.get('token_embd.weight')?.shape[0] ?? number('vocab_size'),
    epsilon: decimal(epsilon ?? 1e-5),
    tied: !table.has('output.weight'),
  };
}

/** The shortest decimal that is this f32: 1e-6 and not 9.999999974752427e-7. */
function decimal(x: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(x.toPrecision(digits));
    if (Math.fround(short) === Math.fround(x)) return short;
  }
  return x;
}

async function configFrom(
  architecture: Architecture,
  sizes: Sizes,
  metadata: Metadata,
  file: GgufFile,
  table: ReadonlyMap<string, GgufTensor>,
  where: string,
): Promise<Record<string, unknown>> {
  const id = (name: string): number | null => metadata.count(`tokenizer.ggml.${name}_token_id`);
  const ids = { bos_token_id: id('bos'), eos_token_id: id('eos'), pad_token_id: id('padding') };
  const shared = { model_type: architecture, vocab_size: sizes.vocab, tie_word_embeddings: sizes.tied, ...ids };
  if (architecture === 'gpt2')
    return {
      architectures: ['GPT2LMHeadModel'],
      ...shared,
      n_layer: sizes.layers,
      n_head: sizes.heads,
      n_embd: sizes.hidden,
      n_inner: sizes.feedForward,
      n_positions: sizes.context,
      n_ctx: sizes.context,
      layer_norm_epsilon: sizes.epsilon,
      activation_function: 'gelu_new',
    };
  const theta = decimal(metadata.number(`${architecture}.rope.freq_base`) ?? 10000);
  return {
    architectures: [{ llama: 'LlamaForCausalLM', qwen2: 'Qwen2ForCausalLM', qwen3: 'Qwen3ForCausalLM' }[architecture]],
    ...shared,
    num_hidden_layers: sizes.layers,
    num_attention_heads: sizes.heads,
    num_key_value_heads: sizes.keyHeads,
    head_dim: sizes.headDim,
    hidden_size: sizes.hidden,
    intermediate_size: sizes.feedForward,
    max_position_embeddings: sizes.context,
    rms_norm_eps: sizes.epsilon,
    rope_theta: theta,
    rope_scaling: await scalingFrom(architecture, sizes.headDim, theta, metadata, file, where),
    hidden_act: 'silu',
    attention_bias: architecture !== 'qwen2' && table.has('blk.0.attn_q.bias'),
    mlp_bias: table.has('blk.0.ffn_up.bias'),
  };
}

/** `rope_scaling`: none, linear by metadata, or Llama 3's by its tensor of factors. */
async function scalingFrom(
  architecture: Architecture,
  headDim: number,
  theta: number,
  metadata: Metadata,
  file: GgufFile,
  where: string,
): Promise<unknown> {
  const type = metadata.string(`${architecture}.rope.scaling.type`) ?? 'none';
  if (type !== 'none' && type !== 'linear')
    throw new FormatError(`${where}: RoPE scaled by ${quote(type)} is not read here. Expected none, linear, or Llama 3's factors.`);
  const factor = metadata.number(`${architecture}.rope.scaling.factor`);
  if (type === 'linear' && factor !== null) return { rope_type: 'linear', factor: decimal(factor) };
  const tensor = file.tensors.find((t) => t.name === FREQUENCIES);
  if (!tensor) return null;
  const scaling = size(tensor.shape) === headDim / 2 ? llama3ScalingOf((await file.read(FREQUENCIES)).data, theta) : null;
  if (scaling === null)
    throw new FormatError(`${where}: ${FREQUENCIES} holds factors of no scaling that is known here. Expected those of Llama 3.`);
  return scaling;
}
