/** @file One POST from its body to its answer: read, checked, admitted, worked on, sent whole or as a stream; what is under way. */
import { setMaxListeners } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Context } from 'hono';
import type { TextEngine, TextPiece } from '../llm/text-engine.js';
import type { TextAppOptions } from './app.js';
import { parseJson, readBody, requireJsonType } from './body.js';
import { ApiError, clientGone, shuttingDown, toApiError } from './errors.js';
import { EventStream } from './event-stream.js';
import { Gate, type Release } from './gate.js';
import { event, lastEvent, Reply, type ReplyForm, usageOf } from './replies.js';
import type { ParsedRequest, RequestLimits } from './requests.js';
import type { Trace } from './trace.js';
import { choicesOf, runWork } from './work.js';

export interface Env {
  // Set by @hono/node-server; not there when the app is called as a function.
  Bindings: { readonly outgoing?: ServerResponse };
  Variables: { trace: Trace };
}

/** What differs between the endpoints. */
export interface Endpoint {
  readonly form: ReplyForm;
  parse(engine: TextEngine, body: unknown, limits: RequestLimits): ParsedRequest;
}

interface Job {
  readonly parsed: ParsedRequest;
  readonly places: readonly Promise<Release>[];
  readonly stop: AbortController;
  readonly reply: Reply;
  readonly trace: Trace;
}

export class Service {
  readonly gate: Gate;
  /** Of requests that have not ended. */
  readonly traces = new Set<Trace>();
  /** New work is refused. */
  isClosing = false;
  readonly #engine: TextEngine;
  readonly #limits: RequestLimits;
  readonly #maxBodyBytes: number;
  readonly #stallSeconds: number;
  /** Of all work under way. */
  readonly #stops = new Set<AbortController>();

  constructor(engine: TextEngine, options: TextAppOptions) {
    const slots = options.slots ?? 4;
    const maxQueue = options.maxQueue ?? 64;
    this.#engine = engine;
    this.gate = new Gate(slots, maxQueue);
    this.#limits = {
      maxPromptTokens: options.maxPromptTokens ?? engine.contextLength - 1,
      maxTokens: options.maxTokens ?? engine.contextLength,
      maxChoices: options.maxChoices ?? 8,
      maxPlaces: slots + maxQueue,
    };
    this.#maxBodyBytes = options.maxBodyBytes ?? 65_536 + 32 * engine.contextLength;
    this.#stallSeconds = options.stallSeconds ?? 60;
  }

  /** Ends all work; its clients are told why. */
  cancel(): void {
    for (const stop of this.#stops) stop.abort(shuttingDown());
  }

  /** The request has ended. `thrown`: the client's mistake, its going, or a failure. */
  end(trace: Trace, status: number, thrown: Error | null): void {
    this.traces.delete(trace);
    const error = thrown === null ? null : toApiError(thrown);
    const outcome = error === null ? 'answered' : error.status === 499 ? 'cancelled' : error.status >= 500 ? 'failed' : 'refused';
    trace.end(error?.status === 499 ? 499 : status, outcome, error !== null && error.cause instanceof Error ? error.cause : error);
  }

  /** Answers a POST. Throws ApiError, and what the engine throws. */
  async answer(c: Context<Env>, { form, parse }: Endpoint): Promise<Response> {
    const request = c.req.raw;
    const stop = new AbortController();
    // Every choice of a request listens to it, at the gate and in the engine: no leak.
    setMaxListeners(0, stop.signal);
    const gone = (): void => stop.abort(clientGone());
    if (request.signal.aborted) gone();
    request.signal.addEventListener('abort', gone, { once: true });
    this.#stops.add(stop);
    const trace = c.get('trace');
    try {
      if (this.isClosing) throw shuttingDown();
      requireJsonType(request);
      const body = await readBody(request, this.#maxBodyBytes);
      // Before any work on it.
      if (!this.gate.hasRoom(1)) throw this.#full();
      const parsed = parse(this.#engine, parseJson(body), this.#limits);
      trace.promptTokens = parsed.promptTokens;
      const places = this.gate.admit(choicesOf(parsed.work), stop.signal);
      if (places === null) throw this.#full();
      const job: Job = { parsed, places, stop, reply: new Reply(form, this.#engine.modelId), trace };
      return parsed.isStream ? await this.#stream(c, job) : c.json(await this.#whole(job));
    } finally {
      if (!trace.isStream) this.#stops.delete(stop);
    }
  }

  #full(): ApiError {
    const seconds = this.gate.retryAfter();
    return new ApiError(429, `The queue is full (${this.gate.maxQueue} may wait). Try again in ${seconds} s.`, {
      type: 'rate_limit_error',
      code: 'rate_limit_exceeded',
      headers: { 'retry-after': String(seconds) },
    });
  }

  async #whole({ parsed, places, stop, reply, trace }: Job): Promise<object> {
    const texts: string[] = places.map(() => '');
    const finishes: TextPiece['finish'][] = places.map(() => null);
    await runWork(this.#engine, parsed.work, places, stop, (choice, piece) => {
      trace.tokens(piece.tokens);
      texts[choice] += piece.text;
      finishes[choice] = piece.finish;
    });
    return reply.whole(texts, finishes, usageOf(parsed.promptTokens, trace.completionTokens));
  }

  /** The response begins with the first piece: what goes wrong before has a status of its own. */
  async #stream(c: Context<Env>, job: Job): Promise<Response> {
    const { outgoing } = c.env ?? {};
    const stream = new EventStream({
      stallSeconds: this.#stallSeconds,
      onGone: () => job.stop.abort(clientGone()),
      ...(outgoing && { hangUp: () => outgoing.destroy() }),
    });
    await new Promise<void>((begin, fail) => {
      this.#send(job, stream, () => {
        job.trace.isStream = true;
        begin();
      }).catch(fail);
    });
    return c.body(stream.body, 200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      // Proxies shall pass pieces on as they come.
      'x-accel-buffering': 'no',
    });
  }

  /** Works and writes. `begin` is called at the first event; throws only before that. */
  async #send({ parsed, places, stop, reply, trace }: Job, stream: EventStream, begin: () => void): Promise<void> {
    let thrown: ApiError | null = null;
    try {
      await runWork(this.#engine, parsed.work, places, stop, (choice, piece) => {
        trace.tokens(piece.tokens);
        const events = reply.events(choice, piece, parsed.hasUsage);
        if (events === '') return;
        begin();
        return stream.write(events);
      });
      if (parsed.hasUsage) await stream.write(reply.usageEvent(usageOf(parsed.promptTokens, trace.completionTokens)));
      await stream.write(lastEvent);
    } catch (error) {
      if (!trace.isStream) throw error;
      thrown = toApiError(stop.signal.aborted ? stop.signal.reason : error);
      await stream.write(event(thrown.toJSON())).catch(() => undefined);
    }
    await stream.end();
    this.#stops.delete(stop);
    this.end(trace, 200, thrown);
  }
}
