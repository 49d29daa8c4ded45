/**
 * @file Tensor: an immutable, lazy handle on a graph node. Nothing runs until its elements are asked for; then the node
 * is replaced by the realized buffer and the graph behind it is released. Methods for ops are attached by methods.ts.
 */
import type { DType, TypedArray } from '../base/dtype.js';
import { ConfigError, ShapeError } from '../base/errors.js';
import { type Shape, showShape, size } from '../base/shape.js';
import { isOp, type Node } from '../graph/node.js';
import { formatTensor, type NestedArray, nest } from './format.js';
import { chainLimit, realize, realizeSync } from './realize.js';
import { realized, state } from './state.js';
import { decodeArray, Storage } from './storage.js';

const brand = Symbol.for('tenon.Tensor');

/** Anything with a current value, such as a Variable. */
export interface Readable {
  read(): Tensor;
}
/** Array elements accepted from outside; 64-bit ones are converted (f64 → f32, i64 → i32). */
export type HostArray = TypedArray | Float64Array | Uint8ClampedArray | Int16Array | BigInt64Array;
/** What ops accept: a tensor, a Variable, a number (weak: never widens a dtype), or data to make a tensor from. */
export type TensorLike = Tensor | Readable | number | boolean | HostArray | NestedArray;

export class Tensor {
  readonly [brand] = true;
  #node: Node | null;

  /** @internal Use `tensor(…)`, `zeros(…)` or `fromNode(node)`. */
  constructor(node: Node) {
    this.#node = node;
  }

  /** The graph node; the realized one once there is one. */
  get node(): Node {
    const node = this.#node;
    if (!node) throw new ConfigError('tensor: it was disposed of. Expected a live tensor. Create it again or dispose of it later.');
    // Inside a gradient the original node is what leads back to the arguments.
    if (state.gradDepth > 0) return node;
    const known = realized.get(node);
    if (known) this.#node = known;
    return known ?? node;
  }
  get shape(): Shape {
    return this.node.shape;
  }
  get dtype(): DType {
    return this.node.dtype;
  }
  get rank(): number {
    return this.node.shape.length;
  }
  /** Number of elements. */
  get size(): number {
    return size(this.node.shape);
  }
  /** Whether the elements exist already. */
  get isRealized(): boolean {
    return storageOf(this.node) !== null;
  }

  /**
   * The elements, row-major, after computing them: Float32Array for f32, f16 and bf16, Int32Array for i32 …, Uint8Array
   * (0 or 1) for bool. The array may be shared with the tensor: copy it before changing it.
   */
  async data(): Promise<TypedArray> {
    await realize([this]);
    return decodeArray(this.dtype, await requireStorage(this).load());
  }
  /** Like `data`, in the calling thread. Throws DeviceError where the device is asynchronous or busy. */
  dataSync(): TypedArray {
    realizeSync([this]);
    return decodeArray(this.dtype, requireStorage(this).data);
  }
  /** Nested arrays of numbers (booleans for bool); a number for a scalar. */
  async array(): Promise<NestedArray> {
    return nest(await this.data(), this.shape, this.dtype);
  }
  arraySync(): NestedArray {
    return nest(this.dataSync(), this.shape, this.dtype);
  }
  /** The only element. Throws ShapeError when there are several. */
  async item(): Promise<number> {
    this.#requireOne();
    return (await this.data())[0];
  }
  itemSync(): number {
    this.#requireOne();
    return this.dataSync()[0];
  }
  /** Computes the elements now and keeps them; returns this. */
  async realize(): Promise<this> {
    await realize([this]);
    const ready = requireStorage(this).ready;
    if (ready) await ready;
    return this;
  }

  /** Shape and dtype, and the elements once they are computed; before that, what shows them. */
  toString(): string {
    if (!this.#node) return 'Tensor(disposed)';
    const head = `Tensor(shape=${showShape(this.shape)}, dtype=${this.dtype}`;
    if (isOp(this.node, 'constant')) return `${head}, ${formatTensor([this.node.arg.value], [], this.dtype)})`;
    const storage = storageOf(this.node);
    if (!storage && (state.trace || state.gradDepth > 0)) return `${head}, being traced)`;
    try {
      if (storage && !storage.ready) return `${head},\n${formatTensor(decodeArray(this.dtype, storage.data), this.shape, this.dtype)})`;
    } catch {
      // Its device is busy: the elements can only be waited for.
    }
    return `${head}, values after \`await t.data()\` or with \`await t.print()\`)`;
  }
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }
  /** Computes and prints, as NumPy would. */
  async print(): Promise<void> {
    const data = await this.data();
    console.log(formatTensor(data, this.shape, this.dtype));
  }
  toJSON(): NestedArray {
    return this.arraySync();
  }

  /** Releases the memory now instead of at the next garbage collection. Optional. */
  dispose(): void {
    this.#node = null;
  }
  [Symbol.dispose](): void {
    this.dispose();
  }

  #requireOne(): void {
    if (this.size !== 1)
      throw new ShapeError(`item: expected a tensor of one element, received shape ${showShape(this.shape)}. Use data() or array().`);
  }
}

/** Whether `x` is a Tensor, also of another copy of the package. */
export const isTensor = (x: unknown): x is Tensor => typeof x === 'object' && x !== null && brand in x;
export const isReadable = (x: unknown): x is Readable =>
  typeof x === 'object' && x !== null && 'read' in x && typeof x.read === 'function' && !ArrayBuffer.isView(x);

/** A tensor over a node; realizes the chain behind it when that has grown long. */
export function fromNode(node: Node): Tensor {
  const tensor = new Tensor(node);
  chainLimit(tensor);
  return tensor;
}

/** The realized content of a node, or null. */
export function storageOf(node: Node): Storage | null {
  const at = isOp(node, 'buffer') ? node : realized.get(node);
  return at && at.arg instanceof Storage ? at.arg : null;
}
function requireStorage(t: Tensor): Storage {
  const storage = storageOf(t.node);
  if (!storage)
    throw new ConfigError(
      'data: this tensor belongs to a function that is being traced (jit, fit). Expected a tensor outside of it. Return it from the function and read it there.',
    );
  return storage;
}
