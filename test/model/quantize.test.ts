/** @file Quantized models: packed weights decode exactly, products and gradients are those of the decoded matrix, LoRA goes around them. */
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/base/errors.js';
import { dequantizeNf4, dequantizeScales, quantizeNf4, quantizeScales } from '../../src/io/nf4.js';
import { dequantizeQ8_0, quantizeQ8_0 } from '../../src/io/quantized-blocks.js';
import * as layers from '../../src/layers/index.js';
import { loadModel } from '../../src/model/load.js';
import { applyLora, type Lora, mergeLora, unloadLora } from '../../src/model/lora.js';
import { dequantizeModel, type QuantizeOptions, quantizeModel } from '../../src/model/quantize.js';
import { Quantized } from '../../src/model/quantized.js';
import { type Sequential, sequential } from '../../src/model/sequential.js';
import { grad, realize, type Tensor, tensor, valueAndGrad } from '../../src/tensor/index.js';
import { causalSequence, languageModel } from '../../src/zoo/index.js';
import '../train/support.js';
import { expectClose, golden, goldenIds, goldenLlama } from './lora-support.js';

const numbers = (n: number, seed = 1): Float32Array =>
  Float32Array.from({ length: n }, (_, i) => Math.sin((i + seed) * 12.9898) * Math.cos(i * 0.37));
/** A Linear and a Dense with numbers in them. */
function pair(inputs: number): Sequential {
  const net = sequential({
    layers: [
      layers.linear({ name: 'l', units: 6, activation: 'tanh', inputShape: [inputs] }),
      layers.dense({ name: 'm', units: inputs }),
      layers.dense({ name: 'd', units: 5, activation: 'relu' }),
    ],
  });
  net.setWeights(net.weights.map((v, i) => tensor(numbers(v.size, i), { shape: v.shape })));
  return net;
}
type Packed = Pick<QuantizeOptions, 'type' | 'doubleQuant'> & { type: 'nf4' | 'q8_0' };
/** [units, inputs] as the host decodes it. */
function decoded(rows: Float32Array, { type, doubleQuant }: Packed): Float32Array {
  if (type === 'q8_0') return dequantizeQ8_0(quantizeQ8_0(rows));
  const { codes, scales } = quantizeNf4(rows);
  return dequantizeNf4({ codes, scales: doubleQuant ? dequantizeScales(quantizeScales(scales)) : scales }, rows.length);
}
const transposed = (data: ArrayLike<number>, rows: number, columns: number): Float32Array =>
  Float32Array.from({ length: rows * columns }, (_, i) => data[(i % rows) * columns + Math.floor(i / rows)]);

const kinds: [Packed, number][] = [
  [{ type: 'nf4' }, 128],
  [{ type: 'nf4', doubleQuant: true }, 64],
  // Blocks pass the ends of rows, and the last one isn't full.
  [{ type: 'nf4' }, 50],
  [{ type: 'nf4', doubleQuant: true }, 33],
  [{ type: 'q8_0' }, 96],
];
describe.each(kinds)('%o with %i inputs', (kind, inputs) => {
  it('decodes to what the host decodes, and computes with it', async () => {
    const net = pair(inputs);
    const x = tensor(numbers(3 * inputs, 9), { shape: [3, inputs] });
    const plain = pair(inputs);
    const [w, , , , d] = plain.weights;
    const rows = Float32Array.from(await w.data());
    const columns = transposed(await d.data(), inputs, 5);
    w.assign(tensor(decoded(rows, kind), { shape: w.shape }));
    d.assign(tensor(transposed(decoded(columns, kind), 5, inputs), { shape: d.shape }));
    const { quantized, left } = await quantizeModel(net, { ...kind, skip: ['m'] });
    expect(quantized).toEqual(['l', 'd']);
    expect(left).toEqual([{ module: 'm', reason: 'skipped' }]);
    const [l, , last] = net.layers as [Quantized, unknown, Quantized];
    expect(l).toBeInstanceOf(Quantized);
    // Bit for bit, unless scales are decoded too.
    const exact = (t: Tensor, values: Float32Array): Promise<void> =>
      kind.doubleQuant
        ? expectClose(t, { shape: [...t.shape], data: [...values] }, 'weight', 1e-6)
        : t.data().then((v) => expect(v).toEqual(values));
    await exact(l.decoded(), decoded(rows, kind));
    await exact(last.decoded(), decoded(columns, kind));
    await expectClose(net.apply<Tensor>(x), plain.apply<Tensor>(x), 'output', 1e-6);
    // The gradient goes through it to what is before.
    const gradient = (m: Sequential): Tensor => grad((t: Tensor) => m.apply<Tensor>(t).square().sum())(x);
    await expectClose(gradient(net), gradient(plain), 'gradient of x', 1e-5);
    // Biases are trained still, packed weights never.
    expect(net.trainableWeights.map((v) => v.name)).toEqual(['l/bias', 'm/kernel', 'm/bias', 'd/bias']);
    expect(() => w.read()).not.toThrow();
  });
  it('is saved and loaded, and comes back as a plain layer', async () => {
    const net = pair(inputs);
    const x = tensor(numbers(2 * inputs, 4), { shape: [2, inputs] });
    await quantizeModel(net, kind);
    const y = await net.apply<Tensor>(x).data();
    const loaded = await loadModel(await net.toBytes());
    expect(loaded.weights.map((v) => `${v.name} ${v.dtype}`)).toEqual(net.weights.map((v) => `${v.name} ${v.dtype}`));
    expect(await loaded.apply(x).data()).toEqual(y);
    const [first] = net.layers as [Quantized];
    const wanted = await first.decoded().data();
    const back = await first.restore();
    expect(back).toBeInstanceOf(layers.Linear);
    expect(await back.weights[0].data()).toEqual(wanted);
    expect(back.weights[0].name).toBe('l/weight');
  });
});

describe('quantizeModel', () => {
  it('lets go of the original weights', async () => {
    const net = pair(64);
    const { kernel } = net.layers[0] as layers.Linear;
    await quantizeModel(net, { type: 'nf4' });
    expect(() => kernel.read()).toThrow('variable "l/weight": it has no value');
    expect(net.weights).not.toContain(kernel);
  });
  it('makes 16-bit weights of the same layers', async () => {
    for (const type of ['bf16', 'f16'] as const) {
      const [net, plain] = [pair(40), pair(40)];
      const { bytesBefore, bytesAfter, quantized } = await quantizeModel(net, { type });
      expect(quantized).toEqual(['l', 'm', 'd']);
      expect(bytesAfter).toBe(bytesBefore / 2);
      expect(net.layers.map((l) => l.className)).toEqual(['Linear', 'Dense', 'Dense']);
      expect(net.weights.map((v) => v.name)).toEqual(plain.weights.map((v) => v.name));
      expect(new Set(net.weights.map((v) => v.dtype))).toEqual(new Set([type]));
      for (const v of plain.weights) v.assign(await v.read().cast(type).realize());
      const x = tensor(numbers(80), { shape: [2, 40] });
      await expectClose(net.apply<Tensor>(x), plain.apply<Tensor>(x), type, 1e-6);
      expect((await quantizeModel(net, { type })).left.map((l) => l.reason)).toEqual([
        `${type} already`,
        `${type} already`,
        `${type} already`,
      ]);
    }
  });
  it('leaves the table, the norms and the output matrix of a language model, and what does not fit', async () => {
    const m = goldenLlama();
    const { quantized, left, bytesBefore, bytesAfter } = await quantizeModel(m, { type: 'nf4' });
    expect(quantized).toHaveLength(14);
    expect(left).toEqual([{ module: 'lm_head', reason: "the model's output" }]);
    expect(bytesAfter).toBeLessThan(bytesBefore / 4);
    expect(m.embeddings).toBeInstanceOf(layers.Embedding);
    const ids = goldenIds();
    await expectClose(m.logits(m.hidden(ids, causalSequence(ids))), golden.llama.logits, 'logits', 0.4);
    const other = await quantizeModel(goldenLlama(), { type: 'q8_0' });
    expect(other.quantized).toEqual([]);
    expect(other.left[0]).toEqual({ module: 'model.layers.0.self_attn.q_proj', reason: '8 inputs are no multiple of 32' });
  });
  it('reads weights from elsewhere, one at a time', async () => {
    const [net, plain] = [pair(64), pair(64)];
    const asked: string[] = [];
    const values = new Map(await Promise.all(plain.weights.map(async (v) => [v.name, Float32Array.from(await v.data())] as const)));
    net.setWeights(net.weights.map((v) => tensor(new Float32Array(v.size), { shape: v.shape })));
    const read = async (v: { name: string }): Promise<Float32Array | null> => {
      asked.push(v.name);
      return v.name === 'm/kernel' ? null : (values.get(v.name) ?? null);
    };
    await quantizeModel(net, { type: 'nf4', read });
    await quantizeModel(plain, { type: 'nf4' });
    expect(asked).toEqual(['l/weight', 'm/kernel', 'd/kernel']);
    const of = (m: Sequential, i: number): Promise<ArrayLike<number>> => (m.layers[i] as Quantized).codes.data();
    expect(await of(net, 0)).toEqual(await of(plain, 0));
    expect(new Set(Array.from(await of(net, 1)))).toEqual(new Set([0x77]));
    await expect(quantizeModel(pair(64), { type: 'nf4', read: async () => new Float32Array(3) })).rejects.toThrow(
      'read gave 3 numbers for "l/weight"',
    );
  });
  it('refuses what cannot be', async () => {
    const net = pair(64);
    await expect(quantizeModel(net, { type: 'int4' as never })).rejects.toThrow('type is "int4". Expected one of nf4, q8_0, bf16, f16.');
    await expect(quantizeModel(net, { type: 'q8_0', doubleQuant: true })).rejects.toThrow(ConfigError);
    await expect(quantizeModel(sequential([layers.dense({ units: 1 })]), { type: 'nf4' })).rejects.toThrow('it has no weights yet');
    net.weights[0].assign(tensor(numbers(net.weights[0].size).fill(Number.NaN), { shape: net.weights[0].shape }));
    await expect(quantizeModel(net, { type: 'nf4' })).rejects.toThrow('quantize "l/weight": a value is NaN');
  });
});

describe.each([true, false])('a language model whole in q8_0, its output matrix the table of tokens: %s', (tied) => {
  it('computes what a model of the decoded weights does', async () => {
    const json = {
      ...{ model_type: 'llama', vocab_size: 40, hidden_size: 64, intermediate_size: 96, num_hidden_layers: 2 },
      ...{ num_attention_heads: 2, num_key_value_heads: 1, tie_word_embeddings: tied },
    };
    const [packed, plain] = [languageModel(json, {}), languageModel(json, {})];
    for (const m of [packed, plain]) m.ensureBuilt([[1, 2]], false);
    for (const [i, v] of packed.weights.entries()) {
      const values = numbers(v.size, i).map((x) => x * 0.3);
      v.set(values);
      plain.weights[i].set(v.rank === 2 ? dequantizeQ8_0(quantizeQ8_0(values)) : values);
    }
    const { quantized, left, bytesAfter } = await quantizeModel(packed, { type: 'q8_0', output: true });
    expect(left).toEqual([]);
    expect(quantized).toContain('model.embed_tokens');
    expect(quantized.includes('lm_head')).toBe(!tied);
    const matrices = plain.weights.filter((v) => v.rank === 2).reduce((n, v) => n + v.size, 0);
    expect(bytesAfter).toBe((matrices * 34) / 32);
    const ids = tensor([[1, 7, 39, 3, 0]], { dtype: 'i32' });
    const logits = (m: typeof packed): Tensor => m.logits(m.hidden(ids, causalSequence(ids)));
    await expectClose(logits(packed), logits(plain), 'logits');
  });
});

describe('LoRA on quantized layers', () => {
  for (const type of ['nf4', 'q8_0'] as const)
    it(`trains adapters and merges them into decoded weights: ${type}`, async () => {
      const net = pair(64);
      await quantizeModel(net, { type });
      const x = tensor(numbers(128, 3), { shape: [2, 64] });
      const before = await net.apply<Tensor>(x).data();
      const { modules } = applyLora(net, { rank: 2, alpha: 4, seed: 1 });
      expect(modules).toEqual(type === 'nf4' ? ['l', 'm', 'd'] : ['l', 'm', 'd']);
      expect(await net.apply<Tensor>(x).data()).toEqual(before);
      expect(net.trainableWeights.every((v) => v.name.startsWith('base_model/model/') && v.dtype === 'f32')).toBe(true);
      for (const v of net.trainableWeights) v.assign(tensor(numbers(v.size, 7), { shape: v.shape }));
      const { gradients } = valueAndGrad(() => net.apply<Tensor>(x).square().sum(), net.trainableWeights);
      for (const g of gradients) expect((await g.data()).some((v: number) => v !== 0)).toBe(true);
      const y = net.apply<Tensor>(x);
      await y.data();
      await mergeLora(net);
      expect(net.layers[0]).toBeInstanceOf(layers.Linear);
      await expectClose(net.apply<Tensor>(x), y, 'merged', 1e-5);
    });
  it('goes around what is quantized afterwards, and leaves quantized layers behind', async () => {
    const net = pair(64);
    applyLora(net, { rank: 1, alpha: 2, seed: 1 });
    for (const v of net.trainableWeights) v.assign(tensor(numbers(v.size, 5), { shape: v.shape }));
    const names = net.trainableWeights.map((v) => v.name);
    const other = pair(64);
    await quantizeModel(other, { type: 'nf4' });
    applyLora(other, { rank: 1, alpha: 2 });
    for (const v of other.trainableWeights) v.assign(tensor(numbers(v.size, 5), { shape: v.shape }));
    await quantizeModel(net, { type: 'nf4' });
    expect((net.layers[0] as Lora).base).toBeInstanceOf(Quantized);
    expect(net.trainableWeights.map((v) => v.name)).toEqual(names);
    const x = tensor(numbers(64), { shape: [1, 64] });
    await expectClose(net.apply<Tensor>(x), other.apply<Tensor>(x), 'either order', 1e-6);
    const saved = await loadModel(await net.toBytes());
    await expectClose(saved.apply<Tensor>(x), net.apply<Tensor>(x), 'loaded', 1e-6);
    unloadLora(net);
    expect(net.layers.every((l) => l instanceof Quantized)).toBe(true);
    unloadLora(other);
    const y = await net.apply<Tensor>(x).data();
    await dequantizeModel(other);
    expect(other.layers.map((l) => l.className)).toEqual(['Linear', 'Dense', 'Dense']);
    await expectClose(other.apply<Tensor>(x), { shape: [1, 5], data: [...y] }, 'dequantized', 1e-6);
    expect(() => applyLora(net, { rank: 1, alpha: 1, modulesToSave: ['l'] })).toThrow('it is quantized');
  });
  it('is a language model with 16-bit activations too', async () => {
    const json = { ...golden.llama.config, hidden_size: 64, intermediate_size: 64, num_hidden_layers: 1 };
    const m = languageModel(json, { dtype: 'bf16' });
    m.ensureBuilt([[1, 2]], false);
    await quantizeModel(m, { type: 'nf4', doubleQuant: true });
    applyLora(m, { rank: 2, alpha: 2 });
    const ids = goldenIds();
    const probe = tensor(numbers(2 * 6 * 64), { shape: [2, 6, 64] });
    const { gradients } = valueAndGrad(() => m.hidden(ids, causalSequence(ids)).cast('f32').mul(probe).sum(), m.trainableWeights);
    await realize(gradients);
    expect(gradients.map((g) => g.dtype)).toEqual(m.trainableWeights.map(() => 'f32'));
    // As long as B is 0, it alone has a gradient.
    for (const [i, v] of m.trainableWeights.entries())
      expect((await gradients[i].data()).some((x: number) => x !== 0)).toBe(v.name.includes('lora_B'));
  });
});
