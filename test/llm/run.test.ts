/** @file Whole runs in a folder of their own: pretraining, its resumption, adapters, preferences; and their models by name. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openEngine, openModel } from '../../src/llm/open-model-node.js';
import { finetune, pretrain, type RunContext } from '../../src/llm/run-node.js';
import { finetuneSettings, pretrainSettings, readSettings } from '../../src/llm/settings.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenon-run-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const words = ['red', 'green', 'blue', 'small', 'large', 'old', 'new', 'round'];
const things = ['ball', 'house', 'boat', 'stone', 'tree'];
/** Sentences that a small model can learn: a colour follows each thing by a rule. */
const sentence = (i: number): string => `the ${things[i % 5]} is ${words[(i * 3) % 8]} .`;
const context = (name: string, more: Partial<RunContext> = {}): RunContext & { lines: string[] } => {
  const lines: string[] = [];
  return { folder: join(folder, name), isResumed: false, say: (line) => void lines.push(line), lines, ...more };
};
const pretrainYaml = (extra = ''): string => `
data: ${join(folder, 'text.txt')}
tokenizer: characters
documents: file
config: { model_type: llama, hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 4, max_position_embeddings: 128, tie_word_embeddings: true }
context: 32
layout: windows
batchSize: 8
steps: 60
learningRate: 0.01
evaluateEvery: 20
validationShare: 0.1
${extra}`;

describe('a run', () => {
  test('pretrains on text, and leaves everything to repeat it', { timeout: 300_000 }, async () => {
    await writeFile(join(folder, 'text.txt'), Array.from({ length: 400 }, (_, i) => sentence(i)).join('\n'));
    const c = context('base');
    const report = await pretrain(readSettings(pretrainSettings, pretrainYaml('samples: ["the ball"]'), {}, 'run.yaml'), c);
    expect(report?.curve.map((p) => p.step)).toEqual([20, 40, 60]);
    const losses = report?.curve.map((p) => p.validation?.loss ?? Number.NaN) ?? [];
    expect(losses[2]).toBeLessThan(losses[0]);
    expect(losses[2]).toBeLessThan(1);
    expect(c.lines.filter((l) => l.includes('"the ball" → '))).toHaveLength(3);
    expect(report?.data[0]).toMatchObject({ name: expect.stringContaining('text.txt'), sha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
    const card = await readFile(join(c.folder, 'README.md'), 'utf8');
    expect(card).toContain('| 60 |');
    expect(card).toContain(report?.data[0].sha256);
    // The file that it leaves gives the same run.
    const again = context('again');
    const yaml = await readFile(join(c.folder, 'run.yaml'), 'utf8');
    const second = await pretrain(readSettings(pretrainSettings, yaml, {}, 'run.yaml'), again);
    expect(second?.curve.map((p) => p.validation?.loss)).toEqual(losses);
  });

  test('interrupted and gone on with, it gives the same weights', { timeout: 300_000 }, async () => {
    const stop = new AbortController();
    const c = context('cut', { signal: stop.signal, onEvaluation: () => stop.abort() });
    const settings = readSettings(pretrainSettings, pretrainYaml(), {}, 'run.yaml');
    expect(await pretrain(settings, c)).toBeNull();
    const report = await pretrain(settings, context('cut', { isResumed: true }));
    expect(report?.curve.map((p) => p.step)).toEqual([20, 40, 60]);
    const read = (name: string): Promise<Buffer> => readFile(join(folder, name, 'model', 'model.safetensors'));
    expect((await read('cut')).equals(await read('base'))).toBe(true);
  });

  test('fine-tunes an adapter on completions, which is a model by the run’s name', { timeout: 300_000 }, async () => {
    const rows = Array.from({ length: 64 }, (_, i) => ({ prompt: `the ${things[i % 5]} is `, completion: 'not here .' }));
    await writeFile(join(folder, 'rows.jsonl'), rows.map((r) => JSON.stringify(r)).join('\n'));
    const yaml = `
model: ${join(folder, 'base', 'model')}
data: ${join(folder, 'rows.jsonl')}
validationShare: 0.2
batchSize: 16
steps: 30
learningRate: 0.02
evaluateEvery: 15
`;
    for (const quantize of ['none', 'nf4'] as const) {
      const c = context(`lora-${quantize}`);
      const report = await finetune(readSettings(finetuneSettings, yaml, { quantize }, 'run.yaml'), c);
      expect(c.lines.some((l) => l.includes('as prompt/completion'))).toBe(true);
      expect(report?.trainableParameters).toBeLessThan((report?.parameters ?? 0) / 2);
      expect(report?.before?.natsPerToken).toBeGreaterThan(2);
      expect(report?.after?.natsPerToken).toBeLessThan(0.3);
    }
    const engine = await openEngine(join(folder, 'lora-none'), { slots: 1, contextLength: 64 });
    let text = '';
    const request = { maxTokens: 10, temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, stop: [] };
    for await (const piece of engine.generate(engine.encode('the tree is '), request)) text += piece.text;
    expect(text).toBe('not here .');
  });

  test('passes over bad rows when told to, and needs enough data for a held-out part', async () => {
    const good = JSON.stringify({ prompt: 'the ball is ', completion: 'red .' });
    await writeFile(join(folder, 'bad.jsonl'), [good, JSON.stringify({ prompt: 'the ball is ', completion: 7 }), good].join('\n'));
    await writeFile(join(folder, 'one.jsonl'), good);
    await writeFile(join(folder, 'one.txt'), 'the ball');
    const run = (data: string, flags: Record<string, unknown>, c = context(`few-${data}`)) =>
      finetune(
        readSettings(finetuneSettings, null, { model: join(folder, 'base', 'model'), data: join(folder, data), steps: 1, ...flags }, ''),
        c,
      );
    await expect(run('bad.jsonl', {})).rejects.toThrow(/line 2.*pass over such rows with badRows: 'skip'/);
    const c = context('skips');
    expect(await run('bad.jsonl', { badRows: 'skip' }, c)).not.toBeNull();
    expect(c.lines.join('\n')).toContain('1 bad row passed over.');
    const few = /^validationShare: of 1 example .*leaves nothing to evaluate on.*validationShare: 0 for none\.$/;
    await expect(run('one.jsonl', { validationShare: 0.2 })).rejects.toThrow(few);
    await expect(run('one.txt', { validationShare: 0.1 })).rejects.toThrow(few);
    expect(await run('one.jsonl', { steps: undefined, epochs: 2 }, context('one'))).not.toBeNull();
    // What it leaves has the steps that its epochs came to, and can be read, to go on with it and to repeat it.
    const left = await readFile(join(folder, 'one', 'run.yaml'), 'utf8');
    expect(readSettings(finetuneSettings, left, {}, 'run.yaml')).toMatchObject({ epochs: 2, steps: 2 });
  });

  test('is no model before it is finished, and a base is packed as in training when that is asked for', async () => {
    const unfinished = openModel(join(folder, 'few-bad.jsonl'));
    await expect(unfinished).rejects.toThrow(/the run is not finished.*Go on with: tenon finetune --resume .*few-bad\.jsonl$/);
    await mkdir(join(folder, 'killed', 'model'), { recursive: true });
    await writeFile(join(folder, 'killed', 'run.yaml'), 'data: a.txt\n');
    await writeFile(join(folder, 'killed', 'model', 'config.json'), '{}');
    await expect(openModel(join(folder, 'killed'))).rejects.toThrow('Go on with: tenon pretrain --resume');
    const kinds = async (name: string, quantize: 'trained' | 'none') =>
      (await openModel(join(folder, name), { quantize })).model.weights.some((v) => v.name.endsWith('/nf4'));
    expect(await Promise.all([kinds('lora-nf4', 'trained'), kinds('lora-nf4', 'none'), kinds('lora-none', 'trained')])).toEqual([
      true,
      false,
      false,
    ]);
  });

  test('learns preferences against the model with its adapter switched off', { timeout: 300_000 }, async () => {
    const rows = Array.from({ length: 80 }, (_, i) => ({
      prompt: `the ${things[i % 5]} is `,
      chosen: `${words[i % 4]} .`,
      rejected: `${words[4 + (i % 4)]} .`,
    }));
    await writeFile(join(folder, 'pairs.jsonl'), rows.map((r) => JSON.stringify(r)).join('\n'));
    const yaml = `
model: ${join(folder, 'base', 'model')}
data: ${join(folder, 'pairs.jsonl')}
validationShare: 0.2
batchSize: 8
steps: 24
learningRate: 0.01
evaluateEvery: 12
`;
    const report = await finetune(readSettings(finetuneSettings, yaml, {}, 'run.yaml'), context('dpo'));
    expect(report?.kind).toBe('dpo');
    // Nothing was preferred before: the adapter does nothing yet.
    expect(report?.before?.loss).toBeCloseTo(Math.log(2), 4);
    expect(report?.after?.rewardAccuracy).toBeGreaterThan(0.9);
  });

  test('names that mean no model are refused', async () => {
    await expect(openModel(join(folder, 'nowhere'))).rejects.toThrow('Expected a folder in the Hugging Face layout');
    await expect(openModel(join(folder, 'rows.jsonl'))).rejects.toThrow("it can't be read");
  });
});
