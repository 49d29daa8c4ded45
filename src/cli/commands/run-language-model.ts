/** @file `tenon pretrain` and `tenon finetune`: settings from a file and flags, a run's folder, training with a live line, and what to do next. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { currentDevice } from '../../device/registry.js';
import { makeFolders } from '../../io/make-folder-node.js';
import { describeScores, finetune, pretrain, type RunContext } from '../../llm/run-node.js';
import { finetuneSettings, pretrainSettings, readSettings, type SettingsTable, settingFlags, unfinished } from '../../llm/settings.js';
import { formatSeconds } from '../../train/callbacks/progress-bar.js';
import { requireFolder } from '../datasets.js';
import { useDevice } from '../device.js';
import { Interrupted, UsageError } from '../failure.js';
import { onInterruption } from '../interrupt.js';
import type { RunCommandOptions } from '../language-commands.js';
import { four, said, say, shellWord, thousands, writeJson } from '../output.js';
import { measureProductRate } from '../product-rate.js';
import { lockRun } from '../run-lock.js';
import { parseFlags, settingsText } from '../setting-flags.js';
import { workLine } from '../work-line.js';

type Kind = 'pretrain' | 'finetune';

/** Runs the command. Throws UsageError, Interrupted, and what the library throws. */
export async function runLanguageModel(
  kind: Kind,
  file: string | undefined,
  options: RunCommandOptions,
  rest: readonly string[],
): Promise<void> {
  if (options.json !== undefined) await requireFolder('--json', dirname(options.json));
  if (options.device !== undefined) useDevice('--device', options.device);
  const table: SettingsTable = kind === 'pretrain' ? pretrainSettings : finetuneSettings;
  const known = settingFlags(table);
  const { path, flags } = parseFlags(kind, known, file, rest);
  const resumed = options.resume === undefined ? null : await resumedFolder(kind, options.resume);
  const source = resumed === null ? path : join(resumed, 'run.yaml');
  const yaml =
    source === undefined
      ? null
      : await readFile(source, 'utf8').catch((error: unknown) => {
          throw new UsageError(`${source}: it can't be read (${error instanceof Error ? error.message : String(error)}).`);
        });
  if (options.printConfig) {
    process.stdout.write(settingsText(known, readSettings(unfinished(table), yaml, flags, source ?? kind)));
    return;
  }
  const settings = readSettings(table, yaml, flags, source ?? kind);
  const folder =
    resumed ?? settings.out ?? (await numbered(`${kind}-${path === undefined ? 'run' : basename(path).replace(/\.ya?ml$/, '')}`));
  if (resumed === null) await requireNew(kind, folder);
  await makeFolders(folder);
  const lock = await lockRun('--out', folder);
  const interruption = onInterruption('stopping after this step; press Ctrl-C again to quit at once without saving.');
  const line = workLine(process.stdout);
  try {
    say(`run: ${folder}${resumed === null ? '' : ' (resumed)'}`);
    // The machine's rate of products, to say how much of it training reaches.
    const peak = (await measureProductRate(768, 200)).gflops;
    const context: RunContext = {
      folder,
      isResumed: resumed !== null,
      signal: interruption.signal,
      say: (text) => {
        line.clear();
        // Samples are in it.
        say(said(text));
      },
      onWork: (what, share) => line.show(what, share),
      onEstimate: (e) => {
        line.clear();
        say(
          `device: ${currentDevice().name}; estimate: ${formatSeconds(e.seconds)}, ${(e.peakBytes / 1e9).toFixed(2)} GB (a step ${(1000 * e.secondsPerStep).toFixed(0)} ms; activations and gradients ${(e.arenaBytes / 1e6).toFixed(0)} MB, weights ${(e.weightBytes / 1e6).toFixed(0)} MB, optimizer ${(e.optimizerBytes / 1e6).toFixed(0)} MB)`,
        );
      },
      onProgress: (p) => {
        const filled = Math.round((20 * p.step) / p.steps);
        const used =
          p.flopsPerToken === undefined
            ? ''
            : ` - ${Math.round((100 * p.flopsPerToken * p.tokensPerSecond) / (peak * 1e9))} % of the product rate`;
        line.text(
          `${p.step}/${p.steps} ${'━'.repeat(filled)}${'─'.repeat(20 - filled)} ${formatSeconds(Math.max(0, p.left))} left - ${thousands(p.tokensPerSecond)} tokens/s${used} - loss ${p.loss === null ? '…' : four(p.loss)} - rate ${p.learningRate.toExponential(1)}`,
        );
      },
      onEvaluation: (point) => {
        line.clear();
        const tested = point.validation === null ? '' : `, on held-out data: ${describeScores(scoresOf(point.validation))}`;
        say(
          `update ${thousands(point.step)}: loss ${point.loss === null ? '–' : four(point.loss)}${tested} (${point.seconds.toFixed(0)} s)`,
        );
      },
    };
    const report = kind === 'pretrain' ? await pretrain(settings as never, context) : await finetune(settings as never, context);
    line.clear();
    if (report === null) {
      const checkpoints = join(folder, 'checkpoints');
      const isSaved = (await stat(join(checkpoints, 'latest.json')).catch(() => null)) !== null;
      say(isSaved ? `Interrupted; a checkpoint is in ${checkpoints}.` : 'Interrupted before training began.');
      say(`Go on with: tenon ${kind} --resume ${shellWord(folder)}`);
      throw new Interrupted();
    }
    if (report.after) say(`after:  ${describeScores(report.after)}`);
    say(
      `${thousands(report.trainableParameters)} weights trained on ${thousands(report.tokens)} tokens in ${report.seconds.toFixed(1)} s, ${(report.peakMemoryBytes / 1e9).toFixed(2)} GB at most.`,
    );
    say(`Saved ${join(folder, report.saved)}`);
    say(`Next: tenon chat ${shellWord(folder)}   or   tenon generate ${shellWord(folder)} --prompt TEXT`);
    if (options.json !== undefined) await writeJson(options.json, { ...report, folder, device: currentDevice().name });
  } finally {
    line.clear();
    lock.release();
    interruption.release();
  }
}

const scoresOf = (logs: Readonly<Record<string, number>>): Record<string, number> =>
  Object.keys(logs).length === 1 && logs.loss !== undefined ? { natsPerToken: logs.loss, perplexity: Math.exp(logs.loss) } : { ...logs };

/** Throws UsageError where a run would be written over. One that made no checkpoint may begin again. */
async function requireNew(kind: Kind, folder: string): Promise<void> {
  const has = async (...path: string[]): Promise<boolean> => (await stat(join(folder, ...path)).catch(() => null)) !== null;
  if (await has('report.json')) throw new UsageError(`--out: ${folder} holds a finished run. Expected a new folder.`);
  if ((await has('run.yaml')) && (await has('checkpoints', 'latest.json')))
    throw new UsageError(
      `--out: ${folder} holds a run that was ended early. Expected a new folder. Go on with: tenon ${kind} --resume ${shellWord(folder)}`,
    );
}

/** A new folder in runs/. */
async function numbered(name: string): Promise<string> {
  for (let i = 1; ; i++) {
    const folder = join('runs', `${name}-${i}`);
    if (!(await stat(folder).catch(() => null))) return folder;
  }
}

/** The run to go on with: the one given, or the newest of this kind. Throws UsageError. */
async function resumedFolder(kind: Kind, resume: string | boolean): Promise<string> {
  if (typeof resume === 'string') {
    if (await stat(join(resume, 'run.yaml')).catch(() => null)) return resume;
    throw new UsageError(`--resume: ${resume} is no run of tenon ${kind}. Expected a folder with run.yaml.`);
  }
  const names = (await readdir('runs').catch(() => [])).filter((n) => n.startsWith(`${kind}-`));
  const found = await Promise.all(
    names.map(async (n) => ({ folder: join('runs', n), at: (await stat(join('runs', n, 'run.yaml')).catch(() => null))?.mtimeMs ?? 0 })),
  );
  const [newest] = found.filter((f) => f.at > 0).sort((a, b) => b.at - a.at);
  if (!newest) throw new UsageError(`--resume: there is no run of tenon ${kind} in runs/. Expected a run's folder.`);
  return newest.folder;
}
