/** @file `tenon chat` and `tenon perplexity` on a small model that was made for this. */
import { spawn } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { savePretrained, trainTokenizer } from '../../src/llm/index.js';
import { applyLora, saveAdapter } from '../../src/model/index.js';
import { setRandomSeed } from '../../src/tensor/index.js';
import { languageModel } from '../../src/zoo/index.js';
import { ensureBuilt, root, runScript } from './built.js';

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

test('generate shows no prompt for a model whose advice is malformed', { timeout: 120_000 }, async () => {
  await cp(join(folder, 'model'), join(folder, 'advice'), { recursive: true });
  await writeFile(join(folder, 'advice', 'generation_config.json'), '{ "temperature": -3 }');
  const { code, stdout, stderr } = await tenon(['generate', 'advice', '--prompt', 'the ball', '--device', 'reference']);
  expect(stdout).toBe('');
  expect(stderr).toContain('advice/generation_config.json: temperature is -3. Expected a number ≥ 0.');
  expect(code).toBe(1);
});

test('an unfinished run is no model for any command, which says how to go on with it', { timeout: 240_000 }, async () => {
  await mkdir(join(folder, 'cut', 'checkpoints'), { recursive: true });
  await writeFile(join(folder, 'cut', 'run.yaml'), 'data: rows.jsonl\n');
  for (const args of [
    ['generate', 'cut', '--prompt', 'a'],
    ['chat', 'cut'],
    ['merge', 'cut', '--out', 'merged'],
    ['export', 'cut', '--format', 'gguf', '--out', 'cut.gguf'],
    ['serve', 'cut'],
    ['perplexity', 'cut', '--data', 'rows.jsonl'],
    ['finetune', '--model', 'cut', '--data', 'rows.jsonl'],
  ]) {
    const { code, stderr } = await tenon([...args, '--device', 'reference'], '');
    expect(stderr, args[0]).toContain('cut: the run is not finished: it has made no model yet.');
    expect(stderr, args[0]).toContain('Go on with: tenon pretrain --resume cut');
    expect(code, args[0]).toBe(2);
  }
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

test('perplexity refuses pairs, and passes over bad rows when told to', { timeout: 120_000 }, async () => {
  const data = join(folder, 'pairs.jsonl');
  const perplexity = (...more: string[]) => tenon(['perplexity', 'model', '--data', data, '--device', 'reference', ...more]);
  await writeFile(data, JSON.stringify({ prompt: 'the ball ', chosen: 'is', rejected: 'it' }));
  expect(await perplexity()).toMatchObject({ code: 2, stderr: expect.stringContaining('holds pairs of answers (prompt/chosen/rejected)') });
  await writeFile(data, `${JSON.stringify({ text: 'the ball' })}\n{`);
  expect((await perplexity()).stderr).toContain("pass over such rows with badRows: 'skip'");
  expect(await perplexity('--bad-rows', 'skip')).toMatchObject({ code: 0, stdout: expect.stringContaining('1 documents') });
  await writeFile(data, JSON.stringify({ messages: [{ role: 'assistant', content: 'ball' }] }));
  expect(await perplexity()).toMatchObject({ code: 0, stdout: expect.stringContaining('ChatML is used') });
});

describe('merge and export write over nothing unasked', () => {
  const device = ['--device', 'reference'];
  const refused = async (args: readonly string[], message: string): Promise<void> => {
    const { code, stderr } = await tenon([...args, ...device]);
    expect(stderr).toContain(message);
    expect(code).toBe(2);
  };

  test('a model that is there, and with --overwrite neither the source nor a base', { timeout: 240_000 }, async () => {
    await cp(join(folder, 'model'), join(folder, 'base'), { recursive: true });
    await symlink(join(folder, 'base'), join(folder, 'base-link'));
    const adapted = languageModel(JSON.parse(await readFile(join(folder, 'base', 'config.json'), 'utf8')));
    adapted.ensureBuilt([[1, 2]], false);
    applyLora(adapted, { rank: 2, alpha: 4 });
    await saveAdapter(adapted, join(folder, 'adapter'), { baseModel: '../base' });
    const before = await readFile(join(folder, 'base', 'model.safetensors'));

    await refused(['merge', 'adapter', '--out', 'base'], '--out: base holds a model (base/config.json)');
    await refused(['merge', 'adapter', '--out', 'base-link', '--overwrite'], '--out: base-link is what the model is read from');
    await refused(['merge', 'adapter', '--out', './adapter/', '--overwrite'], 'is what the model is read from');
    await refused(['export', 'base', '--format', 'safetensors', '--out', 'base', '--overwrite'], 'is what the model is read from');
    expect(await readFile(join(folder, 'base', 'model.safetensors'))).toEqual(before);

    // What is written over leaves nothing that would be read with the new model.
    await cp(join(folder, 'adapter'), join(folder, 'old'), { recursive: true });
    await writeFile(join(folder, 'old', 'chat_template.jinja'), 'x');
    await refused(['merge', 'adapter', '--out', 'old'], '--out: old holds a model (old/adapter_config.json)');
    expect(await tenon(['merge', 'adapter', '--out', 'old', '--overwrite', ...device])).toMatchObject({ code: 0, stderr: '' });
    expect((await readdir(join(folder, 'old'))).sort()).toEqual((await readdir(join(folder, 'model'))).sort());

    await mkdir(join(folder, 'empty'));
    for (const more of [[], ['--overwrite']])
      expect(await tenon(['merge', 'adapter', '--out', 'empty', ...more, ...device])).toMatchObject({ code: 0, stderr: '' });
    const gguf = ['export', 'base', '--format', 'gguf', '--out', 'a.gguf'];
    expect(await tenon([...gguf, ...device])).toMatchObject({ code: 0, stderr: '' });
    await refused(gguf, '--out: a.gguf exists. Expected a new file. Choose another, or give --overwrite.');
    await refused(['export', 'base', '--format', 'gguf', '--out', 'empty', '--overwrite'], 'empty is a folder');
    expect(await tenon([...gguf, '--overwrite', ...device])).toMatchObject({ code: 0, stderr: '' });
    await refused(['export', 'a.gguf', '--format', 'gguf', '--out', './a.gguf', '--overwrite'], 'is what the model is read from');
  });
});

describe('serve', () => {
  /** Serves a model by its name until it has answered, and gives the answer and what was printed. */
  const served = async (name: string, body: object, ...args: string[]): Promise<{ answer: unknown; stdout: string }> => {
    const all = [join(root, 'dist/cli/main.js'), 'serve', name, '--port', '0', '--device', 'reference', ...args];
    const child = spawn(process.execPath, all, { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] });
    let stdout = '';
    try {
      const url = await new Promise<string>((resolve, reject) => {
        child.stdout.setEncoding('utf8').on('data', (text: string) => {
          stdout += text;
          const found = /Try: .*(http:\/\/[^/]+)\//.exec(stdout);
          if (found) resolve(found[1]);
        });
        child.on('close', () => reject(new Error(stdout)));
      });
      const messages = [{ role: 'user', content: 'the ball' }];
      const headers = { 'content-type': 'application/json' };
      const answer = await fetch(`${url}/v1/chat/completions`, { method: 'POST', headers, body: JSON.stringify({ messages, ...body }) });
      return { answer: await answer.json(), stdout };
    } finally {
      child.kill('SIGKILL');
    }
  };

  test('takes an adapter, packs, and uses ChatML or the template that is given', { timeout: 120_000 }, async () => {
    const plain = await served('adapter', { max_tokens: 2 }, '--quantize', 'q8_0');
    expect(plain.answer).toMatchObject({ model: 'adapter', choices: [{ message: { role: 'assistant' } }] });
    expect(plain.stdout).toContain('ChatML is used');
    await writeFile(join(folder, 't.jinja'), 'the');
    const { answer, stdout } = await served('adapter', { max_tokens: 2 }, '--chat-template', 't.jinja');
    // The template says three bytes, whatever the conversation.
    expect(answer).toMatchObject({ usage: { prompt_tokens: 3 } });
    expect(stdout).not.toContain('ChatML is used');
  });
});
