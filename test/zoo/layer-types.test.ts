/** @file What a Llama's config says of its layers' attention. */
import { expect, it } from 'vitest';
import { llamaConfig } from '../../src/zoo/llama.js';

const config = {
  model_type: 'llama',
  vocab_size: 8,
  hidden_size: 8,
  intermediate_size: 8,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  max_position_embeddings: 16,
  rms_norm_eps: 1e-5,
  hidden_act: 'silu',
  sliding_window: 4,
};

it('takes the attention that it knows, of every layer', () => {
  expect(llamaConfig({ ...config, layer_types: ['full_attention', 'sliding_attention'] }).windows).toEqual([null, 4]);
  expect(() => llamaConfig({ ...config, layer_types: ['full_attention', 'chunked_attention'] })).toThrow(/layer_types/);
  expect(() => llamaConfig({ ...config, layer_types: ['full_attention'] })).toThrow(
    'layer_types has 1 entries. Expected num_hidden_layers, 2.',
  );
});
