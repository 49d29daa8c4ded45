/** @file One line of log a request, whenever it ends: with the response, or with the stream. */
import { randomUUID } from 'node:crypto';

export interface RequestLog {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  /** Of HTTP; 499 when the client went before there was one. */
  readonly status: number;
  /** refused: the client's mistake, or no room. cancelled: the client is gone. failed: ours. */
  readonly outcome: 'answered' | 'refused' | 'cancelled' | 'failed';
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** From the request's head to the end of the answer. */
  readonly seconds: number;
  /** Until the first token; null when there was none. */
  readonly firstTokenSeconds: number | null;
  /** What went wrong, with causes that the client isn't told; null when nothing did. */
  readonly error: Error | null;
}

export class Trace {
  readonly id = `req_${randomUUID().replaceAll('-', '')}`;
  promptTokens = 0;
  /** Counted as they are made. */
  completionTokens = 0;
  /** Set when a stream ends the trace, not the response. */
  isStream = false;
  readonly #began = performance.now();
  #firstToken: number | null = null;
  #hasEnded = false;
  readonly #method: string;
  readonly #path: string;
  readonly #onRequest: ((entry: RequestLog) => void) | undefined;

  constructor(method: string, path: string, onRequest: ((entry: RequestLog) => void) | undefined) {
    this.#method = method;
    this.#path = path;
    this.#onRequest = onRequest;
  }
  tokens(count: number): void {
    this.completionTokens += count;
    if (count > 0) this.#firstToken ??= this.#elapsed();
  }
  end(status: number, outcome: RequestLog['outcome'], error: Error | null): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    const entry: RequestLog = {
      id: this.id,
      method: this.#method,
      path: this.#path,
      status,
      outcome,
      promptTokens: this.promptTokens,
      completionTokens: this.completionTokens,
      seconds: this.#elapsed(),
      firstTokenSeconds: this.#firstToken,
      error,
    };
    // Outside of the request: what a callback throws is not the client's.
    if (this.#onRequest) queueMicrotask(() => this.#onRequest?.(entry));
  }
  #elapsed(): number {
    return (performance.now() - this.#began) / 1000;
  }
}
