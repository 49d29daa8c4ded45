/**
 * @file What a step works on: the columns of a data set as people give them (arrays, columns, tensors, lists or objects
 * of these), and a Batch of traced tensors.
 */
import type { DType } from '../base/dtype.js';
import { ConfigError, ShapeError } from '../base/errors.js';
import { type Shape, showShape } from '../base/shape.js';
import { type ArrayColumn, type ColumnLike, toColumn } from '../data/column.js';
import type { PartialShape } from '../layers/symbolic.js';
import { isTensor, type Tensor, type TensorSpec } from '../tensor/index.js';

/** One, a list, or an object by input or output name. */
export type Structure<T> = T | readonly T[] | { readonly [name: string]: T };
/** A column of data: the first axis counts the examples. */
export type DataLike = ColumnLike | Tensor;
/** Data for a model: one column, or several in a list or by name. */
export type Data = Structure<DataLike>;

/** Columns on the host, all with the same number of rows. */
export interface Columns {
  readonly inputs: readonly ArrayColumn[];
  readonly targets: readonly ArrayColumn[];
  /** f32 [n]: how much each example counts. */
  readonly weight: ArrayColumn | null;
}

/** What a traced step sees of a batch. */
export interface Batch {
  /** The first input, and all of them. */
  readonly x: Tensor;
  readonly inputs: readonly Tensor[];
  /** The first target (undefined without targets), and all of them. */
  readonly y: Tensor;
  readonly targets: readonly Tensor[];
  /** f32 [size], or null when every example counts 1. */
  readonly sampleWeight: Tensor | null;
  /** Number of examples. */
  readonly size: number;
}

export function makeBatch(inputs: readonly Tensor[], targets: readonly Tensor[], sampleWeight: Tensor | null, size: number): Batch {
  return { inputs, targets, sampleWeight, size, x: inputs[0], y: targets[0] };
}

export const specOf = (c: { readonly shape: Shape; readonly dtype: DType }): TensorSpec => ({ shape: c.shape, dtype: c.dtype });

const isColumn = (x: unknown): boolean =>
  isTensor(x) || ArrayBuffer.isView(x) || (typeof x === 'object' && x !== null && 'data' in x && 'shape' in x && 'dtype' in x);
const isNested = (x: unknown): boolean => Array.isArray(x) && x.every((v) => typeof v === 'number' || isNested(v));

/**
 * The columns in the order of `names`. A list of columns is told from nested numbers by its elements; where both are
 * possible (lists of nested numbers), `names.length` decides.
 */
async function listColumns(data: Data, names: readonly string[] | null, who: string): Promise<ArrayColumn[]> {
  const column = async (x: unknown, name: string): Promise<ArrayColumn> => {
    if (isTensor(x)) {
      // f16 and bf16 come as Float32Array.
      const dtype = x.dtype === 'f16' || x.dtype === 'bf16' ? 'f32' : x.dtype;
      return toColumn({ data: await x.data(), shape: [...x.shape], dtype }, name);
    }
    if (typeof x !== 'object' || x === null || !(isColumn(x) || isNested(x)))
      throw new ConfigError(
        `${name}: expected a typed array, a tensor, nested arrays of numbers or a column { data, shape, dtype }, received ${describe(x)}.`,
      );
    return toColumn(x as ColumnLike, name);
  };
  if (isColumn(data)) return [await column(data, who)];
  if (Array.isArray(data)) {
    const list: readonly unknown[] = data;
    const isList = list.length > 0 && (list.every(isColumn) || (names !== null && names.length > 1 && list.length === names.length));
    if (!isList) return [await column(data, who)];
    return Promise.all(list.map((x, i) => column(x, `${who} ${i}`)));
  }
  if (typeof data !== 'object' || data === null) throw new ConfigError(`${who}: expected arrays, received ${describe(data)}.`);
  const byName = data as { readonly [name: string]: unknown };
  if (!names) return Promise.all(Object.entries(byName).map(([name, x]) => column(x, `${who} "${name}"`)));
  const unknown = Object.keys(byName).filter((k) => !names.includes(k));
  const missing = names.filter((n) => !(n in byName));
  if (unknown.length > 0 || missing.length > 0)
    throw new ConfigError(
      `${who}: the names don't fit. Expected ${names.join(', ')}, received ${Object.keys(byName).join(', ') || 'none'}. Use the model's names.`,
    );
  return Promise.all(names.map((n) => column(byName[n], `${who} "${n}"`)));
}
const describe = (x: unknown): string => (x === null ? 'null' : typeof x === 'object' ? (x.constructor?.name ?? 'an object') : typeof x);

export interface ColumnNames {
  readonly who: string;
  readonly inputNames: readonly string[] | null;
  readonly outputNames: readonly string[] | null;
}

/** x, y and weights as checked columns. Throws ConfigError and ShapeError that name `who`. */
export async function toColumns(x: Data, y: Data | undefined, weight: DataLike | undefined, names: ColumnNames): Promise<Columns> {
  const { who } = names;
  const inputs = await listColumns(x, names.inputNames, `${who}: x`);
  const targets = y === undefined || y === null ? [] : await listColumns(y, names.outputNames, `${who}: y`);
  const [w] = weight === undefined || weight === null ? [null] : await listColumns(weight, null, `${who}: sampleWeight`);
  checkCount(inputs, names.inputNames, 'x', who);
  if (targets.length > 0) checkCount(targets, names.outputNames, 'y', who);
  const n = inputs[0].shape[0];
  for (const [what, list] of [
    ['x', inputs],
    ['y', targets],
    ['sampleWeight', w ? [w] : []],
  ] as const)
    for (const c of list)
      if (c.shape[0] !== n)
        throw new ShapeError(
          `${who}: ${what} has ${c.shape[0]} rows and x has ${n}. Expected as many: one row an example. Their shapes are ${showShape(c.shape)} and ${showShape(inputs[0].shape)}.`,
        );
  if (w && !(w.shape.length === 1 || (w.shape.length === 2 && w.shape[1] === 1)))
    throw new ShapeError(`${who}: sampleWeight has shape ${showShape(w.shape)}. Expected [${n}]: one weight an example.`);
  return { inputs, targets, weight: w ? toF32(w) : null };
}
function checkCount(list: readonly ArrayColumn[], names: readonly string[] | null, what: string, who: string): void {
  if (names && list.length !== names.length)
    throw new ConfigError(`${who}: ${list.length} columns for ${what}. Expected ${names.length}: ${names.join(', ')}.`);
}
const toF32 = (w: ArrayColumn): ArrayColumn => ({ data: Float32Array.from(w.data), shape: [w.shape[0]], dtype: 'f32' });

/** How much each class counts, by class number. */
export type ClassWeight = { readonly [label: number]: number } | ReadonlyMap<number, number>;

/** Throws ConfigError for a key of classWeight that is no class of an output of this shape. */
export function checkClasses(classWeight: ClassWeight | undefined, output: PartialShape, who: string): void {
  const classes = output[output.length - 1];
  // One value an example: any label can be weighted.
  if (!classWeight || classes === null || classes < 2) return;
  for (const label of weightsByLabel(classWeight).keys())
    if (!(Number.isInteger(label) && label >= 0 && label < classes))
      throw new ConfigError(
        `${who}: classWeight has the key ${label}, which is no class of the model. Expected class numbers in [0, ${classes}), received ${label}.`,
      );
}
function weightsByLabel(classWeight: ClassWeight): ReadonlyMap<number, number> {
  return classWeight instanceof Map ? classWeight : new Map(Object.entries(classWeight).map(([k, v]) => [Number(k), v]));
}

/** The columns with weights multiplied by those of the classes of the (only) target. */
export function applyClassWeight(columns: Columns, classWeight: ClassWeight | undefined, who: string): Columns {
  if (!classWeight) return columns;
  if (columns.targets.length !== 1)
    throw new ConfigError(`${who}: classWeight with ${columns.targets.length} targets. Expected one target. Use sampleWeight.`);
  const weightOf = weightsByLabel(classWeight);
  if (!(classWeight instanceof Map))
    for (const key of Object.keys(classWeight))
      if (key.trim() === '' || Number.isNaN(Number(key)))
        throw new ConfigError(`${who}: classWeight has the key "${key}". Expected class numbers, such as { 0: 1, 1: 2.5 }.`);
  for (const [label, weight] of weightOf)
    if (!(Number.isFinite(weight) && weight >= 0))
      throw new ConfigError(`${who}: classWeight of class ${label} is ${String(weight)}. Expected a number ≥ 0.`);
  const [target] = columns.targets;
  const n = target.shape[0];
  const width = n === 0 ? 1 : target.data.length / n;
  const data = new Float32Array(n);
  for (let i = 0; i < n; i++) {
    let label = target.data[i * width];
    if (width > 1) {
      label = 0;
      for (let k = 1; k < width; k++) if (target.data[i * width + k] > target.data[i * width + label]) label = k;
    }
    data[i] = (weightOf.get(label) ?? 1) * (columns.weight ? columns.weight.data[i] : 1);
  }
  return { ...columns, weight: { data, shape: [n], dtype: 'f32' } };
}
