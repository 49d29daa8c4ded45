/** @file One-hot labels on the host, as columns for fit. */
import { isFloat } from '../base/dtype.js';
import { ConfigError, ShapeError } from '../base/errors.js';
import { isTensor, type Tensor } from '../tensor/tensor.js';
import { type ArrayColumn, type ColumnLike, rowSize, toColumn } from './column.js';

/**
 * Integer labels [n] or [n, 1] → one-hot rows f32 [n, numClasses] (Keras's to_categorical). A tensor is read at once, in the
 * calling thread; `oneHot(t, numClasses)` is the same as a lazy tensor, also inside jit.
 * @param numClasses default: the largest label + 1
 * @throws ShapeError for another shape, ConfigError for a label that is no integer in 0 … numClasses − 1 or a tensor whose
 * values are not to be had (traced, or its device is busy)
 */
export function toCategorical(labels: ColumnLike | Tensor, numClasses?: number): ArrayColumn {
  const column = isTensor(labels) ? readNow(labels) : toColumn(labels, 'toCategorical');
  if (rowSize(column) !== 1)
    throw new ShapeError(`toCategorical: expected labels of shape [n] or [n, 1], received [${column.shape.join(', ')}].`);
  if (column.dtype === 'f16' || column.dtype === 'bf16')
    throw new ConfigError(`toCategorical: expected integer labels, received ${column.dtype}.`);
  if (numClasses !== undefined && (!Number.isInteger(numClasses) || numClasses < 1))
    throw new ConfigError(`toCategorical: expected numClasses to be a positive integer, received ${numClasses}.`);
  const n = column.shape[0];
  let classes = numClasses ?? 1;
  if (numClasses === undefined) for (const label of column.data) classes = Math.max(classes, label + 1);
  for (let i = 0; i < n; i++) {
    const label = column.data[i];
    if (!Number.isInteger(label) || label < 0 || label >= classes)
      throw new ConfigError(
        `toCategorical: label ${i} is ${label}. Expected an integer from 0 to ${classes - 1}. Number the classes from 0, or raise numClasses.`,
      );
  }
  const data = new Float32Array(n * classes);
  for (let i = 0; i < n; i++) data[i * classes + column.data[i]] = 1;
  return { data, shape: [n, classes], dtype: 'f32' };
}

function readNow(t: Tensor): ArrayColumn {
  try {
    return { data: t.dataSync(), shape: [...t.shape], dtype: isFloat(t.dtype) ? 'f32' : t.dtype };
  } catch (cause) {
    throw new ConfigError(
      'toCategorical: the values of this tensor are not known yet. Expected labels on the host. Use oneHot(t, numClasses), or `await t.data()` before.',
      { cause },
    );
  }
}
