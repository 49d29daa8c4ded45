/** @file FifoQueue: jobs of a device one after another, in the order in which they were added. */
import { InternalError } from '../base/errors.js';

interface Job {
  /** Starts it and says whether it goes on without us; then `#ended` is called when it ends. */
  readonly start: () => boolean;
  /** How many such jobs may be under way together. */
  readonly together: number;
}

/** Jobs start in their order, each when the one before has ended; one that fails rejects its own promise and the queue goes on. */
export class FifoQueue {
  #waiting: Job[] = [];
  #head = 0;
  /** Jobs under way, and how many of them may be. */
  #active = 0;
  #most = 1;
  #pumping = false;
  #whenIdle: (() => void)[] = [];

  get isIdle(): boolean {
    return this.#active === 0 && !this.#pumping;
  }

  get active(): number {
    return this.#active;
  }

  /**
   * Runs `work` after all jobs before; a job added to an idle queue starts at once. Jobs with `together` > 1 start while up to so
   * many neighbours of their kind are under way: they keep their order themselves.
   */
  add<T>(work: () => T | Promise<T>, together = 1): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const start = (): boolean => {
        try {
          const result = work();
          if (result instanceof Promise) {
            // The queue moves on first, so that whoever awaits the last job finds the device idle.
            result.then(
              (value) => {
                this.#ended();
                resolve(value);
              },
              (error) => {
                this.#ended();
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
      };
      this.#waiting.push({ start, together });
      this.#pump();
    });
  }

  /** A write: `now` when idle; otherwise `later` takes its copy of the data and gives the job. */
  write(now: () => void, later: () => () => void): void {
    if (this.isIdle) now();
    else void this.add(later());
  }

  /** Resolves when everything added so far has run. */
  idle(): Promise<void> {
    return this.isIdle ? Promise.resolve() : new Promise((resolve) => this.#whenIdle.push(resolve));
  }

  mustBeIdle(who: string): void {
    if (!this.isIdle) throw new InternalError(`${who} while runs are queued. Await idle() first, or use the asynchronous form.`);
  }

  #ended(): void {
    this.#active--;
    this.#pump();
  }

  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    while (this.#head < this.#waiting.length) {
      const { start, together } = this.#waiting[this.#head];
      if (this.#active > 0 && (together === 1 || this.#most === 1 || this.#active >= together)) break;
      this.#head++;
      // Jobs that have started hold their data, and a queue that is kept full never gets to its end.
      if (this.#head >= 64) this.#head -= this.#waiting.splice(0, this.#head).length;
      if (start()) {
        this.#active++;
        this.#most = together;
      }
    }
    this.#pumping = false;
    if (this.#head < this.#waiting.length || this.#active > 0) return;
    this.#waiting = [];
    this.#head = 0;
    const resolves = this.#whenIdle;
    this.#whenIdle = [];
    for (const resolve of resolves) resolve();
  }
}
