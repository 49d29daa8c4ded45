/** @file Layers against PyTorch: outputs, gradients of inputs and weights, and statistics, from test/golden/layers.json (layers.py made it). */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { deserializeLayer } from '../../src/layers/all.js';
import * as layers from '../../src/layers/index.js';
import { type Tensor, tensor, valueAndGrad, vjp } from '../../src/tensor/index.js';

interface Vector {
  shape: number[];
  data: number[];
}
interface Case {
  name: string;
  className: string;
  options: { [key: string]: number | string | boolean };
  training: boolean;
  integer: boolean;
  inputs: Vector[];
  weights: Vector[];
  output: Vector;
  probe: Vector;
  inputGradients: Vector[];
  weightGradients: Vector[];
  after?: Vector[];
  call?: { useCausalMask: boolean };
}
const cases: Case[] = JSON.parse(readFileSync(new URL('../golden/layers.json', import.meta.url), 'utf8'));
const toTensor = (v: Vector, dtype: 'f32' | 'i32' = 'f32'): Tensor =>
  tensor(dtype === 'f32' ? Float32Array.from(v.data) : Int32Array.from(v.data), { shape: v.shape });

async function expectClose(actual: Tensor, wanted: Vector, what: string): Promise<void> {
  expect(actual.shape, `${what}: shape`).toEqual(wanted.shape);
  const data = await actual.data();
  const scale = Math.max(1, ...wanted.data.map(Math.abs));
  let worst = 0;
  wanted.data.forEach((w, i) => {
    worst = Math.max(worst, Number.isFinite(data[i]) ? Math.abs(data[i] - w) / scale : Number.POSITIVE_INFINITY);
  });
  expect(worst, `${what}: largest difference`).toBeLessThan(2e-5);
}

describe('layers against PyTorch', () => {
  it('has every kind of case', () => {
    expect(new Set(cases.map((c) => c.className)).size).toBeGreaterThan(25);
    expect(Object.keys(layers)).toContain('multiHeadAttention');
  });
  for (const c of cases)
    it(c.name, async () => {
      const layer = deserializeLayer({ className: c.className, config: c.options });
      const xs = c.inputs.map((v) => toTensor(v, c.integer ? 'i32' : 'f32'));
      const options = { training: c.training, ...c.call };
      const call = (inputs: Tensor[]): Tensor => layer.apply(inputs.length === 1 ? inputs[0] : inputs, options);
      layer.ensureBuilt(
        xs.map((x) => x.shape),
        xs.length > 1,
      );
      layer.setWeights(c.weights.map((v) => toTensor(v)));
      const trainable = layer.trainableWeights;
      const probe = toTensor(c.probe);
      if (!c.integer) {
        // Statistics move with each training call: put them back afterwards.
        const [y, pullback] = vjp((...inputs) => call(inputs), ...xs);
        await expectClose(y, c.output, 'output');
        const inputGradients = pullback(probe);
        for (const [i, g] of c.inputGradients.entries()) await expectClose(inputGradients[i], g, `gradient of input ${i}`);
        layer.setWeights(c.weights.map((v) => toTensor(v)));
      }
      const { value, gradients } = valueAndGrad(() => call(xs).mul(probe).sum(), trainable);
      expect(await value.item()).toBeCloseTo(
        c.output.data.reduce((s, v, i) => s + v * c.probe.data[i], 0),
        3,
      );
      for (const [i, g] of c.weightGradients.entries()) await expectClose(gradients[i], g, `gradient of ${trainable[i].name}`);
      if (c.after)
        for (const [i, v] of c.after.entries()) await expectClose(layer.weights[i].read(), v, `${layer.weights[i].name} afterwards`);
    });
});
