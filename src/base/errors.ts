/** @file The error classes. Text: `<who>: <what is wrong>. Expected <…>, received <…>. <Fix>.` */

/** Every error this library throws on purpose. `path` is the model path (`model › block2 › stem`), added on the way up. */
export class TenonError extends Error {
  override name = 'TenonError';
}
/** A shape or an axis does not fit. */
export class ShapeError extends TenonError {
  override name = 'ShapeError';
}
/** An element type does not fit. */
export class DTypeError extends TenonError {
  override name = 'DTypeError';
}
/** An option, argument or order of calls is wrong. */
export class ConfigError extends TenonError {
  override name = 'ConfigError';
}
/** A file or message from outside is malformed, truncated or too large. */
export class FormatError extends TenonError {
  override name = 'FormatError';
}
/** A device is missing, failed or ran out of memory. */
export class DeviceError extends TenonError {
  override name = 'DeviceError';
}
/** A bug in Tenon itself. */
export class InternalError extends TenonError {
  override name = 'InternalError';
  constructor(message: string) {
    super(`internal: ${message}`);
  }
}

/** What a thrown value says of itself. */
export const reasonOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown));

/** `value` as errors quote it: JSON, and only its beginning where that is long. What a file holds must not fill a screen. */
export function quote(value: unknown, most = 80): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch {
    // Nested beyond the stack, holding itself, or a bigint.
    return typeof value === 'bigint' ? String(value) : `a value that JSON cannot show`;
  }
  if (text === undefined) return typeof value;
  // No half of a surrogate pair at the cut.
  return text.length <= most ? text : `${text.slice(0, most).replace(/[\uD800-\uDBFF]$/, '')}… (${text.length} characters)`;
}
