/** @file Packed weights and adapters around them on every device: values and gradients are those of the reference device. */
import { describe, expect, it } from 'vitest';
import { setDevice } from '../../src/device/registry.js';
import * as layers from '../../src/layers/index.js';
import { applyLora } from '../../src/model/lora.js';
import { type QuantizeOptions, quantizeModel } from '../../src/model/quantize.js';
import { sequential } from '../../src/model/sequential.js';
import { compileStep, type Tensor, type TypedArray, tensor, valueAndGrad } from '../../src/tensor/index.js';
import { devices, numbers } from './harness.js';

const kinds: [QuantizeOptions, number][] = [
  [{ type: 'nf4' }, 128],
  [{ type: 'nf4' }, 50],
  [{ type: 'nf4', doubleQuant: true }, 192],
  [{ type: 'q8_0' }, 64],
];

/** Output, and gradients of A, B and bias, of a quantized layer with an adapter in a step on the current device. */
async function results(kind: QuantizeOptions, inputs: number, dtype: 'f32' | 'bf16'): Promise<TypedArray[]> {
  const net = sequential({ layers: [layers.linear({ name: 'l', units: 24, activation: 'tanh', inputShape: [inputs] })] });
  net.setWeights(net.weights.map((v, i) => tensor(Float32Array.from(numbers(v.size, i)), { shape: v.shape })));
  await quantizeModel(net, kind);
  applyLora(net, { rank: 4, alpha: 8, seed: 1 });
  const own = net.trainableWeights;
  for (const [i, v] of own.entries()) v.assign(tensor(Float32Array.from(numbers(v.size, 10 + i)), { shape: v.shape }));
  const step = await compileStep(
    ([x]) => {
      const forward = (): Tensor => net.layers[0].apply<Tensor>(x.cast(dtype)).cast('f32');
      const { value, gradients } = valueAndGrad(() => forward().square().sum(), own);
      return { outputs: [forward(), value, ...gradients] };
    },
    [{ shape: [5, inputs], dtype: 'f32' }],
  );
  return step.run([Float32Array.from(numbers(5 * inputs, 3))]);
}

describe.each((await devices()).map((d) => ({ name: d.name })))('$name', ({ name }) => {
  for (const [kind, inputs] of kinds)
    for (const dtype of ['f32', 'bf16'] as const)
      it(`${kind.type}${kind.doubleQuant ? ' with 8-bit scales' : ''}, ${inputs} inputs, ${dtype}`, async () => {
        setDevice('reference');
        const wanted = await results(kind, inputs, dtype);
        setDevice(name);
        const got = await results(kind, inputs, dtype);
        expect(got).toHaveLength(4);
        wanted.forEach((w, k) => {
          const scale = Math.max(1e-6, ...Array.from(w, Math.abs));
          const worst = Math.max(...Array.from(w, (v, i) => Math.abs(got[k][i] - v) / scale));
          expect(worst).toBeLessThan(dtype === 'f32' ? 1e-5 : 0.03);
        });
      }, 120_000);
});
