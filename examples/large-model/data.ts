/**
 * @file The worked example's data, made of Multi30k's captions in English and German: text to pretrain on, instructions as prompt and completion,
 * and preferences, whose rejected answers are what the fine-tuned model says itself.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { openEngine } from 'tenon/llm';

export interface Pair {
  readonly en: string;
  readonly de: string;
}
/** Captions by what they are for. */
export interface Captions {
  /** For text and instructions. */
  readonly train: readonly Pair[];
  /** For preferences: the model hasn't seen their translations. */
  readonly preferences: readonly Pair[];
  readonly validation: readonly Pair[];
  readonly test: readonly Pair[];
}

const parts = { train: 'train', validation: 'val', test: 'test_2016_flickr' } as const;
/** Share of the training captions that is kept for preferences. */
const preferenceShare = 2 / 29;

export const question = (text: string): string => `Translate: ${text}`;
const asked = (text: string): { role: string; content: string }[] => [{ role: 'user', content: question(text) }];
const answered = (text: string): { role: string; content: string }[] => [{ role: 'assistant', content: text }];

/** Multi30k's files in `folder`, the first `limit` captions of each. Throws Error, with what is missing, where they aren't there. */
export async function readCaptions(folder: string, limit: number): Promise<Captions> {
  const lines = async (part: string, language: string): Promise<string[]> => {
    const name = `${part}.${language}.gz`;
    const bytes = await readFile(join(folder, name)).catch(() => {
      throw new Error(
        `large-model: ${name} is not in ${folder}. Expected Multi30k's ${Object.values(parts)
          .flatMap((p) => [`${p}.en.gz`, `${p}.de.gz`])
          .join(', ')} (github.com/multi30k/dataset, data/task1/raw). Name the folder above multi30k/ with --data-dir or TENON_DATA_DIR.`,
      );
    });
    return gunzipSync(bytes).toString('utf8').trimEnd().split('\n');
  };
  const pairs = async (part: string): Promise<Pair[]> => {
    const [en, de] = [await lines(part, 'en'), await lines(part, 'de')];
    return en.slice(0, limit).map((text, i) => ({ en: text.trim(), de: (de[i] ?? '').trim() }));
  };
  const train = await pairs(parts.train);
  const kept = Math.round(train.length * (1 - preferenceShare));
  return {
    train: train.slice(0, kept),
    preferences: train.slice(kept),
    validation: await pairs(parts.validation),
    test: await pairs(parts.test),
  };
}

const jsonLines = (rows: readonly unknown[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join('');

/** Writes captions.txt and the instructions into `folder`. */
export async function writeInstructions(folder: string, { train, validation, test }: Captions): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'captions.txt'), train.map(({ en, de }) => `${en}\n${de}\n`).join(''));
  const instructions = (pairs: readonly Pair[]): string =>
    jsonLines(pairs.map(({ en, de }) => ({ prompt: asked(en), completion: answered(de) })));
  await writeFile(join(folder, 'instructions.jsonl'), instructions(train));
  await writeFile(join(folder, 'instructions-validation.jsonl'), instructions(validation));
  await writeFile(join(folder, 'instructions-test.jsonl'), instructions(test));
}

export interface OwnAnswers {
  readonly answers: number;
  readonly tokens: number;
  readonly tokensPerSecond: number;
}

/** Asks the model in `model` for translations and writes preferences: the human one is chosen, the model's own is rejected. */
export async function writePreferences(folder: string, captions: Captions, model: string): Promise<OwnAnswers> {
  const engine = await openEngine(model, { slots: 16, contextLength: 128 });
  const sampling = { temperature: 1.3, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, maxTokens: 48, stop: [] };
  let tokens = 0;
  let answers = 0;
  const began = performance.now();
  const preferences = async (pairs: readonly Pair[]): Promise<string> => {
    const rows = await Promise.all(
      pairs.map(async ({ en, de }, i) => {
        let own = '';
        for await (const piece of engine.generate(engine.renderChat(asked(en)), { ...sampling, seed: i })) {
          own += piece.text;
          tokens += piece.tokens;
        }
        answers++;
        // What it says as the human did is no preference.
        return own.trim() === '' || own.trim() === de ? [] : [{ prompt: asked(en), chosen: answered(de), rejected: answered(own.trim()) }];
      }),
    );
    return jsonLines(rows.flat());
  };
  await writeFile(join(folder, 'preferences.jsonl'), await preferences(captions.preferences));
  await writeFile(join(folder, 'preferences-validation.jsonl'), await preferences(captions.validation.slice(0, 400)));
  return { answers, tokens, tokensPerSecond: tokens / ((performance.now() - began) / 1000) };
}
