import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { Agent, request } from 'node:http';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ConfigError } from '../../src/base/errors.js';
import { serveText, textApp } from '../../src/serve/index.js';
import { FakeEngine } from './fake-engine.js';
import { failureOf, hi, model, rawPost, start, until } from './support.js';

const chat = '/v1/chat/completions';
/** Greedy, and long: 'the ' has no end of its own. */
const long = { messages: hi, temperature: 0, stream: true };
const endless = { word: () => 'the ', contextLength: 1_000_000 };

afterEach(() => {
  vi.restoreAllMocks();
});

describe('slots and queue', () => {
  it('works on as many as there are slots', async () => {
    const { post, engine } = await start({ slots: 2, maxQueue: 10 }, { milliseconds: 5 });
    const answers = Array.from({ length: 8 }, (_, i) => post('/v1/completions', { prompt: `${i}`, max_tokens: 30, temperature: 0 }));
    expect((await Promise.all(answers)).map((r) => r.status)).toEqual([200, 200, 200, 200, 200, 200, 200, 200]);
    expect(engine.peak).toBe(2);
  });

  it('refuses with 429 and Retry-After when the queue is full, and takes more when there is room again', async () => {
    const { post, engine, server, queued } = await start({ slots: 1, maxQueue: 2 }, endless);
    const first = await post(chat, long);
    const leaving = new AbortController();
    const waiting = [1, 2].map(() => post(chat, long, { signal: leaving.signal }).catch(() => null));
    while ((await queued()) < 2);
    expect(await (await fetch(`${server.url}/health`)).json()).toEqual({
      status: 'ok',
      model,
      active: 1,
      queued: 2,
      slots: 1,
      maxQueue: 2,
    });
    const response = await post(chat, long);
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect(await failureOf(response)).toMatchObject({ status: 429, type: 'rate_limit_error', code: 'rate_limit_exceeded' });
    leaving.abort();
    await Promise.all(waiting);
    while ((await queued()) > 0);
    const next = post(chat, { messages: hi, max_tokens: 2 });
    await first.body?.cancel();
    expect((await next).status).toBe(200);
    expect(engine.started).toBe(2);
  });

  it('counts every choice', async () => {
    const { post, engine } = await start({ slots: 1, maxQueue: 3 }, endless);
    const socket = await post(chat, { ...long, n: 3 });
    await until(() => engine.active === 1);
    expect((await post(chat, { ...long, n: 2 })).status).toBe(429);
    await socket.body?.cancel();
    await until(() => engine.active === 0);
    expect((await post(chat, { messages: hi, n: 2, max_tokens: 3 })).status).toBe(200);
  });

  it('takes many choices at once without a warning of Node', async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error): void => void warnings.push(warning);
    process.on('warning', onWarning);
    const { post, engine } = await start({ slots: 1 });
    const response = await post('/v1/completions', { prompt: Array.from({ length: 20 }, (_, i) => `${i}`), max_tokens: 2, n: 2 });
    expect(response.status).toBe(200);
    expect(engine.started).toBe(40);
    await new Promise((resolve) => setImmediate(resolve));
    process.off('warning', onWarning);
    expect(warnings).toEqual([]);
  });

  it("OpenAI's client waits as Retry-After says and comes through", async () => {
    const { client, post, engine, log } = await start({ slots: 1, maxQueue: 0 }, endless);
    const first = await post(chat, long);
    await until(() => engine.active === 1);
    const began = performance.now();
    const asked = client.chat.completions.create({ model, messages: hi, max_tokens: 2 }, { maxRetries: 4 });
    await until(() => log.length === 1);
    expect(log[0]).toMatchObject({ status: 429, outcome: 'refused' });
    await first.body?.cancel();
    expect((await asked).choices).toHaveLength(1);
    expect(performance.now() - began).toBeGreaterThan(900);
  });
});

describe('clients that go', () => {
  it('one that waits leaves the queue, and never reaches the engine', async () => {
    const { post, engine, log, queued } = await start({ slots: 1, maxQueue: 1 }, endless);
    const first = await post(chat, long);
    const controller = new AbortController();
    const second = post(chat, long, { signal: controller.signal });
    while ((await queued()) < 1);
    expect((await post(chat, long)).status).toBe(429);
    controller.abort();
    await expect(second).rejects.toThrow();
    await until(() => log.some((entry) => entry.outcome === 'cancelled'));
    const third = post(chat, { messages: hi, max_tokens: 2 });
    await first.body?.cancel();
    expect((await third).status).toBe(200);
    expect(engine.started).toBe(2);
    await until(() => engine.active === 0);
  });

  it.each([true, false])('one that is being answered stops the work (stream: %s)', async (stream) => {
    const { server, engine, log } = await start({}, endless);
    const socket = await rawPost(server, chat, { ...long, stream });
    socket.resume();
    await until(() => engine.made > 5);
    socket.destroy();
    await until(() => engine.active === 0);
    await until(() => log.length === 1);
    expect(log[0]).toMatchObject({ status: 499, outcome: 'cancelled' });
    expect(log[0].completionTokens).toBeGreaterThan(5);
  });

  it('one that goes in the middle of its body costs nothing', async () => {
    const { server, engine, log } = await start();
    let begun = 0;
    const onBegin = (): void => void begun++;
    subscribe('http.server.request.start', onBegin);
    const socket = await rawPost(server, '/health', {});
    socket.write(`POST ${chat} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"messages"`);
    await until(() => begun === 2);
    unsubscribe('http.server.request.start', onBegin);
    socket.destroy();
    await until(() => log.length === 2);
    expect(log[1]).toMatchObject({ outcome: 'cancelled', status: 499 });
    expect(engine.started).toBe(0);
  });
});

describe('clients that are slow', () => {
  // 64 KiB a token: what the connection itself holds is full soon.
  const wide = { word: () => 'x'.repeat(65_536), contextLength: 1_000_000, milliseconds: 0 };

  it('slow the work down: nothing piles up', async () => {
    const { server, engine } = await start({}, wide);
    const socket = await rawPost(server, chat, long);
    let made = -1;
    while (engine.made !== made || made === 0) {
      made = engine.made;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    // Whatever the kernel keeps of a connection on this machine (some MB), and no more.
    expect(made * 65_536).toBeLessThan(32e6);
    expect(engine.active).toBe(1);
    socket.resume();
    await until(() => engine.made > made + 50);
    socket.destroy();
    await until(() => engine.active === 0);
  });

  it('are hung up on when they take nothing at all', async () => {
    const { server, engine, log } = await start({ stallSeconds: 0.3 }, wide);
    const socket = await rawPost(server, chat, long);
    await until(() => engine.made > 0);
    await until(() => engine.active === 0);
    await until(() => log.length === 1);
    expect(log[0].outcome).toBe('cancelled');
    socket.on('error', () => undefined);
    socket.resume();
    await until(() => socket.destroyed);
  });

  it('are hung up on without a connection too', async () => {
    const engine = new FakeEngine(wide);
    const app = textApp(engine, { stallSeconds: 0.2 });
    const headers = { 'content-type': 'application/json' };
    const response = await app.fetch(new Request(`http://localhost${chat}`, { method: 'POST', headers, body: JSON.stringify(long) }));
    expect(response.status).toBe(200);
    await until(() => engine.active === 0 && app.open === 0);
    await expect(response.text()).rejects.toThrow();
  });

  it('that come back in time lose nothing', async () => {
    const { post, engine } = await start({ stallSeconds: 10 }, { ...wide, contextLength: 200 });
    const response = await post(chat, { ...long, stream_options: { include_usage: true } });
    const reader = response.body?.getReader();
    let text = '';
    const decoder = new TextDecoder();
    for (let i = 0; ; i++) {
      const chunk = await reader?.read();
      if (!chunk?.value) break;
      text += decoder.decode(chunk.value, { stream: true });
      if (i % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
    expect(text.match(/x{65536}/g)).toHaveLength(200 - engine.expect(hi, {}).promptTokens);
  });
});

describe('who may use it', () => {
  it('those who know the key', async () => {
    const { server, client, post } = await start({ apiKey: 'sesame' });
    expect((await client.models.list()).data).toHaveLength(1);
    const authorizations = [undefined, 'sesame', 'Bearer', 'Bearer ', 'Bearer sesame2', 'Basic sesame', 'Bearer Sesame'];
    const statuses: number[] = [];
    for (const authorization of authorizations) {
      const headers = { 'content-type': 'application/json', ...(authorization && { authorization }) };
      const response = await post(chat, { messages: hi, max_tokens: 1 }, { headers });
      statuses.push(response.status);
      if (response.status === 401) expect(await failureOf(response)).toMatchObject({ code: 'invalid_api_key' });
    }
    expect(statuses).toEqual([401, 401, 401, 401, 401, 401, 401]);
    expect((await fetch(`${server.url}/health`)).status).toBe(200);
    expect((await fetch(`${server.url}/v1/models`)).status).toBe(401);
  });

  it('not pages of other origins, unless told', async () => {
    const closed = await start();
    const asked = { method: 'OPTIONS', headers: { origin: 'http://a.example', 'access-control-request-method': 'POST' } };
    const refused = await fetch(`${closed.server.url}${chat}`, asked);
    expect(refused.headers.get('access-control-allow-origin')).toBeNull();
    const open = await start({ cors: ['http://a.example'], apiKey: 'sesame' });
    const allowed = await fetch(`${open.server.url}${chat}`, asked);
    expect([allowed.status, allowed.headers.get('access-control-allow-origin')]).toEqual([204, 'http://a.example']);
    const answer = await open.post(chat, {}, { headers: { origin: 'http://a.example' } });
    expect([answer.status, answer.headers.get('access-control-allow-origin')]).toEqual([401, 'http://a.example']);
    const other = await fetch(`${open.server.url}${chat}`, { ...asked, headers: { ...asked.headers, origin: 'http://b.example' } });
    expect(other.headers.get('access-control-allow-origin')).toBeNull();
  });

  it('not under a name that was made to point here', async () => {
    const { server } = await start();
    const asked = (host: string): Promise<{ status: number | undefined; text: string }> =>
      new Promise((resolve, reject) => {
        request({ port: server.port, path: '/v1/models', headers: { host } }, (response) => {
          let text = '';
          response.setEncoding('utf8').on('data', (piece: string) => {
            text += piece;
          });
          response.on('end', () => resolve({ status: response.statusCode, text }));
        })
          .on('error', reject)
          .end();
      });
    const refusal = await asked('evil.example');
    expect(refusal.status).toBe(403);
    expect(refusal.text).toContain('Expected localhost, 127.0.0.1, [::1].');
    expect((await asked(`localhost:${server.port}`)).status).toBe(200);
    expect((await asked('127.0.0.1')).status).toBe(200);
  });
});

describe('limits', () => {
  it('bodies over the limit: 413, with and without a length', async () => {
    const { post, engine, server } = await start({ maxBodyBytes: 10_000 });
    const content = 'x'.repeat(20_000);
    const body = JSON.stringify({ messages: [{ role: 'user', content }] });
    expect(await failureOf(await post(chat, body))).toMatchObject({ status: 413, code: 'request_too_large' });
    const chunked = (pieces: number): RequestInit & { duplex: string } => ({
      body: new ReadableStream({
        pull(controller) {
          if (pieces-- > 0) controller.enqueue(new TextEncoder().encode(content));
          else controller.close();
        },
      }),
      duplex: 'half',
    });
    expect((await post(chat, '', chunked(1))).status).toBe(413);
    // One who sends on and on is hung up on; whether it reads the answer before is its own matter.
    const endless = await post(chat, '', chunked(Number.POSITIVE_INFINITY)).then(
      (response) => response.status,
      () => 413,
    );
    expect(endless).toBe(413);
    const socket = await rawPost(server, chat, {});
    socket.write(`POST ${chat} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000000000000\r\n\r\n{`);
    let answer = '';
    socket
      .resume()
      .setEncoding('utf8')
      .on('data', (text: string) => {
        answer += text;
      });
    await until(() => answer.includes('request_too_large') && socket.destroyed);
    expect(engine.started).toBe(0);
    expect((await post(chat, { messages: hi, max_tokens: 1 })).status).toBe(200);
  });

  it('refusals leave the connection to the next request', async () => {
    const { server } = await start({ maxBodyBytes: 10_000, apiKey: 'sesame', slots: 1, maxQueue: 0 });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const sockets = new Set<unknown>();
    const send = (path: string, headers: Record<string, string>, body: string): Promise<number | undefined> =>
      new Promise((resolve, reject) => {
        const sent = request(`${server.url}${path}`, { method: 'POST', agent, headers }, (response) => {
          sockets.add(response.socket);
          response.resume().on('end', () => resolve(response.statusCode));
        });
        sent.on('error', reject).end(body);
      });
    const headers = { authorization: 'Bearer sesame', 'content-type': 'application/json' };
    const good = JSON.stringify({ messages: hi, max_tokens: 1 });
    const statuses: (number | undefined)[] = [];
    statuses.push(await send(chat, headers, 'x'.repeat(1_000_000)));
    statuses.push(await send(chat, { ...headers, authorization: 'Bearer no' }, good));
    statuses.push(await send(chat, { ...headers, 'content-type': 'text/plain' }, good));
    statuses.push(await send('/v1/nothing', headers, 'x'.repeat(1_000_000)));
    statuses.push(await send(chat, headers, JSON.stringify({ messages: hi, n: 2 })));
    statuses.push(await send(chat, headers, '{'));
    statuses.push(await send(chat, headers, good));
    expect(statuses).toEqual([413, 401, 415, 404, 400, 400, 200]);
    expect(sockets.size).toBe(1);
    agent.destroy();
  });

  it('an answer ends at the end of the context, with the reason', async () => {
    const { post, engine } = await start({}, { ...endless, contextLength: 40 });
    const { promptTokens } = engine.expect(hi, {});
    const answer = (await (await post(chat, { messages: hi, max_tokens: 39 })).json()) as {
      usage: { completion_tokens: number };
      choices: { finish_reason: string }[];
    };
    expect(answer.usage.completion_tokens).toBe(40 - promptTokens);
    expect(answer.choices[0].finish_reason).toBe('length');
  });

  it.each([
    [{ port: -1 }, 'port'],
    [{ slots: 0 }, 'slots'],
    [{ maxQueue: 1.5 }, 'maxQueue'],
    [{ maxTokens: 2000 }, 'maxTokens'],
    [{ apiKey: ' ' }, 'apiKey'],
    [{ stallSeconds: 0 }, 'stallSeconds'],
  ])('options that can not be: %o', async (options, name) => {
    await expect(serveText(new FakeEngine(), options)).rejects.toThrow(ConfigError);
    await expect(serveText(new FakeEngine(), options)).rejects.toThrow(`serveText: ${name}`);
  });

  it('a port that is taken', async () => {
    const { server } = await start();
    await expect(serveText(new FakeEngine(), { port: server.port })).rejects.toThrow(/can't listen on 127\.0\.0\.1:\d+ .*EADDRINUSE/);
  });
});

describe('closing', () => {
  it('lets answers end, refuses new ones, frees the port', async () => {
    const { server, engine, post, log, queued } = await start({ slots: 1 });
    let letGo = (): void => undefined;
    const body = { messages: hi, temperature: 0, max_tokens: 40, stream: true };
    const expected = engine.expect(hi, { maxTokens: 40, temperature: 0 });
    const running = await post(chat, body);
    engine.held = new Promise((resolve) => {
      letGo = resolve;
    });
    const waiting = post(chat, { ...body, stream: false });
    while ((await queued()) < 1);
    const closed = server.close();
    letGo();
    expect((await running.text()).endsWith('data: [DONE]\n\n')).toBe(true);
    const answer = (await (await waiting).json()) as { choices: { message: { content: string } }[] };
    expect(answer.choices[0].message.content).toBe(expected.text);
    await closed;
    const chats = log.filter(({ path }) => path === chat);
    expect(chats.map((entry) => entry.outcome)).toEqual(['answered', 'answered']);
    await expect(post(chat, body)).rejects.toThrow();
    const again = await serveText(engine, { port: server.port });
    await again.close();
  });

  it('cancels what takes longer than the limit, and says so', async () => {
    const { server, engine, client, queued } = await start({ slots: 1 }, endless);
    const stream = await client.chat.completions.create({ model, messages: hi, temperature: 0, stream: true });
    const waiting = client.chat.completions.create({ model, messages: hi, temperature: 0 });
    const refused = expect(waiting).rejects.toMatchObject({ status: 503, code: 'shutting_down' });
    while ((await queued()) < 1);
    await until(() => engine.made > 3);
    const began = performance.now();
    const closed = server.close({ seconds: 0.3 });
    const read = async (): Promise<void> => {
      for await (const _ of stream);
    };
    await expect(read()).rejects.toMatchObject({ code: 'shutting_down' });
    await refused;
    await closed;
    expect(performance.now() - began).toBeLessThan(8000);
    expect(engine.active).toBe(0);
  });

  it('hangs up on clients that read nothing', async () => {
    const { server, engine } = await start({}, { word: () => 'x'.repeat(65_536), contextLength: 100_000, milliseconds: 0 });
    const socket = await rawPost(server, chat, long);
    socket.on('error', () => undefined);
    await until(() => engine.made > 0);
    await server.close({ seconds: 0.1 });
    // What was cancelled ends in turns of its own.
    await until(() => engine.active === 0);
    await server.close();
  });
});

it('writes nothing to the terminal, whatever clients do', async () => {
  const writes = [vi.spyOn(process.stdout, 'write'), vi.spyOn(process.stderr, 'write')];
  const prints = (['log', 'info', 'warn', 'error', 'debug'] as const).map((name) => vi.spyOn(console, name));
  const { server, engine, post } = await start({ stallSeconds: 0.2 }, { ...endless, word: () => 'x'.repeat(65_536) });
  for (let i = 0; i < 10; i++) {
    const socket = await rawPost(server, chat, { ...long, stream: i % 2 === 0 });
    socket.on('error', () => undefined);
    setTimeout(() => socket.destroy(), 10 + 30 * i);
  }
  await post(chat, '{');
  engine.fault = { error: new Error('x'), after: 0 };
  await post(chat, long);
  await until(() => engine.active === 0);
  await server.close({ seconds: 1 });
  for (const spy of [...writes, ...prints]) expect(spy).not.toHaveBeenCalled();
});
