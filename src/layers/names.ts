/** @file Names: Keras's automatic ones, the paths of weights ("block/conv2d/kernel"), and the model path in errors. */
import { TenonError } from '../base/errors.js';

const counts = new Map<string, number>();
const scopes: string[] = [];
/** The layers that an error has passed through, outermost first. */
const paths = new WeakMap<TenonError, string[]>();
let depth = 0;

/** Keras's rule: "MaxPooling2D" → "max_pooling2d". */
export const toSnakeCase = (name: string): string =>
  name
    .replace(/\W+/g, '')
    .replace(/(.)([A-Z][a-z]+)/g, '$1_$2')
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .toLowerCase();

export const naming = {
  /** "dense", then "dense_1" … */
  next(className: string): string {
    const base = toSnakeCase(className);
    const n = counts.get(base) ?? 0;
    counts.set(base, n + 1);
    return n === 0 ? base : `${base}_${n}`;
  },
  /** Starts counting anew. */
  reset(): void {
    counts.clear();
  },
  /** Runs `f` with weights named inside `scope`; an empty scope adds nothing. */
  within<T>(scope: string, f: () => T): T {
    scopes.push(scope);
    try {
      return f();
    } finally {
      scopes.pop();
    }
  },
  /** The path of a weight of the layer `owner`, inside the scopes that are open. */
  path(owner: string, name: string): string {
    const parts = scopes.at(-1) === owner ? scopes : [...scopes, owner];
    return [...parts, name].filter((s) => s !== '').join('/');
  },
  /** Runs `f`; an error leaves with the innermost layer's label in front and, when nested, the path at its end. */
  errorsOf<T>(label: string, name: string, f: () => T): T {
    depth++;
    try {
      return f();
    } catch (error) {
      if (error instanceof TenonError) {
        const path = paths.get(error) ?? [];
        if (!paths.has(error)) {
          paths.set(error, path);
          if (!error.message.startsWith(label)) error.message = `${label}: ${error.message}`;
        }
        path.unshift(name);
        if (depth === 1 && path.length > 1) error.message += ` (in ${path.join(' › ')})`;
      }
      throw error;
    } finally {
      depth--;
    }
  },
};

/** A Variable's name in files of PyTorch's world: "block/dense/kernel" is block.dense.weight there. */
export const fileNameOf = (name: string): string =>
  name
    .replaceAll('/', '.')
    .replace(/\.(kernel|embeddings|scale|gamma)$/, '.weight')
    .replace(/\.beta$/, '.bias');
