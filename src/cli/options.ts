/** @file Parsers of option values. What they throw becomes one line and exit code 2. */
import { InvalidArgumentError } from 'commander';

/** A whole number in [least, most]. */
export const wholeNumber =
  (least: number, most: number = Number.MAX_SAFE_INTEGER) =>
  (text: string): number => {
    const value = /^[+-]?\d+$/.test(text.trim()) ? Number(text) : Number.NaN;
    if (!(value >= least && value <= most))
      throw new InvalidArgumentError(
        `Expected a whole number ${most === Number.MAX_SAFE_INTEGER ? `≥ ${least}` : `from ${least} to ${most}`}.`,
      );
    return value;
  };

/** A number > 0. */
export function positiveNumber(text: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (!(value > 0 && value < Number.POSITIVE_INFINITY)) throw new InvalidArgumentError('Expected a number > 0.');
  return value;
}

/** A shape such as 28,28,1 (or 28x28x1), after those that were given before. */
export function inputShapes(text: string, before: readonly (readonly number[])[] = []): number[][] {
  const extents = text.split(/[,x×]/).map((part) => (/^\s*\d+\s*$/.test(part) ? Number(part) : 0));
  if (!extents.every((d) => d >= 1 && d <= 2 ** 31)) throw new InvalidArgumentError('Expected whole numbers ≥ 1, such as 28,28,1.');
  return [...before.map((shape) => [...shape]), extents];
}

/** Names of the library's optimizers, here so that --help needs not load it (a test compares them). */
export const optimizerNames: readonly string[] = ['sgd', 'rmsprop', 'adagrad', 'adadelta', 'adam', 'adamW', 'adamax', 'nadam', 'lion'];

/** Names of the library's devices, for the same reason. */
export const deviceNames: readonly string[] = ['native', 'wasm', 'reference'];

/** One of `names`, in any case. */
export const oneOf =
  (names: readonly string[]) =>
  (text: string): string => {
    const found = names.find((n) => n.toLowerCase() === text.toLowerCase());
    if (found === undefined) throw new InvalidArgumentError(`Expected one of ${names.join(', ')}.`);
    return found;
  };
