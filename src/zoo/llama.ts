/**
 * @file The Llama family: Llama 2 and 3, SmolLM2, Mistral (sliding window), Qwen2 (biases), Qwen3 (query and key norms), from config.json
 * alone. Pre-norm blocks of grouped-query attention with rotary positions and SwiGLU (Touvron et al. 2023), weights named as transformers'.
 */
import { z } from 'zod';
import { FormatError } from '../base/errors.js';
import { Embedding, type Layer, Linear, RMSNormalization } from '../layers/index.js';
import { RandomNormal } from '../layers/initializers.js';
import { fromHost, rotaryEmbedding, type Tensor } from '../tensor/index.js';
import { attend, Block, CausalLM, type LanguageModelConfig, type LanguageModelOptions, type Sequence, through } from './causal-lm.js';
import { activationOf, checkHeads, count, optional, parseConfig, positive } from './config.js';
import { ropeFrequencies, ropeScaling } from './rope.js';

const schema = z.object({
  model_type: z.enum(['llama', 'mistral', 'qwen2', 'qwen3']),
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: count.max(10_000),
  num_attention_heads: count,
  num_key_value_heads: count.nullish(),
  head_dim: count.nullish(),
  max_position_embeddings: optional(count, 2048),
  hidden_act: optional(z.string(), 'silu'),
  rms_norm_eps: optional(positive, 1e-6),
  rope_theta: positive.nullish(),
  rope_scaling: ropeScaling.nullish(),
  rope_parameters: ropeScaling.nullish(),
  attention_bias: optional(z.boolean(), false),
  mlp_bias: optional(z.boolean(), false),
  tie_word_embeddings: optional(z.boolean(), false),
  sliding_window: z.number().int().positive().nullish(),
  use_sliding_window: z.boolean().nullish(),
  max_window_layers: z.number().int().min(0).nullish(),
  layer_types: z.array(z.enum(['full_attention', 'sliding_attention'])).nullish(),
  initializer_range: optional(positive, 0.02),
});

export interface LlamaConfig extends LanguageModelConfig {
  readonly intermediateSize: number;
  readonly activation: (x: Tensor) => Tensor;
  readonly epsilon: number;
  /** Angle a position of each pair of a head's features. */
  readonly frequencies: Float32Array;
  readonly attentionBias: { readonly qkv: boolean; readonly out: boolean };
  readonly mlpBias: boolean;
  readonly hasHeadNorms: boolean;
  /** Of each layer: how many keys a query sees at most, null for all. */
  readonly windows: readonly (number | null)[];
}

/** Throws FormatError for a config that isn't one of the family. */
export function llamaConfig(json: unknown, who = 'llama'): LlamaConfig {
  const c = parseConfig(schema, json, who);
  const isQwen = c.model_type === 'qwen2' || c.model_type === 'qwen3';
  const heads = c.num_attention_heads;
  const headDim = c.head_dim ?? (c.model_type === 'qwen3' ? 128 : c.hidden_size / heads);
  const rope = c.rope_parameters ?? c.rope_scaling ?? null;
  const theta = c.rope_theta ?? rope?.rope_theta ?? 10_000;
  const kinds = c.layer_types;
  if (kinds && kinds.length !== c.num_hidden_layers)
    throw new FormatError(`${who}: layer_types has ${kinds.length} entries. Expected num_hidden_layers, ${c.num_hidden_layers}.`);
  const slides = (layer: number): boolean => {
    if (kinds) return kinds[layer] === 'sliding_attention';
    if (isQwen) return c.use_sliding_window === true && layer >= (c.max_window_layers ?? 28);
    return c.model_type === 'mistral';
  };
  const config = {
    modelType: c.model_type,
    vocabSize: c.vocab_size,
    hiddenSize: c.hidden_size,
    intermediateSize: c.intermediate_size,
    layers: c.num_hidden_layers,
    heads,
    keyValueHeads: c.num_key_value_heads ?? heads,
    headDim,
    maxPositions: c.max_position_embeddings,
    tieEmbeddings: c.tie_word_embeddings,
    initializerRange: c.initializer_range,
    activation: activationOf(c.hidden_act, who),
    epsilon: c.rms_norm_eps,
    attentionBias: { qkv: c.attention_bias || c.model_type === 'qwen2', out: c.attention_bias && !(c.model_type === 'qwen2') },
    mlpBias: c.mlp_bias,
    hasHeadNorms: c.model_type === 'qwen3',
    windows: Array.from({ length: c.num_hidden_layers }, (_, i) => (slides(i) ? (c.sliding_window ?? null) : null)),
  };
  checkHeads(who, config);
  return { ...config, frequencies: ropeFrequencies(headDim, theta, rope, who) };
}

class LlamaBlock extends Block {
  static override className = 'LlamaBlock';
  readonly inputNorm: RMSNormalization;
  readonly q: Layer;
  readonly k: Layer;
  readonly v: Layer;
  readonly o: Layer;
  readonly qNorm: RMSNormalization | null;
  readonly kNorm: RMSNormalization | null;
  readonly postNorm: RMSNormalization;
  readonly gate: Layer;
  readonly up: Layer;
  readonly down: Layer;
  readonly #config: LlamaConfig;

  constructor(config: LlamaConfig, name: string, dtype: LanguageModelOptions['weightDtype']) {
    super({ name });
    this.#config = config;
    const { heads, keyValueHeads, headDim, attentionBias, mlpBias } = config;
    const linear = (path: string, units: number, useBias: boolean): Linear =>
      new Linear({
        name: `${name}/${path}`,
        units,
        useBias,
        dtype,
        kernelInitializer: new RandomNormal({ stddev: config.initializerRange }),
      });
    const norm = (path: string): RMSNormalization => new RMSNormalization({ name: `${name}/${path}`, epsilon: config.epsilon });
    this.inputNorm = norm('input_layernorm');
    this.q = linear('self_attn/q_proj', heads * headDim, attentionBias.qkv);
    this.k = linear('self_attn/k_proj', keyValueHeads * headDim, attentionBias.qkv);
    this.v = linear('self_attn/v_proj', keyValueHeads * headDim, attentionBias.qkv);
    this.o = linear('self_attn/o_proj', config.hiddenSize, attentionBias.out);
    this.qNorm = config.hasHeadNorms ? norm('self_attn/q_norm') : null;
    this.kNorm = config.hasHeadNorms ? norm('self_attn/k_norm') : null;
    this.postNorm = norm('post_attention_layernorm');
    this.gate = linear('mlp/gate_proj', config.intermediateSize, mlpBias);
    this.up = linear('mlp/up_proj', config.intermediateSize, mlpBias);
    this.down = linear('mlp/down_proj', config.hiddenSize, mlpBias);
  }

  override forward(x: Tensor, sequence: Sequence, index: number): Tensor {
    const { headDim, frequencies, windows, activation } = this.#config;
    const [b, t] = x.shape;
    const angles = sequence.positions
      .cast('f32')
      .reshape([b, t, 1])
      .mul(fromHost(frequencies, [headDim / 2]));
    const heads = (y: Tensor, norm: RMSNormalization | null): Tensor => {
      const split = y.reshape([b, t, -1, headDim]);
      return norm ? through(norm, split) : split;
    };
    const h = through(this.inputNorm, x);
    const q = rotaryEmbedding(heads(through(this.q, h), this.qNorm), angles);
    const k = rotaryEmbedding(heads(through(this.k, h), this.kNorm), angles);
    const v = heads(through(this.v, h), null);
    const attended = x.add(through(this.o, attend(q, k, v, sequence, index, windows[index])));
    const g = through(this.postNorm, attended);
    return attended.add(through(this.down, activation(through(this.gate, g)).mul(through(this.up, g))));
  }
}

/** A model of the family with random weights: normal with the config's initializer_range. Throws FormatError for other configs. */
export class Llama extends CausalLM {
  static override className = 'Llama';
  readonly config: LlamaConfig;
  readonly source: Readonly<Record<string, unknown>>;
  readonly embeddings: Embedding;
  readonly blocks: readonly LlamaBlock[];
  readonly norm: RMSNormalization;
  /** Null where the output matrix is the table of tokens. */
  readonly lmHead: Linear | null;

  constructor(json: Readonly<Record<string, unknown>>, options: LanguageModelOptions = {}) {
    super(options);
    this.source = json;
    this.config = llamaConfig(json);
    const { vocabSize, hiddenSize, layers, epsilon, tieEmbeddings, initializerRange } = this.config;
    const dtype = options.weightDtype;
    const initializer = (): RandomNormal => new RandomNormal({ stddev: initializerRange });
    this.embeddings = new Embedding({
      name: 'model/embed_tokens',
      inputDim: vocabSize,
      outputDim: hiddenSize,
      dtype,
      embeddingsInitializer: initializer(),
    });
    this.blocks = Array.from({ length: layers }, (_, i) => new LlamaBlock(this.config, `model/layers/${i}`, dtype));
    this.norm = new RMSNormalization({ name: 'model/norm', epsilon });
    this.lmHead = tieEmbeddings
      ? null
      : new Linear({ name: 'lm_head', units: vocabSize, useBias: false, dtype, kernelInitializer: initializer() });
  }
  protected override embed(ids: Tensor): Tensor {
    return through(this.embeddings, ids);
  }
  protected override normalize(x: Tensor): Tensor {
    const h = through(this.norm, x);
    this.lmHead?.ensureBuilt([h.shape], false);
    return h;
  }
  override get head(): Tensor {
    return (this.lmHead?.kernel ?? this.embeddings.embeddings).read();
  }
}
