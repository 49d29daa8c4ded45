/** @file The endpoints: OpenAI's chat and text completions over a TextEngine, as a function from requests to responses. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { Hono } from 'hono';
import { cors } from 'hono/cors';
import { quote } from '../base/errors.js';
import type { TextEngine } from '../llm/text-engine.js';
import { discardBody } from './body.js';
import { ApiError, toApiError } from './errors.js';
import { chatForm, completionForm } from './replies.js';
import { parseChat, parseCompletion } from './requests.js';
import { type Endpoint, type Env, Service } from './service.js';
import { type RequestLog, Trace } from './trace.js';

export interface TextAppOptions {
  /** Clients must send it as a bearer token; none: whoever reaches the server may use it. */
  readonly apiKey?: string;
  /** Choices that are worked on at once; default 4. */
  readonly slots?: number;
  /** Choices that wait for a slot; more are refused with 429. Default 64. */
  readonly maxQueue?: number;
  /** Default: what the context holds. */
  readonly maxPromptTokens?: number;
  /** Tokens of one answer; default: what the context holds. */
  readonly maxTokens?: number;
  /** The largest `n`; default 8. */
  readonly maxChoices?: number;
  /** Of a request; default 64 KiB and 32 bytes for each token of the context. */
  readonly maxBodyBytes?: number;
  /** A client that takes nothing of a stream for so long is hung up on; default 60. */
  readonly stallSeconds?: number;
  /** Pages of these origins may use the server ('*': all); default none. */
  readonly cors?: string | readonly string[];
  /** Names by which it may be called (the Host header without port); default any. */
  readonly hosts?: readonly string[];
  /** Called once for every request, when it has ended. */
  readonly onRequest?: (entry: RequestLog) => void;
}

export interface TextApp {
  fetch(request: Request, env?: object): Response | Promise<Response>;
  /** Requests that have not ended. */
  readonly open: number;
  /** From now on new requests are refused. */
  refuse(): void;
  /** Ends the work on all requests. */
  cancel(): void;
}

const endpoints: Readonly<Record<string, Endpoint>> = {
  '/v1/chat/completions': { form: chatForm, parse: parseChat },
  '/v1/completions': { form: completionForm, parse: parseCompletion },
};

/** The app for `engine`; serveText checks the options. */
export function textApp(engine: TextEngine, options: TextAppOptions = {}): TextApp {
  const service = new Service(engine, options);
  const app = new Hono<Env>();
  app.use(async (c, next) => {
    const trace = new Trace(c.req.method, c.req.path, options.onRequest);
    c.set('trace', trace);
    c.header('x-request-id', trace.id);
    service.traces.add(trace);
    await next();
    await discardBody(c.req.raw);
    if (service.isClosing) c.header('connection', 'close');
    if (!trace.isStream) service.end(trace, c.res.status, c.error ?? null);
  });
  const { hosts } = options;
  if (hosts)
    app.use((c, next) => {
      const name = (c.req.header('host') ?? '').replace(/:\d+$/, '').toLowerCase();
      if (!hosts.includes(name))
        throw new ApiError(403, `This server is not called ${quote(name)}. Expected ${hosts.join(', ')}.`, { code: 'host_not_allowed' });
      return next();
    });
  if (options.cors !== undefined) app.use(cors({ origin: options.cors as string | string[], exposeHeaders: ['x-request-id'] }));
  app.get('/health', (c) =>
    c.json(
      {
        status: service.isClosing ? 'closing' : 'ok',
        model: engine.modelId,
        active: service.gate.active,
        queued: service.gate.waiting,
        slots: service.gate.slots,
        maxQueue: service.gate.maxQueue,
      },
      service.isClosing ? 503 : 200,
    ),
  );
  if (options.apiKey !== undefined) {
    const isKey = keyCheck(options.apiKey);
    app.use('/v1/*', (c, next) => {
      if (!isKey(c.req.header('authorization')))
        throw new ApiError(401, 'Wrong API key. Expected the header Authorization: Bearer KEY.', {
          code: 'invalid_api_key',
          headers: { 'www-authenticate': 'Bearer' },
        });
      return next();
    });
  }
  const model = { id: engine.modelId, object: 'model', created: Math.floor(Date.now() / 1000), owned_by: 'tenon' };
  app.get('/v1/models', (c) => c.json({ object: 'list', data: [model] }));
  app.get('/v1/models/:id{.+}', (c) => {
    const id = c.req.param('id');
    if (id === engine.modelId) return c.json(model);
    throw new ApiError(404, `The model ${quote(id)} does not exist. This server has ${quote(engine.modelId)}.`, {
      param: 'model',
      code: 'model_not_found',
    });
  });
  for (const [path, endpoint] of Object.entries(endpoints)) {
    app.post(path, (c) => service.answer(c, endpoint));
    app.all(path, (c) => {
      throw new ApiError(405, `${c.req.method} ${path}: not allowed. Use POST.`, {
        headers: { allow: 'POST' },
        code: 'method_not_allowed',
      });
    });
  }
  app.notFound((c) => {
    throw new ApiError(404, `Unknown URL (${c.req.method} ${c.req.path}).`, { code: 'unknown_url' });
  });
  app.onError((thrown, c) => {
    const error = toApiError(thrown);
    for (const [name, value] of Object.entries(error.headers)) c.header(name, value);
    // 499 is no status that a response may name; nobody is there to read it.
    return c.json(error.toJSON(), error.status as 400);
  });
  return {
    fetch: (request, env) => app.fetch(request, env),
    get open() {
      return service.traces.size;
    },
    refuse() {
      service.isClosing = true;
    },
    cancel: () => service.cancel(),
  };
}

/** Compares digests, so that the time says nothing about the key. */
function keyCheck(apiKey: string): (header: string | undefined) => boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  const expected = digest(`Bearer ${apiKey}`);
  return (header = '') => timingSafeEqual(digest(header.replace(/^bearer +/i, 'Bearer ')), expected);
}
