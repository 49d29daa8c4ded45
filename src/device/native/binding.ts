/** @file The runtime as JavaScript calls: its functions through koffi, addresses as numbers (below 2^53 on every system). */
import { DeviceError } from '../../base/errors.js';
import type { NodeModules } from '../../base/node-modules.js';

/** The part of koffi in use. */
export interface Koffi {
  /** The library at `path`; null is what the process has loaded. */
  load(path: string | null): { func(definition: string): NativeFunction };
  address(value: ArrayBufferView): bigint;
}
interface NativeFunction {
  (...args: (number | bigint | string)[]): unknown;
  async(...args: [...(number | bigint | string)[], (error: Error | null, result: unknown) => void]): void;
}

let loaded: Koffi | undefined;

export function loadKoffi({ module }: NodeModules): Koffi {
  try {
    loaded ??= module.createRequire(import.meta.url)('koffi') as Koffi;
    return loaded;
  } catch (cause) {
    throw new DeviceError(
      `native: koffi, which calls compiled code, does not load. ${cause instanceof Error ? cause.message.split('\n')[0] : ''} Run npm install.`,
      { cause },
    );
  }
}

export interface Runtime {
  setThreads(n: number): void;
  /** Handle of a plan; 0 without memory. `calls`: 5 words a call, `args`: 2 words an argument (see runtime.ts). */
  plan(calls: BigInt64Array, args: BigInt64Array, arena: number, scratch: number, parallel: boolean): number;
  free(plan: number): void;
  /** Runs in the calling thread. `externals` and `times` must live until it returns. */
  run(plan: number, externals: BigUint64Array, times: Float64Array | null): void;
  /**
   * Puts a run behind those of another thread, which makes one after another; `done` is called in this one, not always in their order.
   * What the externals point to, and `times`, must live until then. Throws DeviceError without memory.
   */
  submit(plan: number, externals: BigUint64Array, times: Float64Array | null, done: (error: Error | null) => void): void;
  /** As `submit`, for one run at a time: a thread that ends before the run begins takes it along, and waits for one that has begun. */
  runLater(plan: number, externals: BigUint64Array, times: Float64Array | null, done: (error: Error | null) => void): void;
  /** Before untouched memory is used: huge pages for it, if the system has them. */
  advise(address: bigint, bytes: number): void;
  trim(bytes: number): void;
  /** Loads an object; throws DeviceError with the loader's reason. */
  open(path: string): number;
  /** Address of a function; 0 where the object has none. */
  symbol(handle: number, name: string): number;
}

const failures = ['', 'no memory for the arena of temporaries', 'no memory for scratch arrays'];

export function bindRuntime(koffi: Koffi, path: string): Runtime {
  const library = koffi.load(path);
  const threads = library.func('void tn_threads(int)');
  const plan = library.func('int64_t tn_plan(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int)');
  const free = library.func('void tn_free(int64_t)');
  const run = library.func('int tn_run(int64_t, int64_t, int64_t)');
  const submit = library.func('int64_t tn_submit(int64_t, int64_t, int64_t, int64_t)');
  const wait = library.func('int tn_wait(int64_t)');
  const advise = library.func('void tn_advise(int64_t, int64_t)');
  const trim = library.func('void tn_trim(int64_t)');
  const open = library.func('int64_t tn_open(const char *)');
  const symbol = library.func('int64_t tn_symbol(int64_t, const char *)');
  const error = library.func('const char *tn_error()');
  const address = (array: ArrayBufferView | null): bigint => (array === null || array.byteLength === 0 ? 0n : koffi.address(array));
  const check = (code: unknown): Error | null =>
    code === 0 ? null : new DeviceError(`native: ${failures[Number(code)] ?? `run failed with ${code}`}. Use a smaller batch.`);
  return {
    setThreads: (n) => void threads(n),
    plan: (calls, args, arena, scratch, parallel) =>
      Number(plan(calls.length / 5, args.length / 2, address(calls), address(args), arena, scratch, parallel ? 1 : 0)),
    free: (p) => void free(p),
    run(p, externals, times) {
      const failed = check(run(p, address(externals), address(times)));
      if (failed) throw failed;
    },
    submit(p, externals, times, done) {
      const number = Number(submit(p, address(externals), externals.length, address(times)));
      if (number === 0) throw new DeviceError('native: no memory for a run. Use a smaller batch.');
      wait.async(number, (e, code) => done(e ?? check(code)));
    },
    runLater: (p, externals, times, done) => run.async(p, address(externals), address(times), (e, code) => done(e ?? check(code))),
    advise: (at, bytes) => void advise(at, bytes),
    trim: (bytes) => void trim(bytes),
    open(file) {
      const handle = Number(open(file));
      if (handle === 0) throw new DeviceError(`native: a compiled object does not load. ${String(error())}.`);
      return handle;
    },
    symbol: (handle, name) => Number(symbol(handle, name)),
  };
}
