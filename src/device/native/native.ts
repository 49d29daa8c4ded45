/** @file The native device: kernels rendered to C, compiled by the system's compiler and run by a pool of threads. */
import { type DType, dtypes, type TypedArray } from '../../base/dtype.js';
import { DeviceError, InternalError, reasonOf } from '../../base/errors.js';
import { log } from '../../base/log.js';
import { type NodeModules, nodeModules } from '../../base/node-modules.js';
import type { BufferPlan, Program } from '../../kernel/program.js';
import type { TargetInfo } from '../../kernel/target.js';
import { cScratchBytes } from '../../render/c.js';
import { checkExternals, checkLength } from '../checks.js';
import type { Device, DeviceBuffer, Executable, PlanTable } from '../device.js';
import { FifoQueue } from '../queue.js';
import { estimateNs, schedule } from '../schedule.js';
import { threadCount } from '../threads.js';
import { loadKoffi, type Runtime } from './binding.js';
import { compilerAdvice, findCompiler } from './compiler.js';
import { cpuLevel, nativeTarget } from './cpu.js';
import { KernelStore, type LoadedKernels } from './kernels.js';

/** Runs estimated shorter than this (ns) are made in the calling thread: handing them over would take longer. */
const shortRun = 20_000;

/** Bytes from which a buffer asks for huge pages: looked-up rows and optimizers' passes miss the TLB in small ones. */
const hugeFrom = 4 << 20;

/**
 * Runs under way at a time, so that the second follows the first without a word from JavaScript. A worker may be terminated at any moment,
 * and its memory goes with it: there, no run is handed to a thread that would outlive it.
 */
const isMainThread = nodeModules()?.workerThreads.isMainThread ?? true;
const runsTogether = isMainThread ? 2 : 1;

const alignUp = (n: number): number => Math.ceil(n / 64) * 64;

class NativeBuffer implements DeviceBuffer {
  readonly dtype: DType;
  readonly size: number;
  readonly data: TypedArray;
  /** Of the first element; stable while `data` lives. */
  readonly address: bigint;
  constructor(dtype: DType, data: TypedArray, address: bigint) {
    this.dtype = dtype;
    this.size = data.length;
    this.data = data;
    this.address = address;
  }
}

/** What of an executable outlives it: told apart so that its finalizer holds no reference to it. */
interface PlanRecord {
  readonly handle: number;
  readonly arenaBytes: number;
}

class NativeExecutable implements Executable {
  readonly program: Program;
  readonly compileSeconds: number;
  readonly cachedKernels: number;
  readonly record: PlanRecord;
  /** Addresses of the external buffers of the run in progress. */
  readonly slots: BigUint64Array;
  readonly isShort: boolean;
  /** Constants that the plan points into. */
  readonly constants: readonly TypedArray[];
  readonly #source: () => string[];
  readonly #dispose: () => void;

  constructor(
    program: Program,
    loaded: { seconds: number; cached: number },
    record: PlanRecord,
    constants: readonly TypedArray[],
    source: () => string[],
    dispose: () => void,
  ) {
    this.program = program;
    this.compileSeconds = loaded.seconds;
    this.cachedKernels = loaded.cached;
    this.record = record;
    this.slots = new BigUint64Array(program.externals);
    this.isShort = program.calls.reduce((ns, c) => ns + estimateNs(c.kernel), 0) < shortRun;
    this.constants = constants;
    this.#source = source;
    this.#dispose = dispose;
  }

  source(): string[] {
    return this.#source();
  }

  [Symbol.dispose](): void {
    this.#dispose();
  }
}

/** Whether the native device can work here; the reason if not. */
export function nativeUnusable(): string | null {
  const modules = nodeModules();
  if (!modules) return 'needs Node.js 20.16 or newer';
  if (process.platform === 'win32') return 'does not run on Windows (WSL works)';
  const compiler = findCompiler(modules);
  if (typeof compiler === 'string') return `${compiler}. ${compilerAdvice}`;
  try {
    loadKoffi(modules);
    return null;
  } catch (error) {
    return reasonOf(error);
  }
}

/**
 * Bytes from which V8 is told of an arena, which lies outside of its heap: an array of that size, never touched, makes it let go of what
 * loading and compiling left behind before as much memory again is taken (420 and not 490 MB where 135 M weights are packed and tuned).
 */
const largeArena = 2 ** 25;
function announce(arenaBytes: number): void {
  if (arenaBytes < largeArena) return;
  try {
    void new ArrayBuffer(Math.min(arenaBytes, 2 ** 30));
  } catch {
    // Where memory is short the arena itself is refused with what to do.
  }
}

export class NativeDevice implements Device {
  readonly name = 'native';
  readonly target: TargetInfo;
  readonly #modules: NodeModules;
  readonly #address: (data: ArrayBufferView) => bigint;
  #store: KernelStore | undefined;
  readonly #queue = new FifoQueue();
  /** Plans that may still run; the arena shrinks when the largest is gone. */
  readonly #plans = new Set<PlanRecord>();
  readonly #finalizer = new FinalizationRegistry<PlanRecord>((record) => this.#free(record));
  #arenaBytes = 0;
  /** Ends when the run submitted last has been seen to end. */
  #lastRun: Promise<unknown> = Promise.resolve();

  /** Throws DeviceError when the device cannot work here. */
  constructor() {
    const reason = nativeUnusable();
    const modules = nodeModules();
    if (reason !== null || !modules) throw new DeviceError(`native: cannot be used: ${reason}`);
    this.#modules = modules;
    const koffi = loadKoffi(modules);
    this.target = nativeTarget(modules, koffi, cpuLevel(modules), threadCount());
    this.#address = (data) => {
      // Small arrays live in V8's heap, where they move, until their buffer is asked for.
      void data.buffer;
      return data.byteLength === 0 ? 0n : koffi.address(data);
    };
  }

  /** Opened at the first compilation: the cache folder and the runtime. */
  get #kernels(): KernelStore {
    if (!this.#store) {
      const compiler = findCompiler(this.#modules);
      if (typeof compiler === 'string') throw new DeviceError(`native: ${compiler}. ${compilerAdvice}`);
      this.#store = new KernelStore(this.#modules, compiler, this.target);
    }
    return this.#store;
  }

  get tunedPlans(): PlanTable {
    return this.#kernels.tunedPlans;
  }

  get #runtime(): Runtime {
    return this.#kernels.runtime;
  }

  allocate(dtype: DType, size: number, data?: TypedArray): DeviceBuffer {
    if (data) checkLength('native', 'data', size, data.length);
    const array = this.#array(dtype, size);
    if (data) array.data.set(data);
    return array;
  }

  #array(dtype: DType, size: number): NativeBuffer {
    const bytes = size * dtypes[dtype].bytes;
    try {
      // V8 aligns large buffers to pages, small ones to 8 or 16 bytes: leave room to begin at a cache line.
      const memory = new ArrayBuffer(bytes + 64);
      const start = this.#address(new Uint8Array(memory));
      const offset = Number((64n - (start % 64n)) % 64n);
      if (bytes >= hugeFrom) this.#runtime.advise(start, bytes);
      return new NativeBuffer(dtype, view(dtype, memory, offset, size), start + BigInt(offset));
    } catch (cause) {
      if (!(cause instanceof RangeError)) throw cause;
      throw new DeviceError(`native: no memory for ${size} elements of ${dtype} (${bytes} bytes). Use a smaller batch or model.`, {
        cause,
      });
    }
  }

  wrap(dtype: DType, data: TypedArray): DeviceBuffer {
    return new NativeBuffer(dtype, data, this.#address(data));
  }

  async compile(program: Program): Promise<Executable> {
    const start = performance.now();
    const loaded = await this.#kernels.load(program.calls.map((c) => c.kernel));
    return this.#executable(program, loaded, start);
  }

  compileSync(program: Program): Executable {
    const start = performance.now();
    return this.#executable(program, this.#kernels.loadSync(program.calls.map((c) => c.kernel)), start);
  }

  #executable(program: Program, loaded: LoadedKernels, start: number): Executable {
    const constants: TypedArray[] = [];
    const places = program.buffers.map((b) => this.#place(b, constants));
    announce(program.arenaBytes);
    const plan = schedule(program, this.target.threads);
    const args = program.calls.flatMap((c) => c.buffers.flatMap((i) => places[i]));
    let first = 0;
    const calls = program.calls.flatMap(({ kernel, buffers }, i) => {
      const { owner, barrier } = plan.calls[i];
      const call = [loaded.addresses[i], kernel.grid.extent, first, owner, barrier ? 1 : 0].map(BigInt);
      first += buffers.length;
      return call;
    });
    const scratch = alignUp(program.calls.reduce((n, c) => Math.max(n, cScratchBytes(c.kernel)), 0));
    const handle = this.#runtime.plan(BigInt64Array.from(calls), BigInt64Array.from(args), program.arenaBytes, scratch, plan.isParallel);
    if (handle === 0) throw new DeviceError('native: no memory for the plan of a program. Use a smaller model.');
    const record: PlanRecord = { handle, arenaBytes: program.arenaBytes };
    this.#plans.add(record);
    const kernels = this.#kernels;
    const executable = new NativeExecutable(
      program,
      { seconds: (performance.now() - start) / 1000, cached: loaded.cached },
      record,
      constants,
      () => program.calls.map((c) => kernels.source(c.kernel)),
      () => void this.#queue.add(() => this.#free(record)),
    );
    this.#finalizer.register(executable, record);
    if (log.enabled('source')) for (const text of executable.source()) log.debug('source', `\n${text}`);
    return executable;
  }

  /** An argument as the runtime wants it; a constant is copied to aligned memory, which joins `constants`. */
  #place({ dtype, size, place }: BufferPlan, constants: TypedArray[]): [kind: bigint, value: bigint] {
    switch (place.kind) {
      case 'external':
        return [2n, BigInt(place.slot)];
      case 'arena':
        return [1n, BigInt(place.offset)];
      case 'constant': {
        const copy = this.#array(dtype, size);
        bytesOf(copy.data).set(bytesOf(place.data).subarray(0, copy.data.byteLength));
        constants.push(copy.data);
        return [0n, copy.address];
      }
    }
  }

  #free(record: PlanRecord): void {
    if (!this.#plans.delete(record)) return;
    this.#runtime.free(record.handle);
    const needed = [...this.#plans].reduce((n, p) => Math.max(n, p.arenaBytes), 0);
    // The runtime takes the memory again when a larger plan runs.
    if (needed < this.#arenaBytes / 2) {
      this.#runtime.trim(needed);
      this.#arenaBytes = needed;
    }
  }

  run(executable: Executable, externals: readonly DeviceBuffer[], results: readonly DeviceBuffer[] = []): Promise<TypedArray[]> {
    const given = [...externals];
    const copies = (): TypedArray[] => results.map((r) => own(r).data.slice());
    return this.#queue.add(() => {
      const e = this.#bind(executable, given);
      if (!e.isShort || this.#queue.active > 0) return this.#runAsync(e, given, null, copies);
      this.#runtime.run(e.record.handle, e.slots, null);
      return copies();
    }, runsTogether);
  }

  runSync(executable: Executable, externals: readonly DeviceBuffer[]): void {
    this.#queue.mustBeIdle('runSync');
    const e = this.#bind(executable, externals);
    this.#runtime.run(e.record.handle, e.slots, null);
  }

  /** Runs once with all threads meeting around every call; gives the milliseconds of each call. */
  profile(executable: Executable, externals: readonly DeviceBuffer[]): Promise<number[]> {
    const given = [...externals];
    return this.#queue.add(() => {
      const e = this.#bind(executable, given);
      const times = new Float64Array(e.program.calls.length);
      return this.#runAsync(e, given, times, () => [...times]);
    });
  }

  /**
   * Resolves to what `after` gives when the run has ended, in the order of the runs. The callback holds the buffers, so that no collector
   * frees what another thread is using.
   */
  #runAsync<T>(e: NativeExecutable, given: readonly DeviceBuffer[], times: Float64Array | null, after: () => T): Promise<T> {
    const inUse = new Set<unknown>([e, times, ...given]);
    const ended = new Promise<void>((resolve, reject) => {
      const begin = isMainThread ? this.#runtime.submit : this.#runtime.runLater;
      begin(e.record.handle, e.slots, times, (error) => {
        inUse.clear();
        if (error) reject(error);
        else resolve();
      });
    });
    const before = this.#lastRun;
    const result = ended.then(async () => {
      await before;
      return after();
    });
    this.#lastRun = result.catch(() => undefined);
    return result;
  }

  #bind(executable: Executable, externals: readonly DeviceBuffer[]): NativeExecutable {
    if (!(executable instanceof NativeExecutable)) throw new InternalError('native device: received an executable of another device.');
    if (!this.#plans.has(executable.record)) throw new InternalError('native device: the executable was disposed of.');
    const { program, slots, record } = executable;
    checkExternals('native', program, externals);
    for (let i = 0; i < slots.length; i++) slots[i] = own(externals[i]).address;
    this.#arenaBytes = Math.max(this.#arenaBytes, record.arenaBytes);
    return executable;
  }

  read(buffer: DeviceBuffer): Promise<TypedArray> {
    return this.#queue.add(() => own(buffer).data.slice());
  }

  readSync(buffer: DeviceBuffer): TypedArray {
    this.#queue.mustBeIdle('readSync');
    return own(buffer).data.slice();
  }

  write(buffer: DeviceBuffer, data: TypedArray): void {
    const to = own(buffer).data;
    checkLength('native', 'write', to.length, data.length);
    this.#queue.write(
      () => to.set(data),
      () => {
        const copy = data.slice();
        return () => to.set(copy);
      },
    );
  }

  idle(): Promise<void> {
    return this.#queue.idle();
  }
}

function own(buffer: DeviceBuffer): NativeBuffer {
  if (!(buffer instanceof NativeBuffer)) throw new InternalError('native device: received a buffer of another device.');
  return buffer;
}

const bytesOf = (a: ArrayBufferView): Uint8Array => new Uint8Array(a.buffer, a.byteOffset, a.byteLength);

function view(dtype: DType, memory: ArrayBuffer, offset: number, size: number): TypedArray {
  const make: new (memory: ArrayBuffer, offset: number, size: number) => TypedArray = dtypes[dtype].array;
  return new make(memory, offset, size);
}
