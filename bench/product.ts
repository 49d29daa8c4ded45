/**
 * @file A single product, prepared and repeated on the current device. Tenon's Program of it is repeated inside one Program, so that
 * the runtime runs product after product and no call from JavaScript is timed. Nothing here needs Node: a page runs it too.
 */
import { conv, depthwiseConv, getDevice, matmul, type Tensor, transpose, vjp } from 'tenon';
import { compileGraph } from '#tenon/compile/compile.js';
import type { DeviceBuffer, Executable } from '#tenon/device/device.js';
import type { Program } from '#tenon/kernel/program.js';
import { tunedTarget, wantsAutotune } from '#tenon/tensor/step.js';
import { trace } from '#tenon/tensor/trace.js';

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

export const sampleCount = 16;
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

/** Element `at` of the product in double precision. */
export function exactElement({ m, k, n, ta, tb }: MatmulProduct, at: number): number {
  const [row, column] = [Math.floor(at / n), at % n];
  let sum = 0;
  for (let i = 0; i < k; i++) sum += operand(1, ta ? i * m + row : row * k + i) * operand(2, tb ? column * k + i : i * n + column);
  return sum;
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
  const target = wantsAutotune() ? await tunedTarget('product', graph, device) : device.target;
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

/** Answers { do: 'hello' | 'prepare', product | 'run', steps | 'drop' }, one product at a time. Throws Error for anything else. */
export function productServer(): (request: Readonly<Record<string, unknown>>) => Promise<object> {
  let ready: Ready | null = null;
  return async (request) => {
    if (request.do === 'hello') {
      const { name, target } = getDevice();
      return { device: name, threads: target.threads };
    }
    if (request.do === 'prepare') {
      ready = await prepare(request.product as Product);
      await run(ready, 1);
      const values = await getDevice().read(ready.result);
      return {
        samples: samplePositions(values.length).map((i) => values[i]),
        kernels: ready.program.calls.map(({ kernel }) => `${kernel.label} × ${kernel.grid.extent}`),
      };
    }
    if (request.do === 'run' && ready) return { seconds: await run(ready, Number(request.steps)) };
    if (request.do === 'drop') {
      ready = null;
      return {};
    }
    throw new Error(`unknown request ${JSON.stringify(request)}`);
  };
}
