/**
 * @file Where a step's time goes: the kernels of a model's training step or forward pass with their work, and, where the device
 * can time them, their milliseconds beside what the machine could do at most, measured on the spot.
 */
import { dtypes } from '../base/dtype.js';
import { ConfigError } from '../base/errors.js';
import type { AnyModel } from '../model/model.js';
import { currentDevice } from '../tensor/engine.js';
import { compileStep, type Step, type StepInput } from '../tensor/index.js';
import { matmul } from '../tensor/ops-contract.js';
import { type Data, specOf, toColumns } from './batch.js';
import { checkOptionNames } from './options.js';
import { forwardProgram } from './predict.js';
import { type RandomInputOptions, randomInputs, randomLabels } from './profile-data.js';
import { type BatchSource, memorySource } from './source.js';
import { Programs } from './step.js';

export interface InspectOptions {
  /** Default 'train' for a compiled model, 'predict' for others. */
  phase?: 'train' | 'predict';
  /** Rows of a batch. Default 32, or those of `x`. */
  batchSize?: number;
  /** Data of one batch. Default: random ones that the model and its losses take. */
  x?: Data;
  y?: Data;
  /** Shapes of one example and a dtype for random inputs, instead of the model's. */
  inputs?: RandomInputOptions;
}
export interface ProfileOptions extends InspectOptions {
  /** Profiled steps; times are medians over them. Default 20. */
  steps?: number;
  /** Steps before. Default 3. */
  warmUp?: number;
  /** Is told what is being done. */
  onProgress?: (what: 'compile' | 'limits' | 'profile', done: number, total: number) => void;
}
const inspectOptionNames: Readonly<Record<keyof InspectOptions, true>> = { phase: true, batchSize: true, x: true, y: true, inputs: true };
const profileOptionNames: Readonly<Record<keyof ProfileOptions, true>> = {
  ...inspectOptionNames,
  steps: true,
  warmUp: true,
  onProgress: true,
};

/** One call of a Program. */
export interface StepKernel {
  /** The fused ops, such as `conv+add+max`. */
  readonly label: string;
  /** Extent of the grid that threads share. */
  readonly items: number;
  /** Arithmetic operations, as estimated by the compiler. */
  readonly flops: number;
  /** Bytes read and written when every buffer is touched once: a table that is only looked up counts whole. */
  readonly bytes: number;
  /** The buffers, such as `conv2d/kernel f32[864]`; those in the arena by their offset. One that is updated is in both. */
  readonly reads: readonly string[];
  readonly writes: readonly string[];
}
export interface StepDescription {
  readonly model: string;
  readonly phase: 'train' | 'predict';
  readonly batchSize: number;
  readonly device: string;
  readonly threads: number;
  /** Micro-batches an update; above 1 the step is the one that adds gradients up. */
  readonly gradientAccumulationSteps: number;
  /** Bytes of the memory that temporaries share. */
  readonly arenaBytes: number;
  readonly traceSeconds: number;
  readonly compileSeconds: number;
  readonly cachedKernels: number;
  /** In the order in which they run. */
  readonly kernels: readonly StepKernel[];
}
export interface KernelProfile extends StepKernel {
  /** Median milliseconds. */
  readonly ms: number;
  /** Of the step's time, in [0, 1]. */
  readonly shareOfStep: number;
  /** The larger of its rates over the machine's; above 1 where data stay in the caches. */
  readonly shareOfLimit: number;
}
export interface MachineLimits {
  /** Of a product of two 1024×1024 matrices. */
  readonly flopsPerSecond: number;
  /** Of a copy that no cache holds: bytes read and written. */
  readonly bytesPerSecond: number;
}
export interface StepProfile extends StepDescription {
  readonly steps: number;
  readonly limits: MachineLimits;
  readonly kernels: readonly KernelProfile[];
  /** A profiled step: its kernels one after another, and what is outside of them. */
  readonly ms: number;
  readonly kernelMs: number;
  readonly outsideMs: number;
  /** An ordinary step, whose small kernels may run side by side. */
  readonly ordinaryMs: number;
}

/**
 * The Program of a training step (or forward pass) on the current device, kernel by kernel. Builds the model if need be; nothing
 * is run. Rejects with ConfigError and ShapeError when the model is not compiled, or data and model don't fit.
 */
export async function inspectStep(model: AnyModel, options: InspectOptions = {}): Promise<StepDescription> {
  const who = `inspectStep ${model.label}`;
  checkOptionNames(options, inspectOptionNames, who);
  return describe(model, await prepareStep(model, options, who));
}

/**
 * Runs the step several times and times its kernels; the machine's limits are measured too. Weights, optimizer and random states are
 * afterwards what they were. Rejects as inspectStep, and with DeviceError where the device has no profile.
 * @example
 * ```ts no-run
 * const net = sequential({ layers: [layers.dense({ units: 1, inputShape: [2] })] }).compile({ loss: 'mse' });
 * const { kernels, ms } = await profileStep(net, { batchSize: 64 });
 * ```
 */
export async function profileStep(model: AnyModel, options: ProfileOptions = {}): Promise<StepProfile> {
  const who = `profileStep ${model.label}`;
  checkOptionNames(options, profileOptionNames, who);
  const { steps = 20, warmUp = 3, onProgress = () => undefined } = options;
  for (const [name, n, least] of [
    ['steps', steps, 1],
    ['warmUp', warmUp, 0],
  ] as const)
    if (!Number.isInteger(n) || n < least) throw new ConfigError(`${who}: ${name} is ${n}. Expected a whole number ≥ ${least}.`);
  onProgress('compile', 0, 1);
  const prepared = await prepareStep(model, options, who);
  const { step, inputs } = prepared;
  const before = new Map(step.written.map((v) => [v, v.read()]));
  const runs: { times: number[]; wall: number; ordinary: number }[] = [];
  try {
    prepared.begin();
    for (let i = 0; i < warmUp; i++) await step.run(inputs);
    for (let i = 0; i < steps; i++) {
      onProgress('profile', i, steps);
      const start = performance.now();
      const times = await step.profile(inputs);
      const between = performance.now();
      await step.run(inputs);
      runs.push({ times, wall: between - start, ordinary: performance.now() - between });
    }
  } finally {
    for (const [v, value] of before) v.assign(value);
  }
  onProgress('limits', 0, 1);
  const limits = await measureLimits();
  const description = describe(model, prepared);
  const times = description.kernels.map((_, k) => median(runs.map((r) => r.times[k])));
  const kernelMs = sum(times);
  const outsideMs = Math.max(0, median(runs.map((r) => r.wall - sum(r.times))));
  const ms = kernelMs + outsideMs;
  const kernels = description.kernels.map((k, i): KernelProfile => {
    const seconds = times[i] / 1000;
    const rate = (work: number, most: number): number => (seconds > 0 ? work / seconds / most : 0);
    return {
      ...k,
      ms: times[i],
      shareOfStep: ms > 0 ? times[i] / ms : 0,
      shareOfLimit: Math.max(rate(k.flops, limits.flopsPerSecond), rate(k.bytes, limits.bytesPerSecond)),
    };
  });
  return { ...description, steps, limits, kernels, ms, kernelMs, outsideMs, ordinaryMs: median(runs.map((r) => r.ordinary)) };
}

interface Prepared {
  readonly step: Step;
  readonly inputs: readonly StepInput[];
  readonly phase: 'train' | 'predict';
  readonly batchSize: number;
  readonly window: number;
  /** Makes ready for the first run. */
  begin(): void;
}

/** The step that fit (or predict) runs for data in memory, and its inputs. */
async function prepareStep(model: AnyModel, options: InspectOptions, who: string): Promise<Prepared> {
  const { compiled } = model;
  const phase = options.phase ?? (compiled ? 'train' : 'predict');
  if (phase !== 'train' && phase !== 'predict')
    throw new ConfigError(`${who}: phase ${JSON.stringify(phase)}. Expected 'train' or 'predict'.`);
  const { batchSize = 32 } = options;
  if (!Number.isInteger(batchSize) || batchSize < 1) throw new ConfigError(`${who}: batchSize ${batchSize}. Expected a whole number ≥ 1.`);
  const names = { who, inputNames: model.inputNames, outputNames: model.outputNames };
  const given = options.x ?? randomInputs(model, batchSize, who, options.inputs);
  const { inputs } = await toColumns(given, undefined, undefined, names);
  const n = inputs[0].shape[0];
  if (n === 0) throw new ConfigError(`${who}: the data are empty. Expected at least one example.`);
  model.prepare(inputs.map(specOf), who);
  const sourceFor = (columns: Parameters<typeof memorySource>[0]): BatchSource =>
    memorySource(columns, { batchSize: n, shuffleSeed: null });
  const feedOf = async (source: BatchSource) => {
    const feed = await source.open(0, 0)();
    if (!feed) throw new ConfigError(`${who}: the data are empty. Expected at least one example.`);
    return feed;
  };
  if (phase === 'predict') {
    const { form, inputs: fed } = await feedOf(sourceFor({ inputs, targets: [], weight: null }));
    return { step: await forwardProgram(model, form), inputs: fed, phase, batchSize: n, window: 1, begin: () => undefined };
  }
  if (!compiled)
    throw new ConfigError(
      `${who}: the model is not compiled, so it has no training step. Expected compile() first. Compile it, or use phase 'predict'.`,
    );
  if (compiled.isTraining) throw new ConfigError(`${who}: the model is being trained by fit. Expected one at a time. Await fit first.`);
  const outputs = model.outputNames ?? model.outputSpecs().map((_, i) => `output${i}`);
  const y = options.y ?? randomLabels(model, compiled.lossIds(outputs, who), n);
  const source = sourceFor(await toColumns(inputs, y, undefined, names));
  const programs = new Programs(model, compiled, compiled.resolve(model, source, who));
  const { form, inputs: fed } = await feedOf(source);
  compiled.buildOptimizer(model.trainableWeights);
  const step = await programs.train(form);
  return { step, inputs: fed, phase, batchSize: n, window: programs.window, begin: () => compiled.progress.begin(0) };
}

function describe(model: AnyModel, { step, phase, batchSize, window }: Prepared): StepDescription {
  const { program, device, executable } = step;
  const buffers = program.buffers.map(({ dtype, size, place }) => ({
    text: `${place.kind === 'external' ? step.slotNames[place.slot] : place.kind === 'arena' ? `@${place.offset}` : 'constant'} ${dtype}[${size}]`,
    bytes: size * dtypes[dtype].bytes,
  }));
  return {
    model: model.name,
    phase,
    batchSize,
    device: device.name,
    threads: device.target.threads,
    gradientAccumulationSteps: window,
    arenaBytes: program.arenaBytes,
    traceSeconds: step.traceSeconds,
    compileSeconds: step.compileSeconds,
    cachedKernels: executable.cachedKernels,
    kernels: program.calls.map(({ kernel, buffers: used }) => {
      const params = kernel.buffers.map(({ access }, i) => ({ access, ...buffers[used[i]] }));
      const once = sum(params.map((p) => (p.access === 'readwrite' ? 2 : 1) * p.bytes));
      return {
        label: kernel.label,
        items: kernel.grid.extent,
        flops: kernel.flops,
        // The compiler's figure is smaller where only a part of a buffer is read.
        bytes: Math.min(once, kernel.bytes),
        reads: params.filter((p) => p.access !== 'write').map((p) => p.text),
        writes: params.filter((p) => p.access !== 'read').map((p) => p.text),
      };
    }),
  };
}

/** The rates of a product and of a copy on the current device: the best of a few runs. Rejects with DeviceError without a profile. */
export async function measureLimits(): Promise<MachineLimits> {
  const n = 1024;
  const product = await compileStep(
    ([a, b]) => ({ outputs: [matmul(a, b)] }),
    [
      { shape: [n, n], dtype: 'f32' },
      { shape: [n, n], dtype: 'f32' },
    ],
    { name: 'product' },
  );
  // 64 MiB from one place to another: more than a core's share of any cache.
  const elements = Math.min(2 ** 24, Math.floor(currentDevice().target.maxBuffer / 4));
  const copy = await compileStep(([x]) => ({ outputs: [x] }), [{ shape: [elements], dtype: 'f32' }], { name: 'copy' });
  const matrix = new Float32Array(n * n).fill(0.5);
  const source = new Float32Array(elements).fill(1);
  let [productMs, copyMs] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  // By turns, so that a moment of other work on the machine does not spoil all runs of one of them.
  for (let i = 0; i < limitRuns; i++) {
    productMs = Math.min(productMs, sum(await product.profile([matrix, matrix])));
    copyMs = Math.min(copyMs, sum(await copy.profile([source])));
  }
  return { flopsPerSecond: (2000 * n ** 3) / productMs, bytesPerSecond: (8000 * elements) / copyMs };
}
const limitRuns = 16;

const sum = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0);
function median(list: readonly number[]): number {
  const sorted = [...list].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
