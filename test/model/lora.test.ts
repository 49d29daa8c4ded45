/** @file LoRA on layers and models of every kind, against PyTorch's results of PEFT's formulas (test/golden/lora.py). */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/base/errors.js';
import { deserializeLayer } from '../../src/layers/all.js';
import * as layers from '../../src/layers/index.js';
import type { Layer } from '../../src/layers/layer.js';
import { input, type SymbolicTensor } from '../../src/layers/symbolic.js';
import { nextTokenObjective } from '../../src/llm/objective.js';
import { model } from '../../src/model/functional.js';
import { loadModel } from '../../src/model/load.js';
import { adapters, applyLora, Lora, mergeLora, setAdapter, unloadLora, withAdapter } from '../../src/model/lora.js';
import { Model } from '../../src/model/model.js';
import { type Sequential, sequential } from '../../src/model/sequential.js';
import { optimizers } from '../../src/optimizers/index.js';
import { compileStep, ones, setRandomSeed, type Tensor, tensor, type Variable, valueAndGrad } from '../../src/tensor/index.js';
import { languageModel } from '../../src/zoo/index.js';
import { points } from '../train/support.js';
import { expectClose, golden, goldenLlama, logitsOf, toTensor } from './lora-support.js';

const copies = async (list: readonly Variable[]): Promise<number[][]> => Promise.all(list.map(async (v) => [...(await v.data())]));
const meanSquare = (data: ArrayLike<number>): number => Array.from(data).reduce((n, v) => n + v * v, 0) / data.length;
const slotsOf = (m: Model): Variable[] => m.optimizer.variables.filter((v) => v.rank > 0);
const isFrozen = (l: Layer): boolean => l.trainableWeights.length === 0;
/** Puts numbers into A and B, so that the adapter changes something. */
function disturb(m: Layer): void {
  for (const v of m.weights.filter((w) => w.name.startsWith('base_model/')))
    v.assign(
      tensor(
        Float32Array.from({ length: v.size }, (_, i) => Math.sin(i + v.size) / 3),
        { shape: v.shape },
      ),
    );
}

const picture = (): Sequential => {
  setRandomSeed(2);
  return sequential({
    name: 'cnn',
    layers: [
      layers.conv2d({ name: 'c1', filters: 4, kernelSize: 3, activation: 'relu', inputShape: [6, 6, 1] }),
      layers.batchNormalization({ name: 'n1' }),
      layers.conv2d({ name: 'c2', filters: 3, kernelSize: 1, padding: 'same' }),
      layers.globalAveragePooling2d(),
      layers.dense({ name: 'fc', units: 5, activation: 'relu' }),
      layers.dense({ name: 'head', units: 2, activation: 'softmax' }),
    ],
  });
};
const pictures = (n: number): Tensor =>
  tensor(
    Float32Array.from({ length: n * 36 }, (_, i) => Math.sin(i * 1.7)),
    { shape: [n, 6, 6, 1] },
  );

describe('Lora against PyTorch', () => {
  for (const c of golden.layers)
    it(c.name, async () => {
      const base = deserializeLayer({ className: c.className, config: { ...c.options, name: 'it' } });
      const x = toTensor(c.input, c.integer ? 'i32' : 'f32');
      const net = sequential({ layers: [input({ batchShape: [null, ...c.input.shape.slice(1)], dtype: x.dtype }), base] });
      net.setWeights(c.weights.map((w) => toTensor(w)));
      const before = await net.apply(x).data();
      applyLora(net, { rank: c.rank, alpha: c.alpha, rsLora: c.rsLora, targetModules: ['it'] });
      const [a, b] = net.trainableWeights;
      expect(net.trainableWeights).toHaveLength(2);
      expect([a.shape, b.shape]).toEqual([c.a.shape, c.b.shape]);
      // Nothing has changed yet.
      expect(await net.apply(x).data()).toEqual(before);
      a.assign(toTensor(c.a));
      b.assign(toTensor(c.b));
      const probe = toTensor(c.probe);
      const { value, gradients } = valueAndGrad(() => net.apply(x).mul(probe).sum(), [a, b]);
      expect(await value.item()).not.toBeNaN();
      await expectClose(net.apply(x), c.output, 'output');
      await expectClose(gradients[0], c.gradA, 'gradient of A');
      await expectClose(gradients[1], c.gradB, 'gradient of B');
      const unmerged = net.apply(x);
      await unmerged.data();
      await mergeLora(net);
      expect(net.layers[0]).toBe(base);
      await expectClose(base.weights[0].read(), c.merged, 'merged weight');
      await expectClose(net.apply(x), unmerged, 'merged', 1e-5);
    });
  it('covers every kind of layer', () => {
    expect(new Set(golden.layers.map((c) => c.className)).size).toBe(6);
  });
  for (const c of golden.llama.adapters)
    it(`a Llama: ${c.name}`, async () => {
      const m = goldenLlama();
      await expectClose(logitsOf(m), golden.llama.logits, 'base');
      applyLora(m, { rank: c.r, alpha: c.lora_alpha, targetModules: c.target_modules, modulesToSave: c.modules_to_save ?? [], seed: 3 });
      await expectClose(logitsOf(m), golden.llama.logits, 'B = 0');
      const own = m.trainableWeights;
      // The Variables have the names of PEFT's keys.
      const key = (v: Variable): string => v.name.replaceAll('/', '.').replace(/\.scale$/, '.weight');
      expect(own.map(key).sort()).toEqual(Object.keys(c.tensors).sort());
      for (const v of own) v.assign(toTensor(c.tensors[key(v)]));
      await expectClose(logitsOf(m), c.logits, 'adapted');
      await expectClose(
        withAdapter(m, null, () => logitsOf(m)),
        golden.llama.logits,
        'without',
      );
      unloadLora(m);
      await expectClose(logitsOf(m), golden.llama.logits, 'unloaded');
    });
});

describe('applyLora', () => {
  it('draws A as PEFT does, from the seed', async () => {
    const make = (seed: number): Lora => {
      const net = sequential({ layers: [layers.linear({ units: 7, inputShape: [400] })] });
      applyLora(net, { rank: 50, alpha: 1, seed });
      return net.layers[0] as Lora;
    };
    const a = await make(1).adapters.default.a.data();
    const most = Math.max(...Array.from(a, Math.abs));
    // Uniform within ±1/√in: 20,000 draws come near the ends, and their variance is a third of the square.
    expect(most).toBeLessThanOrEqual(1 / 20);
    expect(most).toBeGreaterThan(0.0499);
    expect(meanSquare(a)).toBeCloseTo(1 / 1200, 4);
    expect(await make(1).adapters.default.a.data()).toEqual(a);
    expect(await make(2).adapters.default.a.data()).not.toEqual(a);
    const table = sequential({ layers: [layers.embedding({ inputDim: 9, outputDim: 300, inputShape: [1] })] });
    applyLora(table, { rank: 8, alpha: 1, targetModules: ['embedding'.concat(table.layers[0].name.slice(9))], seed: 4 });
    const { a: zero, b } = (table.layers[0] as Lora).adapters.default;
    expect(new Set(await zero.data())).toEqual(new Set([0]));
    const values = await b.data();
    expect(meanSquare(values)).toBeCloseTo(1, 0);
  });
  it('wraps a Sequential CNN: only adapters train, by name of the layers', async () => {
    const m = picture();
    const x = pictures(8);
    const y = Int32Array.from({ length: 8 }, (_, i) => i % 2);
    const plain = await (await m.predict(x)).data();
    const names = m.weights.map((v) => v.name);
    const { modules, trainable, total } = applyLora(m, { rank: 2, alpha: 4, targetModules: ['c1', 'c2', 'fc'], seed: 1 });
    expect(modules).toEqual(['c1', 'c2', 'fc']);
    expect(trainable).toBe(2 * (9 + 4) + 2 * (4 + 3) + 2 * (3 + 5));
    expect(total).toBe(m.countParams());
    // Names in files stay, and nothing has changed.
    expect(m.weights.map((v) => v.name).filter((n) => !n.startsWith('base_model/'))).toEqual(names);
    expect(await (await m.predict(x)).data()).toEqual(plain);
    expect(m.layers.map((l) => l.name).slice(0, 3)).toEqual(['c1', 'n1', 'c2']);
    const frozen = m.nonTrainableWeights;
    const before = await copies(frozen);
    const adaptersBefore = await copies(m.trainableWeights);
    m.compile({ optimizer: optimizers.adam({ learningRate: 0.1 }), loss: 'sparseCategoricalCrossentropy' });
    await m.fit(x, y, { epochs: 3, verbose: 0 });
    expect(await copies(frozen)).toEqual(before);
    expect(await copies(m.trainableWeights)).not.toEqual(adaptersBefore);
    // Two moments a weight.
    expect(slotsOf(m)).toHaveLength(2 * m.trainableWeights.length);
    expect(m.summary({ print: null })).toContain('c1 (Lora)');
    const trained = await (await m.predict(x)).data();
    expect(trained).not.toEqual(plain);
    await mergeLora(m);
    expect(m.weights.map((v) => v.name)).toEqual(names);
    const merged = await (await m.predict(x)).data();
    merged.forEach((v, i) => void expect(v).toBeCloseTo(trained[i], 5));
    // What was trainable before is so again.
    expect(m.trainableWeights.map((v) => v.name)).toEqual(names.filter((n) => !n.includes('moving')));
  });
  it('wraps a functional CNN with a shared layer and a nested model, and other models of its calls stay', async () => {
    setRandomSeed(5);
    const x = input({ shape: [6, 6, 1] });
    const conv = layers.conv2d({ name: 'conv', filters: 2, kernelSize: 3, padding: 'same' });
    const shared = layers.dense({ name: 'shared', units: 2 });
    const block = sequential({ name: 'block', layers: [layers.dense({ name: 'inner', units: 2, activation: 'tanh' })] });
    const h = conv.apply<SymbolicTensor>(x);
    const twice = shared.apply<SymbolicTensor>(shared.apply<SymbolicTensor>(h));
    const sum = layers.add().apply<SymbolicTensor>([twice, block.apply<SymbolicTensor>(h)]);
    const m = model({ inputs: x, outputs: { out: layers.globalAveragePooling2d().apply<SymbolicTensor>(sum) }, name: 'f' });
    const features = model({ inputs: x, outputs: twice, name: 'features' });
    const data = pictures(3);
    const plain = await features.predict(data);
    expect(applyLora(m, { rank: 1, alpha: 2, targetModules: /conv|shared|inner/, seed: 3 }).modules).toEqual(['conv', 'shared', 'inner']);
    disturb(m);
    expect(m.trainableWeights).toHaveLength(6);
    expect(await (await features.predict(data)).data()).toEqual(await plain.data());
    expect(features.trainableWeights).toEqual([]);
    const { out } = await m.predict(data);
    expect(m.summary({ print: null })).toMatch(/shared \(Lora\).*conv\[0\]\[0\]/);
    // The config names the layers as before, wrapped ones inside.
    const copy = m.clone({ weights: true });
    await expectClose((await copy.predict(data)).out, out, 'clone');
    await mergeLora(m);
    await expectClose((await m.predict(data)).out, out, 'merged', 1e-5);
    expect(m.layers).toContain(shared);
  });
  it('wraps layers in properties of own models and leaves own weights alone', async () => {
    class Net extends Model {
      readonly blocks = [layers.dense({ units: 4, name: 'b0' }), layers.dense({ units: 4, name: 'b1' })];
      readonly parts = { head: layers.dense({ units: 1, name: 'h' }) };
      readonly alias = this.blocks[1];
      override call(x: Tensor): Tensor {
        return this.parts.head.apply(this.alias.apply(this.blocks[0].apply(x)));
      }
    }
    const m = new Net();
    m.prepare([{ shape: [2, 3], dtype: 'f32' }], 'test');
    const x = ones([2, 3]);
    const before = await m.apply(x).data();
    const { modules } = applyLora(m, { rank: 1, alpha: 1 });
    expect(modules).toEqual(['b0', 'b1', 'h']);
    expect(m.blocks[1]).toBeInstanceOf(Lora);
    expect(m.alias).toBe(m.blocks[1]);
    expect(await m.apply(x).data()).toEqual(before);
  });
  it('leaves the output matrix and the table of a language model out of all-linear', () => {
    const m = goldenLlama();
    const { modules, trainable } = applyLora(m, { rank: 2, alpha: 4 });
    expect(modules).toHaveLength(14);
    expect(modules.filter((p) => p.includes('lm_head') || p.includes('embed'))).toEqual([]);
    expect(trainable).toBe(m.trainableWeights.reduce((n, v) => n + v.size, 0));
    expect(isFrozen(m.embeddings)).toBe(true);
  });
  it('leaves an output matrix that is the table of tokens as it is, as PEFT does, and merges no adapter into it', async () => {
    const m = languageModel({ ...golden.llama.config, tie_word_embeddings: true });
    m.ensureBuilt([[1, 2]], false);
    const table = await m.head.data();
    applyLora(m, { rank: 2, alpha: 4, targetModules: ['embed_tokens'] });
    const before = await logitsOf(m).data();
    disturb(m);
    expect(await m.head.data()).toEqual(table);
    expect(await logitsOf(m).data()).not.toEqual(before);
    await expect(mergeLora(m)).rejects.toThrow('"model.embed_tokens" is the output matrix too');
    unloadLora(m);
    expect(await logitsOf(m).data()).toEqual(before);
    // A whole copy stays the output matrix.
    applyLora(m, { rank: 2, alpha: 4, targetModules: ['q_proj'], modulesToSave: ['embed_tokens'] });
    expect(await m.head.data()).toEqual(table);
    const [copy] = m.trainableWeights.filter((v) => v.name.includes('embed_tokens'));
    copy.assign(copy.read().mul(2));
    expect(await m.head.data()).toEqual(table.map((v: number) => v * 2));
    const twice = await logitsOf(m).data();
    await mergeLora(m);
    expect(await logitsOf(m).data()).toEqual(twice);
  });
  it('trains a Llama: only adapters change', async () => {
    const m = goldenLlama();
    applyLora(m, { rank: 2, alpha: 4, dropout: 0.1, modulesToSave: ['lm_head'], seed: 1 });
    m.compile({ optimizer: optimizers.adamW({ learningRate: 0.02, weightDecay: 0 }), objective: nextTokenObjective });
    const frozen = m.nonTrainableWeights;
    const before = await copies(frozen);
    const ids = Int32Array.from(golden.llama.ids.flat());
    const labels = Int32Array.from(golden.llama.ids.flatMap((row) => [...row.slice(1), -100]));
    const spec = (data: Int32Array) => ({ data, shape: [2, 6], dtype: 'i32' as const });
    const positions = Int32Array.from({ length: 12 }, (_, i) => i % 6);
    const { history } = await m.fit([spec(ids), spec(positions), spec(new Int32Array(12))], spec(labels), {
      epochs: 12,
      batchSize: 2,
      verbose: 0,
    });
    expect(history.loss.at(-1)).toBeLessThan(history.loss[0] - 0.5);
    expect(await copies(frozen)).toEqual(before);
    expect(slotsOf(m)).toHaveLength(2 * m.trainableWeights.length);
  });
  it('keeps adapters in f32 on a base in bf16, and computes in what the input is', async () => {
    const m = goldenLlama({ dtype: 'bf16', weightDtype: 'bf16' });
    const [c] = golden.llama.adapters;
    applyLora(m, { rank: c.r, alpha: c.lora_alpha, modulesToSave: ['lm_head'] });
    expect(new Set(m.trainableWeights.map((v) => v.dtype))).toEqual(new Set(['f32']));
    for (const v of m.trainableWeights) {
      const t = c.tensors[v.name.replaceAll('/', '.')];
      if (t) v.assign(toTensor(t));
    }
    await expectClose(logitsOf(m), c.logits, 'bf16', 0.06);
  });
  it("drops out of the adapter's input in training only", async () => {
    const net = sequential({ layers: [layers.dense({ units: 3, inputShape: [64], name: 'd' })] });
    const x = ones([1, 64]);
    applyLora(net, { rank: 2, alpha: 2, dropout: 0.5, seed: 1 });
    disturb(net);
    const still = await net.apply(x).data();
    expect(await net.apply(x).data()).toEqual(still);
    const [a, b] = [await net.apply(x, { training: true }).data(), await net.apply(x, { training: true }).data()];
    expect(a).not.toEqual(still);
    expect(a).not.toEqual(b);
    // The base sees the whole input.
    setAdapter(net, null);
    expect(await net.apply(x, { training: true }).data()).toEqual(await net.apply(x).data());
  });
  it('refuses what cannot be, and changes nothing then', () => {
    const m = picture();
    const options = { rank: 2, alpha: 2 };
    const refused: [Parameters<typeof applyLora>[1], string | RegExp][] = [
      [{ ...options, targetModules: ['nothing'] }, 'there is no module "nothing". Expected one of c1, n1, c2, fc, head.'],
      [{ ...options, targetModules: ['n1'] }, '"n1" is a BatchNormalization, which can\'t have LoRA'],
      [{ ...options, targetModules: /^q_proj$/ }, 'no module\'s path matches /^q_proj$/. Expected a pattern of paths such as "c1"'],
      [{ ...options, targetModules: [] }, 'no layer is meant by []'],
      [{ ...options, rank: 0 }, 'rank is 0. Expected a whole number ≥ 1'],
      [{ ...options, alpha: Number.NaN }, 'alpha is null. Expected a number > 0'],
      [{ ...options, dropout: 1 }, 'dropout is 1'],
      [{ ...options, name: 'a.b' }, 'an adapter named "a.b"'],
      [{ ...options, targetModule: ['c1'] } as never, 'there is no option "targetModule". Expected "targetModules"'],
      [{ ...options, targetModules: 'q_proj' as never }, 'targetModules is "q_proj". Expected a list of names, a RegExp or \'all-linear\''],
    ];
    for (const [wrong, text] of refused) {
      expect(() => applyLora(m, wrong)).toThrow(ConfigError);
      expect(() => applyLora(m, wrong)).toThrow(text);
    }
    expect(m.layers.some((l) => l instanceof Lora)).toBe(false);
    expect(m.trainableWeights).toHaveLength(10);
    expect(() => applyLora(sequential([layers.dense({ units: 1 })]), options)).toThrow('it has no weights yet');
    const grouped = sequential({ layers: [layers.conv2d({ name: 'g', filters: 4, kernelSize: 1, groups: 2, inputShape: [3, 3, 2] })] });
    expect(() => applyLora(grouped, { ...options, targetModules: ['g'] })).toThrow('a convolution without groups');
    const own = class Own extends layers.Dense {
      override call(x: Tensor): Tensor {
        return super.call(x).mul(2);
      }
    };
    const strange = sequential({ layers: [new own({ units: 2, name: 'own', inputShape: [2] })] });
    expect(() => applyLora(strange, { ...options, targetModules: ['own'] })).toThrow('"own" is a Own, which can\'t have LoRA');
    applyLora(m, options);
    expect(() => applyLora(m, options)).toThrow('there is an adapter "default" already');
    const kept = new (class Kept extends Model {
      readonly #hidden = layers.dense({ units: 1, name: 'hidden' });
      override sublayers(): Layer[] {
        return [this.#hidden];
      }
      override call(x: Tensor): Tensor {
        return this.#hidden.apply(x);
      }
    })();
    kept.prepare([{ shape: [1, 2], dtype: 'f32' }], 'test');
    expect(() => applyLora(kept, options)).toThrow('it keeps its layer "hidden" where it can\'t be replaced');
  });
});

describe('several adapters', () => {
  const make = (): { net: Sequential; x: Tensor } => {
    setRandomSeed(8);
    const net = sequential({
      layers: [layers.dense({ name: 'one', units: 3, activation: 'tanh', inputShape: [2] }), layers.dense({ name: 'two', units: 2 })],
    });
    return {
      net,
      x: tensor([
        [1, 2],
        [-1, 0.5],
      ]),
    };
  };
  it('are on one base: the one in use is computed and trained', async () => {
    const { net, x } = make();
    const none = await net.apply(x).data();
    applyLora(net, { rank: 1, alpha: 1, name: 'a', targetModules: ['one'] });
    disturb(net);
    const a = await net.apply(x).data();
    applyLora(net, { rank: 2, alpha: 3, name: 'b', modulesToSave: ['two'], targetModules: ['one'] });
    expect(await net.apply(x).data()).toEqual(none);
    expect(adapters(net)).toEqual([
      { name: 'a', rank: 1, alpha: 1, dropout: 0, rsLora: false, isActive: false, modules: ['one'], savedModules: [] },
      { name: 'b', rank: 2, alpha: 3, dropout: 0, rsLora: false, isActive: true, modules: ['one'], savedModules: ['two'] },
    ]);
    expect(net.trainableWeights.map((v) => v.name)).toEqual([
      'base_model/model/one/lora_A/b/weight',
      'base_model/model/one/lora_B/b/weight',
      'base_model/model/two/modules_to_save/b/kernel',
      'base_model/model/two/modules_to_save/b/bias',
    ]);
    setAdapter(net, 'a');
    expect(await net.apply(x).data()).toEqual(a);
    expect(net.trainableWeights.map((v) => v.name)).toEqual([
      'base_model/model/one/lora_A/a/weight',
      'base_model/model/one/lora_B/a/weight',
    ]);
    setAdapter(net, null);
    expect(await net.apply(x).data()).toEqual(none);
    expect(net.trainableWeights).toEqual([]);
    expect(() => setAdapter(net, 'c')).toThrow('there is no adapter "c". Expected one of a, b.');
    await mergeLora(net, { name: 'a' });
    const merged = await net.apply(x).data();
    merged.forEach((v, i) => void expect(v).toBeCloseTo(a[i], 6));
    expect(net.trainableWeights).toHaveLength(4);
    expect(() => setAdapter(net, 'a')).toThrow('Expected a model with adapters');
  });
  it('make predict and evaluate anew when another one is used', async () => {
    const { net } = make();
    const { x, y } = points(8);
    net.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
    const target = Float32Array.from({ length: 16 }, (_, i) => y[i >> 1]);
    const data = { data: target, shape: [8, 2], dtype: 'f32' as const };
    applyLora(net, { rank: 1, alpha: 1 });
    const [zero, loss] = [await (await net.predict(x)).data(), (await net.evaluate(x, data, { verbose: 0 })).loss];
    disturb(net);
    const other = await (await net.predict(x)).data();
    expect(other).not.toEqual(zero);
    setAdapter(net, null);
    expect(await (await net.predict(x)).data()).toEqual(zero);
    expect((await net.evaluate(x, data, { verbose: 0 })).loss).toBe(loss);
    setAdapter(net, 'default');
    expect(await (await net.predict(x)).data()).toEqual(other);
  });
  it('withAdapter holds both in one traced step, and comes back after an error', async () => {
    const { net, x } = make();
    const none = await net.apply(x).data();
    applyLora(net, { rank: 1, alpha: 1 });
    disturb(net);
    const a = await net.apply(x).data();
    const step = await compileStep(
      ([t]) => ({ outputs: [net.apply(t), withAdapter(net, null, () => net.apply<Tensor>(t)), net.apply(t)] }),
      [{ shape: [2, 2], dtype: 'f32' }],
    );
    const out = await step.run([Float32Array.from(await x.data())]);
    const close = (got: ArrayLike<number>, wanted: ArrayLike<number>): void =>
      Array.from(wanted).forEach((w, i) => void expect(got[i]).toBeCloseTo(w, 6));
    close(out[0], a);
    close(out[1], none);
    close(out[2], a);
    // The reference has no gradient.
    const { gradients } = valueAndGrad(() => withAdapter(net, null, () => net.apply<Tensor>(x)).sum(), net.trainableWeights);
    for (const g of gradients) expect(new Set(await g.data())).toEqual(new Set([0]));
    expect(() =>
      withAdapter(net, null, () => {
        throw new RangeError('stop');
      }),
    ).toThrow('stop');
    expect(() => withAdapter(net, null, async () => 1)).toThrow('the work is asynchronous');
    expect(await net.apply(x).data()).toEqual(a);
  });
});

describe('files of models with adapters', () => {
  it('save and loadModel bring adapters back, and training goes on', async () => {
    const m = picture();
    const x = pictures(6);
    const y = Int32Array.from({ length: 6 }, (_, i) => i % 2);
    applyLora(m, { rank: 2, alpha: 4, targetModules: ['c1', 'fc'], modulesToSave: ['head'], seed: 1 });
    m.compile({ optimizer: optimizers.adam({ learningRate: 0.05 }), loss: 'sparseCategoricalCrossentropy' });
    const quiet = { verbose: 0, shuffle: false, epochs: 2 } as const;
    await m.fit(x, y, quiet);
    const loaded = await loadModel(await m.toBytes());
    expect(loaded.weights.map((v) => v.name)).toEqual(m.weights.map((v) => v.name));
    expect(loaded.trainableWeights.map((v) => v.name)).toEqual(m.trainableWeights.map((v) => v.name));
    expect(adapters(loaded)).toEqual(adapters(m));
    const [h, g] = [await m.fit(x, y, quiet), await loaded.fit(x, y, quiet)];
    expect(g.history).toEqual(h.history);
    await mergeLora(loaded as Sequential);
    const [p, q] = [await (await m.predict(x)).data(), await (await loaded.predict(x)).data()];
    q.forEach((v, i) => void expect(v).toBeCloseTo(p[i], 5));
  });
  it('checkpoints go on bit for bit', async () => {
    const root = await mkdtemp(join(tmpdir(), 'tenon-lora-'));
    const make = (): Sequential => {
      setRandomSeed(4);
      const m = picture();
      applyLora(m, { rank: 2, alpha: 4, dropout: 0.3, targetModules: ['c2', 'fc'], seed: 1 });
      return m.compile({ optimizer: 'adam', loss: 'sparseCategoricalCrossentropy' });
    };
    const x = pictures(6);
    const y = Int32Array.from({ length: 6 }, (_, i) => i % 2);
    const options = { verbose: 0, batchSize: 2, epochs: 4 } as const;
    const whole = make();
    await whole.fit(x, y, options);
    await make().fit(x, y, { ...options, epochs: 2, checkpoint: { folder: root } });
    const resumed = make();
    await resumed.fit(x, y, { ...options, checkpoint: { folder: root, resume: true } });
    expect(await copies(resumed.weights)).toEqual(await copies(whole.weights));
    await rm(root, { recursive: true });
  });
});
