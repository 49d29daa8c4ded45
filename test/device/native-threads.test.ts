import { describe, expect, it } from 'vitest';
import type { Executable } from '../../src/device/device.js';
import { NativeDevice } from '../../src/device/native/native.js';
import type { Program } from '../../src/kernel/program.js';
import { deviceConformance } from './conformance.js';
import { increment } from './increment.js';

// More threads than this machine has cores, and the oldest instruction set: read when the device is made.
process.env.TENON_NUM_THREADS = '5';
process.env.TENON_CPU = process.arch === 'x64' ? 'sse2' : '';

describe('native device with five threads', () => {
  const device = new NativeDevice();

  it('takes both settings', () => {
    expect(device.target.threads).toBe(5);
    expect(device.target.lanes).toBe(4);
  });

  it('runs every item once, in every run of many', async () => {
    const sizes = [3, 5, 19, 1000];
    const programs = sizes.map((n) => increment(n, 1e6));
    // Four independent calls, twice, of which some run on one thread and some on all.
    const program: Program = {
      calls: [0, 1, 2, 3, 0, 1, 2, 3].map((k, i) => {
        const { kernel } = programs[k].calls[0];
        return { kernel: { ...kernel, flops: (i + k) % 2 ? 1e6 : 0, bytes: 0 }, buffers: [k] };
      }),
      buffers: programs.map((p, slot) => ({ ...p.buffers[0], place: { kind: 'external', slot } })),
      arenaBytes: 0,
      externals: 4,
    };
    const executable = await device.compile(program);
    const buffers = sizes.map((n) => device.allocate('i32', n));
    await Promise.all(Array.from({ length: 300 }, () => device.run(executable, buffers)));
    for (let i = 0; i < 100; i++) device.runSync(executable, buffers);
    for (const b of buffers) expect(new Set(await device.read(b))).toEqual(new Set([800]));
  });

  it('tells the time of each call', async () => {
    const executable = await device.compile(increment(1000, 1e6));
    const y = device.allocate('i32', 1000);
    const times = await device.profile(executable, [y]);
    expect(times).toHaveLength(1);
    expect(times[0]).toBeGreaterThan(0);
    expect(new Set(await device.read(y))).toEqual(new Set([1]));
  });

  it('refuses an executable that was disposed of, and frees it after the runs before', async () => {
    const executable = device.compileSync(increment(10, 1e6));
    const y = device.allocate('i32', 10);
    const before = device.run(executable, [y]);
    (executable as Executable & Disposable)[Symbol.dispose]();
    await before;
    await expect(device.run(executable, [y])).rejects.toThrow(/disposed/);
    expect((await device.read(y))[0]).toBe(1);
  });

  deviceConformance(() => device);
});
