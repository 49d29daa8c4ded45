/** @file Architectures by the model_type of their config.json. */
import { FormatError, quote } from '../base/errors.js';
import type { CausalLM, LanguageModelOptions } from './causal-lm.js';
import { Gpt2 } from './gpt2.js';
import { Llama } from './llama.js';

export {
  attend,
  Block,
  type BlockCache,
  CausalLM,
  causalSequence,
  fileName,
  type LanguageModelConfig,
  type LanguageModelOptions,
  type Sequence,
} from './causal-lm.js';
export { Gpt2, type Gpt2Config, gpt2Config } from './gpt2.js';
export { Llama, type LlamaConfig, llamaConfig } from './llama.js';

const families = { llama: Llama, mistral: Llama, qwen2: Llama, qwen3: Llama, gpt2: Gpt2 } as const;

/** The language model that a config.json describes, with random weights. Throws FormatError for an architecture that isn't known. */
export function languageModel(config: Readonly<Record<string, unknown>>, options: LanguageModelOptions = {}): CausalLM {
  const type = config.model_type;
  if (typeof type === 'string' && Object.hasOwn(families, type)) return new families[type as keyof typeof families](config, options);
  throw new FormatError(`config.json: model_type ${quote(type)} is not known. Expected one of ${Object.keys(families).join(', ')}.`);
}
