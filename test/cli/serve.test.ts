import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { addServeCommand, type ServeCommandOptions } from '../../src/cli/serve-command.js';
import { ensureBuilt, root } from './built.js';

describe('options', () => {
  const parse = async (...args: string[]): Promise<{ model: string; options: ServeCommandOptions } | null> => {
    let seen: { model: string; options: ServeCommandOptions } | null = null;
    const program = new Command('tenon').exitOverride();
    addServeCommand(program, async (model, options) => {
      seen = { model, options };
    });
    for (const c of program.commands) c.exitOverride().configureOutput({ outputError: () => undefined });
    await program.parseAsync(['serve', ...args], { from: 'user' });
    return seen;
  };

  it('have defaults: loopback, 4 slots, no key', async () => {
    const seen = await parse('dir');
    expect(seen).toEqual({ model: 'dir', options: { host: '127.0.0.1', port: 8080, slots: 4, maxQueue: 64 } });
  });
  it('are read', async () => {
    const seen = await parse(
      ...['dir', '--host', '::', '--port', '0', '--api-key', 'k', '--slots', '8', '--max-queue', '0', '--max-prompt', '9'],
      ...['--weights', 'bf16', '--quantize', 'nf4', '--dtype', 'bf16', '--device', 'wasm', '--chat-template', 't.jinja'],
      ...['--max-tokens', '5', '--context', '20', '--cors', 'http://a', 'http://b', '--json', 'r.json'],
    );
    expect(seen?.options).toEqual({
      host: '::',
      port: 0,
      apiKey: 'k',
      slots: 8,
      maxQueue: 0,
      maxPrompt: 9,
      maxTokens: 5,
      context: 20,
      weights: 'bf16',
      quantize: 'nf4',
      dtype: 'bf16',
      device: 'wasm',
      chatTemplate: 't.jinja',
      cors: ['http://a', 'http://b'],
      json: 'r.json',
    });
  });
  it.each([
    ['--port', '70000'],
    ['--slots', '0'],
    ['--max-queue', '-1'],
    ['--context', '1'],
    ['--max-tokens', 'many'],
  ])('%s %s is refused', async (...args) => {
    await expect(parse('dir', ...args)).rejects.toThrow('Expected a whole number');
  });
});

/** The command over an engine that says 'the ' forever. */
const script = `
import { serve } from ${JSON.stringify(join(root, 'dist/cli/commands/serve.js'))};
import { errorText, exitCodeOf } from ${JSON.stringify(join(root, 'dist/cli/failure.js'))};
const engine = {
  modelId: 'fake', contextLength: 100, queued: 0, active: 0, hasChatTemplate: process.env.FAKE_CHAT !== 'no',
  countTokens: (t) => t.length, encode: (t) => Int32Array.from(t, () => 1), renderChat: (m) => Int32Array.from(m, () => 1),
  async *generate(prompt, { maxTokens, signal }) {
    for (let i = 0; i < maxTokens; i++) {
      await new Promise((resolve) => setTimeout(resolve, 30));
      signal.throwIfAborted();
      yield { text: 'the ', tokens: 1, finish: i === maxTokens - 1 ? 'length' : null };
    }
  },
  async close() { console.log('engine closed'); },
};
try {
  await serve(process.argv[1], JSON.parse(process.argv[2]), async (dir, { signal, ...options }) => {
    console.log('opened ' + JSON.stringify({ dir, ...options }));
    return engine;
  });
} catch (error) {
  process.stderr.write(errorText(error) + '\\n');
  process.exitCode = exitCodeOf(error);
}
`;

describe('the command', () => {
  let folder: string;
  const running: ChildProcess[] = [];
  beforeAll(async () => {
    await ensureBuilt();
    folder = await mkdtemp(join(tmpdir(), 'tenon-serve-'));
  }, 600_000);
  afterAll(() => rm(folder, { recursive: true, force: true }));
  afterEach(() => {
    for (const child of running.splice(0)) child.kill('SIGKILL');
  });

  /** The command in a process of its own: what it prints, its URL once it listens, its end. */
  const launch = (options: Partial<ServeCommandOptions>, dir = folder, env: Record<string, string> = {}) => {
    const all = { host: '127.0.0.1', port: 0, slots: 2, maxQueue: 4, ...options };
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script, dir, JSON.stringify(all)], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    running.push(child);
    const out = { stdout: '', stderr: '' };
    const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
    const url = new Promise<string>((resolve, reject) => {
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        out.stdout += text;
        const found = /Try: .*(http:\/\/[^/]+)\//.exec(out.stdout);
        if (found) resolve(found[1]);
      });
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        out.stderr += text;
      });
      child.on('close', () => reject(new Error(out.stderr)));
    });
    url.catch(() => undefined);
    return { child, out, ended, url };
  };
  const ask = (url: string, body: object): Promise<Response> =>
    fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ messages: [{ role: 'user', content: 'Hi' }], ...body }),
    });

  it('says where it listens and how to try it, logs requests, lets answers end at Ctrl-C', async () => {
    const json = join(folder, 'served.json');
    const { child, out, ended, url } = launch({ json });
    const address = await url;
    expect(out.stdout).toContain('opened {"dir":');
    expect(out.stdout).toContain('"slots":2,"chatTemplate":"chatml","replacesTemplate":false');
    expect(out.stdout).toContain('fake: context 100 tokens, 2 slots, 4 may wait');
    expect(out.stdout).toMatch(/Listening on http:\/\/127\.0\.0\.1:\d+\/v1\. Ctrl-C stops\./);
    expect(out.stdout).toMatch(/Try: curl -N http:\S+\/v1\/chat\/completions -H 'Content-Type: application\/json' -d '\{"model":"fake",/);
    expect((await ask(address, { max_tokens: 2 })).status).toBe(200);
    expect((await ask(address, { temperature: 9 })).status).toBe(400);
    await fetch(`${address}/%1b[31mred`);
    const stream = await ask(address, { max_tokens: 20, stream: true });
    child.kill('SIGINT');
    expect((await stream.text()).endsWith('data: [DONE]\n\n')).toBe(true);
    expect(await ended).toBe(0);
    expect(out.stderr).toContain('stopping; answers that are under way get 10 s.');
    expect(out.stdout).toMatch(/200 POST \/v1\/chat\/completions answered, 1 \+ 2 tokens in [\d.]+ s, the first after [\d.]+ s\n/);
    expect(out.stdout).toMatch(/400 POST \/v1\/chat\/completions refused in [\d.]+ s: temperature: /);
    expect(out.stdout).toMatch(/404 GET \/ ?\[31mred refused/);
    expect(out.stdout).not.toContain('\x1b');
    expect(out.stdout).toMatch(/Served 4 requests, 2 \+ 22 tokens\.\nengine closed\n$/);
    expect(JSON.parse(await readFile(json, 'utf8'))).toMatchObject({
      model: 'fake',
      requests: 4,
      answered: 2,
      refused: 2,
      cancelled: 0,
      failed: 0,
      promptTokens: 2,
      completionTokens: 22,
    });
  });

  it('quits at the second Ctrl-C', async () => {
    const { child, out, ended, url } = launch({});
    const stream = await ask(await url, { max_tokens: 99, stream: true });
    child.kill('SIGINT');
    while (!out.stderr.includes('stopping')) await new Promise((resolve) => setTimeout(resolve, 20));
    child.kill('SIGINT');
    expect(await ended).toBe(130);
    await stream.text().catch(() => undefined);
  });

  it('shows the example that works: completions for a model without a template, the key where there is one', async () => {
    const { child, ended, out, url } = launch({ apiKey: 'sesame', host: '0.0.0.0' }, folder, { FAKE_CHAT: 'no' });
    const address = await url;
    expect(out.stdout).toContain(`curl -N ${address}/v1/completions -H "Authorization: Bearer $TENON_API_KEY" -H`);
    expect((await fetch(`${address}/v1/models`)).status).toBe(401);
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
    expect(`${out.stdout}${out.stderr}`).not.toMatch(/sesame|whoever/);
  });

  it('warns when everybody may use it', async () => {
    const { out, url } = launch({ host: '0.0.0.0' });
    await url;
    while (out.stderr === '') await new Promise((resolve) => setTimeout(resolve, 20));
    expect(out.stderr).toContain('whoever reaches this machine may use the model. Give --api-key');
  });

  it('says what is wrong with the command line, exit code 2', async () => {
    const missing = launch({ chatTemplate: join(folder, 'nowhere') });
    expect([await missing.ended, missing.out.stderr]).toEqual([2, expect.stringContaining("nowhere can't be read")]);
    const tight = launch({ maxPrompt: 100 });
    expect([await tight.ended, tight.out.stderr]).toEqual([2, expect.stringContaining('Expected at most 99.')]);
    expect(tight.out.stdout).toContain('engine closed');
    const first = launch({});
    const taken = launch({ port: Number(new URL(await first.url).port) });
    expect([await taken.ended, taken.out.stderr]).toEqual([2, expect.stringContaining('EADDRINUSE')]);
  });
});
