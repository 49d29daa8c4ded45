import { describe, expect, it } from 'vitest';
import type { Executable } from '../../src/device/device.js';
import { NativeDevice } from '../../src/device/native/native.js';
import { constant, type Expr, iadd, imod, load, loop, op, type Stmt, variable } from '../../src/kernel/kernel.js';
import type { BufferPlan, Program } from '../../src/kernel/program.js';
import { buffer, makeKernel } from '../kernel/kernels.js';
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

  it('lets no thread past a barrier at which another has something to do alone', async () => {
    // x = 1; y = a long sum over x; a small call that reads y; x = 0, ordered after the sum only by the barrier before the small one.
    const n = 64;
    const steps = 300_000;
    const f32 = (name: string, access: 'read' | 'write' = 'read') => buffer(name, 'f32', access);
    const set = (name: string, value: Expr): Stmt => ({ kind: 'store', buffer: name, index: variable('item'), value });
    const sum: Stmt[] = [
      { kind: 'mut', name: 'total', value: constant('f32', 0) },
      loop('k', 0, steps, [
        {
          kind: 'assign',
          name: 'total',
          value: op('add', 'f32', variable('total', 'f32'), load('x', 'f32', imod(iadd(variable('k'), variable('item')), n))),
        },
      ]),
      set('y', variable('total', 'f32')),
    ];
    const calls = [
      { kernel: makeKernel('ones', [f32('x', 'write')], n, [set('x', constant('f32', 1))], 1e6), buffers: [1] },
      { kernel: makeKernel('sum', [f32('x'), f32('y', 'write')], n, sum, 1e6), buffers: [1, 2] },
      { kernel: makeKernel('small', [f32('y'), f32('z', 'write')], 1, [set('z', load('y', 'f32', variable('item')))], 1), buffers: [2, 3] },
      { kernel: makeKernel('zeros', [f32('x', 'write')], n, [set('x', constant('f32', 0))], 1e6), buffers: [1] },
      {
        kernel: makeKernel('result', [f32('y'), f32('out', 'write')], n, [set('out', load('y', 'f32', variable('item')))], 1e6),
        buffers: [2, 0],
      },
    ];
    const arena = (offset: number): BufferPlan => ({ dtype: 'f32', size: n, place: { kind: 'arena', offset } });
    const program: Program = {
      calls,
      buffers: [{ dtype: 'f32', size: n, place: { kind: 'external', slot: 0 } }, arena(0), arena(4 * n), arena(8 * n)],
      arenaBytes: 12 * n,
      externals: 1,
    };
    const executable = await device.compile(program);
    const out = device.allocate('f32', n);
    for (let run = 0; run < 5; run++) {
      await device.run(executable, [out]);
      expect(new Set(await device.read(out))).toEqual(new Set([steps]));
    }
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
