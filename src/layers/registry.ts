/**
 * @file The one registry of classes and functions that configs name: layers, models, initializers, regularizers,
 * constraints and the user's own. Everything serialisable goes through `serializeValue` and back.
 */
import { ConfigError, quote, TenonError } from '../base/errors.js';
import { isTensor } from '../tensor/index.js';

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json | undefined };
export type Config = { readonly [key: string]: Json | undefined };
/** What a config holds of an object. */
export interface Serialized extends Config {
  readonly className: string;
  readonly config: Config;
}
/** Anything that can say how to make it again. */
export interface Configurable {
  getConfig(): Config;
}
/** A class that can be made from a config; without `fromConfig` its constructor takes the config. */
export interface ConfigurableClass<T extends Configurable = Configurable> {
  readonly name: string;
  readonly className?: string;
  readonly prototype: T;
  fromConfig?(config: never): T;
}

const classes = new Map<string, ConfigurableClass>();
const functions = new Map<string, (...args: never[]) => unknown>();
/** As Python and tfjs users spell it: glorot_uniform, GlorotUniform and glorotUniform are one. */
const plain = (name: string): string => name.replaceAll('_', '').toLowerCase();
const byPlainName = new Map<string, ConfigurableClass>();

/** The name of a class in configs. A subclass that doesn't declare its own `className` goes by its JavaScript name. */
export function classNameOf(cls: { readonly name: string; readonly className?: string }): string {
  return Object.hasOwn(cls, 'className') && cls.className ? cls.className : cls.name;
}

/**
 * Makes a class of your own known to loading: layers, models, initializers, losses… Throws ConfigError when the name is
 * taken by another class.
 * @example
 * class MyBlock extends Layer {
 *   override call(x: Tensor): Tensor {
 *     return x.relu();
 *   }
 * }
 * registerClass('MyBlock', MyBlock);
 */
export function registerClass(name: string, cls: ConfigurableClass): void {
  const given: unknown = name;
  if (typeof given !== 'string' || given === '' || typeof cls !== 'function') {
    const own = [given, cls].find((x): x is ConfigurableClass => typeof x === 'function')?.name;
    throw new ConfigError(
      `registerClass: ${typeof given === 'function' ? `the class ${own} is in the place of the name` : 'no name and class'}. Expected a name, then a class. Call registerClass('${own ?? 'MyBlock'}', ${own ?? 'MyBlock'}).`,
    );
  }
  const known = classes.get(name);
  if (known && known !== cls && isBuiltin.has(name))
    throw new ConfigError(`registerClass: "${name}" is a class of Tenon. Expected a name of your own. Choose another one.`);
  classes.set(name, cls);
  byPlainName.set(plain(name), cls);
}
const isBuiltin = new Set<string>();
export function registerBuiltins(list: readonly ConfigurableClass[]): void {
  for (const cls of list) {
    registerClass(classNameOf(cls), cls);
    isBuiltin.add(classNameOf(cls));
  }
}
/** Makes a function (an activation, a lambda) known by name, so that configs can hold it. */
export function registerFunction(name: string, fn: (...args: never[]) => unknown): void {
  functions.set(name, fn);
}
export const findFunction = (name: string): ((...args: never[]) => unknown) | undefined => functions.get(name);
export const nameOfFunction = (fn: unknown): string | undefined => [...functions].find(([, known]) => known === fn)?.[0];

/** The class of that name, in any spelling. */
export const findClass = (name: string): ConfigurableClass | undefined => classes.get(name) ?? byPlainName.get(plain(name));

export const isSerialized = (x: unknown): x is Serialized =>
  typeof x === 'object' && x !== null && 'className' in x && typeof x.className === 'string' && 'config' in x;
const isConfigurable = (x: unknown): x is Configurable =>
  typeof x === 'object' && x !== null && 'getConfig' in x && typeof x.getConfig === 'function';

/** What a file keeps of an object. Throws ConfigError for a class that loading could only take for another one. */
export function serialize(object: Configurable): Serialized {
  const className = classNameOf(object.constructor);
  const known = findClass(className);
  const isTaken = known !== undefined && known !== object.constructor && isBuiltin.has(classNameOf(known));
  if (className === '' || isTaken)
    throw new ConfigError(
      `serialize: ${isTaken ? `a class of your own goes by "${className}", which is a class of Tenon` : 'the class has no name'}. Expected a name of its own. Write static className = 'MyLayer' in the class and call registerClass('MyLayer', …) before loading.`,
    );
  return { className, config: object.getConfig() };
}

/** The object that `serialize` described. Throws ConfigError for an unknown class. */
export function deserialize(serialized: unknown, who = 'deserialize'): Configurable {
  if (!isSerialized(serialized))
    throw new ConfigError(`${who}: expected { className, config }, received ${quote(serialized)}. Use what serializeLayer returned.`);
  const cls = findClass(serialized.className);
  if (!cls)
    throw new ConfigError(
      `${who}: the class "${serialized.className}" is not known. Expected one of Tenon's or a registered one. Call registerClass('${serialized.className}', …) before loading, or loadModel(path, { customObjects: { ${serialized.className}: … } }).`,
    );
  try {
    if (cls.fromConfig) return cls.fromConfig(serialized.config as never);
    return new (cls as unknown as new (config: Config) => Configurable)(serialized.config);
  } catch (error) {
    // A value of a wrong kind, somewhere inside: classes check ranges, not what a damaged file may hold.
    if (error instanceof TenonError || !(error instanceof TypeError || error instanceof RangeError)) throw error;
    throw new ConfigError(
      `${who}: the config of ${serialized.className} is malformed (${error.message}). Expected what getConfig gave. Make it again with the version that loads it.`,
      { cause: error },
    );
  }
}

/** Any option as JSON. Throws ConfigError for what has no name, such as an anonymous function. */
export function serializeValue(value: unknown, who: string): Json | undefined {
  if (value === undefined || value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean')
    return value;
  if (Array.isArray(value)) return value.map((v) => serializeValue(v, who) ?? null);
  if (ArrayBuffer.isView(value)) return Array.from(value as unknown as ArrayLike<number>);
  if (isTensor(value)) return value.arraySync() as Json;
  if (isConfigurable(value)) return serialize(value);
  if (typeof value === 'function') {
    const name = nameOfFunction(value);
    if (name === undefined)
      throw new ConfigError(
        `${who}: the function "${value.name}" can't be saved. Expected a registered one. Call registerFunction('${value.name || 'name'}', …).`,
      );
    return name;
  }
  if (typeof value === 'object')
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, serializeValue(v, who)])) as { [key: string]: Json | undefined };
  throw new ConfigError(`${who}: a ${typeof value} can't be saved. Expected numbers, strings, arrays or registered classes.`);
}
