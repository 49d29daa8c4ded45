/**
 * @file GPT-2 (Radford et al. 2019) from config.json: learned positions, layer norms with biases, one projection for query, key and value.
 * `bias: false` leaves the biases of projections out, as nanoGPT does. Weights are named as transformers'.
 */
import { z } from 'zod';
import { Dense, Embedding, type Layer, LayerNormalization, Linear } from '../layers/index.js';
import { RandomNormal } from '../layers/initializers.js';
import type { Tensor } from '../tensor/index.js';
import { attend, Block, CausalLM, type LanguageModelConfig, type LanguageModelOptions, type Sequence, through } from './causal-lm.js';
import { activationOf, checkHeads, count, optional, parseConfig, positive } from './config.js';

const schema = z.object({
  model_type: z.literal('gpt2'),
  vocab_size: count,
  n_positions: optional(count, 1024),
  n_embd: count,
  n_layer: count.max(10_000),
  n_head: count,
  n_inner: count.nullish(),
  activation_function: optional(z.string(), 'gelu_new'),
  layer_norm_epsilon: optional(positive, 1e-5),
  initializer_range: optional(positive, 0.02),
  tie_word_embeddings: optional(z.boolean(), true),
  bias: optional(z.boolean(), true),
});

export interface Gpt2Config extends LanguageModelConfig {
  readonly innerSize: number;
  readonly activation: (x: Tensor) => Tensor;
  readonly epsilon: number;
  readonly useBias: boolean;
}

/** Throws FormatError for a config that isn't GPT-2's. */
export function gpt2Config(json: unknown, who = 'gpt2'): Gpt2Config {
  const c = parseConfig(schema, json, who);
  const config = {
    modelType: c.model_type,
    vocabSize: c.vocab_size,
    hiddenSize: c.n_embd,
    innerSize: c.n_inner ?? 4 * c.n_embd,
    layers: c.n_layer,
    heads: c.n_head,
    keyValueHeads: c.n_head,
    headDim: c.n_embd / c.n_head,
    maxPositions: c.n_positions,
    tieEmbeddings: c.tie_word_embeddings,
    initializerRange: c.initializer_range,
    activation: activationOf(c.activation_function, who),
    epsilon: c.layer_norm_epsilon,
    useBias: c.bias,
  };
  checkHeads(who, config);
  return config;
}

class Gpt2Block extends Block {
  static override className = 'Gpt2Block';
  readonly norm1: LayerNormalization;
  readonly qkv: Layer;
  readonly out: Layer;
  readonly norm2: LayerNormalization;
  readonly inner: Layer;
  readonly outer: Layer;
  readonly #config: Gpt2Config;

  constructor(config: Gpt2Config, name: string, dtype: LanguageModelOptions['weightDtype']) {
    super({ name });
    this.#config = config;
    const { hiddenSize, innerSize, useBias, initializerRange, layers, epsilon } = config;
    // What is added to the stream by so many layers starts smaller (section 2.3 of the paper).
    const dense = (path: string, units: number, stddev = initializerRange): Dense =>
      new Dense({ name: `${name}/${path}`, units, useBias, dtype, kernelInitializer: new RandomNormal({ stddev }) });
    const residual = initializerRange / Math.sqrt(2 * layers);
    this.norm1 = new LayerNormalization({ name: `${name}/ln_1`, epsilon });
    this.qkv = dense('attn/c_attn', 3 * hiddenSize);
    this.out = dense('attn/c_proj', hiddenSize, residual);
    this.norm2 = new LayerNormalization({ name: `${name}/ln_2`, epsilon });
    this.inner = dense('mlp/c_fc', innerSize);
    this.outer = dense('mlp/c_proj', hiddenSize, residual);
  }

  override forward(x: Tensor, sequence: Sequence, index: number): Tensor {
    const { heads, headDim, hiddenSize, activation } = this.#config;
    const [b, t] = x.shape;
    const qkv = through(this.qkv, through(this.norm1, x));
    const part = (i: number): Tensor => qkv.slice([0, 0, i * hiddenSize], [b, t, hiddenSize]).reshape([b, t, heads, headDim]);
    const attended = x.add(through(this.out, attend(part(0), part(1), part(2), sequence, index, null)));
    return attended.add(through(this.outer, activation(through(this.inner, through(this.norm2, attended)))));
  }
}

/** GPT-2 with random weights as the paper draws them. Throws FormatError for other configs. */
export class Gpt2 extends CausalLM {
  static override className = 'Gpt2';
  readonly config: Gpt2Config;
  readonly source: Readonly<Record<string, unknown>>;
  readonly embeddings: Embedding;
  readonly positions: Embedding;
  readonly blocks: readonly Gpt2Block[];
  readonly norm: LayerNormalization;
  /** Null where the output matrix is the table of tokens. */
  readonly lmHead: Linear | null;

  constructor(json: Readonly<Record<string, unknown>>, options: LanguageModelOptions = {}) {
    super(options);
    this.source = json;
    this.config = gpt2Config(json);
    const { vocabSize, hiddenSize, maxPositions, layers, epsilon, tieEmbeddings, initializerRange } = this.config;
    const dtype = options.weightDtype;
    const table = (name: string, inputDim: number): Embedding =>
      new Embedding({
        name,
        inputDim,
        outputDim: hiddenSize,
        dtype,
        embeddingsInitializer: new RandomNormal({ stddev: initializerRange }),
      });
    this.embeddings = table('transformer/wte', vocabSize);
    this.positions = table('transformer/wpe', maxPositions);
    this.blocks = Array.from({ length: layers }, (_, i) => new Gpt2Block(this.config, `transformer/h/${i}`, dtype));
    this.norm = new LayerNormalization({ name: 'transformer/ln_f', epsilon });
    this.lmHead = tieEmbeddings
      ? null
      : new Linear({
          name: 'lm_head',
          units: vocabSize,
          useBias: false,
          dtype,
          kernelInitializer: new RandomNormal({ stddev: initializerRange }),
        });
  }
  protected override embed(ids: Tensor, sequence: Sequence): Tensor {
    return through(this.embeddings, ids).add(through(this.positions, sequence.positions));
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
