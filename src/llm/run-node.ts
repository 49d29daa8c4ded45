/**
 * @file Runs of `tenon pretrain` and `tenon finetune`: from settings to a folder that holds the model (or adapter), all settings, the curve and
 * a model card. What there is to say goes to the context; nothing is printed here.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { ConfigError, quote, TenonError } from '../base/errors.js';
import { writeFileAtomically } from '../io/atomic-write-node.js';
import { makeFolders } from '../io/make-folder-node.js';
import { PEFT_CONFIG_FILE, type PeftConfig } from '../io/peft.js';
import { loadAdapter, saveAdapter } from '../model/adapter-files.js';
import { adapters, applyLora, setAdapter, withAdapter } from '../model/lora.js';
import { DEFAULT_ADAPTER } from '../model/lora-layer.js';
import { isPackedPart } from '../model/quantized.js';
import { setRandomSeed } from '../tensor/index.js';
import { type CausalLM, languageModel } from '../zoo/index.js';
import { characterTokenizer } from './char-tokenizer.js';
import { chatml } from './chat-template.js';
import {
  describeTokens,
  readRows,
  splitExamples,
  TokenBatches,
  type TokenExamples,
  type TokenizeFilesOptions,
  type TokenShards,
  tokenizeFiles,
} from './data/index.js';
import { isConversation } from './data/tokenize.js';
import { counted } from './data/words.js';
import { dpoObjective } from './dpo.js';
import { TextGenerator } from './generate.js';
import { modelCard, type RunReport } from './model-card.js';
import { nextTokenObjective } from './objective.js';
import { locate, openBaseModel } from './open-model-node.js';
import { presetOf } from './presets.js';
import { type GenerationConfig, savePretrained } from './pretrained-node.js';
import { requireSameSettings } from './same-settings.js';
import { type FinetuneSettings, finetuneSettings, type PretrainSettings, pretrainSettings, readSettings } from './settings.js';
import { Tokenizer } from './tokenizer.js';
import { loadTokenizer, saveTokenizer } from './tokenizer-node.js';
import { trainTokenizer } from './train-tokenizer.js';
import { type CurvePoint, type Estimate, type TrainingProgress, type TrainingSettings, trainTokens } from './train-tokens.js';

/** Where a run happens and who is told. */
export interface RunContext {
  readonly folder: string;
  readonly isResumed: boolean;
  readonly signal?: AbortSignal;
  /** A line for people. */
  say(line: string): void;
  /** Work before training: what, and the share that is done. */
  onWork?(what: string, share: number): void;
  onProgress?(progress: TrainingProgress): void;
  onEstimate?(estimate: Estimate): void;
  onEvaluation?(point: CurvePoint): void;
}

const n = (x: number): string => Math.round(x).toLocaleString('en-US');
const parameters = (list: readonly { readonly size: number }[]): number => list.reduce((sum, v) => sum + v.size, 0);

type AnySettings = PretrainSettings | FinetuneSettings;
/** Left out where it is the default, so that tokens of earlier runs are found again. */
const badRowsOf = ({ badRows }: AnySettings): { badRows?: 'skip' } => (badRows === 'skip' ? { badRows } : {});

/** The data as tokens, those to train on and those to evaluate on. */
async function tokensOf(
  settings: AnySettings,
  tokenizer: Tokenizer,
  context: RunContext,
  more: Pick<TokenizeFilesOptions, 'lossOn' | 'maxLength' | 'columns' | 'chatTemplate'>,
  share: number,
): Promise<{ train: TokenExamples; validation: TokenExamples | null; shards: TokenShards[] }> {
  const open = async (files: string | readonly string[], folder: string | undefined): Promise<TokenShards> => {
    const shards = await tokenizeFiles(files, tokenizer, {
      ...more,
      ...badRowsOf(settings),
      ...(settings.documents === undefined ? {} : { documents: settings.documents }),
      ...(folder === undefined ? {} : { folder }),
      ...(context.signal ? { signal: context.signal } : {}),
      onProgress: (p) => context.onWork?.('tokenizing', p.bytesTotal > 0 ? p.bytesRead / p.bytesTotal : 1),
    });
    for (const line of describeTokens(shards.report)) context.say(line);
    return shards;
  };
  const all = await open(settings.data, settings.tokensCache === undefined ? undefined : join(settings.tokensCache, 'train'));
  if (settings.validation !== undefined) {
    const held = await open(settings.validation, settings.tokensCache === undefined ? undefined : join(settings.tokensCache, 'validation'));
    return { train: all, validation: held, shards: [all, held] };
  }
  if (share === 0) return { train: all, validation: null, shards: [all] };
  return { ...heldOut(all, share), shards: [all] };
}

/** Examples to train on and to evaluate on. Throws ConfigError, naming the keys, where they are too few for that. */
function heldOut(all: TokenShards, share: number): { train: TokenExamples; validation: TokenExamples } {
  const isText = all.report.files.every((f) => f.layout === 'text');
  const hasSome = (part: TokenExamples): boolean => {
    for (let i = 0; i < part.count; i++) if (part.lengthOf(i) > 1) return true;
    return false;
  };
  // A text may be cut anywhere; a prompt and its answer may not.
  if (share < 1 && (isText || all.count > all.group)) {
    const groups = all.count / all.group;
    const [train, validation] = all.group > 1 && groups < 2 ? [] : splitExamples(all, share);
    if (train && validation && hasSome(train) && hasSome(validation)) return { train, validation };
  }
  throw new ConfigError(
    `validationShare: of ${counted(all.count / all.group, 'example')} (${n(all.tokens)} tokens) a share of ${share} leaves nothing to ${share >= 1 ? 'train' : 'evaluate'} on. Expected more data, or another share. Give validation: a file, or validationShare: 0 for none.`,
  );
}

/** What the settings leave open, for so many batches an epoch. */
function trainingSettings(
  settings: AnySettings,
  batches: number,
  defaults: { learningRate: number; epochs: number; steps?: number | undefined; weightDecay: number; beta2: number },
): TrainingSettings {
  const { gradientAccumulation } = settings;
  const steps =
    settings.steps ??
    (settings.epochs === undefined ? defaults.steps : undefined) ??
    Math.max(1, Math.ceil(((settings.epochs ?? defaults.epochs) * batches) / gradientAccumulation));
  const learningRate = settings.learningRate ?? defaults.learningRate;
  if (settings.schedule !== 'constant' && settings.minLearningRate > learningRate)
    throw new ConfigError(
      `minLearningRate is ${settings.minLearningRate}, learningRate ${learningRate}${settings.learningRate === undefined ? ' (the default here)' : ''}. Expected minLearningRate at most learningRate.`,
    );
  return {
    steps,
    gradientAccumulation,
    learningRate,
    schedule: settings.schedule,
    warmupSteps: Math.min(settings.warmupSteps ?? Math.max(1, Math.round(steps / 100)), steps - 1),
    minLearningRate: settings.minLearningRate,
    beta1: settings.beta1,
    beta2: settings.beta2 ?? defaults.beta2,
    epsilon: settings.epsilon,
    weightDecay: settings.weightDecay ?? defaults.weightDecay,
    clip: settings.clip,
    evaluateEvery: settings.evaluateEvery ?? Math.ceil(steps / 10),
    saveSeconds: settings.saveSeconds,
  };
}

/**
 * Keys that a run which goes on may be given anew: they decide nothing of what it learns. Where data lie may change too, as requireSameData
 * compares what they hold.
 */
const mayChange: readonly (keyof AnySettings)[] = [
  'out',
  'data',
  'validation',
  'saveSeconds',
  'samples',
  'sampleTokens',
  'tokensCache',
  'checkpointing',
];

/** Settings of a run: when it goes on, its own, with those given now over them. Throws ConfigError where these would make it another run. */
async function settingsOf<T extends AnySettings>(
  context: RunContext,
  table: typeof pretrainSettings | typeof finetuneSettings,
  given: T,
): Promise<T> {
  const path = join(context.folder, 'run.yaml');
  if (!(context.isResumed && existsSync(path))) return given;
  const own = readSettings(table, await readFile(path, 'utf8'), {}, path) as T;
  requireSameSettings(own, given, mayChange);
  // Held-out data instead of a share of the data would move the border between the two.
  if (given.validation !== undefined && own.validation === undefined) requireSameSettings(own, { validation: given.validation }, []);
  return { ...own, ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) };
}

/** Writes run.yaml with every value that is known, so that the run can be repeated, and gone on with from its first moment. */
async function saveSettings(context: RunContext, settings: object, resolved: object = {}): Promise<void> {
  const text = `# Every value of this run, defaults included. Repeat it: give this file to the command, with another folder as --out.\n${stringify({ ...settings, ...pickKnown(settings, resolved) })}`;
  await writeFileAtomically(join(context.folder, 'run.yaml'), new TextEncoder().encode(text));
}
const pickKnown = (settings: object, resolved: object): object =>
  Object.fromEntries(
    Object.entries(resolved).filter(
      ([key]) =>
        key in settings || ['steps', 'batchSize', 'learningRate', 'warmupSteps', 'beta2', 'weightDecay', 'evaluateEvery'].includes(key),
    ),
  );

/** Goes on from the sample prompts. */
async function saySamples(model: CausalLM, tokenizer: Tokenizer, settings: AnySettings, context: RunContext): Promise<void> {
  if (settings.samples.length === 0) return;
  const generator = new TextGenerator(model, tokenizer, { slots: 1, context: Math.min(model.config.maxPositions, 1024) });
  for (const prompt of settings.samples) {
    const text = await generator
      .generate(prompt, {
        maxTokens: Math.min(settings.sampleTokens, Math.max(1, generator.context - 2)),
        temperature: 0.8,
        topP: 0.95,
        seed: settings.seed,
      })
      .then((t) => JSON.stringify(t))
      // No sample is worth the run.
      .catch((error: unknown) => {
        if (error instanceof TenonError) return error.message;
        throw error;
      });
    context.say(`  ${JSON.stringify(prompt)} → ${text}`);
  }
}

/** Writes report.json and README.md. */
async function saveReport(context: RunContext, report: RunReport): Promise<void> {
  const write = (name: string, text: string): Promise<void> =>
    writeFileAtomically(join(context.folder, name), new TextEncoder().encode(text));
  await write('report.json', `${JSON.stringify(report, null, 2)}\n`);
  await write('README.md', modelCard(report));
}

const peakMemory = (): number => process.resourceUsage().maxRSS * 1024;
const sources = (shards: readonly TokenShards[]): RunReport['data'] =>
  shards.flatMap((s) => s.index.sources.map(({ name, bytes, sha256 }) => ({ name, bytes, sha256 })));

/** Writes down what a run learns from; when it goes on, it must be the same. Throws ConfigError that names the file that isn't. */
async function requireSameData(context: RunContext, shards: readonly TokenShards[]): Promise<void> {
  const path = join(context.folder, 'data.json');
  const now = sources(shards);
  if (!(context.isResumed && existsSync(path)))
    return writeFileAtomically(path, new TextEncoder().encode(`${JSON.stringify(now, null, 2)}\n`));
  const before: unknown = JSON.parse(await readFile(path, 'utf8'));
  const known: unknown[] = Array.isArray(before) ? before.map((s: { sha256?: unknown }) => s.sha256) : [];
  const changed = now.find((s) => !known.includes(s.sha256));
  if (changed || known.join() !== now.map((s) => s.sha256).join())
    throw new ConfigError(
      `${context.folder}: ${changed ? `${changed.name} is not what this run began with` : 'some of its data is missing, or stands in another order'}. Expected the same data, as ${path} lists it. Bring it back, or begin a new run.`,
    );
}

// ---- pretraining

/** The tokenizer that the settings ask for: of a folder, of characters, or trained on the data. */
async function tokenizerFor(settings: PretrainSettings, context: RunContext): Promise<Tokenizer> {
  // The weights are those of this tokenizer's numbers, whatever became of the data since.
  const own = join(context.folder, 'tokenizer');
  if (context.isResumed && existsSync(join(own, 'tokenizer_config.json'))) return loadTokenizer(own);
  const tokenizer = await newTokenizer(settings, context);
  await makeFolders(own);
  await saveTokenizer(own, tokenizer);
  return tokenizer;
}
async function newTokenizer(settings: PretrainSettings, context: RunContext): Promise<Tokenizer> {
  const { tokenizer = 'train' } = settings;
  const texts = async function* (documents: PretrainSettings['documents']): AsyncGenerator<string> {
    const how = { ...badRowsOf(settings), ...(documents === undefined ? {} : { documents }) };
    for await (const row of readRows(settings.data, how))
      for (const value of Object.values(row)) if (typeof value === 'string') yield value;
  };
  if (tokenizer === 'characters') {
    const characters = new Set<string>();
    // Of plain text also what stands between its documents.
    for await (const text of texts('file')) for (const c of text) characters.add(c);
    const { json, config } = characterTokenizer(characters);
    return Tokenizer.fromJson(json, config, { isTrusted: true });
  }
  if (tokenizer !== 'train') return loadTokenizer(tokenizer);
  const trained = await trainTokenizer(texts(settings.documents), {
    vocabSize: settings.vocabSize,
    ...(context.signal ? { signal: context.signal } : {}),
    onProgress: (p) => context.onWork?.('training the tokenizer', p.phase === 'reading' ? 0 : p.tokens / p.vocabSize),
  });
  context.say(`trained a tokenizer on ${n(trained.bytes)} bytes: ${n(trained.words)} different words, ${n(trained.merges)} merges`);
  return trained.tokenizer;
}

/** Pretrains a model. Resolves to the report, or null when it was interrupted (a checkpoint is in the folder). */
export async function pretrain(given: PretrainSettings, context: RunContext): Promise<RunReport | null> {
  const began = performance.now();
  await makeFolders(context.folder);
  const settings = await settingsOf(context, pretrainSettings, given);
  if (!context.isResumed) await saveSettings(context, settings);
  const tokenizer = await tokenizerFor(settings, context);
  context.say(`tokenizer: ${n(tokenizer.vocabSize)} tokens`);
  const { train, validation, shards } = await tokensOf(settings, tokenizer, context, {}, settings.validationShare ?? 0.02);
  await requireSameData(context, shards);
  if (settings.config !== undefined && settings.depth !== undefined)
    throw new ConfigError('pretrain: both config and depth. Expected one of them.');
  const preset =
    settings.config === undefined
      ? presetOf(settings.depth ?? 4, tokenizer.vocabSize, settings.context, {
          ...(settings.batchSize === undefined ? {} : { rows: settings.batchSize }),
          ...(settings.learningRate === undefined ? {} : { learningRate: settings.learningRate }),
          gradientAccumulation: settings.gradientAccumulation,
          ...(settings.steps === undefined && settings.epochs === undefined ? {} : { steps: settings.steps ?? 1 }),
        })
      : null;
  for (const { key, value, reason } of preset?.derived ?? []) context.say(`  ${key}: ${value}: ${reason}`);
  const ends = { bos_token_id: tokenizer.bosId, eos_token_id: tokenizer.eosId };
  const config: Record<string, unknown> = { ...(preset?.config ?? settings.config), vocab_size: tokenizer.vocabSize, ...ends };
  setRandomSeed(settings.seed);
  const model = languageModel(config, { dtype: settings.dtype, name: 'pretrain' });
  model.ensureBuilt([[1, 2]], false);
  model.checkpointBlocks = settings.checkpointing;
  const batchSize = settings.batchSize ?? preset?.rows ?? 16;
  const batchesOf = (examples: TokenExamples, isTraining: boolean): TokenBatches =>
    new TokenBatches(examples, {
      batchSize: isTraining ? batchSize : Math.max(batchSize, 16),
      layout: isTraining ? settings.layout : 'packed',
      length: settings.context,
      padId: tokenizer.padId ?? 0,
      seed: settings.seed,
      shuffle: isTraining,
    });
  const batches = batchesOf(train, true);
  for (const line of batches.describe()) context.say(line);
  const training = trainingSettings(settings, batches.size, {
    learningRate: preset?.learningRate ?? 6e-4,
    epochs: 1,
    steps: preset?.steps,
    weightDecay: 0.1,
    beta2: 0.95,
  });
  await saveSettings(context, settings, { ...training, batchSize });
  const generation: GenerationConfig = { ...ends, _from_model_config: true };
  const save = (): Promise<void> => savePretrained({ model, tokenizer, generation }, join(context.folder, 'model'));
  context.say(
    `${model.config.modelType}: ${n(parameters(model.weights))} parameters, ${n(training.steps)} updates of ${n(batchSize * settings.context * settings.gradientAccumulation)} tokens`,
  );
  const result = await trainTokens(model, batches, {
    objective: nextTokenObjective,
    settings: training,
    validation: validation ? batchesOf(validation, false) : null,
    checkpointFolder: join(context.folder, 'checkpoints'),
    resume: context.isResumed,
    signal: context.signal,
    isPartial: false,
    ...(context.onEstimate ? { onEstimate: context.onEstimate } : {}),
    ...(context.onProgress ? { onProgress: context.onProgress } : {}),
    onEvaluation: async (point) => {
      context.onEvaluation?.(point);
      await saySamples(model, tokenizer, settings, context);
    },
  });
  if (result.isInterrupted) return null;
  await save();
  const last = result.curve.at(-1);
  const report: RunReport = {
    kind: 'pretrain',
    base: null,
    modelType: model.config.modelType,
    data: sources(shards),
    settings: { ...settings, ...training, batchSize },
    parameters: parameters(model.weights),
    trainableParameters: parameters(model.trainableWeights),
    before: null,
    after: last?.validation?.loss === undefined ? null : { natsPerToken: last.validation.loss, perplexity: Math.exp(last.validation.loss) },
    curve: result.curve,
    tokens: result.tokens,
    seconds: result.seconds,
    totalSeconds: (performance.now() - began) / 1000,
    estimate: { seconds: result.estimate.seconds, peakBytes: result.estimate.peakBytes },
    peakMemoryBytes: peakMemory(),
    saved: 'model',
  };
  await saveReport(context, report);
  return report;
}

// ---- fine-tuning

/** The adapter that a run on preferences began with. */
const REFERENCE = 'reference';

/**
 * The tokenizer to save: with ChatML's template where conversations were learned by it. Only one that has its tokens: where they are spelled out,
 * who chats has to know that their texts end a turn, which falling back on ChatML does and a template does not.
 */
function withTemplate(tokenizer: Tokenizer, shards: readonly TokenShards[]): Tokenizer {
  const isLearned = shards.some(({ report }) => report.files.some(({ layout }) => isConversation(layout)));
  if (tokenizer.chatTemplate !== null || !isLearned || tokenizer.idOf('<|im_end|>') === null) return tokenizer;
  return Tokenizer.fromJson(tokenizer.json, { ...tokenizer.config, chat_template: chatml });
}

/** The folder of the adapter to go on from: it, or a run's that made it. Throws ConfigError. */
async function adapterFolder(name: string): Promise<string> {
  const folder = existsSync(name) ? await locate(name, {}) : name;
  if (existsSync(join(folder, PEFT_CONFIG_FILE))) return folder;
  throw new ConfigError(
    `adapter: ${folder} ${existsSync(folder) ? `holds no ${PEFT_CONFIG_FILE}` : 'is not there'}. Expected an adapter's folder in PEFT's layout, or a run's that made one.`,
  );
}

/** Settings with those of the adapter that is gone on from, which are the ones in use. Throws ConfigError where others were asked for. */
function withAdapterSettings(settings: FinetuneSettings, model: CausalLM, config: PeftConfig): FinetuneSettings {
  const { targetModules } = config;
  const targets = Array.isArray(targetModules) ? targetModules : (adapters(model).find((a) => a.isActive)?.modules ?? []);
  const used = {
    loraRank: config.rank,
    loraAlpha: config.alpha,
    loraDropout: config.dropout,
    rsLora: config.rsLora,
    ...(targetModules === 'all-linear' ? { loraTargets: targetModules } : targets.length > 0 ? { loraTargets: [...targets] } : {}),
    modulesToSave: [...config.modulesToSave],
  } satisfies Partial<FinetuneSettings>;
  const defaults = finetuneSettings.parse({ model: settings.model, data: settings.data });
  const text = (value: unknown): string => JSON.stringify(Array.isArray(value) ? [...value].sort() : value);
  for (const key of Object.keys(used) as (keyof typeof used)[])
    if (text(settings[key]) !== text(used[key]) && text(settings[key]) !== text(defaults[key]))
      throw new ConfigError(
        `${key}: ${quote(settings[key])}, and the adapter ${settings.adapter} has ${quote(used[key])}. Expected the adapter's own. Leave ${key} out, or begin without adapter.`,
      );
  return { ...settings, ...used };
}

/** Fine-tunes a model on examples or preferences. Resolves to the report, or null when it was interrupted. */
export async function finetune(given: FinetuneSettings, context: RunContext): Promise<RunReport | null> {
  const began = performance.now();
  await makeFolders(context.folder);
  let settings = await settingsOf(context, finetuneSettings, given);
  setRandomSeed(settings.seed);
  const isLora = settings.method === 'lora';
  if (!isLora && settings.quantize !== 'none')
    throw new ConfigError(
      `finetune: quantize: ${settings.quantize} with method: full. Expected method: lora, as quantized weights are not trained.`,
    );
  if (!isLora && settings.adapter !== undefined)
    throw new ConfigError(
      'finetune: adapter with method: full. Expected method: lora. Merge the adapter into its base to train all weights.',
    );
  const adapter = settings.adapter === undefined ? null : await adapterFolder(settings.adapter);
  if (!context.isResumed) await saveSettings(context, settings);
  const { model, tokenizer, generation, quantized } = await openBaseModel(settings.model, {
    dtype: settings.dtype,
    weightDtype: isLora && settings.dtype === 'bf16' ? 'bf16' : 'f32',
    ...(settings.quantize === 'none' ? {} : { quantize: { type: settings.quantize, doubleQuant: settings.doubleQuantize } }),
    ...(context.signal ? { signal: context.signal } : {}),
    onProgress: (share) => context.onWork?.('reading weights', share),
  });
  // Packed, a matrix is codes and scales.
  const total = quantized ? quantized.parameters + parameters(model.weights.filter((v) => !isPackedPart(v))) : parameters(model.weights);
  if (quantized)
    context.say(
      `quantized to ${settings.quantize}: ${(quantized.bytesBefore / 1e6).toFixed(1)} MB of weights became ${(quantized.bytesAfter / 1e6).toFixed(1)} MB`,
    );
  const maxLength = settings.maxLength ?? Math.min(1024, model.config.maxPositions);
  const { train, validation, shards } = await tokensOf(
    settings,
    tokenizer,
    context,
    {
      maxLength,
      // As chat and serve do.
      chatTemplate: 'chatml',
      ...(settings.lossOn === undefined ? {} : { lossOn: settings.lossOn }),
      ...(settings.columns === undefined ? {} : { columns: settings.columns }),
    },
    settings.validationShare ?? 0,
  );
  await requireSameData(context, shards);
  const isPreference = train.group === 2;
  if (isPreference && !isLora)
    throw new ConfigError(
      'finetune: preference data with method: full. Expected method: lora: the reference is the model with its adapter switched off.',
    );
  if (isLora) {
    if (adapter !== null) {
      settings = withAdapterSettings(settings, model, await loadAdapter(model, adapter));
      context.say(`adapter: ${adapter}, of rank ${settings.loraRank} and alpha ${settings.loraAlpha}`);
      // Preferences are learned against the model as it is now, adapter and all.
      if (isPreference) {
        await loadAdapter(model, adapter, { name: REFERENCE });
        setAdapter(model, DEFAULT_ADAPTER);
      }
    } else
      applyLora(model, {
        rank: settings.loraRank,
        alpha: settings.loraAlpha,
        dropout: settings.loraDropout,
        targetModules: settings.loraTargets,
        rsLora: settings.rsLora,
        modulesToSave: settings.modulesToSave,
        seed: settings.seed,
      });
  }
  model.checkpointBlocks = settings.checkpointing;
  const trainable = parameters(model.trainableWeights);
  context.say(
    `${model.config.modelType}: ${n(total)} parameters, ${n(trainable)} of them trained (${((100 * trainable) / (total + (isLora ? trainable : 0))).toFixed(2)} %)`,
  );
  const batchesOf = (examples: TokenExamples, isTraining: boolean): TokenBatches =>
    new TokenBatches(examples, {
      batchSize: settings.batchSize,
      ...(settings.packing && isTraining && !isPreference ? { layout: 'packed' as const, length: maxLength } : {}),
      padId: tokenizer.padId ?? 0,
      seed: settings.seed,
      shuffle: isTraining,
    });
  const batches = batchesOf(train, true);
  for (const line of batches.describe()) context.say(line);
  const held = validation ? batchesOf(validation, false) : null;
  const training = trainingSettings(settings, batches.size, {
    learningRate: isPreference ? 5e-5 : isLora ? 2e-4 : 2e-5,
    epochs: 1,
    weightDecay: 0,
    beta2: 0.999,
  });
  await saveSettings(context, settings, training);
  const objective = isPreference
    ? dpoObjective({
        beta: settings.beta,
        sftWeight: settings.sftWeight,
        reference: (m, f) => withAdapter(m, adapter === null ? null : REFERENCE, f),
      })
    : nextTokenObjective;
  const measure = async (): Promise<RunReport['before']> => {
    if (!held) return null;
    model.compile({ objective });
    const { loss, ...others } = await model.evaluate(held, {
      verbose: 0,
      ...(context.signal ? { signal: context.signal } : {}),
      callbacks: [{ onProgress: ({ step }) => context.onWork?.('evaluating', step / held.size) }],
    });
    return isPreference ? { loss, ...others } : { natsPerToken: loss, perplexity: Math.exp(loss) };
  };
  // In a run that goes on too: the model is still the one that the run began with, and the report wants it.
  const before = await measure();
  // Scores of a part of the data are none.
  if (context.signal?.aborted) return null;
  if (before) context.say(`before: ${describeScores(before)}`);
  const result = await trainTokens(model, batches, {
    objective,
    settings: training,
    validation: held,
    checkpointFolder: join(context.folder, 'checkpoints'),
    resume: context.isResumed,
    signal: context.signal,
    isPartial: isLora,
    ...(context.onEstimate ? { onEstimate: context.onEstimate } : {}),
    ...(context.onProgress ? { onProgress: context.onProgress } : {}),
    onEvaluation: async (point) => {
      context.onEvaluation?.(point);
      await saySamples(model, tokenizer, settings, context);
    },
  });
  if (result.isInterrupted) return null;
  const after = await measure();
  if (held && context.signal?.aborted) return null;
  const saved = isLora ? 'adapter' : 'model';
  if (isLora) await saveAdapter(model, join(context.folder, saved), { baseModel: settings.model, taskType: 'CAUSAL_LM' });
  else await savePretrained({ model, tokenizer: withTemplate(tokenizer, shards), generation }, join(context.folder, saved));
  const report: RunReport = {
    kind: isPreference ? 'dpo' : 'finetune',
    base: settings.model,
    modelType: model.config.modelType,
    data: sources(shards),
    settings: { ...settings, ...training },
    parameters: total,
    trainableParameters: trainable,
    before,
    after,
    curve: result.curve,
    tokens: result.tokens,
    seconds: result.seconds,
    totalSeconds: (performance.now() - began) / 1000,
    estimate: { seconds: result.estimate.seconds, peakBytes: result.estimate.peakBytes },
    peakMemoryBytes: peakMemory(),
    saved,
  };
  await saveReport(context, report);
  return report;
}

/** `6.0906 nats a token, perplexity 441.7`. */
export const describeScores = (scores: Readonly<Record<string, number>>): string =>
  scores.natsPerToken === undefined
    ? Object.entries(scores)
        .map(([name, x]) => `${name} ${x.toFixed(4)}`)
        .join(', ')
    : `${scores.natsPerToken.toFixed(4)} nats a token, perplexity ${scores.perplexity.toFixed(1)}`;
