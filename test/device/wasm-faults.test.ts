/** @file What the wasm device does where something is missing, refused or dies: a clear error or a stated fallback, never a wrong number. */
import type { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { compileGraph } from '../../src/compile/compile.js';
import { WasmDevice, wasmUnusable } from '../../src/device/wasm/wasm.js';
import { ops } from '../../src/graph/builder.js';
import { loop } from '../../src/kernel/kernel.js';
import type { Program } from '../../src/kernel/program.js';
import { feed } from '../conformance/harness.js';
import { increment } from './increment.js';

const workerThreads = process.getBuiltinModule('node:worker_threads');
const { Worker: RealWorker } = workerThreads;

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
  workerThreads.Worker = RealWorker;
});

const size = 100_000;
async function counted(device: WasmDevice): Promise<number[]> {
  const executable = await device.compile(increment(size, 1e8));
  const y = device.allocate('i32', size);
  await device.run(executable, [y]);
  return [...new Set(await device.read(y))];
}

describe('an engine', () => {
  it('without SIMD is told so', () => {
    vi.spyOn(WebAssembly, 'validate').mockReturnValue(false);
    expect(wasmUnusable()).toMatch(/no WebAssembly SIMD/);
    expect(() => new WasmDevice()).toThrow(/wasm: cannot be used: this engine has no WebAssembly SIMD/);
  });

  it('without WebAssembly is told so', () => {
    vi.stubGlobal('WebAssembly', undefined);
    expect(wasmUnusable()).toMatch(/no WebAssembly/);
  });

  it('that refuses modules is told what a policy should allow', () => {
    vi.spyOn(WebAssembly, 'Module').mockImplementation(() => {
      throw new WebAssembly.CompileError("Refused to compile or instantiate WebAssembly module because 'unsafe-eval' is not allowed");
    });
    expect(wasmUnusable()).toMatch(/content security policy.*'wasm-unsafe-eval'.*Refused to compile/);
  });

  it('without shared memory computes in the calling thread', async () => {
    vi.stubGlobal('SharedArrayBuffer', undefined);
    const device = new WasmDevice({ threads: 4 });
    expect(device.target.threads).toBe(1);
    expect(await counted(device)).toEqual([1]);
  });

  it('that refuses workers computes in the calling thread, and says so', async () => {
    const said = vi.spyOn(console, 'error').mockImplementation(() => undefined);
    workerThreads.Worker = class {
      constructor() {
        throw new Error('workers are refused');
      }
    } as never;
    const device = new WasmDevice({ threads: 2 });
    expect(await counted(device)).toEqual([1]);
    expect(said).toHaveBeenCalledOnce();
    expect(said.mock.calls[0][0]).toMatch(/computing in the calling thread: .*workers are refused/);
  });

  it('whose workers end at once computes in the calling thread, says why, and holds nobody up', async () => {
    const said = vi.spyOn(console, 'error').mockImplementation(() => undefined);
    workerThreads.Worker = class extends RealWorker {
      constructor() {
        super('process.exit(3)', { eval: true });
      }
    };
    expect(await counted(new WasmDevice({ threads: 2 }))).toEqual([1]);
    expect(said.mock.calls.flat()).toEqual([
      expect.stringMatching(/computing in the calling thread: .*cannot be started: it ended with code 3$/),
    ]);
  });
});

describe('memory', () => {
  /** An engine that gives at most so many pages. */
  const limited = (pages: number): void => {
    const { Memory } = WebAssembly;
    vi.stubGlobal('WebAssembly', {
      ...Object.fromEntries(Object.getOwnPropertyNames(WebAssembly).map((k) => [k, WebAssembly[k as keyof typeof WebAssembly]])),
      Memory: class extends Memory {
        constructor(descriptor: WebAssembly.MemoryDescriptor) {
          if ((descriptor.maximum ?? 0) > pages) throw new RangeError('could not allocate memory');
          super(descriptor);
        }
      },
    });
  };

  it('that can be had in part is taken, and an error says what would fit', async () => {
    limited(512);
    const device = new WasmDevice({ threads: 1 });
    const mib = 2 ** 18;
    const first = device.allocate('f32', 14 * mib);
    const second = device.allocate('f32', 12 * mib);
    expect(() => device.allocate('f32', 10 * mib)).toThrow(
      /no memory for 2621440 elements of f32 \(10 MiB\): 26 MiB of 32 MiB are in use, and at most [56] MiB would fit\. Use a smaller batch/,
    );
    // What was there before is as it was.
    expect((await device.read(second)).length).toBe(12 * mib);
    expect(first.size).toBe(14 * mib);
    expect(await counted(device)).toEqual([1]);
  });

  it('of more elements than kernels can count is refused', async () => {
    const device = new WasmDevice({ threads: 1 });
    expect(() => device.allocate('u8', 2 ** 31)).toThrow(/2147483648 elements of u8. Expected at most 2,147,483,647/);
    expect(() => device.allocate('u8', -1)).toThrow(/-1 elements/);
    await expect(device.compile(increment(2 ** 31))).rejects.toThrow(/more than 2,147,483,647 elements at once/);
    // Of an array that is never made, whose largest element is found in one loop.
    const all = ops.reduceMax(ops.broadcast(feed('f32', [1, 1]).node, [65536, 32770]), [0, 1]);
    const { program } = compileGraph({ outputs: [all], writes: [] }, device.target);
    await expect(device.compile(program)).rejects.toThrow(/elements at once/);
  });

  it('that is refused altogether is an error', () => {
    limited(16);
    expect(() => new WasmDevice()).toThrow(/wasm: no memory: the engine refused 16 MiB.*ulimit -v/);
  });

  it('grows while workers run', async () => {
    const device = new WasmDevice({ threads: 2 });
    const small = await device.compile(increment(size, 1e8));
    const y = device.allocate('i32', size);
    await device.run(small, [y]);
    const large = 8e6;
    const runs = Array.from({ length: 20 }, () => device.run(small, [y]));
    const z = device.allocate('i32', large);
    const executable = await device.compile(increment(large, 1e8));
    await Promise.all(runs);
    await device.run(executable, [z]);
    expect(new Set(await device.read(z))).toEqual(new Set([1]));
    expect((await device.read(y))[size - 1]).toBe(21);
  });
});

describe('a compute thread', () => {
  it('that dies fails the run and all after it', async () => {
    const workers: Worker[] = [];
    workerThreads.Worker = class extends RealWorker {
      constructor(...args: ConstructorParameters<typeof Worker>) {
        super(...args);
        workers.push(this);
      }
    };
    const device = new WasmDevice({ threads: 2 });
    const long = 4e7;
    const executable = await device.compile(increment(long, 1e9));
    const y = device.allocate('i32', long);
    await device.run(executable, [y]);
    const runs = Array.from({ length: 3 }, () => device.run(executable, [y]));
    await workers[1].terminate();
    const results = await Promise.allSettled(runs);
    expect(results.at(-1)).toMatchObject({ status: 'rejected', reason: { name: 'DeviceError' } });
    await expect(device.run(executable, [y])).rejects.toThrow(/wasm: a compute thread died: it ended with code 1\. .*last checkpoint/);
    await expect(device.compile(increment(long, 1e9))).rejects.toThrow(/a compute thread died/);
  });

  it('whose kernel fails says so, and goes on', async () => {
    const device = new WasmDevice({ threads: 2 });
    const program = increment(size, 1e8);
    const [{ kernel, buffers }] = program.calls;
    const beyond = { ...kernel, body: kernel.body.map((s) => shifted(s)) };
    const bad = await device.compile({ ...program, calls: [{ kernel: beyond as typeof kernel, buffers }] });
    const y = device.allocate('i32', size);
    await expect(device.run(bad, [y])).rejects.toThrow(/wasm: a kernel failed: .*memory access out of bounds/);
    expect(await counted(device)).toEqual([1]);
  });

  it('still at its own call when another fails leaves the next run alone', async () => {
    const device = new WasmDevice({ threads: 2 });
    const [{ kernel }] = increment(size).calls;
    const beyond = { ...kernel, body: kernel.body.map((s) => shifted(s)) as typeof kernel.body };
    // So cheap by its estimate that one thread runs it, and long.
    const again = loop('again', 0, 1000, kernel.body);
    const long = { ...kernel, body: [again] };
    const wide = { ...kernel, flops: 1e8 };
    // In memory of the program's own: of two external buffers nobody knows that they are two, and one thread would have both calls.
    const bytes = Math.ceil((4 * size) / 64) * 64;
    const places = [
      { kind: 'arena', offset: 0 },
      { kind: 'arena', offset: bytes },
      { kind: 'external', slot: 0 },
    ] as const;
    const buffers = places.map((place) => ({ dtype: 'i32' as const, size, place }));
    const calls = [beyond, long, wide].map((k, i) => ({ kernel: k, buffers: [i] }));
    const bad = await device.compile({ calls, buffers, arenaBytes: 2 * bytes, externals: 1 });
    const many = Array.from({ length: 1000 }, () => ({ kernel: wide, buffers: [0] }));
    const good = await device.compile({ calls: many, buffers: [buffers[2]], arenaBytes: 0, externals: 1 });
    await expect(device.run(bad, [device.allocate('i32', size)])).rejects.toThrow(/a kernel failed/);
    for (let n = 0; n < 30; n++) {
      const fresh = device.allocate('i32', size);
      await device.run(good, [fresh]);
      expect(new Set(await device.read(fresh))).toEqual(new Set([1000]));
    }
  });
});

it('threads that come late to a failed run leave it alone', async () => {
  const device = new WasmDevice({ threads: 16 });
  const [{ kernel }] = increment(size).calls;
  const wide = { ...kernel, flops: 1e8 };
  const beyond = { ...wide, body: kernel.body.map((s) => shifted(s)) as typeof kernel.body };
  const buffers = [{ dtype: 'i32' as const, size, place: { kind: 'external' as const, slot: 0 } }];
  const programOf = (kernels: (typeof wide)[]): Program => ({
    calls: kernels.map((k) => ({ kernel: k, buffers: [0] })),
    buffers,
    arenaBytes: 0,
    externals: 1,
  });
  const bad = await device.compile(programOf([beyond, wide, wide]));
  const good = await device.compile(programOf(new Array<typeof wide>(50).fill(wide)));
  for (let n = 0; n < 40; n++) {
    await expect(device.run(bad, [device.allocate('i32', size)])).rejects.toThrow(/a kernel failed/);
    const fresh = device.allocate('i32', size);
    await device.run(good, [fresh]);
    expect(new Set(await device.read(fresh))).toEqual(new Set([50]));
  }
}, 60_000);

/** The same statement with every index far beyond memory. */
function shifted(x: unknown): unknown {
  if (Array.isArray(x)) return x.map(shifted);
  if (typeof x !== 'object' || x === null) return x;
  const copy = Object.fromEntries(Object.entries(x).map(([k, v]) => [k, shifted(v)])) as Record<string, unknown>;
  if (copy.kind !== 'load' && copy.kind !== 'store') return copy;
  const far = { kind: 'const', type: 'index', value: 2 ** 29, lanes: 1 };
  return { ...copy, index: { kind: 'op', type: 'index', op: 'add', args: [copy.index, far], lanes: 1 } };
}
