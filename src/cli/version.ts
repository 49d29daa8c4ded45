/** @file The version in package.json. */
import { readFileSync } from 'node:fs';

/** Of the package that this file belongs to. */
export const version = (): string => {
  const found: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  return typeof found === 'object' && found !== null && 'version' in found && typeof found.version === 'string' ? found.version : 'unknown';
};
