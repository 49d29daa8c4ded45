/** @file From what a caller passes to nodes of one dtype: conversion and NumPy's promotion with weak scalars. */
import { allocate, type DType, dtypes, encode, isFloat, isInteger, promote, requireDType, type TypedArray } from '../base/dtype.js';
import { DTypeError, ShapeError } from '../base/errors.js';
import { type Shape, showShape, size } from '../base/shape.js';
import { ops } from '../graph/builder.js';
import type { Node } from '../graph/node.js';
import { flatten } from './format.js';
import { Storage } from './storage.js';
import { type HostArray, isReadable, isTensor, Tensor, type TensorLike } from './tensor.js';

/**
 * Any value as a tensor. Numbers and nested numbers become f32 (integers too: say `dtype: 'i32'` for indices), booleans
 * bool, typed arrays keep their element type (Float64Array → f32, Int16Array and BigInt64Array → i32). Data are copied.
 */
export function toTensor(x: TensorLike, dtype?: DType): Tensor {
  if (dtype !== undefined) requireDType(dtype, 'tensor');
  if (isTensor(x)) return dtype && dtype !== x.dtype ? new Tensor(ops.cast(x.node, dtype)) : x;
  if (isReadable(x)) return toTensor(x.read(), dtype);
  if (typeof x === 'number') return new Tensor(ops.full([], x, dtype ?? 'f32'));
  if (typeof x === 'boolean') return new Tensor(ops.full([], x ? 1 : 0, dtype ?? 'bool'));
  if (ArrayBuffer.isView(x)) return fromHost(x, [x.length], dtype);
  const { values, shape, isBool } = flatten(x);
  const to = dtype ?? (isBool ? 'bool' : 'f32');
  return new Tensor(Storage.of(to, shape, encodeAll(values, to)).node);
}

/** `shape` when it is one. Throws ShapeError unless it is an array of whole numbers ≥ 0. */
export function requireShape(shape: unknown, who: string): Shape {
  if (Array.isArray(shape) && shape.every((d) => Number.isInteger(d) && d >= 0)) return shape;
  const shown = Array.isArray(shape) ? `[${shape.map(showValue).join(', ')}]` : showValue(shape);
  throw new ShapeError(
    `${who}: the shape is ${shown}. Expected an array of whole numbers ≥ 0.${typeof shape === 'number' ? ` Write [${shape}].` : ''}`,
  );
}
const showValue = (x: unknown): string =>
  isTensor(x)
    ? 'a tensor'
    : Array.isArray(x)
      ? 'an array'
      : typeof x === 'object' && x !== null
        ? 'an object'
        : typeof x === 'string'
          ? `"${x}"`
          : String(x);

function encodeAll(values: ArrayLike<number | bigint>, dtype: DType): TypedArray {
  const data = allocate(dtype, values.length);
  for (let i = 0; i < data.length; i++) data[i] = encode(dtype, Number(values[i]));
  return data;
}

const naturalDType = (x: HostArray): DType => {
  if (x instanceof Float32Array || x instanceof Float64Array) return 'f32';
  if (x instanceof Uint32Array) return 'u32';
  if (x instanceof Int8Array) return 'i8';
  if (x instanceof Uint8Array || x instanceof Uint8ClampedArray) return 'u8';
  return 'i32';
};

/** A tensor over a copy of a typed array; a Uint16Array with dtype f16 or bf16 is taken as bit patterns. */
export function fromHost(x: HostArray, shape: Shape, dtype = naturalDType(x)): Tensor {
  requireDType(dtype, 'tensor');
  requireShape(shape, 'tensor');
  if (size(shape) !== x.length)
    throw new ShapeError(`tensor: ${x.length} elements do not fill shape ${showShape(shape)}. Expected ${size(shape)} elements.`);
  const isStorageForm = dtypes[dtype].array === x.constructor && dtype !== 'bool';
  const data = isStorageForm ? (x as TypedArray).slice() : encodeAll(x, dtype);
  return new Tensor(Storage.of(dtype, shape, data).node);
}

export const toNode = (x: TensorLike, dtype?: DType): Node => toTensor(x, dtype).node;

/** `x` with a floating dtype: integers and bool become f32. */
export function floatNode(x: TensorLike): Node {
  const n = toNode(x);
  return isFloat(n.dtype) ? n : ops.cast(n, 'f32');
}
/** `x` with a number dtype: bool becomes i32. */
export function numberNode(x: TensorLike): Node {
  const n = toNode(x);
  return n.dtype === 'bool' ? ops.cast(n, 'i32') : n;
}
/** √x whose gradient at 0 is 0, as PyTorch's norms and deviations have it (the root's own is ∞, and ∞·0 is NaN). */
export function rootNode(x: Node): Node {
  const isZero = ops.eq(x, ops.constant(0, x));
  return ops.select(isZero, ops.constant(0, x), ops.sqrt(ops.select(isZero, ops.constant(1, x), x)));
}
/** Indices: any integer dtype as i32; whole-valued numbers are accepted. */
export function indexNode(x: TensorLike, who: string): Node {
  if (isTensor(x) || isReadable(x)) {
    const n = toNode(x);
    if (!isInteger(n.dtype) && n.dtype !== 'bool')
      throw new DTypeError(`${who}: indices have dtype ${n.dtype}. Expected an integer dtype. Use cast(indices, 'i32').`);
    return ops.cast(n, 'i32');
  }
  return toNode(x, 'i32');
}

/** The dtype that a weak scalar takes beside `other`. */
function weakDType(x: number | boolean, other: DType): DType {
  if (typeof x === 'boolean') return other;
  if (isFloat(other)) return other;
  if (!Number.isInteger(x)) return 'f32';
  return other === 'bool' ? 'i32' : other;
}

const isWeak = (x: TensorLike): x is number | boolean => typeof x === 'number' || typeof x === 'boolean';

/** Result dtype of several operands; numbers count as weak. */
export function resultDType(...xs: TensorLike[]): DType {
  const strong = xs.filter((x) => !isWeak(x)).map((x) => toTensor(x).dtype);
  let dtype: DType | null = strong.length > 0 ? strong.reduce(promote) : null;
  for (const x of xs) if (isWeak(x)) dtype = dtype === null ? (typeof x === 'boolean' ? 'bool' : 'f32') : weakDType(x, dtype);
  return dtype ?? 'f32';
}

/** Operands in their common dtype; scalars become constants of it. */
export function promoted(xs: readonly TensorLike[], least?: (dtype: DType) => DType): Node[] {
  const values = xs.map((x) => (isWeak(x) ? x : toTensor(x)));
  const common = resultDType(...values);
  const dtype = least ? least(common) : common;
  return values.map((x) => (isWeak(x) ? ops.full([], Number(x), dtype) : ops.cast(x.node, dtype)));
}
/** What a `least` may be: floats stay, the rest becomes f32; or bool becomes i32. */
export const atLeastFloat = (d: DType): DType => (isFloat(d) ? d : 'f32');
export const atLeastInt = (d: DType): DType => (d === 'bool' ? 'i32' : d);
