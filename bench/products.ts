/**
 * @file Single products as contenders in processes of their own: Tenon's are in product.ts, OpenBLAS and the machine's limits in
 * peers/products.c, PyTorch's convolutions in peers/pytorch_conv.py.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Contender } from './measure.js';
import { benchProgram, peerProgram } from './paths.js';
import { type Answering, asNumber, PeerProcess } from './peers.js';
import { sampleCount } from './product.js';

/** Tenon in a process of its own: only a new process can have another number of threads, or other switches. */
export const startTenon = (threads: number, env: Readonly<Record<string, string>> = {}): PeerProcess =>
  new PeerProcess('Tenon', process.execPath, [benchProgram, 'child', 'products'], { TENON_NUM_THREADS: String(threads), ...env });

/** The process of peers/products.c, compiled for this machine. CC names another compiler, BENCH_OPENBLAS another library. */
export class NativePeer extends PeerProcess {
  readonly #folder: string;
  constructor(threads: number) {
    const folder = mkdtempSync(join(tmpdir(), 'tenon-bench-'));
    const program = join(folder, 'products');
    const flags = ['-O3', '-march=native', '-pthread'];
    execFileSync(process.env.CC ?? 'cc', [...flags, '-o', program, peerProgram('products.c'), '-ldl'], { stdio: 'inherit' });
    super('OpenBLAS', program, [process.env.BENCH_OPENBLAS ?? 'libopenblas.so.0'], { OPENBLAS_NUM_THREADS: String(threads) });
    this.#folder = folder;
  }
  /** GFLOP/s of multiply-adds in registers. */
  async peak(threads: number): Promise<number> {
    return asNumber((await this.request({ do: 'peak', threads })).gflops, this.name);
  }
  /** GB/s of a triad over so many bytes. */
  async stream(bytes: number, threads: number): Promise<number> {
    return asNumber((await this.request({ do: 'stream', bytes, threads })).gbytes, this.name);
  }
  override close(): void {
    super.close();
    rmSync(this.#folder, { recursive: true });
  }
}

/** A prepared product of a process as a contender; a step is one product. */
export const productContender = (
  peer: Answering,
  { name, configuration, isPeer, id }: { name: string; configuration: string; isPeer: boolean; id?: string },
): Contender => ({
  name,
  configuration,
  isPeer,
  run: async (steps) => 1000 * asNumber((await peer.request({ do: 'run', ...(id === undefined ? {} : { id }), steps })).seconds, peer.name),
});

/** The numbers in an answer's `samples`. */
export function samplesOf(reply: Readonly<Record<string, unknown>>, who: string): number[] {
  if (!Array.isArray(reply.samples) || reply.samples.length !== sampleCount)
    throw new Error(`${who}: expected ${sampleCount} samples, received ${JSON.stringify(reply.samples)}.`);
  return reply.samples.map((x) => asNumber(x, who));
}

/** Throws Error when results differ by more than rounding; `terms` are added in each. Gives the largest difference. */
export function requireClose(who: string, found: readonly number[], expected: readonly number[], terms: number): number {
  const worst = Math.max(...found.map((x, i) => Math.abs(x - expected[i])));
  const limit = 1e-5 * Math.sqrt(terms);
  if (!(worst <= limit))
    throw new Error(`${who}: results differ by ${worst} (${found.join(', ')}). Expected ${expected.join(', ')} within ${limit}.`);
  return worst;
}

export const geometricMean = (values: readonly number[]): number =>
  Math.exp(values.reduce((sum, x) => sum + Math.log(x), 0) / Math.max(1, values.length));
