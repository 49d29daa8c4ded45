import { expect, test } from 'vitest';
import { countLines, measure, printReport } from '../../scripts/check-size.js';

const file = (path: string, lines: number) => ({ path, text: 'x\n'.repeat(lines) });

test('lines are counted with and without a last newline', () => {
  expect([countLines('a\nb\n'), countLines('a\nb'), countLines('a\n')]).toEqual([2, 2, 1]);
});

test('within the budgets there is no fault, at the limit neither', () => {
  const report = measure([
    file('src/layers/a.ts', 600),
    file('src/render/c.ts', 400),
    file('src/index.ts', 20),
    file('src/tensor/a.ts', 500),
    file('src/device/wasm/a.ts', 500),
  ]);
  expect(report.faults).toEqual([]);
  expect(report.engineLines).toBe(500);
  expect(report.folders).toContainEqual({ folder: 'layers', files: 1, lines: 600, longest: '600 src/layers/a.ts' });
  expect(report.folders).toContainEqual({ folder: 'src', files: 1, lines: 20, longest: '20 src/index.ts' });
  expect(printReport(report, 760)).toContain('src 2020 lines, engine 500 of 17000, tests 760 (0.38 of src), 0 primitives');
});

test('each hard budget that is passed is a fault', () => {
  const many = Array.from({ length: 29 }, (_, i) => file(`src/compile/${i}.ts`, 600));
  const row = (i: number): string => `  op${i}: undefined;`;
  const table = `export interface PrimitiveArgs {\n${Array.from({ length: 61 }, (_, i) => row(i)).join('\n')}\n}\n`;
  const report = measure([
    ...many,
    file('src/io/a.ts', 601),
    file('src/render/c.ts', 401),
    file('src/device/native/a.ts', 350),
    file('src/device/native/b.ts', 600),
    file('src/device/native/c.ts', 600),
    file('src/device/native/d.ts', 1),
    { path: 'src/graph/primitives/args.ts', text: table },
  ]);
  expect(report.primitives).toBe(61);
  expect(report.faults).toEqual([
    'src/io/a.ts: 601 lines. Expected at most 600.',
    'src/render/c.ts: 401 lines. Expected at most 400.',
    expect.stringMatching(/^the engine .*: 1\d{4} lines\. Expected at most 17000\.$/),
    'the device native: 1551 lines. Expected at most 1550.',
    'the primitive table: 61 rows. Expected at most 60.',
  ]);
});
