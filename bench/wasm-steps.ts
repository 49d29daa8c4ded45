/**
 * @file wasm-cnn, wasm-gpt: training steps on the device wasm, on all threads, on one and without relaxed SIMD, beside jax-js; for the
 * CNN also how long its first kernel takes to come, and how soon a step is as quick as it gets. TENON_DEVICE puts another device in
 * wasm's place.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { getDevice, listDevices } from 'tenon';
import { type ChildResult, numberOf, runChild } from './child.js';
import { waitRows } from './compile.js';
import { findLibraries, type PeerSetting, stepContenders } from './javascript.js';
import { type Contender, median, type Result, race, summarize, withRates } from './measure.js';
import { buildWorkload, defaultBatch, stepper, type WorkloadName } from './models.js';
import { benchProgram } from './paths.js';
import { asNumber, PeerProcess } from './peers.js';
import { plainSimd, wasmDevice } from './wasm.js';

export interface WasmStepOptions {
  readonly rounds: number;
  readonly batch?: number;
  readonly peers: boolean;
  readonly javascript?: string;
  readonly say: (line: string) => void;
}
export type WasmStep = 'cnn' | 'gpt';

/** Steps from one set of weights whose losses are compared. */
const checkedSteps = 5;

/** In the child: answers { do: 'hello' | 'losses' | 'run', steps } for a workload on this process's device. */
export async function stepServer(name: string, batch: number): Promise<(request: Readonly<Record<string, unknown>>) => Promise<object>> {
  const workload = await buildWorkload(name as WorkloadName, batch);
  const run = stepper(workload);
  return async (request) => {
    const steps = Number(request.steps);
    if (request.do === 'hello') {
      const { step, flops } = workload;
      return { device: getDevice().name, threads: getDevice().target.threads, kernels: step.program.calls.length, flops };
    }
    if (request.do === 'losses') {
      const losses: number[] = [];
      for (let i = 0; i < steps; i++) losses.push((await workload.step.run(workload.batches[0]))[0][0]);
      return { losses };
    }
    if (request.do === 'run') {
      const start = performance.now();
      await run(steps);
      return { seconds: (performance.now() - start) / 1000 };
    }
    throw new Error(`unknown request ${JSON.stringify(request)}`);
  };
}

/** In the child: single steps of a fresh process, in ms: the first, the median of 18 to 22, and of 100 to 200. */
export async function steadyChild(name: string, batch: number): Promise<Record<string, number>> {
  const { step, batches } = await buildWorkload(name as WorkloadName, batch);
  const times: number[] = [];
  for (let i = 0; i < 200; i++) {
    const start = performance.now();
    await step.run(batches[i % batches.length]);
    times.push(performance.now() - start);
  }
  return { first: times[0], early: median(times.slice(17, 22)), steady: median(times.slice(99)) };
}

const startSteps = (name: WasmStep, batch: number, env: Readonly<Record<string, string>>): PeerProcess =>
  new PeerProcess('Tenon', process.execPath, [benchProgram, 'child', 'steps', name, String(batch)], env);

/** The losses of the first steps, from the weights that every process draws from the same seed. */
async function lossesOf(peer: PeerProcess): Promise<number[]> {
  const { losses } = await peer.request({ do: 'losses', steps: checkedSteps });
  if (!Array.isArray(losses) || losses.length !== checkedSteps) throw new Error(`${peer.name}: expected losses.`);
  return losses.map((x) => asNumber(x, peer.name));
}

/** The native device's losses, where it is usable and isn't what is measured. */
async function nativeLosses(name: WasmStep, batch: number): Promise<number[] | null> {
  if (wasmDevice() === 'native' || !listDevices().some((d) => d.name === 'native' && d.usable)) return null;
  const peer = startSteps(name, batch, { TENON_DEVICE: 'native' });
  try {
    return await lossesOf(peer);
  } finally {
    peer.close();
  }
}

/** Times the training step of a workload. First all of Tenon's processes, and the native device, are seen to compute the same losses. */
export async function benchWasmStep(name: WasmStep, options: WasmStepOptions): Promise<Result> {
  const { rounds, say } = options;
  const batch = options.batch ?? defaultBatch[name];
  const all = availableParallelism();
  const settings = [
    ...(all > 1 ? [{ threads: all, env: {}, what: '' }] : []),
    { threads: 1, env: {}, what: '' },
    { threads: 1, env: plainSimd, what: ', plain SIMD' },
  ];
  const own = settings.map(({ threads, env, what }) => {
    const peer = startSteps(name, batch, { TENON_DEVICE: wasmDevice(), TENON_NUM_THREADS: String(threads), ...env });
    const contender: Contender = {
      name: 'Tenon',
      configuration: `${wasmDevice()}, ${threads} ${threads === 1 ? 'thread' : 'threads'}${what}`,
      isPeer: false,
      run: async (steps) => 1000 * asNumber((await peer.request({ do: 'run', steps })).seconds, peer.name),
    };
    return { peer, contender };
  });
  try {
    let expected = await nativeLosses(name, batch);
    let worst = 0;
    for (const { peer, contender } of own) {
      const losses = await lossesOf(peer);
      expected ??= losses;
      const difference = Math.max(...losses.map((x, i) => Math.abs(x - (expected?.[i] ?? Number.NaN))));
      if (!(difference < 5e-4))
        throw new Error(
          `${name}: losses of ${contender.configuration} (${losses.join(', ')}) differ by ${difference}. Expected ${expected.join(', ')} within 0.0005.`,
        );
      worst = Math.max(worst, difference);
    }
    const { kernels, flops } = await own[0].peer.request({ do: 'hello' });
    say(`${name}: ${String(kernels)} kernels; losses differ by ${worst.toExponential(1)} at most`);
    const found = findLibraries(options);
    const peers = found?.found.includes('jax-js')
      ? await stepContenders(found.folder, [{ library: 'jax-js', task: name, batch } satisfies PeerSetting], say)
      : [];
    const contenders = [...own.map((o) => o.contender), ...peers];
    const title = `${name}, training step in WebAssembly, batch ${batch}`;
    const result = await race(title, contenders, { rounds, isOwnPace: true, progress: say });
    const notes = { ...result.notes, gflopPerStep: asNumber(flops, 'Tenon') / 1e9, lossDifference: worst };
    return { ...withRates(result, asNumber(flops, 'Tenon')), notes };
  } finally {
    for (const { peer } of own) peer.close();
  }
}

/** Fresh processes: from fit's call to its first kernel, and the twentieth step beside later ones. */
export async function benchWasmStart({ rounds, batch = defaultBatch.cnn, say }: WasmStepOptions): Promise<Result[]> {
  const [waits, steady]: ChildResult[][] = [[], []];
  for (let i = 0; i < rounds; i++) {
    // Nothing that an earlier round left behind.
    const cache = await mkdtemp(join(tmpdir(), 'tenon-bench-cache-'));
    const env = { TENON_DEVICE: wasmDevice(), TENON_CACHE_DIR: cache };
    try {
      waits.push(await runChild('compile', [], env));
      steady.push(await runChild('steady', ['cnn', String(batch)], env));
    } finally {
      await rm(cache, { recursive: true, force: true });
    }
    const [early, later] = [numberOf(steady[i], 'early'), numberOf(steady[i], 'steady')];
    say(
      `round ${i + 1}/${rounds}: first kernel after ${numberOf(waits[i], 'firstKernel').toFixed(2)} s, steps 18 to 22 ${early.toFixed(2)} ms, later ${later.toFixed(2)} ms`,
    );
  }
  const row = (key: string, name: string) =>
    summarize(
      { name, configuration: `${wasmDevice()}, a fresh process each round` },
      steady.map((r) => numberOf(r, key)),
      'ms',
    );
  return [
    { name: `from fit to its first kernel on ${wasmDevice()}, CNN, batch 32`, rounds, contenders: waitRows(waits), ratio: null },
    {
      name: `how soon a step is as quick as ever on ${wasmDevice()}, CNN, batch ${batch}`,
      rounds,
      contenders: [row('first', 'step 1'), row('early', 'steps 18 to 22'), row('steady', 'steps 100 to 200')],
      ratio: null,
      notes: { step20OverSteady: median(steady.map((r) => numberOf(r, 'early') / numberOf(r, 'steady'))) },
    },
  ];
}
