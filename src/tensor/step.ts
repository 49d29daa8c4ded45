/**
 * @file Step: a traced function compiled for repeated runs: training steps, predictions. Bindings are made once; a run
 * wraps its inputs, queues one Program and reads the outputs. Variables are written in place.
 */
import { type DType, dtypes, isDType, type TypedArray } from '../base/dtype.js';
import { ConfigError, DeviceError, ShapeError } from '../base/errors.js';
import { host } from '../base/host.js';
import { log } from '../base/log.js';
import { type Shape, sameShape, showShape, size } from '../base/shape.js';
import { makeNode, type Node } from '../graph/node.js';
import type { TunableDevice } from './autotune-node.js';
import {
  type CompiledGraph,
  compileGraph,
  currentDevice,
  type Device,
  type DeviceBuffer,
  type Executable,
  type GraphToCompile,
  type Slot,
  type TargetInfo,
  type TensorSpec,
} from './engine.js';
import { flushWrites, realize } from './realize.js';
import { pendingWrites } from './state.js';
import { decodeArray, Storage, track } from './storage.js';
import { isTensor, storageOf, type Tensor } from './tensor.js';
import { hoist, trace } from './trace.js';
import { isVariable, type Variable } from './variable.js';

/** Whether the user asked for autotune everywhere. */
export const wantsAutotune = (): boolean => host.environment('TENON_AUTOTUNE') === '1';

export type StepInput = TypedArray | Tensor;
export interface StepOptions {
  /** Default: the current device. */
  device?: Device;
  /** For error messages. */
  name?: string;
  /**
   * Measure the ways to cut each product and convolution instead of trusting the cost model; the choice is kept on disk for this machine.
   * Default: whether TENON_AUTOTUNE is 1.
   */
  autotune?: boolean;
}

/** Runs that wait for something asynchronous; later runs queue behind them. */
let tail: Promise<unknown> = Promise.resolve();
let waiting = 0;
function inTurn<T>(work: () => Promise<T>): Promise<T> {
  waiting++;
  const result = tail.then(work);
  tail = result.then(
    () => waiting--,
    () => waiting--,
  );
  return result;
}

type Binding =
  | { kind: 'input'; index: number }
  | { kind: 'read'; variable: Variable }
  | { kind: 'write'; variable: Variable }
  | { kind: 'output'; index: number }
  | { kind: 'fixed'; buffer: DeviceBuffer };

export class Step {
  readonly program: CompiledGraph['program'];
  /** Seconds of tracing and lowering, and of the device's compiler. */
  readonly traceSeconds: number;
  readonly compileSeconds: number;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  /** Variables that a run overwrites. */
  readonly written: readonly Variable[];
  /** What each external slot of the Program holds: `input 0`, `output 0`, a Variable's name, `captured`. */
  readonly slotNames: readonly string[];
  readonly device: Device;
  readonly executable: Executable;
  readonly #name: string;
  readonly #bindings: readonly Binding[];
  readonly #variables: readonly Variable[];
  /** Two sets: a run begins before the results of the one before are copied. */
  readonly #results: readonly (readonly DeviceBuffer[])[];
  #turn = 0;
  readonly #sizes: readonly number[];
  /** Keeps captured buffers alive. */
  readonly #held: readonly Node[];

  /** @internal Use compileStep. */
  constructor(parts: {
    name: string;
    device: Device;
    executable: Executable;
    slots: readonly Slot[];
    inputs: readonly TensorSpec[];
    outputs: readonly TensorSpec[];
    written: readonly Variable[];
    traceSeconds: number;
  }) {
    const { device, slots, outputs } = parts;
    this.#name = parts.name;
    this.device = device;
    this.executable = parts.executable;
    this.program = parts.executable.program;
    this.compileSeconds = parts.executable.compileSeconds;
    this.traceSeconds = parts.traceSeconds;
    this.inputs = parts.inputs;
    this.outputs = outputs;
    this.written = parts.written;
    this.#sizes = parts.inputs.map((s) => size(s.shape));
    this.#results = [0, 1].map(() => outputs.map((s) => device.allocate(s.dtype, size(s.shape))));
    const held: Node[] = [];
    const variables = new Set<Variable>();
    const bind = (slot: Slot): Binding => {
      switch (slot.kind) {
        case 'input':
        case 'output':
          return slot;
        case 'buffer': {
          held.push(slot.node);
          const storage = slot.node.arg;
          const buffer = storage instanceof Storage ? storage.buffer(device) : device.wrap(slot.node.dtype, storage.data);
          return { kind: 'fixed', buffer };
        }
        case 'variable': {
          const v = slot.variable;
          if (!isVariable(v)) throw new ConfigError(`${parts.name}: "${v.name}" is not a Variable of this library. Expected variable(…).`);
          variables.add(v);
          return { kind: parts.written.includes(v) ? 'write' : 'read', variable: v };
        }
      }
    };
    this.#bindings = slots.map(bind);
    this.slotNames = slots.map((s) =>
      s.kind === 'variable' ? s.variable.name : s.kind === 'buffer' ? 'captured' : `${s.kind} ${s.index}`,
    );
    this.#held = held;
    this.#variables = [...variables];
  }

  /** Number of buffers that the traced function took from outside. */
  get capturedBuffers(): number {
    return this.#held.length;
  }

  /**
   * Runs once: `inputs` in the order of the specs, typed arrays in storage form (untouched until the promise resolves).
   * Resolves to the outputs (f16 and bf16 as Float32Array). Runs happen in the order of the calls.
   * Throws ConfigError, ShapeError when an input doesn't fit; rejects with DeviceError.
   */
  run(inputs: readonly StepInput[] = []): Promise<TypedArray[]> {
    this.#check(inputs);
    return this.#whenReady(inputs, () => this.#launch(inputs));
  }

  /**
   * Runs once like `run`, one kernel after another, and resolves to the milliseconds of each call of `program`; outputs are not read.
   * Throws DeviceError where the device has no profile.
   */
  profile(inputs: readonly StepInput[] = []): Promise<number[]> {
    const { device } = this;
    const profile = device.profile?.bind(device);
    if (!profile)
      throw new DeviceError(
        `profile ${this.#name}: the device ${device.name} has no profile. Expected one that times its kernels. Use the native device.`,
      );
    this.#check(inputs);
    return this.#whenReady(inputs, () => track(device, profile(this.executable, this.#externals(inputs, this.#results[0]))));
  }

  /** Calls `launch` when it's this run's turn and everything that it binds is on the device. */
  #whenReady<T>(inputs: readonly StepInput[], launch: () => Promise<T>): Promise<T> {
    if (waiting === 0 && this.#isReady(inputs)) return launch();
    // What is read must be on the device only when the queue has come to this run: the launch itself is part of the turn,
    // its completion isn't.
    return inTurn(async () => {
      // Again when something was assigned or read meanwhile.
      while (!this.#isReady(inputs)) {
        if (pendingWrites.size > 0) await flushWrites();
        const tensors = inputs.filter(isTensor);
        await realize(tensors);
        for (const t of tensors) await storageOf(t.node)?.prepare(this.device);
        for (const v of this.#variables) await v.prepare(this.device);
      }
      return { result: launch() };
    }).then((launched) => launched.result);
  }

  #check(inputs: readonly StepInput[]): void {
    if (inputs.length !== this.inputs.length)
      throw new ConfigError(`${this.#name}: ${inputs.length} inputs. Expected ${this.inputs.length}.`);
    for (let i = 0; i < inputs.length; i++) {
      const x = inputs[i];
      const spec = this.inputs[i];
      if (isTensor(x)) {
        if (x.dtype !== spec.dtype || !sameShape(x.shape, spec.shape))
          throw new ShapeError(
            `${this.#name}: input ${i} is ${x.dtype}${showShape(x.shape)}. Expected ${spec.dtype}${showShape(spec.shape)}.`,
          );
      } else if (x.length !== this.#sizes[i] || x.constructor !== dtypes[spec.dtype].array)
        throw new ShapeError(
          `${this.#name}: input ${i} is ${x.constructor.name} of ${x.length}. Expected ${dtypes[spec.dtype].array.name} of ${this.#sizes[i]} for ${spec.dtype}${showShape(spec.shape)}.`,
        );
    }
  }
  #isReady(inputs: readonly StepInput[]): boolean {
    if (pendingWrites.size > 0) return false;
    for (const v of this.#variables) if (!v.isReady(this.device)) return false;
    for (const x of inputs) if (isTensor(x) && !storageOf(x.node)?.availableOn(this.device)) return false;
    return true;
  }
  #externals(inputs: readonly StepInput[], results: readonly DeviceBuffer[]): DeviceBuffer[] {
    const { device } = this;
    const resolve = (b: Binding): DeviceBuffer => {
      switch (b.kind) {
        case 'fixed':
          return b.buffer;
        case 'output':
          return results[b.index];
        case 'read':
          return b.variable.readBuffer(device);
        case 'write':
          return b.variable.writeBuffer(device);
        case 'input': {
          const x = inputs[b.index];
          return isTensor(x) ? requireStorage(x).buffer(device) : device.wrap(this.inputs[b.index].dtype, x);
        }
      }
    };
    return this.#bindings.map(resolve);
  }
  #launch(inputs: readonly StepInput[]): Promise<TypedArray[]> {
    const { device } = this;
    this.#turn = 1 - this.#turn;
    const results = this.#results[this.#turn];
    const decode = (data: TypedArray, i: number): TypedArray => {
      const { dtype } = this.outputs[i];
      return dtype === 'f16' || dtype === 'bf16' ? decodeArray(dtype, data) : data;
    };
    return track(
      device,
      device.run(this.executable, this.#externals(inputs, results), results).then((data) => data.map(decode)),
    );
  }
}
function requireStorage(t: Tensor): Storage {
  const storage = storageOf(t.node);
  if (!storage) throw new ConfigError('step: an input tensor has no elements. Expected a realized tensor.');
  return storage;
}

const isTunable = (device: Device): device is TunableDevice => device.tunedPlans !== undefined && device.profile !== undefined;
/** `device.target` with measured plans, or as it is where the device has no profile or no place for them. */
export async function tunedTarget(name: string, graph: GraphToCompile, device: Device): Promise<TargetInfo> {
  if (isTunable(device)) return (await import('#node/tensor/autotune-node.js')).autotune(name, graph, device);
  log.notice(`autotune: the device ${device.name} keeps no measured plans, so the cost model decides`);
  return device.target;
}

const isSpec = (s: TensorSpec): boolean => isDType(s.dtype) && s.shape.every((d) => Number.isInteger(d) && d >= 0);

/**
 * Traces `fn` on inputs of the given shapes and dtypes and compiles it for the current device. Variables that `fn`
 * assigns are written in place at each run; tensors it closes over are computed once. Rejects with what `fn` throws.
 */
export async function compileStep(
  fn: (inputs: Tensor[]) => { outputs: readonly Tensor[] },
  specs: readonly TensorSpec[],
  options: StepOptions = {},
): Promise<Step> {
  const name = options.name ?? 'step';
  for (const s of specs)
    if (!isSpec(s)) throw new ConfigError(`${name}: input ${s.dtype}${showShape(s.shape)}. Expected a dtype and a static shape.`);
  const start = performance.now();
  const firstId = makeNode('constant', [], { value: 0 }, 'f32', []).id;
  const graph = await hoist(
    trace((inputs) => fn(inputs).outputs, specs),
    firstId,
  );
  const device = options.device ?? currentDevice();
  const isTuned = options.autotune ?? wantsAutotune();
  const traced = performance.now() - start;
  const target = isTuned ? await tunedTarget(name, graph, device) : device.target;
  const lowering = performance.now();
  const { program, slots } = compileGraph({ outputs: graph.outputs, writes: graph.writes }, target);
  const traceSeconds = (traced + performance.now() - lowering) / 1000;
  const executable = await device.compile(program);
  for (const slot of slots) if (slot.kind === 'buffer' && slot.node.arg instanceof Storage) await slot.node.arg.prepare(device);
  return new Step({
    name,
    device,
    executable,
    slots,
    inputs: specs,
    outputs: graph.outputs.map((n): { shape: Shape; dtype: DType } => ({ shape: n.shape, dtype: n.dtype })),
    written: graph.writes.map((w) => w.variable),
    traceSeconds,
  });
}
