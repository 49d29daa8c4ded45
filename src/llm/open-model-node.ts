/**
 * @file A language model by whatever names it: a folder in the Hugging Face layout, an adapter's or a run's folder, a GGUF file, or owner/name on
 * the hub; and the engine that serves and chats with it.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { ConfigError, FormatError, quote } from '../base/errors.js';
import { DownloadError } from '../data/datasets/download-node.js';
import { openGguf } from '../io/gguf-node.js';
import { PEFT_CONFIG_FILE } from '../io/peft.js';
import type { TensorFiles } from '../io/tensor-files.js';
import { loadAdapter } from '../model/adapter-files.js';
import { languageModel } from '../zoo/index.js';
import { applyChatTemplate } from './chat-template.js';
import { fromGguf } from './from-gguf.js';
import { TextGenerator } from './generate.js';
import type { HubProgress } from './hub-node.js';
import { fromPretrained, type GenerationConfig, type Pretrained, type PretrainedOptions, readJson } from './pretrained-node.js';
import type { ChatMessage, Sampling, TextEngine, TextPiece, TextRequest } from './text-engine.js';
import { Tokenizer } from './tokenizer.js';
import { readWeights } from './weights.js';

export interface OpenModelOptions extends Omit<PretrainedOptions, 'quantize'> {
  /**
   * Projections are packed after reading; with q8_0 the table of tokens and the output matrix too. 'trained': an adapter's base as in the run that
   * made the adapter. Default 'none'.
   */
  quantize?: 'none' | 'nf4' | 'q8_0' | 'trained';
  /** nf4: the blocks' scales are quantized again. Default false. */
  doubleQuantize?: boolean;
  /** Of a model on the hub: branch, tag or commit. */
  revision?: string;
}

const isThere = async (path: string): Promise<boolean> => (await stat(path).catch(() => null)) !== null;

/** What a run is told, in its folder. */
const RUN_FILE = 'run.yaml';

/** What the run in a folder made. Throws ConfigError for one that isn't finished. */
async function madeBy(run: string): Promise<string> {
  const [adapter, model] = [join(run, 'adapter'), join(run, 'model')];
  if (await isThere(join(adapter, PEFT_CONFIG_FILE))) return adapter;
  // A model's weights are written last.
  if ((await readdir(model).catch(() => [])).some((name) => name.endsWith('.safetensors'))) return model;
  const kind = (await runSettings(run))('model') === undefined ? 'pretrain' : 'finetune';
  throw new ConfigError(
    `${run}: the run is not finished: it has made no model yet. Expected a finished one. Go on with: tenon ${kind} --resume ${run}`,
  );
}

/** Reads the words after keys of a run's file, as runs write it: a line each. */
async function runSettings(run: string): Promise<(key: string) => string | undefined> {
  const text = await readFile(join(run, RUN_FILE), 'utf8').catch(() => '');
  return (key) => new RegExp(`^${key}: *(\\S.*)$`, 'm').exec(text)?.[1].trim();
}

/** The folder (or file) that a name means: itself, what a run made, or a download. Throws ConfigError. */
export async function locate(name: string, options: OpenModelOptions): Promise<string> {
  if (await isThere(name)) {
    const isRun = (await isThere(join(name, RUN_FILE))) && !(await isThere(join(name, 'config.json')));
    return isRun ? madeBy(name) : name;
  }
  if (!isHubName(name))
    throw new ConfigError(
      `model: there is no ${shown(name)}. Expected a folder in the Hugging Face layout, a .gguf file, or owner/name on the hub.`,
    );
  return download(name, `model: there is no folder ${shown(name)} here`, options);
}

/** owner/name, and no path such as ../name. */
const isHubName = (name: string): boolean => /^\w[\w.-]*\/\w[\w.-]*$/.test(name);
const shown = (name: string): string => (name.length > 300 ? quote(name) : name);

/** The folder of a model on the hub. `why` says in errors why it was looked for there. Throws ConfigError and DownloadError. */
async function download(name: string, why: string, options: OpenModelOptions): Promise<string> {
  const { downloadModel } = await import('./hub-node.js');
  try {
    return await downloadModel(name, {
      ...(options.revision === undefined ? {} : { revision: options.revision }),
      ...(options.signal ? { signal: options.signal } : {}),
      ...(options.onProgress ? { onProgress: (p: HubProgress) => options.onProgress?.(p.allReceived / Math.max(1, p.allTotal)) } : {}),
    });
  } catch (error) {
    // Most likely a folder was meant.
    if (error instanceof DownloadError) throw new DownloadError(`${why}. On the hub: ${error.message}`, error.isTransient);
    if (error instanceof ConfigError) throw new ConfigError(`${why}. On the hub: ${error.message}`, { cause: error });
    throw error;
  }
}

/** The base of an adapter: a folder relative to where the adapter was trained or to itself, or a model on the hub. Throws ConfigError. */
async function locateBase(folder: string, base: string, options: OpenModelOptions): Promise<string> {
  const beside = resolve(folder, base);
  for (const path of [base, beside]) if (await isThere(path)) return locate(path, options);
  const why = `${folder}: its base ${shown(base)} is no folder here, nor beside the adapter`;
  if (isHubName(base)) return download(base, why, options);
  throw new ConfigError(
    `${why}. Expected base_model_name_or_path in ${PEFT_CONFIG_FILE} to name one, or owner/name on the hub. Correct it.`,
  );
}

async function openGgufModel(path: string, options: PretrainedOptions): Promise<Pretrained> {
  const file = await openGguf(path);
  try {
    const { config, tokenizer, tensors } = await fromGguf(file, path);
    const { dtype = 'f32', weightDtype = 'f32' } = options;
    const model = languageModel(config, { dtype, weightDtype: weightDtype === 'auto' ? 'f32' : weightDtype });
    model.ensureBuilt([[1, 2]], false);
    const table = new Map(tensors.map((t) => [t.name, t]));
    const of = (name: string): (typeof tensors)[number] => {
      const found = table.get(name);
      if (!found) throw new ConfigError(`${path}: there is no tensor ${name}.`);
      return found;
    };
    const files: TensorFiles = {
      metadata: {},
      names: () => [...table.keys()],
      info: (name) => ({ dtype: of(name).dtype, shape: of(name).shape, bytes: 0 }),
      read: async (name) => ({ dtype: of(name).dtype, shape: of(name).shape, data: await of(name).data() }),
      close: () => file.close(),
    };
    const quantized = await readWeights(model, files, path, options);
    const own = Tokenizer.fromJson(tokenizer.json, tokenizer.config);
    return { model, tokenizer: own, generation: {}, ...(quantized ? { quantized } : {}) };
  } finally {
    await file.close();
  }
}

export interface OpenedModel extends Pretrained {
  /** What was read. */
  readonly folder: string;
  /** Of an adapter, its base; else the same. */
  readonly base: string;
}

/** Loads a language model. Throws ConfigError for a name that means nothing, FormatError for damaged files. */
export async function openModel(name: string, options: OpenModelOptions = {}): Promise<OpenedModel> {
  const folder = await locate(name, options);
  if (!(await isThere(join(folder, PEFT_CONFIG_FILE))))
    return { ...(await openBase(folder, options, options.quantize === 'q8_0')), folder, base: folder };
  const adapter = await readJson(folder, PEFT_CONFIG_FILE);
  const base = adapter?.base_model_name_or_path;
  if (typeof base !== 'string')
    throw new ConfigError(`${folder}: ${PEFT_CONFIG_FILE} names no base model. Expected base_model_name_or_path.`);
  const named = await locateBase(folder, base, options);
  // Of an adapter on adapters there might be no end.
  if (await isThere(join(named, PEFT_CONFIG_FILE)))
    throw new FormatError(
      `${folder}: the base ${named} is an adapter itself. Expected a model. Merge that adapter into its own base first.`,
    );
  // An adapter may be on the table of tokens, or hold a copy of it.
  const loaded = await openBase(named, options.quantize === 'trained' ? { ...options, ...(await packedInRun(folder)) } : options, false);
  await loadAdapter(loaded.model, folder);
  return { ...loaded, folder, base: named };
}

/** How the run that made an adapter kept the frozen weights. */
async function packedInRun(adapter: string): Promise<Pick<OpenModelOptions, 'quantize' | 'doubleQuantize'>> {
  const path = resolve(adapter);
  const settings = basename(path) === 'adapter' ? await runSettings(dirname(path)) : () => undefined;
  const quantize = settings('quantize');
  if (quantize !== 'nf4' && quantize !== 'q8_0') return { quantize: 'none' };
  return { quantize, doubleQuantize: quantize === 'nf4' && settings('doubleQuantize') === 'true' };
}

/** A model without an adapter; with `output`, its table of tokens and output matrix are packed too. */
async function openBase(folder: string, options: OpenModelOptions, output: boolean): Promise<Pretrained> {
  const { quantize = 'none', doubleQuantize = false, revision: _, ...rest } = options;
  const packing = quantize === 'none' || quantize === 'trained' ? null : { type: quantize, doubleQuant: doubleQuantize };
  const pretrained = { ...rest, ...(packing ? { quantize: { ...packing, ...(output ? { output } : {}) } } : {}) };
  return folder.endsWith('.gguf') ? openGgufModel(folder, pretrained) : fromPretrained(folder, pretrained);
}

/** A model to train, by any name but an adapter's. Throws as openModel. */
export async function openBaseModel(name: string, options: PretrainedOptions = {}): Promise<Pretrained> {
  const folder = await locate(name, { ...(options.signal ? { signal: options.signal } : {}) });
  if (await isThere(join(folder, PEFT_CONFIG_FILE)))
    throw new ConfigError(`${name}: it is an adapter. Expected a model. Give its base as model, and this folder as adapter.`);
  return folder.endsWith('.gguf') ? openGgufModel(folder, options) : fromPretrained(folder, options);
}

/** Tokens that end an answer: the tokenizer's end of sequence, and those that generation_config.json names. */
export function stopTokens(tokenizer: Tokenizer, generation: GenerationConfig): number[] {
  const named = [generation.eos_token_id].flat().filter((x): x is number => typeof x === 'number');
  const turn = tokenizer.idOf('<|im_end|>');
  return [...new Set([...(tokenizer.eosId === null ? [] : [tokenizer.eosId]), ...named, ...(turn === null ? [] : [turn])])];
}

/** What generation_config.json advises. */
function advised(generation: GenerationConfig): Partial<Sampling> {
  const number = (key: string): number | undefined => (typeof generation[key] === 'number' ? (generation[key] as number) : undefined);
  const found = {
    // What transformers does with it, whatever else the file says.
    temperature: generation.do_sample === false ? 0 : number('temperature'),
    topP: number('top_p'),
    topK: number('top_k'),
    minP: number('min_p'),
    repetitionPenalty: number('repetition_penalty'),
  };
  return Object.fromEntries(Object.entries(found).filter(([, v]) => v !== undefined));
}

export interface OpenEngineOptions extends OpenModelOptions {
  /** Tokens of prompt and answer together; default: the model's, at most 2048. */
  contextLength?: number;
  /** Answers side by side. Default 4. */
  slots?: number;
  /** For a tokenizer that has no chat template: one's text, or 'chatml'. Default: conversations are refused. */
  chatTemplate?: string;
  /** chatTemplate is used in place of the tokenizer's own, too. Default false. */
  replacesTemplate?: boolean;
}

/** What LocalEngine takes beside a model. */
type EngineOptions = { [K in 'contextLength' | 'slots' | 'chatTemplate' | 'replacesTemplate']?: OpenEngineOptions[K] | undefined };

/** A model ready to serve. */
export class LocalEngine implements TextEngine {
  readonly modelId: string;
  readonly contextLength: number;
  readonly sampling: Partial<Sampling>;
  readonly #pretrained: Pretrained;
  readonly #template: string | undefined;
  readonly #generator: TextGenerator;

  constructor(modelId: string, pretrained: Pretrained, options: EngineOptions = {}) {
    const { model, tokenizer, generation } = pretrained;
    this.modelId = modelId;
    this.#template = tokenizer.chatTemplate === null || options.replacesTemplate === true ? options.chatTemplate : undefined;
    this.#pretrained = pretrained;
    this.#generator = new TextGenerator(model, tokenizer, {
      slots: options.slots ?? 4,
      ...(options.contextLength === undefined ? {} : { context: options.contextLength }),
      stopTokens: stopTokens(tokenizer, generation),
    });
    this.contextLength = this.#generator.context;
    this.sampling = advised(generation);
  }
  get queued(): number {
    return this.#generator.queued;
  }
  get active(): number {
    return this.#generator.active;
  }
  get hasChatTemplate(): boolean {
    return this.hasOwnTemplate || this.#template !== undefined;
  }
  /** False: the template is the one that was given. */
  get hasOwnTemplate(): boolean {
    return this.#template === undefined && this.#pretrained.tokenizer.chatTemplate !== null;
  }
  /** Where ChatML's tokens are none of the model's, its texts end a turn. */
  get chatStop(): readonly string[] {
    return this.#template === 'chatml' ? ['<|im_end|>', '<|im_start|>'] : [];
  }
  countTokens(text: string): number {
    return this.#pretrained.tokenizer.encode(text).length;
  }
  encode(text: string): Int32Array {
    const { tokenizer } = this.#pretrained;
    const ids = tokenizer.encode(text, { addSpecialTokens: true });
    // Files that name a bos but no rule that adds it.
    if (tokenizer.bosId === null || ids[0] === tokenizer.bosId || tokenizer.config.add_bos_token !== true) return ids;
    return Int32Array.from([tokenizer.bosId, ...ids]);
  }
  renderChat(messages: readonly ChatMessage[]): Int32Array {
    const { tokenizer } = this.#pretrained;
    return tokenizer.encode(
      applyChatTemplate(
        tokenizer,
        messages.map((m) => ({ ...m })),
        { addGenerationPrompt: true, ...(this.#template === undefined ? {} : { template: this.#template }) },
      ),
    );
  }
  async *generate(prompt: Int32Array, request: TextRequest): AsyncGenerator<TextPiece, void, void> {
    for await (const { text, tokens, finish } of this.#generator.stream(prompt, request)) yield { text, tokens: tokens.length, finish };
  }
  async close(): Promise<void> {}
}

/** Loads a model and makes it ready to serve. */
export async function openEngine(name: string, options: OpenEngineOptions = {}): Promise<LocalEngine> {
  const { contextLength, slots, chatTemplate, replacesTemplate, ...rest } = options;
  return new LocalEngine(basename(resolve(name)), await openModel(name, rest), { contextLength, slots, chatTemplate, replacesTemplate });
}
