/**
 * @file Layouts: what the columns of a row mean for training, found by their names and told with the reasons. A map of columns says it
 * where the names are others.
 */
import { ConfigError, quote } from '../../base/errors.js';

export const layouts = ['text', 'prompt/completion', 'messages', 'Alpaca', 'ShareGPT', 'prompt/chosen/rejected'] as const;
export type Layout = (typeof layouts)[number];

/** Columns by what they are for: `{ prompt: 'en', completion: 'de' }`. */
export type ColumnMap = Readonly<Record<string, string>>;

export interface LayoutOptions {
  /** Default: by the columns. */
  readonly layout?: Layout;
  readonly columns?: ColumnMap;
}

export interface FoundLayout {
  readonly layout: Layout;
  /** Column of each part of the layout, of those that may be missing too. */
  readonly columns: ColumnMap;
  /** Why this one, in sentences. */
  readonly reasons: readonly string[];
}

/** The parts of each layout, in the order in which layouts are tried. */
const parts: readonly { readonly layout: Layout; readonly needs: readonly string[]; readonly may: readonly string[] }[] = [
  { layout: 'messages', needs: ['messages'], may: [] },
  { layout: 'ShareGPT', needs: ['conversations'], may: ['system'] },
  { layout: 'prompt/chosen/rejected', needs: ['chosen', 'rejected'], may: ['prompt'] },
  { layout: 'prompt/completion', needs: ['prompt', 'completion'], may: [] },
  { layout: 'Alpaca', needs: ['instruction', 'output'], may: ['input', 'system'] },
  { layout: 'text', needs: ['text'], may: [] },
];
const allParts = [...new Set(parts.flatMap((p) => [...p.needs, ...p.may]))];

/**
 * The layout of rows with these columns.
 * @throws ConfigError when no layout fits, the asked one doesn't, or the map names columns that aren't there
 */
export function recogniseLayout(columns: readonly string[], options: LayoutOptions, who: string): FoundLayout {
  const map = options.columns ?? {};
  for (const [part, column] of Object.entries(map)) {
    if (!allParts.includes(part))
      throw new ConfigError(`${who}: columns has "${part}". Expected parts of a layout: ${allParts.join(', ')}.`);
    if (!columns.includes(column))
      throw new ConfigError(`${who}: there is no column ${quote(column)} (for ${part}). The rows have ${listed(columns)}.`);
  }
  if (options.layout !== undefined && !layouts.includes(options.layout))
    throw new ConfigError(`${who}: layout ${quote(options.layout)}. Expected one of ${layouts.join(', ')}.`);
  const taken = new Set(Object.values(map));
  const columnOf = (part: string): string | undefined => map[part] ?? (columns.includes(part) && !taken.has(part) ? part : undefined);
  const tried = options.layout === undefined ? parts : parts.filter((p) => p.layout === options.layout);
  const found = tried.find(
    (p) => p.needs.every((part) => columnOf(part) !== undefined) && Object.keys(map).every((k) => [...p.needs, ...p.may].includes(k)),
  );
  if (!found) {
    const asked = options.layout === undefined ? 'any layout' : `the layout ${options.layout}`;
    throw new ConfigError(
      `${who}: the columns ${listed(columns)} don't make ${asked}. Expected ${tried.map((p) => p.needs.join(' and ')).join('; or ')}. Name them with a map, such as columns: { prompt: 'question', completion: 'answer' }.`,
    );
  }
  const used = [...found.needs, ...found.may].flatMap((part): [string, string][] => {
    const column = columnOf(part);
    return column === undefined ? [] : [[part, column]];
  });
  // Rows of JSON may have what the first one lacks.
  const later = found.may.filter((part) => columnOf(part) === undefined && !taken.has(part)).map((part): [string, string] => [part, part]);
  const unused = columns.filter((c) => !used.some(([, column]) => column === c));
  const names = used.map(([part, column]) => (part === column ? quote(column) : `${quote(column)} as ${part}`));
  return {
    layout: found.layout,
    columns: Object.fromEntries([...used, ...later]),
    reasons: [
      `The rows have the column${names.length > 1 ? 's' : ''} ${names.join(' and ')}${options.layout ? ', and this layout was asked for' : ''}.`,
      ...(unused.length > 0 ? [`Not used: ${listed(unused)}.`] : []),
    ],
  };
}

const listed = (columns: readonly string[]): string =>
  columns.length === 0
    ? 'none'
    : `${columns
        .slice(0, 20)
        .map((c) => quote(c))
        .join(', ')}${columns.length > 20 ? ` and ${columns.length - 20} more` : ''}`;
