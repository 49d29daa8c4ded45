/**
 * @file Variable: a named value that changes in place: parameters, slots, statistics, seeds. Read it and you hold the
 * value of that moment, whatever is assigned later; inside a trace reads and writes become part of the Program.
 */
import type { DType, TypedArray } from '../base/dtype.js';
import { isFloat } from '../base/dtype.js';
import { ConfigError, ShapeError } from '../base/errors.js';
import { type Shape, sameShape, showShape, size } from '../base/shape.js';
import { ops } from '../graph/builder.js';
import type { Node } from '../graph/node.js';
import type { Variable as GraphVariable } from '../graph/variable.js';
import { asBuffer } from './capture.js';
import { currentDevice, type Device, type DeviceBuffer } from './engine.js';
import { type NestedArray, nest } from './format.js';
import { fromHost, toNode } from './operand.js';
import { realize } from './realize.js';
import { type PendingWrite, pendingWrites, state } from './state.js';
import { decodeArray, Storage } from './storage.js';
import { fromNode, type HostArray, type Readable, Tensor, type TensorLike } from './tensor.js';

export interface VariableOptions {
  name?: string;
  /** Whether optimizers change it (default true for floats). */
  trainable?: boolean;
  dtype?: DType;
}

let nextId = 0;

export class Variable implements GraphVariable, PendingWrite, Readable {
  readonly id: number = nextId++;
  name: string;
  trainable: boolean;
  readonly shape: Shape;
  readonly dtype: DType;
  #version = 0;
  /** The value: a node still to be computed, or content. Exactly one of the two. */
  #pending: Node | null = null;
  #storage: Storage | null = null;

  constructor(initial: TensorLike, options: VariableOptions = {}) {
    const node = toNode(initial, options.dtype);
    this.name = options.name ?? `variable${this.id}`;
    this.shape = node.shape;
    this.dtype = node.dtype;
    this.trainable = options.trainable ?? isFloat(node.dtype);
    this.#take(node);
  }

  /** Counts the overwrites. */
  get version(): number {
    return this.#version;
  }
  get size(): number {
    return size(this.shape);
  }
  get rank(): number {
    return this.shape.length;
  }

  /** The value now: later assignments don't change the tensor. */
  read(): Tensor {
    if (state.trace) return fromNode(state.trace.read(this));
    return new Tensor(this.#pending ?? this.#content().node);
  }
  /** The same tensor as `read()`. */
  get value(): Tensor {
    return this.read();
  }

  /** Overwrites the value (cast to the Variable's dtype). In a trace: when the Program runs. Throws ShapeError. */
  assign(value: TensorLike): this {
    const node = toNode(value, this.dtype);
    if (!sameShape(node.shape, this.shape))
      throw new ShapeError(
        `assign "${this.name}": shape ${showShape(node.shape)} does not fit. Expected ${showShape(this.shape)}, received ${showShape(node.shape)}.`,
      );
    if (state.trace) {
      state.trace.write(this, node);
      return this;
    }
    this.#version++;
    this.#take(fromNode(node).node);
    return this;
  }
  assignAdd(value: TensorLike): this {
    return this.assign(fromNode(ops.add(this.read().node, toNode(value, this.dtype))));
  }
  assignSub(value: TensorLike): this {
    return this.assign(fromNode(ops.sub(this.read().node, toNode(value, this.dtype))));
  }
  /** Overwrites from host memory, at once. Throws ShapeError, and ConfigError inside a trace. */
  set(values: HostArray | NestedArray): this {
    if (state.trace) throw new ConfigError(`set "${this.name}": host data inside a traced function. Expected assign().`);
    const t = ArrayBuffer.isView(values) ? fromHost(values, this.shape, this.dtype) : new Tensor(toNode(values, this.dtype));
    return this.assign(t);
  }

  /** The elements now; f16 and bf16 as Float32Array. */
  async data(): Promise<TypedArray> {
    // Past the node: nobody is shown the content, so the next Program needs no copy of it.
    if (this.#storage) return decodeArray(this.dtype, await this.#storage.load());
    return this.#outside().data();
  }
  async array(): Promise<NestedArray> {
    return nest(await this.data(), this.shape, this.dtype);
  }
  dataSync(): TypedArray {
    return this.#outside().dataSync();
  }
  toString(): string {
    return `Variable(name=${this.name}, shape=${showShape(this.shape)}, dtype=${this.dtype}${this.trainable ? '' : ', frozen'})`;
  }
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }

  /** The value outside of any trace. */
  #outside(): Tensor {
    return new Tensor(this.#pending ?? this.#content().node);
  }
  #content(): Storage {
    if (!this.#storage)
      throw new ConfigError(`variable "${this.name}": it has no value. Expected a realized one. Await the work that writes it.`);
    return this.#storage;
  }
  #take(node: Node): void {
    const at = asBuffer(node);
    if (at?.arg instanceof Storage) {
      this.#storage = at.arg;
      this.#pending = null;
      pendingWrites.delete(this);
    } else {
      this.#pending = node;
      this.#storage = null;
      pendingWrites.add(this);
    }
  }

  // ---- for realize.ts, jit.ts and step.ts

  /** @internal */
  get pendingNode(): Node | null {
    return this.#pending;
  }
  /** @internal */
  settle(storage: Storage): void {
    this.#storage = storage;
    this.#pending = null;
  }
  /** @internal Nobody will want the value: it isn't computed with the next realization. */
  abandon(): void {
    pendingWrites.delete(this);
  }
  /** @internal Lets go of the content: its memory is free as soon as nobody else holds it, and reading it throws until it is assigned anew. */
  release(): void {
    this.abandon();
    this.#version++;
    this.#pending = this.#storage = null;
  }
  /** @internal The content; pending writes must have been flushed. */
  get storage(): Storage {
    return this.#content();
  }
  /** @internal Content that a queued Program will have written. */
  replace(storage: Storage): void {
    this.#version++;
    this.#pending = null;
    pendingWrites.delete(this);
    this.#storage = storage;
  }
  /**
   * @internal Takes a copy of elements in storage form into memory of the current device, whose large buffers are laid out for it (native's
   * lie on huge pages: weights are read a fifth faster than where a host array lies).
   */
  fill(data: TypedArray): void {
    const device = currentDevice();
    this.replace(Storage.on(device, device.allocate(this.dtype, this.size, data), this.dtype, this.shape));
  }
  /** @internal Waits until `writeBuffer` and `readBuffer` can work. */
  async prepare(device: Device): Promise<void> {
    if (this.#pending) {
      // By itself: where it was set apart, what fails here is this Variable's own.
      await realize([this.#outside()]);
      const at = this.#pending && asBuffer(this.#pending);
      if (at) this.#take(at);
    }
    await this.#content().prepare(device);
  }
  /** @internal Whether they can already. */
  isReady(device: Device): boolean {
    return this.#storage?.availableOn(device) ?? false;
  }
  /** @internal The memory to read from. */
  readBuffer(device: Device): DeviceBuffer {
    return this.#content().buffer(device);
  }
  /** @internal The memory that a Program about to be queued overwrites; whoever still holds the old value keeps a copy of it. */
  writeBuffer(device: Device): DeviceBuffer {
    this.#version++;
    const content = this.#content();
    if (content.isExclusive(device)) return content.buffer(device);
    const isOwn = content.isOn(device);
    const buffer = content.take(device);
    if (isOwn && content.isShared) content.detach();
    this.#storage = Storage.on(device, buffer, this.dtype, this.shape);
    return buffer;
  }
}

/** A new Variable holding `initial`. */
export const variable = (initial: TensorLike, options: VariableOptions = {}): Variable => new Variable(initial, options);
export const isVariable = (x: unknown): x is Variable => x instanceof Variable;
