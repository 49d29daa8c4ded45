/** @file What a run that goes on must not change: its tokenizer, its data; and what preferences are learned against. */
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ConfigError } from '../../src/base/errors.js';
import { tokenizeFiles } from '../../src/llm/data/index.js';
import { savePretrained } from '../../src/llm/pretrained-node.js';
import { finetune, pretrain, type RunContext } from '../../src/llm/run-node.js';
import { finetuneSettings, pretrainSettings, readSettings } from '../../src/llm/settings.js';
import { trainTokenizer } from '../../src/llm/train-tokenizer.js';
import { languageModel } from '../../src/zoo/index.js';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenon-run-data-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const config = {
  model_type: 'llama',
  hidden_size: 16,
  intermediate_size: 32,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  tie_word_embeddings: true,
};
const text = (words: readonly string[]): string =>
  Array.from(
    { length: 300 },
    (_, i) => `${words[i % words.length]} ${words[(i * 7 + 3) % words.length]} ${words[(i * 5) % words.length]}.`,
  ).join('\n');
const english = text(['the', 'small', 'mouse', 'runs', 'home', 'and', 'sleeps']);
const french = text(['la', 'petite', 'souris', 'rentre', 'chez', 'elle', 'dormir']);

function context(name: string, more: Partial<RunContext> = {}): RunContext & { lines: string[] } {
  const lines: string[] = [];
  return { folder: join(folder, name), isResumed: false, say: (line) => void lines.push(line), lines, ...more };
}

test('a batch far too large for the machine is refused at once, with what to lower', async () => {
  const data = join(folder, 'short.txt');
  await writeFile(data, english);
  const settings = pretrainSettings.parse({
    data,
    config,
    tokenizer: 'characters',
    context: 1_000_000,
    batchSize: 100_000,
    steps: 2,
    documents: 'file',
  });
  const began = performance.now();
  await expect(pretrain(settings, context('too-large'))).rejects.toThrow(
    /a step needs [\d.]+ GB or more for activations and gradients; .* Lower batchSize or context/,
  );
  // Compiling its step would take minutes.
  expect(performance.now() - began).toBeLessThan(30_000);
});

test('a run goes on with its own tokenizer, and not with other data', async () => {
  const data = join(folder, 'data.txt');
  await writeFile(data, english);
  const settings = pretrainSettings.parse({
    data,
    config,
    context: 32,
    vocabSize: 300,
    steps: 6,
    batchSize: 2,
    documents: 'lines',
    evaluateEvery: 2,
  });
  const stop = new AbortController();
  const first = context('run', { signal: stop.signal, onEvaluation: () => stop.abort() });
  expect(await pretrain(settings, first)).toBeNull();
  const tokenizer = await readFile(join(first.folder, 'tokenizer', 'tokenizer.json'), 'utf8');
  await writeFile(data, french);
  const again = context('run', { isResumed: true });
  await expect(pretrain(settings, again)).rejects.toThrow(/data\.txt is not what this run began with/);
  await expect(pretrain(settings, again)).rejects.toThrow(ConfigError);
  await writeFile(data, english);
  expect(await pretrain(settings, again)).not.toBeNull();
  expect(again.lines.join('\n')).not.toContain('trained a tokenizer');
  expect(await readFile(join(first.folder, 'model', 'tokenizer.json'), 'utf8')).toBe(tokenizer);
});

test('a run goes on with its own settings, and what it is refused leaves it as it was', async () => {
  const data = join(folder, 'kept.txt');
  await writeFile(data, english);
  const yaml = `data: ${data}\ndepth: 1\ncontext: 16\nvocabSize: 300\nsteps: 6\nbatchSize: 2\nevaluateEvery: 2\n`;
  const settings = (flags: object = {}, text: string = yaml) => readSettings(pretrainSettings, text, { ...flags }, 'run.yaml');
  const stop = new AbortController();
  const c = context('strict', { signal: stop.signal, onEvaluation: () => stop.abort() });
  expect(await pretrain(settings(), c)).toBeNull();
  const path = join(c.folder, 'run.yaml');
  const own = await readFile(path, 'utf8');
  const again = (flags: object, text = own) => pretrain(settings(flags, text), context('strict', { isResumed: true }));
  await expect(again({ depth: 2 })).rejects.toThrow(
    "resume: depth is 1 in this run, received 2. Expected the run's own settings; start a new run to change it.",
  );
  for (const flags of [{ evaluateEvery: 3 }, { steps: 8 }, { seed: 1 }, { learningRate: 0.5 }, { dtype: 'bf16' }, { validation: data }])
    await expect(again(flags)).rejects.toThrow(`resume: ${Object.keys(flags)[0]} is `);
  await expect(again({ config, steps: 8 })).rejects.toThrow(
    /config is not set in this run, received .*; steps is 6, received 8\. .* to change them\.$/,
  );
  expect(await readFile(path, 'utf8')).toBe(own);
  // Written over by hand: the checkpoint knows.
  await writeFile(path, own.replace('evaluateEvery: 2', 'evaluateEvery: 3'));
  await expect(again({}, await readFile(path, 'utf8'))).rejects.toThrow('resume: evaluateEvery is 2 in this run, received 3.');
  await writeFile(path, own);
  // The data may lie elsewhere, and how it is watched may change.
  await rename(data, join(folder, 'moved.txt'));
  const report = await again({ data: join(folder, 'moved.txt'), saveSeconds: 1, samples: ['the'] });
  expect(report?.curve.map((p) => p.step)).toEqual([2, 4, 6]);
  expect(await readFile(path, 'utf8')).toContain('moved.txt');
});

test('an alphabet is that of the rows, not of the files', async () => {
  const alphabet = async (name: string, content: string, documents?: 'lines'): Promise<string> => {
    const data = join(folder, name);
    await writeFile(data, content);
    const settings = { data, config, tokenizer: 'characters', context: 8, batchSize: 1, steps: 1, validationShare: 0, documents };
    const c = context(`alphabet-${name}`);
    await pretrain(pretrainSettings.parse(settings), c);
    const { model } = JSON.parse(await readFile(join(c.folder, 'tokenizer', 'tokenizer.json'), 'utf8'));
    return Object.keys(model.vocab).join('');
  };
  const row = JSON.stringify({ text: 'a café 😀 a café\n' }).replace('é', '\\u00e9');
  expect(await alphabet('rows.jsonl', `${row}\n${row}\n`)).toBe('\n acfé😀');
  expect(await alphabet('lines.txt', 'a café\na café a café\n', 'lines')).toBe('\n acfé');
});

test('a sample that nothing can be said after is no end of the run', async () => {
  const data = join(folder, 'plain.txt');
  await writeFile(data, english);
  const settings = pretrainSettings.parse({
    data,
    config,
    tokenizer: 'characters',
    context: 32,
    steps: 2,
    batchSize: 2,
    samples: ['é'],
    layout: 'windows',
  });
  const run = context('samples');
  expect(await pretrain(settings, run)).not.toBeNull();
  expect(run.lines.join('\n')).toMatch(/"é" → .*no tokens/);
});

test('preferences on an adapter are learned against the model with that adapter', async () => {
  const data = join(folder, 'plain.txt');
  await writeFile(data, english);
  const base = pretrainSettings.parse({ data, config, context: 64, vocabSize: 300, steps: 2, batchSize: 2, documents: 'lines' });
  await pretrain(base, context('base'));
  const pairs = join(folder, 'prompts.jsonl');
  await writeFile(
    pairs,
    Array.from({ length: 40 }, (_, i) => JSON.stringify({ prompt: `the small ${i} `, completion: 'mouse runs home' })).join('\n'),
  );
  const common = { model: join(folder, 'base'), batchSize: 4, learningRate: 0.05, loraRank: 2 };
  // Ctrl-C is heard while the model is evaluated before anything is trained.
  const stop = new AbortController();
  const lines: string[] = [];
  const say = (line: string): void => {
    lines.push(line);
    if (line.includes('of them trained')) stop.abort();
  };
  const cut = finetune(
    finetuneSettings.parse({ ...common, data: pairs, validation: pairs, steps: 4 }),
    context('heard', { signal: stop.signal, say }),
  );
  expect(await cut).toBeNull();
  expect(lines.join('\n')).not.toContain('before:');
  expect(existsSync(join(folder, 'heard', 'checkpoints'))).toBe(false);
  await finetune(finetuneSettings.parse({ ...common, data: pairs, steps: 4 }), context('sft'));
  const preferences = join(folder, 'preferences.jsonl');
  await writeFile(
    preferences,
    Array.from({ length: 24 }, (_, i) =>
      JSON.stringify({ prompt: `the small ${i} `, chosen: 'mouse runs home', rejected: 'and and and' }),
    ).join('\n'),
  );
  const settings = finetuneSettings.parse({
    ...common,
    data: preferences,
    validation: preferences,
    // The run that made it.
    adapter: join(folder, 'sft'),
    loraRank: 8,
    steps: 3,
  });
  const report = await finetune(settings, context('dpo'));
  // What it has counts, and not the default.
  expect(report?.settings).toMatchObject({ loraRank: 2, loraAlpha: 16, loraTargets: expect.arrayContaining(['q_proj']) });
  const record = await readFile(join(folder, 'dpo', 'run.yaml'), 'utf8');
  expect(record).toContain('loraRank: 2\n');
  // It can be repeated, and gone on with.
  expect(readSettings(finetuneSettings, record, { out: 'again' }, 'run.yaml')).toMatchObject({ loraRank: 2, steps: 3 });
  expect(await finetune(readSettings(finetuneSettings, record, {}, 'run.yaml'), context('dpo', { isResumed: true }))).not.toBeNull();
  await expect(finetune({ ...settings, minLearningRate: 0.5, schedule: 'cosine' }, context('rising'))).rejects.toThrow(
    /^minLearningRate is 0\.5, learningRate [\d.e-]+.*\. Expected minLearningRate at most learningRate/,
  );
  const other = (flags: object) => finetune({ ...settings, ...flags }, context('other'));
  await expect(other({ loraRank: 4 })).rejects.toThrow(/^loraRank: 4, and the adapter .*sft has 2\. Expected the adapter's own/);
  await expect(other({ loraTargets: ['q_proj'] })).rejects.toThrow(/^loraTargets: \["q_proj"\], and the adapter/);
  await expect(other({ adapter: join(folder, 'base') })).rejects.toThrow(/^adapter: .*holds no adapter_config\.json/);
  await expect(other({ adapter: 'nowhere' })).rejects.toThrow(/^adapter: nowhere is not there/);
  await expect(other({ method: 'full' })).rejects.toThrow(/adapter with method: full/);
  expect(report?.before?.loss).toBeCloseTo(Math.log(2), 5);
  expect(report?.before?.margin).toBeCloseTo(0, 5);
  expect(report?.after?.margin).toBeGreaterThan(0);
  await expect(finetune(finetuneSettings.parse({ ...common, model: join(folder, 'sft'), data: pairs }), context('wrong'))).rejects.toThrow(
    /it is an adapter/,
  );
});

test('conversations are learned by ChatML where the tokenizer has no template', async () => {
  const rows = join(folder, 'talks.jsonl');
  const talk = (i: number) => ({ messages: ['user', 'assistant'].map((role) => ({ role, content: `mouse ${i}` })) });
  await writeFile(rows, Array.from({ length: 8 }, (_, i) => JSON.stringify(talk(i))).join('\n'));
  for (const specialTokens of [['<|im_start|>', '<|im_end|>'], ['<|endoftext|>']]) {
    const name = String(specialTokens.length);
    const { tokenizer } = await trainTokenizer([english], { vocabSize: 270, specialTokens });
    const model = languageModel({ ...config, vocab_size: tokenizer.vocabSize, max_position_embeddings: 64 });
    model.ensureBuilt([[1, 2]], false);
    await savePretrained({ model, tokenizer, generation: {} }, join(folder, `plain-${name}`));
    const c = context(`talks-${name}`);
    const settings = { model: join(folder, `plain-${name}`), data: rows, method: 'full', batchSize: 2, steps: 1 };
    expect(await finetune(finetuneSettings.parse(settings), c)).not.toBeNull();
    expect(c.lines.join('\n')).toContain('The tokenizer has no chat template: ChatML is used.');
    // A template without its tokens would keep others from ending turns at their texts.
    const saved = JSON.parse(await readFile(join(c.folder, 'model', 'tokenizer_config.json'), 'utf8'));
    expect(saved.chat_template !== undefined).toBe(specialTokens.includes('<|im_end|>'));
    // Tokens that were made so are not found by who didn't ask for it.
    const tokens = join(folder, `tokens-${name}`);
    await tokenizeFiles(rows, tokenizer, { folder: tokens, chatTemplate: 'chatml' });
    await expect(tokenizeFiles(rows, tokenizer, { folder: tokens })).rejects.toThrow(/no chat template.*chatTemplate: 'chatml'/);
  }
});
