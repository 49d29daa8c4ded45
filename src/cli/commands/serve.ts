/** @file `tenon serve`: a model behind OpenAI's API until Ctrl-C, with a line for every request. */
import { readFile } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { reasonOf } from '../../base/errors.js';
import type { TextEngine } from '../../llm/text-engine.js';
import { type RequestLog, serveText, type TextServer } from '../../serve/index.js';
import { requireFolder } from '../datasets.js';
import { Interrupted, UsageError } from '../failure.js';
import { onInterruption } from '../interrupt.js';
import { plural, say, shellWord, thousands, writeJson } from '../output.js';
import type { ServeCommandOptions } from '../serve-command.js';
import { version } from '../version.js';

/** What the command asks of its engine. */
export interface ServedEngineOptions {
  /** What clients call the model. */
  readonly modelId: string;
  /** Calls of generate that run at once. */
  readonly slots: number;
  /** Ends loading. */
  readonly signal: AbortSignal;
  /** A chat template's text, or 'chatml' for a model that has none. */
  readonly chatTemplate: string;
  /** The template is used in place of the model's own, too. */
  readonly replacesTemplate: boolean;
}
/** Loads a model by its name. */
export type OpenEngine = (name: string, options: ServedEngineOptions) => Promise<TextEngine & ServedEngine>;
interface ServedEngine {
  /** False: the template is the one that was given. */
  readonly hasOwnTemplate?: boolean;
  close(): Promise<void>;
}

/** Answers that are there get so long to end after Ctrl-C. */
const CLOSE_SECONDS = 10;

/** Runs the command until Ctrl-C or SIGTERM. Throws UsageError, and what loading and serving throw. */
export async function serve(name: string, options: ServeCommandOptions, openEngine: OpenEngine): Promise<void> {
  if (options.json !== undefined) await requireFolder('--json', dirname(options.json));
  const given = options.chatTemplate === undefined ? null : await readTemplate(options.chatTemplate);
  const interruption = onInterruption(`stopping; answers that are under way get ${CLOSE_SECONDS} s. Press Ctrl-C again to quit at once.`);
  const { signal } = interruption;
  try {
    const began = performance.now();
    const engine = await openEngine(name, {
      modelId: basename(resolve(name)),
      slots: options.slots,
      signal,
      chatTemplate: given ?? 'chatml',
      replacesTemplate: given !== null,
    });
    try {
      if (signal.aborted) throw new Interrupted();
      const loadSeconds = (performance.now() - began) / 1000;
      const tally = new Tally();
      const server = await start(engine, options, tally);
      greet(engine, server, options, loadSeconds);
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      await server.close({ seconds: CLOSE_SECONDS });
      const report = tally.report(engine.modelId, loadSeconds);
      say(`Served ${plural(report.requests, 'request')}, ${thousands(report.promptTokens)} + ${plural(report.completionTokens, 'token')}.`);
      if (options.json !== undefined) await writeJson(options.json, report);
    } finally {
      await engine.close();
    }
  } finally {
    interruption.release();
  }
}

/** The text of --chat-template. Throws UsageError. */
async function readTemplate(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw new UsageError(`--chat-template: ${path} can't be read (${reasonOf(error)}). Expected a file with a template.`);
  });
  if (text.trim() === '') throw new UsageError(`--chat-template: ${path} is empty. Expected a file with a template.`);
  return text;
}

function start(engine: TextEngine, options: ServeCommandOptions, tally: Tally): Promise<TextServer> {
  const { maxPrompt, maxTokens } = options;
  const most = engine.contextLength;
  if (maxPrompt !== undefined && maxPrompt >= most)
    throw new UsageError(`--max-prompt: ${maxPrompt} leaves no room in the context of ${most} tokens. Expected at most ${most - 1}.`);
  if (maxTokens !== undefined && maxTokens > most)
    throw new UsageError(`--max-tokens: ${maxTokens} is more than the context holds. Expected at most ${most}.`);
  return serveText(engine, {
    host: options.host,
    port: options.port,
    apiKey: options.apiKey,
    slots: options.slots,
    maxQueue: options.maxQueue,
    maxPromptTokens: maxPrompt,
    maxTokens,
    cors: options.cors?.includes('*') ? '*' : options.cors,
    onRequest(entry) {
      tally.add(entry);
      const line = requestLine(entry);
      if (line !== null) say(line);
    },
  });
}

/** What is served where, and how to try it. */
function greet(engine: TextEngine & ServedEngine, server: TextServer, options: ServeCommandOptions, loadSeconds: number): void {
  const { modelId } = engine;
  const isChat = engine.hasChatTemplate !== false;
  const limits = `${plural(options.slots, 'slot')}, ${thousands(options.maxQueue)} may wait`;
  say(`${modelId}: context ${thousands(engine.contextLength)} tokens, ${limits} (loaded in ${loadSeconds.toFixed(1)} s)`);
  if (engine.hasOwnTemplate === false && options.chatTemplate === undefined)
    say('The model has no chat template: ChatML is used, which it may not have been trained on.');
  say(`Listening on ${server.url}/v1${options.apiKey === undefined ? '' : ', with a key'}. Ctrl-C stops.`);
  if (options.apiKey === undefined && !/^(127\.|localhost$|::1$)/.test(server.host))
    process.stderr.write('tenon: whoever reaches this machine may use the model. Give --api-key to allow only those who know it.\n');
  const body = isChat
    ? { model: modelId, messages: [{ role: 'user', content: 'Hello!' }], stream: true }
    : { model: modelId, prompt: 'Once upon a time', max_tokens: 64, stream: true };
  const key = options.apiKey === undefined ? '' : ' -H "Authorization: Bearer $TENON_API_KEY"';
  const url = server.url.replace(/\/\/(0\.0\.0\.0|\[::\])/, '//localhost');
  say(
    `Try: curl -N ${url}/v1/${isChat ? 'chat/completions' : 'completions'}${key} -H 'Content-Type: application/json' -d ${shellWord(JSON.stringify(body))}`,
  );
}

/** A line for what took work or went wrong; null for the rest (someone looks whether the server is there). */
function requestLine({
  method,
  path,
  status,
  outcome,
  promptTokens,
  completionTokens,
  seconds,
  firstTokenSeconds,
  error,
}: RequestLog): string | null {
  if (method !== 'POST' && outcome === 'answered') return null;
  const work = promptTokens > 0 ? `, ${thousands(promptTokens)} + ${plural(completionTokens, 'token')}` : '';
  const first = firstTokenSeconds === null ? '' : `, the first after ${firstTokenSeconds.toFixed(2)} s`;
  const fault = error === null || outcome === 'cancelled' ? '' : `: ${error.message.slice(0, 300)}`;
  // Clients choose the path, and a part of messages: nothing of it may act on a terminal.
  return `${status} ${method} ${path.slice(0, 100)} ${outcome}${work} in ${seconds.toFixed(2)} s${first}${fault}`.replace(/\p{Cc}+/gu, ' ');
}

/** Sums over all requests. */
class Tally {
  readonly #began = performance.now();
  readonly #outcomes = { answered: 0, refused: 0, cancelled: 0, failed: 0 };
  #promptTokens = 0;
  #completionTokens = 0;

  add({ outcome, promptTokens, completionTokens }: RequestLog): void {
    this.#outcomes[outcome]++;
    this.#promptTokens += promptTokens;
    this.#completionTokens += completionTokens;
  }
  /** What --json holds. */
  report(model: string, loadSeconds: number) {
    const counts = this.#outcomes;
    return {
      version: version(),
      model,
      loadSeconds,
      seconds: (performance.now() - this.#began) / 1000,
      requests: counts.answered + counts.refused + counts.cancelled + counts.failed,
      ...counts,
      promptTokens: this.#promptTokens,
      completionTokens: this.#completionTokens,
      peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
    };
  }
}
