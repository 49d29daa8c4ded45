/**
 * @file The soak with the real engine: a small model through `tenon serve` in a process of its own, whose memory is read from outside, and
 * greedy answers that were computed alone before.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { setDevice } from '../../src/device/registry.js';
import { writeSafetensorsFiles } from '../../src/io/safetensors-files-node.js';
import { openEngine } from '../../src/llm/open-model-node.js';
import { root } from '../cli/built.js';
import { byteLevelTokenizer, configOf, shapesOf, tensorsOf } from '../llm/small-models.js';
import { type Address, Clients, generator, pause, type Questions } from './clients.js';
import type { Expected } from './fake-engine.js';
import { until } from './support.js';

export interface RealSoakOptions {
  readonly seconds: number;
  readonly rounds: number;
  readonly clients: number;
  readonly device: string;
}
export interface RealSoak {
  readonly seen: Readonly<Record<string, number>>;
  readonly wrong: readonly string[];
  /** The server's, after each round, with nothing under way and garbage collected. */
  readonly memory: readonly Memory[];
  /** What /health said after the last round. */
  readonly health: { readonly active: number; readonly queued: number };
  /** What the server wrote at its end. */
  readonly report: Readonly<Record<string, unknown>>;
}
interface Memory {
  readonly rss: number;
  readonly heapUsed: number;
  readonly external: number;
  /** Sockets, timers and what else keeps a process alive. */
  readonly resources: number;
}

const CONTEXT = 128;
const SLOTS = 8;
const template =
  '{% for m in messages %}<{{ m.role }}>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}';
/** Runs inside of the server's process: tells its memory when it is signalled. */
const probe = `
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
process.on('SIGUSR2', async () => {
  // Finalizers of one collection free what the next one finds.
  for (let i = 0; i < 3; i++) { gc(); await pause(20); }
  const { rss, heapUsed, external } = process.memoryUsage();
  console.error('memory ' + JSON.stringify({ rss, heapUsed, external, resources: process.getActiveResourcesInfo().length }));
});`;

const things = ['the', 'and', 'thing', 'in', 'an', 'ant', 'then', '12', 'é', '木'];

/** Prompts of all lengths that leave room, and what the engine says to each when it is alone. */
async function questionsFor(folder: string): Promise<Questions> {
  const engine = await openEngine(folder, { slots: 1, contextLength: CONTEXT });
  const below = generator(4);
  const alone = async (ids: Int32Array, maxTokens: number): Promise<Expected> => {
    let text = '';
    let completionTokens = 0;
    let finish: Expected['finish'] = 'length';
    const sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, stop: [] };
    for await (const piece of engine.generate(ids, { maxTokens, ...sampling })) {
      text += piece.text;
      completionTokens += piece.tokens;
      finish = piece.finish ?? finish;
    }
    return { text, finish, promptTokens: ids.length, completionTokens };
  };
  const prompts = Array.from({ length: 40 }, () => Array.from({ length: 1 + below(20) }, () => things[below(things.length)]).join(' '));
  const request = (): { max_tokens: number; temperature: number } => ({ max_tokens: 1 + below(40), temperature: 0 });
  const chats: ReturnType<Questions['chat']>[] = [];
  const completions: ReturnType<Questions['completion']>[] = [];
  for (const prompt of prompts) {
    const messages = [{ role: 'user' as const, content: prompt }];
    const [asked, asked2] = [request(), request()];
    const chat = await alone(engine.renderChat(messages), asked.max_tokens);
    chats.push({ messages, request: asked, answer: () => chat });
    const completion = await alone(engine.encode(prompt), asked2.max_tokens);
    completions.push({ prompt, request: asked2, answer: () => completion });
  }
  await engine.close();
  // Answers that are all alike would hide one given to another's question.
  expect(new Set([...chats, ...completions].map((c) => c.answer(0).text)).size).toBeGreaterThan(40);
  return { model: engine.modelId, chat: (b) => chats[b(chats.length)], completion: (b) => completions[b(completions.length)] };
}

class Server {
  readonly address: Address;
  readonly #child: ChildProcess;
  readonly #memory: Memory[] = [];
  #stderr = '';

  private constructor(child: ChildProcess, address: Address) {
    this.#child = child;
    this.address = address;
    child.stderr?.on('data', (text: string) => {
      this.#stderr += text;
      for (const [, json] of this.#stderr.matchAll(/^memory (.*)\n/gm)) this.#memory.push(JSON.parse(json) as Memory);
      this.#stderr = this.#stderr.replace(/^memory .*\n/gm, '');
    });
  }
  static async start(folder: string, report: string): Promise<Server> {
    const words = ['serve', folder, '--port', '0', '--slots', `${SLOTS}`, '--max-queue', '24', '--context', `${CONTEXT}`, '--json', report];
    const preload = ['--expose-gc', '--import', `data:text/javascript,${encodeURIComponent(probe)}`];
    const child = spawn(process.execPath, [...preload, join(root, 'dist/cli/main.js'), ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stderr.setEncoding('utf8');
    let url: string | undefined;
    let last = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      last = (last + text).slice(-2000);
      url ??= /Listening on (\S+)\/v1/.exec(last)?.[1];
    });
    await until(() => url !== undefined || child.exitCode !== null);
    if (url === undefined) throw new Error(`the server did not start: ${last}`);
    const { hostname: host, port } = new URL(url);
    return new Server(child, { url, host, port: Number(port) });
  }
  async memory(): Promise<Memory> {
    const before = this.#memory.length;
    this.#child.kill('SIGUSR2');
    await until(() => this.#memory.length > before);
    return this.#memory[before];
  }
  async health(): Promise<RealSoak['health']> {
    return (await (await fetch(`${this.address.url}/health`)).json()) as RealSoak['health'];
  }
  /** Ctrl-C. */
  async stop(): Promise<void> {
    this.#child.kill('SIGINT');
    await until(() => this.#child.exitCode !== null || this.#child.signalCode !== null);
    expect(`${this.#child.exitCode} ${this.#stderr.replace(/.*stopping;.*\n/, '').trim()}`).toBe('0 ');
  }
  kill(): void {
    if (this.#child.exitCode === null) this.#child.kill('SIGKILL');
  }
}

/** Runs the soak. Counts; `judgeReal` judges. */
export async function realSoak({ seconds, rounds, clients: count, device }: RealSoakOptions): Promise<RealSoak> {
  const home = mkdtempSync(join(tmpdir(), 'tenon-soak-'));
  let server: Server | null = null;
  process.env.TENON_DEVICE = device;
  try {
    setDevice(device);
    const folder = join(home, 'model');
    mkdirSync(folder);
    await writeSafetensorsFiles(folder, tensorsOf(shapesOf('llama')), {});
    writeFileSync(join(folder, 'config.json'), JSON.stringify(configOf('llama')));
    writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(byteLevelTokenizer()));
    writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify({ eos_token: '<|end|>', chat_template: template }));
    const questions = await questionsFor(folder);
    const report = join(home, 'report.json');
    server = await Server.start(folder, report);
    const clients = new Clients(server.address, questions);
    const memory: Memory[] = [];
    let health = await server.health();
    for (let round = 0; round < rounds; round++) {
      const end = performance.now() + (1000 * seconds) / rounds;
      await Promise.all(Array.from({ length: count }, (_, id) => clients.run(id, generator(1000 * round + id), end)));
      // Those who left may be noticed a moment later.
      for (let tries = 0; tries < 200; tries++) {
        health = await server.health();
        if (health.active + health.queued === 0) break;
        await pause(25);
      }
      memory.push(await server.memory());
    }
    clients.end();
    await server.stop();
    return {
      seen: clients.seen,
      wrong: clients.wrong,
      memory,
      health,
      report: JSON.parse(readFileSync(report, 'utf8')) as RealSoak['report'],
    };
  } finally {
    server?.kill();
    rmSync(home, { recursive: true, force: true });
  }
}

/** What has to be true. `heap` and `rss`: bytes by which the later rounds may keep more than the earlier ones. */
export function judgeReal(soak: RealSoak, growth: { readonly heap: number; readonly rss: number; readonly resources: number }): void {
  const { seen, memory } = soak;
  expect(soak.wrong).toEqual([]);
  const kinds = ['streamed', 'left', 'whole', 'completed', 'dropped', 'full', 'oversized', 'no JSON', 'no message', 'too hot', 'too long'];
  for (const kind of kinds) expect(seen[kind] ?? 0, kind).toBeGreaterThan(0);
  expect(soak.health).toMatchObject({ active: 0, queued: 0 });
  // The first round loads code; of the others the later ones keep no more than the earlier ones.
  const later = memory.slice(1);
  const half = Math.floor(later.length / 2);
  const least = (of: (m: Memory) => number, part: readonly Memory[]): number => Math.min(...part.map(of));
  const grown = (of: (m: Memory) => number): number => least(of, later.slice(half)) - least(of, later.slice(0, half));
  expect(grown((m) => m.heapUsed)).toBeLessThan(growth.heap);
  expect(grown((m) => m.rss)).toBeLessThan(growth.rss);
  expect(grown((m) => m.resources)).toBeLessThanOrEqual(growth.resources);
}
