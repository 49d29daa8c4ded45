/** @file `tenon chat` and `tenon perplexity` on a small model that was made for this. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { savePretrained, trainTokenizer } from '../../src/llm/index.js';
import { setRandomSeed } from '../../src/tensor/index.js';
import { languageModel } from '../../src/zoo/index.js';
import { ensureBuilt, runScript } from './built.js';

let folder: string;
beforeAll(async () => {
  await ensureBuilt();
  folder = await mkdtemp(join(tmpdir(), 'tenon-language-'));
  // Without ChatML's tokens, and without a template.
  const { tokenizer } = await trainTokenizer(['the ball is red'], { vocabSize: 258, specialTokens: ['<s>', '</s>'] });
  setRandomSeed(0);
  const model = languageModel({
    model_type: 'llama',
    vocab_size: tokenizer.vocabSize,
    hidden_size: 16,
    intermediate_size: 32,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    max_position_embeddings: 128,
  });
  model.ensureBuilt([[1, 2]], false);
  await savePretrained({ model, tokenizer, generation: {} }, join(folder, 'model'));
}, 240_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

const tenon = (args: readonly string[], input?: string) => runScript('dist/cli/main.js', args, folder, {}, input);
const read = async (name: string): Promise<unknown> => JSON.parse(await readFile(join(folder, name), 'utf8'));

test('chat without a template of the model uses ChatML, and --json has every conversation', { timeout: 120_000 }, async () => {
  const args = ['chat', 'model', '--temperature', '0', '--max-tokens', '4', '--device', 'reference', '--json', 'chat.json'];
  const { code, stdout, stderr } = await tenon(args, 'the ball\n/reset\nred\n');
  expect(stderr).toBe('');
  expect(code).toBe(0);
  expect(stdout).toContain('ChatML is used');
  expect(await read('chat.json')).toEqual({
    model: 'model',
    conversations: ['the ball', 'red'].map((content) => [
      { role: 'user', content },
      { role: 'assistant', content: expect.any(String) },
    ]),
  });
});

test('perplexity counts the tokens that --loss-on names', { timeout: 120_000 }, async () => {
  await writeFile(join(folder, 'rows.jsonl'), JSON.stringify({ prompt: 'the ball ', completion: 'is' }));
  const counted: unknown[] = [];
  for (const lossOn of ['all', 'completion']) {
    const args = ['perplexity', 'model', '--data', 'rows.jsonl', '--loss-on', lossOn, '--device', 'reference', '--json', 'out.json'];
    expect(await tenon(args)).toMatchObject({ code: 0, stderr: '' });
    counted.push(await read('out.json'));
  }
  // 11 bytes and the end; 2 bytes and the end.
  expect(counted).toMatchObject([
    { lossOn: 'all', tokens: 12 },
    { lossOn: 'completion', tokens: 3 },
  ]);
});
