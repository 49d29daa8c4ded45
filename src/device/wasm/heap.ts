/** @file Memory of the wasm device: one WebAssembly.Memory, cut by a list of free ranges, that grows on demand. */
import { DeviceError } from '../../base/errors.js';

/** Bytes of a page, and the pages that 32-bit addresses reach. */
const page = 65536;
const mostPages = 65536;
/** What is asked for at the start. */
const firstPages = 256;
/** Below lie the cells that threads meet at; address 0 stays nobody's. */
const heapStart = 4096;
const alignment = 64;

const mib = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)} MiB`;

export class WasmHeap {
  readonly memory: WebAssembly.Memory;
  /** Pages that the memory may grow to. */
  readonly maximum: number;
  readonly initial = firstPages;
  /** Free ranges by address, none next to another. */
  readonly #free: { at: number; bytes: number }[] = [{ at: heapStart, bytes: firstPages * page - heapStart }];
  readonly #taken = new Map<number, number>();
  #used = 0;
  /** From here on nothing was ever handed out: what the engine gave holds zeros. */
  #untouched = heapStart;

  /** Throws DeviceError when the engine gives no memory at all. */
  constructor(isShared: boolean) {
    let refusal: unknown;
    // Engines reserve the addresses of all that it may grow to: some machines have fewer.
    for (let maximum = mostPages; maximum >= firstPages; maximum /= 2) {
      try {
        this.memory = new WebAssembly.Memory({ initial: firstPages, maximum, shared: isShared });
        this.maximum = maximum;
        return;
      } catch (error) {
        refusal = error;
      }
    }
    throw new DeviceError(
      `wasm: no memory: the engine refused ${mib(firstPages * page)}. It reserves gigabytes of addresses: raise the limit on them (ulimit -v, the container's), or set TENON_DEVICE=reference.`,
      { cause: refusal },
    );
  }

  get used(): number {
    return this.#used;
  }

  /** The address of so many bytes, a multiple of 64; what they hold is undefined. Throws DeviceError when there is no room. */
  allocate(bytes: number, what: string): number {
    const size = Math.max(alignment, Math.ceil(bytes / alignment) * alignment);
    let best = this.#best(size);
    if (best < 0) {
      this.#grow(size, what);
      best = this.#best(size);
    }
    const range = this.#free[best];
    const { at } = range;
    if (range.bytes === size) this.#free.splice(best, 1);
    else this.#free[best] = { at: at + size, bytes: range.bytes - size };
    this.#taken.set(at, size);
    this.#used += size;
    this.#untouched = Math.max(this.#untouched, at + size);
    return at;
  }

  /** The same, filled with zeros. */
  allocateZeros(bytes: number, what: string): number {
    const untouched = this.#untouched;
    const at = this.allocate(bytes, what);
    if (at < untouched) new Uint8Array(this.memory.buffer, at, bytes).fill(0);
    return at;
  }

  /** The smallest range that fits. */
  #best(size: number): number {
    let best = -1;
    for (const [i, { bytes }] of this.#free.entries()) if (bytes >= size && (best < 0 || bytes < this.#free[best].bytes)) best = i;
    return best;
  }

  #grow(size: number, what: string): void {
    const now = this.memory.buffer.byteLength;
    const last = this.#free[this.#free.length - 1];
    const atEnd = last && last.at + last.bytes === now ? last.bytes : 0;
    const needed = Math.ceil((size - atEnd) / page);
    const most = this.maximum - now / page;
    const refuse = (cause?: unknown): never => {
      const largest = Math.max(most * page + atEnd, ...this.#free.map((r) => r.bytes));
      throw new DeviceError(
        `wasm: no memory for ${what} (${mib(size)}): ${mib(this.#used)} of ${mib(this.maximum * page)} are in use, and at most ${mib(largest)} would fit. Use a smaller batch or model, or a device with more memory. Tensors that nothing holds give theirs back when the event loop has its turn, not within a synchronous loop.`,
        { cause },
      );
    };
    if (needed > most) refuse();
    // More than asked, so that growing stays rare, but not beyond what there is.
    const generous = Math.min(most, Math.max(needed, Math.ceil(now / page / 4)));
    let grown = 0;
    for (const pages of new Set([generous, needed])) {
      try {
        this.memory.grow(pages);
        grown = pages;
        break;
      } catch (error) {
        if (pages === needed) refuse(error);
      }
    }
    this.#release(now, grown * page);
  }

  free(at: number): void {
    const bytes = this.#taken.get(at);
    if (bytes === undefined) return;
    this.#taken.delete(at);
    this.#used -= bytes;
    this.#release(at, bytes);
  }

  #release(at: number, bytes: number): void {
    let low = 0;
    for (let high = this.#free.length; low < high; ) {
      const middle = (low + high) >> 1;
      if (this.#free[middle].at < at) low = middle + 1;
      else high = middle;
    }
    this.#free.splice(low, 0, { at, bytes });
    const join = (i: number): void => {
      const [a, b] = [this.#free[i], this.#free[i + 1]];
      if (a && b && a.at + a.bytes === b.at) this.#free.splice(i, 2, { at: a.at, bytes: a.bytes + b.bytes });
    };
    join(low);
    join(low - 1);
  }
}
