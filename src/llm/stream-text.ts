/** @file Text out of tokens as they come: characters are never split, and what may be the start of a stop string waits. */

/** The bytes that tokens stand for. */
export interface TokenBytes {
  bytesOf(id: number): Uint8Array;
  isSpecial(id: number): boolean;
}

export class TextStream {
  readonly #tokens: TokenBytes;
  readonly #stops: readonly string[];
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  /** Text that isn't given out yet. */
  #held = '';
  #stopped = false;

  constructor(tokens: TokenBytes, stops: readonly string[] = []) {
    this.#tokens = tokens;
    this.#stops = stops.filter((s) => s !== '');
  }

  /** Whether a stop string was met: nothing more is given. */
  get isStopped(): boolean {
    return this.#stopped;
  }
  /** The text that a further token makes certain. Special tokens have none. */
  push(id: number): string {
    if (this.#stopped || this.#tokens.isSpecial(id)) return '';
    return this.#take(this.#decoder.decode(this.#tokens.bytesOf(id), { stream: true }));
  }
  /** What is left at the end; bytes that make no character become U+FFFD. */
  end(): string {
    const rest = this.#take(this.#decoder.decode());
    const held = this.#stopped ? '' : this.#held;
    this.#held = '';
    return rest + held;
  }

  #take(text: string): string {
    if (this.#stopped) return '';
    this.#held += text;
    let at = -1;
    for (const stop of this.#stops) {
      const found = this.#held.indexOf(stop);
      if (found >= 0 && (at < 0 || found < at)) at = found;
    }
    if (at >= 0) {
      this.#stopped = true;
      const before = this.#held.slice(0, at);
      this.#held = '';
      return before;
    }
    const keep = Math.max(0, ...this.#stops.map((stop) => overlap(this.#held, stop)));
    const given = this.#held.slice(0, this.#held.length - keep);
    this.#held = this.#held.slice(this.#held.length - keep);
    return given;
  }
}

/** Length of the longest end of `text` that begins `stop`. */
function overlap(text: string, stop: string): number {
  for (let n = Math.min(text.length, stop.length - 1); n > 0; n--) if (text.endsWith(stop.slice(0, n))) return n;
  return 0;
}
