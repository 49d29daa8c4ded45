/** @file compile: how long people wait from the call of fit to its first kernel, with an empty and with a warm cache. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getDevice } from 'tenon';
import { type ChildResult, numberOf, runChild } from './child.js';
import { randomPictures } from './fit.js';
import { type Measured, type Result, summarize } from './measure.js';
import { tutorialCnn } from './models.js';

export interface CompileBenchOptions {
  readonly rounds: number;
  readonly say: (line: string) => void;
}

/** Alternates processes that find an empty cache with processes that find the one left by them. */
export async function benchCompile({ rounds, say }: CompileBenchOptions): Promise<Result[]> {
  const results: Record<'empty' | 'warm', ChildResult[]> = { empty: [], warm: [] };
  for (let i = 0; i < rounds; i++) {
    const cache = await mkdtemp(join(tmpdir(), 'tenon-bench-cache-'));
    try {
      for (const state of ['empty', 'warm'] as const) {
        const result = await runChild('compile', [], { TENON_CACHE_DIR: cache });
        results[state].push(result);
        say(`round ${i + 1}/${rounds}: ${state} cache: first kernel of the step after ${numberOf(result, 'firstKernel').toFixed(2)} s`);
      }
    } finally {
      await rm(cache, { recursive: true });
    }
  }
  return (['empty', 'warm'] as const).map(
    (state): Result => ({
      name: `from fit to its first kernel, CNN, batch 32, ${state} cache`,
      rounds,
      contenders: waitRows(results[state]),
      ratio: null,
      notes: { limitSeconds: state === 'empty' ? 4 : 0.4 },
    }),
  );
}

/** Seconds from the call of fit, of processes that ran `compileChild`. */
export function waitRows(children: readonly ChildResult[]): Measured[] {
  const row = (key: string, name: string, configuration: string): Measured =>
    summarize(
      { name, configuration },
      children.map((r) => numberOf(r, key)),
      's',
    );
  return [
    row('firstKernel', 'first kernel of the step', 'whole wait, from the call of fit'),
    row('anyKernel', 'first kernel of any kind', 'of a weight, a counter or the step'),
    row('firstEpoch', 'two steps', 'fit as a whole, stepsPerEpoch 2'),
    row('compileSeconds', 'trace and compile', "as fit's history says"),
  ];
}

/** In the child: one short fit, watched at the device. */
export async function compileChild(): Promise<Record<string, number>> {
  const { x, y } = randomPictures(640);
  const model = tutorialCnn({ softmax: true });
  model.compile({ optimizer: 'adam', loss: 'sparseCategoricalCrossentropy', metrics: ['accuracy'] });
  const start = performance.now();
  // The device is made by whoever needs it first: here, inside of what is timed, as in a program that calls fit.
  const device = getDevice();
  const launches: { at: number; kernels: number }[] = [];
  const run = device.run.bind(device);
  device.run = (executable, ...rest) => {
    launches.push({ at: performance.now(), kernels: executable.program.calls.length });
    return run(executable, ...rest);
  };
  const runSync = device.runSync?.bind(device);
  if (runSync)
    device.runSync = (executable, externals) => {
      launches.push({ at: performance.now(), kernels: executable.program.calls.length });
      runSync(executable, externals);
    };
  const history = await model.fit(x, y, { batchSize: 32, epochs: 1, stepsPerEpoch: 2, verbose: 0, seed: 1 });
  const end = performance.now();
  // The training step is the Program with the most kernels; what runs before it prepares weights and counters.
  const most = Math.max(...launches.map((l) => l.kernels));
  const step = launches.find((l) => l.kernels === most);
  const seconds = (at: number): number => (at - start) / 1000;
  return {
    firstKernel: seconds(step?.at ?? Number.NaN),
    anyKernel: seconds(launches[0]?.at ?? Number.NaN),
    firstEpoch: seconds(end),
    compileSeconds: history.compileSeconds,
    kernels: most,
  };
}
