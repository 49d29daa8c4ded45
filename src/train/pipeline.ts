/** @file Keeping a device busy: a few runs in flight, and turns for the event loop on devices that run in our thread. */
import { turn } from '../base/turn.js';

/** Runs in flight; the oldest is awaited when there are too many, so that memory and errors stay near. */
export class Pipeline {
  readonly #depth: number;
  #running: Promise<unknown>[] = [];

  constructor(depth = 3) {
    this.#depth = depth;
  }
  /** Adds a run; waits while the pipeline is full. Rejects with the failure of the run waited for. */
  push(run: Promise<unknown>): Promise<unknown> | undefined {
    // A failure is reported when its turn to be awaited comes; until then it must not count as unhandled.
    run.catch(() => undefined);
    this.#running.push(run);
    return this.#running.length >= this.#depth ? this.#running.shift() : undefined;
  }
  async drain(): Promise<void> {
    const all = this.#running;
    this.#running = [];
    await Promise.all(all);
  }
}

/** When the event loop had its last turn: one clock, so that short calls in a row give turns too. */
let lastTurn = performance.now();

/** Lets timers, input and servers have their turn every 25 ms, and tells what is due. */
export class Breather {
  readonly #due = new Map<string, number>();

  pause(): Promise<void> | undefined {
    const now = performance.now();
    if (now - lastTurn < 25) return undefined;
    lastTurn = now;
    return turn();
  }
  /** Whether `milliseconds` have passed since this was last true (or since the first question). */
  isDue(what: string, milliseconds: number): boolean {
    const now = performance.now();
    const last = this.#due.get(what);
    if (last === undefined) {
      this.#due.set(what, now);
      return false;
    }
    if (now - last < milliseconds) return false;
    this.#due.set(what, now);
    return true;
  }
}
