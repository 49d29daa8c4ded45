/**
 * @file What flows through a Dataset: elements { x, y, sampleWeight } whose parts are columns or small trees of them
 * (a list or record for models with several inputs or outputs). An element is one example or, after batch(), one batch.
 */
import { ConfigError, InternalError, ShapeError } from '../base/errors.js';
import { type ArrayColumn, type ColumnLike, concatRows, gatherRows, isColumn, isTypedArray, toColumn } from './column.js';

/** One column, or several by position or by name. */
export type ColumnTree = ArrayColumn | readonly ArrayColumn[] | { readonly [name: string]: ArrayColumn };

/** What people may write for a tree: an array whose first item is a column or typed array lists several columns. */
export type ColumnTreeLike = ColumnLike | readonly ColumnLike[] | { readonly [name: string]: ColumnLike };

/** `y` is undefined for data without targets. */
export interface Element<X extends ColumnTree = ColumnTree, Y extends ColumnTree | undefined = ColumnTree | undefined> {
  readonly x: X;
  readonly y: Y;
  readonly sampleWeight?: ArrayColumn;
}

/** The values of an example: a number is a scalar. */
export type ValueLike = number | ColumnTreeLike | readonly (number | ColumnLike)[] | { readonly [name: string]: number | ColumnLike };

/** What batch takes: parts by name, or [x], [x, y] or [x, y, sampleWeight]. */
export type ElementLike =
  | { readonly x: ValueLike; readonly y?: ValueLike; readonly sampleWeight?: ValueLike }
  | readonly [ValueLike]
  | readonly [ValueLike, ValueLike]
  | readonly [ValueLike, ValueLike, ValueLike];

const scalar = (value: number): ArrayColumn => ({ data: Float32Array.of(value), shape: [], dtype: 'f32' });

const isList = (x: Exclude<ValueLike, number>): x is readonly ColumnLike[] =>
  Array.isArray(x) && typeof x[0] === 'object' && x[0] !== null && (isTypedArray(x[0]) || isColumn(x[0]));

/** Brings a tree to columns. */
export function toTree(x: ValueLike, who: string): ColumnTree {
  if (typeof x === 'number') return scalar(x);
  if (typeof x !== 'object' || x === null)
    throw new ConfigError(`${who}: expected arrays or columns, received ${x === null ? 'null' : typeof x}.`);
  if (isList(x)) return x.map((c, i) => toColumn(c, `${who}[${i}]`));
  if (isTypedArray(x) || isColumn(x) || Array.isArray(x)) return toColumn(x as ColumnLike, who);
  return Object.fromEntries(
    Object.entries(x).map(([name, c]) => [name, typeof c === 'number' ? scalar(c) : toColumn(c, `${who}.${name}`)]),
  );
}

/** The columns of a tree with their names, in order. */
export function columnsOf(tree: ColumnTree): [name: string, column: ArrayColumn][] {
  return isColumn(tree) ? [['', tree]] : Object.entries(tree);
}

/** A tree of the same form with `fn` of each column. */
export function mapTree<T extends ColumnTree | undefined>(tree: T, fn: (column: ArrayColumn, name: string) => ArrayColumn): T;
export function mapTree(tree: ColumnTree | undefined, fn: (column: ArrayColumn, name: string) => ArrayColumn): ColumnTree | undefined {
  if (tree === undefined) return undefined;
  if (isColumn(tree)) return fn(tree, '');
  if (Array.isArray(tree)) return tree.map((c: ArrayColumn, i) => fn(c, String(i)));
  return Object.fromEntries(columnsOf(tree).map(([name, c]) => [name, fn(c, name)]));
}

/** Applies `fn` to every column of an element. */
export function mapElement<X extends ColumnTree, Y extends ColumnTree | undefined>(
  e: Element<X, Y>,
  fn: (column: ArrayColumn) => ArrayColumn,
): Element<X, Y> {
  const x = mapTree(e.x, fn);
  const y = mapTree(e.y, fn);
  return e.sampleWeight === undefined ? { x, y } : { x, y, sampleWeight: fn(e.sampleWeight) };
}

/** @throws ConfigError when `value` has none of the accepted forms */
export function toElement(value: ElementLike, who: string): Element {
  if (typeof value !== 'object' || value === null) throw new ConfigError(`${who}: expected { x, y } or [x, y], received ${String(value)}.`);
  let parts: { readonly x: ValueLike; readonly y?: ValueLike; readonly sampleWeight?: ValueLike };
  if ('x' in value) parts = value;
  else if (Array.isArray(value) && value.length >= 1 && value.length <= 3) parts = { x: value[0], y: value[1], sampleWeight: value[2] };
  else
    throw new ConfigError(
      `${who}: expected { x, y } or [x, y], received ${Array.isArray(value) ? `an array of ${value.length}` : Object.keys(value).join(', ') || 'an empty object'}.`,
    );
  const x = toTree(parts.x, `${who} x`);
  const y = parts.y === undefined ? undefined : toTree(parts.y, `${who} y`);
  if (parts.sampleWeight === undefined) return { x, y };
  const sampleWeight = toTree(parts.sampleWeight, `${who} sampleWeight`);
  if (!isColumn(sampleWeight)) throw new ConfigError(`${who}: expected sampleWeight to be one column.`);
  return { x, y, sampleWeight };
}

const unsqueeze = (c: ArrayColumn): ArrayColumn => ({ data: c.data, shape: [1, ...c.shape], dtype: c.dtype });

/** Stacks examples of one form to a batch: every column gains a first axis. */
export function stackElements<X extends ColumnTree, Y extends ColumnTree | undefined>(
  elements: readonly Element<X, Y>[],
  who: string,
): Element<X, Y> {
  const first = elements[0];
  const names = namesOf(first);
  const other = elements.find((e) => namesOf(e) !== names);
  if (other)
    throw new ShapeError(
      `${who}: examples of one batch differ in form. Expected ${names} in each, received ${namesOf(other)}. Use map() to bring them to one form.`,
    );
  const stack =
    (part: 'x' | 'y') =>
    (_: ArrayColumn, name: string): ArrayColumn =>
      stackColumns(
        elements.map((e) => columnNamed(e[part], name)),
        `${who} ${part}${name && `.${name}`}`,
      );
  const x = mapTree(first.x, stack('x'));
  const y = mapTree(first.y, stack('y'));
  if (first.sampleWeight === undefined) return { x, y };
  const weights = elements.map((e) => columnNamed(e.sampleWeight, ''));
  return { x, y, sampleWeight: stackColumns(weights, `${who} sampleWeight`) };
}

/** `x.left, x.right, y`: what an element is made of. */
const namesOf = (e: Element): string =>
  (['x', 'y', 'sampleWeight'] as const)
    .flatMap((part) => {
      const tree = e[part];
      return tree === undefined ? [] : columnsOf(tree).map(([name]) => `${part}${name && `.${name}`}`);
    })
    .sort()
    .join(', ');

function columnNamed(tree: ColumnTree | undefined, name: string): ArrayColumn {
  const found = tree === undefined ? undefined : columnsOf(tree).find(([n]) => n === name)?.[1];
  if (found === undefined) throw new InternalError(`stackElements: no column "${name}" in an element of the same form.`);
  return found;
}

const stackColumns = (columns: readonly ArrayColumn[], who: string): ArrayColumn => concatRows(columns.map(unsqueeze), who);

/** Rows `indices` of every column as one batch. */
export function gatherElement<X extends ColumnTree, Y extends ColumnTree | undefined>(
  e: Element<X, Y>,
  indices: ArrayLike<number>,
): Element<X, Y> {
  return mapElement(e, (c) => gatherRows(c, indices));
}

/** Row `index` of every column as one example. */
export function rowElement<X extends ColumnTree, Y extends ColumnTree | undefined>(e: Element<X, Y>, index: number): Element<X, Y> {
  return mapElement(e, (c) => {
    const row = gatherRows(c, [index]);
    return { data: row.data, shape: row.shape.slice(1), dtype: row.dtype };
  });
}
