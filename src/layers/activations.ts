/** @file Keras's activations by name, in Python's and in camelCase spelling. A function of a tensor is accepted everywhere. */
import { ConfigError } from '../base/errors.js';
import type { Tensor, TensorLike } from '../tensor/index.js';
import * as tensor from '../tensor/index.js';
import { findFunction, nameOfFunction } from './registry.js';

export type Activation = (x: Tensor) => Tensor;
export type ActivationName = keyof typeof activations;
/** A name, a function, or nothing (linear). */
export type ActivationLike = ActivationName | (string & {}) | Activation | null;

const only =
  (f: (x: TensorLike) => Tensor): Activation =>
  (x) =>
    f(x);

const logits = new WeakMap<Tensor, { readonly activation: 'softmax' | 'sigmoid'; readonly logits: Tensor }>();
/**
 * What a tensor is exactly the softmax (over the last axis) or sigmoid of, or null: losses are computed from it, stably.
 * The tensor itself must come from the activation: anything done to it afterwards makes another tensor.
 */
export const logitsOf = (x: Tensor): { readonly activation: 'softmax' | 'sigmoid'; readonly logits: Tensor } | null =>
  logits.get(x) ?? null;
/** The activation as usual, remembering its argument for `logitsOf`. */
const remembering =
  (activation: 'softmax' | 'sigmoid', f: (x: TensorLike) => Tensor): Activation =>
  (x) => {
    const y = f(x);
    logits.set(y, { activation, logits: x });
    return y;
  };

/** Every activation of Keras 3 with its default arguments. */
export const activations = {
  linear: (x: Tensor): Tensor => x,
  relu: only(tensor.relu),
  relu6: only(tensor.relu6),
  leakyRelu: only((x) => tensor.leakyRelu(x)),
  elu: only((x) => tensor.elu(x)),
  selu: only(tensor.selu),
  celu: only((x) => tensor.celu(x)),
  sigmoid: remembering('sigmoid', tensor.sigmoid),
  logSigmoid: only(tensor.logSigmoid),
  hardSigmoid: only(tensor.hardSigmoid),
  sparseSigmoid: only(tensor.sparseSigmoid),
  tanh: only(tensor.tanh),
  hardTanh: only(tensor.hardTanh),
  tanhShrink: only(tensor.tanhShrink),
  softplus: only(tensor.softplus),
  sparsePlus: only(tensor.sparsePlus),
  softsign: only(tensor.softsign),
  exponential: only(tensor.exponential),
  gelu: only((x) => tensor.gelu(x)),
  /** The tanh approximation that GPT-2 and BERT's ports use. */
  geluNew: only((x) => tensor.gelu(x, true)),
  silu: only(tensor.silu),
  swish: only(tensor.silu),
  hardSilu: only(tensor.hardSilu),
  hardSwish: only(tensor.hardSilu),
  mish: only(tensor.mish),
  glu: only((x) => tensor.glu(x)),
  hardShrink: only((x) => tensor.hardShrink(x)),
  softShrink: only((x) => tensor.softShrink(x)),
  squareplus: only((x) => tensor.squareplus(x)),
  threshold: only((x) => tensor.threshold(x, 0, 0)),
  softmax: remembering('softmax', (x) => tensor.softmax(x)),
  logSoftmax: only((x) => tensor.logSoftmax(x)),
  sparsemax: only((x) => tensor.sparsemax(x)),
} satisfies Record<string, Activation>;

const plain = (name: string): string => name.replaceAll('_', '').toLowerCase();
const byPlainName = new Map<string, Activation>(Object.entries(activations).map(([name, f]) => [plain(name), f]));

/** The function of that name; `null` and `undefined` are linear. Throws ConfigError for an unknown name. */
export function getActivation(id: ActivationLike | undefined): Activation {
  if (id === undefined || id === null) return activations.linear;
  if (typeof id === 'function') return id;
  const known = byPlainName.get(plain(id)) ?? (findFunction(id) as Activation | undefined);
  if (!known)
    throw new ConfigError(
      `activation: "${id}" is not known. Expected one of ${Object.keys(activations).join(', ')}, or a function. Register your own with registerFunction.`,
    );
  return known;
}

/** The name that a config keeps. Throws ConfigError for a function that isn't registered. */
export function activationName(activation: Activation): string {
  const own = Object.entries(activations).find(([, f]) => f === activation)?.[0] ?? nameOfFunction(activation);
  if (own === undefined)
    throw new ConfigError(
      `activation: the function "${activation.name}" can't be saved. Expected a name. Call registerFunction('${activation.name || 'name'}', …).`,
    );
  return own;
}
