/** @file Tensors from data and from nothing. Default dtype f32, as Keras's floatx. */
import { type DType, dtypes, isInteger } from '../base/dtype.js';
import { ConfigError, ShapeError } from '../base/errors.js';
import { type Shape, size } from '../base/shape.js';
import { ops } from '../graph/builder.js';
import { fromHost, toNode, toTensor } from './operand.js';
import { reshape } from './ops-shape.js';
import { Storage } from './storage.js';
import { fromNode, type HostArray, type Tensor, type TensorLike } from './tensor.js';

/**
 * A tensor from numbers, booleans, nested arrays or a typed array (copied). Numbers are f32 and booleans bool unless
 * `dtype` says otherwise: integers stay f32 too, so give `dtype: 'i32'` for indices. `shape` reshapes flat data.
 * @example
 * const matrix = tensor([[1, 2], [3, 4]]);
 * const picture = tensor(new Uint8Array(784), { shape: [28, 28] });
 * console.log(matrix.dtype, picture.dtype); // → f32 u8
 */
export function tensor(values: TensorLike, options: { dtype?: DType; shape?: Shape } | DType = {}): Tensor {
  const { dtype, shape } = typeof options === 'string' ? { dtype: options, shape: undefined } : options;
  if (ArrayBuffer.isView(values)) return fromHost(values, shape ?? [values.length], dtype);
  const t = toTensor(values, dtype);
  return shape ? reshape(t, shape) : t;
}
/** Keras's name for `tensor`. */
export const convertToTensor = tensor;

/** Over a typed array without copying it: it must not change while the tensor lives. */
export function wrap(values: HostArray & { buffer: ArrayBufferLike }, shape: Shape, dtype: DType): Tensor {
  if (dtypes[dtype].array !== values.constructor) return fromHost(values, shape, dtype);
  if (values.length !== size(shape))
    throw new ShapeError(`wrap: ${values.length} elements do not fill [${shape}]. Expected ${size(shape)}.`);
  return fromNode(
    Storage.of(dtype, shape, values as Exclude<typeof values, Float64Array | Uint8ClampedArray | Int16Array | BigInt64Array>).node,
  );
}

export const full = (shape: Shape, value: TensorLike, dtype?: DType): Tensor =>
  typeof value === 'number' || typeof value === 'boolean'
    ? fromNode(ops.full(shape, Number(value), dtype ?? (typeof value === 'boolean' ? 'bool' : 'f32')))
    : fromNode(ops.broadcast(toNode(value, dtype), shape));
export const zeros = (shape: Shape, dtype: DType = 'f32'): Tensor => fromNode(ops.full(shape, 0, dtype));
export const ones = (shape: Shape, dtype: DType = 'f32'): Tensor => fromNode(ops.full(shape, 1, dtype));
export const fullLike = (x: TensorLike, value: number, dtype?: DType): Tensor => {
  const n = toNode(x);
  return fromNode(ops.full(n.shape, value, dtype ?? n.dtype));
};
export const zerosLike = (x: TensorLike, dtype?: DType): Tensor => fullLike(x, 0, dtype);
export const onesLike = (x: TensorLike, dtype?: DType): Tensor => fullLike(x, 1, dtype);

/** start, start + step … below stop; `arange(n)` counts from 0. f32 unless a dtype is given. Throws ConfigError for step 0. */
export function arange(start: number, stop?: number, step = 1, dtype: DType = 'f32'): Tensor {
  const [from, to] = stop === undefined ? [0, start] : [start, stop];
  if (step === 0) throw new ConfigError('arange: step is 0. Expected a step ≠ 0.');
  const length = Math.max(0, Math.ceil((to - from) / step));
  const whole = Number.isInteger(from) && Number.isInteger(step);
  if (isInteger(dtype) && !whole)
    throw new ConfigError(`arange: start ${from} and step ${step} are not whole. Expected integers for dtype ${dtype}.`);
  const i = ops.iota([length], 0, dtype);
  return fromNode(ops.add(ops.mul(i, ops.full([], step, dtype)), ops.full([], from, dtype)));
}
/** `count` numbers from start to stop, evenly spaced, stop included unless `endpoint` is false. */
export function linspace(start: number, stop: number, count = 50, options: { endpoint?: boolean; dtype?: DType } = {}): Tensor {
  const last = options.endpoint === false ? count : count - 1;
  // On the host in double precision, so that the ends are met exactly.
  const values = Float64Array.from({ length: count }, (_, i) =>
    i === last && last > 0 ? stop : start + (last > 0 ? (i * (stop - start)) / last : 0),
  );
  return fromHost(values, [count], options.dtype ?? 'f32');
}
/** baseˢᵗᵃʳᵗ … baseˢᵗᵒᵖ, evenly spaced in the exponent. */
export function logspace(
  start: number,
  stop: number,
  count = 50,
  options: { base?: number; endpoint?: boolean; dtype?: DType } = {},
): Tensor {
  const last = options.endpoint === false ? count : Math.max(1, count - 1);
  const values = Float64Array.from({ length: count }, (_, i) => (options.base ?? 10) ** (start + (i * (stop - start)) / last));
  return fromHost(values, [count], options.dtype ?? 'f32');
}
/** Ones on the k-th diagonal of rows × columns. */
export function eye(rows: number, columns = rows, k = 0, dtype: DType = 'f32'): Tensor {
  const r = ops.iota([rows, columns], 0, 'i32');
  const c = ops.iota([rows, columns], 1, 'i32');
  return fromNode(ops.cast(ops.eq(c, ops.add(r, ops.full([], k, 'i32'))), dtype));
}
export const identity = (n: number, dtype: DType = 'f32'): Tensor => eye(n, n, 0, dtype);
/** Ones at and below the k-th diagonal. */
export function tri(rows: number, columns = rows, k = 0, dtype: DType = 'f32'): Tensor {
  const r = ops.iota([rows, columns], 0, 'i32');
  const c = ops.iota([rows, columns], 1, 'i32');
  return fromNode(ops.cast(ops.le(c, ops.add(r, ops.full([], k, 'i32'))), dtype));
}
