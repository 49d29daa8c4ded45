/** @file What a run that goes on must be told as it was told before. */
import { ConfigError, quote } from '../base/errors.js';

/** A value as text, whatever the order of its keys. */
const spelled = (value: unknown): string =>
  JSON.stringify(value, (_, v: unknown) =>
    typeof v === 'object' && v !== null && !Array.isArray(v)
      ? Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1)))
      : v,
  ) ?? 'none';

/**
 * Compares the settings that a run began with and those that are given now; what isn't given is as it was.
 * @param mayChange keys that decide neither model, data, optimizer nor schedule.
 * @throws ConfigError with every other key that differs.
 */
export function requireSameSettings(before: object, now: object, mayChange: readonly string[]): void {
  const known = new Map<string, unknown>(Object.entries(before));
  const changed = Object.entries(now).filter(
    ([key, value]) => value !== undefined && !mayChange.includes(key) && spelled(value) !== spelled(known.get(key)),
  );
  if (changed.length === 0) return;
  const shown = (value: unknown): string => (value === undefined ? 'not set' : quote(value));
  const list = changed.map(
    ([key, value], i) => `${key} is ${shown(known.get(key))}${i === 0 ? ' in this run' : ''}, received ${shown(value)}`,
  );
  throw new ConfigError(
    `resume: ${list.join('; ')}. Expected the run's own settings; start a new run to change ${changed.length === 1 ? 'it' : 'them'}.`,
  );
}
