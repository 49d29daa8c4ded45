/**
 * @file A run's folder: run.json (what was asked for), checkpoints/, and at the end model.tenon and report.json.
 * A run goes on from its folder alone.
 */
import { copyFile, mkdir, readdir, readFile, rm, rmdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { FormatError, reasonOf } from '../base/errors.js';
import { isRecord } from '../io/bytes.js';
import { makeFolders } from '../io/make-folder-node.js';
import { defaultEpochs } from './datasets.js';
import { UsageError } from './failure.js';
import { isBuiltIn, requireFile } from './models.js';
import { writeJson } from './output.js';
import { type DatasetName, datasetNames, type TrainOptions } from './program.js';
import { lockRun, type RunLock, requireNotLocked } from './run-lock.js';

/** Everything that decides what a run computes. */
export interface RunSettings {
  readonly dataset: DatasetName;
  readonly dataDir: string | null;
  /** cnn, mlp, or the name of a file in the run's folder. */
  readonly model: string;
  readonly epochs: number;
  readonly batchSize: number;
  /** Null: adam, or what the model's file was compiled with. */
  readonly optimizer: string | null;
  /** Null: the optimizer's own. */
  readonly learningRate: number | null;
  readonly seed: number;
  readonly limit: number | null;
  readonly device: string | null;
}
export interface Run {
  readonly folder: string;
  readonly settings: RunSettings;
  readonly isResumed: boolean;
  /** Removes what a new run made, unless there is a checkpoint to go on from. Resolves to whether it is gone. */
  discard(): Promise<boolean>;
  /** Lets other processes train here. */
  release(): void;
}

const RUN_FILE = 'run.json';
export const checkpointFolder = (run: Run): string => join(run.folder, 'checkpoints');
export const modelFile = (run: Run): string => join(run.folder, 'model.tenon');
export const reportFile = (run: Run): string => join(run.folder, 'report.json');

const exists = async (path: string): Promise<boolean> => (await stat(path).catch(() => null)) !== null;

/** The run that the options ask for: a new one, or one that goes on. Throws UsageError for what can't be. */
export async function openRun(options: TrainOptions): Promise<Run> {
  return options.resume === undefined ? startRun(options) : resumeRun(options);
}

async function startRun(options: TrainOptions): Promise<Run> {
  const dataset = options.dataset ?? 'shapes';
  const model = options.model ?? 'cnn';
  if (!isBuiltIn(model)) {
    if (!(await exists(model)))
      throw new UsageError(`--model: there is no file ${model}. Expected cnn, mlp or a file, received "${model}".`);
    await requireFile('--model', model);
  }
  const { folder, made, lock } =
    options.out === undefined ? await numberedFolder(`${dataset}-${modelName(model)}`) : await namedRun(options.out);
  // The run must not change when the file does.
  const own = isBuiltIn(model) ? model : `initial${model.endsWith('.json') ? '.json' : '.tenon'}`;
  const settings: RunSettings = {
    dataset,
    dataDir: options.dataDir ?? null,
    model: own,
    epochs: options.epochs ?? defaultEpochs(dataset),
    batchSize: options.batchSize ?? 32,
    optimizer: options.optimizer ?? null,
    learningRate: options.learningRate ?? null,
    seed: options.seed ?? 0,
    limit: options.limit ?? null,
    device: options.device ?? null,
  };
  const run: Run = {
    folder,
    settings,
    isResumed: false,
    async discard() {
      // A run with a checkpoint can go on.
      if ((await readdir(join(folder, 'checkpoints')).catch(() => [])).length > 0) return false;
      for (const name of [RUN_FILE, own]) if (!isBuiltIn(name)) await rm(join(folder, name), { force: true });
      await rmdir(join(folder, 'checkpoints')).catch(() => undefined);
      lock.release();
      // Only what this run made, and only while it is empty.
      for (let at = folder; made !== null; at = dirname(at)) {
        const isGone = await rmdir(at).then(
          () => true,
          () => false,
        );
        if (!isGone || at === made) break;
      }
      return true;
    },
    release: lock.release,
  };
  try {
    if (own !== model) await copyFile(model, join(folder, own));
    await saveSettings(run);
  } catch (error) {
    await run.discard();
    if (error instanceof Error && 'code' in error)
      throw new UsageError(`--out: ${folder} can't be written to (${error.message}). Choose another folder.`);
    throw error;
  }
  return run;
}

/** Writes run.json. */
export const saveSettings = (run: Run): Promise<void> => writeJson(join(run.folder, RUN_FILE), run.settings);

/** `made`: the first folder that had to be made. */
interface OwnFolder {
  readonly folder: string;
  readonly made: string | null;
  readonly lock: RunLock;
}

async function namedRun(folder: string): Promise<OwnFolder> {
  const requireNew = async (): Promise<void> => {
    if (await exists(join(folder, RUN_FILE)))
      throw new UsageError(`--out: ${folder} holds a run already. Go on with --resume ${folder}, or choose another folder.`);
  };
  await requireNotLocked('--out', folder);
  await requireNew();
  const { made } = await namedFolder(folder);
  const lock = await takeFolder('--out', folder);
  try {
    // Another process may have begun and ended here since.
    await requireNew();
  } catch (error) {
    lock.release();
    throw error;
  }
  return { folder, made, lock };
}

async function takeFolder(option: string, folder: string): Promise<RunLock> {
  try {
    return await lockRun(option, folder);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${option}: ${folder} can't be written to (${reasonOf(error)}). Choose another folder.`);
  }
}

async function namedFolder(folder: string): Promise<{ folder: string; made: string | null }> {
  try {
    return { folder, made: await makeFolders(folder) };
  } catch (error) {
    throw new UsageError(`--out: the folder ${folder} can't be made (${reasonOf(error)}). Choose another one.`);
  }
}

/** runs/<name>-1, or the next number that is free. */
async function numberedFolder(name: string): Promise<OwnFolder> {
  const { folder: runs, made } = await namedFolder('runs');
  for (let n = 1; ; n++) {
    const folder = join(runs, `${name}-${n}`);
    try {
      await mkdir(folder);
      return { folder, made: made ?? folder, lock: await takeFolder('runs', folder) };
    } catch (error) {
      if (error instanceof UsageError) throw error;
      if (error instanceof Error && 'code' in error && error.code === 'EEXIST') continue;
      throw new UsageError(`runs: the folder ${folder} can't be made (${reasonOf(error)}). Choose one with --out.`);
    }
  }
}
const modelName = (model: string): string => basename(model).replace(/\.(tenon|json)$/, '') || 'model';

async function resumeRun(options: TrainOptions): Promise<Run> {
  const folder = typeof options.resume === 'string' ? options.resume : (options.out ?? (await newestRun()));
  const saved = await readSettings(folder);
  const fixed: readonly [string, unknown, unknown][] = [
    ['--dataset', options.dataset, saved.dataset],
    ['--batch-size', options.batchSize, saved.batchSize],
    ['--optimizer', options.optimizer, saved.optimizer ?? 'adam'],
    ['--learning-rate', options.learningRate, saved.learningRate],
    ['--seed', options.seed, saved.seed],
    ['--limit', options.limit, saved.limit],
  ];
  for (const [name, given, before] of fixed)
    if (given !== undefined && given !== before)
      throw new UsageError(
        `--resume: ${name} can't change in a run. Expected ${String(before ?? 'what it was')}, received ${String(given)}. Leave it out.`,
      );
  if (options.model !== undefined && options.model !== saved.model)
    throw new UsageError(`--resume: --model can't change in a run. Expected ${saved.model}, received ${options.model}. Leave it out.`);
  if (typeof options.resume === 'string' && options.out !== undefined && options.out !== options.resume)
    throw new UsageError(`--resume: a run stays in its folder. Expected --out ${options.resume}, received ${options.out}. Leave it out.`);
  const settings: RunSettings = {
    ...saved,
    epochs: options.epochs ?? saved.epochs,
    dataDir: options.dataDir ?? saved.dataDir,
    device: options.device ?? saved.device,
  };
  const lock = await takeFolder('--resume', folder);
  const run: Run = { folder, settings, isResumed: true, discard: async () => false, release: lock.release };
  try {
    if (settings.epochs !== saved.epochs) await saveSettings(run);
  } catch (error) {
    lock.release();
    throw error;
  }
  return run;
}

async function newestRun(): Promise<string> {
  const names = await readdir('runs').catch(() => []);
  let newest: { folder: string; time: number } | null = null;
  for (const name of names) {
    const folder = join('runs', name);
    const info = await stat(join(folder, RUN_FILE)).catch(() => null);
    if (info && (newest === null || info.mtimeMs > newest.time)) newest = { folder, time: info.mtimeMs };
  }
  if (!newest) throw new UsageError('--resume: there is no run in runs/. Expected one to go on from. Name its folder: --resume DIR.');
  return newest.folder;
}

async function readSettings(folder: string): Promise<RunSettings> {
  const path = join(folder, RUN_FILE);
  const text = await readFile(path, 'utf8').catch(() => {
    throw new UsageError(`--resume: ${folder} holds no run (${RUN_FILE} is missing). Expected the folder of an earlier tenon train.`);
  });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = null;
  }
  if (!isSettings(value))
    throw new FormatError(`--resume: ${path} is damaged. Expected the settings that tenon train wrote. Start a new run.`);
  return value;
}
const isSettings = (x: unknown): x is RunSettings =>
  isRecord(x) &&
  datasetNames.some((n) => n === x.dataset) &&
  typeof x.model === 'string' &&
  [x.epochs, x.batchSize, x.seed].every((n) => typeof n === 'number' && Number.isInteger(n) && n >= 0) &&
  [x.dataDir, x.optimizer, x.device].every((s) => s === null || typeof s === 'string') &&
  [x.learningRate, x.limit].every((n) => n === null || (typeof n === 'number' && n > 0));
