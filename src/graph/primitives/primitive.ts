/** @file What a row of the primitive table holds. What it means, for the interpreter, is in meanings/. */
import type { DType } from '../../base/dtype.js';
import type { Shape } from '../../base/shape.js';
import type { Builder } from '../builder.js';
import type { ArgOf, Node, Op } from '../node.js';

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
  /** Gradients of the inputs (null: none) from the gradient of the result. */
  grad: ((o: Builder, dy: Node, node: Node<O>) => (Node | null)[]) | null;
}

/** A family's rows. */
export type Family<O extends Op> = { readonly [K in O]: Primitive<K> };
