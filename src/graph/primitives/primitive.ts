/** @file What a row of the primitive table holds. */
import type { DType, TypedArray } from '../../base/dtype.js';
import type { Shape } from '../../base/shape.js';
import type { Builder } from '../builder.js';
import type { ArgOf, Node, Op } from '../node.js';

/** A tensor on the host as the interpreter sees it: plain numbers, row-major (f16/bf16 already decoded). */
export interface Value {
  readonly shape: Shape;
  readonly dtype: DType;
  readonly data: Float64Array | TypedArray;
}

/** Shape and dtype of a node. */
export interface TypeOf {
  readonly shape: Shape;
  readonly dtype: DType;
}

export interface Primitive<O extends Op> {
  /**
   * Shape and dtype of the result; throws ShapeError, DTypeError. Sources whose attribute tells neither
   * (input, buffer, constant, iota) take them from `declared`.
   */
  infer(inputs: readonly Node[], arg: ArgOf<O>, declared?: TypeOf): TypeOf;
  /** Plain meaning: writes the result, row-major, into `out` (already zeroed, of the result's dtype's array kind; Float64Array for floats). */
  interpret(out: Value, inputs: readonly Value[], arg: ArgOf<O>): void;
  /** Gradients of the inputs (null: none) from the gradient of the result. */
  grad: ((o: Builder, dy: Node, node: Node<O>) => (Node | null)[]) | null;
}

/** A family's rows. */
export type Family<O extends Op> = { readonly [K in O]: Primitive<K> };
