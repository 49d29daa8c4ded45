/**
 * @file Storage: where the elements of a realized tensor are. A host array, a device's buffer, or both; each is made
 * from the other when somebody asks. A graph holds it as the `HostBuffer` of a `buffer` node, one node a Storage.
 */
import { type DType, decode, type TypedArray } from '../base/dtype.js';
import { DeviceError, InternalError } from '../base/errors.js';
import { type Shape, size } from '../base/shape.js';
import { type HostBuffer, makeNode, type Node } from '../graph/node.js';
import type { Device, DeviceBuffer } from './engine.js';

/** Runs and reads that a device hasn't finished; synchronous calls are allowed only at 0. */
const inFlight = new WeakMap<Device, number>();

/** Counts `work` as unfinished until it settles. Its failure is reported by whoever awaits it. */
export function track<T>(device: Device, work: Promise<T>): Promise<T> {
  inFlight.set(device, (inFlight.get(device) ?? 0) + 1);
  const done = (): void => void inFlight.set(device, (inFlight.get(device) ?? 1) - 1);
  work.then(done, done);
  return work;
}
export const isIdle = (device: Device): boolean => (inFlight.get(device) ?? 0) === 0;

interface Place {
  readonly device: Device;
  readonly buffer: DeviceBuffer;
}

export class Storage implements HostBuffer {
  readonly dtype: DType;
  readonly shape: Shape;
  #data: TypedArray | null = null;
  #place: Place | null = null;
  /** A second device's view of the host array. */
  #borrowed: { readonly device: Device; readonly buffer: DeviceBuffer } | null = null;
  #ready: Promise<void> | null = null;
  #node: Node<'buffer'> | null = null;

  constructor(dtype: DType, shape: Shape) {
    this.dtype = dtype;
    this.shape = shape;
  }

  /** Over a host array, which must not change any more. */
  static of(dtype: DType, shape: Shape, data: TypedArray): Storage {
    const storage = new Storage(dtype, shape);
    storage.#data = data;
    return storage;
  }
  /** Over a buffer that nobody else writes. */
  static on(device: Device, buffer: DeviceBuffer, dtype: DType, shape: Shape): Storage {
    const storage = new Storage(dtype, shape);
    storage.#place = { device, buffer };
    return storage;
  }
  /** Whose content `work` will deliver by calling `fill` or `fillFrom`. */
  static pending(dtype: DType, shape: Shape, work: (storage: Storage) => Promise<void>): Storage {
    const storage = new Storage(dtype, shape);
    storage.await(work(storage));
    return storage;
  }

  /** Not usable before `work` is done; a failure surfaces where the content is awaited. */
  await(work: Promise<void>): void {
    const ready = work.then(() => {
      if (this.#ready === ready) this.#ready = null;
    });
    ready.catch(() => undefined);
    this.#ready = ready;
  }
  place(device: Device, buffer: DeviceBuffer): void {
    this.#place = { device, buffer };
  }

  /** The run that should have written the content failed. */
  fail(error: unknown): void {
    this.await(Promise.reject(error));
  }

  /** A promise when the content still has to come, null when it is here. */
  get ready(): Promise<void> | null {
    return this.#ready;
  }

  /** The node that stands for this content in graphs. */
  get node(): Node<'buffer'> {
    // Held strongly (they die together): a WeakRef here would keep its target alive through a whole synchronous loop.
    this.#node ??= makeNode('buffer', [], this, this.dtype, this.shape);
    return this.#node;
  }
  /** Whether a graph or tensor may look at this content. */
  get isShared(): boolean {
    return this.#node !== null;
  }

  /** Whether the content is in memory of `device` and nobody was ever shown it. */
  isExclusive(device: Device): boolean {
    return this.#node === null && this.#data === null && this.#ready === null && this.#place?.device === device;
  }

  /** Whether this device holds the content of record. */
  isOn(device: Device): boolean {
    return this.#place?.device === device;
  }

  /** The elements in storage form. Throws DeviceError while they can only be had asynchronously. */
  get data(): TypedArray {
    if (this.#data) return this.#data;
    const place = this.#place;
    if (this.#ready || !place?.device.readSync || !isIdle(place.device))
      throw new DeviceError(
        'data: the value is not on the host and its device is busy or asynchronous. Use `await t.data()` instead of `t.dataSync()`.',
      );
    this.#data = place.device.readSync(place.buffer);
    return this.#data;
  }
  /** Whether `data` and `buffer` work without waiting. */
  availableOn(device: Device): boolean {
    if (this.#ready) return false;
    if (this.#data || this.#place?.device === device) return true;
    return this.#place?.device.readSync !== undefined && isIdle(this.#place.device);
  }

  /** Waits for the elements and brings them to the host. */
  async load(): Promise<TypedArray> {
    while (this.#ready) await this.#ready;
    if (this.#data) return this.#data;
    const place = this.#place;
    if (!place) throw new InternalError('a Storage without content');
    const data = await track(place.device, place.device.read(place.buffer));
    // The place may have been taken back meanwhile (detach): the copy read here is the content all the same.
    if (this.#place === place || this.#data === null) this.#data = data;
    return data;
  }

  /** Makes sure that `buffer(device)` will work. */
  async prepare(device: Device): Promise<void> {
    while (this.#ready) await this.#ready;
    if (this.#place?.device !== device && !this.#data) await this.load();
  }

  /** The content as a buffer of `device`, to be read only. */
  buffer(device: Device): DeviceBuffer {
    if (this.#place?.device === device) return this.#place.buffer;
    if (this.#borrowed?.device === device) return this.#borrowed.buffer;
    const buffer = device.wrap(this.dtype, this.data);
    this.#borrowed = { device, buffer };
    return buffer;
  }

  /** The content as a buffer of `device` that may be overwritten: this Storage is then no longer to be used. */
  take(device: Device): DeviceBuffer {
    if (this.#place?.device === device) return this.#place.buffer;
    return device.allocate(this.dtype, size(this.shape), this.data);
  }

  /** Parts from the device's memory before it is overwritten: the content stays readable as a copy. */
  detach(): void {
    const place = this.#place;
    if (!place) return;
    if (!this.#data) {
      if (place.device.readSync && isIdle(place.device)) this.#data = place.device.readSync(place.buffer);
      else {
        // Queued now, so before the overwriting run.
        const copy = track(place.device, place.device.read(place.buffer));
        this.await(
          copy.then((data) => {
            this.#data = data;
          }),
        );
      }
    }
    this.#place = null;
  }

  /** Forgets the content now. */
  drop(): void {
    this.#data = null;
    this.#place = null;
    this.#borrowed = null;
  }
}

/** Waits until each of these is usable on `device`, also those that are parted from it meanwhile. */
export async function prepareAll(storages: Iterable<Storage>, device: Device): Promise<void> {
  const open = (): Storage[] => [...storages].filter((s) => !s.availableOn(device));
  for (let waiting = open(); waiting.length > 0; waiting = open()) await Promise.all(waiting.map((s) => s.prepare(device)));
}

/** Storage form → numbers: f16 and bf16 become a Float32Array, the rest is itself. */
export function decodeArray(dtype: DType, data: TypedArray): TypedArray {
  if (dtype !== 'f16' && dtype !== 'bf16') return data;
  const out = new Float32Array(data.length);
  for (let i = 0; i < out.length; i++) out[i] = decode(dtype, data[i]);
  return out;
}
