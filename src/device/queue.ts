/** @file FifoQueue: jobs of a device one after another, in the order in which they were added. */
import { InternalError } from '../base/errors.js';

/** Jobs run one at a time; one that fails rejects its own promise and the queue goes on. */
export class FifoQueue {
  /** Each starts a job and says whether it goes on without us; then it calls `#pump` itself when it ends. */
  #waiting: (() => boolean)[] = [];
  #head = 0;
  #busy = false;
  #whenIdle: (() => void)[] = [];

  get isIdle(): boolean {
    return !this.#busy;
  }

  /** Runs `work` after all jobs before; a job added to an idle queue starts at once. */
  add<T>(work: () => T | Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push(() => {
        try {
          const result = work();
          if (result instanceof Promise) {
            // The queue moves on first, so that whoever awaits the last job finds the device idle.
            result.then(
              (value) => {
                this.#pump();
                resolve(value);
              },
              (error) => {
                this.#pump();
                reject(error);
              },
            );
            return true;
          }
          resolve(result);
        } catch (error) {
          reject(error);
        }
        return false;
      });
      if (!this.#busy) this.#pump();
    });
  }

  /** A write: `now` when idle; otherwise `later` takes its copy of the data and gives the job. */
  write(now: () => void, later: () => () => void): void {
    if (!this.#busy) now();
    else void this.add(later());
  }

  /** Resolves when everything added so far has run. */
  idle(): Promise<void> {
    return this.#busy ? new Promise((resolve) => this.#whenIdle.push(resolve)) : Promise.resolve();
  }

  mustBeIdle(who: string): void {
    if (this.#busy) throw new InternalError(`${who} while runs are queued. Await idle() first, or use the asynchronous form.`);
  }

  #pump(): void {
    this.#busy = true;
    while (this.#head < this.#waiting.length) if (this.#waiting[this.#head++]()) return;
    this.#waiting = [];
    this.#head = 0;
    this.#busy = false;
    const resolves = this.#whenIdle;
    this.#whenIdle = [];
    for (const resolve of resolves) resolve();
  }
}
