/** @file Small models of each family against independent PyTorch code: logits, gradients, one AdamW step; and generation with the cache. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { nextTokenObjective } from '../../src/llm/objective.js';
import { optimizers } from '../../src/optimizers/index.js';
import { fromHost, type Variable, valueAndGrad } from '../../src/tensor/index.js';
import { makeBatch } from '../../src/train/batch.js';
import { type CausalLM, causalSequence, fileName, languageModel } from '../../src/zoo/index.js';

interface Golden {
  readonly ids: number[][];
  readonly labels: number[][];
  readonly models: Record<
    string,
    {
      readonly config: Record<string, unknown>;
      readonly loss: number;
      readonly logits: string;
      readonly weights: Record<string, { readonly shape: number[]; readonly gradient: string; readonly updated: string }>;
    }
  >;
}
const golden = JSON.parse(readFileSync(new URL('../golden/language-models.json', import.meta.url), 'utf8')) as Golden;
const floats = (base64: string): Float32Array => {
  const bytes = Buffer.from(base64, 'base64');
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
};
const grid = (rows: number[][]) => fromHost(Int32Array.from(rows.flat()), [rows.length, rows[0].length], 'i32');

/** Largest difference, as a share of the largest value wanted. */
function difference(got: ArrayLike<number>, wanted: Float32Array): number {
  expect(got.length).toBe(wanted.length);
  const most = wanted.reduce((m, x) => Math.max(m, Math.abs(x)), 1e-6);
  return wanted.reduce((worst, x, i) => Math.max(worst, Math.abs(got[i] - x)), 0) / most;
}

/** The model with the weights of the golden script's formula. */
function build(name: string): CausalLM {
  const { config, weights } = golden.models[name];
  const model = languageModel(config);
  model.ensureBuilt([[1, 2]], false);
  const known = new Map(model.weights.map((v) => [fileName(v), v]));
  expect([...known.keys()].sort()).toEqual(Object.keys(weights).sort());
  Object.keys(weights).forEach((key, k) => {
    const v = known.get(key) as Variable;
    const isScale = /(norm|layernorm|ln_\w)\.weight$/.test(key);
    const wave = (i: number): number => 0.3 * Math.cos((i + 1) * (0.7 + 0.013 * k));
    v.set(Float32Array.from({ length: v.size }, (_, i) => (isScale ? 1 + 0.5 * wave(i) : wave(i))));
  });
  return model;
}

describe.each(Object.keys(golden.models))('%s', (name) => {
  const wanted = golden.models[name];

  test('logits, gradients and a step of AdamW are those of PyTorch', async () => {
    const model = build(name);
    const ids = grid(golden.ids);
    expect(difference(await model.logits(model.hidden(ids, causalSequence(ids))).data(), floats(wanted.logits))).toBeLessThan(1e-4);
    const batch = makeBatch([ids], [grid(golden.labels)], null, 2);
    const { value, gradients } = valueAndGrad(() => {
      const { lossSum, weight } = nextTokenObjective(model, batch, { training: true });
      return lossSum.div(weight);
    }, model.weights);
    expect(Math.abs((await value.item()) - wanted.loss)).toBeLessThan(1e-5);
    for (const [i, v] of model.weights.entries())
      expect(difference(await gradients[i].data(), floats(wanted.weights[fileName(v)].gradient)), fileName(v)).toBeLessThan(1e-4);

    const optimizer = optimizers.adamW({
      learningRate: 1e-2,
      beta1: 0.9,
      beta2: 0.95,
      // PyTorch's 1e-3: Keras's epsilon stands before the correction of the bias. A large one, so that gradients near zero don't decide by their noise.
      epsilon: 1e-3 * Math.sqrt(1 - 0.95),
      weightDecay: 0.1,
      excludeFromWeightDecay: ['bias$', 'norm/scale$', 'gamma$', 'beta$'],
    });
    optimizer.build(model.weights);
    optimizer.apply(gradients, model.weights);
    for (const v of model.weights)
      expect(difference(await v.data(), floats(wanted.weights[fileName(v)].updated)), fileName(v)).toBeLessThan(1e-4);
  });
});
