/**
 * @file 64 clients against one server, for as long as told: streams read to the end, streams left at a random piece, whole answers,
 * oversized and malformed requests. Every answer is compared with what the engine says without a server. In rounds: between two,
 * nothing is under way, and what the process holds on to can be compared.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import OpenAI from 'openai';
import { expect } from 'vitest';
import { type RequestLog, serveText, type TextServer } from '../../src/serve/index.js';
import { FakeEngine } from './fake-engine.js';
import { model, rawPost } from './support.js';

export interface SoakOptions {
  readonly seconds: number;
  readonly rounds: number;
  readonly clients: number;
}
export interface Soak {
  /** What clients saw, by kind. */
  readonly seen: Readonly<Record<string, number>>;
  /** What the server logged, by outcome. */
  readonly logged: Readonly<Record<RequestLog['outcome'], number>>;
  /** Answers that were not as they had to be; at most 20. */
  readonly wrong: readonly string[];
  /** Bytes after each round, with nothing under way. */
  readonly heap: readonly number[];
  /** What keeps the process alive (sockets, timers), before the server began and after it closed. */
  readonly handles: readonly [before: number, after: number];
  /** Listeners on the process, before and after. */
  readonly listeners: readonly [before: number, after: number];
  /** Of Node's: too many listeners, for one. */
  readonly warnings: readonly string[];
  /** The engine's work under way after the last round, and the most there was. */
  readonly active: number;
  readonly peak: number;
}

/** Numerical Recipes' generator: the same requests every time, if not in the same order. */
function generator(seed: number): (n: number) => number {
  let state = Math.imul(seed + 1, 2654435761) >>> 0;
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));
const handles = (): number => process.getActiveResourcesInfo().length;
const listeners = (): number => process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0);

/** An error and what is behind it. */
const causes = (error: unknown): string => (error instanceof Error && error.cause ? `${error}, ${causes(error.cause)}` : String(error));

class Clients {
  readonly seen: Record<string, number> = {};
  readonly wrong: string[] = [];
  readonly #server: TextServer;
  readonly #engine: FakeEngine;
  readonly #openai: OpenAI;

  constructor(server: TextServer, engine: FakeEngine) {
    this.#server = server;
    this.#engine = engine;
    this.#openai = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 });
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
        if (!(error instanceof OpenAI.RateLimitError)) this.#fail(`request of kind ${kind}: ${causes(error)}`);
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
  #question(below: (n: number) => number) {
    const messages = [{ role: 'user' as const, content: `Question ${below(1e6)} ${'on and '.repeat(below(10))}` }];
    return { messages, max_tokens: 1 + below(40), seed: below(1000) };
  }

  async #stream(below: (n: number) => number, leaves: boolean): Promise<void> {
    const asked = this.#question(below);
    const { text, finish, ...tokens } = this.#engine.expect(asked.messages, { maxTokens: asked.max_tokens, seed: asked.seed });
    const stream = await this.#openai.chat.completions.create({ model, ...asked, stream: true, stream_options: { include_usage: true } });
    const leaveAt = leaves ? below(asked.max_tokens) : -1;
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
    const asked = this.#question(below);
    const answer = await this.#openai.chat.completions.create({ model, ...asked, n: 2 });
    const expected = [0, 1].map((i) => this.#engine.expect(asked.messages, { maxTokens: asked.max_tokens, seed: asked.seed + i }));
    this.#compare(
      'whole',
      answer.choices.map((c) => [c.message.content, c.finish_reason]),
      expected.map((e) => [e.text, e.finish]),
    );
  }

  async #completion(below: (n: number) => number): Promise<void> {
    const prompt = `Once ${below(1e6)}`;
    const maxTokens = 1 + below(30);
    const answer = await this.#openai.completions.create({ model, prompt, max_tokens: maxTokens, temperature: 0 });
    const { text, finish, completionTokens } = this.#engine.expect(prompt, { maxTokens, temperature: 0 });
    const [choice] = answer.choices;
    this.#compare('completed', [choice.text, choice.finish_reason, answer.usage?.completion_tokens], [text, finish, completionTokens]);
  }

  /** A connection cut at any moment: before, while or after it is answered. */
  async #drop(below: (n: number) => number): Promise<void> {
    const { messages, max_tokens } = this.#question(below);
    const socket = await rawPost(this.#server, '/v1/chat/completions', { messages, max_tokens, stream: below(2) === 0 });
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

/** Runs the soak. Counts; the tests judge. */
export async function soak({ seconds, rounds, clients: count }: SoakOptions): Promise<Soak> {
  const warnings: string[] = [];
  const onWarning = (warning: Error): void => void warnings.push(`${warning}`);
  const before = { listeners: listeners(), handles: handles() };
  process.on('warning', onWarning);
  const engine = new FakeEngine({ milliseconds: 2 });
  const logged = { answered: 0, refused: 0, cancelled: 0, failed: 0 };
  const server = await serveText(engine, {
    port: 0,
    slots: 8,
    maxQueue: 30,
    maxBodyBytes: 100_000,
    onRequest: ({ outcome }) => void logged[outcome]++,
  });
  const clients = new Clients(server, engine);
  const heap: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const end = performance.now() + (1000 * seconds) / rounds;
    await Promise.all(Array.from({ length: count }, (_, id) => clients.run(id, generator(1000 * round + id), end)));
    // Those who left may be noticed a moment later.
    for (let tries = 0; tries < 100 && engine.active > 0; tries++) await pause(20);
    collectGarbage();
    heap.push(process.memoryUsage().heapUsed);
  }
  const { active, peak } = engine;
  await server.close();
  // What the clients kept of connections goes with the server's side.
  for (let tries = 0; tries < 100 && handles() > before.handles; tries++) await pause(20);
  process.off('warning', onWarning);
  return {
    seen: clients.seen,
    logged,
    wrong: clients.wrong,
    heap,
    handles: [before.handles, handles()],
    listeners: [before.listeners, listeners()],
    warnings,
    active,
    peak,
  };
}

/** What has to be true of every soak. `growth`: bytes by which what is kept may differ. */
export function judge(soak: Soak, growth: number): void {
  const { seen, logged, heap } = soak;
  expect(soak.wrong).toEqual([]);
  // All kinds of requests were there, and the queue was full at times.
  const kinds = ['streamed', 'left', 'whole', 'completed', 'dropped', 'full', 'oversized', 'no JSON', 'no message', 'too hot', 'too long'];
  for (const kind of kinds) expect(seen[kind] ?? 0, kind).toBeGreaterThan(0);
  expect(logged.failed).toBe(0);
  expect(logged.cancelled).toBeGreaterThan(0);
  expect(logged.answered).toBeGreaterThanOrEqual(seen.streamed + seen.whole + seen.completed);
  expect(soak.peak).toBe(8);
  expect(soak.active).toBe(0);
  const [before, after] = soak.handles;
  expect(after).toBeLessThanOrEqual(before);
  expect(soak.listeners[1]).toBe(soak.listeners[0]);
  expect(soak.warnings).toEqual([]);
  // The first round loads code; of the others the later ones keep no more than the earlier ones.
  const later = heap.slice(1);
  const half = Math.floor(later.length / 2);
  expect(Math.min(...later.slice(half)) - Math.min(...later.slice(0, half))).toBeLessThan(growth);
}
