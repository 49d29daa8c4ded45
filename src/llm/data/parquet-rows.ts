/** @file Rows of a Parquet file through hyparquet, a row group at a time. */
import type { AsyncBuffer, ColumnData, Compressors, FileMetaData, SchemaTree } from 'hyparquet';
import { ConfigError, FormatError, quote, reasonOf, TenonError } from '../../base/errors.js';
import type { Row } from './rows.js';

/** A file that pieces can be read of. */
export type Pieces = AsyncBuffer;

/** What hyparquet reads by itself. */
const ownCodecs = new Set(['UNCOMPRESSED', 'SNAPPY']);

/** The names of its columns. Throws FormatError for a damaged file. */
export async function parquetColumns(file: Pieces, name: string): Promise<string[]> {
  const { parquetMetadataAsync, parquetSchema } = await import('hyparquet');
  return guarded(name, async () => parquetSchema(await parquetMetadataAsync(file)).children.map((c) => c.element.name));
}

/**
 * The rows of a Parquet file; only `columns` of them when given.
 * @throws FormatError for a damaged file, ConfigError when its compression needs a package that isn't installed
 */
export async function* parquetRows(file: Pieces, name: string, columns?: readonly string[]): AsyncGenerator<Row> {
  const { parquetMetadataAsync, parquetRead, parquetSchema } = await import('hyparquet');
  const metadata = await guarded(name, () => parquetMetadataAsync(file));
  const schema = await guarded(name, async () => parquetSchema(metadata));
  await guarded(name, async () => checkChunks(metadata, schema, file.byteLength));
  const present = schema.children.map((c) => c.element.name);
  const wanted = columns ? present.filter((c) => columns.includes(c)) : present;
  const compressors = await compressorsFor(metadata, name);
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows);
    // By columns, in parts: rows are made one at a time.
    const parts = new Map<string, ColumnData[]>(wanted.map((c) => [c, []]));
    const onChunk = (part: ColumnData): void => void parts.get(part.columnName)?.push(part);
    if (rowEnd > rowStart)
      await guarded(name, () => parquetRead({ file, metadata, columns: wanted, compressors, rowStart, rowEnd, onChunk }));
    const valuesOf = [...parts].map(([column, list]): [string, Iterator<unknown>] => [
      column,
      joined(list, column, rowStart, rowEnd, name),
    ]);
    for (let row = rowStart; row < rowEnd; row++)
      yield { values: Object.fromEntries(valuesOf.map(([column, values]) => [column, values.next().value])), line: row + 1 };
    rowStart = rowEnd;
  }
}

/** Throws where a group's columns aren't those of the schema, or lie outside of the file: hyparquet would leave promises behind that reject. */
function checkChunks({ row_groups }: FileMetaData, schema: SchemaTree, byteLength: number): void {
  const leaves = new Set<string>();
  const visit = (node: SchemaTree): void => {
    if (node.children.length === 0) leaves.add(JSON.stringify(node.path));
    node.children.forEach(visit);
  };
  visit(schema);
  for (const group of row_groups) {
    if (!(group.num_rows >= 0 && group.num_rows <= Number.MAX_SAFE_INTEGER)) throw new Error(`a row group of ${group.num_rows} rows`);
    const seen = new Set<string>();
    for (const { meta_data: column } of group.columns) {
      const path = JSON.stringify(column?.path_in_schema);
      if (!column || !leaves.has(path) || seen.has(path))
        throw new Error(`the column ${path} of a row group is not of the schema, or stands twice`);
      seen.add(path);
      const start = Number(column.dictionary_page_offset || column.data_page_offset);
      const end = start + Number(column.total_compressed_size);
      if (!(start >= 0 && end >= start && end <= byteLength))
        throw new Error(`the column ${path} lies at bytes ${start} to ${end} of ${byteLength}`);
    }
    if (seen.size < leaves.size) throw new Error(`a row group has ${seen.size} columns of ${leaves.size}`);
  }
}

/** The values of a column, which must be those of all rows of the group. */
function joined(parts: readonly ColumnData[], column: string, rowStart: number, rowEnd: number, name: string): Iterator<unknown> {
  let row = rowStart;
  for (const part of parts) {
    if (part.rowStart !== row) break;
    row += part.columnData.length;
  }
  if (row !== rowEnd)
    throw new FormatError(
      `${name}: the column ${quote(column)} has ${row - rowStart} values in a row group. Expected ${rowEnd - rowStart}, one a row.`,
    );
  return (function* () {
    for (const { columnData } of parts) yield* columnData;
  })();
}

async function guarded<T>(name: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof TenonError) throw error;
    throw new FormatError(`${name}: Expected a Parquet file, received one that can't be read (${reasonOf(error)}).`, { cause: error });
  }
}

async function compressorsFor(metadata: FileMetaData, name: string): Promise<Compressors | undefined> {
  const codecs = new Set(metadata.row_groups.flatMap((g) => g.columns.map((c) => c.meta_data?.codec ?? 'UNCOMPRESSED')));
  const foreign = [...codecs].filter((c) => !ownCodecs.has(c));
  if (foreign.length === 0) return undefined;
  try {
    return (await import('hyparquet-compressors')).compressors;
  } catch (cause) {
    throw new ConfigError(
      `${name}: its columns are compressed with ${foreign.join(', ')}. Expected the package that unpacks them. Run: npm install hyparquet-compressors`,
      { cause },
    );
  }
}
