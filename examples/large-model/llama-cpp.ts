/** @file The worked example's model in llama.cpp: the same tokens of the same chat, and the same answers. */
import { spawn } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { openEngine } from 'tenon/llm';
import { question } from './data.js';

/** Whether node-llama-cpp is installed in `folder`. */
export async function hasLlamaCpp(folder: string): Promise<boolean> {
  return (await stat(join(folder, 'node_modules', 'node-llama-cpp')).catch(() => null)) !== null;
}

export interface Agreement {
  readonly type: string;
  readonly questions: number;
  /** Questions of which both make the same tokens, and those that both answer alike. */
  readonly sameTokens: number;
  readonly sameAnswers: number;
  /** What llama.cpp says to the first question. */
  readonly example: string;
}

/** Puts questions to a GGUF file in llama.cpp and to the model in Tenon, always the most likely token. Throws Error when llama.cpp fails. */
export async function askLlamaCpp(
  program: string,
  folder: string,
  gguf: string,
  model: string,
  texts: readonly string[],
): Promise<Agreement> {
  const count = 48;
  const chats = texts.map((asked) => `<|im_start|>user\n${question(asked)}<|im_end|>\n<|im_start|>assistant\n`);
  const child = spawn(process.execPath, ['--input-type=module', '-e', await readFile(program, 'utf8')], {
    cwd: folder,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.end(JSON.stringify({ path: gguf, chats, count }));
  const [reply, code] = await Promise.all([text(child.stdout), new Promise<number | null>((resolve) => child.on('close', resolve))]);
  if (code !== 0) throw new Error(`large-model: llama.cpp ended with exit code ${code} on ${basename(gguf)}.`);
  const { ids, answers } = JSON.parse(reply) as { ids: number[][]; answers: string[] };

  const engine = await openEngine(model, { slots: 1 });
  const greedy = { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, maxTokens: count, stop: [] };
  let [sameTokens, sameAnswers] = [0, 0];
  for (const [i, asked] of texts.entries()) {
    const prompt = engine.renderChat([{ role: 'user', content: question(asked) }]);
    if (ids[i].join() === prompt.join()) sameTokens++;
    let own = '';
    for await (const piece of engine.generate(prompt, greedy)) own += piece.text;
    if (answers[i].trim() === own.trim()) sameAnswers++;
  }
  const type = basename(gguf).replace(/^model-|\.gguf$/g, '');
  return { type, questions: texts.length, sameTokens, sameAnswers, example: answers[0].trim() };
}
