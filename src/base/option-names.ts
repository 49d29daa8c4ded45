/** @file Names of options: a misspelt one would be ignored without a word, so whoever takes options refuses unknown ones. */
import { ConfigError } from './errors.js';

/** Throws ConfigError for an option that isn't a key of `known`, with the name that was meant where one is near. */
export function checkOptionNames(options: object, known: object, who: string): void {
  const unknown = Object.keys(options).find((name) => !Object.hasOwn(known, name));
  if (unknown === undefined) return;
  const names = Object.keys(known);
  const near = nearest(unknown, names);
  const expected = near !== null ? `"${near}"` : names.length > 0 ? `some of ${names.join(', ')}` : 'none';
  throw new ConfigError(
    `${who}: there is no option "${unknown}". Expected ${expected}, received "${unknown}".${near === null ? '' : ` Write ${near}.`}`,
  );
}

/** The name that `text` is a slip of; null when none is near. batch_size and batchsize are batchSize. */
export function nearest(text: string, names: readonly string[]): string | null {
  const plain = (name: string): string => name.replaceAll(/[-_]/g, '').toLowerCase();
  let best: { readonly name: string; readonly steps: number } | null = null;
  for (const name of names) {
    const steps = distance(plain(text), plain(name));
    if (best === null || steps < best.steps) best = { name, steps };
  }
  return best !== null && best.steps <= Math.max(1, Math.floor(best.name.length / 3)) ? best.name : null;
}

/** Levenshtein's distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length];
}
