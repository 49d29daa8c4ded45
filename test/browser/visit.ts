/**
 * @file Visits to pages of a test: a server on 127.0.0.1 (secure enough for SharedArrayBuffer) gives the page's files to a headless
 * Chromium, and the page posts what it finds to `/report/<name>`.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname } from 'node:path';
import { openChromium } from '../../scripts/chromium.js';
import { chromium } from './chromium.js';

export interface Page {
  /** By path; "/" is the page. */
  readonly files: Readonly<Record<string, string | Uint8Array>>;
  /** With the two headers of cross-origin isolation, and so with SharedArrayBuffer. */
  readonly isIsolated?: boolean;
  /** The header Content-Security-Policy, on every answer: workers obey that of their own script. */
  readonly contentSecurityPolicy?: string;
  /** Milliseconds without a report after which the visit fails. */
  readonly patience?: number;
}
export interface Report {
  readonly name: string;
  readonly body: Uint8Array;
}

const types: Readonly<Record<string, string>> = {
  '': 'text/html',
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.json': 'application/json',
};

/** What the page reported, up to the report "done". Rejects when it reports "failed", falls silent, or the browser ends. */
export async function visit(page: Page): Promise<Report[]> {
  const reports: Report[] = [];
  let settle: { done(): void; failed(error: Error): void } = { done: () => undefined, failed: () => undefined };
  const finished = new Promise<void>((done, failed) => {
    settle = { done, failed };
  });
  finished.catch(() => undefined);
  const patience = page.patience ?? 60_000;
  const silence = setTimeout(() => {
    settle.failed(new Error(`the page said nothing for ${patience} ms; its last report: ${reports.at(-1)?.name ?? 'none'}`));
  }, patience);
  const server = createServer((request, response) => {
    answer(page, request, response, (report) => {
      silence.refresh();
      if (report.name === 'failed') settle.failed(new Error(`the page failed: ${new TextDecoder().decode(report.body)}`));
      else if (report.name === 'done') settle.done();
      else reports.push(report);
    }).catch((error: unknown) => settle.failed(error instanceof Error ? error : new Error(String(error))));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  if (chromium === null) throw new Error('there is no chromium');
  const browser = openChromium(chromium, `http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  try {
    await Promise.race([finished, browser.ended]);
    return reports;
  } finally {
    clearTimeout(silence);
    await browser.close();
    server.closeAllConnections();
    server.close();
  }
}

async function answer(page: Page, request: IncomingMessage, response: ServerResponse, report: (r: Report) => void): Promise<void> {
  const path = new URL(request.url ?? '/', 'http://page').pathname;
  response.setHeader('Cache-Control', 'no-store');
  if (page.isIsolated) {
    response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
    response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
  }
  if (page.contentSecurityPolicy) response.setHeader('Content-Security-Policy', page.contentSecurityPolicy);
  if (request.method === 'POST' && path.startsWith('/report/')) {
    const pieces: Uint8Array[] = [];
    for await (const piece of request as AsyncIterable<Uint8Array>) pieces.push(piece);
    response.end();
    report({ name: path.slice('/report/'.length), body: Buffer.concat(pieces) });
    return;
  }
  const file = Object.hasOwn(page.files, path) ? page.files[path] : null;
  if (file === null) response.statusCode = 404;
  else response.setHeader('Content-Type', `${types[extname(path)] ?? 'application/octet-stream'}; charset=utf-8`);
  response.end(file ?? '');
}

/** The report of that name as JSON. Throws when it is not there. */
export function jsonOf<T>(reports: readonly Report[], name: string): T {
  const found = reports.find((r) => r.name === name);
  if (!found) throw new Error(`the page did not report "${name}", only ${reports.map((r) => r.name).join(', ')}`);
  return JSON.parse(new TextDecoder().decode(found.body)) as T;
}
