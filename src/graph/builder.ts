/**
 * @file Builder: functions that make nodes, with shape inference, automatic broadcasting of elementwise operands
 * and the simplifications that cost nothing (x·1, reshape to the same shape). Gradient rules and tensor/ both build with it.
 */
import type { DType } from '../base/dtype.js';
import type { Shape } from '../base/shape.js';
import type { ScalarBuilder } from '../kernel/scalar-ops.js';
import type { ArgOf, Node, Op } from './node.js';
import type { ConvArg, DotArg, PadDim, WindowArg } from './primitives/args.js';

/** Every scalar op as a method (operands broadcast, dtypes must agree), and one method for each other primitive. */
export interface Builder extends ScalarBuilder<Node> {
  /** Any primitive, shapes inferred; the methods below are this with readable arguments. */
  make<O extends Op>(op: O, inputs: readonly Node[], arg: ArgOf<O>): Node<O>;
  /** A scalar-filled node of the given dtype and shape. */
  full(shape: Shape, value: number, dtype: DType): Node;
  /** Zeros / constant of the dtype and shape of `like`. */
  constant(value: number, like: Node): Node;
  iota(shape: Shape, axis: number, dtype: DType): Node;
  cast(x: Node, dtype: DType): Node;
  reshape(x: Node, shape: Shape): Node;
  transpose(x: Node, perm: readonly number[]): Node;
  broadcast(x: Node, shape: Shape): Node;
  slice(x: Node, start: readonly number[], end: readonly number[], stride?: readonly number[]): Node;
  pad(x: Node, dims: readonly PadDim[], value?: number): Node;
  concat(xs: readonly Node[], axis: number): Node;
  flip(x: Node, axes: readonly number[]): Node;
  sum(x: Node, axes: readonly number[]): Node;
  /** Sums `x` down to `shape`, undoing a broadcast. */
  sumTo(x: Node, shape: Shape): Node;
  reduceMax(x: Node, axes: readonly number[]): Node;
  reduceMin(x: Node, axes: readonly number[]): Node;
  prod(x: Node, axes: readonly number[]): Node;
  argmax(x: Node, axis: number): Node;
  argmin(x: Node, axis: number): Node;
  dot(a: Node, b: Node, arg: DotArg): Node;
  conv(x: Node, w: Node, arg: ConvArg): Node;
  windowMax(x: Node, arg: WindowArg): Node;
  windowArgmax(x: Node, arg: WindowArg): Node;
  windowSum(x: Node, arg: WindowArg): Node;
  windowGather(x: Node, position: Node, arg: WindowArg): Node;
  windowScatter(dy: Node, position: Node, arg: WindowArg, shape: Shape): Node;
  windowSpread(dy: Node, arg: WindowArg, shape: Shape): Node;
  take(x: Node, indices: Node, axis: number): Node;
  takeAdd(dy: Node, indices: Node, axis: number, extent: number): Node;
  takeAlong(x: Node, indices: Node, axis: number): Node;
  takeAlongAdd(dy: Node, indices: Node, axis: number, extent: number): Node;
  dynamicSlice(x: Node, starts: readonly Node[], size: Shape): Node;
  dynamicUpdateSlice(x: Node, update: Node, starts: readonly Node[]): Node;
  cumsum(x: Node, axis: number, options?: { reverse?: boolean; exclusive?: boolean }): Node;
  cumprod(x: Node, axis: number, options?: { reverse?: boolean; exclusive?: boolean }): Node;
  cummax(x: Node, axis: number, options?: { reverse?: boolean }): Node;
  argsort(x: Node, axis: number, descending?: boolean): Node;
  randomBits(seed: Node, step: Node, shape: Shape, stream: number): Node;
  stopGradient(x: Node): Node;
}
