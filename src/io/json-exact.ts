/**
 * @file JSON that brings back exactly what was given: NaN, ±Infinity and −0, which plain JSON turns into null or 0,
 * are written as { "$number": "NaN" }. What JSON cannot say is refused instead of dropped.
 */
import { ConfigError, FormatError, quote } from '../base/errors.js';
import { decodeUtf8, encodeUtf8, isRecord } from './bytes.js';

const TAG = '$number';
const special: Readonly<Record<string, number>> = {
  NaN: Number.NaN,
  Infinity: Number.POSITIVE_INFINITY,
  '-Infinity': Number.NEGATIVE_INFINITY,
  '-0': -0,
};
/** Deeper values are a cycle or an attack. */
const MAX_DEPTH = 500;

/**
 * Encodes null, booleans, numbers, strings, lists and plain objects; undefined fields are left out.
 * @throws ConfigError naming the path of a value that JSON cannot hold (function, bigint, class instance, cycle, undefined in a list).
 */
export function encodeJson(value: unknown, who: string, indent?: number): Uint8Array {
  return encodeUtf8(JSON.stringify(pack(value, who, '', 0), undefined, indent));
}

function pack(value: unknown, who: string, path: string, depth: number): unknown {
  const refuse = (what: string): never => {
    throw new ConfigError(
      `${who}: ${path || 'the value'} cannot be saved as JSON: ${what}. Expected plain objects, lists, texts, numbers, booleans and null.`,
    );
  };
  if (depth > MAX_DEPTH) return refuse('it is nested too deeply, or holds itself');
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value;
  if (typeof value === 'number') {
    if (Object.is(value, -0)) return { [TAG]: '-0' };
    return Number.isFinite(value) ? value : { [TAG]: String(value) };
  }
  if (Array.isArray(value)) return Array.from(value, (x: unknown, i) => pack(x, who, `${path}[${i}]`, depth + 1));
  if (typeof value !== 'object') return refuse(`it is ${value === undefined ? 'undefined' : `a ${typeof value}`}`);
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== null && prototype !== Object.prototype) return refuse(`it is an instance of ${value.constructor.name}`);
  if (Object.hasOwn(value, TAG)) return refuse(`the field "${TAG}" is reserved`);
  const fields = Object.entries(value).filter(([, x]) => x !== undefined);
  return Object.fromEntries(fields.map(([key, x]) => [key, pack(x, who, path ? `${path}.${key}` : key, depth + 1)]));
}

/**
 * The value that `encodeJson` was given.
 * @throws FormatError when the bytes are not UTF-8, not JSON, nested too deeply, or hold a malformed "$number".
 */
export function decodeJson(bytes: Uint8Array, who: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(decodeUtf8(bytes));
  } catch (error) {
    throw new FormatError(`${who} is not JSON in UTF-8. The file is damaged.`, { cause: error });
  }
  return unpack(value, who, 0);
}

function unpack(value: unknown, who: string, depth: number): unknown {
  if (depth > MAX_DEPTH) throw new FormatError(`${who} is nested too deeply. Expected at most ${MAX_DEPTH} levels.`);
  if (Array.isArray(value)) return value.map((x: unknown) => unpack(x, who, depth + 1));
  if (!isRecord(value)) return value;
  if (!Object.hasOwn(value, TAG)) return Object.fromEntries(Object.entries(value).map(([key, x]) => [key, unpack(x, who, depth + 1)]));
  const text = value[TAG];
  if (typeof text !== 'string' || !Object.hasOwn(special, text) || Object.keys(value).length !== 1)
    throw new FormatError(`${who} has a malformed "${TAG}". Expected one of ${Object.keys(special).join(', ')}, received ${quote(text)}.`);
  return special[text];
}
