/**
 * @file What a run of `pretrain` or `finetune` is told: one table of keys each, which serves the YAML file, the flags, --help, and the file
 * that a finished run leaves behind. Errors name the file's line.
 */
import { isMap, isScalar, Lexer, LineCounter, Parser, parseDocument } from 'yaml';
import { z } from 'zod';
import { ConfigError, FormatError, quote, reasonOf } from '../base/errors.js';
import { nearest } from '../base/option-names.js';

const whole = (least = 1): z.ZodInt => z.int().min(least);
const share = z.number().min(0).max(1);
/** Of a running mean: with 1 it would never move. */
const decay = z.number().min(0).lt(1);
const positive = z.number().positive();
const text = z.string().min(1);
const files = z.union([text, z.array(text).min(1)]);

/** Keys that both kinds of runs have. Order and texts are those of --help. */
const common = {
  out: text.optional().describe("the run's folder (default: runs/<name>-<number>)"),
  seed: whole(0).default(0).describe('of weights, order and dropout'),
  dtype: z.enum(['f32', 'bf16']).default('f32').describe('what activations and products are computed in'),
  gradientAccumulation: whole().default(1).describe('steps whose gradients make one update, weighted by their tokens'),
  steps: whole().optional().describe('updates; instead of epochs'),
  epochs: positive.optional().describe('passes over the data'),
  learningRate: positive.optional().describe('the highest rate'),
  schedule: z
    .enum(['cosine', 'warmupStableDecay', 'linear', 'constant'])
    .default('cosine')
    .describe('how the rate falls after the warm-up'),
  warmupSteps: whole(0).optional().describe('updates of linear rise (default: a hundredth of all, at least 1)'),
  minLearningRate: z.number().min(0).default(0).describe('where cosine and linear end'),
  beta1: decay.default(0.9).describe("AdamW's"),
  beta2: decay.optional().describe("AdamW's"),
  epsilon: positive.default(1e-8).describe("AdamW's"),
  weightDecay: z.number().min(0).optional().describe('of matrices; norms and biases never decay'),
  clip: z.number().min(0).default(1).describe('largest norm of all gradients together; 0: none'),
  checkpointing: z.boolean().default(false).describe('compute activations again in the backward pass instead of keeping them'),
  validation: files.optional().describe('data files to evaluate on'),
  validationShare: share.optional().describe('share of the data, its end, to evaluate on instead'),
  evaluateEvery: whole().optional().describe('updates between evaluations (default: a tenth of all)'),
  saveSeconds: positive.default(60).describe('seconds between checkpoints'),
  samples: z.array(z.string()).default([]).describe('prompts to go on from after each evaluation'),
  sampleTokens: whole().default(48).describe('length of these samples'),
  tokensCache: text.optional().describe('folder for tokenized data (default: in the cache)'),
};

/** What is done with rows that can't be read. */
const badRows = z
  .enum(['error', 'skip'])
  .default('error')
  .describe('of the data: the first ends the run, or they are passed over and counted');

export const pretrainSettings = z.strictObject({
  data: files.describe('text, JSON lines or Parquet files, or folders of them'),
  documents: z.enum(['file', 'lines', 'paragraphs']).optional().describe('what a document is in a text file (default: file)'),
  badRows,
  tokenizer: text.optional().describe("a tokenizer's folder, 'characters', or 'train' (default)"),
  vocabSize: whole(257).default(8192).describe('tokens of a trained tokenizer'),
  depth: whole().max(128).optional().describe('layers: the one dial that width, heads, batch, rate and steps follow (default: 4)'),
  config: z.record(z.string(), z.unknown()).optional().describe("a model's config.json, written out; instead of depth"),
  context: whole(2).default(256).describe('tokens a row'),
  batchSize: whole().optional().describe('rows a step (default: by the dial; with config 16)'),
  layout: z.enum(['packed', 'windows']).default('packed').describe('packed: whole documents side by side; windows: cuts at random places'),
  ...common,
  steps: common.steps.describe('updates; instead of epochs (default: by the dial, 20 tokens a weight)'),
  epochs: common.epochs.describe('passes over the data (default: as many as steps need; with config 1)'),
  learningRate: common.learningRate.describe('the highest rate (default: by the dial, at most 1e-3; with config 6e-4)'),
  beta2: common.beta2.describe("AdamW's (default: 0.95)"),
  weightDecay: common.weightDecay.describe('of matrices; norms and biases never decay (default: 0.1)'),
  validationShare: common.validationShare.describe('share of the data, its end, to evaluate on instead (default: 0.02)'),
});
export const finetuneSettings = z.strictObject({
  model: text.describe('a folder in the Hugging Face layout, or owner/name on the hub'),
  data: files.describe('text, JSON lines or Parquet files, or folders of them'),
  columns: z.record(z.string(), z.string()).optional().describe('which column is the prompt, the completion …'),
  documents: z.enum(['file', 'lines', 'paragraphs']).optional().describe('what a document is in a text file (default: file)'),
  badRows,
  method: z.enum(['lora', 'full']).default('lora').describe('adapters on a frozen model, or all weights'),
  quantize: z.enum(['none', 'nf4', 'q8_0']).default('none').describe('what frozen matrices are kept in; nf4 with lora is QLoRA'),
  doubleQuantize: z.boolean().default(false).describe("nf4: quantize the blocks' scales again"),
  loraRank: whole().default(8).describe('rank of the adapters'),
  loraAlpha: positive.default(16).describe('adapters are scaled by alpha / rank'),
  loraDropout: z.number().min(0).max(0.99).default(0).describe("on the adapters' inputs"),
  loraTargets: z
    .union([z.literal('all-linear'), z.array(text).min(1)])
    .default('all-linear')
    .describe('layers with adapters, by the end of their names'),
  rsLora: z.boolean().default(false).describe('scale by alpha / √rank'),
  modulesToSave: z.array(text).default([]).describe('layers that are trained whole beside the adapters'),
  adapter: text.optional().describe('an adapter to go on from, in PEFT’s layout'),
  lossOn: z.enum(['completion', 'assistant', 'all']).optional().describe('which tokens are learned (default: by the layout)'),
  beta: positive.default(0.1).describe("preference data: DPO's beta"),
  sftWeight: z.number().min(0).default(0).describe("preference data: weight of the chosen answers' own loss"),
  maxLength: whole(2).optional().describe('tokens of an example at most (default: 1024, or what the model knows)'),
  packing: z.boolean().default(false).describe('several examples a row; no token sees another example'),
  batchSize: whole().default(16).describe('examples a step, or rows of several with packing'),
  ...common,
  epochs: common.epochs.describe('passes over the data (default: 1)'),
  learningRate: common.learningRate.describe('the highest rate (default: 2e-4 with lora, 2e-5 with full, 5e-5 with preference data)'),
  beta2: common.beta2.describe("AdamW's (default: 0.999)"),
  weightDecay: common.weightDecay.describe('of matrices; norms and biases never decay (default: 0)'),
  validationShare: common.validationShare.describe('share of the data, its end, to evaluate on instead (default: 0, none)'),
});
export type PretrainSettings = z.output<typeof pretrainSettings>;
export type FinetuneSettings = z.output<typeof finetuneSettings>;
export type SettingsTable = typeof pretrainSettings | typeof finetuneSettings;

/** A key of a table as a flag: its name, what it takes, and its help. */
export interface SettingFlag {
  readonly key: string;
  readonly kind: 'boolean' | 'number' | 'text' | 'list' | 'map';
  readonly choices: readonly string[] | null;
  readonly help: string;
  readonly default: unknown;
  /** Of a map: its values are texts. */
  readonly hasTexts: boolean;
  /** There is no run without it. */
  readonly isRequired: boolean;
}

/** What z.toJSONSchema says of a key. */
interface Property {
  readonly type?: string;
  readonly enum?: string[];
  readonly const?: unknown;
  readonly anyOf?: readonly Property[];
  readonly items?: Property;
  readonly additionalProperties?: { readonly type?: string };
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
  readonly description?: string;
  readonly default?: unknown;
}

const schemaOf = (table: z.ZodObject) =>
  z.toJSONSchema(table, { io: 'input', unrepresentable: 'any' }) as {
    properties: Record<string, Property>;
    required?: readonly string[];
  };

/** What a key takes, in words. */
function wanted(p: Property): string {
  if (p.anyOf) return p.anyOf.map(wanted).join(' or ');
  if (p.enum) return `${p.enum.length > 1 ? 'one of ' : ''}${p.enum.join(', ')}`;
  if (p.const !== undefined) return String(p.const);
  switch (p.type) {
    case 'boolean':
      return 'true or false';
    case 'string':
      return 'a text';
    case 'array':
      return `a list of ${p.items ? `${wanted(p.items).replace(/^a /, '')}s` : 'values'}`;
    case 'object':
      return p.additionalProperties?.type === 'string' ? 'keys with texts' : 'keys with values';
    default: {
      const noun = p.type === 'integer' ? 'a whole number' : 'a number';
      const isSafe = (x: number | undefined): x is number => x !== undefined && Math.abs(x) < Number.MAX_SAFE_INTEGER;
      const low = isSafe(p.exclusiveMinimum) ? `> ${p.exclusiveMinimum}` : isSafe(p.minimum) ? `≥ ${p.minimum}` : '';
      const high = isSafe(p.exclusiveMaximum) ? `< ${p.exclusiveMaximum}` : isSafe(p.maximum) ? `≤ ${p.maximum}` : '';
      return `${noun} ${[low, high].filter((x) => x !== '').join(' and ')}`.trim();
    }
  }
}

/** All keys as flags. */
export function settingFlags(table: SettingsTable): SettingFlag[] {
  const json = schemaOf(table);
  return Object.entries(json.properties).map(([key, p]) => {
    const types = p.anyOf ? p.anyOf.map((a) => a.type) : [p.type];
    const kind = types.includes('array')
      ? 'list'
      : types[0] === 'object'
        ? 'map'
        : types[0] === 'boolean'
          ? 'boolean'
          : types[0] === 'number' || types[0] === 'integer'
            ? 'number'
            : 'text';
    const hasTexts = p.additionalProperties?.type === 'string';
    return {
      key,
      kind,
      choices: p.enum ?? null,
      help: p.description ?? '',
      default: p.default,
      hasTexts,
      isRequired: json.required?.includes(key) === true,
    };
  });
}

/** The table for settings that are not whole yet: keys that a run can't be without may be missing. */
export function unfinished(table: SettingsTable): z.ZodObject {
  const required = settingFlags(table).filter((f) => f.isRequired);
  const shape: z.ZodRawShape = table.shape;
  return z.strictObject({ ...shape, ...Object.fromEntries(required.map(({ key }) => [key, z.optional(shape[key])])) });
}

/** Two keys that don't go together. */
interface Rule {
  /** The one that is refused, where it was given and is not its default. */
  readonly key: string;
  readonly other: string;
  readonly isBroken: (settings: Readonly<Record<string, unknown>>) => boolean;
  readonly expected: string;
  /** The keys are two ways to say the same: one as a flag replaces the other in the file. */
  readonly isChoice?: boolean;
}

const isNumber = (x: unknown): x is number => typeof x === 'number';
/** What the map of columns says of the data: preferences or not; null: nothing. */
function columnsTell({ columns }: Readonly<Record<string, unknown>>): boolean | null {
  const parts = Object.keys(columns ?? {}).filter((part) => part !== 'prompt');
  return parts.length === 0 ? null : parts.some((part) => part === 'chosen' || part === 'rejected');
}
const ofAdapters = ['loraRank', 'loraAlpha', 'loraDropout', 'loraTargets', 'rsLora', 'modulesToSave'];

/** What would be passed over in silence, and be told as true by the run's folder. Rules whose keys a table lacks are not about it. */
const rules: readonly Rule[] = [
  { key: 'epochs', other: 'steps', isBroken: (s) => s.steps !== undefined, expected: 'one of them', isChoice: true },
  { key: 'depth', other: 'config', isBroken: (s) => s.config !== undefined, expected: 'one of them', isChoice: true },
  {
    key: 'validationShare',
    other: 'validation',
    isBroken: (s) => s.validation !== undefined && s.validationShare !== 0,
    expected: 'one of them',
    isChoice: true,
  },
  {
    key: 'warmupSteps',
    other: 'steps',
    isBroken: (s) => isNumber(s.steps) && isNumber(s.warmupSteps) && s.warmupSteps > 0 && s.warmupSteps >= s.steps,
    expected: 'warmupSteps less than steps',
  },
  {
    key: 'minLearningRate',
    other: 'learningRate',
    isBroken: (s) => isNumber(s.learningRate) && isNumber(s.minLearningRate) && s.minLearningRate > s.learningRate,
    expected: 'minLearningRate at most learningRate',
  },
  {
    key: 'minLearningRate',
    other: 'schedule',
    isBroken: (s) => s.schedule === 'constant',
    expected: 'a schedule that falls, or no minLearningRate',
  },
  {
    key: 'vocabSize',
    other: 'tokenizer',
    isBroken: (s) => s.tokenizer !== undefined && s.tokenizer !== 'train',
    expected: 'tokenizer: train, or no vocabSize',
  },
  {
    key: 'quantize',
    other: 'method',
    isBroken: (s) => s.method === 'full',
    expected: 'method: lora, as quantized weights are not trained',
  },
  { key: 'doubleQuantize', other: 'quantize', isBroken: (s) => s.quantize !== 'nf4', expected: 'quantize: nf4' },
  ...[...ofAdapters, 'adapter'].map((key) => ({
    key,
    other: 'method',
    isBroken: (s: Readonly<Record<string, unknown>>) => s.method === 'full',
    expected: `method: lora, or no ${key}`,
  })),
  ...ofAdapters.map((key) => ({
    key,
    other: 'adapter',
    isBroken: (s: Readonly<Record<string, unknown>>) => s.adapter !== undefined,
    expected: `no ${key}: it is the adapter's own`,
  })),
  { key: 'packing', other: 'columns', isBroken: (s) => columnsTell(s) === true, expected: 'no packing with preference data' },
  ...['beta', 'sftWeight'].map((key) => ({
    key,
    other: 'columns',
    isBroken: (s: Readonly<Record<string, unknown>>) => columnsTell(s) === false,
    expected: `preference data (chosen and rejected), or no ${key}`,
  })),
];

/** The first line of a file that a run wrote. It has what followed from the keys given: the steps that epochs came to, an adapter's rank. */
const RECORD = /^# Every value of this run\b/;

/** JSON has no infinity and no NaN. */
const shown = (value: unknown): string => (typeof value === 'number' ? String(value) : quote(value));

/** Characters of a run's file: it is a page, also with a config written out. */
const MAX_TEXT = 2 ** 17;
/** Parts of a file that may be open at once. */
const MAX_OPEN = 64;

/**
 * Refuses a text with marks out of place or nested deeply, by the library's own reading of marks, which needs no stack. What makes a document of
 * them grows slow with the number of such faults and a high power of the depth, and ends its stack, where V8 may end the process because it
 * can't compile a regular expression.
 */
function requireShallow(yaml: string, where: string): void {
  const parser = new Parser();
  const refuse = (why: string): never => {
    throw new FormatError(`${where}:${yaml.slice(0, parser.offset).split('\n').length}: ${why}.`);
  };
  for (const lexeme of new Lexer().lex(yaml)) {
    for (const token of parser.next(lexeme)) if (token.type === 'error') refuse(token.message.slice(0, 300));
    if (parser.stack.length > MAX_OPEN) refuse(`more than ${MAX_OPEN} parts begin in one another. Expected plain keys and values`);
  }
}

/**
 * The settings of a YAML text with flags over them, checked and with defaults. Relative paths stay as they are.
 * @param where names the file in errors.
 * @throws FormatError for a text that is no YAML or a key that doesn't hold what it should, with the line; ConfigError for such a flag.
 */
export function readSettings<T extends z.ZodObject>(
  table: T,
  yaml: string | null,
  flags: Readonly<Record<string, unknown>>,
  where: string,
): z.output<T> {
  if (yaml !== null && yaml.length > MAX_TEXT)
    throw new FormatError(`${where}: the file is too large. Expected at most ${MAX_TEXT} characters, received ${yaml.length}.`);
  const lines = new LineCounter();
  const lineOf = (offset: number | undefined): string => (offset === undefined ? where : `${where}:${lines.linePos(offset).line}`);
  let document: ReturnType<typeof parseDocument>;
  let given: unknown;
  try {
    requireShallow(yaml ?? '', where);
    // Without what the library makes of each fault's place: that takes the whole line for each. When it is to be silent, it drops all documents
    // but the first.
    document = parseDocument(yaml ?? '', { lineCounter: lines, logLevel: 'error', prettyErrors: false });
    const [fault] = document.errors;
    if (fault?.code === 'MULTIPLE_DOCS')
      throw new FormatError(
        `${lineOf(fault.pos[0])}: a second document begins here. Expected one, with all keys. Remove the line "---" between them.`,
      );
    if (fault) throw new FormatError(`${lineOf(fault.pos[0])}: ${fault.message.slice(0, 300)}.`);
    given = document.toJS({ maxAliasCount: 100 }) ?? {};
  } catch (error) {
    if (error instanceof FormatError) throw error;
    // Nested beyond the stack, or aliases that would multiply without end.
    throw new FormatError(`${where}: it can't be read (${reasonOf(error)}). Expected plain keys and values.`, { cause: error });
  }
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw new FormatError(`${where}: it holds no keys. Expected lines such as "batchSize: 16".`);
  const known = Object.keys(table.shape);
  const keyAt = (key: string): string => {
    const pair = isMap(document.contents) ? document.contents.items.find((p) => isScalar(p.key) && p.key.value === key) : undefined;
    return lineOf(isScalar(pair?.key) ? pair.key.range?.[0] : undefined);
  };
  const isFlag = (key: string): boolean => Object.hasOwn(flags, key) && flags[key] !== undefined;
  for (const key of Object.keys(given))
    if (!known.includes(key)) {
      const near = nearest(key, known);
      throw new FormatError(
        `${keyAt(key)}: ${quote(key)} is no key of this file. ${near ? `Write ${near}.` : `Expected one of ${known.join(', ')}.`}`,
      );
    }
  const merged: Record<string, unknown> = { ...given, ...Object.fromEntries(Object.entries(flags).filter(([, v]) => v !== undefined)) };
  const ours = rules.filter((r) => known.includes(r.key) && known.includes(r.other));
  for (const { key, other } of ours.filter((r) => r.isChoice)) {
    if (isFlag(key) && !isFlag(other)) delete merged[other];
    if (isFlag(other) && !isFlag(key)) delete merged[key];
  }
  const parsed = table.safeParse(merged);
  if (parsed.success) {
    const settings = parsed.data as Record<string, unknown>;
    const { properties } = schemaOf(table);
    const isGiven = (key: string): boolean =>
      merged[key] !== undefined && JSON.stringify(merged[key]) !== JSON.stringify(properties[key].default);
    const say = (key: string): string =>
      `${key}: ${typeof settings[key] === 'string' ? quote(settings[key]).slice(1, -1) : quote(settings[key])}`;
    const isRecord = RECORD.test(yaml ?? '');
    for (const { key, other, isBroken, expected } of ours) {
      if (!isGiven(key) || !isBroken(settings)) continue;
      // What a run wrote about itself went together, or was made to.
      if (isRecord && !isFlag(key)) continue;
      const place = isFlag(other) ? `--${kebab(other)}` : merged[other] === undefined ? 'the default' : keyAt(other);
      const message = `${say(key)} does not go with ${say(other)} (${place}). Expected ${expected}.`;
      if (isFlag(key)) throw new ConfigError(`--${kebab(key)}: ${message}`);
      throw new FormatError(`${keyAt(key)}: ${message}`);
    }
    return parsed.data as z.output<T>;
  }
  const key = String(parsed.error.issues[0].path[0] ?? '');
  const value = merged[key];
  const property = schemaOf(table).properties[key] ?? {};
  const message =
    value === undefined
      ? `${key} is missing. Expected ${wanted(property)}: ${property.description}.`
      : `${key} is ${shown(value)}. Expected ${wanted(property)}.`;
  if (isFlag(key)) throw new ConfigError(`--${kebab(key)}: ${message}`);
  throw new FormatError(`${value === undefined ? where : keyAt(key)}: ${message}`);
}

/** batchSize → batch-size. */
export const kebab = (key: string): string =>
  key.replace(/[A-Z0-9]+/g, (c, at: number) => (at === 0 ? c : /\d/.test(c) ? c : `-${c.toLowerCase()}`));
