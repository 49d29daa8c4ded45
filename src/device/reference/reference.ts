/** @file The reference device: lowered kernels as plain JavaScript loops over typed arrays, for reading and debugging. */
import { allocate, type DType, dtypes, type TypedArray } from '../../base/dtype.js';
import { DeviceError, InternalError } from '../../base/errors.js';
import type { Program } from '../../kernel/program.js';
import type { TargetInfo } from '../../kernel/target.js';
import { compileJs, type JsKernel, renderJs } from '../../render/js.js';
import { checkExternals, checkLength } from '../checks.js';
import type { Device, DeviceBuffer, Executable } from '../device.js';
import { FifoQueue } from '../queue.js';

class ReferenceBuffer implements DeviceBuffer {
  readonly dtype: DType;
  readonly size: number;
  readonly data: TypedArray;
  constructor(dtype: DType, data: TypedArray) {
    this.dtype = dtype;
    this.size = data.length;
    this.data = data;
  }
}

interface Step {
  readonly run: JsKernel;
  readonly extent: number;
  /** An array made at compile, or the external slot that provides it. */
  readonly buffers: readonly (TypedArray | number)[];
}

class ReferenceExecutable implements Executable {
  readonly program: Program;
  readonly compileSeconds: number;
  readonly cachedKernels: number;
  readonly steps: readonly Step[];

  constructor(program: Program) {
    const start = performance.now();
    const arena = new ArrayBuffer(program.arenaBytes);
    const places = program.buffers.map((b): TypedArray | number => {
      if (b.place.kind === 'external') return b.place.slot;
      const make = dtypes[b.dtype].array;
      const view = new (make as new (buffer: ArrayBufferLike, offset: number, length: number) => TypedArray)(
        ...(b.place.kind === 'arena'
          ? ([arena, b.place.offset, b.size] as const)
          : ([b.place.data.buffer, b.place.data.byteOffset, b.size] as const)),
      );
      return view;
    });
    let cached = 0;
    this.steps = program.calls.map((c) => {
      const { run, cached: known } = compileJs(c.kernel);
      if (known) cached++;
      return { run, extent: c.kernel.grid.extent, buffers: c.buffers.map((i) => places[i]) };
    });
    this.program = program;
    this.cachedKernels = cached;
    this.compileSeconds = (performance.now() - start) / 1000;
  }

  source(): string[] {
    return this.program.calls.map((c) => renderJs(c.kernel));
  }
}

const target: TargetInfo = {
  lanes: 1,
  registers: 8,
  hasFma: false,
  elements: 'one',
  threads: 1,
  l1: 32 << 10,
  l2: 512 << 10,
  maxBuffer: 2 ** 32,
};

/** Whether the device can work here; the reason if not. A page's Content-Security-Policy may forbid code made from text. */
export function referenceUnusable(): string | null {
  try {
    new Function('');
    return null;
  } catch {
    return "the page's Content-Security-Policy forbids code made from text. Add 'unsafe-eval' to its script-src.";
  }
}

/** Slow and plain. Everything runs in the calling thread; `run` still keeps the order of a queue. */
export class ReferenceDevice implements Device {
  readonly name = 'reference';
  readonly target = target;
  readonly #queue = new FifoQueue();

  allocate(dtype: DType, size: number, data?: TypedArray): DeviceBuffer {
    if (data) checkLength('reference', 'data', size, data.length);
    try {
      const array = allocate(dtype, size);
      if (data) array.set(data);
      return new ReferenceBuffer(dtype, array);
    } catch (cause) {
      if (!(cause instanceof RangeError)) throw cause;
      throw new DeviceError(`reference: no memory for ${size} elements of ${dtype}. Use smaller batches.`, { cause });
    }
  }

  wrap(dtype: DType, data: TypedArray): DeviceBuffer {
    return new ReferenceBuffer(dtype, data);
  }

  async compile(program: Program): Promise<Executable> {
    return new ReferenceExecutable(program);
  }

  compileSync(program: Program): Executable {
    return new ReferenceExecutable(program);
  }

  run(executable: Executable, externals: readonly DeviceBuffer[], results: readonly DeviceBuffer[] = []): Promise<TypedArray[]> {
    const given = [...externals];
    return this.#queue.add(() => {
      execute(executable, given);
      return results.map((r) => own(r).data.slice());
    });
  }

  runSync(executable: Executable, externals: readonly DeviceBuffer[]): void {
    this.#queue.mustBeIdle('runSync');
    execute(executable, externals);
  }

  read(buffer: DeviceBuffer): Promise<TypedArray> {
    return this.#queue.add(() => own(buffer).data.slice());
  }

  readSync(buffer: DeviceBuffer): TypedArray {
    this.#queue.mustBeIdle('readSync');
    return own(buffer).data.slice();
  }

  write(buffer: DeviceBuffer, data: TypedArray): void {
    const target = own(buffer).data;
    checkLength('reference', 'write', target.length, data.length);
    this.#queue.write(
      () => target.set(data),
      () => {
        const copy = data.slice();
        return () => target.set(copy);
      },
    );
  }

  idle(): Promise<void> {
    return this.#queue.idle();
  }
}

function own(buffer: DeviceBuffer): ReferenceBuffer {
  if (!(buffer instanceof ReferenceBuffer)) throw new InternalError('reference device: received a buffer of another device.');
  return buffer;
}

function execute(executable: Executable, externals: readonly DeviceBuffer[]): void {
  if (!(executable instanceof ReferenceExecutable)) throw new InternalError('reference device: received an executable of another device.');
  const { program, steps } = executable;
  checkExternals('reference', program, externals);
  const arrays = externals.map((b) => own(b).data);
  for (const step of steps)
    step.run(
      step.buffers.map((b) => (typeof b === 'number' ? arrays[b] : b)),
      0,
      step.extent,
    );
}
