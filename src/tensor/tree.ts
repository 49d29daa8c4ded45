/** @file Trees: tensors inside nested arrays and plain objects, flattened and put back. */
import { showShape } from '../base/shape.js';
import { isTensor, type Tensor } from './tensor.js';

/** Tensors and other values in nested arrays and plain objects. */
export type Tree = unknown;

const isPlain = (x: unknown): x is Record<string, unknown> =>
  typeof x === 'object' && x !== null && (Object.getPrototypeOf(x) === Object.prototype || Object.getPrototypeOf(x) === null);

/** The tensors of a tree in order, and a text that two trees share when they differ only in the tensors' elements. */
export function flattenTree(tree: Tree): { leaves: Tensor[]; key: string } {
  const leaves: Tensor[] = [];
  const describe = (x: unknown): string => {
    if (isTensor(x)) {
      leaves.push(x);
      return `${x.dtype}${showShape(x.shape)}`;
    }
    if (Array.isArray(x)) return `[${x.map(describe).join()}]`;
    if (isPlain(x))
      return `{${Object.keys(x)
        .sort()
        .map((k) => `${JSON.stringify(k)}:${describe(x[k])}`)
        .join()}}`;
    if (typeof x === 'function' || (typeof x === 'object' && x !== null)) return `@${identity(x)}`;
    return typeof x === 'string' ? JSON.stringify(x) : String(x);
  };
  return { key: describe(tree), leaves };
}

/** The tree with its tensors replaced, in the order of `flattenTree`. */
export function mapTree<T>(tree: T, replace: (t: Tensor) => Tensor): T {
  const walk = (x: unknown): unknown => {
    if (isTensor(x)) return replace(x);
    if (Array.isArray(x)) return x.map(walk);
    if (isPlain(x)) {
      // Sorted, so that the order is flattenTree's.
      const mapped = new Map(
        Object.keys(x)
          .sort()
          .map((k) => [k, walk(x[k])]),
      );
      return Object.fromEntries(Object.keys(x).map((k) => [k, mapped.get(k)]));
    }
    return x;
  };
  return walk(tree) as T;
}

const identities = new WeakMap<object, number>();
let nextIdentity = 0;
/** A number for an object, the same every time. */
function identity(x: object): number {
  let id = identities.get(x);
  if (id === undefined) {
    id = nextIdentity++;
    identities.set(x, id);
  }
  return id;
}
