/** @file Rows of CSV (RFC 4180: quoted fields may hold commas, quotes twice, and line ends) and of TSV (fields as they stand). */
import { ConfigError, FormatError } from '../../base/errors.js';
import { type Chunks, defaultMaxRowLength, faultyRow, linesOf, type ParseOptions, type Row, textOf } from './rows.js';

/** A record and the line it begins on, or why there is none. */
interface Fields {
  readonly fields: readonly string[];
  readonly line: number;
  readonly fault?: string;
}

/**
 * Rows of a table; the first line names the columns unless `columnNames` does. All values are strings.
 * @throws FormatError for names that are missing or stand twice
 */
export async function* tableRows(chunks: Chunks, name: string, format: 'csv' | 'tsv', options: ParseOptions): AsyncGenerator<Row> {
  const most = options.maxRowLength ?? defaultMaxRowLength;
  const records = format === 'csv' ? commaRecords(textOf(chunks, name), name, most) : tabRecords(linesOf(chunks, most));
  let names = options.columnNames;
  if (names) checkNames(names, 'columnNames', ConfigError);
  for await (const { fields, line, fault } of records) {
    if (fault) yield faultyRow(line, fault);
    else if (fields.length === 1 && fields[0].trim() === '') continue;
    else if (!names) {
      checkNames(fields, `${name}, line ${line}`, FormatError);
      names = fields.map((f) => f.trim());
    } else if (fields.length !== names.length)
      yield faultyRow(line, `Expected ${names.length} fields (${names.join(', ')}), received ${fields.length}.`);
    else yield { values: Object.fromEntries(fields.map((f, i) => [(names as readonly string[])[i], f])), line };
  }
}

function checkNames(names: readonly string[], who: string, Kind: typeof ConfigError | typeof FormatError): void {
  const trimmed = names.map((n) => n.trim());
  if (trimmed.includes('') || new Set(trimmed).size < trimmed.length)
    throw new Kind(
      `${who}: the names of the columns are ${trimmed.map((n) => `"${n}"`).join(', ')}. Expected each once and none empty. Give columnNames for a file without a header line.`,
    );
}

async function* tabRecords(lines: ReturnType<typeof linesOf>): AsyncGenerator<Fields> {
  for await (const { text, line, fault } of lines) yield { fields: text.split('\t'), line, fault };
}

async function* commaRecords(texts: AsyncIterable<string>, name: string, most: number): AsyncGenerator<Fields> {
  let fields: string[] = [];
  let field = '';
  let length = 0;
  let state: 'start' | 'plain' | 'quoted' | 'quote' = 'start';
  let line = 1;
  let first = 1;
  let fault: string | undefined;
  const endField = (): void => {
    fields.push(field);
    field = '';
    state = 'start';
  };
  const record = (): Fields => {
    endField();
    const done = { fields, line: first, fault };
    fields = [];
    length = 0;
    fault = undefined;
    return done;
  };
  for await (const text of texts)
    for (let i = 0; i < text.length; i++) {
      const c = text[i];
      if (++length > most)
        throw new FormatError(
          `${name}, line ${first}: Expected at most ${most} characters a row, received more. Is a quote missing? Else raise maxRowLength.`,
        );
      if (state === 'quoted') {
        if (c === '"') state = 'quote';
        else field += c;
        if (c === '\n') line++;
      } else if (c === ',') endField();
      else if (c === '\n') {
        if (field.endsWith('\r') && state === 'plain') field = field.slice(0, -1);
        yield record();
        first = ++line;
      } else if (c === '"' && state === 'start') state = 'quoted';
      else if (state === 'quote') {
        if (c === '"') {
          field += c;
          state = 'quoted';
        } else if (c !== '\r') fault ??= `Expected "," or the end of the line after a quoted field, received ${JSON.stringify(c)}.`;
      } else {
        field += c;
        state = 'plain';
      }
    }
  if (state === 'quoted')
    throw new FormatError(`${name}, line ${first}: Expected the quote of a field to be closed, received the end of the file.`);
  if (length > 0) yield record();
}
