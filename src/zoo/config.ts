/** @file What every config.json of a language model is read with: bounded numbers, errors that name the key. */
import { z } from 'zod';
import { FormatError, quote } from '../base/errors.js';
import { gelu, relu, silu, type Tensor } from '../tensor/index.js';

/** A count: large enough for any model, small enough to be computed with. */
export const count = z
  .number()
  .int()
  .min(1)
  .max(2 ** 26);
export const positive = z.number().positive();
/** A field that may be missing or null. */
export const optional = <T extends z.ZodType>(type: T, otherwise: z.output<T>) => type.nullish().transform((v) => v ?? otherwise);

/** config.json by the schema. Throws FormatError with the key, what it holds and what was wanted. */
export function parseConfig<T extends z.ZodType>(schema: T, config: unknown, who: string): z.output<T> {
  const parsed = schema.safeParse(config);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const held = issue.path.reduce<unknown>((x, key) => (x as Record<PropertyKey, unknown> | null | undefined)?.[key], config);
  throw new FormatError(
    `${who}: config.json's ${issue.path.join('.') || 'content'} is ${held === undefined ? 'missing' : quote(held)}. Expected a Hugging Face config. ${issue.message}.`,
  );
}

/** Each pair of a head's features has a frequency, whatever the files hold. */
const MAX_HEAD = 2 ** 16;

/** Throws FormatError unless `heads` share `keyValueHeads` evenly and a head's size is even. */
export function checkHeads(who: string, c: { heads: number; keyValueHeads: number; headDim: number }): void {
  if (c.heads % c.keyValueHeads)
    throw new FormatError(
      `${who}: ${c.heads} attention heads share ${c.keyValueHeads} key and value heads. Expected a divisor of ${c.heads}.`,
    );
  if (!Number.isInteger(c.headDim) || c.headDim % 2 || c.headDim > MAX_HEAD)
    throw new FormatError(
      `${who}: heads of ${c.headDim} features. Expected an even whole number up to ${MAX_HEAD}: hidden size over heads, or head_dim.`,
    );
}

/** Activations by transformers' names. */
const activations: Readonly<Record<string, (x: Tensor) => Tensor>> = {
  silu: (x) => silu(x),
  swish: (x) => silu(x),
  relu: (x) => relu(x),
  gelu: (x) => gelu(x),
  gelu_new: (x) => gelu(x, true),
  gelu_fast: (x) => gelu(x, true),
  gelu_pytorch_tanh: (x) => gelu(x, true),
};
/** Throws FormatError for a name that isn't known. */
export function activationOf(name: string, who: string): (x: Tensor) => Tensor {
  if (Object.hasOwn(activations, name)) return activations[name];
  throw new FormatError(`${who}: activation ${quote(name)} is not known. Expected one of ${Object.keys(activations).join(', ')}.`);
}
