/**
 * @file `tenon/llm`: language models from raw text to a fine-tuned one: tokenizers, data, architectures, training runs, adapters, generation, files.
 * What needs files is loaded when it is called.
 */

import type { OpenEngineOptions, OpenModelOptions } from './open-model-node.js';
import type { Pretrained, PretrainedOptions, SavePretrainedOptions } from './pretrained-node.js';
import type { TextEngine } from './text-engine.js';

export { type LoadAdapterOptions, loadAdapter, type SaveAdapterOptions, saveAdapter } from '../model/adapter-files.js';
export {
  type AdapterInfo,
  adapters,
  applyLora,
  type LoraOptions,
  mergeLora,
  setAdapter,
  type TargetModules,
  unloadLora,
  withAdapter,
} from '../model/lora.js';
export { type QuantizeOptions, type QuantizeReport, quantizeModel } from '../model/quantize.js';
export {
  CausalLM,
  causalSequence,
  Gpt2,
  type Gpt2Config,
  gpt2Config,
  type LanguageModelConfig,
  type LanguageModelOptions,
  Llama,
  type LlamaConfig,
  languageModel,
  llamaConfig,
  type Sequence,
} from '../zoo/index.js';
export { characterTokenizer } from './char-tokenizer.js';
export {
  type ApplyChatTemplateOptions,
  applyChatTemplate,
  type ChatTemplateOptions,
  type Conversation,
  chatml,
  renderConversation,
} from './chat-template.js';
export * from './data/index.js';
export { type DpoOptions, dpoObjective } from './dpo.js';
export { type GeneratedPart, type GenerateOptions, type GeneratorOptions, TextGenerator } from './generate.js';
export { nextTokenObjective } from './objective.js';
export type { OpenEngineOptions, OpenModelOptions } from './open-model-node.js';
export { type Derived, type Preset, presetOf } from './presets.js';
export type { GenerationConfig, Pretrained, PretrainedOptions, SavePretrainedOptions } from './pretrained-node.js';
export type { SamplingOptions } from './sample.js';
export type { Sampling, TextEngine, TextPiece, TextRequest } from './text-engine.js';
export { type DecodeOptions, type EncodeOptions, Tokenizer, type TokenizerOptions } from './tokenizer.js';
export { type TrainedTokenizer, type TrainTokenizerOptions, type TrainTokenizerProgress, trainTokenizer } from './train-tokenizer.js';
export {
  type CurvePoint,
  type Estimate,
  type TrainingProgress,
  type TrainingSettings,
  type TrainTokensOptions,
  type TrainTokensResult,
  trainTokens,
} from './train-tokens.js';

/**
 * The language model of a folder in the Hugging Face layout: config.json, safetensors in one or several files, tokenizer.json. Weights are read
 * one after another and are never twice in memory.
 * @throws ConfigError for a folder that isn't there, FormatError for files that are damaged or don't fit each other, with names and shapes
 * @example
 * ```ts no-run
 * const { model, tokenizer } = await fromPretrained('models/SmolLM2-135M');
 * const generator = new TextGenerator(model, tokenizer);
 * for await (const { text } of generator.stream('Once upon a time', { maxTokens: 64 })) process.stdout.write(text);
 * ```
 */
export async function fromPretrained(folder: string, options: PretrainedOptions = {}): Promise<Pretrained> {
  return (await import('#node/llm/pretrained-node.js')).fromPretrained(folder, options);
}

/** Writes a language model as a folder that `fromPretrained`, and transformers, read. Throws ConfigError, TenonError when it can't be written. */
export async function savePretrained(pretrained: Pretrained, folder: string, options: SavePretrainedOptions = {}): Promise<void> {
  return (await import('#node/llm/pretrained-node.js')).savePretrained(pretrained, folder, options);
}

/** A model by whatever names it: a folder, an adapter's or a run's folder, a GGUF file, or owner/name on the hub. Throws as fromPretrained. */
export async function openModel(name: string, options: OpenModelOptions = {}): Promise<Pretrained> {
  return (await import('#node/llm/open-model-node.js')).openModel(name, options);
}

/**
 * A model that answers several requests side by side: what `serveText` of `tenon/serve` serves, and what chats in your own program. Throws as openModel.
 * @example
 * ```ts no-run
 * const engine = await openEngine('runs/finetune-run-1');
 * const question = engine.renderChat([{ role: 'user', content: 'What is a tenon?' }]);
 * const sampling = { temperature: 0.7, topK: 0, topP: 0.95, minP: 0, repetitionPenalty: 1 };
 * for await (const { text } of engine.generate(question, { ...sampling, maxTokens: 64, stop: [] })) process.stdout.write(text);
 * ```
 */
export async function openEngine(name: string, options: OpenEngineOptions = {}): Promise<TextEngine> {
  return (await import('#node/llm/open-model-node.js')).openEngine(name, options);
}

/** The tokenizer of a folder. Throws ConfigError for one without tokenizer.json, FormatError for malformed files. */
export async function loadTokenizer(folder: string): Promise<import('./tokenizer.js').Tokenizer> {
  return (await import('#node/llm/tokenizer-node.js')).loadTokenizer(folder);
}
