/**
 * @file llama.cpp on what Tenon exports of a model: the same tokens for the same text, and at every type what it says. node-llama-cpp is
 * installed on demand, as the other peers in JavaScript.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Tokenizer } from '@huggingface/tokenizers';
import { openModel, TextGenerator } from 'tenon/llm';
import type { GgufType } from '#tenon/io/gguf.js';
import { writeGguf } from '#tenon/io/gguf-node.js';
import { openSafetensors } from '#tenon/io/safetensors-files-node.js';
import { ggufEntries } from '#tenon/llm/export.js';
import { fromHost } from '#tenon/tensor/index.js';
import { isObject, startLlamaCpp } from './peers.js';

export interface ExportCheckOptions {
  /** A folder in Hugging Face's layout. */
  readonly model: string;
  /** A text file whose lines are tokenized by both sides, and the first of them said after. */
  readonly text?: string;
  readonly prompt: string;
  /** How many lines' tokens are compared with f32's choices. */
  readonly lines: number;
  /** Where node-llama-cpp is installed; default bench/peers. */
  readonly javascript?: string;
  readonly say: (line: string) => void;
}

export interface ExportCheck {
  readonly type: GgufType;
  /** What llama.cpp goes on with after the prompt. */
  readonly continuation: string;
  /** Lines that llama.cpp makes the same tokens of, of so many without unknown characters. */
  readonly sameTokens: number;
  readonly texts: number;
  /** Share of tokens after which it chooses as at f32. */
  readonly sameChoices: number;
  readonly tokens: number;
  /** Share of tokens after which it chooses as Tenon does on the same file. */
  readonly sameAsTenon: number;
  /** Beginnings of lines after which it and Tenon, on the same file, say the same most likely tokens; of so many. */
  readonly sameGreedy: number;
  readonly beginnings: number;
}

/** Of how many lines the first tokens are gone on from, how many they are, and how many follow. */
const [beginnings, firstTokens, nextTokens] = [20, 8, 64];

const types: readonly GgufType[] = ['f32', 'f16', 'bf16', 'q8_0'];

/** Exports a model at every type and asks llama.cpp. Throws Error where it isn't installed, or refuses a file. */
export async function checkExport(options: ExportCheckOptions): Promise<ExportCheck[]> {
  const { model, prompt, lines, say } = options;
  const peer = startLlamaCpp(options.javascript);
  const folder = await mkdtemp(join(tmpdir(), 'tenon-export-'));
  const files = await openSafetensors(model);
  try {
    const json = async (name: string): Promise<Record<string, unknown>> => {
      const value: unknown = JSON.parse(await readFile(join(model, name), 'utf8'));
      if (!isObject(value)) throw new Error(`${name} of ${model} is no JSON object.`);
      return { ...value };
    };
    const tokenizer = { json: await json('tokenizer.json'), config: await json('tokenizer_config.json') };
    const config = await json('config.json');
    const texts = await knownTexts(new Tokenizer(tokenizer.json, tokenizer.config), tokenizer.json, options);
    const rows: ExportCheck[] = [];
    let reference: number[][] | undefined;
    for (const type of types) {
      const tensors = files.names().map((name) => ({ name, ...files.info(name), data: async () => (await files.read(name)).data }));
      const path = join(folder, `${type}.gguf`);
      await writeGguf(path, ggufEntries(config, tokenizer, tensors, type));
      const { bos } = await peer.request({ do: 'load', path });
      const begin = typeof bos === 'number' ? [bos] : [];
      const made = listOfIds((await peer.request({ do: 'tokenize', texts: texts.map((t) => t.text) })).ids);
      const choices: number[][] = [];
      for (const { ids } of texts.slice(0, lines))
        choices.push(asIds((await peer.request({ do: 'choices', ids: [...begin, ...ids] })).ids));
      reference ??= choices;
      const { model: own, tokenizer: ownTokenizer } = await openModel(path);
      const chosen: number[][] = [];
      for (const { ids } of texts.slice(0, lines)) {
        const logits = own.call(fromHost(Int32Array.from([...begin, ...ids]), [1, begin.length + ids.length], 'i32'));
        chosen.push([...(await logits.argmax(-1).data())]);
      }
      // It speaks past what ends an answer.
      const generator = new TextGenerator(own, ownTokenizer, {
        slots: 1,
        context: Math.min(1024, own.config.maxPositions),
        stopTokens: [],
      });
      let sameGreedy = 0;
      const starts = texts.slice(0, beginnings).map(({ ids }) => [...begin, ...ids.slice(0, firstTokens)]);
      for (const start of starts) {
        const theirs = asIds((await peer.request({ do: 'greedy', ids: start, count: nextTokens })).ids);
        const ours: number[] = [];
        for await (const part of generator.stream(start, { maxTokens: nextTokens, temperature: 0 })) ours.push(...part.tokens);
        if (theirs.join() === ours.slice(0, theirs.length).join()) sameGreedy++;
      }
      const [start] = listOfIds((await peer.request({ do: 'tokenize', texts: [prompt] })).ids);
      const { ids } = await peer.request({ do: 'greedy', ids: [...begin, ...start], count: 24 });
      const { text } = await peer.request({ do: 'detokenize', ids });
      rows.push({
        type,
        continuation: String(text),
        sameTokens: made.filter((list, i) => list.join() === texts[i].ids.join()).length,
        texts: texts.length,
        sameChoices: shareOfSame(choices, reference),
        tokens: choices.flat().length,
        sameAsTenon: shareOfSame(choices, chosen),
        sameGreedy,
        beginnings: starts.length,
      });
      say(`${type}: ${JSON.stringify(rows[rows.length - 1])}`);
      await rm(path);
    }
    return rows;
  } finally {
    peer.close();
    await files.close();
    await rm(folder, { recursive: true, force: true });
  }
}

function shareOfSame(a: readonly number[][], b: readonly number[][]): number {
  const pairs = a.flatMap((list, i) => list.map((id, j): boolean => id === b[i][j]));
  return pairs.length === 0 ? 1 : pairs.filter(Boolean).length / pairs.length;
}

/** The lines with their tokens, without those whose tokens have the unknown one: llama.cpp ends its process over characters without a token. */
async function knownTexts(
  tokenizer: Tokenizer,
  json: Record<string, unknown>,
  { text, prompt }: ExportCheckOptions,
): Promise<{ text: string; ids: number[] }[]> {
  const all = text === undefined ? [prompt] : (await readFile(text, 'utf8')).split('\n').filter((line) => line.length > 0);
  const { model } = json;
  const unknown = isObject(model) && typeof model.unk_token === 'string' ? tokenizer.token_to_id(model.unk_token) : undefined;
  return all
    .map((line) => ({ text: line, ids: [...tokenizer.encode(line, { add_special_tokens: false }).ids] }))
    .filter(({ ids }) => unknown === undefined || !ids.includes(unknown));
}

function asIds(x: unknown): number[] {
  if (!Array.isArray(x) || !x.every((id) => typeof id === 'number')) throw new Error('llama.cpp: expected a list of tokens in the answer.');
  return x;
}
const listOfIds = (x: unknown): number[][] => (Array.isArray(x) ? x.map(asIds) : []);
