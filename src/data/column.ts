/** @file A column: one typed array with a shape whose first axis counts the examples. What a Dataset holds and batches are made of. */
import { allocate, type DType, dtypes, isDType, type TypedArray } from '../base/dtype.js';
import { ConfigError, ShapeError } from '../base/errors.js';
import { size } from '../base/shape.js';

/** `data` holds `shape` in row-major order; `shape[0]` is the number of examples. */
export interface ArrayColumn {
  data: TypedArray;
  shape: number[];
  dtype: DType;
}

/** Nested number arrays, as people write small data by hand. */
export type NestedNumbers = readonly number[] | readonly NestedNumbers[];

/** Typed arrays that data may come in: those that hold a dtype, and those that are converted (Float64Array → f32, Int16Array and BigInt64Array → i32). */
export type HostArray = TypedArray | Float64Array | Uint8ClampedArray | Int16Array | BigInt64Array;

/** What `Dataset.fromArrays` and friends take for a column. A bare typed array is a column of scalars, [n]. */
export type ColumnLike = { data: HostArray; shape: number[]; dtype: DType } | HostArray | NestedNumbers;

/** Elements of one example. */
export const rowSize = (c: ArrayColumn): number => size(c.shape.slice(1));

export const isTypedArray = (x: object): x is HostArray => ArrayBuffer.isView(x) && !(x instanceof DataView);

/** Whether `x` is a column rather than a list or record of columns. */
export const isColumn = (x: object): x is ArrayColumn =>
  'data' in x && 'shape' in x && 'dtype' in x && typeof x.data === 'object' && x.data !== null && isTypedArray(x.data) && isDType(x.dtype);

/** Arrays that hold no dtype as the nearest that does, as `tensor()` takes them; the others as they are. */
function storable(x: HostArray): TypedArray {
  if (x instanceof Float64Array) return Float32Array.from(x);
  if (x instanceof Uint8ClampedArray) return new Uint8Array(x.buffer, x.byteOffset, x.length);
  if (x instanceof Int16Array) return Int32Array.from(x);
  if (x instanceof BigInt64Array) return Int32Array.from(x, Number);
  return x;
}

const dtypeOf = (data: TypedArray, who: string): DType => {
  if (data instanceof Float32Array) return 'f32';
  if (data instanceof Int32Array) return 'i32';
  if (data instanceof Uint32Array) return 'u32';
  if (data instanceof Int8Array) return 'i8';
  if (data instanceof Uint8Array) return 'u8';
  throw new ConfigError(
    `${who}: cannot tell the dtype of a ${Object.prototype.toString.call(data).slice(8, -1)}. ` +
      'Expected a Float32Array, Float64Array, Int32Array, Uint32Array, Int8Array, Uint8Array or a column { data, shape, dtype }.',
  );
};

function flatten(x: NestedNumbers, who: string): ArrayColumn {
  const shape: number[] = [];
  for (let level: NestedNumbers | number = x; Array.isArray(level); level = level[0]) {
    shape.push(level.length);
    if (level.length === 0) break;
  }
  const data = new Float32Array(size(shape));
  let at = 0;
  const walk = (level: NestedNumbers | number, depth: number): void => {
    if (typeof level === 'number') {
      if (depth !== shape.length)
        throw new ShapeError(`${who}: nested arrays are ragged. Expected every row to have shape [${shape.slice(1)}].`);
      data[at++] = level;
      return;
    }
    if (depth >= shape.length || !Array.isArray(level) || level.length !== shape[depth])
      throw new ShapeError(`${who}: nested arrays are ragged. Expected every row to have shape [${shape.slice(1)}].`);
    for (const item of level) walk(item, depth + 1);
  };
  walk(x, 0);
  return { data, shape, dtype: 'f32' };
}

/**
 * A column from a column, a typed array ([n]) or nested numbers (f32). Typed arrays that hold a dtype are not
 * copied; a Float64Array becomes f32.
 * @throws ShapeError for ragged arrays or a shape that does not fit the data, ConfigError for anything else.
 */
export function toColumn(x: ColumnLike, who: string): ArrayColumn {
  if (typeof x !== 'object' || x === null) throw new ConfigError(`${who}: expected arrays, received ${typeof x}.`);
  if (isTypedArray(x)) {
    const data = storable(x);
    return { data, shape: [x.length], dtype: dtypeOf(data, who) };
  }
  if (Array.isArray(x)) return flatten(x, who);
  if (isColumn(x)) {
    if (size(x.shape) !== x.data.length)
      throw new ShapeError(`${who}: shape [${x.shape}] needs ${size(x.shape)} elements. Received ${x.data.length}.`);
    const data = storable(x.data);
    if (!(data instanceof dtypes[x.dtype].array))
      throw new ConfigError(`${who}: dtype ${x.dtype} is held in a ${dtypes[x.dtype].array.name}. Received a ${x.data.constructor.name}.`);
    return data === x.data ? x : { ...x, data };
  }
  throw new ConfigError(`${who}: expected a typed array, nested arrays or a column { data, shape, dtype }.`);
}

/** Rows `indices` of `c`, in that order, as a new column. Indices are not checked. */
export function gatherRows(c: ArrayColumn, indices: ArrayLike<number>): ArrayColumn {
  const row = rowSize(c);
  const data = allocate(c.dtype, row * indices.length);
  if (row === 1) for (let i = 0; i < indices.length; i++) data[i] = c.data[indices[i]];
  else for (let i = 0; i < indices.length; i++) data.set(c.data.subarray(indices[i] * row, (indices[i] + 1) * row), i * row);
  return { data, shape: [indices.length, ...c.shape.slice(1)], dtype: c.dtype };
}

/** Rows start … end as a view: no copy. */
export function sliceRows(c: ArrayColumn, start: number, end: number): ArrayColumn {
  const row = rowSize(c);
  return { data: c.data.subarray(start * row, end * row), shape: [end - start, ...c.shape.slice(1)], dtype: c.dtype };
}

/** Joins columns of one row shape and dtype along the first axis. */
export function concatRows(columns: readonly ArrayColumn[], who: string): ArrayColumn {
  const first = columns[0];
  let n = 0;
  for (const c of columns) {
    if (c.dtype !== first.dtype || c.shape.length !== first.shape.length || c.shape.some((d, i) => i > 0 && d !== first.shape[i]))
      throw new ShapeError(
        `${who}: examples of one batch differ. Expected ${first.dtype} [${first.shape.slice(1)}], received ${c.dtype} [${c.shape.slice(1)}]. Use map() to bring them to one shape.`,
      );
    n += c.shape[0];
  }
  const row = rowSize(first);
  const data = allocate(first.dtype, n * row);
  let at = 0;
  for (const c of columns) {
    data.set(c.data, at);
    at += c.data.length;
  }
  return { data, shape: [n, ...first.shape.slice(1)], dtype: first.dtype };
}
