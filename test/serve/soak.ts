/**
 * @file 64 clients against one server, for as long as told: streams read to the end, streams left at a random piece, whole answers,
 * oversized and malformed requests. Every answer is compared with what the engine says without a server. In rounds: between two,
 * nothing is under way, and what the process holds on to can be compared.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect } from 'vitest';
import { type RequestLog, serveText } from '../../src/serve/index.js';
import { Clients, generator, pause, type Questions } from './clients.js';
import { FakeEngine } from './fake-engine.js';

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

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
const handles = (): number => process.getActiveResourcesInfo().length;
const listeners = (): number => process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0);

/** Questions of any kind, and what the engine says without a server. */
const questionsTo = (engine: FakeEngine): Questions => ({
  model: engine.modelId,
  chat(below) {
    const messages = [{ role: 'user' as const, content: `Question ${below(1e6)} ${'on and '.repeat(below(10))}` }];
    const request = { max_tokens: 1 + below(40), seed: below(1000) };
    const answer = (i: number) => engine.expect(messages, { maxTokens: request.max_tokens, seed: request.seed + i });
    return { messages, request, answer };
  },
  completion(below) {
    const prompt = `Once ${below(1e6)}`;
    const maxTokens = 1 + below(30);
    return {
      prompt,
      request: { max_tokens: maxTokens, temperature: 0 },
      answer: () => engine.expect(prompt, { maxTokens, temperature: 0 }),
    };
  },
});

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
  const clients = new Clients(server, questionsTo(engine));
  const heap: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const end = performance.now() + (1000 * seconds) / rounds;
    await Promise.all(Array.from({ length: count }, (_, id) => clients.run(id, generator(1000 * round + id), end)));
    // Those who left may be noticed a moment later.
    for (let tries = 0; tries < 100 && engine.active > 0; tries++) await pause(20);
    collectGarbage();
    heap.push(process.memoryUsage().heapUsed);
  }
  clients.end();
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
