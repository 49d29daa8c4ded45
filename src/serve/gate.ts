/** @file Admission: so many choices at once, so many waiting in order, and no more. */

/** Gives the place back; may be called again. */
export type Release = () => void;

interface Waiter {
  readonly enter: () => void;
}

export class Gate {
  readonly slots: number;
  readonly maxQueue: number;
  #active = 0;
  /** In order of arrival. */
  readonly #waiting = new Set<Waiter>();
  /** Of the last places that were given back, decaying. */
  #meanSeconds = 1;

  constructor(slots: number, maxQueue: number) {
    this.slots = slots;
    this.maxQueue = maxQueue;
  }
  get active(): number {
    return this.#active;
  }
  get waiting(): number {
    return this.#waiting.size;
  }

  hasRoom(count: number): boolean {
    return this.#active + this.#waiting.size + count <= this.slots + this.maxQueue;
  }

  /** `count` places, each as soon as it is free; null when they would not all fit. An aborted signal rejects those that wait. */
  admit(count: number, signal: AbortSignal): Promise<Release>[] | null {
    return this.hasRoom(count) ? Array.from({ length: count }, () => this.#enter(signal)) : null;
  }

  /** Whole seconds after which trying again makes sense. */
  retryAfter(): number {
    return Math.min(60, Math.max(1, Math.ceil((this.#meanSeconds * (this.#waiting.size + 1)) / this.slots)));
  }

  #enter(signal: AbortSignal): Promise<Release> {
    if (signal.aborted) return Promise.reject(signal.reason);
    if (this.#active < this.slots) {
      this.#active++;
      return Promise.resolve(this.#place());
    }
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.delete(waiter);
        reject(signal.reason);
      };
      const waiter: Waiter = {
        enter: () => {
          signal.removeEventListener('abort', leave);
          resolve(this.#place());
        },
      };
      this.#waiting.add(waiter);
      signal.addEventListener('abort', leave, { once: true });
    });
  }

  #place(): Release {
    const began = performance.now();
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#meanSeconds += ((performance.now() - began) / 1000 - this.#meanSeconds) / 8;
      // The place goes to the next one without becoming free: nobody overtakes.
      const [next] = this.#waiting;
      if (next === undefined) this.#active--;
      else {
        this.#waiting.delete(next);
        next.enter();
      }
    };
  }
}
