/** @file What a row asks to be learned: text, a completion of a prompt, a conversation, or a better and a worse answer. */
import { quote } from '../../base/errors.js';
import type { ColumnMap, FoundLayout } from './layouts.js';
import type { Row } from './rows.js';

/** One turn of a conversation. Other fields go to the chat template as they are. */
export interface ChatMessage {
  readonly role: string;
  readonly content: string;
  readonly [field: string]: unknown;
}

/** What a row asks to be learned. */
export type Sample =
  | { readonly kind: 'text'; readonly text: string; readonly goesOn: boolean }
  | { readonly kind: 'completion'; readonly prompt: string; readonly completion: string }
  /** The messages from number `from` on are the completion. */
  | { readonly kind: 'conversation'; readonly messages: readonly ChatMessage[]; readonly from: number }
  | { readonly kind: 'preference'; readonly chosen: Preferred; readonly rejected: Preferred };
export type Preferred = Extract<Sample, { kind: 'completion' | 'conversation' }>;

/** Thrown inside for a row that doesn't hold what its layout wants; whoever reads rows adds the place. */
export class RowFault extends Error {}

/** A row as a Sample; null for one that holds nothing to learn. Throws RowFault. */
export function sampleOf(row: Row, found: FoundLayout, alpacaAsChat: boolean): Sample | null {
  const { columns } = found;
  const get = (part: string): unknown => (columns[part] === undefined ? undefined : row.values[columns[part]]);
  const text = (part: string): string => textIn(get(part), columns[part] ?? part);
  const optional = (part: string): string => (get(part) === undefined || get(part) === null ? '' : text(part));
  switch (found.layout) {
    case 'text':
      return { kind: 'text', text: text('text'), goesOn: row.goesOn ?? false };
    case 'prompt/completion':
      return completionOf(get('prompt'), get('completion'), columns);
    case 'messages':
    case 'ShareGPT': {
      const column = columns.messages ?? columns.conversations;
      const messages = messagesIn(row.values[column], column);
      const system = optional('system');
      if (messages.length === 0) return null;
      return { kind: 'conversation', messages: system === '' ? messages : [{ role: 'system', content: system }, ...messages], from: 0 };
    }
    case 'Alpaca': {
      const output = text('output');
      if (output === '') return null;
      return alpacaAsChat
        ? { kind: 'conversation', messages: alpacaMessages(text('instruction'), optional('input'), optional('system'), output), from: 0 }
        : { kind: 'completion', prompt: alpacaPrompt(text('instruction'), optional('input'), optional('system')), completion: output };
    }
    case 'prompt/chosen/rejected':
      return preferenceOf(get('prompt'), get('chosen'), get('rejected'), columns);
    default:
      return found.layout satisfies never;
  }
}

function textIn(value: unknown, column: string): string {
  if (typeof value === 'string') return value;
  throw new RowFault(`Expected a string in column ${quote(column)}, received ${value === undefined ? 'nothing' : quote(value)}.`);
}

function completionOf(prompt: unknown, completion: unknown, columns: ColumnMap): Sample | null {
  if (Array.isArray(prompt) || Array.isArray(completion)) {
    const before = Array.isArray(prompt) ? messagesIn(prompt, columns.prompt) : [{ role: 'user', content: textIn(prompt, columns.prompt) }];
    const after = Array.isArray(completion)
      ? messagesIn(completion, columns.completion)
      : [{ role: 'assistant', content: textIn(completion, columns.completion) }];
    return after.length === 0 ? null : { kind: 'conversation', messages: [...before, ...after], from: before.length };
  }
  const sample: Sample = { kind: 'completion', prompt: textIn(prompt, columns.prompt), completion: textIn(completion, columns.completion) };
  return sample.completion === '' ? null : sample;
}

function preferenceOf(prompt: unknown, chosen: unknown, rejected: unknown, columns: ColumnMap): Sample | null {
  if (Array.isArray(chosen) || Array.isArray(rejected)) {
    const lists = [messagesIn(chosen, columns.chosen), messagesIn(rejected, columns.rejected)];
    if (lists.some((list) => list.length === 0)) return null;
    const before = Array.isArray(prompt)
      ? messagesIn(prompt, columns.prompt)
      : // Where the conversations begin with an answer, the prompt's text is the question.
        lists[0][0].role === 'assistant' && prompt !== undefined && prompt !== null
        ? [{ role: 'user', content: textIn(prompt, columns.prompt) }]
        : [];
    const full = lists.map((list) => [...before, ...list]);
    let from = before.length;
    while (from < Math.min(full[0].length, full[1].length) - 1 && sameMessage(full[0][from], full[1][from])) from++;
    const [a, b] = full.map((messages): Preferred => ({ kind: 'conversation', messages, from }));
    return { kind: 'preference', chosen: a, rejected: b };
  }
  let [a, b] = [textIn(chosen, columns.chosen), textIn(rejected, columns.rejected)];
  let before = prompt === undefined || prompt === null ? '' : textIn(prompt, columns.prompt);
  if (before === '') {
    before = sharedWords(a, b);
    [a, b] = [a.slice(before.length), b.slice(before.length)];
  }
  if (a === '' || b === '') return null;
  const preferred = (completion: string): Preferred => ({ kind: 'completion', prompt: before, completion });
  return { kind: 'preference', chosen: preferred(a), rejected: preferred(b) };
}

const sameMessage = (a: ChatMessage, b: ChatMessage): boolean => a.role === b.role && a.content === b.content;

/** What two texts have in common at the beginning, up to where their first different words begin. */
function sharedWords(a: string, b: string): string {
  let n = 0;
  while (n < a.length && n < b.length && a[n] === b[n]) n++;
  while (n > 0 && !/\s/.test(a[n - 1])) n--;
  // The space belongs to the word after it.
  return a.slice(0, n > 0 && a[n - 1] === ' ' ? n - 1 : n);
}

/** ShareGPT's names of who speaks. */
const roles: Readonly<Record<string, string>> = {
  human: 'user',
  user: 'user',
  gpt: 'assistant',
  chatgpt: 'assistant',
  bing: 'assistant',
  bard: 'assistant',
  model: 'assistant',
  assistant: 'assistant',
  system: 'system',
  developer: 'developer',
  tool: 'tool',
  observation: 'tool',
  function: 'tool',
  function_call: 'assistant',
};

/** Messages { role, content } or { from, value }. */
function messagesIn(value: unknown, column: string): ChatMessage[] {
  const where = `column ${quote(column)}`;
  if (!Array.isArray(value))
    throw new RowFault(`Expected a list of messages in ${where}, received ${value === undefined ? 'nothing' : quote(value)}.`);
  return value.map((m: unknown, i): ChatMessage => {
    if (typeof m !== 'object' || m === null || Array.isArray(m))
      throw new RowFault(`Expected message ${i + 1} in ${where} to be { role, content }, received ${quote(m)}.`);
    const fields: Readonly<Record<string, unknown>> = { ...m };
    const said = fields.role ?? fields.from;
    const role = typeof said === 'string' && fields.role === undefined ? (Object.hasOwn(roles, said) ? roles[said] : undefined) : said;
    if (typeof role !== 'string' || role === '')
      throw new RowFault(
        `Expected who speaks in message ${i + 1} of ${where}: role (user, assistant, system, tool) or from (${Object.keys(roles).join(', ')}), received ${said === undefined ? 'neither' : quote(said)}.`,
      );
    const { from: _from, value: _value, ...others } = fields;
    return { ...(fields.role === undefined ? others : fields), role, content: contentOf(fields, i, where) };
  });
}

function contentOf(message: Readonly<Record<string, unknown>>, i: number, where: string): string {
  const content = message.content ?? message.value;
  if (typeof content === 'string') return content;
  // A call of a tool says nothing else.
  if ((content === null || content === undefined) && message.tool_calls) return '';
  if (Array.isArray(content)) {
    const texts = content.map((part: unknown) =>
      typeof part === 'object' && part !== null && 'text' in part && typeof part.text === 'string' ? part.text : null,
    );
    if (!texts.includes(null)) return texts.join('');
  }
  throw new RowFault(`Expected text in message ${i + 1} of ${where}, received ${content === undefined ? 'nothing' : quote(content)}.`);
}

const alpacaMessages = (instruction: string, input: string, system: string, output: string): ChatMessage[] => [
  ...(system === '' ? [] : [{ role: 'system', content: system }]),
  { role: 'user', content: input === '' ? instruction : `${instruction}\n\n${input}` },
  { role: 'assistant', content: output },
];

/** The prompt of Stanford's Alpaca (tatsu-lab/stanford_alpaca, train.py). */
function alpacaPrompt(instruction: string, input: string, system: string): string {
  const [about, context] = input === '' ? ['', ''] : [', paired with an input that provides further context', `### Input:\n${input}\n\n`];
  const task =
    system === ''
      ? `Below is an instruction that describes a task${about}. Write a response that appropriately completes the request.`
      : system;
  return `${task}\n\n### Instruction:\n${instruction}\n\n${context}### Response:`;
}
