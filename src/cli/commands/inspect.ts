/** @file `tenon inspect`: the kernels of a model's step, and with --profile where its time goes. */
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ShapeError } from '../../base/errors.js';
import { currentDevice } from '../../device/registry.js';
import { encodeUtf8 } from '../../io/bytes.js';
import type { Model } from '../../model/index.js';
import {
  type InspectOptions,
  inspectStep,
  type ProfileOptions,
  profileStep,
  type StepDescription,
  type StepProfile,
} from '../../train/index.js';
import { requireFolder } from '../datasets.js';
import { useDevice } from '../device.js';
import { UsageError } from '../failure.js';
import { buildModel, isBuiltIn, loadModelFile } from '../models.js';
import { percent, plural, say, tableLines, thousands, writeJson } from '../output.js';
import { chromeTrace, gigabytes, gigaflops, profileSvg, rowsOf, short, titleOf } from '../profile-views.js';
import type { InspectCommandOptions } from '../program.js';
import { version } from '../version.js';

/** Runs the command. Throws UsageError and what the library throws. */
export async function inspect(name: string, options: InspectCommandOptions): Promise<void> {
  await requireSense(options);
  if (options.device !== undefined) useDevice('--device', options.device);
  if (options.profile && !currentDevice().profile)
    throw new UsageError(
      `--profile: the device ${currentDevice().name} cannot time its kernels. Expected one that can, such as native. See tenon devices.`,
    );
  const { model, isPicture } = await openModel(name, options);
  if (options.phase === 'train' && !model.compiled)
    throw new UsageError(
      `--phase: ${name} is not compiled, so it has no training step. Expected a model with an optimizer and a loss. Use --phase predict.`,
    );
  const request: InspectOptions = {
    phase: options.phase,
    batchSize: options.batchSize,
    inputs: { shapes: options.inputShape, dtype: isPicture ? 'u8' : undefined },
  };
  try {
    await (options.profile ? profile(model, name, request, options) : describe(model, request, options));
  } catch (error) {
    throw error instanceof ShapeError && options.inputShape ? new UsageError(`--input-shape: ${error.message}`, { cause: error }) : error;
  }
  if (!model.compiled && options.phase === undefined)
    say(`\n${name} is not compiled (it has no optimizer and no loss): this is its forward pass.`);
}

/** Options that don't go together, and folders that aren't there. */
async function requireSense(options: InspectCommandOptions): Promise<void> {
  if (!options.profile)
    for (const option of ['svg', 'trace', 'steps'] as const)
      if (options[option] !== undefined)
        throw new UsageError(`--${option}: nothing is timed without --profile. Expected both. Add --profile.`);
  for (const option of ['svg', 'trace', 'json'] as const) {
    const path = options[option];
    if (path === undefined) continue;
    await requireFolder(`--${option}`, dirname(path));
    if ((await stat(path).catch(() => null))?.isDirectory())
      throw new UsageError(`--${option}: ${path} is a folder. Expected the name of a file.`);
  }
}

/** A model of a name or a file, and whether it takes pictures as bytes. */
async function openModel(name: string, options: InspectCommandOptions): Promise<{ model: Model; isPicture: boolean }> {
  if (isBuiltIn(name)) {
    const shape = options.inputShape?.[0] ?? [32, 32, 3];
    if (options.inputShape && (options.inputShape.length !== 1 || shape.length !== 3))
      throw new UsageError(`--input-shape: ${name} takes pictures. Expected height,width,channels, such as 32,32,3.`);
    // Compiled as `tenon train` does.
    const model = buildModel(name, shape, 10).compile({ optimizer: 'adam', loss: 'sparseCategoricalCrossentropy', metrics: ['accuracy'] });
    return { model, isPicture: true };
  }
  if (!(await stat(name).catch(() => null)))
    throw new UsageError(`model: there is no file ${name}. Expected cnn, mlp, or a file: .tenon, or .json with a config.`);
  const { model, dataset } = await loadModelFile(name);
  return { model, isPicture: dataset !== null };
}

async function describe(model: Model, request: InspectOptions, options: InspectCommandOptions): Promise<void> {
  const description = await inspectStep(model, request);
  if (options.json !== undefined) await writeJson(options.json, { version: version(), ...description });
  printProgram(description);
}

async function profile(model: Model, name: string, request: InspectOptions, options: InspectCommandOptions): Promise<void> {
  const { stderr } = process;
  const line = (text: string): void => {
    if (stderr.isTTY) stderr.write(`\r${text}\x1b[K`);
  };
  const words = { compile: 'compiling', limits: 'measuring the limits', profile: 'profiling' } as const;
  const onProgress: ProfileOptions['onProgress'] = (what, done, total) =>
    line(`${name}: ${words[what]}${total > 1 ? `, step ${done + 1} of ${total}` : ''}`);
  let result: StepProfile;
  try {
    result = await profileStep(model, { ...request, steps: options.steps, onProgress });
  } finally {
    line('');
  }
  const { writeFileAtomically } = await import('../../io/atomic-write-node.js');
  if (options.json !== undefined) await writeJson(options.json, { version: version(), ...result });
  if (options.svg !== undefined) await writeFileAtomically(options.svg, encodeUtf8(profileSvg(result)));
  if (options.trace !== undefined) await writeFileAtomically(options.trace, encodeUtf8(`${JSON.stringify(chromeTrace(result))}\n`));
  printProfile(result);
  for (const path of [options.svg, options.trace, options.json]) if (path !== undefined) say(`Saved ${path}`);
}

/** The first lines: what it is, and how much. */
function printHead(d: StepDescription): void {
  const total = (of: 'flops' | 'bytes'): number => d.kernels.reduce((n, k) => n + k[of], 0);
  say(titleOf(d));
  say(
    `${plural(d.kernels.length, 'kernel')}, ${short(total('flops'), 'FLOP')}, ${short(total('bytes'), 'B')} touched, temporaries in ${short(d.arenaBytes, 'B')}; ` +
      `traced in ${d.traceSeconds.toFixed(2)} s, compiled in ${d.compileSeconds.toFixed(2)} s (${thousands(d.cachedKernels)} from the cache)`,
  );
  if (d.gradientAccumulationSteps > 1)
    say(`Gradients of ${d.gradientAccumulationSteps} batches are added up: this is the step that adds, without the update.`);
  say();
}

function printProgram(d: StepDescription): void {
  printHead(d);
  const digits = String(Math.max(0, d.kernels.length - 1)).length;
  const numbers = tableLines(d.kernels.map((k) => ['', plural(k.items, 'item'), short(k.flops, 'FLOP'), short(k.bytes, 'B')]));
  const longest = Math.max(...d.kernels.map((k) => k.label.length));
  d.kernels.forEach((k, i) => {
    say(`${String(i).padStart(digits)}  ${k.label.padEnd(longest)}${numbers[i]}`);
    const indent = ' '.repeat(digits + 2);
    if (k.reads.length > 0) say(`${indent}├ reads   ${k.reads.join(', ')}`);
    say(`${indent}└ writes  ${k.writes.join(', ')}`);
  });
}

function printProfile(p: StepProfile): void {
  printHead(p);
  const share = (ms: number): string => percent(p.ms > 0 ? ms / p.ms : 0);
  const rows = rowsOf(p.kernels).map(({ kernel, first, calls, ms }) => [
    kernel.label,
    String(first),
    String(calls),
    ms.toFixed(4),
    share(ms),
    short(kernel.flops * calls),
    short(kernel.bytes * calls),
    gigaflops(kernel).toFixed(1),
    gigabytes(kernel).toFixed(1),
    percent(kernel.shareOfLimit),
  ]);
  const table = [
    ['kernel', '#', 'calls', 'ms', 'share', 'FLOP', 'bytes', 'GFLOP/s', 'GB/s', 'of limit'],
    ...rows,
    ['all kernels', '', String(p.kernels.length), p.kernelMs.toFixed(4), share(p.kernelMs)],
    ['outside of kernels', '', '', p.outsideMs.toFixed(4), share(p.outsideMs)],
    ['step', '', '', p.ms.toFixed(4), share(p.ms)],
  ];
  const lines = tableLines(table);
  for (const [i, text] of lines.entries()) {
    if (i === 1 || i === rows.length + 1) say('-'.repeat(Math.max(...lines.map((l) => l.length))));
    say(text);
  }
  say();
  say(
    `Medians of ${plural(p.steps, 'step')} with all threads meeting around every kernel; an ordinary step takes ${p.ordinaryMs.toFixed(3)} ms.`,
  );
  say(
    `The limits, measured now: ${(p.limits.flopsPerSecond / 1e9).toFixed(1)} GFLOP/s (a product of 1024³), ${(p.limits.bytesPerSecond / 1e9).toFixed(1)} GB/s (a copy of 64 MiB). ` +
      'A share above 100% means that the data stayed in the caches, or that another process ran meanwhile.',
  );
}
