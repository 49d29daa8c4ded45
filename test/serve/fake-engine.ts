/** @file An engine that says what a hash tells it, one word a token and with delays; what it says can be computed without it. */
import { ConfigError } from '../../src/base/errors.js';
import type { ChatMessage, TextEngine, TextPiece, TextRequest } from '../../src/llm/text-engine.js';

const words = ['the', 'mouse', 'ran', 'up', 'a', 'clock', '木', '工', '🪵', 'joint', 'tenon', 'é', '\n', 'and', 'cut', '"quoted"'];

export interface FakeOptions {
  readonly contextLength?: number;
  /** Between two tokens. */
  readonly milliseconds?: number;
  readonly hasChatTemplate?: boolean;
  /** In place of words. */
  readonly word?: (step: number) => string;
}

/** The tokens of a text are its UTF-16 units, after a first one. */
const tokensOf = (text: string): Int32Array => Int32Array.from([1, ...Array.from({ length: text.length }, (_, i) => text.charCodeAt(i))]);

const render = (messages: readonly ChatMessage[]): string => `${messages.map((m) => `<${m.role}>${m.content}`).join('')}<assistant>`;

/** What the engine will say, token by token, and why it ends. */
function* answerOf(
  prompt: Int32Array,
  request: Omit<TextRequest, 'signal'>,
  word?: (step: number) => string,
): Generator<string, 'stop' | 'length'> {
  let state = 2166136261;
  const mix = (value: number): void => {
    state = Math.imul(state ^ value, 16777619) >>> 0;
  };
  for (const id of prompt) mix(id);
  if (request.temperature > 0) mix((request.seed ?? 0) + 7);
  let said = '';
  for (let step = 0; step < request.maxTokens; step++) {
    mix(step);
    const draw = state >>> 8;
    if (word === undefined && draw % 41 === 0) return 'stop';
    const next = word ? word(step) : `${words[draw % words.length]} `;
    if (request.stop.length > 0) {
      const cut = Math.min(...request.stop.map((s) => (said + next).indexOf(s)).filter((at) => at >= 0));
      if (cut < said.length + next.length) {
        yield next.slice(0, Math.max(0, cut - said.length));
        return 'stop';
      }
      said += next;
    }
    yield next;
  }
  return 'length';
}

export interface Expected {
  readonly text: string;
  readonly finish: 'stop' | 'length';
  readonly promptTokens: number;
  readonly completionTokens: number;
}

export class FakeEngine implements TextEngine {
  readonly modelId = 'tests/fake';
  readonly contextLength: number;
  readonly hasChatTemplate: boolean;
  readonly queued = 0;
  active = 0;
  /** The most at one time. */
  peak = 0;
  /** Calls of generate that began. */
  started = 0;
  /** Those of which the last piece was made. */
  finished = 0;
  /** Tokens made. */
  made = 0;
  /** What the last call was asked. */
  last: TextRequest | null = null;
  /** Thrown by the next call: at once, or after so many tokens. */
  fault: { readonly error: Error; readonly after: number } | null = null;
  /** No token is made before it is over. */
  held: Promise<void> = Promise.resolve();
  readonly #milliseconds: number;
  readonly #word: ((step: number) => string) | undefined;

  constructor(options: FakeOptions = {}) {
    this.contextLength = options.contextLength ?? 1000;
    this.hasChatTemplate = options.hasChatTemplate ?? true;
    this.#milliseconds = options.milliseconds ?? 1;
    this.#word = options.word;
  }
  encode(text: string): Int32Array {
    return tokensOf(text);
  }
  countTokens(text: string): number {
    return tokensOf(text).length;
  }
  renderChat(messages: readonly ChatMessage[]): Int32Array {
    if (messages[0].content === 'refuse me') throw new ConfigError('chat template: Conversation roles must alternate.');
    return tokensOf(render(messages));
  }
  async *generate(prompt: Int32Array, request: TextRequest): AsyncGenerator<TextPiece> {
    this.started++;
    this.active++;
    this.last = request;
    this.peak = Math.max(this.peak, this.active);
    const { fault } = this;
    this.fault = null;
    try {
      const answer = answerOf(prompt, request, this.#word);
      for (let i = 0; ; i++) {
        if (fault?.after === i) throw fault.error;
        const next = answer.next();
        if (next.done) {
          this.finished++;
          yield { text: '', tokens: 0, finish: next.value };
          return;
        }
        await this.#step(request.signal);
        this.made++;
        yield { text: next.value, tokens: 1, finish: null };
      }
    } finally {
      this.active--;
    }
  }
  async #step(signal: AbortSignal | undefined): Promise<void> {
    await new Promise((resolve) => (this.#milliseconds === 0 ? setImmediate(resolve) : setTimeout(resolve, this.#milliseconds)));
    await this.held;
    signal?.throwIfAborted();
  }

  /** The answer to a request, computed apart from all serving. */
  expect(
    prompt: string | readonly ChatMessage[],
    options: { maxTokens?: number; seed?: number; temperature?: number; stop?: string[] },
  ): Expected {
    const ids = tokensOf(typeof prompt === 'string' ? prompt : render(prompt));
    const maxTokens = Math.min(options.maxTokens ?? this.contextLength, this.contextLength - ids.length);
    const { temperature = 1, seed, stop = [] } = options;
    const answer = answerOf(ids, { maxTokens, temperature, seed, stop, topP: 1, topK: 0, minP: 0, repetitionPenalty: 1 }, this.#word);
    const pieces: string[] = [];
    let next = answer.next();
    for (; !next.done; next = answer.next()) pieces.push(next.value);
    const finish = next.value;
    return { text: pieces.join(''), finish, promptTokens: ids.length, completionTokens: pieces.length };
  }
}
