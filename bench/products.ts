/**
 * @file Single products as contenders in processes of their own. Tenon's Program of a product is repeated inside one Program,
 * so that the native runtime runs product after product and no call from JavaScript is timed; OpenBLAS and the machine's
 * limits are in peers/products.c, PyTorch's convolutions in peers/pytorch_conv.py.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { conv, depthwiseConv, getDevice, matmul, type Tensor, transpose, vjp } from 'tenon';
import { compileGraph } from '#tenon/compile/compile.js';
import type { DeviceBuffer, Executable } from '#tenon/device/device.js';
import type { Program } from '#tenon/kernel/program.js';
import { autotune, wantsAutotune } from '#tenon/tensor/autotune.js';
import { trace } from '#tenon/tensor/trace.js';
import type { Contender } from './measure.js';
import { benchProgram, peerProgram } from './paths.js';
import { asNumber, PeerProcess } from './peers.js';

/** c = op(a)·op(b): a is stored [k, m] and not [m, k] when `ta`, b [n, k] when `tb`. */
export interface MatmulProduct {
  readonly kind: 'matmul';
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly ta: boolean;
  readonly tb: boolean;
}
/** One of the three products of a square convolution without padding. */
export interface ConvProduct {
  readonly kind: 'conv';
  readonly of: 'forward' | 'input' | 'filter';
  readonly batch: number;
  readonly extent: number;
  readonly kernel: number;
  readonly channels: number;
  readonly filters: number;
  readonly stride: number;
  readonly dilation: number;
  readonly isDepthwise: boolean;
}
export type Product = MatmulProduct | ConvProduct;

const sampleCount = 16;
/** Positions of the results that are compared. */
export const samplePositions = (size: number): number[] =>
  Array.from({ length: sampleCount }, (_, i) => Math.floor(((size - 1) * i) / (sampleCount - 1)));

/** Element `i` of operand `seed` (1, 2, 3): the same in every process, exact in f32, from -0.5 to 0.5. */
export const operand = (seed: number, i: number): number => ((Math.imul(i + seed * 7919, 2654435761) >>> 8) & 0xffff) / 65536 - 0.5;

export const convExtent = (p: ConvProduct): number => Math.floor((p.extent - (p.kernel - 1) * p.dilation - 1) / p.stride) + 1;

const area = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Shapes of the operands (1, 2, 3 …), and the product as a function of them. */
function definition(p: Product): { shapes: number[][]; result: (operands: Tensor[]) => Tensor } {
  if (p.kind === 'matmul') {
    const shapes = [p.ta ? [p.k, p.m] : [p.m, p.k], p.tb ? [p.n, p.k] : [p.k, p.n]];
    return { shapes, result: ([a, b]) => matmul(p.ta ? transpose(a) : a, p.tb ? transpose(b) : b) };
  }
  const out = convExtent(p);
  const options = { strides: p.stride, dilationRate: p.dilation };
  const forward = (x: Tensor, w: Tensor): Tensor => (p.isDepthwise ? depthwiseConv : conv)(x, w, options);
  const shapes = [
    [p.batch, p.extent, p.extent, p.channels],
    [p.kernel, p.kernel, p.channels, p.isDepthwise ? 1 : p.filters],
    [p.batch, out, out, p.filters],
  ];
  return {
    shapes,
    result: ([x, w, dy]) => (p.of === 'forward' ? forward(x, w) : vjp(forward, x, w)[1](dy)[p.of === 'input' ? 0 : 1]),
  };
}

/** A product made ready on the current device. */
interface Ready {
  readonly program: Program;
  readonly externals: readonly DeviceBuffer[];
  readonly result: DeviceBuffer;
  /** By how many repetitions. */
  readonly executables: Map<number, Executable>;
}

/** Consecutive calls write the same result, so the schedule lets none begin before the one before has ended. */
const repeated = (program: Program, times: number): Program => ({
  ...program,
  calls: Array.from({ length: times }, () => program.calls).flat(),
});

async function prepare(p: Product): Promise<Ready> {
  const device = getDevice();
  const { shapes, result } = definition(p);
  const graph = trace(
    (operands) => [result(operands)],
    shapes.map((shape) => ({ shape, dtype: 'f32' as const })),
  );
  const target = wantsAutotune() ? await autotune('product', graph, device) : device.target;
  const { program, slots } = compileGraph(graph, target);
  const out = device.allocate('f32', area(graph.outputs[0].shape));
  const externals = slots.map((slot) => {
    if (slot.kind === 'output') return out;
    if (slot.kind !== 'input') throw new Error(`bench: a product that reads a ${slot.kind}. Expected its operands only.`);
    const size = area(shapes[slot.index]);
    return device.allocate(
      'f32',
      size,
      Float32Array.from({ length: size }, (_, i) => operand(slot.index + 1, i)),
    );
  });
  return { program, externals, result: out, executables: new Map() };
}

async function run(r: Ready, times: number): Promise<number> {
  const device = getDevice();
  let executable = r.executables.get(times);
  if (!executable) {
    executable = await device.compile(repeated(r.program, times));
    r.executables.set(times, executable);
  }
  const start = performance.now();
  await device.run(executable, r.externals);
  return (performance.now() - start) / 1000;
}

/** Tenon's side of `startTenon`: answers JSON lines until the input ends. */
export async function serveProducts(): Promise<void> {
  let ready: Ready | null = null;
  const answer = async (request: { do: string; product?: Product; steps?: number }): Promise<object> => {
    if (request.do === 'prepare' && request.product) {
      ready = await prepare(request.product);
      await run(ready, 1);
      const values = await getDevice().read(ready.result);
      return {
        samples: samplePositions(values.length).map((i) => values[i]),
        kernels: ready.program.calls.map(({ kernel }) => `${kernel.label} × ${kernel.grid.extent}`),
      };
    }
    if (request.do === 'run' && ready && request.steps) return { seconds: await run(ready, request.steps) };
    if (request.do === 'drop') {
      ready = null;
      return {};
    }
    throw new Error(`unknown request ${JSON.stringify(request)}`);
  };
  for await (const line of createInterface({ input: process.stdin })) {
    let reply: object;
    try {
      reply = await answer(JSON.parse(line));
    } catch (error) {
      reply = { error: error instanceof Error ? error.message : String(error) };
    }
    process.stdout.write(`${JSON.stringify(reply)}\n`);
  }
}

/** Tenon in a process of its own: only a new process can have another number of threads. */
export const startTenon = (threads: number): PeerProcess =>
  new PeerProcess('Tenon', process.execPath, [benchProgram, 'child', 'products'], { TENON_NUM_THREADS: String(threads) });

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
  peer: PeerProcess,
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
