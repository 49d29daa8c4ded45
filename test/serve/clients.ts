/** @file Clients of all kinds against one server: they read to the end, leave, hang up, ask for too much or for nothing, and compare what they get. */
import OpenAI from 'openai';
import type { Expected } from './fake-engine.js';
import { rawPost } from './support.js';

/** Where the server is. */
export interface Address {
  readonly url: string;
  readonly host: string;
  readonly port: number;
}
interface Asked {
  readonly request: { readonly max_tokens: number; readonly seed?: number; readonly temperature?: number };
  /** What the i-th choice must be. */
  answer(i: number): Expected;
}
/** What clients ask, and the answers that there are without a server. */
export interface Questions {
  readonly model: string;
  chat(below: (n: number) => number): Asked & { readonly messages: { readonly role: 'user'; readonly content: string }[] };
  completion(below: (n: number) => number): Asked & { readonly prompt: string };
}

/** Numerical Recipes' generator: the same requests every time, if not in the same order. */
export function generator(seed: number): (n: number) => number {
  let state = Math.imul(seed + 1, 2654435761) >>> 0;
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

export const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** An error and what is behind it. */
const causes = (error: unknown): string => (error instanceof Error && error.cause ? `${error}, ${causes(error.cause)}` : String(error));

export class Clients {
  readonly seen: Record<string, number> = {};
  readonly wrong: string[] = [];
  readonly #server: Address;
  readonly #questions: Questions;
  readonly #openai: OpenAI;
  /** When the process last ran, and when it last went on after a pause of seconds. */
  #ran = performance.now();
  #wentOn = Number.NEGATIVE_INFINITY;
  readonly #watch: NodeJS.Timeout;

  constructor(server: Address, questions: Questions) {
    this.#server = server;
    this.#questions = questions;
    this.#openai = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 });
    this.#watch = setInterval(() => this.#look(), 100).unref();
  }
  /** No more clients. */
  end(): void {
    clearInterval(this.#watch);
  }
  #look(): void {
    const now = performance.now();
    if (now - this.#ran > 2000) this.#wentOn = now;
    this.#ran = now;
  }
  /** Whether client and server stood still shortly before: idle connections are over then, and one may just have been used. */
  #wasPaused(): boolean {
    this.#look();
    return performance.now() - this.#wentOn < 3000;
  }

  /** A third of the clients leave at some piece, every time but one in four. */
  async run(id: number, below: (n: number) => number, end: number): Promise<void> {
    const leaves = id % 3 === 0;
    while (performance.now() < end) {
      const kind = below(20);
      try {
        if (kind < 12) await this.#stream(below, leaves && below(4) > 0);
        else if (kind < 14) await this.#whole(below);
        else if (kind < 16) await this.#completion(below);
        else if (kind === 16) await this.#drop(below);
        else await this.#refused(below(6));
      } catch (error) {
        if (/ECONNRESET|other side closed/.test(causes(error)) && this.#wasPaused()) this.#count('paused');
        else if (!(error instanceof OpenAI.RateLimitError)) this.#fail(`request of kind ${kind}: ${causes(error)}`);
        else if (Number(error.headers?.get('retry-after')) >= 1) this.#count('full');
        else this.#fail('429 without Retry-After');
        await pause(below(40));
      }
    }
  }
  #count(kind: string): void {
    this.seen[kind] = (this.seen[kind] ?? 0) + 1;
  }
  #fail(what: string): void {
    this.#count('wrong');
    if (this.wrong.length < 20) this.wrong.push(what);
  }
  #compare(kind: string, received: object, expected: object): void {
    if (JSON.stringify(received) === JSON.stringify(expected)) this.#count(kind);
    else this.#fail(`${kind}: expected ${JSON.stringify(expected)}, received ${JSON.stringify(received)}`);
  }
  async #stream(below: (n: number) => number, leaves: boolean): Promise<void> {
    const { messages, request, answer } = this.#questions.chat(below);
    const { text, finish, ...tokens } = answer(0);
    const { model } = this.#questions;
    const stream = await this.#openai.chat.completions.create({
      model,
      messages,
      ...request,
      stream: true,
      stream_options: { include_usage: true },
    });
    const leaveAt = leaves ? below(request.max_tokens) : -1;
    const isSlow = below(8) === 0;
    let received = '';
    let reason: string | null = null;
    let usage: object | null = null;
    let pieces = 0;
    for await (const part of stream) {
      received += part.choices[0]?.delta.content ?? '';
      reason = part.choices[0]?.finish_reason ?? reason;
      if (part.usage) usage = { promptTokens: part.usage.prompt_tokens, completionTokens: part.usage.completion_tokens };
      if (pieces++ === leaveAt) {
        if (text.startsWith(received)) this.#count('left');
        else this.#fail(`left: ${JSON.stringify(received)} does not begin ${JSON.stringify(text)}`);
        return;
      }
      if (isSlow) await pause(1);
    }
    this.#compare('streamed', { received, reason, usage }, { received: text, reason: finish, usage: tokens });
  }

  async #whole(below: (n: number) => number): Promise<void> {
    const { messages, request, answer } = this.#questions.chat(below);
    const received = await this.#openai.chat.completions.create({ model: this.#questions.model, messages, ...request, n: 2 });
    const expected = [answer(0), answer(1)];
    this.#compare(
      'whole',
      received.choices.map((c) => [c.message.content, c.finish_reason]),
      expected.map((e) => [e.text, e.finish]),
    );
  }

  async #completion(below: (n: number) => number): Promise<void> {
    const { prompt, request, answer } = this.#questions.completion(below);
    const received = await this.#openai.completions.create({ model: this.#questions.model, prompt, ...request });
    const { text, finish, completionTokens } = answer(0);
    const [choice] = received.choices;
    this.#compare('completed', [choice.text, choice.finish_reason, received.usage?.completion_tokens], [text, finish, completionTokens]);
  }

  /** A connection cut at any moment: before, while or after it is answered. */
  async #drop(below: (n: number) => number): Promise<void> {
    const { messages, request } = this.#questions.chat(below);
    const socket = await rawPost(this.#server, '/v1/chat/completions', { messages, ...request, stream: below(2) === 0 });
    socket.on('error', () => undefined);
    if (below(2) === 0) socket.resume();
    await pause(below(30));
    socket.destroy();
    this.#count('dropped');
  }

  async #refused(kind: number): Promise<void> {
    const messages = [{ role: 'user', content: 'Hi' }];
    const [name, status, body] = [
      ['oversized', 413, JSON.stringify({ messages: [{ role: 'user', content: 'x'.repeat(200_000) }] })] as const,
      ['no JSON', 400, '{"messages": [{'] as const,
      ['no message', 400, '{"messages": 7}'] as const,
      ['too hot', 400, JSON.stringify({ messages, temperature: 99 })] as const,
      ['too long', 400, JSON.stringify({ messages: [{ role: 'user', content: 'x'.repeat(2000) }] })] as const,
      ['unknown model', 404, JSON.stringify({ model: 'gpt-4', messages })] as const,
    ][kind];
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${this.#server.url}/v1/chat/completions`, { method: 'POST', headers, body });
    const text = await response.text();
    if (response.status === 429) return this.#count('full');
    if (response.status !== status || typeof JSON.parse(text).error.message !== 'string')
      this.#fail(`${name}: expected ${status}, received ${response.status} ${text}`);
    else this.#count(name);
  }
}
