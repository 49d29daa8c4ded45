/**
 * @file SymbolicTensor: what the functional API passes around: a shape, a dtype and the layer call it comes from.
 * Models walk these calls; nothing is computed here.
 */
import { type DType, requireDType } from '../base/dtype.js';
import { ConfigError } from '../base/errors.js';
import { showShape } from '../base/shape.js';
import type { CallOptions, Layer } from './layer.js';
import { partialShape, wholeNumber } from './options.js';

/** A shape whose unknown extents (usually the batch) are null. */
export type PartialShape = readonly (number | null)[];

/** One application of a layer to symbolic tensors; shared by the tensors that it returned. */
export interface SymbolicCall {
  readonly layer: Layer;
  readonly inputs: readonly SymbolicTensor[];
  /** Whether the layer was given (and wants) a list of inputs. */
  readonly takesList: boolean;
  readonly outputs: readonly SymbolicTensor[];
  /** Whether the layer returned a list. */
  readonly returnsList: boolean;
  readonly options: CallOptions;
}

export interface Producer {
  readonly layer: Layer;
  readonly inputs: readonly SymbolicTensor[];
  readonly outputIndex: number;
  readonly call: SymbolicCall;
}

let inputs = 0;

export class SymbolicTensor {
  readonly shape: PartialShape;
  readonly dtype: DType;
  readonly name: string;
  /** Null for inputs. */
  readonly producer: Producer | null;

  constructor(shape: PartialShape, dtype: DType, name: string, producer: Producer | null = null) {
    this.shape = shape;
    this.dtype = dtype;
    this.name = name;
    this.producer = producer;
  }
  get rank(): number {
    return this.shape.length;
  }
  toString(): string {
    return `SymbolicTensor(name=${this.name}, shape=${showShape(this.shape)}, dtype=${this.dtype})`;
  }
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }
}

export const isSymbolic = (x: unknown): x is SymbolicTensor => x instanceof SymbolicTensor;

export interface InputOptions {
  /** Without the batch axis; null where an extent is not known. */
  shape?: PartialShape;
  /** With the batch axis, instead of `shape`. */
  batchShape?: PartialShape;
  dtype?: DType;
  name?: string;
  batchSize?: number;
}

/**
 * The start of a functional model. Throws ConfigError when neither or both shapes are given, ShapeError for one that is none.
 * @example const x = input({ shape: [32, 32, 3] })
 */
export function input(options: InputOptions): SymbolicTensor {
  const { shape, batchShape, dtype = 'f32', batchSize } = options;
  if ((shape === undefined) === (batchShape === undefined))
    throw new ConfigError(
      `input: expected either shape or batchShape, received ${shape ? 'both' : 'neither'}. Give the shape of one sample, such as { shape: [28, 28, 1] }.`,
    );
  const who = { label: 'input' };
  if (batchSize !== undefined) wholeNumber(who, 'batchSize', batchSize, 0);
  const full = batchShape ? partialShape(who, 'batchShape', batchShape) : [batchSize ?? null, ...partialShape(who, 'shape', shape ?? [])];
  requireDType(dtype, 'input');
  const name = options.name ?? (inputs === 0 ? 'input_layer' : `input_layer_${inputs}`);
  if (options.name === undefined) inputs++;
  return new SymbolicTensor(full, dtype, name);
}

/** Starts the automatic names of inputs anew. */
export const resetInputNames = (): void => {
  inputs = 0;
};
