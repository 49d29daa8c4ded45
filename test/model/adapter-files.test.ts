/** @file Adapters in PEFT's files: its keys, values of another system's formulas, both ways; files that don't fit or are damaged. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConfigError, FormatError, TenonError } from '../../src/base/errors.js';
import { encodeUtf8 } from '../../src/io/bytes.js';
import { convertFloats } from '../../src/io/convert-floats.js';
import { readSafetensors, type TensorData, writeSafetensors } from '../../src/io/safetensors.js';
import * as layers from '../../src/layers/index.js';
import { type AdapterFiles, adapterFiles, loadAdapter, saveAdapter } from '../../src/model/adapter-files.js';
import { adapters, applyLora, setAdapter } from '../../src/model/lora.js';
import { quantizeModel } from '../../src/model/quantize.js';
import { sequential } from '../../src/model/sequential.js';
import { tensor } from '../../src/tensor/index.js';
import { languageModel } from '../../src/zoo/index.js';
import '../train/support.js';
import { expectClose, golden, goldenLlama, logitsOf, type Vector } from './lora-support.js';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tenon-adapter-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const [allLinear, withSaved] = golden.llama.adapters;
type Case = (typeof golden.llama.adapters)[number];
const data = (v: Vector): TensorData => ({ dtype: 'f32', shape: v.shape, data: Float32Array.from(v.data) });
const tensorsOf = (c: Case): Map<string, TensorData> => new Map(Object.entries(c.tensors).map(([key, v]) => [key, data(v)]));
const configOf = (c: Case, change: object = {}): Record<string, unknown> => ({
  peft_type: 'LORA',
  r: c.r,
  lora_alpha: c.lora_alpha,
  target_modules: c.target_modules,
  modules_to_save: c.modules_to_save,
  bias: 'none',
  task_type: 'CAUSAL_LM',
  ...change,
});
const filesOf = (c: Case, change: object = {}, tensors = tensorsOf(c)): AdapterFiles => ({
  config: encodeUtf8(JSON.stringify(configOf(c, change))),
  weights: writeSafetensors(tensors),
});

describe('loadAdapter', () => {
  for (const c of golden.llama.adapters)
    it(`reads what PEFT would have written, and computes as its formulas: ${c.name}`, async () => {
      const m = goldenLlama();
      const config = await loadAdapter(m, filesOf(c));
      expect(config).toMatchObject({ rank: c.r, alpha: c.lora_alpha, taskType: 'CAUSAL_LM' });
      await expectClose(logitsOf(m), c.logits, 'adapted');
      setAdapter(m, null);
      await expectClose(logitsOf(m), golden.llama.logits, 'base');
      // And writes it again as it was.
      const { config: json, weights } = await adapterFiles(m, { name: 'default', baseModel: 'some/model' });
      const again = readSafetensors(weights instanceof Uint8Array ? weights : Buffer.concat(weights as Uint8Array[]), 'again');
      expect(new Map([...again.tensors].sort())).toEqual(new Map([...tensorsOf(c)].sort()));
      expect(again.metadata).toEqual({ format: 'pt' });
      const saved = JSON.parse(new TextDecoder().decode(json));
      expect(saved).toMatchObject({
        peft_type: 'LORA',
        r: c.r,
        lora_alpha: c.lora_alpha,
        use_dora: false,
        bias: 'none',
        task_type: 'CAUSAL_LM',
      });
      expect(saved.base_model_name_or_path).toBe('some/model');
      expect([...saved.target_modules].sort()).toEqual([...c.target_modules].sort());
      expect(saved.modules_to_save === null).toBe(c.modules_to_save === null);
    });
  it('takes patterns, parts of a model and 16-bit numbers', async () => {
    const tensors = new Map([...tensorsOf(allLinear)].filter(([key]) => key.includes('layers.1.')));
    const pattern = filesOf(allLinear, { target_modules: '.*\\.layers\\.1\\..*_proj' }, tensors);
    const m = goldenLlama();
    await loadAdapter(m, pattern);
    expect(adapters(m)[0].modules).toHaveLength(7);
    const some = goldenLlama();
    await loadAdapter(some, filesOf(allLinear, { layers_to_transform: [1] }, tensors));
    const byName = goldenLlama();
    const short = new Map(
      [...tensors].map(([key, t]): [string, TensorData] => [key, { ...t, dtype: 'bf16', data: convertFloats(t.data, 'f32', 'bf16') }]),
    );
    await loadAdapter(byName, filesOf(allLinear, { target_modules: null }, short));
    await expectClose(logitsOf(some), logitsOf(m), 'some');
    await expectClose(logitsOf(byName), logitsOf(m), 'bf16', 0.05);
    const linear = goldenLlama();
    await loadAdapter(linear, filesOf(allLinear, { target_modules: 'all-linear' }));
    await expectClose(logitsOf(linear), allLinear.logits, 'all-linear');
  });
  it('puts several on one base, quantized too', async () => {
    const m = goldenLlama();
    await loadAdapter(m, filesOf(allLinear), { name: 'one' });
    await loadAdapter(m, filesOf(withSaved), { name: 'two' });
    await expectClose(logitsOf(m), withSaved.logits, 'two');
    setAdapter(m, 'one');
    await expectClose(logitsOf(m), allLinear.logits, 'one');
    expect(adapters(m).map((a) => [a.name, a.isActive])).toEqual([
      ['one', true],
      ['two', false],
    ]);
    await expect(loadAdapter(m, filesOf(allLinear), { name: 'two' })).rejects.toThrow(ConfigError);
    const packed = goldenLlama();
    await quantizeModel(packed, { type: 'nf4' });
    await loadAdapter(packed, filesOf(allLinear));
    await expectClose(logitsOf(packed), allLinear.logits, 'on NF4', 1);
    expect(packed.trainableWeights).toHaveLength(28);
  });
  it('lists what is missing, extra and misshaped, and leaves the model as it was', async () => {
    const key = 'base_model.model.model.layers.0.mlp.up_proj.lora_A.weight';
    const tensors = tensorsOf(allLinear);
    tensors.delete('base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight');
    tensors.set('base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight', {
      dtype: 'f32',
      shape: [2, 8],
      data: new Float32Array(16),
    });
    tensors.set(key, { dtype: 'f32', shape: [3, 8], data: new Float32Array(24) });
    tensors.set(key.replace('_A', '_B'), { dtype: 'i32', shape: [12, 2], data: new Int32Array(24) });
    const m = goldenLlama();
    const before = m.trainableWeights.length;
    const failed = await loadAdapter(m, filesOf(allLinear, {}, tensors)).catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(FormatError);
    const { message } = failed as FormatError;
    expect(message).toContain('adapter_model.safetensors: an adapter for Llama');
    expect(message).toContain('4 of its tensors do not fit');
    expect(message).toContain('missing base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight [8, 2]');
    expect(message).toContain(`${key} has shape [3, 8], expected [2, 8]`);
    expect(message).toContain(`${key.replace('_A', '_B')} is i32, expected f32, f16 or bf16`);
    expect(message).toContain('extra "base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight" [2, 8]');
    expect(adapters(m)).toEqual([]);
    expect(m.trainableWeights).toHaveLength(before);
    await expect(loadAdapter(m, filesOf(allLinear, { target_modules: ['w_proj'] }))).rejects.toThrow(
      'target_modules: there is no module "w_proj"',
    );
    await expect(loadAdapter(m, filesOf(allLinear, { modules_to_save: ['score'] }))).rejects.toThrow(
      'modules_to_save: there is no module "score"',
    );
    await expect(loadAdapter(m, filesOf(allLinear, { use_dora: true }))).rejects.toThrow('adapter_config.json: use_dora is true');
    await expect(loadAdapter(m, 3 as never)).rejects.toThrow("expected a folder's path or { config, weights }, received 3");
    expect(adapters(m)).toEqual([]);
  });
  it('gives typed errors alone for damaged files', async () => {
    const m = goldenLlama();
    const good = filesOf(withSaved);
    let seed = 1;
    const next = (n: number): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
      return seed % n;
    };
    const damaged = (bytes: Uint8Array, header: number): Uint8Array => {
      const copy = bytes.slice(0, next(4) === 0 ? next(bytes.length) : bytes.length);
      for (let k = next(4) + 1; k > 0 && copy.length > 0; k--) copy[next(Math.min(copy.length, header))] = next(256);
      return copy;
    };
    let refused = 0;
    for (let i = 0; i < 300; i++) {
      const which = next(2);
      const files = {
        config: which === 0 ? damaged(good.config, good.config.length) : good.config,
        weights: which === 1 ? damaged(good.weights as Uint8Array, 3000) : good.weights,
      };
      try {
        await loadAdapter(m, files, { name: `a${i}` });
      } catch (error) {
        refused++;
        expect(error).toBeInstanceOf(TenonError);
        expect(adapters(m).some((a) => a.name === `a${i}`)).toBe(false);
      }
    }
    expect(refused).toBeGreaterThan(200);
  });
});

describe('saveAdapter', () => {
  it('writes both files, over older ones, and a model without the adapter reads them', async () => {
    const dir = join(root, 'new', 'adapter');
    const m = goldenLlama();
    await loadAdapter(m, filesOf(withSaved));
    await saveAdapter(m, dir, { baseModel: '../base' });
    await saveAdapter(m, dir, { baseModel: '../base' });
    expect((await readdir(dir)).sort()).toEqual(['adapter_config.json', 'adapter_model.safetensors']);
    const other = goldenLlama();
    expect((await loadAdapter(other, dir, { name: 'read' })).baseModel).toBe('../base');
    await expectClose(logitsOf(other), withSaved.logits, 'read');
    await writeFile(join(dir, 'adapter_model.safetensors'), (await readFile(join(dir, 'adapter_model.safetensors'))).subarray(0, 500));
    await expect(loadAdapter(goldenLlama(), dir)).rejects.toThrow(/adapter_model\.safetensors: .*truncated/);
    await expect(loadAdapter(goldenLlama(), join(root, 'none'))).rejects.toThrow('there is no such file');
    await expect(saveAdapter(goldenLlama(), dir)).rejects.toThrow('there is no adapter "default". Expected a model with adapters');
    await expect(saveAdapter(m, join(dir, 'adapter_config.json', 'x'))).rejects.toThrow();
  });
  it('names modules by their ends where these mean nothing else', async () => {
    const named = async (targetModules: readonly string[]): Promise<string[]> => {
      const m = goldenLlama();
      applyLora(m, { rank: 1, alpha: 1, targetModules });
      return JSON.parse(new TextDecoder().decode((await adapterFiles(m)).config)).target_modules;
    };
    expect(await named(['v_proj', 'q_proj'])).toEqual(['q_proj', 'v_proj']);
    expect(await named(['layers.1.self_attn.q_proj'])).toEqual(['model.layers.1.self_attn.q_proj']);
  });
  it("tells fan_in_fan_out for GPT-2's projections, whose weights are [in, out]", async () => {
    const m = languageModel({ model_type: 'gpt2', vocab_size: 11, n_positions: 8, n_embd: 8, n_layer: 1, n_head: 2 });
    m.ensureBuilt([[1, 2]], false);
    applyLora(m, { rank: 2, alpha: 2, targetModules: ['c_attn', 'c_fc'] });
    const { config, weights } = await adapterFiles(m);
    expect(JSON.parse(new TextDecoder().decode(config))).toMatchObject({ fan_in_fan_out: true, target_modules: ['c_attn', 'c_fc'] });
    const { tensors } = readSafetensors(Buffer.concat(weights as Uint8Array[]), 'it');
    const shapes = Object.fromEntries([...tensors].map(([key, t]) => [key, t.shape]));
    expect(shapes).toEqual({
      'base_model.model.transformer.h.0.attn.c_attn.lora_A.weight': [2, 8],
      'base_model.model.transformer.h.0.attn.c_attn.lora_B.weight': [24, 2],
      'base_model.model.transformer.h.0.mlp.c_fc.lora_A.weight': [2, 8],
      'base_model.model.transformer.h.0.mlp.c_fc.lora_B.weight': [32, 2],
    });
  });
  it('is for any model', async () => {
    const make = (): ReturnType<typeof sequential> => {
      const net = sequential({
        layers: [
          layers.conv2d({ name: 'c', filters: 2, kernelSize: 3, inputShape: [4, 4, 1] }),
          layers.flatten(),
          layers.dense({ name: 'd', units: 2 }),
        ],
      });
      net.setWeights(
        net.weights.map((v) =>
          tensor(
            Float32Array.from({ length: v.size }, (_, i) => Math.cos(i)),
            { shape: v.shape },
          ),
        ),
      );
      return net;
    };
    const [net, other] = [make(), make()];
    applyLora(net, { rank: 1, alpha: 2, targetModules: ['c', 'd'] });
    for (const v of net.trainableWeights)
      v.assign(
        tensor(
          Float32Array.from({ length: v.size }, (_, i) => Math.sin(i + 1)),
          { shape: v.shape },
        ),
      );
    await saveAdapter(net, join(root, 'cnn'));
    await loadAdapter(other, join(root, 'cnn'));
    const x = tensor(
      Float32Array.from({ length: 16 }, (_, i) => i / 16),
      { shape: [1, 4, 4, 1] },
    );
    expect(await other.apply(x).data()).toEqual(await net.apply(x).data());
    expect(JSON.parse(await readFile(join(root, 'cnn', 'adapter_config.json'), 'utf8')).task_type).toBeNull();
  });
});
