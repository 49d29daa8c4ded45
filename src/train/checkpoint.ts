/**
 * @file Checkpoints: everything that a bit-identical continuation needs, in one .tenon file: weights, optimizer, random
 * states, position and order of the epoch, running means and metrics, callbacks' states, history. A run's folder keeps
 * the last ones and a pointer to the newest.
 */
import { ConfigError, FormatError, TenonError } from '../base/errors.js';
import { log } from '../base/log.js';
import { isRecord } from '../io/bytes.js';
import type { TensorMap } from '../io/safetensors.js';
import { readTenon, type TenonParts, tenonChunks } from '../io/tenon-file.js';
import type { Layer } from '../layers/layer.js';
import type { AnyModel } from '../model/model.js';
import { globalRandomState, type RandomSnapshot, RandomState, type Variable } from '../tensor/index.js';
import type { CallbackList, CheckpointEvent } from './callbacks/callback.js';
import type { Compiled } from './compiled.js';
import { describeModel } from './describe.js';
import type { Programs } from './step.js';
import { requireFit, restore, snapshot } from './tensors.js';

export interface CheckpointOptions {
  /** Made when it doesn't exist. */
  readonly folder: string;
  /** Default 1: after every epoch. 0: not at epochs. */
  readonly everyEpochs?: number;
  /** Also inside epochs, by number of steps or seconds. */
  readonly everySteps?: number;
  readonly everySeconds?: number;
  /** How many files stay; default 3. */
  readonly keep?: number;
  /** Goes on from the folder's last checkpoint that is intact, if there is one. */
  readonly resume?: boolean;
  /** Removes the checkpoints when training ends well. */
  readonly removeAtEnd?: boolean;
  /** 'trainable': frozen weights are left out, for runs that begin from the same ones again (adapters on a pretrained model). Default 'all'. */
  readonly weights?: 'all' | 'trainable';
}
/** The next batch: epoch and batch from 0, and steps done since training began. */
export interface Position {
  readonly epoch: number;
  readonly batch: number;
  readonly step: number;
}
interface TrainingState {
  readonly position: Position;
  readonly shuffleSeed: number;
  readonly random: RandomSnapshot;
  readonly layerRandom: Readonly<Record<string, RandomSnapshot>>;
  readonly history: { epoch: number[]; history: Record<string, number[]>; seconds: number[] };
  readonly callbacks: Readonly<Record<string, unknown>>;
}
const isCount = (x: unknown): boolean => Number.isInteger(x) && (x as number) >= 0;
const isRandom = (x: unknown): boolean =>
  isRecord(x) && Array.isArray(x.seed) && x.seed.length === 2 && x.seed.every(isCount) && isCount(x.step) && isCount(x.calls);
const isNumbers = (x: unknown): boolean => Array.isArray(x) && x.every((v) => typeof v === 'number');
function isTrainingState(x: unknown): x is TrainingState {
  if (!isRecord(x)) return false;
  const { position, history, layerRandom } = x;
  return (
    isRecord(position) &&
    [position.epoch, position.batch, position.step, x.shuffleSeed].every(isCount) &&
    isRandom(x.random) &&
    isRecord(layerRandom) &&
    Object.values(layerRandom).every(isRandom) &&
    isRecord(history) &&
    isNumbers(history.epoch) &&
    isNumbers(history.seconds) &&
    isRecord(history.history) &&
    Object.values(history.history).every(isNumbers) &&
    isRecord(x.callbacks)
  );
}
interface Parts {
  readonly model: AnyModel;
  readonly compiled: Compiled;
  readonly programs: Programs;
  readonly callbacks: CallbackList;
  readonly shuffleSeed: number;
}
/** A checkpoint that was read. */
export interface SavedRun {
  readonly shuffleSeed: number;
  /** Puts everything back; the model must be built as it was. Throws FormatError. */
  restore(): Promise<Position>;
}

const files = (): Promise<typeof import('#node/train/checkpoint-files-node.js')> => import('#node/train/checkpoint-files-node.js');

/** Random states that layers own (a Dropout with a seed), by path. */
export function randomStates(model: Layer): Map<string, RandomState> {
  const found = new Map<string, RandomState>();
  const walk = (layer: Layer, path: string): void => {
    for (const [key, value] of Object.entries(layer)) if (value instanceof RandomState) found.set(`${path}/${key}`, value);
    layer.sublayers().forEach((l, i) => {
      walk(l, `${path}/${i}`);
    });
  };
  walk(model, '');
  return found;
}

export class Checkpoints {
  readonly options: CheckpointOptions;
  /** The newest one of this run. */
  last: CheckpointEvent | null = null;
  readonly #who: string;
  #parts: Parts | null = null;
  #lastStep = -1;
  #lastTime = performance.now();
  /** The write under way: training goes on meanwhile. */
  #writing: Promise<void> = Promise.resolve();
  #failure: unknown = null;

  private constructor(options: CheckpointOptions, who: string) {
    this.options = options;
    this.#who = who;
  }
  /** Makes the folder. Throws ConfigError when that can't be, or nothing can be written there. */
  static async open(options: CheckpointOptions, who: string): Promise<Checkpoints> {
    for (const name of ['everyEpochs', 'everySteps', 'everySeconds', 'keep'] as const) {
      const value = options[name];
      if (value !== undefined && !(value >= (name === 'keep' ? 1 : 0)))
        throw new ConfigError(`${who}: checkpoint.${name} ${value}. Expected a positive number.`);
    }
    await (await files()).makeFolder(options.folder);
    return new Checkpoints(options, who);
  }
  attach(parts: Parts): void {
    this.#parts = parts;
  }

  isDue(at: Position): boolean {
    const { everySteps, everySeconds } = this.options;
    if (this.#lastStep < 0) this.#lastStep = 0;
    if (everySteps && at.step - this.#lastStep >= everySteps) return true;
    return everySeconds !== undefined && everySeconds > 0 && performance.now() - this.#lastTime >= everySeconds * 1000;
  }
  isEpochDue(epochsDone: number): boolean {
    const every = this.options.everyEpochs ?? 1;
    return every > 0 && epochsDone % every === 0;
  }
  /** Whether the newest checkpoint is of this position. */
  has(at: Position): boolean {
    return this.last !== null && this.last.epoch === at.epoch && this.last.step === at.step;
  }

  /** Takes the state now and writes it beside the training. Throws the failure of the write before. */
  async save(at: Position): Promise<CheckpointEvent> {
    const parts = await this.#collect(at);
    await this.settled();
    const { folder, keep = 3 } = this.options;
    const name = `checkpoint-${String(at.step).padStart(9, '0')}.tenon`;
    const { saveCheckpoint, pathIn } = await files();
    this.#writing = saveCheckpoint(folder, name, tenonChunks(parts), { epoch: at.epoch, batch: at.batch, step: at.step }, keep).catch(
      (error: unknown) => {
        this.#failure = error;
      },
    );
    this.#lastStep = at.step;
    this.#lastTime = performance.now();
    this.last = { path: pathIn(folder, name), folder, epoch: at.epoch, step: at.step };
    return this.last;
  }
  /** Waits for the write under way. Throws its failure. */
  async settled(): Promise<void> {
    await this.#writing;
    this.throwFailure();
  }
  /** Throws the failure of a write that has ended, without waiting for one under way. */
  throwFailure(): void {
    if (this.#failure === null) return;
    const error = this.#failure;
    this.#failure = null;
    throw error;
  }
  /** Removes the checkpoints, when the options say so. */
  async end(): Promise<void> {
    if (this.options.removeAtEnd) await (await files()).removeCheckpoints(this.options.folder);
  }

  async #collect(at: Position): Promise<TenonParts> {
    const { model, compiled, programs, callbacks, shuffleSeed } = this.#attached();
    // All reads are queued before anything is awaited: they show one moment.
    const weights = snapshot(this.#weights(model));
    const optimizer = snapshot(compiled.optimizer.variables);
    const statistics = snapshot(programs.statistics);
    const own = randomStates(model);
    const states = callbacks.list.map((c) => c.getState?.());
    const layerRandom: Record<string, RandomSnapshot> = {};
    const random = await globalRandomState().snapshot();
    for (const [path, state] of own) layerRandom[path] = await state.snapshot();
    const keys = callbacks.keys();
    const json: Record<string, unknown> = {};
    const tensors: Record<string, TensorMap> = { weights: await weights, optimizer: await optimizer, statistics: await statistics };
    const callbackTensors: TensorMap = new Map();
    for (const [i, state] of states.entries()) {
      const s = await state;
      if (!s) continue;
      if (s.json !== undefined) json[keys[i]] = s.json;
      for (const [name, t] of s.tensors ?? []) callbackTensors.set(`${keys[i]}:${name}`, t);
    }
    if (callbackTensors.size > 0) tensors.callbacks = callbackTensors;
    const training: TrainingState = {
      position: { ...at },
      shuffleSeed,
      random,
      layerRandom,
      history: callbacks.context.history.getState().json,
      callbacks: json,
    };
    return { json: { ...describeModel(model), training }, tensors };
  }
  #weights(model: AnyModel): readonly Variable[] {
    return this.options.weights === 'trainable' ? model.trainableWeights : model.weights;
  }
  #attached(): Parts {
    if (!this.#parts) throw new ConfigError(`${this.#who}: no run is attached to the checkpoints. Expected fit to do that.`);
    return this.#parts;
  }

  /**
   * The newest checkpoint of the folder, or null when it has none. A damaged one is passed over for an older one, with a notice;
   * its file stays. Throws FormatError that names them all when none is intact.
   */
  async latest(): Promise<SavedRun | null> {
    const { findCheckpoints, readCheckpoint } = await files();
    const { folder } = this.options;
    const { paths, fault } = await findCheckpoints(folder);
    const faults = fault === null ? [] : [fault];
    for (const path of paths) {
      try {
        const saved = this.#savedRun(readTenon(await readCheckpoint(path), path), path);
        if (faults.length > 0) log.notice(`${this.#who}: ${faults.join(' ')} Going on from ${path} instead; nothing was deleted.`);
        return saved;
      } catch (error) {
        if (!(error instanceof TenonError)) throw error;
        faults.push(error.message);
      }
    }
    if (faults.length === 0) return null;
    throw new FormatError(
      `${this.#who}: no checkpoint in ${folder} can be gone on from. Expected an intact one, received: ${faults.join(' ')} Restore a copy of one, or begin a new run in another folder.`,
    );
  }
  #savedRun({ json, tensors }: TenonParts, path: string): SavedRun {
    const { training } = json;
    if (!isTrainingState(training) || !tensors.weights || !tensors.optimizer || !tensors.statistics)
      throw new FormatError(`${path}: it holds no training state. Expected a checkpoint of fit. Is it a saved model?`);
    return {
      shuffleSeed: training.shuffleSeed,
      restore: async () => {
        const { model, compiled, programs, callbacks } = this.#attached();
        // All fit, or nothing is touched.
        requireFit(tensors.weights, this.#weights(model), `${path}: weights`);
        requireFit(tensors.optimizer, compiled.optimizer.variables, `${path}: optimizer`);
        for (const name of tensors.statistics.keys()) {
          const mean = /^means\/(.*)\/sum$/.exec(name);
          if (mean) compiled.means.entry(mean[1]);
        }
        requireFit(tensors.statistics, programs.statistics, `${path}: statistics`);
        restore(tensors.weights, this.#weights(model), `${path}: weights`);
        restore(tensors.optimizer, compiled.optimizer.variables, `${path}: optimizer`);
        restore(tensors.statistics, programs.statistics, `${path}: statistics`);
        globalRandomState().restore(training.random);
        for (const [at, state] of randomStates(model)) if (training.layerRandom[at]) state.restore(training.layerRandom[at]);
        callbacks.context.history.restore(training.history);
        const keys = callbacks.keys();
        for (const [i, c] of callbacks.list.entries()) {
          const prefix = `${keys[i]}:`;
          const own = [...(tensors.callbacks ?? [])].filter(([name]) => name.startsWith(prefix));
          if (training.callbacks[keys[i]] === undefined && own.length === 0) continue;
          await c.setState?.({
            json: training.callbacks[keys[i]],
            tensors: new Map(own.map(([name, t]) => [name.slice(prefix.length), t])),
          });
        }
        this.#lastStep = training.position.step;
        return training.position;
      },
    };
  }
}
