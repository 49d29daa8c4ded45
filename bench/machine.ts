/** @file Where the figures come from: machine, commit, and the rate of the best product of matrices that anybody reaches on it. */
import { execFileSync } from 'node:child_process';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { compileStep, getDevice, variable, zeros } from 'tenon';
import { measureProductRate } from '#tenon/cli/product-rate.js';
import { root } from './paths.js';
import type { PeerProcess } from './peers.js';

/** Product used to measure the rate: large enough to be compute-bound, small enough for the caches of a small machine. */
const size = 1024;

export interface Machine {
  readonly date: string;
  readonly commit: string;
  readonly cpu: string;
  readonly threads: number;
  readonly memoryGiB: number;
  readonly node: string;
  readonly device: string;
}

function git(...args: string[]): string | null {
  try {
    return execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return null;
  }
}

export function describeMachine(): Machine {
  const { name, target } = getDevice();
  const changed = git('status', '--porcelain', '--untracked-files=no', '--', 'src', 'bench');
  return {
    date: new Date().toISOString().slice(0, 10),
    commit: `${git('rev-parse', '--short', 'HEAD') ?? 'unknown'}${changed ? ' (and changes)' : ''}`,
    cpu: cpus()[0]?.model ?? process.arch,
    threads: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    device: `${name}, ${target.threads} threads, ${32 * target.lanes}-bit vectors`,
  };
}

export const machineLine = (m: Machine): string =>
  `${m.date} · commit ${m.commit} · ${m.cpu}, ${m.threads} threads, ${m.memoryGiB} GiB · Node ${m.node} · ${m.device}`;

/** GFLOP/s of the best product that Tenon or a peer reaches here, and whose it is. */
export async function productRate(peer: PeerProcess | null): Promise<{ gflops: number; by: string }> {
  const { gflops: own } = await measureProductRate(size, 600);
  const other = peer ? await peer.productRate(size, availableParallelism()) : 0;
  return own >= other ? { gflops: own, by: 'Tenon' } : { gflops: other, by: peer?.name ?? '' };
}

/** Bytes a second at which 512 MB, far more than the caches hold, are read on all threads: the best of some runs. */
export async function readRate(): Promise<number> {
  const [rows, columns] = [8192, 16384];
  const x = variable(zeros([rows, columns]));
  const step = await compileStep(() => ({ outputs: [x.read().max()] }), [], { name: 'memory read rate' });
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 8; i++) {
    const began = performance.now();
    await step.run();
    best = Math.min(best, performance.now() - began);
  }
  x.release();
  return (4 * rows * columns) / (best / 1000);
}
