import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { listDevices } from '../../src/device/registry.js';
import { largestError, measureDevices, readTable, rowNames, withTable } from './device-table.js';

const path = fileURLToPath(new URL('../../docs/guide/devices.md', import.meta.url));

// `npm run docs:devices`.
test.runIf(process.env.TENON_WRITE_DOCS === '1')(
  'every primitive on every device, written into the guide',
  async () => {
    const { text, failures } = await measureDevices();
    expect(failures).toEqual([]);
    writeFileSync(path, withTable(readFileSync(path, 'utf8'), text));
  },
  1_200_000,
);

describe('the table in docs/guide/devices.md (npm run docs:devices writes it anew)', () => {
  // Read when a test runs: it may have just been written.
  const table = (): string[][] => readTable(readFileSync(path, 'utf8'));

  test('has a column for every device and a row for every primitive', () => {
    const [header, ...rows] = table();
    expect(header).toEqual(['primitive', 'allowed', ...listDevices().map((d) => d.name)]);
    expect(rows.map((r) => r[0])).toEqual(rowNames);
  });

  test('says of every device how far off it is, and no more than is allowed', () => {
    const [header, ...rows] = table();
    const number = (cell: string): number => (cell === 'exact' ? 0 : Number(cell));
    for (const [name, allowed, ...cells] of rows)
      for (const [i, cell] of cells.entries()) {
        expect(cell, `${name} on ${header[i + 2]}`).toMatch(/^(exact|\d\.\d+e[-+]\d+)$/);
        expect(number(cell), `${name} on ${header[i + 2]}`).toBeLessThanOrEqual(number(allowed));
      }
  });
});

test('errors are relative to the larger of 1 and the value; NaN is NaN', () => {
  expect(largestError(Float32Array.of(0.5, 100, Number.NaN), Float32Array.of(0.25, 101, Number.NaN), 'f32')).toBe(0.25);
  expect(largestError(Float32Array.of(Number.NaN), Float32Array.of(1), 'f32')).toBe(Number.POSITIVE_INFINITY);
  expect(largestError(Float32Array.of(Number.POSITIVE_INFINITY), Float32Array.of(Number.POSITIVE_INFINITY), 'f32')).toBe(0);
  expect(largestError(Int32Array.of(3), Int32Array.of(4), 'i32')).toBe(0.25);
});
