import { beforeAll, describe, expect, test } from 'vitest';
import { type GeneratedPart, TextGenerator } from '../../src/llm/generate.js';
import { fromHost, setRandomSeed } from '../../src/tensor/index.js';
import { type CausalLM, causalSequence, languageModel } from '../../src/zoo/index.js';

const letters = 'abcdefghijklmnopqrstuvwxyz ';
/** A token a letter; the last one ends a text. */
const tokenizer = {
  eosId: letters.length,
  encode: (text: string) => Int32Array.from([...text].map((c) => letters.indexOf(c))),
  bytesOf: (id: number) => new TextEncoder().encode(letters[id] ?? ''),
  isSpecial: (id: number) => id >= letters.length,
};
const common = { vocab_size: letters.length + 1, initializer_range: 0.4 };
const configs = {
  llama: {
    ...common,
    model_type: 'mistral',
    hidden_size: 16,
    intermediate_size: 24,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    max_position_embeddings: 64,
    sliding_window: 9,
  },
  gpt2: { ...common, model_type: 'gpt2', n_embd: 16, n_layer: 2, n_head: 2, n_positions: 64 },
} as const;

/** The most likely tokens one after another, everything computed anew each time. */
async function recomputed(model: CausalLM, prompt: Int32Array, count: number): Promise<number[]> {
  const ids = [...prompt];
  for (let i = 0; i < count; i++) {
    // What follows isn't seen by what comes before: one shape serves all lengths.
    const x = fromHost(
      Int32Array.from({ length: 48 }, (_, t) => ids[t] ?? 0),
      [1, 48],
      'i32',
    );
    const logits = await model.logits(model.hidden(x, causalSequence(x))).data();
    const { vocabSize } = model.config;
    const last = logits.subarray((ids.length - 1) * vocabSize, ids.length * vocabSize) as Float32Array;
    ids.push(last.indexOf(Math.max(...last)));
    if (ids.at(-1) === tokenizer.eosId) break;
  }
  return ids.slice(prompt.length);
}
async function partsOf(parts: AsyncIterable<GeneratedPart>): Promise<{ tokens: number[]; text: string; finish: string | null }> {
  const out = { tokens: [] as number[], text: '', finish: null as string | null };
  for await (const p of parts) {
    out.tokens.push(...p.tokens);
    out.text += p.text;
    out.finish = p.finish;
  }
  return out;
}

describe.each(Object.keys(configs) as (keyof typeof configs)[])('generation with a cache: %s', (name) => {
  let model: CausalLM;
  let generator: TextGenerator;
  beforeAll(() => {
    setRandomSeed(5);
    model = languageModel(configs[name]);
    model.ensureBuilt([[1, 2]], false);
    generator = new TextGenerator(model, tokenizer, { slots: 3, context: 48 });
  });
  const greedy = { temperature: 0, maxTokens: 20 };
  const prompts = ['a', 'the quick brown fox', 'hello wor', 'xyz', 'a longer prompt than a chunk has room'];

  test('equals computing everything anew, for prompts of any length, alone and side by side', async () => {
    const wanted: number[][] = [];
    for (const prompt of prompts) wanted.push(await recomputed(model, tokenizer.encode(prompt), Math.min(20, 48 - prompt.length)));
    for (const [i, prompt] of prompts.entries()) expect((await partsOf(generator.stream(prompt, greedy))).tokens).toEqual(wanted[i]);
    const together = await Promise.all(prompts.map((p) => partsOf(generator.stream(p, greedy))));
    expect(together.map((t) => t.tokens)).toEqual(wanted);
    expect([generator.active, generator.queued]).toEqual([0, 0]);
  });
  test('an answer drawn with a seed is the same beside others', async () => {
    const options = { temperature: 1, maxTokens: 12, seed: 11 };
    const alone = await generator.generate('hello', options);
    const [beside] = await generator.generateAll(['hello', 'abc', 'what', 'else'], options);
    expect(beside).toBe(alone);
    expect(await generator.generate('hello', { ...options, seed: 12 })).not.toBe(alone);
  });
  test('ends at a stop string, at maxTokens, at the end of the context', async () => {
    const whole = await partsOf(generator.stream('the', greedy));
    const stop = whole.text.slice(4, 7);
    const stopped = await partsOf(generator.stream('the', { ...greedy, stop }));
    expect(stopped.text).toBe(whole.text.slice(0, whole.text.indexOf(stop)));
    expect(stopped.finish).toBe('stop');
    expect((await partsOf(generator.stream('the', { ...greedy, maxTokens: 2 }))).finish).toBe('length');
    const full = await partsOf(generator.stream('b'.repeat(45), { temperature: 1, seed: 1, maxTokens: 50 }));
    expect(full.tokens.length).toBeLessThanOrEqual(3);
  });
  test('is cancelled by its signal, and by leaving the loop; others go on', async () => {
    const stop = new AbortController();
    const wanted = await generator.generate('other', greedy);
    const other = generator.generate('other', greedy);
    const seen: string[] = [];
    await expect(
      (async () => {
        for await (const { text } of generator.stream('abc', { maxTokens: 40, seed: 2, signal: stop.signal })) {
          seen.push(text);
          if (seen.length === 2) stop.abort(new Error('enough'));
        }
      })(),
    ).rejects.toThrow('enough');
    for await (const part of generator.stream('left', greedy)) if (part.tokens.length > 0) break;
    expect(await other).toBe(wanted);
    expect([generator.active, generator.queued]).toEqual([0, 0]);
  });
  test('refuses what cannot be', () => {
    expect(() => generator.stream('')).toThrow('the prompt has no tokens');
    expect(() => generator.stream('a'.repeat(48))).toThrow('Expected fewer than the context, 48');
    expect(() => generator.stream([1, 99])).toThrow('the prompt has token 99');
    expect(() => generator.stream('a', { maxTokens: 0 })).toThrow('maxTokens is 0');
    expect(() => new TextGenerator(model, tokenizer, { context: 65 })).toThrow('Expected 2 to 64 tokens');
  });
});
