/** @file `tenon chat`: a conversation in the terminal: answers as they come, history, /reset, /save, /help, /exit. Ctrl-C ends an answer. */
import { dirname } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { writeFileAtomically } from '../../io/atomic-write-node.js';
import { encodeUtf8 } from '../../io/bytes.js';
import type { ChatMessage } from '../../llm/text-engine.js';
import { requireFolder } from '../datasets.js';
import type { ChatCommandOptions } from '../language-commands.js';
import { said, say, writeJson } from '../output.js';
import { openCommandEngine, requestOf } from './generate.js';

const help = [
  '/reset         forget the conversation',
  '/save FILE     write it as JSON lines of messages, as tenon finetune reads them',
  '/system TEXT   forget it, and begin with this message',
  '/exit          leave (or Ctrl-D)',
  'Ctrl-C ends an answer; a line that ends in \\ goes on in the next one.',
];

/** Runs the command until /exit. Throws UsageError and what the library throws. */
export async function chat(name: string, options: ChatCommandOptions): Promise<void> {
  if (options.json !== undefined) await requireFolder('--json', dirname(options.json));
  const loading = new AbortController();
  const engine = await openCommandEngine(name, options, { slots: 1, signal: loading.signal, chatTemplate: 'chatml' });
  const isTerminal = process.stdin.isTTY === true && process.stdout.isTTY === true;
  let system = options.system;
  const opening = (): ChatMessage[] => (system === undefined ? [] : [{ role: 'system', content: system }]);
  let messages = opening();
  /** Conversations with an answer that were forgotten, for --json. */
  const forgotten: ChatMessage[][] = [];
  const forget = (): void => {
    if (messages.some((m) => m.role === 'assistant')) forgotten.push(messages);
    messages = opening();
  };
  let answering: AbortController | null = null;
  const lines = createInterface({ input: process.stdin, output: process.stdout, terminal: isTerminal });
  lines.on('SIGINT', () => {
    if (answering) answering.abort();
    else lines.close();
  });
  if (isTerminal) say(`${name}, ${engine.contextLength} tokens of context. /help shows the commands.`);
  if (!engine.hasOwnTemplate) say('The model has no chat template: ChatML is used, which it may not have been trained on.');

  /** Messages that leave room for an answer: the oldest turns are dropped. */
  const prompt = (): Int32Array => {
    let kept = messages;
    const first = kept[0]?.role === 'system' ? 1 : 0;
    const room = Math.max(1, engine.contextLength - Math.min(options.maxTokens, Math.floor(engine.contextLength / 2)));
    for (let ids = engine.renderChat(kept); ; ids = engine.renderChat(kept)) {
      if (ids.length < room || kept.length - first <= 1) return ids;
      kept = [...kept.slice(0, first), ...kept.slice(first + 2)];
    }
  };
  const answer = async (text: string): Promise<void> => {
    messages.push({ role: 'user', content: text });
    answering = new AbortController();
    let reply = '';
    try {
      const request = requestOf(engine, options, answering.signal);
      const stop = [...request.stop, ...engine.chatStop];
      for await (const piece of engine.generate(prompt(), { ...request, stop })) {
        process.stdout.write(said(piece.text));
        reply += piece.text;
      }
    } catch (error) {
      if (!answering.signal.aborted) {
        messages.pop();
        throw error;
      }
    } finally {
      answering = null;
    }
    process.stdout.write('\n');
    messages.push({ role: 'assistant', content: reply });
  };
  const command = async (line: string): Promise<boolean> => {
    const [word, ...rest] = line.split(' ');
    const argument = rest.join(' ').trim();
    switch (word) {
      case '/exit':
      case '/quit':
        return true;
      case '/reset':
        forget();
        say('The conversation is forgotten.');
        return false;
      case '/system':
        system = argument === '' ? undefined : argument;
        forget();
        return false;
      case '/save':
        if (argument === '') say('/save: which file? Write /save FILE.');
        else {
          await writeFileAtomically(argument, encodeUtf8(`${JSON.stringify({ messages })}\n`)).then(
            () => say(`Saved ${argument}.`),
            (error: unknown) => say(error instanceof Error ? error.message : String(error)),
          );
        }
        return false;
      default:
        for (const text of help) say(text);
        return false;
    }
  };

  try {
    let text = '';
    if (isTerminal) lines.setPrompt('> ');
    const ask = (): void => {
      if (isTerminal) lines.prompt();
    };
    ask();
    for await (const line of lines) {
      if (line.endsWith('\\')) {
        text += `${line.slice(0, -1)}\n`;
        continue;
      }
      text += line;
      const whole = text.trim();
      text = '';
      if (whole.startsWith('/')) {
        if (await command(whole)) break;
      } else if (whole !== '')
        await answer(whole).catch((error: unknown) => {
          say(`tenon: ${error instanceof Error ? error.message : String(error)}`);
        });
      ask();
    }
    forget();
    if (options.json !== undefined) await writeJson(options.json, { model: name, conversations: forgotten });
  } finally {
    lines.close();
    await engine.close();
  }
}
