/** @file A language model's Variables ↔ the tensors of files, by Hugging Face's names: what is missing, extra or misshaped is listed. */
import type { TypedArray } from '../base/dtype.js';
import { ConfigError, FormatError } from '../base/errors.js';
import { sameShape, showShape } from '../base/shape.js';
import { convertFloats, type FloatDType, isFloatDType } from '../io/convert-floats.js';
import type { TensorEntry, TensorFiles } from '../io/tensor-files.js';
import { adapters } from '../model/lora.js';
import { type QuantizeOptions, type QuantizeReport, quantizeModel } from '../model/quantize.js';
import { isPackedPart } from '../model/quantized.js';
import type { Variable } from '../tensor/index.js';
import { type CausalLM, fileName } from '../zoo/index.js';

/** What older files hold besides weights: masks and frequencies that follow from the config. */
const derived = /(^|\.)(rotary_emb\.inv_freq|attn\.bias|attn\.masked_bias)$/;
const tables = ['model.embed_tokens.weight', 'transformer.wte.weight'];

/** Names under which a weight may be stored: its own, without the family's prefix (GPT-2's first files), and the other one of a tied pair. */
function namesOf(v: Variable, isTied: boolean): string[] {
  const name = fileName(v);
  const names = [name, name.replace(/^(model|transformer)\./, '')];
  return isTied && tables.includes(name) ? [...names, 'lm_head.weight'] : names;
}

/** Which tensor each weight is read from. Throws FormatError that lists what doesn't fit. */
export function matchWeights(model: CausalLM, files: TensorFiles, who: string): Map<Variable, string> {
  const { tieEmbeddings } = model.config;
  const given = new Set(files.names());
  const lines: string[] = [];
  const found = new Map<Variable, string>();
  const used = new Set<string>();
  for (const v of model.weights) {
    const candidates = namesOf(v, tieEmbeddings);
    const name = candidates.find((n) => given.has(n));
    for (const n of candidates) used.add(n);
    if (name === undefined) lines.push(`missing ${fileName(v)} ${showShape(v.shape)}`);
    else if (!sameShape(files.info(name).shape, v.shape))
      lines.push(`${name} has shape ${showShape(files.info(name).shape)}, expected ${showShape(v.shape)}`);
    else found.set(v, name);
  }
  for (const name of given) if (!used.has(name) && !derived.test(name)) lines.push(`extra ${name} ${showShape(files.info(name).shape)}`);
  if (lines.length > 0)
    throw new FormatError(
      `${who}: ${lines.length} of its tensors do not fit config.json. Expected those of a ${model.config.modelType} of this size. ${lines.slice(0, 12).join('; ')}${lines.length > 12 ? '; …' : ''}.`,
    );
  return found;
}

/** What matrices are packed to as they are read. */
export type PackOnReading = Pick<QuantizeOptions, 'doubleQuant' | 'output' | 'skip'> & { readonly type: 'nf4' | 'q8_0' };

export interface ReadWeightsOptions {
  readonly quantize?: PackOnReading | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((share: number) => void) | undefined;
}

/**
 * Reads every weight, one after another, into what its Variable is kept in, or packed. Resolves to what was packed. Throws FormatError; the
 * model is then of no use.
 */
export async function readWeights(
  model: CausalLM,
  files: TensorFiles,
  who: string,
  { quantize, signal, onProgress }: ReadWeightsOptions = {},
): Promise<QuantizeReport | null> {
  // Nobody wants the initial values.
  for (const v of model.weights) v.abandon();
  const matched = matchWeights(model, files, who);
  const total = model.weights.reduce((n, v) => n + v.size, 0);
  let done = 0;
  const read = async (v: Variable, as: FloatDType): Promise<TypedArray | null> => {
    const name = matched.get(v);
    if (name === undefined) return null;
    signal?.throwIfAborted();
    const { dtype, data } = await files.read(name);
    if (!isFloatDType(dtype)) throw new FormatError(`${who}: ${name} is ${dtype}. Expected floats: f32, f16 or bf16.`);
    done += v.size;
    onProgress?.(done / total);
    return convertFloats(data, dtype, as);
  };
  const report = quantize
    ? await quantizeModel(model, { ...quantize, read: async (v) => (await read(v, 'f32')) as Float32Array | null })
    : null;
  for (const v of model.weights) {
    if (!matched.has(v)) continue;
    const data = await read(v, v.dtype as FloatDType);
    if (data) v.fill(data);
  }
  return report;
}

/**
 * The weights as files hold them, read when their turn comes. A tied matrix is stored once, as the table of tokens. Throws ConfigError for a model
 * with adapters or packed weights, which files in this layout can't hold.
 */
export function weightEntries(model: CausalLM): TensorEntry[] {
  const [adapter] = adapters(model);
  if (adapter)
    throw new ConfigError(
      `${model.label}: it has the adapter "${adapter.name}". Expected a model without. Call mergeLora first, or write the adapter alone with saveAdapter.`,
    );
  const packed = model.weights.find(isPackedPart);
  if (packed)
    throw new ConfigError(
      `${model.label}: ${packed.name} is part of a packed weight. Expected weights in f32, f16 or bf16. Load the model without quantize to write it.`,
    );
  return model.weights.map((v) => ({
    name: fileName(v),
    dtype: v.dtype,
    shape: v.shape,
    data: async () => {
      const data = await v.data();
      return v.dtype === 'bf16' || v.dtype === 'f16' ? convertFloats(data, 'f32', v.dtype) : data;
    },
  }));
}
