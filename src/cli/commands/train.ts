/** @file `tenon train`: data, model, fit with validation and checkpoints, scores, files. */
import { stat } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { currentDevice } from '../../device/registry.js';
import type { Model } from '../../model/index.js';
import { optimizers } from '../../optimizers/index.js';
import { setRandomSeed } from '../../tensor/index.js';
import { callbacks, type History } from '../../train/index.js';
import { describeDataset, type LoadedDataset, loadDataset, requireFolder } from '../datasets.js';
import { useDevice } from '../device.js';
import { EpochClock } from '../epoch-clock.js';
import { Interrupted, UsageError } from '../failure.js';
import { onInterruption } from '../interrupt.js';
import { buildModel, isBuiltIn, loadModelFile, requireFit, saveModelFile } from '../models.js';
import { describeTarget, four, percent, plural, say, shellWord, thousands, writeJson } from '../output.js';
import type { TrainOptions } from '../program.js';
import { scoreClasses, type TestScores } from '../report.js';
import { checkpointFolder, modelFile, openRun, type Run, type RunSettings, reportFile } from '../run-folder.js';
import { version } from '../version.js';

/** Runs the command. Throws UsageError, Interrupted, and what the library throws. */
export async function train(options: TrainOptions): Promise<void> {
  await requirePlaces(options);
  const run = await openRun(options);
  const interruption = onInterruption('stopping after this step; press Ctrl-C again to quit at once without saving.');
  const clock = new EpochClock();
  try {
    await trainRun(run, options, interruption.signal, clock);
  } catch (error) {
    // A run that never began leaves nothing behind; one without a checkpoint has nothing to go on from.
    const isGone = await run.discard();
    if (isGone && clock.hasBegun && error instanceof Error)
      error.message += ` What was trained is lost (${plural(clock.times.length, 'whole epoch')}): there was no checkpoint yet, so the run ${run.folder} was removed.`;
    throw error;
  } finally {
    run.release();
    interruption.release();
  }
}

/** What would be found out late: folders that aren't there, devices that don't work. */
async function requirePlaces(options: TrainOptions): Promise<void> {
  if (options.dataDir !== undefined) await requireFolder('--data-dir', options.dataDir);
  if (options.json !== undefined) {
    await requireFolder('--json', dirname(options.json));
    if ((await stat(options.json).catch(() => null))?.isDirectory())
      throw new UsageError(`--json: ${options.json} is a folder. Expected the name of a file.`);
  }
  if (options.device !== undefined) useDevice('--device', options.device);
}

async function trainRun(run: Run, options: TrainOptions, signal: AbortSignal, clock: EpochClock): Promise<void> {
  const { settings } = run;
  if (settings.device !== null) useDevice('--device', settings.device);
  const device = currentDevice();
  const path = isBuiltIn(settings.model) ? null : run.isResumed ? join(run.folder, settings.model) : (options.model ?? settings.model);
  setRandomSeed(settings.seed);
  // Before the data: a file that is no model is found out at once.
  const loaded = path === null ? null : { path, model: (await loadModelFile(path)).model };
  const began = performance.now();
  const dataset = await loadDataset({
    name: settings.dataset,
    dataDir: settings.dataDir ?? undefined,
    limit: settings.limit ?? undefined,
    signal,
  });
  say(`${describeDataset(dataset)} (${((performance.now() - began) / 1000).toFixed(1)} s)`);
  const examples = dataset.train.x.shape[0];
  if (settings.batchSize > examples)
    throw new UsageError(
      `--batch-size: ${settings.batchSize} is larger than the ${plural(examples, 'training picture')}. Expected at most ${examples}. Give a smaller --batch-size${settings.limit === null ? '' : ' or a larger --limit'}.`,
    );
  const model = makeModel(settings, loaded, dataset);
  const optimizer = model.optimizer;
  const rate = typeof optimizer.learningRate === 'number' ? `, learning rate ${optimizer.learningRate}` : '';
  say(
    `${model.name}: ${thousands(model.countParams())} parameters, ${optimizer.name}${rate}, batch size ${settings.batchSize}, seed ${settings.seed}`,
  );
  say(`device: ${device.name}, ${describeTarget(device.target)}`);
  say(`run: ${run.folder}${run.isResumed ? ' (resumed)' : ''}`);
  const history = await model.fit(dataset.train.x, dataset.train.y, {
    batchSize: settings.batchSize,
    epochs: settings.epochs,
    seed: settings.seed,
    validationData: [dataset.test.x, dataset.test.y],
    validationBatchSize: Math.min(128, dataset.test.x.shape[0]),
    verbose: 0,
    callbacks: [{ ...callbacks.progressBar(), onInterrupt: undefined }, clock],
    checkpoint: { folder: checkpointFolder(run), resume: run.isResumed, everySeconds: 60 },
    signal,
  });
  if (history.interrupted) {
    say(`Interrupted in epoch ${Math.min(history.epoch.length + 1, settings.epochs)}; saved ${history.checkpoint ?? 'nothing'}.`);
    say(`Go on with: ${self()} train --resume ${shellWord(run.folder)}`);
    throw new Interrupted();
  }
  await finish({ run, options, model, dataset, history, clock });
}

/** `loaded`: the model of a file, and its name in errors: the file that a new run begins with, not the run's copy. */
function makeModel(settings: RunSettings, loaded: { readonly path: string; readonly model: Model } | null, dataset: LoadedDataset): Model {
  const model = loaded?.model ?? buildModel(settings.model, dataset.pictureShape, dataset.classNames.length);
  requireFit(model, loaded?.path ?? settings.model, dataset);
  if (!model.compiled || settings.optimizer !== null || settings.learningRate !== null) {
    const name = (settings.optimizer ?? 'adam') as keyof typeof optimizers;
    model.compile({
      optimizer: optimizers[name](settings.learningRate === null ? {} : { learningRate: settings.learningRate }),
      loss: 'sparseCategoricalCrossentropy',
      metrics: ['accuracy'],
    });
  }
  return model;
}

interface Finished {
  readonly run: Run;
  readonly options: TrainOptions;
  readonly model: Model;
  readonly dataset: LoadedDataset;
  readonly history: History;
  readonly clock: EpochClock;
}

/** Scores the trained model, writes its files and says what there is. */
async function finish(done: Finished): Promise<void> {
  const { run, options, model, dataset, history } = done;
  const scores = await scoreClasses(model, dataset, 128);
  await saveModelFile(model, modelFile(run), { classNames: dataset.classNames, dataset: dataset.name });
  const report = makeReport(done, scores);
  await writeJson(reportFile(run), report);
  if (options.json !== undefined) await writeJson(options.json, report);
  const seconds = report.epochs.reduce((n, e) => n + e.seconds, 0);
  say();
  say(
    `Test accuracy ${percent(scores.accuracy)}, loss ${four(report.test.loss)}, after ${plural(history.epoch.length, 'epoch')} in ${seconds.toFixed(1)} s.`,
  );
  say(`Saved ${modelFile(run)}`);
  say(
    `Next: ${self()} evaluate ${shellWord(modelFile(run))}${run.settings.dataDir === null ? '' : ` --data-dir ${shellWord(run.settings.dataDir)}`}`,
  );
}

/** What --json and report.json hold. */
function makeReport({ run, model, dataset, history, clock }: Finished, scores: TestScores) {
  const { settings } = run;
  const device = currentDevice();
  const samples = dataset.train.x.shape[0];
  const of = (name: string, i: number): number | null => history.history[name]?.[i] ?? null;
  const epochs = history.epoch.map((epoch, i) => ({
    epoch: epoch + 1,
    loss: of('loss', i),
    accuracy: of('accuracy', i),
    valLoss: of('valLoss', i),
    valAccuracy: of('valAccuracy', i),
    seconds: clock.times[i]?.total ?? history.seconds[i] ?? 0,
    samplesPerSecond: samples / (clock.times[i]?.training ?? history.seconds[i] ?? Number.NaN),
  }));
  return {
    version: version(),
    dataset: settings.dataset,
    model: settings.model,
    device: device.name,
    threads: device.target.threads,
    parameters: model.countParams(),
    optimizer: model.optimizer.name,
    learningRate: typeof model.optimizer.learningRate === 'number' ? model.optimizer.learningRate : null,
    batchSize: settings.batchSize,
    seed: settings.seed,
    run: run.folder,
    modelFile: modelFile(run),
    epochs,
    test: {
      loss: epochs.at(-1)?.valLoss ?? 0,
      accuracy: scores.accuracy,
      perClass: scores.perClass,
      confusionMatrix: scores.confusionMatrix,
    },
    compileSeconds: history.compileSeconds,
    peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
  };
}

/** How to call this command again. */
function self(): string {
  const path = process.argv[1] ?? 'tenon';
  if (/[\\/]node_modules[\\/]/.test(path)) return 'npx tenon';
  return path.endsWith('.js') ? `node ${shellWord(relative(process.cwd(), path) || path)}` : 'tenon';
}
