/**
 * @file Callback: optional hooks around training, testing and predicting. They may be async; a hook on batches makes the
 * loop read out every step, so leave it out where it isn't needed. Faces (progress bars, loggers) are callbacks.
 */
import type { TensorMap } from '../../io/safetensors.js';
import type { AnyModel } from '../../model/model.js';
import type { CheckpointOptions } from '../checkpoint.js';
import type { History } from './history.js';

/** Means since the start of the epoch by name, such as { loss, accuracy, valLoss }. */
export type Logs = Readonly<Record<string, number>>;

export interface TrainParams {
  readonly epochs: number;
  readonly initialEpoch: number;
  readonly batchSize: number | null;
  /** Steps and examples of an epoch; null when a stream doesn't say. */
  readonly steps: number | null;
  readonly samples: number | null;
  /** Whether some epochs are validated. */
  readonly validates: boolean;
}
/** What a hook can see and do. */
export interface CallbackContext {
  readonly model: AnyModel;
  readonly params: TrainParams;
  readonly history: History;
  /** Ends training after this batch or epoch. */
  stop(reason: string): void;
}

export interface ProgressEvent {
  readonly phase: 'train' | 'test' | 'predict';
  readonly epoch: number;
  /** Steps and examples done in this epoch, by this run: after a resume `firstStep` came before. */
  readonly step: number;
  readonly firstStep: number;
  readonly samplesDone: number;
  readonly seconds: number;
  readonly logs: Logs;
}
export interface FailureEvent {
  readonly epoch: number;
  /** Number of the batch in its epoch, and of the step since training began; from 1. */
  readonly batch: number;
  readonly step: number;
  readonly loss: number;
}
export interface CheckpointEvent {
  readonly path: string;
  readonly folder: string;
  readonly epoch: number;
  readonly step: number;
}
/** What a callback needs to go on after a resume. */
export interface CallbackState {
  readonly json?: unknown;
  readonly tensors?: TensorMap;
}

type Hook<A extends unknown[]> = (...args: [...A, CallbackContext]) => void | Promise<void>;

export interface Callback {
  /** Distinguishes states in a checkpoint; default: the class and place in the list. */
  readonly name?: string;
  onTrainBegin?: Hook<[]>;
  onTrainEnd?: Hook<[Logs]>;
  onEpochBegin?: Hook<[epoch: number]>;
  /** `logs` may be added to: what a hook writes is kept in the history. */
  onEpochEnd?: Hook<[epoch: number, logs: Record<string, number>]>;
  onTrainBatchBegin?: Hook<[batch: number]>;
  onTrainBatchEnd?: Hook<[batch: number, Logs]>;
  onTestBegin?: Hook<[]>;
  onTestEnd?: Hook<[Logs]>;
  onTestBatchBegin?: Hook<[batch: number]>;
  onTestBatchEnd?: Hook<[batch: number, Logs]>;
  onPredictBegin?: Hook<[]>;
  onPredictEnd?: Hook<[]>;
  /** At most ten times a second, without stopping the steps. */
  onProgress?: Hook<[ProgressEvent]>;
  /** The loss of a step is not finite; nothing was updated. True: handled, `fit` ends without an error. */
  onNonFinite?(event: FailureEvent, context: CallbackContext): boolean;
  onCheckpoint?: Hook<[CheckpointEvent]>;
  /** Training ends because of the signal; `checkpoint` was saved, when there is a folder. */
  onInterrupt?: Hook<[checkpoint: CheckpointEvent | null]>;
  /** Checkpoints that fit shall keep, when its own option doesn't say. */
  readonly checkpoint?: CheckpointOptions;
  getState?(): CallbackState | Promise<CallbackState>;
  setState?(state: CallbackState): void | Promise<void>;
}

type HookName = {
  [K in keyof Callback]-?: NonNullable<Callback[K]> extends Hook<infer _> ? (K extends `on${string}` ? K : never) : never;
}[keyof Callback];
type Arguments<K extends HookName> = NonNullable<Callback[K]> extends (...args: [...infer A, CallbackContext]) => unknown ? A : never;

/** Callbacks called one after another, in their order. */
export class CallbackList {
  readonly list: readonly Callback[];
  readonly context: CallbackContext;

  constructor(list: readonly Callback[], context: CallbackContext) {
    this.list = list;
    this.context = context;
  }
  /** Whether any has the hook. */
  has(hook: HookName): boolean {
    return this.list.some((c) => c[hook] !== undefined);
  }
  async call<K extends HookName>(hook: K, ...args: Arguments<K>): Promise<void> {
    for (const c of this.list) {
      const fn = c[hook] as ((...args: unknown[]) => void | Promise<void>) | undefined;
      if (fn) await fn.call(c, ...args, this.context);
    }
  }
  /** Whether somebody handles a loss that isn't finite. */
  handles(event: FailureEvent): boolean {
    return this.list.map((c) => c.onNonFinite?.(event, this.context) ?? false).some((handled) => handled);
  }
  /** Keys of the callbacks' states. */
  keys(): string[] {
    return this.list.map((c, i) => c.name ?? `${i}`);
  }
}
