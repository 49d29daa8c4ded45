/**
 * @file The table of docs/guide/devices.md: what every device computed of every primitive's cases of conformance, and how far from the
 * oracle. `npm run docs:devices` writes it; device-table.test.ts sees that it names every primitive and every device.
 */
import { type DType, decode, isFloat, type TypedArray } from '../../src/base/dtype.js';
import { describeTarget } from '../../src/cli/output.js';
import type { Device } from '../../src/device/device.js';
import { currentDevice, listDevices, setDevice } from '../../src/device/registry.js';
import { interpret } from '../../src/graph/interpret.js';
import type { Node } from '../../src/graph/node.js';
import { primitives } from '../../src/graph/primitives/index.js';
import { type Case, cases } from '../conformance/cases.js';
import { runOn } from '../conformance/harness.js';

export const begin = '<!-- Written by `npm run docs:devices`: -->';
export const end = '<!-- until here. -->';

/** Cases of several primitives together, which stand for none of them. */
export const fusedRow = 'several, fused';

/** The row that a case counts for. */
const rowsOf = (c: Case): readonly string[] => (c.covers.length > 0 ? c.covers : [fusedRow]);
export const rowNames: readonly string[] = [...Object.keys(primitives).sort((a, b) => a.localeCompare(b, 'en')), fusedRow];

/** As in conformance: of f32 what the case allows, of the storage types 2 %, and integers exactly. */
const allowedOf = (dtype: DType, tolerance: number): number => (isFloat(dtype) ? (dtype === 'f32' ? tolerance : 0.02) : 0);
const usualTolerance = 2e-5;

/** The largest difference, relative to the larger of 1 and the value. */
export function largestError(actual: TypedArray, wanted: TypedArray, dtype: DType): number {
  if (actual.length !== wanted.length) return Number.POSITIVE_INFINITY;
  let worst = 0;
  for (let i = 0; i < wanted.length; i++) {
    const [a, w] = [decode(dtype, actual[i]), decode(dtype, wanted[i])];
    if (a === w || (Number.isNaN(a) && Number.isNaN(w))) continue;
    const error = Math.abs(a - w) / Math.max(1, Math.abs(w));
    worst = Math.max(worst, Number.isNaN(error) ? Number.POSITIVE_INFINITY : error);
  }
  return worst;
}

interface Column {
  readonly device: Device;
  /** By row: the largest error, or how it failed. */
  readonly errors: Map<string, number>;
  readonly failures: string[];
}

/** Runs every case on every device that is usable here. Gives the table's text, and what failed or passed its tolerance. */
export async function measureDevices(): Promise<{ text: string; failures: string[] }> {
  const columns: Column[] = [];
  const absent: string[] = [];
  for (const { name, usable, reason } of listDevices())
    if (usable) {
      setDevice(name);
      columns.push({ device: currentDevice(), errors: new Map(), failures: [] });
    } else absent.push(`${name} was not there: ${reason}`);
  const allowed = new Map<string, number>();
  for (const c of cases) {
    // The same data for all.
    const { outputs, feeds } = c.build();
    const wanted = interpret(outputs, { inputs: new Map(feeds.map((f) => [(f.node as Node<'input'>).arg.index, f.data] as const)) });
    const limits = outputs.map((o) => allowedOf(o.dtype, c.tolerance ?? usualTolerance));
    for (const row of rowsOf(c)) allowed.set(row, Math.max(allowed.get(row) ?? 0, ...limits));
    for (const column of columns) {
      let worst = Number.POSITIVE_INFINITY;
      try {
        const actual = await runOn(column.device, outputs, feeds);
        const errors = outputs.map((o, i) => largestError(actual[i], wanted[i], o.dtype));
        worst = Math.max(...errors);
        errors.forEach((error, i) => {
          if (!(error <= limits[i])) column.failures.push(`${c.name}: output ${i} is off by ${error}, allowed ${limits[i]}`);
        });
      } catch (error) {
        column.failures.push(`${c.name}: ${error instanceof Error ? error.message.split('\n')[0] : String(error)}`);
      }
      for (const row of rowsOf(c)) column.errors.set(row, Math.max(column.errors.get(row) ?? 0, worst));
    }
  }
  const names = listDevices().map((d) => d.name);
  const cell = (row: string, name: string): string => {
    const error = columns.find((c) => c.device.name === name)?.errors.get(row);
    return error === undefined ? '' : error === 0 ? 'exact' : Number.isFinite(error) ? error.toExponential(1) : 'no';
  };
  const rows = rowNames.map((row) => {
    const limit = allowed.get(row) ?? 0;
    return [row, limit === 0 ? 'exact' : limit.toExponential(0), ...names.map((name) => cell(row, name))];
  });
  const machine = columns.map(({ device }) => `${device.name} with ${describeTarget(device.target)}`);
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const header = ['primitive', 'allowed', ...names];
  const text = [
    `${cases.length} cases; ${[...machine, ...absent].join('; ')}.`,
    '',
    line(header),
    line(header.map(() => '---')),
    ...rows.map(line),
  ].join('\n');
  return { text, failures: columns.flatMap((c) => c.failures.map((f) => `${c.device.name}: ${f}`)) };
}

/** The document with the text between its marks. Throws Error when it has none. */
export function withTable(document: string, text: string): string {
  const [from, to] = [document.indexOf(begin), document.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`docs/guide/devices.md: expected a line ${begin} and after it a line ${end}.`);
  return `${document.slice(0, from)}${begin}\n\n${text}\n\n${document.slice(to)}`;
}

/** Rows of the table between the marks, the header first, without the ruler. */
export function readTable(document: string): string[][] {
  const part = document.slice(document.indexOf(begin), document.indexOf(end));
  return part
    .split('\n')
    .filter((line) => line.startsWith('|') && !line.startsWith('| ---'))
    .map((line) =>
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    );
}
