/** @file Servers of tests, and raw connections to them. */
import { connect, type Socket } from 'node:net';
import OpenAI from 'openai';
import { afterEach } from 'vitest';
import { type RequestLog, type ServeOptions, serveText, type TextServer } from '../../src/serve/index.js';
import { FakeEngine, type FakeOptions } from './fake-engine.js';

export interface Started {
  readonly server: TextServer;
  readonly engine: FakeEngine;
  readonly client: OpenAI;
  readonly log: RequestLog[];
  /** How many wait, as /health says. */
  queued(): Promise<number>;
  post(path: string, body: unknown, init?: RequestInit): Promise<Response>;
}

const open: TextServer[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((server) => server.close({ seconds: 0 })));
});

/** A server on a free port; closed after the test. */
export async function start(options: ServeOptions = {}, fake: FakeOptions = {}): Promise<Started> {
  const engine = new FakeEngine(fake);
  const log: RequestLog[] = [];
  const server = await serveText(engine, { port: 0, onRequest: (entry) => log.push(entry), ...options });
  open.push(server);
  const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: options.apiKey ?? 'none', maxRetries: 0 });
  const post = (path: string, body: unknown, init: RequestInit = {}): Promise<Response> =>
    fetch(`${server.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: typeof body === 'string' ? body : JSON.stringify(body),
      ...init,
    });
  const queued = async (): Promise<number> => ((await (await fetch(`${server.url}/health`)).json()) as { queued: number }).queued;
  return { server, engine, client, log, queued, post };
}

export const model = 'tests/fake';
export const hi = [{ role: 'user' as const, content: 'Hi' }];

/** Waits until `isSo`. Throws after `seconds`. */
export async function until(isSo: () => boolean, seconds = 30): Promise<void> {
  const end = performance.now() + 1000 * seconds;
  while (!isSo()) {
    if (performance.now() > end) throw new Error(`not within ${seconds} s: ${isSo}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A connection that has sent a POST and reads nothing. */
export function rawPost(server: Pick<TextServer, 'host' | 'port'>, path: string, body: unknown): Promise<Socket> {
  const text = JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const socket = connect(server.port, server.host, () => {
      socket.pause();
      socket.write(
        `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
        () => resolve(socket),
      );
    });
    socket.on('error', reject);
  });
}

interface ErrorBody {
  readonly error: { readonly message: string; readonly type: string; readonly param: string | null; readonly code: string | null };
}
/** Status and error of a response. */
export async function failureOf(response: Response): Promise<ErrorBody['error'] & { readonly status: number }> {
  const { error } = (await response.json()) as ErrorBody;
  return { status: response.status, ...error };
}
