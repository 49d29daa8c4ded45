/** @file `tenon devices`: what can compute here, why the rest cannot, and how fast each multiplies matrices. */

import { dirname } from 'node:path';
import { reasonOf } from '../../base/errors.js';
import { currentDevice, type DeviceStatus, listDevices, setDevice } from '../../device/registry.js';
import { requireFolder } from '../datasets.js';
import { describeTarget, say, writeJson } from '../output.js';
import type { DevicesOptions } from '../program.js';
import { version } from '../version.js';

/** One device, as the JSON file has it; null where it says nothing. */
interface DeviceRow {
  readonly name: string;
  readonly usable: boolean;
  readonly reason: string | null;
  readonly isDefault: boolean;
  readonly threads: number | null;
  /** f32 values of a vector register; 1: no vectors. */
  readonly lanes: number | null;
  readonly hasFma: boolean | null;
  /** 10⁹ f32 operations a second in a product of squares of this size. */
  readonly gflops: number | null;
  readonly productSize: number | null;
  /** Why a usable device failed when it was measured. */
  readonly failure: string | null;
}

/** Rows and columns of the measured product: a device without vectors would take seconds for the large one. */
const productSize = (lanes: number): number => (lanes > 1 ? 1024 : 128);

/** Runs the command. Throws ConfigError when TENON_DEVICE or TENON_NUM_THREADS is wrong, UsageError for a folder that isn't there. */
export async function devices(options: DevicesOptions): Promise<void> {
  if (options.json !== undefined) await requireFolder('--json', dirname(options.json));
  const chosen = currentDevice().name;
  const rows: DeviceRow[] = [];
  for (const status of listDevices()) rows.push(await describe(status, status.name === chosen, options.measure));
  setDevice(chosen);
  const longest = Math.max(...rows.map((r) => r.name.length));
  for (const row of rows) say(`${row.name.padEnd(longest)}  ${row.usable ? 'usable    ' : 'not usable'}  ${textOf(row)}`);
  say();
  say('Choose one with --device or TENON_DEVICE; TENON_NUM_THREADS sets the number of threads.');
  if (options.json !== undefined) {
    await writeJson(options.json, { version: version(), devices: rows });
    say(`Saved ${options.json}`);
  }
}

const unknown = { threads: null, lanes: null, hasFma: null, gflops: null, productSize: null, failure: null };

async function describe({ name, usable, reason }: DeviceStatus, isDefault: boolean, measure: boolean): Promise<DeviceRow> {
  if (!usable) return { ...unknown, name, usable, reason, isDefault };
  setDevice(name);
  const { threads, lanes, hasFma } = currentDevice().target;
  const row: DeviceRow = { ...unknown, name, usable, reason, isDefault, threads, lanes, hasFma };
  if (!measure) return row;
  progress(`${name}: measuring`);
  try {
    const { measureProductRate } = await import('../product-rate.js');
    const { gflops, size } = await measureProductRate(productSize(lanes));
    return { ...row, gflops, productSize: size };
  } catch (error) {
    // One device that fails must not hide the others.
    return { ...row, failure: reasonOf(error).split('\n')[0] };
  } finally {
    progress('');
  }
}

/** What a terminal shows until the next line; nothing elsewhere. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r${text}\x1b[K`);
}

function textOf(row: DeviceRow): string {
  if (row.threads === null || row.lanes === null) return row.reason ?? '';
  const rate = row.gflops === null ? '' : `, ${row.gflops.toFixed(row.gflops < 10 ? 2 : 1)} GFLOP/s in a product of ${row.productSize}³`;
  return [
    describeTarget({ threads: row.threads, lanes: row.lanes }),
    row.hasFma ? ' with FMA' : '',
    rate,
    row.failure === null ? '' : `, but it failed: ${row.failure}`,
    row.isDefault ? ', used by default' : '',
  ].join('');
}
