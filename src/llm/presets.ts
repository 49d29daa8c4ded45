/**
 * @file One dial for a model to pretrain: from its depth follow width, heads, rows a step, learning rate and number of updates, each with its
 * reason (the idea is nanochat's `--depth`; the ratios are those of its recipe and of Hoffmann et al. 2022).
 */

/** A value that wasn't given, and why it is what it is. */
export interface Derived {
  readonly key: string;
  readonly value: number | string;
  readonly reason: string;
}
export interface Preset {
  readonly config: Readonly<Record<string, unknown>>;
  readonly learningRate: number;
  readonly rows: number;
  readonly steps: number;
  readonly derived: readonly Derived[];
}

/**
 * What `depth` layers ask for, with a vocabulary and rows of `context` tokens. What is given isn't derived, and what else is follows it; steps are
 * updates, each of `gradientAccumulation` times so many rows.
 */
export function presetOf(
  depth: number,
  vocabSize: number,
  context: number,
  given: { rows?: number; learningRate?: number; steps?: number; gradientAccumulation?: number } = {},
): Preset {
  const derived: Derived[] = [];
  const derive = <T extends number | string>(key: string, value: T, reason: string): T => {
    derived.push({ key, value, reason });
    return value;
  };
  const width = derive('hidden_size', 64 * depth, '64 a layer: the aspect ratio that stays near the optimum over sizes');
  const heads = derive('num_attention_heads', Math.max(1, Math.round(width / 64)), 'heads of 64 features');
  const inner = derive(
    'intermediate_size',
    Math.ceil((8 * width) / 3 / 64) * 64,
    '8/3 of the width, as three matrices of SwiGLU cost what two of 4 would',
  );
  const config = {
    model_type: 'llama',
    architectures: ['LlamaForCausalLM'],
    vocab_size: vocabSize,
    hidden_size: width,
    intermediate_size: inner,
    num_hidden_layers: depth,
    num_attention_heads: heads,
    num_key_value_heads: heads,
    max_position_embeddings: context,
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    hidden_act: 'silu',
    tie_word_embeddings: true,
  };
  const parameters = depth * (4 * width * width + 3 * width * inner) + vocabSize * width;
  const rows = given.rows ?? derive('batchSize', Math.max(4, Math.round(4096 / context)), 'about 4,096 tokens a step');
  const learningRate =
    given.learningRate ??
    derive(
      'learningRate',
      Number((1e-3 * Math.min(1, Math.sqrt(768 / width) / 1.5)).toPrecision(2)),
      'falls with the square root of the width (0.00067 at 768), at most 0.001',
    );
  const steps =
    given.steps ??
    derive(
      'steps',
      Math.max(1, Math.ceil((20 * parameters) / (rows * context * (given.gradientAccumulation ?? 1)))),
      `20 tokens for each of ${parameters.toLocaleString('en-US')} weights`,
    );
  return { config, learningRate, rows, steps, derived };
}
