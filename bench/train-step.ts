/** @file cnn, gpt, mlp, resnet20, textcnn: how long a training step takes, beside PyTorch's; first both are seen to compute the same. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isTensor } from 'tenon';
import { wantsAutotune } from '#tenon/tensor/step.js';
import { javascriptRows } from './javascript.js';
import { productRate } from './machine.js';
import { type Contender, type Result, race, withRates } from './measure.js';
import { buildWorkload, stepper, type Workload, type WorkloadName } from './models.js';
import { findPython, type PeerProcess, pytorchContenders, startPytorch } from './peers.js';

export interface StepOptions {
  readonly rounds: number;
  readonly batch?: number;
  readonly peers: boolean;
  /** Folder with JavaScript peers (the CNN's step only). */
  readonly javascript?: string;
  readonly say: (line: string) => void;
}

/** Times the training step of a workload. */
export async function benchStep(name: WorkloadName, options: StepOptions): Promise<Result> {
  const { say } = options;
  const python = options.peers ? findPython() : null;
  if (options.peers && !python) say('no Python with torch here: no peer (BENCH_PYTHON names one)');
  const workload = await buildWorkload(name, options.batch);
  const { step } = workload;
  say(
    `${name}: ${step.program.calls.length} kernels, ${(step.program.arenaBytes / 1e6).toFixed(1)} MB of temporaries, traced in ${step.traceSeconds.toFixed(2)} s, compiled in ${step.compileSeconds.toFixed(2)} s`,
  );
  const judge = python ? startPytorch(python) : null;
  try {
    let agreement: number | null = null;
    if (judge) {
      agreement = await requireSameLosses(workload, judge);
      say(`same losses as PyTorch from the same weights: they differ by ${agreement.toExponential(1)} at most`);
    }
    // Before and after the rounds: a neighbour's work lowers a rate, nothing raises it.
    const before = await productRate(judge);
    const contenders = [own(workload), ...(python ? await pytorchContenders(python, name, workload.batch, say) : [])];
    const title = `${name}, training step, batch ${workload.batch}`;
    const result = await race(title, contenders, { rounds: options.rounds, progress: say });
    const slow = options.javascript === undefined ? [] : await javascriptRows(options.javascript, workload.batch, say);
    const after = await productRate(judge);
    const best = before.gflops > after.gflops ? before : after;
    const notes = {
      ...result.notes,
      gflopPerStep: workload.flops / 1e9,
      productRate: best.gflops,
      productRateBy: best.by,
      lossDifference: agreement,
    };
    const rows = [...result.contenders, ...slow];
    return { ...withRates({ ...result, contenders: rows }, workload.flops, best.gflops), notes };
  } finally {
    judge?.close();
  }
}

function own(workload: Workload): Contender {
  const run = stepper(workload);
  const { name, target } = workload.step.device;
  return {
    name: 'Tenon',
    configuration: `${name}, ${target.threads} ${target.threads === 1 ? 'thread' : 'threads'}${wantsAutotune() ? ', autotuned' : ''}`,
    isPeer: false,
    run: async (steps) => {
      const start = performance.now();
      await run(steps);
      return performance.now() - start;
    },
  };
}

/**
 * Five steps on one batch from the same weights, here and there. Resolves to the largest difference of the losses.
 * Throws Error when the programs don't compute the same.
 */
async function requireSameLosses(workload: Workload, peer: PeerProcess): Promise<number> {
  const steps = 5;
  const { name, batch, weights } = workload;
  const [x, y] = workload.batches[0];
  if (isTensor(x) || isTensor(y)) throw new Error(`${name}: expected batches of typed arrays.`);
  const folder = await mkdtemp(join(tmpdir(), 'tenon-bench-'));
  try {
    const file = join(folder, 'weights.bin');
    await writeFile(file, Buffer.concat(await Promise.all(weights.map(async (w) => bytesOf(await w.data())))));
    await peer.request({ do: 'prepare', id: 'check', workload: name, batch, threads: 1 });
    const reply = await peer.request({
      do: 'losses',
      id: 'check',
      steps,
      weights: file,
      shapes: weights.map((w) => w.shape),
      x: bytesOf(x).toString('base64'),
      y: bytesOf(y).toString('base64'),
    });
    await peer.request({ do: 'drop', id: 'check' });
    const theirs = reply.losses;
    if (!Array.isArray(theirs)) throw new Error(`${peer.name}: expected losses.`);
    let worst = 0;
    for (let i = 0; i < steps; i++) {
      const [loss] = await workload.step.run([x, y]);
      worst = Math.max(worst, Math.abs(loss[0] - Number(theirs[i])));
    }
    if (!(worst < 5e-4))
      throw new Error(
        `${name}: losses of the first ${steps} steps differ by ${worst} from PyTorch's (${theirs.join(', ')}). Expected the same mathematics: at most 0.0005.`,
      );
    return worst;
  } finally {
    await rm(folder, { recursive: true });
  }
}

const bytesOf = (a: ArrayBufferView): Buffer => Buffer.from(a.buffer, a.byteOffset, a.byteLength);
