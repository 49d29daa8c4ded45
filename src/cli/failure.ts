/**
 * @file What a command can end with: exit code 2 when the command line is wrong (an unknown option, a file that does not exist or is
 * of another kind), 130 for an interruption, 1 for everything else (a damaged file, a failure at run time).
 */
import { ConfigError } from '../base/errors.js';

/** Something about the command line is wrong. Exit code 2. */
export class UsageError extends Error {
  override name = 'UsageError';
}

/** The user ended the command; everything worth saying was said. Exit code 130. */
export class Interrupted extends Error {
  override name = 'Interrupted';
}

/** ConfigErrors of the library are values that the command line gave: names, folders, files. */
export function exitCodeOf(error: unknown): 1 | 2 | 130 {
  if (error instanceof Interrupted) return 130;
  return error instanceof UsageError || error instanceof ConfigError ? 2 : 1;
}

/** The error as one line; the stack too when TENON_DEBUG is set. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return `tenon: ${String(error)}`;
  const line = `tenon: ${error.message.replace(/\s*\n\s*/g, ' ')}`;
  return process.env.TENON_DEBUG ? `${line}\n${error.stack ?? ''}` : line;
}
