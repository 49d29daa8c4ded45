/** @file savePretrained and fromPretrained: what is refused on the way out, and of generation_config.json on the way in. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ConfigError, FormatError } from '../../src/base/errors.js';
import { LocalEngine } from '../../src/llm/open-model-node.js';
import { fromPretrained, type Pretrained, savePretrained } from '../../src/llm/pretrained-node.js';
import { applyLora, mergeLora, quantizeModel } from '../../src/model/index.js';
import { languageModel } from '../../src/zoo/index.js';
import { smallTokenizer } from './support.js';

let folder: string;
let tokenizer: Pretrained['tokenizer'];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenon-pretrained-'));
  tokenizer = await smallTokenizer();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function made(): Pretrained {
  const model = languageModel({
    model_type: 'llama',
    vocab_size: tokenizer.vocabSize,
    hidden_size: 32,
    intermediate_size: 64,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    max_position_embeddings: 64,
  });
  model.ensureBuilt([[1, 2]], false);
  return { model, tokenizer, generation: {} };
}
const refused = async (pretrained: Pretrained, name: string, message: string): Promise<void> => {
  await expect(savePretrained(pretrained, join(folder, name))).rejects.toThrow(message);
  await expect(savePretrained(pretrained, join(folder, name))).rejects.toThrow(ConfigError);
};

test('adapters and packed weights are refused; merged, a model is saved', async () => {
  const adapted = made();
  applyLora(adapted.model, { rank: 2, alpha: 4 });
  await refused(adapted, 'adapted', 'it has the adapter "default". Expected a model without. Call mergeLora first');
  await mergeLora(adapted.model);
  await savePretrained(adapted, join(folder, 'merged'));
  const packed = made();
  await quantizeModel(packed.model, { type: 'nf4' });
  await refused(packed, 'packed', 'is part of a packed weight. Expected weights in f32, f16 or bf16. Load the model without quantize');
});

test('a folder with an adapter would be read as one', async () => {
  await mkdir(join(folder, 'adapter'));
  await writeFile(join(folder, 'adapter', 'adapter_config.json'), '{}');
  await refused(made(), 'adapter', 'holds an adapter (adapter_config.json)');
});

test.each([
  [{ temperature: 'hot' }, 'temperature is "hot". Expected a number ≥ 0'],
  [{ do_sample: 'no' }, 'do_sample is "no". Expected true or false'],
  [{ temperature: -1 }, 'temperature is -1'],
  [{ top_p: 2 }, 'top_p is 2. Expected a number in [0, 1]'],
  [{ top_k: 1.5 }, 'top_k is 1.5. Expected a whole number ≥ 0'],
  [{ min_p: [] }, 'min_p is'],
  [{ repetition_penalty: 0 }, 'repetition_penalty is 0. Expected a number > 0'],
  [{ eos_token_id: [1, '2'] }, 'eos_token_id is [1,"2"]. Expected a token\'s number, or a list of them'],
])('generation_config.json with %j is refused with its key', async (generation, message) => {
  const name = join(folder, 'generation');
  await savePretrained({ ...made(), generation }, name);
  await expect(fromPretrained(name)).rejects.toThrow(`generation_config.json: ${message}`);
  await expect(fromPretrained(name)).rejects.toThrow(FormatError);
  const fine = { temperature: 0.6, top_p: null, eos_token_id: [0, 1], max_length: 'any' };
  await savePretrained({ ...made(), generation: fine }, name);
  expect((await fromPretrained(name)).generation).toEqual(fine);
});

test('do_sample: false advises the most likely token', () => {
  const advised = (generation: Pretrained['generation']) => new LocalEngine('m', { ...made(), generation }, { slots: 1 }).sampling;
  expect(advised({ do_sample: false, temperature: 0.6, top_p: 0.9 })).toEqual({ temperature: 0, topP: 0.9 });
  expect(advised({ do_sample: false })).toEqual({ temperature: 0 });
  expect(advised({ do_sample: true, temperature: 0.6 })).toEqual({ temperature: 0.6 });
  expect(advised({})).toEqual({});
});
