/** @file What every device must do; each device's test file calls it. */
import { beforeAll, expect, it } from 'vitest';
import type { TypedArray } from '../../src/base/dtype.js';
import type { Device } from '../../src/device/device.js';
import { op } from '../../src/kernel/kernel.js';
import type { Program } from '../../src/kernel/program.js';
import { type Case, cases, elementwise, programOf } from '../kernel/kernels.js';
import { increment } from './increment.js';

function compare(actual: TypedArray, expected: ArrayLike<number>, tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    const e = expected[i];
    const a = actual[i];
    if (Object.is(a, e) || a === e || (Number.isNaN(a) && Number.isNaN(e))) continue;
    if (!(Math.abs(a - e) <= tolerance * Math.max(1, Math.abs(e)))) expect.fail(`element ${i}: expected ${e}, received ${a}`);
  }
}

async function runCase(device: Device, c: Case): Promise<void> {
  const executable = await device.compile(programOf(c.kernel, c.data));
  const buffers = c.data.map((d, i) => device.allocate(c.kernel.buffers[i].dtype, d.length, d));
  await device.run(executable, buffers);
  for (const [position, values] of c.expected) compare(await device.read(buffers[position]), values, c.tolerance);
}

/** t = 2x in the arena, u = t + c with a constant table c, y = u + t. All kernels read what the ones before wrote. */
export function chain(size: number, cost: number): Program {
  const twice = elementwise('twice', ['f32'], 'f32', size, 100, (x) => op('add', 'f32', x, x));
  const sum = elementwise('sum', ['f32', 'f32'], 'f32', size, 100, (x, y) => op('add', 'f32', x, y));
  const priced = (k: typeof sum) => ({ ...k, flops: cost, bytes: cost });
  const bytes = Math.ceil((size * 4) / 64) * 64;
  return {
    calls: [
      { kernel: priced(twice), buffers: [0, 2] },
      { kernel: priced(sum), buffers: [2, 4, 3] },
      { kernel: priced(sum), buffers: [3, 2, 1] },
    ],
    buffers: [
      { dtype: 'f32', size, place: { kind: 'external', slot: 0 } },
      { dtype: 'f32', size, place: { kind: 'external', slot: 1 } },
      { dtype: 'f32', size, place: { kind: 'arena', offset: 0 } },
      { dtype: 'f32', size, place: { kind: 'arena', offset: bytes } },
      { dtype: 'f32', size, place: { kind: 'constant', data: Float32Array.from({ length: size }, (_, i) => i % 10) } },
    ],
    arenaBytes: 2 * bytes,
    externals: 2,
  };
}

/** One Program of all kernels: compiled in one go, so that the cases find theirs. */
function everything(): Program {
  const all = cases();
  const programs = all.map((c) => programOf(c.kernel, c.data));
  let slot = 0;
  const buffers = programs.flatMap((p) => p.buffers.map((b) => ({ ...b, place: { kind: 'external' as const, slot: slot++ } })));
  let first = 0;
  const calls = programs.map((p) => {
    const [call] = p.calls;
    const shifted = { kernel: call.kernel, buffers: call.buffers.map((b) => b + first) };
    first += p.buffers.length;
    return shifted;
  });
  return { calls, buffers, arenaBytes: 0, externals: slot };
}

export function deviceConformance(device: () => Device): void {
  beforeAll(async () => {
    await device().compile(everything());
  });

  it.each(cases().map((c) => [c.name, c] as const))('%s', async (_, c) => runCase(device(), c));

  it.each([0, 1e9])('runs a chain through arena and constants (cost %d)', async (cost) => {
    const size = 1337;
    const executable = await device().compile(chain(size, cost));
    const x = Float32Array.from({ length: size }, (_, i) => i / 8);
    const input = device().wrap('f32', x);
    const output = device().allocate('f32', size);
    for (let repeat = 0; repeat < 50; repeat++) await device().run(executable, [input, output]);
    expect(await device().read(output)).toEqual(x.map((v, i) => 4 * v + (i % 10)));
    expect(executable.source()).toHaveLength(3);
  });

  it('keeps the order of runs, writes and reads that are not awaited', async () => {
    const d = device();
    const executable = await d.compile(increment(1000, 1e8));
    const y = d.allocate('i32', 1000);
    const reads: Promise<TypedArray>[] = [];
    const runs: Promise<unknown>[] = [];
    for (let i = 0; i < 20; i++) {
      runs.push(d.run(executable, [y]));
      if (i === 9) {
        const data = new Int32Array(1000).fill(100);
        d.write(y, data);
        // The device must have its own copy by now.
        data.fill(-5);
      }
      reads.push(d.read(y));
    }
    const seen = (await Promise.all(reads)).map((r) => [r[0], r[999]]);
    expect(seen).toEqual(Array.from({ length: 20 }, (_, i) => (i < 9 ? [i + 1, i + 1] : [100 + i - 9, 100 + i - 9])));
    await Promise.all(runs);
    await d.idle();
  });

  it('compiles, runs and reads synchronously', () => {
    const d = device();
    const executable = d.compileSync!(increment(10));
    const y = d.allocate(
      'i32',
      10,
      Int32Array.from({ length: 10 }, (_, i) => i),
    );
    d.runSync!(executable, [y]);
    d.runSync!(executable, [y]);
    expect([...d.readSync!(y)]).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  });

  it('gives zeroed buffers, copies what it is given, and hands out copies', async () => {
    const d = device();
    expect([...(await d.read(d.allocate('u8', 5)))]).toEqual([0, 0, 0, 0, 0]);
    const data = Float32Array.of(1, 2, 3);
    const copy = d.allocate('f32', 3, data);
    data[0] = 9;
    const first = await d.read(copy);
    first[1] = 9;
    expect([...(await d.read(copy))]).toEqual([1, 2, 3]);
    expect((await d.read(d.allocate('f32', 0))).length).toBe(0);
  });

  it('wraps views that start anywhere in their ArrayBuffer', async () => {
    const d = device();
    const whole = Float32Array.from({ length: 103 }, (_, i) => i);
    const size = 100;
    const kernel = elementwise('twice', ['f32'], 'f32', size, 33, (x) => op('add', 'f32', x, x));
    const view = whole.subarray(3);
    const out = d.allocate('f32', size);
    await d.run(await d.compile(programOf(kernel, [view, view])), [d.wrap('f32', view), out]);
    expect(await d.read(out)).toEqual(view.map((x) => 2 * x));
  });

  it('refuses what does not fit', () => {
    const d = device();
    expect(() => d.allocate('f32', 3, new Float32Array(4))).toThrow(/Expected 3 elements, received 4/);
    expect(() => d.write(d.allocate('f32', 3), new Float32Array(4))).toThrow(/Expected 3 elements, received 4/);
    expect(() => d.allocate('f32', 2 ** 45)).toThrow(/memory/);
  });

  it('refuses externals that are missing or of another type', async () => {
    const d = device();
    const executable = await d.compile(increment(10));
    await expect(d.run(executable, [])).rejects.toThrow(/expected 1 external/);
    await expect(d.run(executable, [d.allocate('i32', 9)])).rejects.toThrow(/should hold 10 of i32/);
    await expect(d.run(executable, [d.allocate('f32', 10)])).rejects.toThrow(/should hold 10 of i32/);
  });
}
