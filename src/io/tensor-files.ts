/** @file Tensors in files: what every format's reader gives and every writer takes. */
import type { DType, TypedArray } from '../base/dtype.js';
import { ConfigError, quote } from '../base/errors.js';
import type { Shape } from '../base/shape.js';

/** A tensor on the host: `data` holds `shape`'s elements row-major in the storage form of `dtype`. */
export interface TensorData {
  readonly dtype: DType;
  readonly shape: Shape;
  readonly data: TypedArray;
}

export type TensorMap = Map<string, TensorData>;

/** What is known of a tensor before it is read; `bytes` is its size in the file. */
export interface TensorInfo {
  readonly dtype: DType;
  readonly shape: Shape;
  readonly bytes: number;
}

/** Open files of tensors, of which only the headers are in memory. */
export interface TensorFiles {
  readonly metadata: Readonly<Record<string, string>>;
  names(): string[];
  /** Throws ConfigError when there is no tensor of this name. */
  info(name: string): TensorInfo;
  /** Reads this tensor alone into memory of its own. Throws ConfigError for an unknown name, FormatError for damaged data. */
  read(name: string): Promise<TensorData>;
  close(): Promise<void>;
}

/** A tensor to be written, its data made when their turn comes: so a model is never a second time in memory. */
export interface TensorEntry {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
  data(): TypedArray | Promise<TypedArray>;
}

/** What was asked for by name. Throws ConfigError with how many names there are, and the first. */
export function named<T>(table: ReadonlyMap<string, T>, name: string, who: string): T {
  const found = table.get(name);
  if (found === undefined) {
    const some = [...table.keys()].slice(0, 3).map((n) => quote(n));
    throw new ConfigError(
      `${who}: there is no tensor ${quote(name)}. Expected one of ${table.size} names${some.length > 0 ? ` (${some.join(', ')}${table.size > 3 ? ', …' : ''})` : ''}.`,
    );
  }
  return found;
}
