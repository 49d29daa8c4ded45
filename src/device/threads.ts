/** @file How many threads compute, on every device that has some. */
import { ConfigError } from '../base/errors.js';
import { host } from '../base/host.js';

/** TENON_NUM_THREADS, or the physical cores that this process may use. Throws ConfigError for what is no count. */
export function threadCount(): number {
  const wish = host.environment('TENON_NUM_THREADS');
  if (wish === undefined) return host.threads;
  const n = Number(wish);
  if (!Number.isInteger(n) || n < 1 || n > 256)
    throw new ConfigError(`TENON_NUM_THREADS: not a thread count. Expected an integer from 1 to 256, received "${wish}".`);
  return n;
}
