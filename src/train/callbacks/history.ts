/** @file History: what fit returns: the logs of every epoch. */
import type { Logs, TrainParams } from './callback.js';

export class History {
  readonly name = 'history';
  /** Numbers of the epochs, from 0. */
  readonly epoch: number[] = [];
  /** One list a name, such as { loss: […], accuracy: […], valLoss: […] }. */
  readonly history: Record<string, number[]> = {};
  params: TrainParams = { epochs: 0, initialEpoch: 0, batchSize: null, steps: null, samples: null, validates: false };
  /** Why training ended before its last epoch, or null. */
  stopped: string | null = null;
  /** Whether the signal ended it. */
  interrupted = false;
  /** The last checkpoint that this run wrote. */
  checkpoint: string | null = null;
  /** Seconds spent on compiling Programs, and on each epoch (with its validation). */
  compileSeconds = 0;
  readonly seconds: number[] = [];
  /** Seconds a training step of the last epoch, without compiling and validation. */
  stepSeconds = 0;

  add(epoch: number, logs: Logs): void {
    this.epoch.push(epoch);
    for (const [name, value] of Object.entries(logs)) {
      if (!Object.hasOwn(this.history, name)) this.history[name] = [];
      this.history[name].push(value);
    }
  }
  getState(): { json: { epoch: number[]; history: Record<string, number[]>; seconds: number[] } } {
    return { json: { epoch: this.epoch, history: this.history, seconds: this.seconds } };
  }
  restore(saved: { epoch: readonly number[]; history: Readonly<Record<string, readonly number[]>>; seconds: readonly number[] }): void {
    this.epoch.splice(0, this.epoch.length, ...saved.epoch);
    this.seconds.splice(0, this.seconds.length, ...saved.seconds);
    for (const key of Object.keys(this.history)) delete this.history[key];
    for (const [name, values] of Object.entries(saved.history)) this.history[name] = [...values];
  }
}
