/** @file What tests of adapters and quantization share: the golden vectors, a small Llama with their weights, differences. */
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { fromHost, type Tensor, tensor } from '../../src/tensor/index.js';
import { type CausalLM, causalSequence, fileName, languageModel } from '../../src/zoo/index.js';

export interface Vector {
  shape: number[];
  data: number[];
}
export interface LayerCase {
  name: string;
  className: string;
  options: { [key: string]: number | string | boolean };
  integer: boolean;
  rank: number;
  alpha: number;
  rsLora: boolean;
  input: Vector;
  weights: Vector[];
  a: Vector;
  b: Vector;
  output: Vector;
  probe: Vector;
  gradA: Vector;
  gradB: Vector;
  merged: Vector;
}
interface AdapterCase {
  name: string;
  r: number;
  lora_alpha: number;
  target_modules: string[];
  modules_to_save: string[] | null;
  tensors: Record<string, Vector>;
  logits: Vector;
}
export const golden: {
  layers: LayerCase[];
  llama: { config: Record<string, unknown>; weights: Record<string, Vector>; ids: number[][]; logits: Vector; adapters: AdapterCase[] };
} = JSON.parse(readFileSync(new URL('../golden/lora.json', import.meta.url), 'utf8'));

export const toTensor = (v: Vector, dtype: 'f32' | 'i32' = 'f32'): Tensor =>
  tensor(dtype === 'f32' ? Float32Array.from(v.data) : Int32Array.from(v.data), { shape: v.shape });

/** Throws unless the largest difference is below `most` of the largest number wanted (at least 1). */
export async function expectClose(actual: Tensor, wanted: Vector | Tensor, what: string, most = 2e-5): Promise<void> {
  expect(actual.shape, `${what}: shape`).toEqual(wanted.shape);
  const values = ArrayBuffer.isView(wanted) || 'node' in wanted ? await (wanted as Tensor).data() : (wanted as Vector).data;
  const got = await actual.data();
  const scale = Math.max(1, ...Array.from(values, Math.abs));
  let worst = 0;
  values.forEach((w: number, i: number) => {
    worst = Math.max(worst, Number.isFinite(got[i]) ? Math.abs(got[i] - w) / scale : Number.POSITIVE_INFINITY);
  });
  expect(worst, `${what}: largest difference`).toBeLessThan(most);
}

/** The golden Llama. */
export function goldenLlama(options: { dtype?: 'f32' | 'bf16'; weightDtype?: 'f32' | 'bf16' } = {}): CausalLM {
  const { config, weights } = golden.llama;
  const model = languageModel(config, options);
  model.ensureBuilt([[1, 2]], false);
  for (const v of model.weights) v.assign(toTensor(weights[fileName(v)]).cast(v.dtype));
  return model;
}
export const goldenIds = (): Tensor =>
  fromHost(Int32Array.from(golden.llama.ids.flat()), [golden.llama.ids.length, golden.llama.ids[0].length], 'i32');
/** Logits of the golden ids. */
export function logitsOf(model: CausalLM): Tensor {
  const ids = goldenIds();
  return model.logits(model.hidden(ids, causalSequence(ids)));
}
