/**
 * @file The training of a language model on tokens: optimizer, schedule, estimate, fit with evaluations, samples and checkpoints, for pretraining,
 * fine-tuning and preferences alike.
 */
import { dtypes } from '../base/dtype.js';
import { ConfigError } from '../base/errors.js';
import { optimizers, type Schedule, schedules } from '../optimizers/index.js';
import type { Callback, Logs } from '../train/callbacks/callback.js';
import type { Objective } from '../train/objective.js';
import { type Rehearsal, rehearse } from '../train/rehearse.js';
import type { CausalLM } from '../zoo/index.js';
import type { TokenBatch, TokenBatches } from './data/index.js';
import { requireSameSettings } from './same-settings.js';

/** What decides a training, beside model and data. */
export interface TrainingSettings {
  readonly steps: number;
  readonly gradientAccumulation: number;
  readonly learningRate: number;
  readonly schedule: 'cosine' | 'warmupStableDecay' | 'linear' | 'constant';
  readonly warmupSteps: number;
  readonly minLearningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  /** 0: none. */
  readonly clip: number;
  readonly evaluateEvery: number;
  readonly saveSeconds: number;
}
/** An evaluation: after how many updates, the mean losses before and at it, and what else the objective reports. */
export interface CurvePoint {
  readonly step: number;
  readonly loss: number | null;
  readonly validation: Logs | null;
  readonly tokens: number;
  readonly seconds: number;
}
/** How training stands, a few times a second. */
export interface TrainingProgress {
  readonly step: number;
  readonly steps: number;
  readonly tokens: number;
  readonly tokensPerSecond: number;
  /** Seconds left. */
  readonly left: number;
  readonly loss: number | null;
  readonly learningRate: number;
  /** Arithmetic of a token's step, forward and backward. */
  readonly flopsPerToken: number;
}
export interface TrainTokensOptions {
  readonly objective: Objective;
  readonly settings: TrainingSettings;
  readonly validation: TokenBatches | null;
  readonly checkpointFolder: string | null;
  readonly resume?: boolean;
  readonly signal?: AbortSignal | undefined;
  /** Only adapters are trained: checkpoints leave the frozen weights out. */
  readonly isPartial: boolean;
  readonly onEstimate?: (estimate: Estimate) => void;
  readonly onProgress?: (progress: TrainingProgress) => void;
  readonly onEvaluation?: (point: CurvePoint) => void | Promise<void>;
}
/** What training will take. */
export interface Estimate extends Rehearsal {
  readonly seconds: number;
  readonly peakBytes: number;
}
export interface TrainTokensResult {
  readonly curve: readonly CurvePoint[];
  readonly seconds: number;
  readonly tokens: number;
  readonly isInterrupted: boolean;
  readonly checkpoint: string | null;
  readonly estimate: Estimate;
}

/** The rate over the updates: a linear rise from learningRate / (warmupSteps + 1), then what the name says. */
export function scheduleOf(s: TrainingSettings): Schedule | number {
  const { learningRate, steps, warmupSteps, minLearningRate } = s;
  const rest = Math.max(1, steps - warmupSteps);
  const warm = (next: Schedule | number): Schedule | number =>
    warmupSteps === 0
      ? next
      : schedules.linearWarmup({ learningRate: next, warmupSteps, initialLearningRate: learningRate / (warmupSteps + 1) });
  switch (s.schedule) {
    case 'cosine':
      return warm(schedules.cosineDecay({ initialLearningRate: learningRate, decaySteps: rest, alpha: minLearningRate / learningRate }));
    case 'linear':
      return warm(schedules.polynomialDecay({ initialLearningRate: learningRate, decaySteps: rest, endLearningRate: minLearningRate }));
    case 'warmupStableDecay':
      return schedules.warmupStableDecay({ learningRate, totalSteps: steps, warmupSteps, alpha: minLearningRate / learningRate });
    case 'constant':
      return warm(learningRate);
    default:
      return s.schedule satisfies never;
  }
}

/** Parts of a training between evaluations, of batches that go round their passes: part i holds batches i·every … */
class Parts {
  readonly size: number;
  readonly #batches: TokenBatches;
  readonly #total: number;
  constructor(batches: TokenBatches, every: number, total: number) {
    this.#batches = batches;
    this.size = Math.min(every, total);
    this.#total = total;
  }
  async *openAt(part: number, skip: number): AsyncGenerator<TokenBatch> {
    const end = Math.min((part + 1) * this.size, this.#total);
    for (let at = part * this.size + skip; at < end; )
      for await (const batch of this.#batches.openAt(Math.floor(at / this.#batches.size), at % this.#batches.size)) {
        yield batch;
        if (++at >= end) return;
      }
  }
  [Symbol.asyncIterator](): AsyncIterator<TokenBatch> {
    return this.openAt(0, 0);
  }
}

/** Places of a pass over the batches, padding among them. */
const places = ({ stats }: TokenBatches): number => stats.tokens / stats.efficiency;

/** Whether all weights are trained. */
const isWhole = (model: CausalLM): boolean => model.weights.every((v) => v.trainable);

/** Trains. Throws what fit throws; ConfigError, naming the setting to lower, when memory won't do. */
export async function trainTokens(model: CausalLM, train: TokenBatches, options: TrainTokensOptions): Promise<TrainTokensResult> {
  const { settings, validation, signal } = options;
  const { steps, gradientAccumulation, evaluateEvery } = settings;
  const rate = scheduleOf(settings);
  model.compile({
    objective: options.objective,
    optimizer: optimizers.adamW({
      learningRate: rate,
      beta1: settings.beta1,
      beta2: settings.beta2,
      epsilon: settings.epsilon,
      weightDecay: settings.weightDecay,
      // Decay groups: matrices alone.
      excludeFromWeightDecay: ['(^|/)(bias|beta|gamma|scale)$'],
      ...(settings.clip > 0 ? { globalClipNorm: settings.clip } : {}),
      ...(gradientAccumulation > 1 ? { gradientAccumulationSteps: gradientAccumulation } : {}),
    }),
  });
  const every = evaluateEvery * gradientAccumulation;
  const total = steps * gradientAccumulation;
  const parts = new Parts(train, every, total);
  const evaluations = Math.ceil(steps / evaluateEvery);
  // Padded batches have several lengths, each with Programs of its own: what is tried is what needs most.
  const longest = { size: 1, openAt: () => train.openAt(0, train.longestBatch), [Symbol.asyncIterator]: () => longest.openAt() };
  const most = train.mostPlaces;
  // What is kept at least of each block that learns, but for an adapter's first, in widths: far more than there is would take minutes to
  // compile before it is refused.
  const kept = model.checkpointBlocks ? 1 : 8;
  const learns = model.blocks.map((block) => block.trainableWeights.length > 0);
  const learning = isWhole(model) ? learns.length : learns.slice(learns.indexOf(true) + 1).filter(Boolean).length;
  requireMemory(model, {
    arenaBytes: most * kept * learning * model.config.hiddenSize * dtypes[model.computeDtype].bytes,
    optimizerBytes: 0,
  });
  const rehearsal = await rehearse(model, longest, {
    beforeRunning: (plan) => requireMemory(model, plan),
  });
  const perPlace = rehearsal.secondsPerStep / most;
  const { secondsPerStep: _, compileSeconds } = rehearsal;
  // An evaluation is a forward pass: about a third of a step.
  const evaluated = validation ? (evaluations + 1) * places(validation) * (perPlace / 3) : 0;
  const compiled = compileSeconds * (train.stats.lengths.length - 1 + (validation ? validation.stats.lengths.length / 3 : 0));
  const seconds = (total / train.size) * places(train) * perPlace + evaluated + compiled;
  const estimate: Estimate = { ...rehearsal, seconds, peakBytes: peakBytes() };
  options.onEstimate?.(estimate);

  const curve: CurvePoint[] = [];
  const tokensOf = train.stats.tokens / train.stats.batches;
  const began = performance.now();
  let before = 0;
  const follow: Callback = {
    name: 'curve',
    getState: () => ({ json: { curve, seconds: before + (performance.now() - began) / 1000, settings } }),
    setState({ json }) {
      const state = json as { curve: CurvePoint[]; seconds: number; settings?: TrainingSettings };
      // A checkpoint counts parts, and others would move its place. Earlier checkpoints don't tell.
      if (state.settings) requireSameSettings(state.settings, settings, ['saveSeconds'] satisfies (keyof TrainingSettings)[]);
      curve.splice(0, curve.length, ...state.curve);
      before = state.seconds;
    },
    onProgress(event) {
      if (event.phase !== 'train') return;
      const step = Math.floor((event.epoch * parts.size + event.step) / gradientAccumulation);
      const done = Math.max(1, event.step - event.firstStep);
      const perStep = event.seconds / done;
      options.onProgress?.({
        step,
        steps,
        tokens: (event.epoch * parts.size + event.step) * tokensOf,
        tokensPerSecond: tokensOf / perStep,
        left: (total - event.epoch * parts.size - event.step) * perStep + (evaluations - event.epoch) * (evaluated / (evaluations + 1)),
        loss: event.logs.loss ?? null,
        learningRate: typeof rate === 'number' ? rate : rate.at(step),
        flopsPerToken: flopsPerToken(model),
      });
    },
    async onEpochEnd(epoch, logs) {
      const step = Math.min(steps, (epoch + 1) * evaluateEvery);
      const tested = Object.entries(logs).filter(([name]) => name.startsWith('val'));
      const validationLogs = Object.fromEntries(tested.map(([name, v]) => [name.charAt(3).toLowerCase() + name.slice(4), v]));
      const point: CurvePoint = {
        step,
        loss: logs.loss ?? null,
        validation: tested.length > 0 ? validationLogs : null,
        tokens: step * gradientAccumulation * tokensOf,
        seconds: before + (performance.now() - began) / 1000,
      };
      curve.push(point);
      await options.onEvaluation?.(point);
    },
  };
  const history = await model.fit(parts, {
    epochs: evaluations,
    verbose: 0,
    callbacks: [follow],
    ...(validation ? { validationData: validation } : {}),
    ...(signal ? { signal } : {}),
    ...(options.checkpointFolder === null
      ? {}
      : {
          checkpoint: {
            folder: options.checkpointFolder,
            resume: options.resume ?? false,
            everySeconds: settings.saveSeconds,
            keep: 2,
            weights: options.isPartial ? ('trainable' as const) : ('all' as const),
          },
        }),
  });
  return {
    curve,
    seconds: before + (performance.now() - began) / 1000,
    tokens: total * tokensOf,
    isInterrupted: history.interrupted,
    checkpoint: history.checkpoint,
    estimate,
  };
}

/** 2 operations a weight forward, 2 for the gradient of what goes in, and 2 for the weight's own where it is trained; the table is looked up. */
export function flopsPerToken(model: CausalLM): number {
  const { vocabSize, hiddenSize } = model.config;
  const size = (list: readonly { readonly size: number }[]): number => list.reduce((n, v) => n + v.size, 0);
  // A tied table is the output matrix too.
  const table = model.config.tieEmbeddings ? 0 : vocabSize * hiddenSize;
  const trained = size(model.trainableWeights);
  return 4 * (size(model.weights) - table) + 2 * Math.max(0, trained - (trained > table ? table : 0));
}

interface Memory {
  memoryUsage?: () => { rss: number };
  availableMemory?: () => number;
  constrainedMemory?: () => number;
}
const ownProcess = (): Memory => (globalThis as { process?: Memory }).process ?? {};
/** What the process holds now: after a rehearsal, what training will. */
const peakBytes = (): number => ownProcess().memoryUsage?.().rss ?? 0;

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(2)} GB`;

/** Throws ConfigError when the step's temporaries and the optimizer's slots exceed what is free. */
function requireMemory(model: CausalLM, plan: { readonly arenaBytes: number; readonly optimizerBytes: number }): void {
  const free = ownProcess().availableMemory?.();
  const wanted = plan.arenaBytes + plan.optimizerBytes;
  if (free === undefined || wanted <= free) return;
  throw new ConfigError(
    `${model.name}: a step needs ${gigabytes(plan.arenaBytes)} or more for activations and gradients${plan.optimizerBytes > 0 ? ` and ${gigabytes(plan.optimizerBytes)} for the optimizer` : ''}; ${gigabytes(free)} are free. Expected no more. Lower batchSize or context (and raise gradientAccumulation)${model.checkpointBlocks ? '' : ', or set checkpointing: true'}${isWhole(model) ? '; finetune has method: lora, too' : ''}.`,
  );
}
