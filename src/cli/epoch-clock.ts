/** @file How long epochs took: training alone, and with validation. Goes on after a resume. */

import { isRecord } from '../io/bytes.js';
import type { Callback, CallbackState } from '../train/callbacks/callback.js';

export interface EpochTime {
  /** Seconds of training steps. */
  readonly training: number;
  /** With validation and checkpoint. */
  readonly total: number;
}

export class EpochClock implements Callback {
  readonly name = 'epochClock';
  readonly times: EpochTime[] = [];
  /** Seconds of the current epoch before a resume. */
  #before = 0;
  #started = performance.now();
  #training: number | null = null;
  #isOpen = false;
  /** Whether a step was trained. */
  hasBegun = false;

  #elapsed(): number {
    return this.#before + (performance.now() - this.#started) / 1000;
  }
  #open(before: number): void {
    this.#before = before;
    this.#started = performance.now();
    this.#training = null;
    this.#isOpen = true;
  }
  onTrainBegin(): void {
    this.#open(this.#before);
  }
  onEpochBegin(): void {
    this.#open(0);
  }
  onProgress(): void {
    this.hasBegun = true;
  }
  onTestBegin(): void {
    this.#training ??= this.#elapsed();
  }
  onEpochEnd(): void {
    this.hasBegun = true;
    const total = this.#elapsed();
    this.times.push({ training: this.#training ?? total, total });
    this.#isOpen = false;
  }
  getState(): CallbackState {
    return { json: { times: this.times, open: this.#isOpen ? this.#elapsed() : 0 } };
  }
  setState({ json }: CallbackState): void {
    if (!isRecord(json) || !Array.isArray(json.times)) return;
    this.times.splice(0, this.times.length, ...(json.times as EpochTime[]));
    this.#before = typeof json.open === 'number' ? json.open : 0;
  }
}
