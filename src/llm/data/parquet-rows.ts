/** @file Rows of a Parquet file through hyparquet, a row group at a time. */
import type { AsyncBuffer, Compressors, FileMetaData } from 'hyparquet';
import { ConfigError, FormatError, reasonOf, TenonError } from '../../base/errors.js';
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
  const { parquetMetadataAsync, parquetReadObjects, parquetSchema } = await import('hyparquet');
  const metadata = await guarded(name, () => parquetMetadataAsync(file));
  const present = await guarded(name, async () => parquetSchema(metadata).children.map((c) => c.element.name));
  const wanted = columns?.filter((c) => present.includes(c));
  const compressors = await compressorsFor(metadata, name);
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows);
    const range = { rowStart, rowEnd };
    const rows = await guarded(name, () => parquetReadObjects({ file, metadata, columns: wanted, compressors, ...range }));
    if (rows.length !== rowEnd - rowStart)
      throw new FormatError(`${name}: a row group holds ${rows.length} rows. Expected ${rowEnd - rowStart}, as its header says.`);
    for (const [i, values] of rows.entries()) yield { values, line: rowStart + i + 1 };
    rowStart = rowEnd;
  }
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
