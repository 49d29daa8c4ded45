/**
 * @file Conversations as text, by a tokenizer's chat template (Jinja), as transformers' apply_chat_template does it; and which tokens of it the
 * assistant says, for the loss. Templates are strangers' code: they run in the guard's worker, but for ours.
 */
import * as jinja from '@huggingface/jinja';
import { ConfigError, FormatError, quote, reasonOf } from '../base/errors.js';
import { checkOptionNames } from '../base/option-names.js';
import { isRecord } from '../io/bytes.js';
import { guardedRender, Refusal } from './guard.js';
import { makeRenderer, type RaisedError } from './render-template.js';
import { type Span, spansToTokens } from './token-spans.js';
import { type Tokenizer, templatesOf, wellFormed } from './tokenizer.js';

/** One turn. Templates may read more fields than these, such as tool_calls. */
export interface ChatMessage {
  readonly role: string;
  readonly content?: unknown;
  readonly [field: string]: unknown;
}

export interface ChatTemplateOptions {
  /** A template's text, or 'chatml'; default the tokenizer's own: with tools the one that is called tool_use, where there is one. */
  readonly template?: string;
  /** JSON schemas of functions that the model may call. */
  readonly tools?: readonly unknown[] | null;
  readonly documents?: readonly unknown[] | null;
  /** Further variables for the template, such as enable_thinking. */
  readonly variables?: Readonly<Record<string, unknown>>;
  /** What strftime_now says; default the clock. */
  readonly now?: Date;
  /** Runs the template in this thread, without limits: where it is your own, or in a browser. */
  readonly isTrusted?: boolean;
  /** Milliseconds that rendering may take; default 5,000. */
  readonly timeLimit?: number;
}
export interface ApplyChatTemplateOptions extends ChatTemplateOptions {
  /** Ends with what begins the assistant's answer; default false. */
  readonly addGenerationPrompt?: boolean;
  /** Ends within the last message, which the model goes on with; default false. */
  readonly continueFinalMessage?: boolean;
}
export interface RenderConversationOptions extends ChatTemplateOptions {
  /** Which of the assistant's messages count as said; default all. */
  readonly answers?: 'all' | 'last';
}

/** A conversation for training. */
export interface Conversation {
  readonly text: string;
  readonly ids: Int32Array;
  /** 1 for each token that the assistant says, the token that ends its turn included. */
  readonly assistant: Uint8Array;
}

/** ChatML: the template of tokenizers that have none. */
export const chatml = `{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}{% if message['role'] == 'assistant' %}{% generation %}{{ (message['content'] or '') + '<|im_end|>' }}{% endgeneration %}{% else %}{{ (message['content'] or '') + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}`;

const commonNames = {
  template: true,
  tools: true,
  documents: true,
  variables: true,
  now: true,
  isTrusted: true,
  timeLimit: true,
} satisfies { readonly [name in keyof ChatTemplateOptions]-?: true };
const applyNames = { ...commonNames, addGenerationPrompt: true, continueFinalMessage: true };
const renderNames = { ...commonNames, answers: true };

/** Templates of ours, which need no guard. */
const ours = new Set([chatml]);
const renderHere = makeRenderer(jinja);
/** Beyond this, and 16 characters for each that it was given, a template writes nonsense. */
const mostCharacters = 4_000_000;

/** The template's text. Throws ConfigError where there is none. */
function templateFor(tokenizer: Tokenizer, { template, tools }: ChatTemplateOptions): string {
  const named = templatesOf(tokenizer.config);
  if (template === 'chatml') return chatml;
  if (template !== undefined) return named.get(template) ?? template;
  const found = (tools ? named.get('tool_use') : undefined) ?? named.get('default');
  if (found !== undefined) return found;
  throw new ConfigError(
    "chat template: the tokenizer has none. Expected chat_template in tokenizer_config.json, or the option template. Use template: 'chatml', or the model's own text format.",
  );
}

interface Request {
  readonly messages: readonly ChatMessage[];
  readonly addGenerationPrompt: boolean;
}

/** Renders a template for several conversations at once. */
function render(tokenizer: Tokenizer, template: string, requests: readonly Request[], options: ChatTemplateOptions): readonly string[] {
  const { tools = null, documents = null, variables = {}, now = new Date(), isTrusted = false, timeLimit = 5000 } = options;
  const roles = { bos_token: tokenizer.bosId, eos_token: tokenizer.eosId, pad_token: tokenizer.padId, unk_token: tokenizer.unknownId };
  const tokens = Object.fromEntries(Object.entries(roles).flatMap(([name, id]) => (id === null ? [] : [[name, tokenizer.tokenOf(id)]])));
  const filled = requests.map(({ messages, addGenerationPrompt }) =>
    plain({ ...tokens, ...variables, messages, tools, documents, add_generation_prompt: addGenerationPrompt }),
  );
  try {
    if (isTrusted || ours.has(template)) return filled.map((variables) => renderHere(template, variables, now.getTime()));
    const given = filled.reduce((n, variables) => n + JSON.stringify(variables).length, 0);
    return guardedRender(template, filled, { now: now.getTime(), most: mostCharacters + 16 * given, limit: timeLimit });
  } catch (error) {
    if (error instanceof Refusal || (error instanceof Error && (error as Partial<RaisedError>).isRaised === true))
      throw new ConfigError(`chat template: it refuses these messages: ${reasonOf(error)}. Change the messages, or use another template.`);
    if (error instanceof FormatError || error instanceof ConfigError) throw error;
    throw new FormatError(`chat template: ${reasonOf(error)}.`, { cause: error });
  }
}

/** Values as JSON has them. Throws ConfigError for what it hasn't. */
function plain(value: Record<string, unknown>): Record<string, unknown> {
  try {
    const copy: unknown = JSON.parse(JSON.stringify(value));
    if (isRecord(copy)) return copy;
  } catch (error) {
    throw new ConfigError(
      `chat template: the messages cannot be written as JSON (${reasonOf(error)}). Expected texts, numbers, lists and objects.`,
    );
  }
  throw new ConfigError('chat template: the messages cannot be written as JSON. Expected texts, numbers, lists and objects.');
}

function checkMessages(messages: readonly ChatMessage[]): void {
  if (!Array.isArray(messages) || messages.length === 0)
    throw new ConfigError(`chat template: expected a list of messages, received ${quote(messages)}. Give at least one.`);
  const wrong = messages.findIndex((m) => !isRecord(m) || typeof m.role !== 'string');
  if (wrong >= 0)
    throw new ConfigError(`chat template: message ${wrong} is malformed. Expected { role, content }, received ${quote(messages[wrong])}.`);
}

/**
 * A conversation as text, special tokens included: encode it with `addSpecialTokens: false`.
 * @throws ConfigError for wrong messages, what the template refuses, and a tokenizer without a template; FormatError for a faulty template.
 */
export function applyChatTemplate(tokenizer: Tokenizer, messages: readonly ChatMessage[], options: ApplyChatTemplateOptions = {}): string {
  checkOptionNames(options, applyNames, 'applyChatTemplate');
  checkMessages(messages);
  const { addGenerationPrompt = false, continueFinalMessage = false } = options;
  if (addGenerationPrompt && continueFinalMessage)
    throw new ConfigError(
      'applyChatTemplate: addGenerationPrompt begins a message and continueFinalMessage goes on with one. Expected one of them.',
    );
  const [text] = render(tokenizer, templateFor(tokenizer, options), [{ messages, addGenerationPrompt }], options);
  return continueFinalMessage ? upToContent(text, messages[messages.length - 1]) : text;
}

/** The text up to the end of what the last message says. */
function upToContent(text: string, { content }: ChatMessage): string {
  if (typeof content !== 'string' || content === '')
    throw new ConfigError(`applyChatTemplate: the last message says nothing to go on with. Expected a text, received ${quote(content)}.`);
  const at = text.lastIndexOf(content.trim());
  if (at < 0)
    throw new FormatError('chat template: the text of the last message is not in what it writes, so that nothing can go on with it.');
  const whole = content.trimStart();
  return text.slice(0, at + (text.startsWith(whole, at) ? whole : content.trim()).length);
}

/**
 * A conversation as ids, and which of them the assistant says. Where the template marks that (`{% generation %}`), its marks are used; else
 * the conversation is rendered without and with each answer.
 * @throws as `applyChatTemplate`, and FormatError for a template that writes an earlier message differently when more follow.
 */
export function renderConversation(
  tokenizer: Tokenizer,
  messages: readonly ChatMessage[],
  options: RenderConversationOptions = {},
): Conversation {
  checkOptionNames(options, renderNames, 'renderConversation');
  checkMessages(messages);
  const template = templateFor(tokenizer, options);
  const { text, spans } = generationTag.test(template)
    ? renderMarked(tokenizer, template, messages, options)
    : renderPrefixes(tokenizer, template, messages, options);
  const ids = tokenizer.encode(text);
  return { text, ids, assistant: spansToTokens(tokenizer, text, ids, spans) };
}

interface Spanned {
  readonly text: string;
  readonly spans: readonly Span[];
}

const generationTag = /\{%(-?)\s*(end)?generation\s*(-?)%\}/;

/** With marks in the place of the template's own tags, which the library leaves out. */
function renderMarked(
  tokenizer: Tokenizer,
  template: string,
  messages: readonly ChatMessage[],
  options: RenderConversationOptions,
): Spanned {
  const [open, close] = unusedCharacters(JSON.stringify([template, messages, options.variables ?? {}, options.tools ?? []]));
  // The tag's white space control goes to the blocks around the mark: what a block tag does to its line, these do.
  const marked = template.replace(
    new RegExp(generationTag, 'g'),
    (_, left: string, end: string | undefined, right: string) => `{%${left} if true %}{{ '${end ? close : open}' }}{% endif ${right}%}`,
  );
  const last = messages.findLastIndex((m) => m.role === 'assistant');
  const wantsLast = options.answers === 'last' && last > 0;
  const requests = [
    { messages, addGenerationPrompt: false },
    ...(wantsLast ? [{ messages: messages.slice(0, last), addGenerationPrompt: false }] : []),
  ];
  // A template of ours with marks is one of ours.
  const isTrusted = options.isTrusted || ours.has(template);
  const [whole, before] = render(tokenizer, marked, requests, { ...options, isTrusted }).map((text) => unmark(text, open, close));
  if (!wantsLast) return whole;
  const from = commonLength(whole.text, before.text);
  return { text: whole.text, spans: whole.spans.filter((span) => span.start >= from) };
}

/** Two characters for private use that `text` doesn't have. Throws FormatError for a text that has them all. */
function unusedCharacters(text: string): [string, string] {
  const used = new Set(text.match(/[\u{f0000}-\u{10fffd}]/gu));
  const found: string[] = [];
  for (let code = 0xf0000; found.length < 2 && code <= 0x10fffd; code++) {
    const char = String.fromCodePoint(code);
    if (!used.has(char)) found.push(char);
  }
  if (found.length < 2) throw new FormatError('chat template: it and its messages hold every character for private use. Expected a text.');
  return [found[0], found[1]];
}

/** Takes marks out of a text. */
function unmark(text: string, open: string, close: string): Spanned {
  const spans: Span[] = [];
  let plainText = '';
  let start = -1;
  const refuse = (): never => {
    throw new FormatError(
      'chat template: its generation blocks are not in order. Expected {% generation %} … {% endgeneration %} around each answer.',
    );
  };
  for (const piece of text.split(new RegExp(`([${open}${close}])`, 'u'))) {
    if (piece === open) {
      if (start >= 0) refuse();
      start = plainText.length;
    } else if (piece === close) {
      if (start < 0) refuse();
      spans.push({ start, end: plainText.length });
      start = -1;
    } else plainText += wellFormed(piece);
  }
  if (start >= 0) refuse();
  return { text: plainText, spans };
}

/** Without marks: an answer is what a conversation with it has more than one that awaits it. */
function renderPrefixes(
  tokenizer: Tokenizer,
  template: string,
  messages: readonly ChatMessage[],
  options: RenderConversationOptions,
): Spanned {
  const all = messages.flatMap((m, i) => (m.role === 'assistant' ? [i] : []));
  const answers = options.answers === 'last' ? all.slice(-1) : all;
  const requests = answers.flatMap((i) => [
    // Templates need not be made for a conversation without messages.
    { messages: messages.slice(0, Math.max(1, i)), addGenerationPrompt: i > 0 },
    { messages: messages.slice(0, i + 1), addGenerationPrompt: false },
  ]);
  const [text, ...prefixes] = render(tokenizer, template, [{ messages, addGenerationPrompt: false }, ...requests], options).map(wellFormed);
  const spans = answers.map((i, k): Span => {
    const before = i === 0 ? '' : prefixes[2 * k];
    const after = prefixes[2 * k + 1];
    const start = commonLength(before, after);
    const end = commonLength(after, text);
    const isStable = i > 0 && start === before.length && end === after.length;
    const { content } = messages[i];
    const said = typeof content === 'string' ? content.trim() : '';
    const at = said === '' ? -1 : text.indexOf(said, start);
    if (!isStable && (at < 0 || at + said.length > end))
      throw new FormatError(
        `chat template: it writes message ${i} (of the assistant) differently when more messages follow, so what the assistant says cannot be found. Expected a template with {% generation %} … {% endgeneration %}, or one whose beginnings stay. Give answers: 'last' to learn the last answer only, or another template.`,
      );
    return withoutSeparator(tokenizer, text, { start: i === 0 ? at : start, end });
  });
  return { text, spans };
}

/** A span that ends with a special token and white space, without that: the template writes it between turns, nobody says it. */
function withoutSeparator(tokenizer: Tokenizer, text: string, { start, end }: Span): Span {
  const said = text.slice(start, end).trimEnd();
  const endsTurn = (tail: string): boolean => {
    const id = tokenizer.idOf(tail);
    return id !== null && tokenizer.isSpecial(id);
  };
  // Special tokens are short: their beginnings are looked for from the end on.
  for (let length = 1; length <= Math.min(said.length, 128); length++)
    if (endsTurn(said.slice(-length))) return { start, end: start + said.length };
  return { start, end };
}

/** How many UTF-16 units two texts begin with alike, no half of a pair. */
function commonLength(a: string, b: string): number {
  const most = Math.min(a.length, b.length);
  let n = 0;
  while (n < most && a.charCodeAt(n) === b.charCodeAt(n)) n++;
  return n > 0 && n < most && /[\uD800-\uDBFF]/.test(a[n - 1]) ? n - 1 : n;
}

/** The special token that ends the assistant's turn in a template, which generation stops at; null where there is none. */
export function turnEndId(tokenizer: Tokenizer, options: ChatTemplateOptions = {}): number | null {
  const messages = [
    { role: 'user', content: 'a' },
    { role: 'assistant', content: 'b' },
  ];
  const { ids, assistant } = renderConversation(tokenizer, messages, options);
  const last = assistant.lastIndexOf(1);
  return last >= 0 && tokenizer.isSpecial(ids[last]) ? ids[last] : null;
}
