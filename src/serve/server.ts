/** @file The app on a port of this machine: bound to loopback unless told, and closed so that clients get their answers. */
import type { AddressInfo } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { ConfigError, quote, reasonOf } from '../base/errors.js';
import type { TextEngine } from '../llm/text-engine.js';
import { type TextAppOptions, textApp } from './app.js';

export interface ServeOptions extends Omit<TextAppOptions, 'hosts'> {
  /** Default 127.0.0.1: this machine alone. */
  readonly host?: string;
  /** Default 8080; 0: any that is free. */
  readonly port?: number;
  /** Names by which clients may call it. Default: any; only loopback's own where it is bound to loopback and has no key. */
  readonly hosts?: readonly string[];
}

export interface TextServer {
  /** `http://127.0.0.1:8080`. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /**
   * Takes no more requests, lets those that are there end for `seconds` (default 10), cancels the rest. Ends when the port is free.
   * Called again: the same, with the shorter time.
   */
  close(options?: { readonly seconds?: number }): Promise<void>;
}

const LOOPBACK = ['localhost', '127.0.0.1', '[::1]'];
const isLoopback = (host: string): boolean => host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
const bracketed = (host: string): string => (host.includes(':') ? `[${host}]` : host);

/** More connections than any queue needs; each may hold a body. */
const MAX_CONNECTIONS = 1024;
/** Longer than clients and proxies keep an idle connection: the one who might use it next should be the one to close it. */
const KEEP_ALIVE_SECONDS = 65;
/** For clients to read why they were cancelled. */
const LAST_WORDS_SECONDS = 1;

/**
 * Serves `engine` as OpenAI's API: /v1/chat/completions, /v1/completions, /v1/models and /health.
 * Throws ConfigError for options that can't be and a port that is taken.
 */
export async function serveText(engine: TextEngine, options: ServeOptions = {}): Promise<TextServer> {
  checkOptions(engine, options);
  const { host = '127.0.0.1', port = 8080, ...rest } = options;
  // A page whose name was made to point to this machine would be of the server's own origin.
  const guard = isLoopback(host) && options.apiKey === undefined ? { hosts: [...new Set([...LOOPBACK, bracketed(host)])] } : {};
  const app = textApp(engine, { ...guard, ...rest });
  const server = createAdaptorServer({ fetch: app.fetch, hostname: host, overrideGlobalObjects: false });
  if (!('closeIdleConnections' in server)) throw new ConfigError('serveText: expected a server of HTTP/1.1.');
  server.maxConnections = MAX_CONNECTIONS;
  server.keepAliveTimeout = 1000 * KEEP_ALIVE_SECONDS;
  await new Promise<void>((resolve, reject) => {
    // It stays: a connection that could not be accepted later (no file handles left) is the client's loss, not the server's end.
    server.on('error', (error) => {
      const place = `${bracketed(host)}:${port}`;
      reject(new ConfigError(`serveText: can't listen on ${place} (${reasonOf(error)}). Choose another host or port.`, { cause: error }));
    });
    server.listen(port, host, resolve);
  });
  const bound = (server.address() as AddressInfo).port;

  let deadline = Number.POSITIVE_INFINITY;
  let isClosed = false;
  let closing: Promise<void> | null = null;
  const until = async (isDone: () => boolean, time: () => number): Promise<void> => {
    while (!isDone() && performance.now() < time()) {
      server.closeIdleConnections();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const close = async (): Promise<void> => {
    app.refuse();
    const closed = new Promise<void>((resolve) => {
      server.close(() => {
        isClosed = true;
        resolve();
      });
    });
    await until(
      () => app.open === 0,
      () => deadline,
    );
    app.cancel();
    // What was written last has been sent when its connection is idle, and so closed.
    const end = performance.now() + 1000 * LAST_WORDS_SECONDS;
    await until(
      () => isClosed,
      () => end,
    );
    server.closeAllConnections();
    await closed;
  };
  return {
    url: `http://${bracketed(host)}:${bound}`,
    host,
    port: bound,
    close({ seconds = 10 } = {}) {
      deadline = Math.min(deadline, performance.now() + 1000 * seconds);
      closing ??= close();
      return closing;
    },
  };
}

function checkOptions(engine: TextEngine, options: ServeOptions): void {
  const whole = (name: keyof ServeOptions, least: number, most: number): void => {
    const value = options[name];
    if (value !== undefined && !(typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most))
      throw new ConfigError(`serveText: ${name} must be a whole number. Expected ${least} to ${most}, received ${quote(value)}.`);
  };
  whole('port', 0, 65_535);
  whole('slots', 1, 4096);
  whole('maxQueue', 0, 1_000_000);
  whole('maxPromptTokens', 1, engine.contextLength - 1);
  whole('maxTokens', 1, engine.contextLength);
  whole('maxChoices', 1, 4096);
  whole('maxBodyBytes', 1, 2 ** 30);
  const { apiKey, stallSeconds } = options;
  if (apiKey !== undefined && apiKey.trim() === '') throw new ConfigError('serveText: apiKey is empty. Give one, or leave it out.');
  if (stallSeconds !== undefined && !(stallSeconds > 0))
    throw new ConfigError(`serveText: stallSeconds must be > 0, received ${stallSeconds}.`);
}
