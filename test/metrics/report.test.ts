/** @file Reports on arrays, letter by letter and number by number scikit-learn's. */
import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { classificationReport, confusionMatrix, type ReportOptions, rocAuc, rocAucOneVsRest } from '../../src/metrics/report.js';

type Scores = Record<'precision' | 'recall' | 'f1-score' | 'support', number>;
interface Golden {
  classes: {
    labels: number[];
    scores: number[][];
    weights: number[];
    want: { confusion: number[][]; rocAucMacro: number; rocAucWeighted: number };
  };
  binary: { labels: number[]; scores: number[]; weights: number[]; want: { rocAuc: number; weightedRocAuc: number } };
  reports: { yTrue: number[]; yPred: number[]; options: ReportOptions; text: string; json: Record<string, Scores | number> }[];
}
const golden: Golden = JSON.parse(readFileSync(new URL('../golden/metrics.json', import.meta.url), 'utf8'));

describe('classificationReport', () => {
  golden.reports.forEach((g, i) => {
    it(`${i} ${JSON.stringify(g.options)}`, () => {
      const report = classificationReport(g.yTrue, g.yPred, g.options);
      expect(report.text).toBe(g.text);
      const numbers = (s: (typeof report)['macroAverage']) => [s.precision, s.recall, s.f1, s.support];
      const want = (key: string): number[] => {
        const s = g.json[key];
        if (typeof s === 'number') throw new Error(key);
        return [s.precision, s.recall, s['f1-score'], s.support];
      };
      const compare = (got: number[], key: string) => {
        for (const [k, x] of want(key).entries()) expect(got[k], key).toBeCloseTo(x, 10);
      };
      for (const row of report.perClass) compare(numbers(row), row.name);
      compare(numbers(report.macroAverage), 'macro avg');
      compare(numbers(report.weightedAverage), 'weighted avg');
      if (report.accuracy === null) compare(numbers(report.microAverage), 'micro avg');
      else expect(report.accuracy).toBeCloseTo(Number(g.json.accuracy), 10);
    });
  });
  it('says what does not fit', () => {
    expect(() => classificationReport([0, 1], [0])).toThrow(/2 labels and 1 answers/);
    expect(() => classificationReport([0, 3], [0, 1], { classNames: ['a', 'b'] })).toThrow(/classes 3 have no name/);
    expect(() => classificationReport([0.5], [0])).toThrow(/class numbers/);
  });
  it('counts weights', () => {
    const report = classificationReport([0, 0, 1], [0, 1, 1], { sampleWeight: [1, 2, 3] });
    expect(report.accuracy).toBeCloseTo(4 / 6);
    expect(report.perClass.map((p) => p.support)).toEqual([3, 3]);
  });
});

describe('confusionMatrix', () => {
  it('has true classes as rows', () => {
    const answers = golden.classes.scores.map((row) => row.indexOf(Math.max(...row)));
    expect(confusionMatrix(golden.classes.labels, answers)).toEqual(golden.classes.want.confusion);
    expect(confusionMatrix([0, 1], [1, 1], { numClasses: 3 })).toEqual([
      [0, 1, 0],
      [0, 1, 0],
      [0, 0, 0],
    ]);
  });
});

describe('rocAuc', () => {
  it('is that of scikit-learn, ties and weights included', () => {
    const { labels, scores, weights } = golden.binary;
    expect(rocAuc(labels, scores)).toBeCloseTo(golden.binary.want.rocAuc, 10);
    expect(rocAuc(labels, scores, { sampleWeight: weights })).toBeCloseTo(golden.binary.want.weightedRocAuc, 10);
    expect(rocAucOneVsRest(golden.classes.labels, golden.classes.scores)).toBeCloseTo(golden.classes.want.rocAucMacro, 6);
    expect(rocAucOneVsRest(golden.classes.labels, golden.classes.scores, 'weighted')).toBeCloseTo(golden.classes.want.rocAucWeighted, 6);
  });
  it('is the share of pairs in the right order', () => {
    const pair = fc.record({ label: fc.integer({ min: 0, max: 1 }), score: fc.integer({ min: 0, max: 5 }) });
    fc.assert(
      fc.property(fc.array(pair, { minLength: 2, maxLength: 30 }), (pairs) => {
        const positive = pairs.filter((p) => p.label === 1);
        const negative = pairs.filter((p) => p.label === 0);
        fc.pre(positive.length > 0 && negative.length > 0);
        let right = 0;
        for (const p of positive) for (const n of negative) right += p.score > n.score ? 1 : p.score === n.score ? 0.5 : 0;
        expect(
          rocAuc(
            pairs.map((p) => p.label),
            pairs.map((p) => p.score),
          ),
        ).toBeCloseTo(right / (positive.length * negative.length), 12);
      }),
      { seed: 3, numRuns: 100 },
    );
  });
  it('needs both labels', () => {
    expect(() => rocAuc([1, 1], [0.1, 0.2])).toThrow(/no negative/);
    expect(() => rocAuc([0, 2], [0.1, 0.2])).toThrow(/Expected 0 or 1/);
  });
});
