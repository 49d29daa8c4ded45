/**
 * @file Loss: what training minimises, one value a sample. Here are the interface, the shapes that labels may have and
 * the maker of a loss from a pure function and its options; the functions are in the files of their families.
 */
import { ShapeError } from '../base/errors.js';
import { checkOptionNames } from '../base/option-names.js';
import { showShape } from '../base/shape.js';
import type { Tensor } from '../tensor/index.js';

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json | undefined };
export type Config = { readonly [key: string]: Json | undefined };

export interface Loss {
  readonly name: string;
  /** One value a sample, [batch]: the mean over the other axes, as Keras. yTrue as Keras's, yPred [batch, …]. Pure, traceable. */
  call(yTrue: Tensor, yPred: Tensor): Tensor;
  /** The same from what the last activation was given, numerically stable. */
  callFromLogits?(yTrue: Tensor, logits: Tensor): Tensor;
  /** Whether `call` itself expects logits. */
  readonly fromLogits: boolean;
  /** The activation that `callFromLogits` undoes. */
  readonly activation?: 'softmax' | 'sigmoid';
  /**
   * The part of each sample that counts, [batch] in [0, 1], where labels may be ignored (`ignoreClass`): the total loss is
   * Σ call·w / Σ countedPart·w. Undefined: every sample counts whole.
   */
  countedPart?(yTrue: Tensor): Tensor;
  getConfig(): Config;
}

/** A loss of this library or of a registered name: what a file can hold. */
export interface NamedLoss extends Loss {
  readonly className: string;
}

/** Values [batch, …] as one a sample, [batch]. */
export function perSample(values: Tensor): Tensor {
  if (values.rank === 0) return values.reshape([1]);
  if (values.rank === 1) return values;
  return values.mean(Array.from({ length: values.rank - 1 }, (_, i) => i + 1));
}

/** As f32: losses of f16 and bf16 outputs are computed in full precision. */
export const asFloat = (x: Tensor): Tensor => (x.dtype === 'f32' ? x : x.cast('f32'));

/**
 * Both in f32 and in one shape [batch, …, features], as Keras squeezes: a label axis of 1 may be missing on either side.
 * Throws ShapeError when they differ otherwise.
 */
export function aligned(who: string, yTrue: Tensor, yPred: Tensor): [Tensor, Tensor] {
  let [t, p] = [asFloat(yTrue), asFloat(yPred)];
  if (t.rank === p.rank - 1 && p.shape[p.rank - 1] === 1) t = t.expandDims(-1);
  else if (p.rank === t.rank - 1 && t.shape[t.rank - 1] === 1) p = p.expandDims(-1);
  if (t.rank === 1 && p.rank === 1) [t, p] = [t.expandDims(-1), p.expandDims(-1)];
  if (t.rank !== p.rank || t.shape.some((d, i) => d !== p.shape[i]))
    throw new ShapeError(
      `${who}: labels ${showShape(yTrue.shape)} do not fit outputs ${showShape(yPred.shape)}. Expected labels ${showShape(yPred.shape)}, received ${showShape(yTrue.shape)}. Check the last layer's units and the labels.`,
    );
  return [t, p];
}

/** Whether labels are class numbers, [batch, …] or [batch, …, 1], for outputs [batch, …, classes > 1]. */
export function isSparse(yTrue: Tensor, yPred: Tensor): boolean {
  const classes = yPred.shape[yPred.rank - 1];
  if (yPred.rank === 0 || classes === 1) return false;
  return yTrue.rank === yPred.rank - 1 || (yTrue.rank === yPred.rank && yTrue.shape[yTrue.rank - 1] === 1);
}

export type LossFunction = (yTrue: Tensor, yPred: Tensor) => Tensor;

/** A factory of losses from `values(yTrue, yPred, options)`, which gives [batch] or [batch, …]. */
export function defineLoss<O extends object>(
  id: string,
  values: (yTrue: Tensor, yPred: Tensor, options: O) => Tensor,
  defaults: O,
  extra: { activation?: 'softmax' | 'sigmoid'; countedPart?: (yTrue: Tensor, options: O) => Tensor } = {},
): (options?: Partial<O> & { name?: string }) => NamedLoss {
  return (given = {}) => {
    checkOptionNames(given, { name: true, ...defaults }, id);
    const { name = id, ...rest } = given;
    const set = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
    const options: O = { ...defaults, ...set };
    const { activation, countedPart } = extra;
    const isCounted = countedPart !== undefined && 'ignoreClass' in options && options.ignoreClass !== null;
    return {
      className: id,
      name,
      fromLogits: 'fromLogits' in options && options.fromLogits === true,
      activation,
      call: (yTrue, yPred) => perSample(values(yTrue, yPred, options)),
      ...(activation && {
        callFromLogits: (yTrue: Tensor, logits: Tensor) => perSample(values(yTrue, logits, { ...options, fromLogits: true })),
      }),
      ...(isCounted && { countedPart: (yTrue: Tensor) => countedPart(yTrue, options) }),
      getConfig: () => ({ name, ...options }),
    };
  };
}
