/** @file memory: the peak of a CIFAR-10 run, of a million eager operations, and what the resident set gains over many steps. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ones, tensor } from 'tenon';
import { numberOf, runChild, runProgram } from './child.js';
import { randomPictures } from './fit.js';
import type { Measured, Result } from './measure.js';
import { buildWorkload, stepper, tutorialCnn } from './models.js';
import { cliProgram } from './paths.js';

export interface MemoryOptions {
  /** Folder with CIFAR-10; without it that part is left out. */
  readonly dataDir?: string;
  readonly epochs: number;
  /** Steps after the first 1,000. */
  readonly steps: number;
  readonly operations: number;
  readonly say: (line: string) => void;
}

const single = (name: string, configuration: string, value: number, unit: string): Measured => ({
  name,
  configuration,
  median: value,
  min: value,
  max: value,
  unit,
});
const result = (name: string, contenders: Measured[], notes: Record<string, number>): Result => ({
  name,
  rounds: 1,
  contenders,
  ratio: null,
  notes,
});
const megabytes = (bytes: number): number => bytes / 1e6;

export async function benchMemory(options: MemoryOptions): Promise<Result[]> {
  const { say, dataDir } = options;
  const results: Result[] = [];
  if (dataDir === undefined) say('no --data-dir: the CIFAR-10 run is left out');
  else results.push(await cifar10Peak(dataDir, options.epochs));
  const eager: Measured[] = [];
  for (const pattern of Object.keys(eagerPatterns)) {
    const child = await runChild('eager', [pattern, String(options.operations)]);
    say(`eager, ${pattern}: ${megabytes(child.peakBytes).toFixed(0)} MB, ${numberOf(child, 'seconds').toFixed(1)} s`);
    eager.push(single(pattern, eagerPatterns[pattern].what, megabytes(Math.max(child.peakBytes, numberOf(child, 'peakBytes'))), 'MB'));
  }
  results.push(result(`resident set at its peak, ${options.operations} eager operations`, eager, { limitMB: 300 }));
  const growth: Measured[] = [];
  for (const kind of ['fit', 'step'] as const) {
    const child = await runChild('growth', [kind, String(options.steps)]);
    const value = numberOf(child, 'bytesPerStep');
    say(`growth, ${kind}: ${value.toFixed(0)} bytes a step`);
    growth.push(
      single(
        kind,
        `line through ${numberOf(child, 'samples')} samples, ends differ by ${megabytes(numberOf(child, 'gained')).toFixed(1)} MB`,
        value,
        'bytes a step',
      ),
    );
  }
  results.push(
    result(`growth of the resident set over ${options.steps} steps after the first 1000, CNN, batch 8`, growth, {
      limitBytesPerStep: 1024,
    }),
  );
  return results;
}

async function cifar10Peak(dataDir: string, epochs: number): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), 'tenon-bench-run-'));
  try {
    const args = [
      'train',
      '--dataset',
      'cifar10',
      '--data-dir',
      dataDir,
      '--epochs',
      String(epochs),
      '--seed',
      '1',
      '--out',
      join(folder, 'run'),
    ];
    const { peakBytes } = await runProgram(cliProgram, args);
    return result(
      'resident set at its peak, tenon train --dataset cifar10',
      [single('tenon train', `${epochs} ${epochs === 1 ? 'epoch' : 'epochs'}`, megabytes(peakBytes), 'MB')],
      { limitMB: 700 },
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Ways in which people compute eagerly: none disposes of anything, some never let the event loop turn. */
const eagerPatterns: Readonly<Record<string, { what: string; run(operations: number): Promise<void> }>> = {
  chain: {
    what: 'one value through all operations, no turn of the event loop, read every 1000',
    async run(operations) {
      let x = ones([8, 8]);
      for (let i = 0; i < operations; i += 2) {
        x = x.mul(0.999).add(0.001);
        if (i % 1000 === 0) x.dataSync();
      }
      x.dataSync();
    },
  },
  separate: {
    what: 'new tensors, each read at once, no turn of the event loop',
    async run(operations) {
      for (let i = 0; i < operations; i += 2) tensor([i, 1, 2, 3]).mul(2).sum().dataSync();
    },
  },
  awaited: {
    what: 'new tensors, each awaited',
    async run(operations) {
      for (let i = 0; i < operations; i += 2) await tensor([i, 1, 2, 3]).mul(2).sum().data();
    },
  },
  unread: {
    what: 'new tensors that nobody reads',
    async run(operations) {
      for (let i = 0; i < operations; i += 2) tensor([i, 1, 2, 3]).mul(2).sum();
    },
  },
};

/** In the child. */
export async function eagerChild(pattern: string, operations: number): Promise<Record<string, number>> {
  const start = performance.now();
  const chosen = eagerPatterns[pattern];
  if (!chosen) throw new Error(`bench: unknown pattern. Expected one of ${Object.keys(eagerPatterns).join(', ')}, received ${pattern}.`);
  await chosen.run(operations);
  return { peakBytes: process.resourceUsage().maxRSS * 1024, seconds: (performance.now() - start) / 1000 };
}

/** In the child: the slope of a line through the resident set, so that one late collection doesn't decide. */
export async function growthChild(kind: string, steps: number): Promise<Record<string, number>> {
  const points: { step: number; bytes: number }[] = [];
  const sample = (step: number): void => {
    if (step >= 1000) points.push({ step, bytes: process.memoryUsage.rss() });
  };
  const every = 100;
  if (kind === 'fit') {
    const { x, y } = randomPictures(every * 8);
    const model = tutorialCnn({ softmax: true });
    model.compile({ optimizer: 'adam', loss: 'sparseCategoricalCrossentropy', metrics: ['accuracy'] });
    const onEpochEnd = (epoch: number): void => sample((epoch + 1) * every);
    await model.fit(x, y, { batchSize: 8, epochs: (1000 + steps) / every, verbose: 0, seed: 1, callbacks: [{ onEpochEnd }] });
  } else {
    const run = stepper(await buildWorkload('cnn', 8));
    for (let done = 0; done < 1000 + steps; ) {
      await run(every);
      done += every;
      sample(done);
    }
  }
  return { bytesPerStep: slope(points), gained: points[points.length - 1].bytes - points[0].bytes, samples: points.length };
}

/** Bytes a step of the least-squares line. */
function slope(points: readonly { step: number; bytes: number }[]): number {
  const mean = (of: (p: { step: number; bytes: number }) => number): number => points.reduce((s, p) => s + of(p), 0) / points.length;
  const [step, bytes] = [mean((p) => p.step), mean((p) => p.bytes)];
  const up = points.reduce((s, p) => s + (p.step - step) * (p.bytes - bytes), 0);
  return up / points.reduce((s, p) => s + (p.step - step) ** 2, 0);
}
