/**
 * @file The wasm device: kernels rendered to WebAssembly, run by workers over one shared memory, or by the calling thread
 * where memory cannot be shared (a page that is not cross-origin isolated).
 */
import { type DType, dtypes, type TypedArray } from '../../base/dtype.js';
import { DeviceError, InternalError, reasonOf } from '../../base/errors.js';
import { host } from '../../base/host.js';
import { log } from '../../base/log.js';
import { nodeModules } from '../../base/node-modules.js';
import { turn } from '../../base/turn.js';
import { printKernel } from '../../kernel/print.js';
import type { Program } from '../../kernel/program.js';
import type { TargetInfo } from '../../kernel/target.js';
import { wasmScratchBytes } from '../../render/wasm.js';
import { widestLoop } from '../../render/wasm-lanes.js';
import { probeModule, renderWasmModule } from '../../render/wasm-module.js';
import { checkExternals, checkLength } from '../checks.js';
import type { Device, DeviceBuffer, Executable } from '../device.js';
import { FifoQueue } from '../queue.js';
import { type CallSchedule, estimateNs, schedule } from '../schedule.js';
import { threadCount } from '../threads.js';
import { WasmHeap } from './heap.js';
import { ThreadPool } from './pool.js';
import { cells, type ThreadPlan } from './worker.js';

/** Runs estimated shorter than this (ns, as the native device estimates) are made in the calling thread: handing them over would take longer. */
const shortRun = 10_000;
/** Below this they don't wait for the threads to start: the first weights of a model are there before. */
const quickRun = 10_000_000;

/** Kernels compute with indices of 32 bits and a sign. */
const mostElements = 2 ** 31 - 1;
/** Threads count the finished ones in 16 bits. */
const mostCalls = 65_535;

type Run = (buffers: number, lo: number, hi: number, scratch: number) => void;

class WasmBuffer implements DeviceBuffer {
  readonly dtype: DType;
  readonly size: number;
  readonly address: number;
  /** As much again that is never touched, and so takes no memory: the collector counts it, and knows what a buffer weighs. */
  readonly weight: ArrayBuffer | null;
  constructor(dtype: DType, size: number, address: number) {
    this.dtype = dtype;
    this.size = size;
    this.address = address;
    this.weight = weightOf(size * dtypes[dtype].bytes);
  }
}

function weightOf(bytes: number): ArrayBuffer | null {
  try {
    return new ArrayBuffer(bytes);
  } catch {
    // Larger than what the engine gives in one piece: whoever makes such buffers makes few.
    return null;
  }
}

/** What of an executable outlives it. */
interface PlanRecord {
  readonly id: number;
  /** Ranges of the heap. */
  readonly memory: readonly number[];
}

class WasmExecutable implements Executable {
  readonly program: Program;
  readonly compileSeconds: number;
  readonly cachedKernels = 0;
  readonly record: PlanRecord;
  readonly plan: ThreadPlan;
  /** Of its time on one thread, ns. */
  readonly estimate: number;
  readonly scratch: number;
  /** Where the addresses of all arguments go, and what they are: an address, an offset in the arena, an external slot. */
  readonly table: number;
  readonly args: readonly { readonly kind: 'address' | 'arena' | 'external'; readonly value: number }[];
  readonly #dispose: () => void;
  #local: readonly Run[] | null = null;

  constructor(
    parts: Pick<WasmExecutable, 'program' | 'compileSeconds' | 'record' | 'plan' | 'scratch' | 'table' | 'args'>,
    dispose: () => void,
  ) {
    this.program = parts.program;
    this.compileSeconds = parts.compileSeconds;
    this.record = parts.record;
    this.plan = parts.plan;
    this.scratch = parts.scratch;
    this.table = parts.table;
    this.args = parts.args;
    this.estimate = parts.program.calls.reduce((ns, c) => ns + estimateNs(c.kernel), 0);
    this.#dispose = dispose;
  }

  /** The kernels as functions of this thread. */
  local(memory: WebAssembly.Memory): readonly Run[] {
    if (!this.#local) {
      const { exports } = new WebAssembly.Instance(this.plan.module, importsOf(memory));
      this.#local = this.plan.calls.map((c) => exports[c.run] as Run);
    }
    return this.#local;
  }

  source(): string[] {
    return this.program.calls.map((c) => printKernel(c.kernel));
  }
  [Symbol.dispose](): void {
    this.#dispose();
  }
}

const importsOf = (memory: WebAssembly.Memory): WebAssembly.Imports => ({ t: { memory }, m: Math as unknown as WebAssembly.ModuleImports });

/** Whether the engine has relaxed SIMD's multiply-add; Node 20 has it behind a flag. TENON_WASM_RELAXED=0: not asked for. */
function hasRelaxedSimd(): boolean {
  if (host.environment('TENON_WASM_RELAXED') === '0') return false;
  const probe = probeModule('relaxed');
  if (WebAssembly.validate(probe)) return true;
  try {
    nodeModules()?.v8.setFlagsFromString('--experimental-wasm-relaxed-simd');
  } catch {
    return false;
  }
  return WebAssembly.validate(probe);
}

/** Whether the wasm device can work here; the reason if not. */
export function wasmUnusable(): string | null {
  if (typeof WebAssembly !== 'object') return 'this engine has no WebAssembly';
  if (!WebAssembly.validate(probeModule('simd')))
    return 'this engine has no WebAssembly SIMD (Chrome 91, Firefox 89, Safari 16.4 and Node 16 have it)';
  try {
    new WebAssembly.Module(probeModule('simd'));
  } catch (error) {
    return `WebAssembly is refused here, as a content security policy does: allow script-src 'wasm-unsafe-eval' (${reasonOf(error)})`;
  }
  if (typeof document === 'object' && !nodeModules())
    return "in a page it computes in workers only, so that the tab does not freeze: import tenon in a module worker, new Worker(new URL('./train.js', import.meta.url), { type: 'module' })";
  return null;
}

const refusedModule = (cause: unknown): never => {
  throw new DeviceError(`wasm: the engine refused a program: ${reasonOf(cause)}`, { cause });
};
function moduleOf(bytes: Uint8Array<ArrayBuffer>): WebAssembly.Module {
  try {
    return new WebAssembly.Module(bytes);
  } catch (cause) {
    return refusedModule(cause);
  }
}

/** Settings for tests; what is left out is found. */
export interface WasmDeviceOptions {
  readonly threads?: number;
  /** Whether to share memory with workers where that is possible. */
  readonly isShared?: boolean;
  /** false: relaxed SIMD is not used even where it is there. */
  readonly isFused?: boolean;
}

export class WasmDevice implements Device {
  readonly name = 'wasm';
  readonly target: TargetInfo;
  readonly #heap: WasmHeap;
  readonly #isShared: boolean;
  readonly #queue = new FifoQueue();
  readonly #finalizer = new FinalizationRegistry<number>((address) => this.#heap.free(address));
  readonly #planFinalizer = new FinalizationRegistry<PlanRecord>((record) => void this.#forget(record));
  readonly #plans = new Set<PlanRecord>();
  #pool: Promise<ThreadPool | null> | null = null;
  /** The threads, once they are there. */
  #started: ThreadPool | null = null;
  #plansMade = 0;
  #arena = { address: 0, bytes: 0 };
  #scratch = { address: 0, bytes: 0 };

  /** Throws DeviceError when the device cannot work here. */
  constructor(options: WasmDeviceOptions = {}) {
    const reason = wasmUnusable();
    if (reason !== null) throw new DeviceError(`wasm: cannot be used: ${reason}`);
    this.#isShared = (options.isShared ?? true) && canShare();
    const hasFma = (options.isFused ?? true) && hasRelaxedSimd();
    const threads = this.#isShared ? (options.threads ?? threadCount()) : 1;
    // V8 keeps one of sixteen registers for itself and makes all loads of a loop before the arithmetic; a product that isn't fused takes one more.
    this.target = {
      lanes: 4,
      registers: hasFma ? 15 : 14,
      hasFma,
      elements: 'all',
      threads,
      l1: 32 << 10,
      l2: 512 << 10,
      maxBuffer: 2 ** 31 - 1,
    };
    this.#heap = new WasmHeap(this.#isShared);
  }

  get #words(): Int32Array {
    return new Int32Array(this.#heap.memory.buffer);
  }

  #view(dtype: DType, address: number, size: number): TypedArray {
    const make: new (memory: ArrayBufferLike, offset: number, size: number) => TypedArray = dtypes[dtype].array;
    return new make(this.#heap.memory.buffer, address, size);
  }

  allocate(dtype: DType, size: number, data?: TypedArray): DeviceBuffer {
    if (data) checkLength('wasm', 'data', size, data.length);
    if (!(Number.isSafeInteger(size) && size >= 0 && size <= mostElements))
      throw new DeviceError(
        `wasm: no memory for ${size} elements of ${dtype}. Expected at most ${mostElements.toLocaleString('en')}. Use a smaller batch or model.`,
      );
    const [bytes, what] = [size * dtypes[dtype].bytes, `${size} elements of ${dtype}`];
    const address = data ? this.#heap.allocate(bytes, what) : this.#heap.allocateZeros(bytes, what);
    if (data) this.#view(dtype, address, size).set(data);
    const buffer = new WasmBuffer(dtype, size, address);
    this.#finalizer.register(buffer, address);
    return buffer;
  }

  wrap(dtype: DType, data: TypedArray): DeviceBuffer {
    return this.allocate(dtype, data.length, data);
  }

  async compile(program: Program): Promise<Executable> {
    const start = performance.now();
    // They start while the program is rendered.
    const threads = this.#threads();
    const rendered = this.#render(program);
    // Handing a small module to the engine's compiler threads and back takes longer than compiling it.
    const module = rendered.bytes.length < 4096 ? moduleOf(rendered.bytes) : await WebAssembly.compile(rendered.bytes).catch(refusedModule);
    const executable = this.#executable(program, rendered.exports, module, start);
    const pool = executable.estimate < quickRun ? this.#started : await threads;
    if (pool && executable.estimate >= shortRun) await this.#give(pool, executable);
    return executable;
  }

  compileSync(program: Program): Executable {
    const start = performance.now();
    const { bytes, exports } = this.#render(program);
    return this.#executable(program, exports, moduleOf(bytes), start);
  }

  #render(program: Program): { bytes: Uint8Array<ArrayBuffer>; exports: readonly string[] } {
    const count = program.calls.length;
    if (count > mostCalls)
      throw new DeviceError(`wasm: a program of ${count} kernels. Expected at most ${mostCalls}. Use fewer layers a step.`);
    if (program.buffers.some((b) => b.size > mostElements) || program.calls.some((c) => widestLoop(c.kernel) > mostElements))
      throw new DeviceError(
        `wasm: a program goes over more than ${mostElements.toLocaleString('en')} elements at once. Use a smaller batch or model.`,
      );
    const { initial, maximum } = this.#heap;
    return renderWasmModule(
      program.calls.map((c) => c.kernel),
      { isShared: this.#isShared, initial, maximum },
      this.target.hasFma,
    );
  }

  readonly #given = new WeakSet<WasmExecutable>();
  /** Makes the threads ready for a program. */
  async #give(pool: ThreadPool, e: WasmExecutable): Promise<void> {
    if (this.#given.has(e)) return;
    await pool.add(e.plan);
    this.#given.add(e);
  }

  /** The workers, started when first needed; null where the calling thread computes. */
  #threads(): Promise<ThreadPool | null> {
    this.#pool ??= (async () => {
      if (!this.#isShared) return null;
      const pool = new ThreadPool(this.#heap.memory, this.target.threads);
      try {
        await pool.start();
        this.#started = pool;
        return pool;
      } catch (error) {
        log.notice(`computing in the calling thread: ${reasonOf(error)}`);
        return null;
      }
    })();
    return this.#pool;
  }

  #executable(program: Program, exports: readonly string[], module: WebAssembly.Module, start: number, isTimed = false): WasmExecutable {
    const { threads } = this.target;
    const plan = schedule(program, threads);
    const memory: number[] = [];
    const take = (bytes: number, what: string): number => {
      try {
        memory.push(this.#heap.allocate(bytes, what));
      } catch (error) {
        for (const at of memory) this.#heap.free(at);
        throw error;
      }
      return memory[memory.length - 1];
    };
    const places = program.buffers.map(({ dtype, size, place }): WasmExecutable['args'][number] => {
      if (place.kind === 'external') return { kind: 'external', value: place.slot };
      if (place.kind === 'arena') return { kind: 'arena', value: place.offset };
      const address = take(size * dtypes[dtype].bytes, 'a constant');
      const bytes = size * dtypes[dtype].bytes;
      new Uint8Array(this.#heap.memory.buffer, address, bytes).set(new Uint8Array(place.data.buffer, place.data.byteOffset, bytes));
      return { kind: 'address', value: address };
    });
    const args = program.calls.flatMap((c) => c.buffers.map((i) => places[i]));
    const table = take(args.length * 4, "a program's addresses");
    const count = program.calls.length;
    const taken = take(4 * count * threads, "a program's progress");
    const done = take(4 * count, "a program's progress");
    const times = isTimed ? take(8 * count, "a program's times") : 0;
    const scratch = scratchOf(program, plan.calls, threads);
    let first = 0;
    const calls = program.calls.map(({ kernel, buffers }, i) => {
      const { owner, barrier } = plan.calls[i];
      const call = {
        run: exports[i],
        extent: kernel.grid.extent,
        buffers: table + 4 * first,
        owner,
        barrier: barrier || isTimed,
        scratch: scratch.of(i),
      };
      first += buffers.length;
      return call;
    });
    const record: PlanRecord = { id: ++this.#plansMade, memory };
    this.#plans.add(record);
    const executable = new WasmExecutable(
      {
        program,
        compileSeconds: (performance.now() - start) / 1000,
        record,
        plan: { id: record.id, module, calls, scratchBytes: scratch.shared, taken, done, times },
        scratch: scratch.bytes,
        table,
        args,
      },
      () => void this.#queue.idle().then(() => this.#forget(record)),
    );
    this.#planFinalizer.register(executable, record);
    if (log.enabled('source')) for (const text of executable.source()) log.debug('source', `\n${text}`);
    return executable;
  }

  /** Gives a plan's memory back, once no thread can look at it any more. */
  async #forget(record: PlanRecord): Promise<void> {
    if (!this.#plans.delete(record)) return;
    const pool = await this.#pool;
    await pool?.forget(record.id).catch(() => undefined);
    for (const at of record.memory) this.#heap.free(at);
  }

  run(executable: Executable, externals: readonly DeviceBuffer[], results: readonly DeviceBuffer[] = []): Promise<TypedArray[]> {
    const given = [...externals];
    return this.#queue.add(async () => {
      const e = this.#bind(executable, given);
      const pool = e.estimate < shortRun ? null : e.estimate < quickRun ? this.#started : await this.#threads();
      if (pool) {
        await this.#give(pool, e);
        await pool.run(e.plan);
      } else {
        this.#runHere(e);
        await breathe();
      }
      // The buffers are held until here, so that no collector frees what threads are using.
      given.length = 0;
      return results.map((r) => this.#copy(r));
    });
  }

  runSync(executable: Executable, externals: readonly DeviceBuffer[]): void {
    this.#queue.mustBeIdle('runSync');
    this.#runHere(this.#bind(executable, externals));
  }

  #runHere(e: WasmExecutable): void {
    const functions = e.local(this.#heap.memory);
    const { calls } = e.plan;
    for (let i = 0; i < calls.length; i++) functions[i](calls[i].buffers, 0, calls[i].extent, this.#scratch.address + calls[i].scratch);
  }

  /** Runs once, every call between meetings of all threads; gives the milliseconds of each. */
  profile(executable: Executable, externals: readonly DeviceBuffer[]): Promise<number[]> {
    const given = [...externals];
    return this.#queue.add(async () => {
      const { program, plan } = own(executable);
      const pool = plan.calls.length > 0 ? await this.#pool : null;
      if (!pool) {
        const e = this.#bind(executable, given);
        return e.local(this.#heap.memory).map((run, i) => {
          const start = performance.now();
          run(plan.calls[i].buffers, 0, plan.calls[i].extent, this.#scratch.address + plan.calls[i].scratch);
          return performance.now() - start;
        });
      }
      const names = plan.calls.map((c) => c.run);
      const timed = this.#executable(program, names, plan.module, performance.now(), true);
      await pool.add(timed.plan);
      this.#bind(timed, given);
      const start = performance.timeOrigin + performance.now();
      await pool.run(timed.plan);
      const ends = new Float64Array(this.#heap.memory.buffer, timed.plan.times, names.length).slice();
      await this.#forget(timed.record);
      return Array.from(ends, (end, i) => end - (i === 0 ? start : ends[i - 1]));
    });
  }

  /** Makes room for the run and writes the addresses of its buffers. */
  #bind(executable: Executable, externals: readonly DeviceBuffer[]): WasmExecutable {
    const e = own(executable);
    if (!this.#plans.has(e.record)) throw new InternalError('wasm device: the executable was disposed of.');
    const { program } = e;
    checkExternals('wasm', program, externals);
    this.#arena = this.#area(this.#arena, program.arenaBytes, 'the temporaries of a program');
    this.#scratch = this.#area(this.#scratch, e.scratch, 'the scratch memory of kernels');
    const words = this.#words;
    words[cells.scratch] = this.#scratch.address;
    for (const [i, { kind, value }] of e.args.entries())
      words[e.table / 4 + i] =
        kind === 'address' ? value : kind === 'arena' ? this.#arena.address + value : buffer(externals[value]).address;
    return e;
  }

  /** An area of at least so many bytes; what it held is lost. */
  #area(area: { address: number; bytes: number }, bytes: number, what: string): { address: number; bytes: number } {
    if (bytes <= area.bytes) return area;
    if (area.bytes > 0) this.#heap.free(area.address);
    area.bytes = 0;
    return { address: this.#heap.allocate(bytes, what), bytes };
  }

  #copy(b: DeviceBuffer): TypedArray {
    const { dtype, address, size } = buffer(b);
    // A typed array of its own, whose memory is not shared.
    return this.#view(dtype, address, size).slice();
  }

  read(b: DeviceBuffer): Promise<TypedArray> {
    return this.#queue.add(() => this.#copy(b));
  }
  readSync(b: DeviceBuffer): TypedArray {
    this.#queue.mustBeIdle('readSync');
    return this.#copy(b);
  }

  write(b: DeviceBuffer, data: TypedArray): void {
    const { dtype, address, size } = buffer(b);
    checkLength('wasm', 'write', size, data.length);
    this.#queue.write(
      () => this.#view(dtype, address, size).set(data),
      () => {
        const copy = data.slice();
        return () => this.#view(dtype, buffer(b).address, size).set(copy);
      },
    );
  }

  idle(): Promise<void> {
    return this.#queue.idle();
  }
}

/** How the scratch memory of a program is cut: a part for each thread in the calls that all run, then one for each thread's own calls. */
function scratchOf(
  program: Program,
  calls: readonly CallSchedule[],
  threads: number,
): { shared: number; bytes: number; of(call: number): number } {
  const most = (owner: number): number =>
    program.calls.reduce((n, c, i) => (calls[i].owner === owner ? Math.max(n, wasmScratchBytes(c.kernel)) : n), 0);
  const shared = most(-1);
  const starts: number[] = [];
  let bytes = shared * threads;
  for (let owner = 0; owner < threads; owner++) {
    starts.push(bytes);
    bytes += most(owner);
  }
  return { shared, bytes: Math.max(64, bytes), of: (call) => starts[calls[call].owner] ?? 0 };
}

/** Whether memory can be shared: a browser gives it to isolated pages only. */
function canShare(): boolean {
  if (typeof SharedArrayBuffer !== 'function') return false;
  return nodeModules() !== null || (globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated === true;
}

let breathed = 0;
/** Lets the event loop have its turn now and then where runs are made in the calling thread. */
async function breathe(): Promise<void> {
  const now = performance.now();
  if (now - breathed < 10) return;
  await turn();
  breathed = performance.now();
}

function own(executable: Executable): WasmExecutable {
  if (!(executable instanceof WasmExecutable)) throw new InternalError('wasm device: received an executable of another device.');
  return executable;
}
function buffer(b: DeviceBuffer): WasmBuffer {
  if (!(b instanceof WasmBuffer)) throw new InternalError('wasm device: received a buffer of another device.');
  return b;
}
