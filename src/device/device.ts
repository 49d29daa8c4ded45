/** @file The Device interface: few methods, with stated guarantees. */
import type { DType, TypedArray } from '../base/dtype.js';
import type { Program } from '../kernel/program.js';
import type { TargetInfo } from '../kernel/target.js';

/** Memory of a device, opaque to everyone else. Released when it is no longer reachable. */
export interface DeviceBuffer {
  readonly dtype: DType;
  readonly size: number;
}

/** A compiled Program. */
export interface Executable {
  readonly program: Program;
  /** Seconds spent rendering and compiling, and how many kernels came from the cache. */
  readonly compileSeconds: number;
  readonly cachedKernels: number;
  /** Generated source of each call, for people (`TENON_DEBUG=source`). */
  source(): string[];
  /** Gives its memory back once what is queued has run; without it, the collector does. */
  [Symbol.dispose]?(): void;
}

/** Measured plans by contraction, both as text, kept for later processes. */
export interface PlanTable {
  load(): Readonly<Record<string, string>>;
  save(plans: Readonly<Record<string, string>>): void;
}

/**
 * A device runs Programs one after another in the order in which `run` was called (first in, first out); `read` sees
 * the effect of every run before it. Compilation never blocks the event loop for long.
 */
export interface Device {
  readonly name: string;
  readonly target: TargetInfo;
  /** A zeroed buffer, or one that holds a copy of `data`. Throws DeviceError when memory is refused. */
  allocate(dtype: DType, size: number, data?: TypedArray): DeviceBuffer;
  /** A read-only buffer over `data`, without a copy where the device can; `data` must not change while it is used. */
  wrap(dtype: DType, data: TypedArray): DeviceBuffer;
  compile(program: Program): Promise<Executable>;
  /**
   * Runs once; `externals[slot]` for each external slot. Resolves to copies of the buffers `results` as the run leaves them: the next run
   * may begin before they are made, so it must not write to those. Rejects with DeviceError when the device fails.
   */
  run(executable: Executable, externals: readonly DeviceBuffer[], results?: readonly DeviceBuffer[]): Promise<TypedArray[]>;
  /** Copies a buffer out, after all runs before. */
  read(buffer: DeviceBuffer): Promise<TypedArray>;
  /** For devices that can: runs once as `run` does, one kernel after another; resolves to the milliseconds of each call of the Program. */
  profile?(executable: Executable, externals: readonly DeviceBuffer[]): Promise<number[]>;
  /** What autotuning found on this machine, where the device keeps it. */
  readonly tunedPlans?: PlanTable;
  /** Overwrites a buffer from host memory, after all runs before and before all runs after. */
  write(buffer: DeviceBuffer, data: TypedArray): void;
  /** For devices that can: compile and run now, in the calling thread. Only when nothing is queued. */
  compileSync?(program: Program): Executable;
  runSync?(executable: Executable, externals: readonly DeviceBuffer[]): void;
  readSync?(buffer: DeviceBuffer): TypedArray;
  /** Resolves when everything queued so far has run. */
  idle(): Promise<void>;
}
