/** @file From a request's JSON to work for the engine: OpenAI's fields, checked; what this server can't do is refused, not left out. */
import { z } from 'zod';
import { quote } from '../base/errors.js';
import { isRecord } from '../io/bytes.js';
import type { ChatMessage, TextEngine } from '../llm/text-engine.js';
import { ApiError, badRequest, toPromptError } from './errors.js';
import { choicesOf, type Work } from './work.js';

export interface RequestLimits {
  /** Tokens of one prompt. */
  readonly maxPromptTokens: number;
  /** Tokens of one answer. */
  readonly maxTokens: number;
  /** The largest `n`. */
  readonly maxChoices: number;
  /** Choices of one request over all its prompts: what could ever be admitted. */
  readonly maxPlaces: number;
}

export interface ParsedRequest {
  readonly work: Work;
  readonly promptTokens: number;
  readonly isStream: boolean;
  /** The stream ends with the count of tokens. */
  readonly hasUsage: boolean;
}

const number = (least: number, most: number) => z.number().min(least).max(most).nullish();

/** What both endpoints take. Null is as good as nothing, and unknown fields are left alone, as OpenAI's server does. */
const common = z.object({
  model: z.string().nullish(),
  max_tokens: z.int().min(1).nullish(),
  max_completion_tokens: z.int().min(1).nullish(),
  temperature: number(0, 2),
  top_p: number(0, 1),
  top_k: z.int().min(-1).nullish(),
  min_p: number(0, 1),
  repetition_penalty: number(0.01, 100),
  stop: z.unknown().optional(),
  seed: z.int().nullish(),
  n: z.int().min(1).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
});
type Common = z.infer<typeof common>;

const message = z.object({
  role: z.enum(['system', 'developer', 'user', 'assistant', 'tool', 'function']),
  content: z.union([z.string(), z.array(z.unknown())], { error: 'expected a string or a list of parts' }),
  name: z.string().nullish(),
});
const stopText = z.string().min(1).max(1000);
const textPart = z.object({ type: z.literal('text', { error: 'only parts of type "text" are supported' }), text: z.string() });

/** Fields that mean something else than what this server does, unless they have one of these values. */
const unsupported: readonly (readonly [field: string, isHarmless: (value: unknown) => boolean])[] = [
  ['logprobs', (v) => v === false],
  ['top_logprobs', (v) => v === 0],
  ['logit_bias', (v) => isRecord(v) && Object.keys(v).length === 0],
  ['frequency_penalty', (v) => v === 0],
  ['presence_penalty', (v) => v === 0],
  ['tools', (v) => Array.isArray(v) && v.length === 0],
  ['functions', (v) => Array.isArray(v) && v.length === 0],
  ['response_format', (v) => isRecord(v) && v.type === 'text'],
  ['modalities', (v) => Array.isArray(v) && v.every((m) => m === 'text')],
  ['echo', (v) => v === false],
  ['suffix', (v) => v === ''],
  ['best_of', (v) => v === 1],
];

/** `messages`, `0`, `content` → `messages[0].content`. */
const pathText = (path: readonly PropertyKey[]): string =>
  path.map((part, i) => (typeof part === 'number' ? `[${part}]` : `${i > 0 ? '.' : ''}${String(part)}`)).join('');

function check<T>(schema: z.ZodType<T>, value: unknown, before: readonly PropertyKey[] = []): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const param = pathText([...before, ...issue.path]);
  throw badRequest(`${param === '' ? 'body' : param}: ${issue.message}.`, param || undefined, 'invalid_value');
}

/** A body for /v1/chat/completions. Throws ApiError. */
export function parseChat(engine: TextEngine, body: unknown, limits: RequestLimits): ParsedRequest {
  const fields = readCommon(engine, body);
  if (engine.hasChatTemplate === false)
    throw badRequest(`The model ${engine.modelId} has no chat template. Use /v1/completions.`, 'messages', 'unsupported_value');
  const messages = readMessages(isRecord(body) ? body.messages : undefined);
  let prompt: Int32Array;
  try {
    prompt = engine.renderChat(messages);
  } catch (error) {
    throw toPromptError(error, 'messages');
  }
  return makeWork({
    engine,
    fields,
    limits,
    prompts: [prompt],
    param: 'messages',
    otherwise: limits.maxTokens,
    ends: engine.chatStop ?? [],
  });
}

/** A body for /v1/completions. Throws ApiError. */
export function parseCompletion(engine: TextEngine, body: unknown, limits: RequestLimits): ParsedRequest {
  const fields = readCommon(engine, body);
  const prompts = readPrompts(isRecord(body) ? body.prompt : undefined, limits).map((prompt) => {
    if (typeof prompt !== 'string') return prompt;
    try {
      return engine.encode(prompt);
    } catch (error) {
      throw toPromptError(error, 'prompt');
    }
  });
  // 16 is OpenAI's default here.
  return makeWork({ engine, fields, limits, prompts, param: 'prompt', otherwise: Math.min(16, limits.maxTokens), ends: [] });
}

function readCommon(engine: TextEngine, body: unknown): Common {
  if (!isRecord(body)) throw badRequest(`body: expected a JSON object, received ${quote(body)}.`, undefined, 'invalid_type');
  const fields = check(common, body);
  for (const [field, isHarmless] of unsupported) {
    const value = Object.hasOwn(body, field) ? body[field] : null;
    if (value !== null && value !== undefined && !isHarmless(value))
      throw badRequest(`${field}: not supported by this server, received ${quote(value)}. Leave it out.`, field, 'unsupported_parameter');
  }
  if (fields.model != null && fields.model !== engine.modelId)
    throw new ApiError(404, `The model ${quote(fields.model)} does not exist. This server has ${quote(engine.modelId)}.`, {
      param: 'model',
      code: 'model_not_found',
    });
  if (fields.stream_options != null && !fields.stream)
    throw badRequest('stream_options: only allowed where stream is true.', 'stream_options', 'invalid_value');
  return fields;
}

/** One by one: of a long list of nonsense only the first is looked at. */
function readMessages(value: unknown): ChatMessage[] {
  if (!Array.isArray(value) || value.length === 0)
    throw badRequest('messages: expected a list of at least one message.', 'messages', 'invalid_type');
  return value.map((item, i) => {
    const { role, content, name } = check(message, item, ['messages', i]);
    const text =
      typeof content === 'string' ? content : content.map((part, j) => check(textPart, part, ['messages', i, 'content', j]).text).join('');
    // OpenAI's newer word for the same thing; templates know the older one.
    return { role: role === 'developer' ? 'system' : role, content: text, ...(name == null ? {} : { name }) };
  });
}

/** A text, texts, tokens, or lists of tokens. */
function readPrompts(value: unknown, limits: RequestLimits): (string | Int32Array)[] {
  const refuse = (): ApiError =>
    badRequest('prompt: expected a string, a list of strings, a list of tokens or a list of such lists.', 'prompt', 'invalid_type');
  if (typeof value === 'string') return [value];
  if (!Array.isArray(value) || value.length === 0) throw refuse();
  if (typeof value[0] === 'number') return [readTokens(value, refuse)];
  if (value.length > limits.maxPlaces)
    throw badRequest(`prompt: expected at most ${limits.maxPlaces} prompts, received ${value.length}.`, 'prompt', 'invalid_value');
  return value.map((item: unknown) => {
    if (typeof item === 'string' && typeof value[0] === 'string') return item;
    if (Array.isArray(item) && Array.isArray(value[0])) return readTokens(item, refuse);
    throw refuse();
  });
}

function readTokens(items: readonly unknown[], refuse: () => ApiError): Int32Array {
  if (!items.every((id) => Number.isInteger(id) && Number(id) >= 0 && Number(id) < 2 ** 31)) throw refuse();
  return Int32Array.from(items as readonly number[]);
}

interface WorkParts {
  readonly engine: TextEngine;
  readonly fields: Common;
  readonly limits: RequestLimits;
  readonly prompts: readonly Int32Array[];
  /** The field that prompts came from. */
  readonly param: string;
  /** Tokens of an answer when the request doesn't say. */
  readonly otherwise: number;
  /** Texts that end an answer whatever the request says. */
  readonly ends: readonly string[];
}

function makeWork({ engine, fields, limits, prompts, param, otherwise, ends }: WorkParts): ParsedRequest {
  const advised = engine.sampling ?? {};
  const stop = [...readStop(fields.stop), ...ends];
  const choices = fields.n ?? 1;
  if (choices > limits.maxChoices) throw badRequest(`n: expected at most ${limits.maxChoices}, received ${choices}.`, 'n', 'invalid_value');
  const most = readMaxTokens(fields, limits) ?? otherwise;
  const requests = prompts.map((prompt) => ({
    maxTokens: Math.min(most, roomFor(engine, prompt, limits, param)),
    temperature: fields.temperature ?? advised.temperature ?? 1,
    topP: fields.top_p ?? advised.topP ?? 1,
    // −1 is how others say 'all'.
    topK: Math.max(0, fields.top_k ?? advised.topK ?? 0),
    minP: fields.min_p ?? advised.minP ?? 0,
    repetitionPenalty: fields.repetition_penalty ?? advised.repetitionPenalty ?? 1,
    stop,
    // Any whole number will do; the engine's are in [0, 2^31).
    ...(fields.seed == null ? {} : { seed: ((fields.seed % 2 ** 31) + 2 ** 31) % 2 ** 31 }),
  }));
  const work: Work = { prompts, choices, requests, param };
  if (choicesOf(work) > limits.maxPlaces)
    throw badRequest(
      `n: ${prompts.length} prompts × ${choices} choices are more than this server takes at once. Expected at most ${limits.maxPlaces}.`,
      'n',
      'invalid_value',
    );
  return {
    work,
    promptTokens: prompts.reduce((sum, prompt) => sum + prompt.length, 0),
    isStream: fields.stream === true,
    hasUsage: fields.stream_options?.include_usage === true,
  };
}

function readStop(value: unknown): string[] {
  if (value == null) return [];
  if (!Array.isArray(value)) return [check(stopText, value, ['stop'])];
  if (value.length > 4) throw badRequest(`stop: expected at most 4 strings, received ${value.length}.`, 'stop', 'invalid_value');
  return value.map((item, i) => check(stopText, item, ['stop', i]));
}

function readMaxTokens(fields: Common, limits: RequestLimits): number | null {
  const param = fields.max_completion_tokens == null ? 'max_tokens' : 'max_completion_tokens';
  const most = fields[param] ?? null;
  if (most !== null && most > limits.maxTokens)
    throw badRequest(
      `${param}: expected at most ${limits.maxTokens}, which is this server's limit, received ${most}.`,
      param,
      'invalid_value',
    );
  return most;
}

/** Tokens left for an answer; at least one. */
function roomFor(engine: TextEngine, prompt: Int32Array, limits: RequestLimits, param: string): number {
  if (prompt.length === 0) throw badRequest(`${param}: expected at least one token, received none.`, param, 'invalid_value');
  const most = Math.min(limits.maxPromptTokens, engine.contextLength - 1);
  if (prompt.length > most)
    throw badRequest(
      `${param}: at most ${most} tokens are allowed (the context of ${engine.modelId} is ${engine.contextLength} tokens), received ${prompt.length}. Shorten it.`,
      param,
      'context_length_exceeded',
    );
  return engine.contextLength - prompt.length;
}
