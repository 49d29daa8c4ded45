/**
 * @file A response body that is written to: a write ends when the connection took it, so that a slow reader slows the work down and
 * nothing piles up. One that takes nothing for too long is hung up on.
 */

export interface EventStreamOptions {
  /** A write that nobody takes for so long counts as a client that is gone. */
  readonly stallSeconds: number;
  /** The client is gone, or counts as gone. May be called more than once. */
  readonly onGone: () => void;
  /** Ends the connection at once; without it the body ends with an error. */
  readonly hangUp?: () => void;
}

export class EventStream {
  readonly body: ReadableStream<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #options: EventStreamOptions;
  readonly #encoder = new TextEncoder();

  constructor(options: EventStreamOptions) {
    // The readable side keeps nothing: what is written is passed on when it is asked for.
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>({}, { highWaterMark: 1 }, { highWaterMark: 0 });
    this.body = readable;
    this.#writer = writable.getWriter();
    this.#options = options;
    this.#writer.closed.catch(() => options.onGone());
  }
  /** Ends when the reader took it; rejects when it is gone. */
  write(text: string): Promise<void> {
    return this.#timed(this.#writer.write(this.#encoder.encode(text)));
  }
  /** Ends when the reader took everything; never rejects. */
  async end(): Promise<void> {
    await this.#timed(this.#writer.close()).catch(() => undefined);
  }
  async #timed(taken: Promise<void>): Promise<void> {
    const timer = setTimeout(() => {
      const { onGone, hangUp } = this.#options;
      onGone();
      if (hangUp) hangUp();
      else void this.#writer.abort(new Error('The client takes nothing.')).catch(() => undefined);
    }, 1000 * this.#options.stallSeconds);
    try {
      await taken;
    } finally {
      clearTimeout(timer);
    }
  }
}
