/** @file The scores of a classifier on a test set: of each class, and which classes are taken for which. */
import { classificationReport, confusionMatrix } from '../metrics/index.js';
import type { Model } from '../model/index.js';
import type { LoadedDataset } from './datasets.js';
import { four, tableLines } from './output.js';

export interface TestScores {
  readonly accuracy: number;
  readonly perClass: readonly {
    readonly name: string;
    readonly precision: number;
    readonly recall: number;
    readonly f1: number;
    readonly support: number;
  }[];
  /** Pictures by true class (rows) and answered class (columns). */
  readonly confusionMatrix: readonly (readonly number[])[];
}

/** Answers a whole test set. */
export async function scoreClasses(model: Model, dataset: LoadedDataset, batchSize: number): Promise<TestScores> {
  const { x, y } = dataset.test;
  const probabilities = await (await model.predict(x, { batchSize })).data();
  const answers = rowMaxima(probabilities, dataset.classNames.length);
  const report = classificationReport(y.data, answers, { classNames: dataset.classNames });
  return {
    accuracy: report.accuracy ?? 0,
    perClass: report.perClass.map(({ name, precision, recall, f1, support }) => ({ name, precision, recall, f1, support })),
    confusionMatrix: confusionMatrix(y.data, answers, { numClasses: dataset.classNames.length }),
  };
}

/** The place of the largest of every `width` values; the first of equal ones. */
function rowMaxima(values: ArrayLike<number>, width: number): Int32Array {
  const places = new Int32Array(values.length / width);
  for (let row = 0; row < places.length; row++) {
    let best = 0;
    for (let i = 1; i < width; i++) if (values[row * width + i] > values[row * width + best]) best = i;
    places[row] = best;
  }
  return places;
}

/** A table of precision, recall and F1. */
export const scoreLines = (scores: TestScores): string[] =>
  tableLines([
    ['class', 'precision', 'recall', 'F1', 'pictures'],
    ...scores.perClass.map((c) => [c.name, four(c.precision), four(c.recall), four(c.f1), String(c.support)]),
  ]);

/** The confusion matrix: a row a true class, a column an answer (in the same order, by number). */
export const confusionLines = (scores: TestScores): string[] =>
  tableLines([
    ['true class', ...scores.perClass.map((_, i) => String(i))],
    ...scores.confusionMatrix.map((row, i) => [`${i} ${scores.perClass[i].name}`, ...row.map(String)]),
  ]);
