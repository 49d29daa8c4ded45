/**
 * @file Builder: functions that make nodes, with shape inference, automatic broadcasting of elementwise operands
 * and the simplifications that cost nothing (x·1, reshape to the same shape). Gradient rules and tensor/ both build with it.
 */
import type { DType, TypedArray } from '../base/dtype.js';
import { broadcastShapes, type Shape, sameShape } from '../base/shape.js';
import { type ScalarBuilder, type ScalarOp, scalarOps, scalarRow } from '../kernel/scalar-ops.js';
import { type ArgOf, isOp, makeNode, type Node, type Op } from './node.js';
import type { ConvArg, CustomRule, DotArg, PadDim, WindowArg } from './primitives/args.js';
import { scalarMeaning } from './primitives/elementwise.js';
import { primitives } from './primitives/index.js';
import { isFullSlice } from './primitives/movement.js';
import type { TypeOf } from './primitives/primitive.js';
import { range, roundTo } from './primitives/values.js';
import type { Variable } from './variable.js';

/** Every scalar op as a method (operands broadcast, dtypes must agree), and one method for each other primitive. */
export interface Builder extends ScalarBuilder<Node> {
  /**
   * Any primitive, shapes inferred; the methods below are this with readable arguments. No broadcasting, no folding.
   * `declared` is for input, buffer, constant and iota, whose attribute tells no shape and dtype.
   */
  make<O extends Op>(op: O, inputs: readonly Node[], arg: ArgOf<O>, declared?: TypeOf): Node<O>;
  /** Placeholder number `index` of a traced function. */
  input(index: number, name: string, shape: Shape, dtype: DType): Node;
  /** Host data in the storage form of `dtype`. */
  buffer(data: TypedArray, shape: Shape, dtype: DType): Node;
  /** The value of a Variable at its present version. */
  variable(variable: Variable): Node;
  /** One `constant` node of this shape (never constant[] + broadcast), its value rounded to `dtype`. */
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
  /** x with x[indices[m]] = rows[m]; see PrimitiveArgs. */
  putRows(x: Node, rows: Node, indices: Node): Node;
  dynamicSlice(x: Node, starts: readonly Node[], size: Shape): Node;
  dynamicUpdateSlice(x: Node, update: Node, starts: readonly Node[]): Node;
  cumsum(x: Node, axis: number, options?: { reverse?: boolean; exclusive?: boolean }): Node;
  cumprod(x: Node, axis: number, options?: { reverse?: boolean; exclusive?: boolean }): Node;
  cummax(x: Node, axis: number, options?: { reverse?: boolean }): Node;
  argsort(x: Node, axis: number, descending?: boolean): Node;
  attention(q: Node, k: Node, v: Node, first: Node, end: Node, scale: number): Node;
  attentionLse(q: Node, k: Node, first: Node, end: Node, scale: number): Node;
  attentionGrad(inputs: readonly Node[], out: Node, lse: Node, dy: Node, scale: number): Node;
  randomBits(seed: Node, step: Node, shape: Shape, stream: number): Node;
  stopGradient(x: Node): Node;
  /** `value`, whose gradient with respect to `args` is what `rule` says. */
  customGradient(value: Node, args: readonly Node[], rule: CustomRule): Node;
  /** `x`, from which nothing is computed before `others` are there, and nothing shared with what is computed of x itself. */
  barrier(x: Node, others: readonly Node[]): Node;
}

function make<O extends Op>(op: O, inputs: readonly Node[], arg: ArgOf<O>, declared?: TypeOf): Node<O> {
  const { shape, dtype } = primitives[op].infer(inputs, arg, declared);
  return makeNode(op, inputs, arg, dtype, shape);
}

const isConstant = (x: Node): x is Node<'constant'> => isOp(x, 'constant');
const holds = (x: Node, value: number): boolean => isConstant(x) && x.arg.value === value;

function full(shape: Shape, value: number, dtype: DType): Node {
  return make('constant', [], { value: roundTo(dtype, value) }, { shape, dtype });
}

function broadcast(x: Node, shape: Shape): Node {
  if (sameShape(x.shape, shape)) return x;
  const node = make('broadcast', [x], { shape });
  return isConstant(x) ? full(shape, x.arg.value, x.dtype) : node;
}

/** The operand that is already the result (x + 0, x − 0, x·1, x / 1), if one is. */
function neutral(op: ScalarOp, [a, b]: readonly Node[]): Node | undefined {
  if (op === 'add') return holds(b, 0) ? a : holds(a, 0) ? b : undefined;
  if (op === 'mul') return holds(b, 1) ? a : holds(a, 1) ? b : undefined;
  if (op === 'sub') return holds(b, 0) ? a : undefined;
  if (op === 'div') return holds(b, 1) ? a : undefined;
  return undefined;
}

function scalar(op: ScalarOp, operands: readonly Node[]): Node {
  const shape = operands.map((x) => x.shape).reduce((a, b) => broadcastShapes(a, b, op));
  const inputs = operands.map((x) => broadcast(x, shape));
  if (op === 'bitNot' && inputs[0].dtype === 'bool') return scalar('not', inputs);
  const { dtype } = primitives[op].infer(inputs, undefined);
  if (inputs.every(isConstant)) {
    const values = inputs.map((x) => x.arg.value);
    return full(shape, scalarMeaning(op, inputs[inputs.length - 1].dtype)(...values), dtype);
  }
  return neutral(op, inputs) ?? makeNode(op, inputs, undefined, dtype, shape);
}

type ScalarMethods = Omit<ScalarBuilder<Node>, 'constant'>;
// One method a row of the table; the keys are the table's own, which fromEntries forgets.
const scalarMethods = Object.fromEntries(
  (Object.keys(scalarOps) as ScalarOp[]).map((op) => [op, (...x: Node[]) => scalar(op, x.slice(0, scalarRow(op).arity))]),
) as ScalarMethods;

/**
 * The Builder. Canonical forms: a constant is one `constant` node of its full shape (reshape, transpose and broadcast of one
 * give another); a movement without effect gives back its input; x + 0, x·1 and operations on constants alone are folded.
 */
export const ops: Builder = {
  ...scalarMethods,
  make,
  full,
  broadcast,
  input: (index, name, shape, dtype) => make('input', [], { index, name }, { shape, dtype }),
  buffer: (data, shape, dtype) => make('buffer', [], { data }, { shape, dtype }),
  variable: (variable) => make('variable', [], { variable, version: variable.version }),
  constant: (value, like) => full(like.shape, value, like.dtype),
  iota: (shape, axis, dtype) => make('iota', [], { axis }, { shape, dtype }),
  cast: (x, dtype) => (x.dtype === dtype ? x : isConstant(x) ? full(x.shape, x.arg.value, dtype) : make('cast', [x], { dtype })),
  reshape(x, shape) {
    if (sameShape(x.shape, shape)) return x;
    const node = make('reshape', [x], { shape });
    return isConstant(x) ? full(shape, x.arg.value, x.dtype) : node;
  },
  transpose(x, perm) {
    const node = make('transpose', [x], { perm });
    if (perm.every((p, i) => p === i)) return x;
    return isConstant(x) ? full(node.shape, x.arg.value, x.dtype) : node;
  },
  slice(x, start, end, stride = start.map(() => 1)) {
    const node = make('slice', [x], { start, end, stride });
    if (isFullSlice(x.shape, start, end, stride)) return x;
    return isConstant(x) ? full(node.shape, x.arg.value, x.dtype) : node;
  },
  pad(x, dims, value = 0) {
    const node = make('pad', [x], { dims, value });
    return dims.every((dim) => dim.every((n) => n === 0)) ? x : node;
  },
  concat: (xs, axis) => (xs.length === 1 ? xs[0] : make('concat', xs, { axis })),
  flip: (x, axes) => (axes.length === 0 ? x : make('flip', [x], { axes })),
  sum: (x, axes) => reduced('sum', x, axes),
  sumTo(x, shape) {
    const lead = x.shape.length - shape.length;
    const axes = range(x.shape.length).filter((i) => i < lead || (shape[i - lead] === 1 && x.shape[i] !== 1));
    return ops.reshape(ops.sum(x, axes), shape);
  },
  reduceMax: (x, axes) => reduced('reduceMax', x, axes),
  reduceMin: (x, axes) => reduced('reduceMin', x, axes),
  prod: (x, axes) => reduced('prod', x, axes),
  argmax: (x, axis) => make('argmax', [x], { axis }),
  argmin: (x, axis) => make('argmin', [x], { axis }),
  dot: (a, b, arg) => make('dot', [a, b], arg),
  conv: (x, w, arg) => make('conv', [x, w], arg),
  windowMax: (x, arg) => make('windowMax', [x], arg),
  windowArgmax: (x, arg) => make('windowArgmax', [x], arg),
  windowSum: (x, arg) => make('windowSum', [x], arg),
  windowGather: (x, position, arg) => make('windowGather', [x, position], arg),
  windowScatter: (dy, position, arg, shape) => make('windowScatter', [dy, position], { ...arg, shape }),
  windowSpread: (dy, arg, shape) => make('windowSpread', [dy], { ...arg, shape }),
  take: (x, indices, axis) => make('take', [x, indices], { axis }),
  takeAdd: (dy, indices, axis, extent) => make('takeAdd', [dy, indices], { axis, extent }),
  takeAlong: (x, indices, axis) => make('takeAlong', [x, indices], { axis }),
  takeAlongAdd: (dy, indices, axis, extent) => make('takeAlongAdd', [dy, indices], { axis, extent }),
  putRows: (x, rows, indices) => make('putRows', [x, rows, indices], undefined),
  dynamicSlice: (x, starts, size) => make('dynamicSlice', [x, ...starts], { size }),
  dynamicUpdateSlice: (x, update, starts) => make('dynamicUpdateSlice', [x, update, ...starts], undefined),
  cumsum: (x, axis, { reverse = false, exclusive = false } = {}) => make('cumsum', [x], { axis, reverse, exclusive }),
  cumprod: (x, axis, { reverse = false, exclusive = false } = {}) => make('cumprod', [x], { axis, reverse, exclusive }),
  cummax: (x, axis, { reverse = false } = {}) => make('cummax', [x], { axis, reverse }),
  argsort: (x, axis, descending = false) => make('argsort', [x], { axis, descending }),
  attention: (q, k, v, first, end, scale) => make('attention', [q, k, v, first, end], { scale }),
  attentionLse: (q, k, first, end, scale) => make('attentionLse', [q, k, first, end], { scale }),
  attentionGrad: (inputs, out, lse, dy, scale) => make('attentionGrad', [...inputs, out, lse, dy], { scale }),
  randomBits: (seed, step, shape, stream) => make('randomBits', [seed, step], { shape, stream }),
  stopGradient: (x) => make('stopGradient', [x], undefined),
  customGradient: (value, args, rule) => make('customGradient', [value, ...args], { rule }),
  barrier: (x, others) => make('barrier', [x, ...others], undefined),
};

/** A reduction, with axes ascending; over no axes it is its input where the dtype stays. */
function reduced(op: 'sum' | 'prod' | 'reduceMax' | 'reduceMin', x: Node, axes: readonly number[]): Node {
  const node = make(op, [x], { axes: [...axes].sort((a, b) => a - b) });
  return axes.length === 0 && node.dtype === x.dtype ? x : node;
}
