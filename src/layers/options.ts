/** @file Options of layers: defaults filled in, values checked, with errors that name the layer. */
import { ConfigError, quote, ShapeError } from '../base/errors.js';
import { checkOptionNames } from '../base/option-names.js';
import { showShape } from '../base/shape.js';
import type { PartialShape } from './symbolic.js';

type Filled<O, D> = O & Required<Pick<O, Extract<keyof D, keyof O>>>;

/** `options` with `defaults` where they leave something out (undefined counts as left out, null does not). */
export function withDefaults<O extends object, D extends Partial<O>>(options: O | undefined, defaults: D): Filled<O, D>;
export function withDefaults(options: object | undefined, defaults: object): object {
  return { ...defaults, ...Object.fromEntries(Object.entries(options ?? {}).filter(([, v]) => v !== undefined)) };
}

interface Labelled {
  readonly label: string;
}
/** Throws ConfigError for an option that neither the layer's class nor a base of it lists, where that class has a list of its own. */
export function checkOptions(layer: Labelled & { readonly options: object }): void {
  let cls = layer.constructor as { readonly optionNames?: readonly string[] };
  if (!Object.hasOwn(cls, 'optionNames')) return;
  const known: Record<string, true> = {};
  for (; cls.optionNames; cls = Object.getPrototypeOf(cls)) for (const name of cls.optionNames) known[name] = true;
  checkOptionNames(layer.options, known, layer.label);
}
/** A shape given as an option, null where an extent is unknown. Throws ShapeError. */
export function partialShape(layer: Labelled, option: string, value: PartialShape): PartialShape {
  if (Array.isArray(value) && value.every((d) => d === null || (Number.isInteger(d) && d >= 0))) return value;
  throw new ShapeError(
    `${layer.label}: ${option} is ${value === undefined ? 'missing' : quote(value)}. Expected an array of whole numbers ≥ 0, or null for an unknown extent.${typeof value === 'number' ? ` Write [${value}].` : ''}`,
  );
}
/** Throws ConfigError unless `value` is a whole number ≥ `least`. */
export function wholeNumber(layer: Labelled, option: string, value: number, least = 1): number {
  if (!Number.isInteger(value) || value < least)
    throw new ConfigError(
      `${layer.label}: ${option} is ${value === undefined ? 'missing' : quote(value)}. Expected a whole number ≥ ${least}.`,
    );
  return value;
}
/** One number for all axes or one an axis, as a list. Throws ConfigError. */
export function perAxis(layer: Labelled, option: string, value: number | readonly number[], rank: number, least = 1): number[] {
  const list = typeof value === 'number' ? new Array<number>(rank).fill(value) : [...(value ?? [])];
  if (list.length !== rank || list.some((v) => !Number.isInteger(v) || v < least))
    throw new ConfigError(
      `${layer.label}: ${option} is ${value === undefined ? 'missing' : quote(value)}. Expected ${rank === 1 ? 'a whole number' : `one or ${rank} whole numbers`} ≥ ${least}.`,
    );
  return list;
}
/** Throws ConfigError unless `value` is one of `allowed`. */
export function oneOf<T extends string>(layer: Labelled, option: string, value: T, allowed: readonly T[]): T {
  if (!allowed.includes(value))
    throw new ConfigError(
      `${layer.label}: ${option} is ${value === undefined ? 'missing' : quote(value)}. Expected ${allowed.map((a) => `'${a}'`).join(' or ')}.`,
    );
  return value;
}
/** Throws ConfigError unless `value` is in [low, high] (or, with `isOpen`, below high). */
export function inRange(layer: Labelled, option: string, value: number, low: number, high: number, isOpen = false): number {
  if (!(value >= low && (isOpen ? value < high : value <= high)))
    throw new ConfigError(`${layer.label}: ${option} is ${value}. Expected a number in [${low}, ${high}${isOpen ? ')' : ']'}.`);
  return value;
}
/** The only shape, where a list would be a mistake. */
export function singleShape(layer: Labelled, shape: PartialShape | readonly PartialShape[]): PartialShape {
  if (Array.isArray(shape[0]))
    throw new ShapeError(
      `${layer.label}: it was given a list of ${shape.length} inputs. Expected one tensor. Join them with concatenate() or add().`,
    );
  return shape as PartialShape;
}
/** The extent of an axis that weights depend on. Throws ShapeError when it isn't known. */
export function knownExtent(layer: Labelled, shape: PartialShape, axis: number): number {
  const d = shape.at(axis);
  if (typeof d !== 'number')
    throw new ShapeError(
      `${layer.label}: axis ${axis} of input ${showShape(shape)} is unknown. Expected a fixed extent, since weights depend on it.`,
    );
  return d;
}
/** Throws ShapeError unless the input has `rank` axes. */
export function requireRank(layer: Labelled, shape: PartialShape, rank: number, axes: string): void {
  if (shape.length !== rank)
    throw new ShapeError(`${layer.label}: input ${showShape(shape)} has ${shape.length} axes. Expected ${rank}: ${axes}.`);
}
