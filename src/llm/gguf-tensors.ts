/**
 * @file A language model's tensors under Hugging Face's names and under llama.cpp's (its gguf-py/gguf/tensor_mapping.py), and what lies between
 * beside the names: llama.cpp's `llama` rotates neighbouring pairs of a head's values, so query and key rows change places; GPT-2's
 * matrices are stored [in, out] by Hugging Face and [out, in] there.
 */
import { allocate, type DType, type TypedArray } from '../base/dtype.js';
import { ConfigError, quote } from '../base/errors.js';
import { type Shape, showShape } from '../base/shape.js';
import { type Q8_0, Q8_0_BLOCK } from '../io/quantized-blocks.js';
import { type RopeScaling, ropeFrequencies } from '../zoo/rope.js';

export type Architecture = 'llama' | 'qwen2' | 'qwen3' | 'gpt2';

/** Hugging Face's model_type and llama.cpp's architecture. Mistral is a llama there. */
export const architectures: ReadonlyMap<unknown, Architecture> = new Map([
  ['llama', 'llama'],
  ['mistral', 'llama'],
  ['qwen2', 'qwen2'],
  ['qwen3', 'qwen3'],
  ['gpt2', 'gpt2'],
]);

/** llama.cpp's name of the tensor that scales Llama 3's rotations. */
export const FREQUENCIES = 'rope_freqs.weight';

/** What of a model's shape the tensors depend on. */
export interface Geometry {
  readonly layers: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly headDim: number;
}

/** All of a configuration's numbers, whatever the architecture calls them. */
export interface Sizes extends Geometry {
  readonly hidden: number;
  readonly feedForward: number;
  readonly context: number;
  readonly vocab: number;
  readonly epsilon: number;
  /** Whether the output matrix is that of the embeddings. */
  readonly tied: boolean;
}

/** How a tensor differs in the two: by nothing, the order of rows in each of so many heads, or by being transposed. */
export type Change = { readonly heads: number } | 'transpose' | null;

/** One tensor in both worlds. */
export interface TensorName {
  readonly hf: string;
  readonly gguf: string;
  readonly change: Change;
  /** Whether a model may lack it. */
  readonly optional: boolean;
}

interface Part {
  readonly hf: string;
  readonly gguf: string;
  readonly bias?: 'always' | 'maybe';
  readonly rows?: 'heads' | 'keyHeads';
  readonly transposed?: true;
}

const rotary = (qkvBias: 'always' | 'maybe'): readonly Part[] => [
  { hf: 'input_layernorm', gguf: 'attn_norm' },
  { hf: 'self_attn.q_proj', gguf: 'attn_q', bias: qkvBias, rows: 'heads' },
  { hf: 'self_attn.k_proj', gguf: 'attn_k', bias: qkvBias, rows: 'keyHeads' },
  { hf: 'self_attn.v_proj', gguf: 'attn_v', bias: qkvBias },
  { hf: 'self_attn.o_proj', gguf: 'attn_output', bias: 'maybe' },
  { hf: 'post_attention_layernorm', gguf: 'ffn_norm' },
  { hf: 'mlp.gate_proj', gguf: 'ffn_gate', bias: 'maybe' },
  { hf: 'mlp.up_proj', gguf: 'ffn_up', bias: 'maybe' },
  { hf: 'mlp.down_proj', gguf: 'ffn_down', bias: 'maybe' },
];
const parts: Readonly<Record<Architecture, readonly Part[]>> = {
  llama: rotary('maybe'),
  qwen2: rotary('always'),
  qwen3: [...rotary('maybe'), { hf: 'self_attn.q_norm', gguf: 'attn_q_norm' }, { hf: 'self_attn.k_norm', gguf: 'attn_k_norm' }],
  gpt2: [
    { hf: 'ln_1', gguf: 'attn_norm', bias: 'always' },
    { hf: 'attn.c_attn', gguf: 'attn_qkv', bias: 'always', transposed: true },
    { hf: 'attn.c_proj', gguf: 'attn_output', bias: 'always', transposed: true },
    { hf: 'ln_2', gguf: 'ffn_norm', bias: 'always' },
    { hf: 'mlp.c_fc', gguf: 'ffn_up', bias: 'always', transposed: true },
    { hf: 'mlp.c_proj', gguf: 'ffn_down', bias: 'always', transposed: true },
  ],
};
const whole = (hf: string, gguf: string, optional = false): TensorName => ({ hf, gguf, change: null, optional });

/** Every tensor that a model of this architecture and shape may have, in the order of a file. */
export function tensorNames(architecture: Architecture, geometry: Geometry): TensorName[] {
  const isGpt2 = architecture === 'gpt2';
  const names = isGpt2
    ? [whole('transformer.wte.weight', 'token_embd.weight'), whole('transformer.wpe.weight', 'position_embd.weight')]
    : [whole('model.embed_tokens.weight', 'token_embd.weight')];
  for (let i = 0; i < geometry.layers; i++)
    for (const { hf, gguf, bias, rows, transposed } of parts[architecture]) {
      // The other architectures rotate a head's first half with its second, as Hugging Face does.
      const heads = architecture === 'llama' && rows !== undefined ? { heads: geometry[rows] } : null;
      const [from, to] = [`${isGpt2 ? 'transformer.h' : 'model.layers'}.${i}.${hf}`, `blk.${i}.${gguf}`];
      names.push({ hf: `${from}.weight`, gguf: `${to}.weight`, change: transposed ? 'transpose' : heads, optional: false });
      if (bias) names.push({ hf: `${from}.bias`, gguf: `${to}.bias`, change: heads, optional: bias === 'maybe' });
    }
  const norm = isGpt2 ? 'transformer.ln_f' : 'model.norm';
  names.push(whole(`${norm}.weight`, 'output_norm.weight'));
  if (isGpt2) names.push(whole(`${norm}.bias`, 'output_norm.bias'));
  names.push(whole('lm_head.weight', 'output.weight', true));
  return names;
}

/** The name that a tensor of this architecture has here, or null for a buffer that is no weight. GPT-2's own files leave `transformer.` out. */
export function weightName(architecture: Architecture, name: string): string | null {
  if (/(^|\.)rotary_emb\.inv_freq$/.test(name)) return null;
  if (architecture !== 'gpt2') return name;
  if (/(^|\.)attn\.(masked_)?bias$/.test(name)) return null;
  return /^(h\.\d+|wte|wpe|ln_f)\./.test(name) ? `transformer.${name}` : name;
}

/** The shape after a change, which is the same in both directions. Throws ConfigError where it doesn't fit. */
export function changedShape(shape: Shape, change: Change, who: string): Shape {
  if (change === null) return shape;
  if (change === 'transpose') {
    if (shape.length !== 2) throw new ConfigError(`${who} has shape ${showShape(shape)}. Expected a matrix.`);
    return [shape[1], shape[0]];
  }
  if (shape.length < 1 || shape.length > 2 || shape[0] % (2 * change.heads) !== 0)
    throw new ConfigError(`${who} has shape ${showShape(shape)}. Expected rows for ${change.heads} heads of an even size.`);
  return shape;
}

/** `data` of `shape` (Hugging Face's) as llama.cpp stores it. */
export const toGguf = (data: TypedArray, dtype: DType, shape: Shape, change: Change): TypedArray =>
  change === null
    ? data
    : change === 'transpose'
      ? transpose(data, dtype, shape[0], shape[1])
      : pairRows(data, dtype, shape[0], change.heads, true);

/** `data` of `shape` (llama.cpp's) as Hugging Face stores it. */
export const fromGguf = (data: TypedArray, dtype: DType, shape: Shape, change: Change): TypedArray =>
  change === null
    ? data
    : change === 'transpose'
      ? transpose(data, dtype, shape[0], shape[1])
      : pairRows(data, dtype, shape[0], change.heads, false);

/** q8_0's blocks of `shape` as Hugging Face orders them. Transposed matrices have others. */
export function blocksFromGguf(blocks: Q8_0, shape: Shape, change: Exclude<Change, 'transpose'>): Q8_0 {
  if (change === null) return blocks;
  const scales = new Uint16Array(blocks.scales.length);
  const quants = new Int8Array(blocks.quants.length);
  movePairs(shape[0], change.heads, false, (from, to) => {
    copyRow(blocks.scales, scales, from, to, shape[1] / Q8_0_BLOCK);
    copyRow(blocks.quants, quants, from, to, shape[1]);
  });
  return { scales, quants };
}

/** Rows of heads: row j and row j + half of a head become neighbours, or neighbours part again. */
function pairRows(data: TypedArray, dtype: DType, rows: number, heads: number, pair: boolean): TypedArray {
  const out = allocate(dtype, data.length);
  movePairs(rows, heads, pair, (from, to) => copyRow(data, out, from, to, data.length / rows));
  return out;
}

function movePairs(rows: number, heads: number, pair: boolean, move: (from: number, to: number) => void): void {
  const half = rows / heads / 2;
  for (let head = 0; head < heads; head++)
    for (let j = 0; j < half; j++)
      for (let side = 0; side < 2; side++) {
        const apart = (2 * head + side) * half + j;
        const together = 2 * (head * half + j) + side;
        if (pair) move(apart, together);
        else move(together, apart);
      }
}

const copyRow = <T extends TypedArray>(data: T, out: T, from: number, to: number, width: number): void =>
  out.set(data.subarray(from * width, (from + 1) * width), to * width);

/** [rows, columns] → [columns, rows], in squares that stay in cache. */
function transpose(data: TypedArray, dtype: DType, rows: number, columns: number): TypedArray {
  const out = allocate(dtype, data.length);
  const SIDE = 32;
  for (let i0 = 0; i0 < rows; i0 += SIDE)
    for (let j0 = 0; j0 < columns; j0 += SIDE)
      for (let i = i0; i < Math.min(i0 + SIDE, rows); i++)
        for (let j = j0; j < Math.min(j0 + SIDE, columns); j++) out[j * rows + i] = data[i * columns + j];
  return out;
}

/** What the frequencies of plain RoPE are divided by to give these, one number a pair of values. */
export function frequencyFactors(theta: number, frequencies: Float32Array): Float32Array {
  const plain = ropeFrequencies(2 * frequencies.length, theta, null, 'gguf');
  return plain.map((f, i) => f / frequencies[i]);
}

/** Llama 3's scaling that gives these factors, with Meta's own bounds (1 and 4) and an original context of a power of two; null when none does. */
export function llama3ScalingOf(factors: ArrayLike<number>, theta: number): RopeScaling | null {
  const factor = Array.from(factors).reduce((a, b) => Math.max(a, b), 1);
  for (let original = 512; original <= 2 ** 20; original *= 2) {
    const scaling = { rope_type: 'llama3', factor, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: original };
    const again = frequencyFactors(theta, ropeFrequencies(2 * factors.length, theta, scaling, 'gguf'));
    if (again.every((x, i) => Math.abs(x - factors[i]) <= 1e-4 * x)) return scaling;
  }
  return null;
}

/** Throws ConfigError naming the tensors that are missing or don't belong to the model. */
export function refuseNames(who: string, missing: readonly string[], extra: readonly string[]): void {
  const list = (names: readonly string[]): string =>
    `${names
      .slice(0, 5)
      .map((n) => quote(n))
      .join(', ')}${names.length > 5 ? ', …' : ''}`;
  if (missing.length > 0) throw new ConfigError(`${who}: ${missing.length} tensors are missing: ${list(missing)}.`);
  if (extra.length > 0) throw new ConfigError(`${who}: ${extra.length} tensors don't belong to this architecture: ${list(extra)}.`);
}
