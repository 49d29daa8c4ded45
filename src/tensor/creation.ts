/**
 * @file Tensors from data and from nothing. Default dtype f32, as Keras's floatx. Wherever one is taken it may be given
 * by itself or among options: `zeros([2], 'i32')` is `zeros([2], { dtype: 'i32' })`.
 */
import { type DType, type DTypeOption, dtypes, isInteger, optionalDType, requireDType } from '../base/dtype.js';
import { ConfigError, ShapeError } from '../base/errors.js';
import { checkOptionNames } from '../base/option-names.js';
import { type Shape, size } from '../base/shape.js';
import { ops } from '../graph/builder.js';
import type { Node } from '../graph/node.js';
import { fromHost, requireShape, toNode, toTensor } from './operand.js';
import { reshape } from './ops-shape.js';
import { Storage } from './storage.js';
import { fromNode, type HostArray, type Tensor, type TensorLike } from './tensor.js';

export type { DTypeOption } from '../base/dtype.js';

/**
 * A tensor from numbers, booleans, nested arrays or a typed array (copied). Numbers are f32 and booleans bool unless
 * `dtype` says otherwise: integers stay f32 too, so give `dtype: 'i32'` for indices. `shape` reshapes flat data.
 * @example
 * const matrix = tensor([[1, 2], [3, 4]]);
 * const picture = tensor(new Uint8Array(784), { shape: [28, 28] });
 * console.log(matrix.dtype, picture.dtype); // → f32 u8
 */
export function tensor(values: TensorLike, options: { dtype?: DType; shape?: Shape } | DType = {}): Tensor {
  const { dtype, shape } = namedOptions('tensor', options, { dtype: true, shape: true });
  if (shape !== undefined) requireShape(shape, 'tensor');
  if (ArrayBuffer.isView(values)) return fromHost(values, shape ?? [values.length], dtype);
  const t = toTensor(values, dtype);
  return shape ? reshape(t, shape) : t;
}
/** Keras's name for `tensor`. */
export const convertToTensor = tensor;

/** Options by name, or the dtype alone in their place. Throws ConfigError for a name that is not in `known` and for a dtype there isn't. */
function namedOptions<O extends { dtype?: DType }>(who: string, options: O | DType, known: Readonly<Record<keyof O, true>>): Partial<O> {
  if (typeof options === 'string') return { dtype: requireDType(options, who) } as Partial<O>;
  if (typeof options !== 'object' || options === null) requireDType(options, who);
  checkOptionNames(options, known, who);
  if (options.dtype !== undefined) requireDType(options.dtype, who);
  return options;
}

/** Over a typed array without copying it: it must not change while the tensor lives. */
export function wrap(values: HostArray & { buffer: ArrayBufferLike }, shape: Shape, dtypeOption: DTypeOption): Tensor {
  requireShape(shape, 'wrap');
  const dtype = requireDType(optionalDType(dtypeOption, 'wrap'), 'wrap');
  if (dtypes[dtype].array !== values.constructor) return fromHost(values, shape, dtype);
  if (values.length !== size(shape))
    throw new ShapeError(`wrap: ${values.length} elements do not fill [${shape}]. Expected ${size(shape)}.`);
  return fromNode(
    Storage.of(dtype, shape, values as Exclude<typeof values, Float64Array | Uint8ClampedArray | Int16Array | BigInt64Array>).node,
  );
}

const filled = (who: string, shape: Shape, value: number, dtype: DTypeOption | undefined, natural: DType): Tensor =>
  fromNode(ops.full(requireShape(shape, who), value, optionalDType(dtype, who) ?? natural));

/** `value` everywhere: a number (f32) or a boolean (bool), or data that broadcast to `shape`. Throws ShapeError, ConfigError. */
export const full = (shape: Shape, value: TensorLike, dtype?: DTypeOption): Tensor =>
  typeof value === 'number' || typeof value === 'boolean'
    ? filled('full', shape, Number(value), dtype, typeof value === 'boolean' ? 'bool' : 'f32')
    : fromNode(ops.broadcast(toNode(value, optionalDType(dtype, 'full')), requireShape(shape, 'full')));
/** f32 unless a dtype is given, as `'i32'` or `{ dtype: 'i32' }`. Throws ShapeError, ConfigError. */
export const zeros = (shape: Shape, dtype?: DTypeOption): Tensor => filled('zeros', shape, 0, dtype, 'f32');
/** f32 unless a dtype is given, as `'i32'` or `{ dtype: 'i32' }`. Throws ShapeError, ConfigError. */
export const ones = (shape: Shape, dtype?: DTypeOption): Tensor => filled('ones', shape, 1, dtype, 'f32');
const filledLike = (who: string, x: TensorLike, value: number, dtype: DTypeOption | undefined): Tensor => {
  const n = toNode(x);
  return filled(who, n.shape, value, dtype, n.dtype);
};
/** `value` in the shape of `x`, and in its dtype unless one is given. */
export const fullLike = (x: TensorLike, value: number, dtype?: DTypeOption): Tensor => filledLike('fullLike', x, value, dtype);
export const zerosLike = (x: TensorLike, dtype?: DTypeOption): Tensor => filledLike('zerosLike', x, 0, dtype);
export const onesLike = (x: TensorLike, dtype?: DTypeOption): Tensor => filledLike('onesLike', x, 1, dtype);

/** Optional numbers with a dtype behind the last that is given: `arange(5, 'i32')`. */
function numbersAndDType(
  who: string,
  args: readonly (number | DTypeOption | undefined)[],
): { numbers: (number | undefined)[]; dtype: DType } {
  const isOption = (a: number | DTypeOption | undefined): a is DTypeOption => typeof a !== 'number' && a !== undefined;
  const at = args.findIndex(isOption);
  if (at >= 0 && args.slice(at + 1).some((a) => a !== undefined))
    throw new ConfigError(`${who}: something follows the dtype. Expected numbers, then the dtype at the end.`);
  return {
    numbers: args.map((a) => (typeof a === 'number' ? a : undefined)),
    dtype: optionalDType(args.find(isOption), who) ?? 'f32',
  };
}

/**
 * start, start + step … below stop; `arange(n)` counts from 0. f32 unless a dtype is given, behind the last number.
 * Throws ConfigError for step 0 and for numbers that are not finite.
 * @example
 * console.log(await arange(3, 'i32').array(), await arange(1, 2, 0.5).array()); // → [ 0, 1, 2 ] [ 1, 1.5 ]
 */
export function arange(start: number, stop?: number | DTypeOption, step?: number | DTypeOption, dtypeOption?: DTypeOption): Tensor {
  const { numbers, dtype } = numbersAndDType('arange', [stop, step, dtypeOption]);
  const [from, to] = numbers[0] === undefined ? [0, start] : [start, numbers[0]];
  const by = numbers[1] ?? 1;
  if (by === 0) throw new ConfigError('arange: step is 0. Expected a step ≠ 0.');
  if (![from, to, by].every(Number.isFinite))
    throw new ConfigError(`arange: from ${String(from)} to ${String(to)} by ${by}. Expected finite numbers.`);
  const length = Math.max(0, Math.ceil((to - from) / by));
  const whole = Number.isInteger(from) && Number.isInteger(by);
  if (isInteger(dtype) && !whole)
    throw new ConfigError(`arange: start ${from} and step ${by} are not whole. Expected integers for dtype ${dtype}.`);
  const i = ops.iota([length], 0, dtype);
  return fromNode(ops.add(ops.mul(i, ops.full([], by, dtype)), ops.full([], from, dtype)));
}
/** `count` numbers from start to stop, evenly spaced, stop included unless `endpoint` is false; options, or a dtype alone. */
export function linspace(start: number, stop: number, count = 50, options: { endpoint?: boolean; dtype?: DType } | DType = {}): Tensor {
  const { endpoint, dtype = 'f32' } = namedOptions('linspace', options, { endpoint: true, dtype: true });
  requireShape([count], 'linspace');
  const last = endpoint === false ? count : count - 1;
  // On the host in double precision, so that the ends are met exactly.
  const values = Float64Array.from({ length: count }, (_, i) =>
    i === last && last > 0 ? stop : start + (last > 0 ? (i * (stop - start)) / last : 0),
  );
  return fromHost(values, [count], dtype);
}
/** baseˢᵗᵃʳᵗ … baseˢᵗᵒᵖ, evenly spaced in the exponent; options, or a dtype alone. */
export function logspace(
  start: number,
  stop: number,
  count = 50,
  options: { base?: number; endpoint?: boolean; dtype?: DType } | DType = {},
): Tensor {
  const { base = 10, endpoint, dtype = 'f32' } = namedOptions('logspace', options, { base: true, endpoint: true, dtype: true });
  requireShape([count], 'logspace');
  const last = endpoint === false ? count : Math.max(1, count - 1);
  const values = Float64Array.from({ length: count }, (_, i) => base ** (start + (i * (stop - start)) / last));
  return fromHost(values, [count], dtype);
}
/** column − row − k of rows × columns compared with 0, and the rules of `eye` and `tri` for what is left out. */
function diagonals(
  who: string,
  rows: number,
  rest: readonly (number | DTypeOption | undefined)[],
  compare: (column: Node, row: Node) => Node,
): Tensor {
  const { numbers, dtype } = numbersAndDType(who, rest);
  const shape = requireShape([rows, numbers[0] ?? rows], who);
  const row = ops.add(ops.iota(shape, 0, 'i32'), ops.full([], numbers[1] ?? 0, 'i32'));
  return fromNode(ops.cast(compare(ops.iota(shape, 1, 'i32'), row), dtype));
}
/** Ones on the k-th diagonal of rows × columns; a dtype behind the last number: `eye(3, 'i32')`. */
export const eye = (rows: number, columns?: number | DTypeOption, k?: number | DTypeOption, dtype?: DTypeOption): Tensor =>
  diagonals('eye', rows, [columns, k, dtype], ops.eq);
export const identity = (n: number, dtype?: DTypeOption): Tensor => diagonals('identity', n, [n, 0, dtype], ops.eq);
/** Ones at and below the k-th diagonal; a dtype behind the last number. */
export const tri = (rows: number, columns?: number | DTypeOption, k?: number | DTypeOption, dtype?: DTypeOption): Tensor =>
  diagonals('tri', rows, [columns, k, dtype], ops.le);
