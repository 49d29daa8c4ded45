/**
 * @file PEFT's adapter files: adapter_config.json and the keys of adapter_model.safetensors (github.com/huggingface/peft, tuners/lora/config.py
 * and utils/save_and_load.py). Only plain LoRA is read: a setting that changes what an adapter computes is refused by its name.
 */
import { FormatError, quote } from '../base/errors.js';
import { decodeUtf8, encodeUtf8, isRecord } from './bytes.js';

export const PEFT_CONFIG_FILE = 'adapter_config.json';
export const PEFT_WEIGHTS_FILE = 'adapter_model.safetensors';
/** Bytes of a config at most: larger files are something else. */
export const PEFT_CONFIG_LIMIT: number = 4 * 2 ** 20;
/** Of lists of module names in a config. */
const MAX_NAMES = 100_000;

/** What a config says of an adapter. */
export interface PeftConfig {
  readonly rank: number;
  readonly alpha: number;
  readonly dropout: number;
  readonly rsLora: boolean;
  /** Ends of module paths; 'all-linear', or another text, which is a pattern of Python's; null where PEFT would choose by the model's name. */
  readonly targetModules: readonly string[] | string | null;
  /** Whether not all modules that the names mean are adapted (layers_to_transform, exclude_modules). */
  readonly isPartial: boolean;
  readonly modulesToSave: readonly string[];
  /** Whether weights are [in, out] in the model that it was made for. */
  readonly fanInFanOut: boolean;
  readonly baseModel: string | null;
  readonly taskType: string | null;
}

/** What PEFT's config may hold that says nothing about what is computed. */
const ignored = new Set([
  'auto_mapping',
  'base_model_name_or_path',
  'corda_config',
  'ensure_weight_tying',
  'eva_config',
  'exclude_modules',
  'inference_mode',
  'layers_pattern',
  'layers_to_transform',
  'loftq_config',
  'lora_ga_config',
  'megatron_config',
  'megatron_core',
  'peft_version',
  'qalora_group_size',
  'revision',
  'runtime_config',
  'task_type',
]);
/** What is read, below. */
const read = new Set([
  'alpha_pattern',
  'bias',
  'fan_in_fan_out',
  'init_lora_weights',
  'lora_alpha',
  'lora_dropout',
  'modules_to_save',
  'peft_type',
  'r',
  'rank_pattern',
  'target_modules',
  'use_rslora',
]);
/** Ways to begin that change the base's weights too, so that the file alone doesn't tell what the adapter was trained on. */
const changesBase = /^(pissa|corda|olora|loftq|lora_ga)/;

const isEmpty = (x: unknown): boolean =>
  x === undefined || x === null || x === false || (Array.isArray(x) && x.length === 0) || (isRecord(x) && Object.keys(x).length === 0);
const isNames = (x: unknown): x is readonly string[] =>
  Array.isArray(x) && x.length <= MAX_NAMES && x.every((name) => typeof name === 'string' && name !== '');

/**
 * The config of a LoRA adapter. Throws FormatError for other methods, for settings that aren't known here (use_dora, rank_pattern …), and for
 * values that are none.
 */
export function parsePeftConfig(json: unknown, where: string): PeftConfig {
  const refuse = (key: string, value: unknown, expected: string): never => {
    throw new FormatError(`${where}: ${key} is ${value === undefined ? 'missing' : quote(value)}. Expected ${expected}.`);
  };
  if (!isRecord(json)) throw new FormatError(`${where}: it is no config. Expected an object, received ${quote(json)}.`);
  const { peft_type: type, r, lora_alpha: alpha, lora_dropout: dropout = 0, bias = 'none', init_lora_weights: init = true } = json;
  if (type !== 'LORA') refuse('peft_type', type, '"LORA"');
  if (typeof r !== 'number' || !Number.isInteger(r) || r < 1 || r > 2 ** 20) return refuse('r', r, 'a whole number ≥ 1');
  if (typeof alpha !== 'number' || !Number.isFinite(alpha) || alpha <= 0) return refuse('lora_alpha', alpha, 'a number > 0');
  if (typeof dropout !== 'number' || !(dropout >= 0 && dropout < 1)) return refuse('lora_dropout', dropout, 'a number in [0, 1)');
  if (bias !== 'none') refuse('bias', bias, '"none": adapters that change biases are not known here');
  for (const key of ['rank_pattern', 'alpha_pattern'])
    if (!isEmpty(json[key])) refuse(key, json[key], '{}: one rank and one alpha for all modules');
  if (typeof init === 'string' && changesBase.test(init))
    refuse('init_lora_weights', init, 'a way to begin that leaves the base as it is. Convert the adapter with PEFT');
  for (const key of ['use_rslora', 'fan_in_fan_out'])
    if (json[key] !== undefined && json[key] !== null && typeof json[key] !== 'boolean') refuse(key, json[key], 'true or false');
  // Settings of other versions and kinds: harmless as long as they are off.
  for (const [key, value] of Object.entries(json))
    if (!read.has(key) && !ignored.has(key) && !isEmpty(value))
      refuse(key.slice(0, 80), value, 'it to be off: plain LoRA is what is known here');
  const { target_modules: targets = null, modules_to_save: saved, layers_to_transform: layers, exclude_modules: excluded } = json;
  if (targets !== null && typeof targets !== 'string' && !isNames(targets))
    return refuse('target_modules', targets, 'a list of names or a pattern');
  if (!isEmpty(saved) && !isNames(saved)) return refuse('modules_to_save', saved, 'a list of names');
  const text = (x: unknown): string | null => (typeof x === 'string' ? x : null);
  return {
    rank: r,
    alpha,
    dropout,
    rsLora: json.use_rslora === true,
    targetModules: targets,
    isPartial: !isEmpty(layers) || !isEmpty(excluded),
    modulesToSave: isNames(saved) ? saved : [],
    fanInFanOut: json.fan_in_fan_out === true,
    baseModel: text(json.base_model_name_or_path),
    taskType: text(json.task_type),
  };
}

/** The config of a file's bytes. Throws FormatError as `parsePeftConfig`, and for what is no JSON in UTF-8. */
export function readPeftConfig(bytes: Uint8Array, where: string): PeftConfig {
  if (bytes.length > PEFT_CONFIG_LIMIT)
    throw new FormatError(`${where}: the file is too large. Expected at most ${PEFT_CONFIG_LIMIT} bytes.`);
  let json: unknown;
  try {
    json = JSON.parse(decodeUtf8(bytes));
  } catch (error) {
    throw new FormatError(`${where}: it is not JSON in UTF-8. The file is damaged.`, { cause: error });
  }
  return parsePeftConfig(json, where);
}

/** The bytes of adapter_config.json, as PEFT writes it: keys in their order, every setting that changes what is computed at its default. */
export function writePeftConfig(config: PeftConfig): Uint8Array {
  const { targetModules } = config;
  const json = {
    alpha_pattern: {},
    auto_mapping: null,
    base_model_name_or_path: config.baseModel,
    bias: 'none',
    fan_in_fan_out: config.fanInFanOut,
    inference_mode: true,
    init_lora_weights: true,
    layers_pattern: null,
    layers_to_transform: null,
    lora_alpha: config.alpha,
    lora_dropout: config.dropout,
    modules_to_save: config.modulesToSave.length > 0 ? config.modulesToSave : null,
    peft_type: 'LORA',
    r: config.rank,
    rank_pattern: {},
    revision: null,
    target_modules: targetModules,
    task_type: config.taskType,
    use_dora: false,
    use_rslora: config.rsLora,
  };
  return encodeUtf8(`${JSON.stringify(json, null, 2)}\n`);
}

/** The module that a key of A or B belongs to, its path in dots; null for other keys. */
export function moduleOfKey(key: string): string | null {
  const match = /^base_model\.model\.(.+)\.(?:lora_[AB]\.weight|lora_embedding_[AB])$/.exec(key);
  return match ? match[1] : null;
}
