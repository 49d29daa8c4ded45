/** @file Reports about arrays of answers, after an evaluation: as in scikit-learn's `metrics`, in double precision. */
import { ConfigError, ShapeError } from '../base/errors.js';

export type Labels = ArrayLike<number>;

function requireSame(who: string, yTrue: ArrayLike<unknown>, yPred: ArrayLike<unknown>, weight?: ArrayLike<unknown>): void {
  if (yTrue.length !== yPred.length)
    throw new ShapeError(`${who}: ${yTrue.length} labels and ${yPred.length} answers. Expected as many of both.`);
  if (weight && weight.length !== yTrue.length)
    throw new ShapeError(`${who}: ${weight.length} weights for ${yTrue.length} labels. Expected one each.`);
}
function classNumbers(who: string, ...arrays: readonly Labels[]): number[] {
  const found = new Set<number>();
  for (const a of arrays)
    for (let i = 0; i < a.length; i++) {
      if (!Number.isInteger(a[i])) throw new ConfigError(`${who}: element ${i} is ${a[i]}. Expected class numbers. Use argmax first.`);
      found.add(a[i]);
    }
  return [...found].sort((a, b) => a - b);
}
const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/**
 * Samples by true class (rows) and answered class (columns). `labels`: which classes, in which order (default: those that
 * occur); samples of others don't count.
 */
export function confusionMatrix(
  yTrue: Labels,
  yPred: Labels,
  options: { labels?: readonly number[]; numClasses?: number; sampleWeight?: ArrayLike<number> } = {},
): number[][] {
  requireSame('confusionMatrix', yTrue, yPred, options.sampleWeight);
  const labels =
    options.labels ?? (options.numClasses === undefined ? classNumbers('confusionMatrix', yTrue, yPred) : range(options.numClasses));
  const place = new Map(labels.map((label, i) => [label, i]));
  const matrix = labels.map(() => labels.map(() => 0));
  for (let i = 0; i < yTrue.length; i++) {
    const [row, column] = [place.get(yTrue[i]), place.get(yPred[i])];
    if (row !== undefined && column !== undefined) matrix[row][column] += options.sampleWeight?.[i] ?? 1;
  }
  return matrix;
}

export interface ClassScores {
  readonly precision: number;
  readonly recall: number;
  readonly f1: number;
  /** Samples (or weight) of the class. */
  readonly support: number;
}
export interface ClassificationReport {
  readonly perClass: readonly (ClassScores & { readonly name: string; readonly label: number })[];
  /** Share of right answers; null where `labels` leaves out classes that occur. */
  readonly accuracy: number | null;
  readonly microAverage: ClassScores;
  readonly macroAverage: ClassScores;
  readonly weightedAverage: ClassScores;
  /** The table, as scikit-learn prints it. */
  readonly text: string;
}
export interface ReportOptions {
  /** Names of the classes 0, 1, … (or of `labels`). */
  classNames?: readonly string[];
  /** Which classes (default: as many as there are names, or those that occur). */
  labels?: readonly number[];
  /** What a ratio without cases is. */
  zeroDivision?: 0 | 1;
  /** Digits after the point in the text. */
  digits?: number;
  sampleWeight?: ArrayLike<number>;
}

/** Precision, recall, F1 and support of every class and their averages. */
export function classificationReport(yTrue: Labels, yPred: Labels, options: ReportOptions = {}): ClassificationReport {
  const { classNames, sampleWeight, zeroDivision = 0, digits = 2 } = options;
  requireSame('classificationReport', yTrue, yPred, sampleWeight);
  const occurring = classNumbers('classificationReport', yTrue, yPred);
  const labels = options.labels ?? (classNames ? range(classNames.length) : occurring);
  if (classNames && classNames.length !== labels.length)
    throw new ConfigError(`classificationReport: ${classNames.length} names for ${labels.length} classes. Expected one each.`);
  const isWhole = occurring.every((c) => labels.includes(c));
  if (!isWhole && !options.labels)
    throw new ConfigError(
      `classificationReport: classes ${occurring.filter((c) => !labels.includes(c))} have no name. Expected ${labels.length} classes. Name all, or choose by labels.`,
    );
  const all = [...new Set([...labels, ...occurring])];
  const matrix = confusionMatrix(yTrue, yPred, { labels: all, sampleWeight });
  const divide = (a: number, b: number): number => (b === 0 ? zeroDivision : a / b);
  const sum = (xs: readonly number[]): number => xs.reduce((a, b) => a + b, 0);
  const scores = (hits: number, answers: number, support: number): ClassScores => {
    const [precision, recall] = [divide(hits, answers), divide(hits, support)];
    return { precision, recall, f1: precision + recall === 0 ? 0 : (2 * precision * recall) / (precision + recall), support };
  };
  const counts = labels.map((_, i) => ({ hits: matrix[i][i], answers: sum(matrix.map((row) => row[i])), support: sum(matrix[i]) }));
  const perClass = counts.map((c, i) => ({
    name: classNames?.[i] ?? String(labels[i]),
    label: labels[i],
    ...scores(c.hits, c.answers, c.support),
  }));
  const support = sum(counts.map((c) => c.support));
  const average = (weights: readonly number[]): ClassScores => {
    const total = sum(weights);
    const of = (key: 'precision' | 'recall' | 'f1'): number =>
      total === 0 ? zeroDivision : sum(perClass.map((c, i) => c[key] * weights[i])) / total;
    return { precision: of('precision'), recall: of('recall'), f1: of('f1'), support };
  };
  const hits = sum(counts.map((c) => c.hits));
  const microAverage = scores(hits, sum(counts.map((c) => c.answers)), support);
  const macroAverage = average(perClass.map(() => 1));
  const weightedAverage = average(perClass.map((c) => c.support));
  const accuracy = isWhole ? divide(hits, support) : null;
  const text = reportText({ perClass, accuracy, microAverage, macroAverage, weightedAverage }, digits);
  return { perClass, accuracy, microAverage, macroAverage, weightedAverage, text };
}

/** As Python prints: exact halves go to the even digit, where JavaScript rounds up. */
function fixed(x: number, digits: number): string {
  const isHalf = Number.isInteger(x * 2 ** (digits + 1)) && Math.abs((x * 10 ** digits) % 1) === 0.5;
  return isHalf ? ((2 * Math.round((x * 10 ** digits) / 2)) / 10 ** digits).toFixed(digits) : x.toFixed(digits);
}
function reportText(report: Omit<ClassificationReport, 'text'>, digits: number): string {
  const names = report.perClass.map((c) => c.name);
  const width = Math.max(...names.map((n) => n.length), 'weighted avg'.length, digits);
  const line = (name: string, cells: readonly string[]): string =>
    `${name.padStart(width)} ${cells.map((c) => ` ${c.padStart(9)}`).join('')}\n`;
  const row = (name: string, s: ClassScores): string =>
    line(name, [fixed(s.precision, digits), fixed(s.recall, digits), fixed(s.f1, digits), String(s.support)]);
  const total = report.macroAverage.support;
  return [
    line('', ['precision', 'recall', 'f1-score', 'support']),
    '\n',
    ...report.perClass.map((c) => row(c.name, c)),
    '\n',
    report.accuracy === null
      ? row('micro avg', report.microAverage)
      : line('accuracy', ['', '', fixed(report.accuracy, digits), String(total)]),
    row('macro avg', report.macroAverage),
    row('weighted avg', report.weightedAverage),
  ].join('');
}

/**
 * Exact area under the ROC curve: the chance that a positive sample scores above a negative one, ties counting half.
 * Labels 0 or 1. Throws ConfigError when one of the two is missing.
 */
export function rocAuc(yTrue: Labels, scores: ArrayLike<number>, options: { sampleWeight?: ArrayLike<number> } = {}): number {
  requireSame('rocAuc', yTrue, scores, options.sampleWeight);
  const order = range(yTrue.length).sort((a, b) => scores[a] - scores[b]);
  let [below, area, positives] = [0, 0, 0];
  for (let i = 0; i < order.length; ) {
    // One group of equal scores at a time.
    let [positive, negative] = [0, 0];
    const score = scores[order[i]];
    if (Number.isNaN(score)) throw new ConfigError(`rocAuc: score ${order[i]} is NaN. Expected numbers.`);
    for (; i < order.length && scores[order[i]] === score; i++) {
      const label = yTrue[order[i]];
      if (label !== 0 && label !== 1)
        throw new ConfigError(`rocAuc: label ${order[i]} is ${label}. Expected 0 or 1. Use rocAucOneVsRest for classes.`);
      const w = options.sampleWeight?.[order[i]] ?? 1;
      if (label === 1) positive += w;
      else negative += w;
    }
    area += positive * (below + negative / 2);
    below += negative;
    positives += positive;
  }
  if (positives === 0 || below === 0)
    throw new ConfigError(`rocAuc: ${positives === 0 ? 'no positive' : 'no negative'} label. Expected both 0 and 1.`);
  return area / (positives * below);
}
/** The mean over classes of the area of each against the rest: scores [samples][classes]. Weighted: by the classes' samples. */
export function rocAucOneVsRest(yTrue: Labels, scores: readonly ArrayLike<number>[], average: 'macro' | 'weighted' = 'macro'): number {
  requireSame('rocAucOneVsRest', yTrue, scores);
  const classes = scores[0]?.length ?? 0;
  let [sum, total] = [0, 0];
  for (let c = 0; c < classes; c++) {
    const isClass = Array.from(yTrue, (t) => (t === c ? 1 : 0));
    const weight = average === 'macro' ? 1 : isClass.reduce<number>((a, b) => a + b, 0);
    sum +=
      weight *
      rocAuc(
        isClass,
        scores.map((row) => row[c]),
      );
    total += weight;
  }
  return sum / total;
}
