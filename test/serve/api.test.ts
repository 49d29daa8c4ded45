import OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import { ConfigError, InternalError } from '../../src/base/errors.js';
import { failureOf, hi, model, start, until } from './support.js';

/** Pieces of a stream, joined by choice. */
async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const parts: T[] = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

describe("OpenAI's client, chats", () => {
  it('gets a whole answer with its usage', async () => {
    const { client, engine, log } = await start();
    const expected = engine.expect(hi, { maxTokens: 30, seed: 3 });
    const answer = await client.chat.completions.create({ model, messages: hi, max_tokens: 30, seed: 3 });
    expect(answer).toMatchObject({
      object: 'chat.completion',
      model,
      choices: [{ index: 0, message: { role: 'assistant', content: expected.text }, finish_reason: expected.finish }],
      usage: {
        prompt_tokens: expected.promptTokens,
        completion_tokens: expected.completionTokens,
        total_tokens: expected.promptTokens + expected.completionTokens,
      },
    });
    expect(answer.id).toMatch(/^chatcmpl-/);
    expect(Math.abs(answer.created - Date.now() / 1000)).toBeLessThan(5);
    expect(log).toMatchObject([{ method: 'POST', path: '/v1/chat/completions', status: 200, outcome: 'answered', error: null }]);
    expect(log[0]).toMatchObject({ promptTokens: expected.promptTokens, completionTokens: expected.completionTokens });
    expect(log[0].firstTokenSeconds).toBeLessThanOrEqual(log[0].seconds);
  });

  it('gets a stream: a role, pieces, a reason, and the usage where it asks', async () => {
    const { client, engine } = await start();
    const expected = engine.expect(hi, { maxTokens: 40 });
    const parts = await collect(
      await client.chat.completions.create({ model, messages: hi, max_tokens: 40, stream: true, stream_options: { include_usage: true } }),
    );
    expect(parts[0].choices[0].delta).toMatchObject({ role: 'assistant', content: '' });
    expect(parts.map((p) => p.choices[0]?.delta.content ?? '').join('')).toBe(expected.text);
    expect(parts.at(-2)?.choices[0].finish_reason).toBe(expected.finish);
    expect(parts.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: expected.completionTokens } });
    expect(parts.slice(0, -1).every((p) => p.usage === null)).toBe(true);
    expect(new Set(parts.map((p) => p.id)).size).toBe(1);
    const plain = await collect(await client.chat.completions.create({ model, messages: hi, max_tokens: 4, stream: true }));
    expect(plain.every((p) => p.choices.length === 1 && p.usage === undefined)).toBe(true);
  });

  it('gets pieces as they are made', async () => {
    const { client, engine } = await start({}, { milliseconds: 20 });
    const stream = await client.chat.completions.create({ model, messages: hi, max_tokens: 50, temperature: 0, stream: true });
    const madeAt: number[] = [];
    for await (const part of stream) if (part.choices[0].delta.content) madeAt.push(engine.made);
    expect(madeAt.length).toBeGreaterThan(5);
    expect(madeAt[0]).toBeLessThan(3);
    expect(madeAt[4]).toBeLessThan(8);
  });

  it('gets n choices, each of a seed of its own, whole and streamed', async () => {
    const { client, engine } = await start();
    const expected = [5, 6, 7].map((seed) => engine.expect(hi, { maxTokens: 12, seed }));
    expect(new Set(expected.map((e) => e.text)).size).toBe(3);
    const body = { model, messages: hi, max_tokens: 12, seed: 5, n: 3 };
    const answer = await client.chat.completions.create(body);
    expect(answer.choices.map((c) => c.message.content)).toEqual(expected.map((e) => e.text));
    expect(answer.choices.map((c) => c.index)).toEqual([0, 1, 2]);
    expect(answer.usage?.completion_tokens).toBe(expected.reduce((sum, e) => sum + e.completionTokens, 0));
    const texts = ['', '', ''];
    for await (const { choices } of await client.chat.completions.create({ ...body, stream: true }))
      for (const { index, delta } of choices) texts[index] += delta.content ?? '';
    expect(texts).toEqual(expected.map((e) => e.text));
  });

  it('stops before stop strings', async () => {
    const { client, engine } = await start();
    const { text } = engine.expect(hi, { maxTokens: 100, temperature: 0 });
    const second = text.split(' ')[2];
    for (const stop of [second, ['never said', second]]) {
      const { choices } = await client.chat.completions.create({ model, messages: hi, max_tokens: 100, temperature: 0, stop });
      expect(choices[0].message.content).toBe(text.slice(0, text.indexOf(second)));
      expect(choices[0].finish_reason).toBe('stop');
    }
  });

  it('may send content as parts of text, names, and the newer role', async () => {
    const { client, engine } = await start();
    const { choices } = await client.chat.completions.create({
      model,
      max_completion_tokens: 20,
      messages: [
        {
          role: 'developer',
          content: [
            { type: 'text', text: 'Be ' },
            { type: 'text', text: 'brief.' },
          ],
        },
        { role: 'user', name: 'Ada', content: 'Hi' },
      ],
    });
    const seen = [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'Hi' },
    ];
    expect(choices[0].message.content).toBe(engine.expect(seen, { maxTokens: 20 }).text);
  });

  it('has its parameters reach the engine', async () => {
    const { post, engine } = await start();
    const asked = { temperature: 0.5, top_p: 0.9, top_k: 40, min_p: 0.05, repetition_penalty: 1.1, seed: -1, stop: 'x', max_tokens: 7 };
    await post('/v1/chat/completions', { messages: hi, ...asked, user: 'me', metadata: { any: 'thing' }, store: null });
    expect(engine.last).toMatchObject({
      temperature: 0.5,
      topP: 0.9,
      topK: 40,
      minP: 0.05,
      repetitionPenalty: 1.1,
      seed: 2 ** 31 - 1,
      stop: ['x'],
      maxTokens: 7,
    });
    await post('/v1/chat/completions', { messages: hi, temperature: null, top_k: -1, stop: null, n: null, stream: null });
    const room = engine.contextLength - engine.expect(hi, {}).promptTokens;
    expect(engine.last).toMatchObject({ temperature: 1, topP: 1, topK: 0, minP: 0, repetitionPenalty: 1, stop: [], maxTokens: room });
    expect(engine.last?.seed).toBeUndefined();
    expect((await post('/v1/chat/completions', { messages: hi, top_p: 0 })).status).toBe(200);
    expect(engine.last).toMatchObject({ topP: 0 });
  });
  it('is told the field of what the engine refuses', async () => {
    const { post, engine } = await start();
    for (const [path, body, param] of [
      ['/v1/completions', { prompt: [999_999] }, 'prompt'],
      ['/v1/chat/completions', { messages: hi }, 'messages'],
    ] as const) {
      engine.fault = { error: new ConfigError('generate: the prompt has token 999999. Expected 0 to 255.'), after: 0 };
      expect(await failureOf(await post(path, body))).toMatchObject({ status: 400, param, message: expect.stringContaining('999999') });
    }
  });
});

describe("OpenAI's client, completions", () => {
  it('gets answers to a text, texts, tokens and lists of tokens', async () => {
    const { client, engine } = await start();
    const texts = ['Once upon', 'a time'];
    const expected = texts.map((text) => engine.expect(text, { maxTokens: 9, temperature: 0 }));
    const ids = texts.map((text) => [...engine.encode(text)]);
    const ask = async (prompt: string | string[] | number[] | number[][]): Promise<string[]> => {
      const { choices, object } = await client.completions.create({ model, prompt, max_tokens: 9, temperature: 0 });
      expect(object).toBe('text_completion');
      return choices.map((c) => c.text);
    };
    expect(await ask(texts[0])).toEqual([expected[0].text]);
    expect(await ask(texts)).toEqual(expected.map((e) => e.text));
    expect(await ask(ids[0])).toEqual([expected[0].text]);
    expect(await ask(ids)).toEqual(expected.map((e) => e.text));
  });

  it('gets 16 tokens unless told, and choices of prompts in order', async () => {
    const { client, engine } = await start();
    const { choices, usage } = await client.completions.create({ model, prompt: ['a', 'b'], n: 2, seed: 1 });
    const expected = ['a', 'a', 'b', 'b'].map((text, i) => engine.expect(text, { maxTokens: 16, seed: 1 + (i % 2) }));
    expect(choices.map((c) => c.text)).toEqual(expected.map((e) => e.text));
    expect(choices.map((c) => c.finish_reason)).toEqual(expected.map((e) => e.finish));
    expect(usage?.prompt_tokens).toBe(expected[0].promptTokens + expected[2].promptTokens);
  });

  it('gets streams', async () => {
    const { client, engine } = await start();
    const expected = engine.expect('Go', { maxTokens: 25, seed: 9 });
    const parts = await collect(await client.completions.create({ model, prompt: 'Go', max_tokens: 25, seed: 9, stream: true }));
    expect(parts.map((p) => p.choices[0].text).join('')).toBe(expected.text);
    expect(parts.at(-1)?.choices[0].finish_reason).toBe(expected.finish);
  });
});

describe("OpenAI's client, the rest", () => {
  it('lists and finds the model', async () => {
    const { client } = await start();
    const { data } = await client.models.list();
    expect(data).toMatchObject([{ id: model, object: 'model', owned_by: 'tenon' }]);
    expect((await client.models.retrieve(model)).id).toBe(model);
    await expect(client.models.retrieve('gpt-4')).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  });

  it('throws its own errors, with param and code', async () => {
    const { client, engine } = await start({ maxTokens: 100, maxPromptTokens: 50 });
    const create = (more: Partial<OpenAI.ChatCompletionCreateParamsNonStreaming>): Promise<unknown> =>
      client.chat.completions.create({ model, messages: hi, ...more }).then(
        () => null,
        (error: unknown) => error,
      );
    expect(await create({ model: 'gpt-4' })).toMatchObject({ status: 404, code: 'model_not_found', param: 'model' });
    expect(await create({ temperature: 3 })).toBeInstanceOf(OpenAI.BadRequestError);
    expect(await create({ temperature: 3 })).toMatchObject({ status: 400, param: 'temperature', code: 'invalid_value' });
    expect(await create({ logprobs: true })).toMatchObject({ status: 400, param: 'logprobs', code: 'unsupported_parameter' });
    expect(await create({ logprobs: false, tools: [], frequency_penalty: 0 })).toBeNull();
    expect(await create({ max_tokens: 101 })).toMatchObject({ status: 400, param: 'max_tokens' });
    expect(await create({ messages: [{ role: 'user', content: 'x'.repeat(60) }] })).toMatchObject({
      status: 400,
      param: 'messages',
      code: 'context_length_exceeded',
      type: 'invalid_request_error',
    });
    expect(await create({ messages: [{ role: 'user', content: 'refuse me' }] })).toMatchObject({
      status: 400,
      message: '400 chat template: Conversation roles must alternate.',
    });
    expect(engine.started).toBe(1);
  });

  it('is told of failures of the engine, and no more than that they happened', async () => {
    const { client, engine, log } = await start();
    engine.fault = { error: new InternalError('a secret path'), after: 0 };
    await expect(client.chat.completions.create({ model, messages: hi, temperature: 0, stream: true })).rejects.toMatchObject({
      status: 500,
      type: 'server_error',
      message: expect.not.stringContaining('secret'),
    });
    engine.fault = { error: new InternalError('a secret path'), after: 3 };
    const stream = await client.chat.completions.create({ model, messages: hi, temperature: 0, stream: true });
    let pieces = 0;
    const read = async (): Promise<void> => {
      for await (const part of stream) if (part.choices[0].delta.content) pieces++;
    };
    await expect(read()).rejects.toMatchObject({ type: 'server_error', message: expect.not.stringContaining('secret') });
    expect(pieces).toBe(3);
    await until(() => log.length === 2);
    expect(log.map((entry) => [entry.status, entry.outcome, entry.error?.message])).toEqual([
      [500, 'failed', 'internal: a secret path'],
      [200, 'failed', 'internal: a secret path'],
    ]);
    expect(engine.active).toBe(0);
  });

  it('stops the work when it aborts', async () => {
    const { client, engine, log } = await start({}, { milliseconds: 10 });
    const controller = new AbortController();
    const stream = await client.chat.completions.create(
      { model, messages: hi, temperature: 0, stream: true },
      { signal: controller.signal },
    );
    for await (const _ of stream) {
      controller.abort();
      break;
    }
    await until(() => log.length === 1);
    expect(log[0]).toMatchObject({ status: 499, outcome: 'cancelled' });
    expect(engine.active).toBe(0);
    expect(engine.finished).toBe(0);
  });
});

describe('requests that are wrong', () => {
  const chat = '/v1/chat/completions';
  it.each<[string, unknown, string | null]>([
    ['no object', [1, 2], null],
    ['null', null, null],
    ['no messages', {}, 'messages'],
    ['no message', { messages: [] }, 'messages'],
    ['messages that are none', { messages: 'Hi' }, 'messages'],
    ['a message that is none', { messages: [...hi, 'x'] }, 'messages[1]'],
    ['an unknown role', { messages: [{ role: 'boss', content: 'x' }] }, 'messages[0].role'],
    ['no content', { messages: [{ role: 'user' }] }, 'messages[0].content'],
    [
      'a picture',
      { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'x' } }] }] },
      'messages[0].content[0].type',
    ],
    ['a temperature in words', { messages: hi, temperature: 'hot' }, 'temperature'],
    ['top_p above 1', { messages: hi, top_p: 1.5 }, 'top_p'],
    ['no choice', { messages: hi, n: 0 }, 'n'],
    ['too many choices', { messages: hi, n: 9 }, 'n'],
    ['half a choice', { messages: hi, n: 1.5 }, 'n'],
    ['no token', { messages: hi, max_tokens: 0 }, 'max_tokens'],
    ['five stop strings', { messages: hi, stop: ['a', 'b', 'c', 'd', 'e'] }, 'stop'],
    ['an empty stop string', { messages: hi, stop: '' }, 'stop'],
    ['a seed in words', { messages: hi, seed: 'x' }, 'seed'],
    ['stream in words', { messages: hi, stream: 'yes' }, 'stream'],
    ['stream_options without stream', { messages: hi, stream_options: { include_usage: true } }, 'stream_options'],
    ['tools', { messages: hi, tools: [{ type: 'function', function: { name: 'f' } }] }, 'tools'],
    ['JSON mode', { messages: hi, response_format: { type: 'json_object' } }, 'response_format'],
    ['a penalty', { messages: hi, presence_penalty: 1 }, 'presence_penalty'],
  ])('%s: 400', async (_, body, param) => {
    const { post, engine } = await start();
    const failure = await failureOf(await post(chat, body));
    expect(failure).toMatchObject({ status: 400, type: 'invalid_request_error', param });
    expect(failure.message.length).toBeGreaterThan(10);
    expect(engine.started).toBe(0);
  });

  it.each<[string, unknown]>([
    ['none', {}],
    ['an object', { prompt: {} }],
    ['an empty list', { prompt: [] }],
    ['a list of both', { prompt: ['a', 1] }],
    ['tokens and text', { prompt: [1, 'a'] }],
    ['half a token', { prompt: [1.5] }],
    ['a token below 0', { prompt: [-1] }],
    ['an empty list of tokens', { prompt: [[]] }],
    ['tokens and lists', { prompt: [[1], 2] }],
    ['more than could ever be admitted', { prompt: Array.from({ length: 69 }, () => 'a') }],
  ])('a prompt that is %s: 400', async (_, body) => {
    const { post } = await start();
    expect(await failureOf(await post('/v1/completions', body))).toMatchObject({ status: 400, param: 'prompt' });
  });

  it('more choices over all prompts than could ever be admitted: 400', async () => {
    const { post } = await start({ slots: 2, maxQueue: 3 });
    expect(await failureOf(await post('/v1/completions', { prompt: ['a', 'b', 'c'], n: 2 }))).toMatchObject({ status: 400, param: 'n' });
  });

  it.each(['{', '', '"', `${'['.repeat(60_000)}`, '{"a":1}{', '\ufeff'])('no JSON (%#): 400', async (body) => {
    const { post } = await start();
    expect(await failureOf(await post(chat, body))).toMatchObject({ status: 400, code: 'invalid_json', param: null });
  });

  it('bytes that are no UTF-8: 400', async () => {
    const { post } = await start();
    const body = Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]);
    expect(await failureOf(await post(chat, '', { body }))).toMatchObject({ status: 400, code: 'invalid_json' });
  });

  it('another content type: 415, so that forms of other pages are refused', async () => {
    const { post, engine } = await start();
    for (const type of ['text/plain', 'application/x-www-form-urlencoded'])
      expect(await failureOf(await post(chat, { messages: hi }, { headers: { 'content-type': type } }))).toMatchObject({ status: 415 });
    expect(engine.started).toBe(0);
  });

  it('another URL: 404, another method: 405', async () => {
    const { post, server } = await start();
    expect(await failureOf(await post('/v1/embeddings', {}))).toMatchObject({ status: 404, code: 'unknown_url' });
    const response = await fetch(`${server.url}${chat}`);
    expect(response.headers.get('allow')).toBe('POST');
    expect(await failureOf(response)).toMatchObject({ status: 405 });
  });

  it('a chat with a model that has no template: 400 that says where to go', async () => {
    const { post } = await start({}, { hasChatTemplate: false });
    expect((await failureOf(await post(chat, { messages: hi }))).message).toContain('Use /v1/completions');
  });

  it('a million wrong elements are refused in no time', async () => {
    const { post } = await start({ maxBodyBytes: 2 ** 24 });
    const many = Array.from({ length: 1_000_000 }, () => true);
    const timed = async (body: unknown, status: number): Promise<number> => {
      const text = JSON.stringify(body);
      const began = performance.now();
      expect((await post(chat, text)).status).toBe(status);
      return performance.now() - began;
    };
    // Compared with reading as much and looking at nothing of it.
    const reading = await timed({ messages: hi, max_tokens: 1, ignored: many }, 200);
    for (const body of [
      { messages: many },
      { messages: [{ role: 'user', content: many }] },
      { messages: hi, stop: many },
      { prompt: many },
    ])
      expect(await timed(body, 400)).toBeLessThan(3 * reading + 1000);
  });
});
