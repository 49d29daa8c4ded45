/**
 * @file What makes `layers.dense(…)` of the class Dense. Calls are marked pure, and names given by a function, so that a bundle holds only
 * the layers that its program makes.
 */
import type { Layer, LayerOptions } from './layer.js';
import { type ConfigurableClass, registerBuiltins } from './registry.js';

/** Of the forms that an argument may have, the object's. */
type KeysOf<O> = O extends string | number | ((...args: never[]) => unknown) ? never : keyof O;
/** One entry an option beyond those of every layer: the compiler says when one is missing. */
type Names<A extends unknown[]> = Readonly<Record<Exclude<KeysOf<A[0]>, keyof LayerOptions>, true>>;
const classes = new WeakMap<object, ConfigurableClass>();
/** The class that a factory makes. */
export const classOf = (value: unknown): ConfigurableClass | undefined => (typeof value === 'function' ? classes.get(value) : undefined);

/** The class as a function, registered for loading; it refuses options that are not in `names`. */
export function factory<A extends unknown[], T extends Layer>(
  cls: {
    new (...args: A): T;
    readonly className?: string;
    optionNames: readonly string[];
  },
  names: () => Names<A>,
): (...args: A) => T {
  cls.optionNames = Object.keys(names());
  registerBuiltins([cls]);
  const make = (...args: A): T => new cls(...args);
  classes.set(make, cls);
  return make;
}
