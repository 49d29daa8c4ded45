/**
 * @file Labels checked on the host before anything is compiled: the shape that a loss wants for an output, class numbers
 * in range, probabilities in [0, 1].
 */
import { ConfigError, ShapeError } from '../base/errors.js';
import { type Shape, showShape } from '../base/shape.js';
import type { ArrayColumn } from '../data/column.js';
import type { PartialShape } from '../layers/symbolic.js';

/** Losses that take class numbers, and losses that take one target an output value. */
const SPARSE = 'sparseCategoricalCrossentropy';
const CATEGORICAL = 'categoricalCrossentropy';
const elementwise = new Set([
  CATEGORICAL,
  'binaryCrossentropy',
  'binaryFocalCrossentropy',
  'categoricalFocalCrossentropy',
  'categoricalHinge',
  'meanSquaredError',
  'meanAbsoluteError',
  'meanAbsolutePercentageError',
  'meanSquaredLogarithmicError',
  'huber',
  'logCosh',
  'klDivergence',
  'poisson',
  'hinge',
  'squaredHinge',
  'cosineSimilarity',
  'dice',
  'tversky',
]);

/** Whether labels of this shape are class numbers for an output of that shape: [n] or [n, 1] for [n, K > 1]. */
export function areClassNumbers(labels: Shape, output: PartialShape): boolean {
  const classes = output[output.length - 1];
  if (classes === null || classes <= 1) return false;
  return labels.length === output.length - 1 || (labels.length === output.length && labels[labels.length - 1] === 1);
}

export interface LabelCheck {
  readonly who: string;
  readonly output: string;
  readonly loss: string;
  readonly shape: PartialShape;
  readonly fromLogits: boolean;
}

/** Throws ShapeError when labels [batch, …] cannot belong to the output. Unknown losses are not checked. */
export function checkLabelShape(labels: Shape, check: LabelCheck): void {
  const { who, output, loss, shape } = check;
  const fits = (want: PartialShape): boolean =>
    want.length === labels.length && want.every((d, i) => i === 0 || d === null || d === labels[i]);
  const sparse = areClassNumbers(labels, shape);
  const show = (s: PartialShape): string => showShape(['n' as never, ...s.slice(1)] as never);
  const lead = shape.slice(0, -1);
  if (loss === SPARSE) {
    if (fits(lead) || fits([...lead, 1])) return;
    const classes = shape[shape.length - 1];
    const oneHot = fits(shape);
    throw new ShapeError(
      `${who}: the labels for output "${output}" have shape ${show(labels)} and loss ${loss} takes class numbers. Expected ${show(lead)} or ${show([...lead, 1])} for predictions ${show(shape)}. ${
        oneHot ? `These look one-hot: use loss 'categoricalCrossentropy'.` : `Each label is one number in [0, ${classes}).`
      }`,
    );
  }
  if (loss === CATEGORICAL && sparse && (fits(lead) || fits([...lead, 1]))) return;
  if (!elementwise.has(loss)) return;
  if (fits(shape) || (shape[shape.length - 1] === 1 && fits(lead))) return;
  throw new ShapeError(
    `${who}: the labels for output "${output}" don't fit. Expected ${show(shape)} as predicted, received ${show(labels)} (loss ${loss}). ${
      loss === CATEGORICAL
        ? `Use class numbers of shape ${show(lead)} or toCategorical(labels, ${shape[shape.length - 1]}).`
        : 'Change the labels or the last layer.'
    }`,
  );
}

/** Throws ConfigError when a label is no class of the output, or no probability. In-memory columns only; cheap. */
export function checkLabelRange(column: ArrayColumn, check: LabelCheck, first = 0, end = column.shape[0]): void {
  const { who, output, loss, shape } = check;
  const { data } = column;
  const classes = shape[shape.length - 1];
  const row = column.shape[0] === 0 ? 1 : data.length / column.shape[0];
  const [from, to] = [first * row, end * row];
  if ((loss === SPARSE || (loss === CATEGORICAL && areClassNumbers(column.shape, shape))) && classes !== null) {
    for (let i = from; i < to; i++) {
      const label = data[i];
      if (!(label >= 0 && label < classes && Number.isInteger(label)))
        throw new ConfigError(
          `${who}: label ${label} in row ${Math.floor(i / row)} is no class of output "${output}". Expected whole numbers in [0, ${classes}), received ${label}. ${
            label === classes
              ? `Do the labels start at 1? Subtract 1, or give the last layer ${classes + 1} units.`
              : 'Check the labels or the number of units in the last layer.'
          }`,
        );
    }
  } else if (loss === 'binaryCrossentropy' || loss === CATEGORICAL) {
    for (let i = from; i < to; i++)
      if (!(data[i] >= 0 && data[i] <= 1))
        throw new ConfigError(
          `${who}: label ${data[i]} in row ${Math.floor(i / row)} is no probability. Expected numbers in [0, 1] for loss ${loss} of output "${output}", received ${data[i]}.`,
        );
  } else if (column.dtype === 'f32')
    for (let i = from; i < to; i++)
      if (Number.isNaN(data[i]))
        throw new ConfigError(
          `${who}: the label in row ${Math.floor(i / row)} for output "${output}" is NaN. Expected a number. Clean the data.`,
        );
}
