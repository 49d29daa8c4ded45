/** @file evaluate: means and metrics over a data set, and the loop that fit's validation shares with it. */
import { ConfigError } from '../base/errors.js';
import type { AnyModel } from '../model/model.js';
import { applyClassWeight, type ClassWeight, type Data, type DataLike, toColumns } from './batch.js';
import { type Callback, CallbackList, type Logs } from './callbacks/callback.js';
import { facesOf } from './callbacks/faces.js';
import { History } from './callbacks/history.js';
import type { Verbose } from './callbacks/progress-bar.js';
import type { Compiled } from './compiled.js';
import { checkOptionNames, checkVerbose, evaluateOptionNames } from './options.js';
import { Breather, Pipeline } from './pipeline.js';
import { type BatchSource, isStream, memorySource, type Stream, streamSource } from './source.js';
import { Programs, type Readout } from './step.js';

export interface EvaluateOptions {
  /** Default 32. */
  batchSize?: number;
  sampleWeight?: DataLike;
  classWeight?: ClassWeight;
  /** At most so many batches. */
  steps?: number;
  verbose?: Verbose;
  callbacks?: readonly Callback[];
  signal?: AbortSignal;
}
/** Scalars by name; `tables` holds metrics that are no scalars, such as a confusion matrix. */
export type Evaluation = Logs & { readonly loss: number };
export interface EvaluationResult {
  readonly logs: Evaluation;
  readonly tables: Readout['tables'];
}

/** The source of evaluate's and predict's arguments. */
export async function sourceOf(
  model: AnyModel,
  who: string,
  x: Data | Stream,
  y: Data | undefined,
  options: { batchSize?: number; sampleWeight?: DataLike; classWeight?: ClassWeight; steps?: number },
): Promise<BatchSource> {
  const names = { who, inputNames: model.inputNames, outputNames: model.outputNames };
  if (isStream(x))
    return streamSource(x, { names, classWeight: options.classWeight, stepsPerEpoch: options.steps, batchSize: options.batchSize });
  const columns = applyClassWeight(await toColumns(x, y, options.sampleWeight, names), options.classWeight, who);
  const n = columns.inputs[0].shape[0];
  if (n === 0) throw new ConfigError(`${who}: the data are empty. Expected at least one example, received 0 rows.`);
  const batchSize = options.batchSize ?? 32;
  if (!Number.isInteger(batchSize) || batchSize < 1) throw new ConfigError(`${who}: batchSize ${batchSize}. Expected a whole number ≥ 1.`);
  const end = options.steps === undefined ? n : Math.min(n, options.steps * batchSize);
  return memorySource(columns, { batchSize: Math.min(batchSize, end), shuffleSeed: null, end });
}

/** Loss and metrics over one pass of `source`. */
export async function testPass(
  programs: Programs,
  source: BatchSource,
  callbacks: CallbackList,
  epoch: number,
  signal?: AbortSignal,
): Promise<Readout> {
  programs.reset();
  const next = source.open(0, 0);
  const pipeline = new Pipeline();
  const breather = new Breather();
  const start = performance.now();
  const watched = callbacks.has('onTestBatchEnd');
  let step = 0;
  let samplesDone = 0;
  await callbacks.call('onTestBegin');
  for (let feed = await next(); feed && !signal?.aborted; feed = await next()) {
    await callbacks.call('onTestBatchBegin', step);
    const program = await programs.test(feed.form);
    await pipeline.push(program.run(feed.inputs));
    step++;
    samplesDone += feed.form.size;
    if (watched) await callbacks.call('onTestBatchEnd', step - 1, (await programs.read()).logs);
    if (breather.isDue('report', 100) && callbacks.has('onProgress')) {
      await pipeline.drain();
      const seconds = (performance.now() - start) / 1000;
      await callbacks.call('onProgress', { phase: 'test', epoch, step, firstStep: 0, samplesDone, seconds, logs: {} });
    }
    await breather.pause();
  }
  await pipeline.drain();
  const readout = await programs.read();
  await callbacks.call('onTestEnd', readout.logs);
  return readout;
}

/** `faces` and the caller's callbacks for one pass over a source. */
export function passCallbacks(
  model: AnyModel,
  source: BatchSource,
  options: { batchSize?: number; callbacks?: readonly Callback[] },
  faces: readonly Callback[],
): CallbackList {
  return new CallbackList([...faces, ...(options.callbacks ?? [])], {
    model,
    params: {
      epochs: 1,
      initialEpoch: 0,
      batchSize: options.batchSize ?? 32,
      steps: source.batches,
      samples: source.samples,
      validates: false,
    },
    history: new History(),
    stop: () => undefined,
  });
}

/** The whole of model.evaluate. Throws ConfigError and ShapeError as fit does. */
export async function evaluateModel(
  model: AnyModel,
  compiled: Compiled,
  x: Data | Stream,
  y: Data | undefined,
  options: EvaluateOptions,
): Promise<EvaluationResult> {
  const who = `evaluate ${model.label}`;
  checkOptionNames(options, evaluateOptionNames, who);
  checkVerbose(options.verbose, who);
  const faces = await facesOf(options.verbose ?? 'auto', 'test');
  const source = await sourceOf(model, who, x, y, options);
  model.prepare(source.shapes.inputs, who);
  // Beside a fit, whose steps write the same statistics.
  const own = compiled.isTraining ? compiled.aside : compiled;
  const programs = new Programs(model, own, own.resolve(model, source, who));
  // Inside fit's callbacks the statistics of the epoch must survive.
  const before = new Map(programs.statistics.map((v) => [v, v.read()]));
  const callbacks = passCallbacks(model, source, options, faces);
  const readout = await testPass(programs, source, callbacks, 0, options.signal);
  for (const [v, value] of before) v.assign(value);
  return { logs: { ...readout.logs, loss: readout.logs.loss ?? 0 }, tables: readout.tables };
}
