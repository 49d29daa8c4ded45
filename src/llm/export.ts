/**
 * @file A language model as the GGUF that llama.cpp runs: configuration → `<architecture>.*` metadata, tokenizer → `tokenizer.*`,
 * tensors under their names there; from-gguf.ts is the way back. What is written for a model is what llama.cpp's own convert_hf_to_gguf.py writes.
 */
import { ConfigError, quote } from '../base/errors.js';
import { checkOptionNames } from '../base/option-names.js';
import { type Shape, sameShape, showShape } from '../base/shape.js';
import { isRecord } from '../io/bytes.js';
import { type GgufEntry, type GgufType, type GgufValue, ggufTypeFor } from '../io/gguf.js';
import type { TensorEntry } from '../io/tensor-files.js';
import { gpt2Config, type LanguageModelConfig, llamaConfig } from '../zoo/index.js';
import {
  type Architecture,
  architectures,
  changedShape,
  FREQUENCIES,
  frequencyFactors,
  type Geometry,
  refuseNames,
  type Sizes,
  type TensorName,
  tensorNames,
  toGguf,
  weightName,
} from './gguf-tensors.js';
import { type TokenizerFiles, tokenizerMetadata } from './gguf-tokenizer.js';

export type { TokenizerFiles } from './gguf-tokenizer.js';

const WHO = 'ggufEntries';
/** llama.cpp's llama_ftype. */
const fileTypes: Readonly<Record<GgufType, number>> = { f32: 0, f16: 1, q8_0: 7, bf16: 32 };

type Config = Readonly<Record<string, unknown>>;

function requireOneOf(config: Config, key: string, allowed: readonly unknown[]): void {
  const value = config[key] ?? allowed[0];
  if (!allowed.includes(value))
    throw new ConfigError(
      `${WHO}: llama.cpp has no ${quote(value)} as ${key} here. Expected ${allowed.map((x) => quote(x)).join(' or ')}.`,
    );
}

function sizesOf(config: Config, architecture: Architecture): Sizes {
  if (architecture === 'gpt2') {
    requireOneOf(config, 'activation_function', ['gelu_new', 'gelu_pytorch_tanh', 'gelu_fast']);
    requireOneOf(config, 'scale_attn_weights', [true]);
    requireOneOf(config, 'scale_attn_by_inverse_layer_idx', [false]);
    const c = gpt2Config(config, WHO);
    return { ...shared(c), context: c.maxPositions, feedForward: c.innerSize, epsilon: c.epsilon, tied: c.tieEmbeddings };
  }
  requireOneOf(config, 'hidden_act', ['silu', 'swish']);
  const c = llamaConfig(config, WHO);
  // llama.cpp knows no window for these: within one window's length, what it computes is the same.
  const context = c.windows.reduce<number>((n, window) => Math.min(n, window ?? n), c.maxPositions);
  return { ...shared(c), context, feedForward: c.intermediateSize, epsilon: c.epsilon, tied: c.tieEmbeddings };
}

const shared = (c: LanguageModelConfig): Geometry & Pick<Sizes, 'hidden' | 'vocab'> => ({
  layers: c.layers,
  heads: c.heads,
  keyHeads: c.keyValueHeads,
  headDim: c.headDim,
  hidden: c.hiddenSize,
  vocab: c.vocabSize,
});

/** RoPE's base and scaling where `llamaConfig` found them: `rope_parameters` is where transformers 5 has both. */
function ropeOf(config: Config): { theta: number; scaling: Config } {
  const scaling = [config.rope_parameters, config.rope_scaling].find(isRecord) ?? {};
  const theta = config.rope_theta ?? scaling.rope_theta;
  return { theta: typeof theta === 'number' ? theta : 10000, scaling };
}

export interface GgufExportOptions {
  /** `general.name`. */
  readonly name?: string;
}

/**
 * What `writeGguf` writes for a language model: Llama, Mistral, Qwen2, Qwen3 or GPT-2.
 * @param config the parsed config.json.
 * @param tensors under Hugging Face's names; their data are asked for when they are written. A matrix that is tied may come under either name.
 * @param type of the matrices; vectors stay f32, and rows that q8_0 can't hold become f16.
 * @throws FormatError for a malformed configuration; ConfigError for an architecture, a scaling of RoPE or a tokenizer that llama.cpp can't be
 * given, and for tensors that are missing, left over or of another shape than the configuration says.
 */
export function ggufEntries(
  config: unknown,
  tokenizer: TokenizerFiles,
  tensors: Iterable<TensorEntry>,
  type: GgufType,
  options: GgufExportOptions = {},
): { metadata: Map<string, GgufValue>; tensors: GgufEntry[] } {
  checkOptionNames(options, { name: true }, WHO);
  if (!isRecord(config)) throw new ConfigError(`${WHO}: expected a parsed config.json, received ${quote(config)}.`);
  if (!Object.hasOwn(fileTypes, type))
    throw new ConfigError(`${WHO}: type ${quote(type)} is not written here. Expected one of ${Object.keys(fileTypes).join(', ')}.`);
  const architecture = architectures.get(config.model_type);
  if (architecture === undefined)
    throw new ConfigError(
      `${WHO}: model_type ${quote(config.model_type)} is not written here. Expected one of ${[...architectures.keys()].join(', ')}.`,
    );
  const sizes = sizesOf(config, architecture);
  const entries = placeTensors(architecture, sizes, config, tensors, type);
  const metadata = new Map<string, GgufValue>([
    ['general.architecture', { type: 'string', value: architecture }],
    ['general.type', { type: 'string', value: 'model' }],
    ['general.name', { type: 'string', value: options.name ?? architecture }],
    ['general.file_type', { type: 'u32', value: fileTypes[type] }],
    ...(type === 'q8_0' ? [['general.quantization_version', { type: 'u32', value: 2 }] satisfies [string, GgufValue]] : []),
    ...modelMetadata(architecture, sizes, config, entries),
    ...tokenizerMetadata(tokenizer, sizes.vocab, config),
  ]);
  return { metadata, tensors: entries };
}

/** The `<architecture>.*` metadata; Llama 3's scaling is a tensor among `entries` instead. */
function modelMetadata(architecture: Architecture, sizes: Sizes, config: Config, entries: GgufEntry[]): [string, GgufValue][] {
  const out: [string, GgufValue][] = [];
  const u32 = (key: string, value: number): void => void out.push([`${architecture}.${key}`, { type: 'u32', value }]);
  const f32 = (key: string, value: number): void => void out.push([`${architecture}.${key}`, { type: 'f32', value }]);
  u32('vocab_size', sizes.vocab);
  u32('context_length', sizes.context);
  u32('embedding_length', sizes.hidden);
  u32('block_count', sizes.layers);
  u32('feed_forward_length', sizes.feedForward);
  u32('attention.head_count', sizes.heads);
  u32('attention.head_count_kv', sizes.keyHeads);
  if (architecture === 'gpt2') {
    f32('attention.layer_norm_epsilon', sizes.epsilon);
    return out;
  }
  f32('attention.layer_norm_rms_epsilon', sizes.epsilon);
  u32('attention.key_length', sizes.headDim);
  u32('attention.value_length', sizes.headDim);
  u32('rope.dimension_count', sizes.headDim);
  const { theta, scaling } = ropeOf(config);
  f32('rope.freq_base', theta);
  const type = scaling.rope_type ?? scaling.type ?? 'default';
  if (type === 'linear' && typeof scaling.factor === 'number') {
    out.push([`${architecture}.rope.scaling.type`, { type: 'string', value: 'linear' }]);
    f32('rope.scaling.factor', scaling.factor);
  } else if (type === 'llama3' && architecture === 'llama') {
    const factors = frequencyFactors(theta, llamaConfig(config, WHO).frequencies);
    entries.unshift({ name: FREQUENCIES, dtype: 'f32', type: 'f32', shape: [factors.length], data: () => factors });
  } else if (type !== 'default')
    throw new ConfigError(
      `${WHO}: RoPE scaled by ${quote(type)} is not written for ${architecture}. Expected default, linear, or llama3 for llama.`,
    );
  return out;
}

/** The tensors in the order of the file, under their names there. */
function placeTensors(
  architecture: Architecture,
  sizes: Sizes,
  config: Config,
  tensors: Iterable<TensorEntry>,
  type: GgufType,
): GgufEntry[] {
  const given = new Map<string, TensorEntry>();
  for (const tensor of tensors) {
    const name = weightName(architecture, tensor.name);
    if (name !== null) given.set(name, tensor);
  }
  if (sizes.layers > given.size)
    throw new ConfigError(`${WHO}: ${given.size} tensors are too few for ${sizes.layers} layers. Expected all of the model's.`);
  const names = tensorNames(architecture, sizes);
  tie(given, names, sizes.tied);
  if (architecture === 'gpt2' && config.bias === false) addBiases(given, sizes);
  const missing = names.filter((n) => !n.optional && !given.has(n.hf)).map((n) => n.hf);
  const known = new Set(names.map((n) => n.hf));
  refuseNames(
    WHO,
    missing,
    [...given.keys()].filter((name) => !known.has(name)),
  );
  return names.flatMap(({ hf, gguf, change }) => {
    const entry = given.get(hf);
    if (!entry) return [];
    const { dtype, shape } = entry;
    const who = `${WHO}: tensor ${quote(hf)}`;
    checkShape(who, gguf, shape, sizes);
    const data = async (): Promise<ReturnType<typeof toGguf>> => toGguf(await entry.data(), dtype, shape, change);
    const stored = changedShape(shape, change, who);
    // As llama.cpp's converter: positions are added to, not multiplied with.
    const as = gguf === 'position_embd.weight' ? 'f32' : ggufTypeFor(type, stored);
    return [{ name: gguf, dtype, shape: stored, type: as, data }];
  });
}

/** A tied matrix is written once, as the embeddings, whichever of its two names it came under. */
function tie(given: Map<string, TensorEntry>, names: readonly TensorName[], isTied: boolean): void {
  const [embeddings, head] = [names[0].hf, names[names.length - 1].hf];
  if (!isTied) return;
  const only = given.get(embeddings) ?? given.get(head);
  if (only) given.set(embeddings, only);
  given.delete(head);
}

/** Zeros for the biases that nanoGPT's models leave out: llama.cpp's GPT-2 has them always. */
function addBiases(given: Map<string, TensorEntry>, { layers, hidden, feedForward }: Sizes): void {
  const lengths = { 'attn.c_attn': 3 * hidden, 'attn.c_proj': hidden, 'mlp.c_fc': feedForward, 'mlp.c_proj': hidden };
  for (let i = 0; i < layers; i++)
    for (const [part, length] of Object.entries(lengths)) {
      const name = `transformer.h.${i}.${part}.bias`;
      if (!given.has(name)) given.set(name, { name, dtype: 'f32', shape: [length], data: () => new Float32Array(length) });
    }
}

/** What the configuration says of the tensors that llama.cpp would misread without a word. */
function checkShape(who: string, gguf: string, shape: Shape, { vocab, hidden, heads, keyHeads, headDim }: Sizes): void {
  const part = gguf.replace(/^blk\.\d+\./, '');
  const expected: Readonly<Record<string, Shape>> = {
    'token_embd.weight': [vocab, hidden],
    'output.weight': [vocab, hidden],
    'attn_q.weight': [heads * headDim, hidden],
    'attn_k.weight': [keyHeads * headDim, hidden],
    'attn_v.weight': [keyHeads * headDim, hidden],
  };
  if (Object.hasOwn(expected, part) && !sameShape(shape, expected[part]))
    throw new ConfigError(
      `${who} is of another model than the configuration. Expected ${showShape(expected[part])}, received ${showShape(shape)}.`,
    );
}
