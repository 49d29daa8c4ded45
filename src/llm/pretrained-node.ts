/**
 * @file fromPretrained and savePretrained: a language model's folder in the Hugging Face layout, both ways: config.json, safetensors in one or
 * several files, the tokenizer's files, generation_config.json.
 */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ConfigError, FormatError, quote, reasonOf } from '../base/errors.js';
import { checkOptionNames } from '../base/option-names.js';
import { writeFileAtomically } from '../io/atomic-write-node.js';
import { isRecord } from '../io/bytes.js';
import type { FloatDType } from '../io/convert-floats.js';
import { PEFT_CONFIG_FILE } from '../io/peft.js';
import { openSafetensors, writeSafetensorsFiles } from '../io/safetensors-files-node.js';
import type { QuantizeReport } from '../model/quantize.js';
import { type CausalLM, languageModel } from '../zoo/index.js';
import type { Tokenizer } from './tokenizer.js';
import { loadTokenizer } from './tokenizer-node.js';
import { type PackOnReading, readWeights, weightEntries } from './weights.js';

/** Settings of generation that go with a model: generation_config.json, as it is. */
export type GenerationConfig = Readonly<Record<string, unknown>>;

/** A language model with what belongs to it. */
export interface Pretrained {
  readonly model: CausalLM;
  readonly tokenizer: Tokenizer;
  readonly generation: GenerationConfig;
  /** What was packed as it was read. */
  readonly quantized?: QuantizeReport;
}
export interface PretrainedOptions {
  /** What is computed in. Default f32. */
  dtype?: 'f32' | 'bf16';
  /** What matrices are kept in; 'auto': as the file has them. Default f32. */
  weightDtype?: FloatDType | 'auto';
  /** Packs projections as they are read (see quantizeModel), so that the whole of them is never in memory. */
  quantize?: PackOnReading;
  signal?: AbortSignal;
  /** Called with the share of the weights that was read. */
  onProgress?: (share: number) => void;
}
const optionNames: Readonly<Record<keyof PretrainedOptions, true>> = {
  dtype: true,
  weightDtype: true,
  quantize: true,
  signal: true,
  onProgress: true,
};

const GENERATION = 'generation_config.json';

/** A generation_config.json of which what is used here is what it should be. Throws FormatError that names file and key. */
function checkedGeneration(config: GenerationConfig, path: string): GenerationConfig {
  const isNumber = (x: unknown, least: number, most: number): boolean => typeof x === 'number' && x >= least && x <= most;
  const isId = (x: unknown): boolean => isNumber(x, 0, 2 ** 31) && Number.isInteger(x);
  const most = Number.MAX_VALUE;
  const wanted: readonly [key: string, isGood: (x: unknown) => boolean, expected: string][] = [
    ['do_sample', (x) => typeof x === 'boolean', 'true or false'],
    ['temperature', (x) => isNumber(x, 0, most), 'a number ≥ 0'],
    ['top_p', (x) => isNumber(x, 0, 1), 'a number in [0, 1]'],
    ['top_k', (x) => isNumber(x, 0, most) && Number.isInteger(x), 'a whole number ≥ 0'],
    ['min_p', (x) => isNumber(x, 0, 1), 'a number in [0, 1]'],
    ['repetition_penalty', (x) => isNumber(x, Number.MIN_VALUE, most), 'a number > 0'],
    ['eos_token_id', (x) => (Array.isArray(x) ? x.every(isId) : isId(x)), "a token's number, or a list of them"],
  ];
  for (const [key, isGood, expected] of wanted) {
    const value = Object.hasOwn(config, key) ? config[key] : null;
    // Null: not set.
    if (value !== null && !isGood(value))
      throw new FormatError(`${path}: ${key} is ${quote(value)}. Expected ${expected}. Correct it, or remove the key.`);
  }
  return config;
}

/** A config is a page of JSON; more is no config. */
const MAX_JSON = 2 ** 24;
const MAX_DEPTH = 64;

/** A JSON object of a model's folder; null when it is optional and missing. Throws ConfigError, FormatError. */
export async function readJson(folder: string, name: string, isOptional = false): Promise<Record<string, unknown> | null> {
  const path = join(folder, name);
  let text: string;
  try {
    const { size } = await stat(path);
    if (size > MAX_JSON) throw new FormatError(`${path}: the file is too large. Expected at most ${MAX_JSON} bytes, received ${size}.`);
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof FormatError) throw error;
    if (isOptional && error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw new ConfigError(
      `${path}: it can't be read (${reasonOf(error)}). Expected a model's folder with config.json, *.safetensors and tokenizer.json.`,
      {
        cause: error,
      },
    );
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new FormatError(`${path}: it is no JSON (${reasonOf(error)}).`, { cause: error });
  }
  if (!isRecord(json)) throw new FormatError(`${path}: it holds no object. Expected { … }.`);
  // The model keeps it, and what walks through models, or writes it again, takes a frame of the stack for each level.
  let level: unknown[] = [json];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_DEPTH) throw new FormatError(`${path}: it is nested too deeply. Expected at most ${MAX_DEPTH} levels.`);
    level = level.flatMap((value) => (typeof value === 'object' && value !== null ? Object.values(value) : []));
  }
  return json;
}

/**
 * The language model of a folder. Tensors are read one after another into what the model keeps them in, so that weights are never twice in memory.
 * Throws ConfigError for a folder that isn't there, FormatError for files that are damaged or don't fit each other, listing names and shapes.
 * @example
 * ```ts no-run
 * const { model, tokenizer } = await fromPretrained('models/SmolLM2-135M');
 * ```
 */
export async function fromPretrained(folder: string, options: PretrainedOptions = {}): Promise<Pretrained> {
  const who = `fromPretrained ${folder}`;
  checkOptionNames(options, optionNames, who);
  const config = await readJson(folder, 'config.json');
  const files = await openSafetensors(folder);
  try {
    const { dtype = 'f32', weightDtype = 'f32' } = options;
    const stored = Math.max(...files.names().map((n) => files.info(n).bytes));
    const largest = files
      .names()
      .map((n) => files.info(n))
      .find((i) => i.bytes === stored)?.dtype;
    const kept = weightDtype !== 'auto' ? weightDtype : largest === 'bf16' || largest === 'f16' ? largest : 'f32';
    const layers = config?.num_hidden_layers ?? config?.n_layer;
    // Before the layers are made: a number is quickly written.
    if (typeof layers === 'number' && layers > files.names().length)
      throw new FormatError(`${who}: ${files.names().length} tensors are too few for the ${layers} layers of config.json.`);
    const model = languageModel(config ?? {}, { dtype, weightDtype: kept });
    model.ensureBuilt([[1, 2]], false);
    const quantized = await readWeights(model, files, who, options);
    const generation = checkedGeneration((await readJson(folder, GENERATION, true)) ?? {}, join(folder, GENERATION));
    return { model, tokenizer: await loadTokenizer(folder), generation, ...(quantized ? { quantized } : {}) };
  } finally {
    await files.close();
  }
}

export interface SavePretrainedOptions {
  /** What weights are stored as. Default: as they are kept. */
  dtype?: FloatDType;
  /** Default 5e9. */
  maxShardBytes?: number;
}

/** Writes the folder that `fromPretrained`, and transformers, read. Weights come last: a folder without them is unfinished. */
export async function savePretrained(pretrained: Pretrained, folder: string, options: SavePretrainedOptions = {}): Promise<void> {
  checkOptionNames(
    options,
    { dtype: true, maxShardBytes: true } satisfies Record<keyof SavePretrainedOptions, true>,
    `savePretrained ${folder}`,
  );
  const { model, tokenizer, generation } = pretrained;
  const torch = { f32: 'float32', f16: 'float16', bf16: 'bfloat16' } as const;
  const entries = weightEntries(model);
  const kept = options.dtype ?? (entries[0].dtype as FloatDType);
  const { makeFolders } = await import('../io/make-folder-node.js');
  await makeFolders(folder);
  if ((await stat(join(folder, PEFT_CONFIG_FILE)).catch(() => null)) !== null)
    throw new ConfigError(
      `savePretrained: ${folder} holds an adapter (${PEFT_CONFIG_FILE}), and would be read as one. Expected another folder. Choose one, or remove the adapter.`,
    );
  const write = (name: string, value: unknown): Promise<void> =>
    writeFileAtomically(join(folder, name), new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`));
  await write('config.json', { ...model.source, torch_dtype: torch[kept] });
  if (Object.keys(generation).length > 0) await write(GENERATION, generation);
  await write('tokenizer.json', tokenizer.json);
  if (tokenizer.config !== null) await write('tokenizer_config.json', tokenizer.config);
  await writeSafetensorsFiles(folder, entries, options);
}
