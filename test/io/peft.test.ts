/** @file adapter_config.json: what is read, what is refused by name, and what is written. */
import { describe, expect, it } from 'vitest';
import { FormatError } from '../../src/base/errors.js';
import { encodeUtf8 } from '../../src/io/bytes.js';
import { moduleOfKey, type PeftConfig, parsePeftConfig, readPeftConfig, writePeftConfig } from '../../src/io/peft.js';

/** What PEFT 0.17 writes for a LoraConfig of q_proj and v_proj. */
const written = {
  alpha_pattern: {},
  auto_mapping: null,
  base_model_name_or_path: 'HuggingFaceTB/SmolLM2-135M',
  bias: 'none',
  corda_config: null,
  eva_config: null,
  exclude_modules: null,
  fan_in_fan_out: false,
  inference_mode: true,
  init_lora_weights: true,
  layer_replication: null,
  layers_pattern: null,
  layers_to_transform: null,
  loftq_config: {},
  lora_alpha: 32,
  lora_bias: false,
  lora_dropout: 0.05,
  megatron_config: null,
  megatron_core: 'megatron.core',
  modules_to_save: null,
  peft_type: 'LORA',
  qalora_group_size: 16,
  r: 16,
  rank_pattern: {},
  revision: null,
  target_modules: ['q_proj', 'v_proj'],
  target_parameters: null,
  task_type: 'CAUSAL_LM',
  trainable_token_indices: null,
  use_dora: false,
  use_qalora: false,
  use_rslora: false,
};
const config: PeftConfig = {
  rank: 16,
  alpha: 32,
  dropout: 0.05,
  rsLora: false,
  targetModules: ['q_proj', 'v_proj'],
  isPartial: false,
  modulesToSave: [],
  fanInFanOut: false,
  baseModel: 'HuggingFaceTB/SmolLM2-135M',
  taskType: 'CAUSAL_LM',
};

describe('adapter_config.json', () => {
  it("is read as PEFT's own", () => {
    expect(parsePeftConfig(written, 'it')).toEqual(config);
    expect(parsePeftConfig({ peft_type: 'LORA', r: 4, lora_alpha: 2.5 }, 'it')).toEqual({
      ...config,
      rank: 4,
      alpha: 2.5,
      dropout: 0,
      targetModules: null,
      baseModel: null,
      taskType: null,
    });
    const other = parsePeftConfig(
      {
        ...written,
        use_rslora: true,
        fan_in_fan_out: true,
        modules_to_save: ['lm_head'],
        target_modules: 'all-linear',
        layers_to_transform: [1],
      },
      'it',
    );
    expect(other).toMatchObject({
      rsLora: true,
      fanInFanOut: true,
      modulesToSave: ['lm_head'],
      targetModules: 'all-linear',
      isPartial: true,
    });
  });
  it('comes back from what is written', () => {
    const full: PeftConfig = { ...config, rsLora: true, fanInFanOut: true, modulesToSave: ['lm_head'], baseModel: null, taskType: null };
    for (const c of [config, full]) expect(readPeftConfig(writePeftConfig(c), 'it')).toEqual(c);
    const keys = Object.keys(JSON.parse(new TextDecoder().decode(writePeftConfig(config))));
    expect(keys).toEqual([...keys].sort());
    for (const key of keys) expect(written).toHaveProperty(key);
  });
  it.each<[Record<string, unknown>, string]>([
    [{ peft_type: 'LOHA' }, 'it: peft_type is "LOHA". Expected "LORA".'],
    [{ peft_type: undefined }, 'it: peft_type is missing'],
    [{ r: 0 }, 'it: r is 0. Expected a whole number ≥ 1.'],
    [{ r: 2.5 }, 'it: r is 2.5'],
    [{ r: 1e9 }, 'it: r is 1000000000'],
    [{ lora_alpha: -1 }, 'it: lora_alpha is -1'],
    [{ lora_dropout: 1 }, 'it: lora_dropout is 1'],
    [{ use_dora: true }, 'it: use_dora is true. Expected it to be off'],
    [{ rank_pattern: { q_proj: 4 } }, 'it: rank_pattern is {"q_proj":4}. Expected {}'],
    [{ alpha_pattern: { q_proj: 4 } }, 'it: alpha_pattern is'],
    [{ bias: 'all' }, 'it: bias is "all". Expected "none"'],
    [{ lora_bias: true }, 'it: lora_bias is true'],
    [{ init_lora_weights: 'pissa_niter_16' }, 'it: init_lora_weights is "pissa_niter_16"'],
    [{ layer_replication: [[0, 2]] }, 'it: layer_replication is [[0,2]]'],
    [{ trainable_token_indices: [1] }, 'it: trainable_token_indices is [1]'],
    [{ target_parameters: ['w'] }, 'it: target_parameters is ["w"]'],
    [{ use_tomorrow: 1 }, 'it: use_tomorrow is 1. Expected it to be off: plain LoRA is what is known here.'],
    [{ target_modules: [1] }, 'it: target_modules is [1]'],
    [{ target_modules: 7 }, 'it: target_modules is 7'],
    [{ modules_to_save: 'lm_head' }, 'it: modules_to_save is "lm_head"'],
    [{ use_rslora: 'yes' }, 'it: use_rslora is "yes"'],
  ])('refuses %o', (change, text) => {
    expect(() => parsePeftConfig({ ...written, ...change }, 'it')).toThrow(FormatError);
    expect(() => parsePeftConfig({ ...written, ...change }, 'it')).toThrow(text);
  });
  it('refuses what is no config', () => {
    for (const json of [null, 3, 'x', [], [written]]) expect(() => parsePeftConfig(json, 'it')).toThrow(FormatError);
    expect(() => readPeftConfig(encodeUtf8('{'), 'it')).toThrow('it: it is not JSON in UTF-8');
    expect(() => readPeftConfig(Uint8Array.of(0xff, 0xfe), 'it')).toThrow(FormatError);
    expect(() => readPeftConfig(new Uint8Array(5 * 2 ** 20), 'it')).toThrow('the file is too large');
  });
});

it('keys of A and B name their modules', () => {
  expect(moduleOfKey('base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight')).toBe('model.layers.0.self_attn.q_proj');
  expect(moduleOfKey('base_model.model.model.embed_tokens.lora_embedding_B')).toBe('model.embed_tokens');
  expect(moduleOfKey('base_model.model.lm_head.weight')).toBeNull();
  expect(moduleOfKey('model.layers.0.lora_A.weight')).toBeNull();
});
