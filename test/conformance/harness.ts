/** @file Runs a graph on a device and by the oracle, and compares: shared by every conformance test, in Node and in browsers. */

import { allocate, type DType, decode, encode, isFloat, type TypedArray } from '../../src/base/dtype.js';
import { type Shape, size } from '../../src/base/shape.js';
import { useAttention } from '../../src/compile/attention.js';
import { compileGraph } from '../../src/compile/compile.js';
import type { Device, DeviceBuffer } from '../../src/device/device.js';
import { currentDevice, listDevices, setDevice } from '../../src/device/registry.js';
import { interpret } from '../../src/graph/interpret.js';
import { isOp, makeNode, type Node, topological } from '../../src/graph/node.js';
import type { BufferPlan, KernelCall } from '../../src/kernel/program.js';
import { verifyProgram } from '../../src/kernel/verify.js';

// Cases are made of nodes, past the operations that would call it.
useAttention();

/** Deterministic numbers in [-1, 1): small enough that products of many stay exact to the tolerance. */
export function numbers(count: number, seed: number): number[] {
  let s = (seed * 2654435761 + 12345) >>> 0;
  return Array.from({ length: count }, () => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return s / 2 ** 31 - 1;
  });
}

export function fill(dtype: DType, count: number, seed: number, scale = 1): TypedArray {
  const out = allocate(dtype, count);
  for (const [i, x] of numbers(count, seed).entries()) {
    const v =
      dtype === 'bool'
        ? Number(x > 0)
        : isFloat(dtype)
          ? x * scale
          : Math.trunc(dtype === 'u8' || dtype === 'u32' ? (x + 1) * 60 : x * 100);
    out[i] = encode(dtype, v);
  }
  return out;
}

export interface Feed {
  readonly node: Node;
  readonly data: TypedArray;
}

let serial = 0;
/** A placeholder with data. */
export function feed(dtype: DType, shape: Shape, data?: TypedArray | number[], scale = 1): Feed {
  const index = serial++;
  const node = makeNode('input', [], { index, name: `x${index}` }, dtype, shape);
  const values = data ?? fill(dtype, size(shape), index, scale);
  return {
    node,
    data: Array.isArray(values)
      ? Object.assign(
          allocate(dtype, values.length),
          values.map((v) => encode(dtype, v)),
        )
      : values,
  };
}

export async function runOn(device: Device, outputs: readonly Node[], feeds: readonly Feed[]): Promise<TypedArray[]> {
  const { program, slots } = compileGraph({ outputs, writes: [] }, device.target);
  verifyProgram(program);
  const executable = await device.compile(program);
  const results: DeviceBuffer[] = outputs.map((o) => device.allocate(o.dtype, size(o.shape)));
  const externals = slots.map((s) => {
    if (s.kind === 'output') return results[s.index];
    if (s.kind === 'input') {
      const f = feeds.find((x) => isOp(x.node, 'input') && x.node.arg.index === s.index);
      if (f) return device.wrap(f.node.dtype, f.data);
    }
    if (s.kind === 'buffer') return device.wrap(s.node.dtype, s.node.arg.data);
    throw new Error(`slot ${s.kind} has no feed`);
  });
  await device.run(executable, externals);
  return Promise.all(results.map((r) => device.read(r)));
}

/**
 * Compiles the kernels of many graphs together, for a device that starts a compiler: what runs them finds them.
 * A graph that can't be compiled fails where it is run.
 */
export async function compileTogether(device: Device, graphs: readonly (readonly Node[])[]): Promise<void> {
  const calls: KernelCall[] = [];
  const buffers: BufferPlan[] = [];
  let [arenaBytes, externals] = [0, 0];
  for (const outputs of graphs) {
    const { program } = compileGraph({ outputs, writes: [] }, device.target);
    arenaBytes = Math.max(arenaBytes, program.arenaBytes);
    externals = Math.max(externals, program.externals);
    const first = buffers.length;
    buffers.push(...program.buffers);
    calls.push(...program.calls.map((c) => ({ ...c, buffers: c.buffers.map((i) => first + i) })));
  }
  await device.compile({ calls, buffers, arenaBytes, externals }).catch(() => undefined);
}

/** Throws when device and oracle differ by more than `tolerance`, relative to the larger of 1 and the value. */
export function expectClose(actual: TypedArray, wanted: TypedArray, dtype: DType, tolerance: number, what: string): void {
  if (actual.length !== wanted.length) throw new Error(`${what}: ${actual.length} elements, the oracle has ${wanted.length}`);
  for (let i = 0; i < wanted.length; i++) {
    const a = decode(dtype, actual[i]);
    const w = decode(dtype, wanted[i]);
    if (Object.is(a, w) || a === w || (Number.isNaN(a) && Number.isNaN(w))) continue;
    const limit = isFloat(dtype) ? (dtype === 'f32' ? tolerance : 0.02) * Math.max(1, Math.abs(w)) : 0;
    if (!(Math.abs(a - w) <= limit)) throw new Error(`${what}: element ${i} is ${a}, the oracle says ${w}`);
  }
}

/** A turn of the event loop; browsers have no setImmediate. */
const turn = (): Promise<void> =>
  new Promise((resolve) => void ('setImmediate' in globalThis ? setImmediate(resolve) : setTimeout(resolve, 0)));

/** What the oracle said, for the next device. */
const oracle = new WeakMap<readonly Node[], TypedArray[]>();

/** Runs the graph on the device and by the oracle and compares every output. */
export async function conforms(
  device: Device,
  outputs: readonly Node[],
  feeds: readonly Feed[],
  tolerance = 2e-5,
  what = '',
): Promise<void> {
  // The reference device never leaves the microtask queue: let the test runner's messages through.
  await turn();
  const inputs = new Map(feeds.map((f) => [(f.node as Node<'input'>).arg.index, f.data] as const));
  const wanted = oracle.get(outputs) ?? interpret(outputs, { inputs });
  oracle.set(outputs, wanted);
  const actual = await runOn(device, outputs, feeds);
  for (const [i, o] of outputs.entries()) {
    const ops = topological([o]).map((n) => n.op);
    expectClose(actual[i], wanted[i], o.dtype, tolerance, `${what || ops.slice(-6).join('→')} on ${device.name}, output ${i}`);
  }
}

/** The devices usable on this machine; the others say why in the output. */
export async function devices(): Promise<Device[]> {
  const list: Device[] = [];
  for (const d of listDevices()) {
    if (d.usable) {
      setDevice(d.name);
      list.push(currentDevice());
    } else console.warn(`conformance: ${d.name} is skipped: ${d.reason}`);
  }
  return list;
}
