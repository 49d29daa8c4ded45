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
  readonly #hangUp: () => void;
  readonly #encoder = new TextEncoder();

  constructor(options: EventStreamOptions) {
    // The readable side keeps nothing: what is written is passed on when it is asked for.
    let controller: TransformStreamDefaultController<Uint8Array> | undefined;
    const start = (c: TransformStreamDefaultController<Uint8Array>): void => {
      controller = c;
    };
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>({ start }, { highWaterMark: 1 }, { highWaterMark: 0 });
    this.body = readable;
    this.#writer = writable.getWriter();
    this.#options = options;
    // Not the writer's abort: that would wait for the write that nobody takes.
    this.#hangUp = options.hangUp ?? (() => controller?.error(new Error('Nothing was taken of this stream for too long.')));
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
      this.#options.onGone();
      this.#hangUp();
    }, 1000 * this.#options.stallSeconds);
    try {
      await taken;
    } finally {
      clearTimeout(timer);
    }
  }
}
