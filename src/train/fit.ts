/**
 * @file fit: epochs of compiled steps. The loop only hands row numbers to the device and keeps it busy; losses and
 * metrics are read a few times a second and at the end of an epoch. Stops before the update when a loss isn't finite.
 */
import { ConfigError } from '../base/errors.js';
import type { AnyModel } from '../model/model.js';
import type { Step } from '../tensor/index.js';
import { randint } from '../tensor/random.js';
import { type ClassWeight, checkClasses, type Data, type DataLike } from './batch.js';
import { type Callback, type CallbackContext, CallbackList, type CheckpointEvent } from './callbacks/callback.js';
import { facesOf } from './callbacks/faces.js';
import { History } from './callbacks/history.js';
import type { Verbose } from './callbacks/progress-bar.js';
import type { CheckpointOptions, Checkpoints, Position } from './checkpoint.js';
import type { Compiled } from './compiled.js';
import { idAdvice, NonFiniteLossError } from './errors.js';
import { testPass } from './evaluate.js';
import { openSources, type ValidationData } from './fit-data.js';
import { validationName } from './names.js';
import { checkOptionNames, checkVerbose, fitOptionNames } from './options.js';
import { Breather, Pipeline } from './pipeline.js';
import type { BatchForm, BatchSource, Stream } from './source.js';
import { Programs } from './step.js';

export interface FitOptions {
  /** Examples a step; default 32. Streams bring their own batches. */
  batchSize?: number;
  /** Default 1. */
  epochs?: number;
  /** Number of the first epoch, from 0. */
  initialEpoch?: number;
  /** Batches an epoch; default: one pass over the data. */
  stepsPerEpoch?: number;
  /** Data to evaluate on after epochs: [x, y], [x, y, sampleWeight], { x, y } or a stream. */
  validationData?: ValidationData;
  /** Share of the data, the last part, to evaluate on instead. */
  validationSplit?: number;
  validationBatchSize?: number;
  validationSteps?: number;
  /** Every how many epochs, or after which (numbers from 1). Default 1. */
  validationFreq?: number | readonly number[];
  /** New order in every epoch; default true. Only for arrays. */
  shuffle?: boolean;
  /** Of the order; default: drawn from the global random state. */
  seed?: number;
  classWeight?: ClassWeight;
  /** One an example, [n]. */
  sampleWeight?: DataLike;
  /** 0 silent, 1 progress bar, 2 a line an epoch; default 'auto': a bar in a terminal, else lines. */
  verbose?: Verbose;
  callbacks?: readonly Callback[];
  /** Ends training after the current step; a checkpoint is saved when there is a folder for it. */
  signal?: AbortSignal;
  /** A folder of checkpoints, how often they are saved, and whether to go on from the last one. */
  checkpoint?: CheckpointOptions;
}
const wantsValidation = (epoch: number, freq: number | readonly number[]): boolean =>
  typeof freq === 'number' ? (epoch + 1) % freq === 0 : freq.includes(epoch + 1);

/** The whole of model.fit. Throws ConfigError, ShapeError, NonFiniteLossError, DeviceError; see FitOptions. */
export async function fitModel(
  model: AnyModel,
  compiled: Compiled,
  x: Data | Stream,
  y: Data | undefined,
  options: FitOptions,
): Promise<History> {
  if (compiled.isTraining)
    throw new ConfigError(`fit ${model.label}: the model is being trained already. Expected one fit at a time. Await the first one.`);
  compiled.isTraining = true;
  try {
    return await new Run(model, compiled, options).all(x, y);
  } finally {
    compiled.isTraining = false;
  }
}

/** One call of fit. */
class Run {
  readonly #model: AnyModel;
  readonly #compiled: Compiled;
  readonly #options: FitOptions;
  readonly #who: string;
  readonly #history = new History();
  readonly #pipeline = new Pipeline();
  readonly #breather = new Breather();
  #stopReason: string | null = null;
  #checkpoints: Checkpoints | null = null;
  #callbacks!: CallbackList;
  #programs!: Programs;
  #compiledSeen = new Set<Step>();
  /** Where training is: the next batch. */
  #at: Position = { epoch: 0, batch: 0, step: 0 };

  constructor(model: AnyModel, compiled: Compiled, options: FitOptions) {
    this.#model = model;
    this.#compiled = compiled;
    this.#options = options;
    this.#who = `fit ${model.label}`;
  }

  async all(x: Data | Stream, y: Data | undefined): Promise<History> {
    const options = this.#options;
    const { epochs = 1, initialEpoch = 0 } = options;
    checkOptionNames(options, fitOptionNames, this.#who);
    checkVerbose(options.verbose, this.#who);
    if (!Number.isInteger(epochs) || epochs < 1) throw new ConfigError(`${this.#who}: epochs ${epochs}. Expected a whole number ≥ 1.`);
    // backupAndRestore is a callback that carries the option.
    const checkpoint = options.checkpoint ?? options.callbacks?.find((c) => c.checkpoint)?.checkpoint;
    // What few runs need is loaded by those that do: a page's bundle is smaller by it.
    if (checkpoint) this.#checkpoints = await (await import('./checkpoint.js')).Checkpoints.open(checkpoint, this.#who);
    const saved = checkpoint?.resume ? await this.#checkpoints?.latest() : null;
    const faces = await facesOf(options.verbose ?? 'auto', 'train');
    const seed = saved?.shuffleSeed ?? options.seed ?? (await drawSeed());
    const sources = await openSources(this.#model, x, y, options, this.#who, seed);
    const { train, validation } = sources;
    this.#model.prepare(train.shapes.inputs, this.#who);
    checkClasses(options.classWeight, this.#model.outputSpecs()[0].shape, this.#who);
    const resolved = this.#compiled.resolve(this.#model, train, this.#who);
    const validationResolved = validation ? this.#compiled.resolve(this.#model, validation, `${this.#who}: validationData`) : null;
    this.#programs = new Programs(this.#model, this.#compiled, resolved);
    const validationPrograms = validationResolved ? new Programs(this.#model, this.#compiled, validationResolved) : null;
    this.#compiled.buildOptimizer(this.#model.trainableWeights);
    const params = {
      epochs,
      initialEpoch,
      batchSize: sources.batchSize,
      steps: train.batches,
      samples: train.samples,
      validates: validation !== null,
    };
    this.#history.params = params;
    const context: CallbackContext = {
      model: this.#model,
      params,
      history: this.#history,
      stop: (reason) => (this.#stopReason ??= reason),
    };
    this.#callbacks = new CallbackList([...faces, ...(options.callbacks ?? [])], context);
    this.#checkpoints?.attach({
      model: this.#model,
      compiled: this.#compiled,
      programs: this.#programs,
      callbacks: this.#callbacks,
      shuffleSeed: seed,
    });
    this.#programs.reset();
    this.#at = { epoch: initialEpoch, batch: 0, step: 0 };
    if (saved) this.#at = await saved.restore();
    this.#compiled.progress.begin(this.#at.step);
    await this.#callbacks.call('onTrainBegin');
    try {
      while (this.#at.epoch < epochs && this.#stopReason === null && !options.signal?.aborted)
        await this.#epoch(train, validation, validationPrograms);
      await this.#finish();
    } finally {
      await this.#checkpoints?.settled();
    }
    if (!this.#history.interrupted) {
      await this.#checkpoints?.end();
      // Keras: the averages are the weights when training is over.
      if (this.#compiled.optimizer.useEma) this.#compiled.optimizer.overwriteWithAverages();
    }
    await this.#callbacks.call('onTrainEnd', lastLogs(this.#history));
    return this.#history;
  }

  async #epoch(train: BatchSource, validation: BatchSource | null, validationPrograms: Programs | null): Promise<void> {
    const { epoch } = this.#at;
    const { signal } = this.#options;
    const callbacks = this.#callbacks;
    const started = performance.now();
    const firstStep = this.#at.batch;
    if (firstStep === 0) {
      this.#programs.reset();
      await callbacks.call('onEpochBegin', epoch);
    }
    const next = train.open(epoch, firstStep);
    const { window } = this.#programs;
    const watched = callbacks.has('onTrainBatchEnd');
    const announced = callbacks.has('onTrainBatchBegin');
    // Looked up once an epoch: a callback may have frozen or freed layers between epochs.
    const steps = new Map<BatchForm, Step>();
    let begun = started;
    let samplesDone = 0;
    let inWindow = 0;
    let ended = false;
    // A window of gradient accumulation is always finished: a checkpoint can only stand between two.
    while ((this.#stopReason === null && !signal?.aborted) || inWindow > 0) {
      // A promise only where there is something to wait for: a step costs microseconds here.
      const given = next();
      const feed = given instanceof Promise ? await given : given;
      if (!feed) {
        ended = true;
        break;
      }
      if (announced) await callbacks.call('onTrainBatchBegin', this.#at.batch);
      let step = steps.get(feed.form);
      if (!step) {
        step = await this.#compile(this.#programs.train(feed.form));
        steps.set(feed.form, step);
        // The time of a step is told without the time of compiling.
        if (samplesDone === 0) begun = performance.now();
      }
      const full = this.#pipeline.push(step.run(feed.inputs));
      if (full) await full;
      if (samplesDone === 0) this.#compileAhead(train, feed.form.key, validation, validationPrograms);
      if (++inWindow === window) {
        if (window > 1) await this.#pipeline.push((await this.#compile(this.#programs.apply())).run([]));
        inWindow = 0;
      }
      samplesDone += feed.form.size;
      this.#at = { epoch, batch: this.#at.batch + 1, step: this.#at.step + 1 };
      if (watched) {
        const readout = await this.#checked();
        await callbacks.call('onTrainBatchEnd', this.#at.batch - 1, readout.logs);
      }
      if (inWindow === 0 && this.#checkpoints?.isDue(this.#at)) {
        await this.#checked();
        await this.#save();
      }
      if (this.#breather.isDue('report', 100)) this.#report(epoch, firstStep, samplesDone, begun);
      if (this.#failure) await this.#checked();
      // Training on without checkpoints is nothing to learn of hours later.
      this.#checkpoints?.throwFailure();
      const rest = this.#breather.pause();
      if (rest) await rest;
    }
    if (this.#at.batch === 0)
      throw new ConfigError(
        `${this.#who}: epoch ${epoch + 1} had no batch. Expected at least one. Is the stream used up? Give stepsPerEpoch or fewer epochs.`,
      );
    // The sums of a window that the epoch's end cuts off are applied: checkpoints fall between windows.
    if (inWindow > 0 && window > 1) await this.#pipeline.push((await this.#compile(this.#programs.apply())).run([]));
    const readout = await this.#checked();
    this.#history.stepSeconds = (performance.now() - begun) / 1000 / Math.max(1, this.#at.batch - firstStep);
    if (!ended && signal?.aborted) return;
    const logs: Record<string, number> = { ...readout.logs };
    if (validation && validationPrograms && wantsValidation(epoch, this.#options.validationFreq ?? 1)) {
      const statistics = this.#programs.statistics;
      const before = statistics.map((v) => v.read());
      const tested = await testPass(validationPrograms, validation, callbacks, epoch, signal);
      if (signal?.aborted) {
        // The epoch isn't over: it will be validated after a resume, from the means that stand here.
        for (const [i, v] of statistics.entries()) v.assign(before[i]);
        return;
      }
      for (const [name, value] of Object.entries(tested.logs)) logs[validationName(name)] = value;
    }
    this.#checkpoints?.throwFailure();
    await callbacks.call('onEpochEnd', epoch, logs);
    this.#history.add(epoch, logs);
    this.#history.seconds.push((performance.now() - started) / 1000);
    this.#at = { epoch: epoch + 1, batch: 0, step: this.#at.step };
    if (this.#checkpoints?.isEpochDue(epoch + 1)) await this.#save();
  }

  /** Waits for a Program and counts what it took. */
  async #compile(program: Promise<Step>): Promise<Step> {
    const step = await program;
    if (!this.#compiledSeen.has(step)) {
      this.#compiledSeen.add(step);
      this.#history.compileSeconds += step.traceSeconds + step.compileSeconds;
    }
    return step;
  }
  /** What the epoch's end will need is compiled while the first steps run. */
  #compileAhead(source: BatchSource, key: string, validation: BatchSource | null, validationPrograms: Programs | null): void {
    const last = source.forms.filter((f) => f.key !== key && (source.batches ?? 0) > 1);
    const work = [
      ...last.map((form) => () => this.#programs.train(form)),
      ...(validation?.forms ?? []).map((form) => () => validationPrograms?.test(form)),
    ];
    const next = (): void => {
      const first = work.shift();
      // A failure shows when the step is needed. One after another: the device's compiler is not asked for all at once.
      if (first) setTimeout(() => void Promise.resolve(first()).then(next, next), 0);
    };
    next();
  }

  #failure = false;
  #reading = false;
  /** Reads losses without stopping the steps, and tells the faces. */
  #report(epoch: number, firstStep: number, samplesDone: number, started: number): void {
    if (this.#reading) return;
    if (!this.#callbacks.has('onProgress') && !this.#breather.isDue('failure', 500)) return;
    this.#reading = true;
    const step = this.#at.batch;
    const work = this.#programs.read().then(async (readout) => {
      this.#failure ||= readout.failed;
      const seconds = (performance.now() - started) / 1000;
      if (!readout.failed)
        await this.#callbacks.call('onProgress', { phase: 'train', epoch, step, firstStep, samplesDone, seconds, logs: readout.logs });
    });
    const done = (): void => {
      this.#reading = false;
    };
    work.then(done, done);
    void this.#pipeline.push(work);
  }

  /** Waits for all steps. Throws when one of them had a loss that isn't finite and nobody handles it. */
  async #checked(): ReturnType<Programs['read']> {
    await this.#pipeline.drain();
    const readout = await this.#programs.read();
    if (!readout.failed) return readout;
    const step = readout.steps + 1;
    const event = { epoch: this.#at.epoch, batch: this.#at.batch - (this.#at.step - step), step, loss: readout.lastLoss };
    const optimizer = this.#compiled.optimizer;
    const rate = typeof optimizer.learningRate === 'number' ? ` (it is ${optimizer.learningRate})` : '';
    const kept = this.#history.checkpoint ? ` The last good checkpoint is ${this.#history.checkpoint}.` : '';
    const message = `${this.#who}: the loss is ${readout.lastLoss} at step ${step} (epoch ${event.epoch + 1}, batch ${event.batch}). Expected a finite number; training stopped before the update, so the weights are those before this step.${kept} Lower the learning rate${rate}, clip gradients (globalClipNorm: 1), or look for NaN and huge values in the data${idAdvice(this.#model)}.`;
    this.#compiled.progress.begin(this.#at.step);
    if (this.#callbacks.handles(event)) {
      this.#stopReason ??= `the loss is ${readout.lastLoss} at step ${step}`;
      return { ...readout, logs: { ...readout.logs, loss: readout.lastLoss } };
    }
    throw new NonFiniteLossError(message, step, event.epoch);
  }
  async #save(): Promise<CheckpointEvent | null> {
    if (!this.#checkpoints) return null;
    const event = await this.#checkpoints.save(this.#at);
    this.#history.checkpoint = event.path;
    await this.#callbacks.call('onCheckpoint', event);
    return event;
  }
  async #finish(): Promise<void> {
    await this.#pipeline.drain();
    this.#history.stopped = this.#stopReason;
    if (this.#options.signal?.aborted) {
      this.#history.interrupted = true;
      this.#history.stopped ??= 'interrupted';
      const event = this.#checkpoints && !this.#checkpoints.has(this.#at) ? await this.#save() : (this.#checkpoints?.last ?? null);
      await this.#checkpoints?.settled();
      await this.#callbacks.call('onInterrupt', event);
    }
  }
}

const lastLogs = (h: History): Record<string, number> =>
  Object.fromEntries(Object.entries(h.history).map(([name, values]) => [name, values[values.length - 1]]));

/** A seed for the order of the examples, from the global random state: repeatable after setRandomSeed. */
async function drawSeed(): Promise<number> {
  return randint([], 0, 2 ** 31 - 1).item();
}
