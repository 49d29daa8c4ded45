/**
 * @file Our side of the benchmarks of a large model, in a process of its own so that its peak is its own: a Llama of SmolLM2-135M's shape with
 * random weights, trained, or read and gone on with.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { optimizers } from 'tenon';
import { applyLora, type CausalLM, languageModel, nextTokenObjective, openModel, TextGenerator, type Tokenizer } from 'tenon/llm';
import type { GgufType } from '#tenon/io/gguf.js';
import { writeGguf } from '#tenon/io/gguf-node.js';
import { openSafetensors, writeSafetensorsFiles } from '#tenon/io/safetensors-files-node.js';
import { ggufEntries } from '#tenon/llm/export.js';
import { readWeights, weightEntries } from '#tenon/llm/weights.js';
import { fromHost } from '#tenon/tensor/index.js';
import { peakOf } from './child.js';
import type { Json } from './peers.js';

/** SmolLM2-135M's, but for what its weights say. */
export const llamaConfig = {
  model_type: 'llama',
  vocab_size: 49152,
  hidden_size: 576,
  intermediate_size: 1536,
  num_hidden_layers: 30,
  num_attention_heads: 9,
  num_key_value_heads: 3,
  max_position_embeddings: 2048,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  hidden_act: 'silu',
  tie_word_embeddings: true,
  bos_token_id: 0,
  eos_token_id: 0,
};

/** A tokenizer of as many tokens, of which no text makes but single bytes. */
function tokenizerFiles(): { json: Record<string, unknown>; config: Record<string, unknown> } {
  const vocab: Record<string, number> = { '<eos>': 0 };
  for (let i = 1; i < llamaConfig.vocab_size; i++) vocab[i < 95 ? String.fromCharCode(32 + i) : i === 95 ? 'th' : `t${i}`] = i;
  const json = {
    version: '1.0',
    added_tokens: [{ id: 0, content: '<eos>', special: true, single_word: false, lstrip: false, rstrip: false, normalized: false }],
    normalizer: null,
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        {
          type: 'Split',
          pattern: {
            Regex:
              "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
          },
          behavior: 'Isolated',
          invert: false,
        },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { type: 'BPE', vocab, merges: [['t', 'h']], unk_token: null },
  };
  return { json, config: { tokenizer_class: 'PreTrainedTokenizerFast', bos_token: '<eos>', eos_token: '<eos>' } };
}

/** Writes the model with random weights: Hugging Face's folder, and GGUF files beside it. */
export async function makeLlama(folder: string, types: readonly GgufType[]): Promise<void> {
  const model = languageModel(llamaConfig, {});
  model.ensureBuilt([[1, 2]], false);
  const tokenizer = tokenizerFiles();
  await writeFile(join(folder, 'config.json'), JSON.stringify(llamaConfig));
  await writeFile(join(folder, 'tokenizer.json'), JSON.stringify(tokenizer.json));
  await writeFile(join(folder, 'tokenizer_config.json'), JSON.stringify(tokenizer.config));
  await writeSafetensorsFiles(folder, weightEntries(model));
  for (const type of types) await writeGguf(join(folder, `${type}.gguf`), ggufEntries(llamaConfig, tokenizer, weightEntries(model), type));
}

export type LlamaMode = 'full' | 'lora' | 'qlora';
const [batch, tokens] = [4, 256];

async function trainee(folder: string, mode: LlamaMode, dtype: 'f32' | 'bf16', checkpointing: boolean): Promise<CausalLM> {
  const model = languageModel(llamaConfig, { dtype, weightDtype: mode === 'full' ? 'f32' : dtype });
  model.checkpointBlocks = checkpointing;
  model.ensureBuilt([[1, 2]], false);
  const files = await openSafetensors(folder);
  await readWeights(model, files, 'llama', mode === 'qlora' ? { quantize: { type: 'nf4' } } : {});
  await files.close();
  if (mode !== 'full') applyLora(model, { rank: 16, alpha: 32, targetModules: 'all-linear' });
  model.compile({ objective: nextTokenObjective, optimizer: optimizers.adamW({ learningRate: 1e-4, epsilon: 1e-12, weightDecay: 0.01 }) });
  return model;
}

/** One step on the ids and labels given, or on random ones; its loss. */
async function step(model: CausalLM, given?: { ids: Int32Array; labels: Int32Array }): Promise<number> {
  const random = (): Int32Array => Int32Array.from({ length: batch * tokens }, () => Math.floor(Math.random() * llamaConfig.vocab_size));
  const of = (data: Int32Array): ReturnType<typeof fromHost> => fromHost(data, [batch, tokens], 'i32');
  const { ids, labels } = given ?? { ids: random(), labels: random() };
  const positions = of(ids.map((_, i) => i % tokens));
  const result = await model.trainOnBatch([of(ids), positions, of(new Int32Array(batch * tokens))], of(labels));
  return result.loss;
}

const decoded = (text: unknown): Int32Array => {
  const bytes = Uint8Array.from(Buffer.from(String(text), 'base64'));
  return new Int32Array(bytes.buffer);
};

/** Answers { do: 'train' | 'losses' | 'steps' | 'open' | 'speak' | 'peak' }. */
export function llamaServer(): (request: Json) => Promise<object> {
  let model: CausalLM | null = null;
  let tokenizer: Tokenizer | null = null;
  let generator: TextGenerator | null = null;
  const trained = (): CausalLM => {
    if (!model) throw new Error('no model. Expected { do: "train" } or { do: "open" } first.');
    return model;
  };
  const answers: Record<string, (r: Json) => Promise<object>> = {
    train: async ({ folder, mode, dtype, checkpointing }) => {
      model = await trainee(String(folder), mode as LlamaMode, dtype as 'f32', checkpointing === true);
      return { trainable: model.trainableWeights.reduce((n, v) => n + v.size, 0) };
    },
    losses: async ({ n, ids, labels }) => {
      const losses: number[] = [];
      const given = { ids: decoded(ids), labels: decoded(labels) };
      for (let i = 0; i < Number(n); i++) losses.push(await step(trained(), given));
      return { losses };
    },
    steps: async ({ n }) => {
      const began = performance.now();
      for (let i = 0; i < Number(n); i++) await step(trained());
      return { ms: performance.now() - began };
    },
    open: async ({ folder, dtype, weightDtype, quantize, slots }) => {
      ({ model, tokenizer } = await openModel(String(folder), {
        dtype: dtype as 'f32',
        weightDtype: weightDtype as 'f32',
        quantize: quantize as 'none',
      }));
      generator = new TextGenerator(model, tokenizer, { slots: Number(slots), context: 1024, stopTokens: [] });
      return {};
    },
    // So many tokens after a prompt, of as many requests as there are slots: milliseconds until the first, and of each after it.
    speak: async ({ prompt, count }) => {
      const speaker = generator;
      if (!speaker) throw new Error('no generator. Expected { do: "open" } first.');
      const one = async (seed: number): Promise<{ first: number; last: number }> => {
        const ids = Int32Array.from({ length: Number(prompt) }, (_, i) => 1000 + seed * 64 + i);
        let first = 0;
        let last = 0;
        for await (const _ of speaker.stream(ids, { maxTokens: Number(count), temperature: 0 })) {
          last = performance.now();
          first ||= last;
        }
        return { first, last };
      };
      const began = performance.now();
      const all = await Promise.all(Array.from({ length: speaker.slots }, (_, i) => one(i)));
      // Together they speak from when the last has read its prompt.
      const start = Math.max(...all.map((a) => a.first));
      return { firstMs: all[0].first - began, tokensMs: Math.max(...all.map((a) => a.last)) - start };
    },
    peak: async () => ({ bytes: peakOf(process.pid) }),
  };
  return async (request) => {
    const answer = answers[String(request.do)];
    if (!answer) throw new Error(`"${String(request.do)}" is no request. Expected one of ${Object.keys(answers).join(', ')}.`);
    return answer(request);
  };
}
