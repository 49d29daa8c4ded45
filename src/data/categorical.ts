/** @file Class numbers as one-hot rows, on the host. */
import { ConfigError } from '../base/errors.js';
import { type ArrayColumn, type ColumnLike, toColumn } from './column.js';

/**
 * One-hot rows f32 [n, classes] of class numbers [n] or [n, 1]. `classes` is the largest number plus one when left out.
 * @throws ConfigError for a label that is no whole number in [0, classes)
 */
export function toCategorical(labels: ColumnLike, classes?: number): ArrayColumn {
  const { data, shape } = toColumn(labels, 'toCategorical');
  const n = shape[0];
  if (data.length !== n)
    throw new ConfigError(`toCategorical: labels have shape [${shape}]. Expected one number an example: [${n}] or [${n}, 1].`);
  const width = classes ?? data.reduce<number>((most, label) => Math.max(most, label + 1), 0);
  const rows = new Float32Array(n * width);
  for (let i = 0; i < n; i++) {
    const label = data[i];
    if (!(Number.isInteger(label) && label >= 0 && label < width))
      throw new ConfigError(`toCategorical: label ${label} in row ${i} is no class. Expected whole numbers in [0, ${width}).`);
    rows[i * width + label] = 1;
  }
  return { data: rows, shape: [n, width], dtype: 'f32' };
}
