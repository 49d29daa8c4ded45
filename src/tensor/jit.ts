/**
 * @file jit: a function compiled once for each combination of its arguments' shapes, dtypes and other values. Results
 * stay on the device; calls return at once and run in order.
 */
import type { DType } from '../base/dtype.js';
import { InternalError } from '../base/errors.js';
import { type Shape, size } from '../base/shape.js';
import { makeNode, type Node } from '../graph/node.js';
import { compileGraph, currentDevice, type Device, type DeviceBuffer, type Executable, type Slot } from './engine.js';
import { realize } from './realize.js';
import { state } from './state.js';
import { prepareAll, Storage, track } from './storage.js';
import { storageOf, Tensor } from './tensor.js';
import { hoist, type TracedGraph, trace } from './trace.js';
import { flattenTree, mapTree } from './tree.js';
import { isVariable, type Variable } from './variable.js';

interface Ready {
  readonly executable: Executable;
  readonly slots: readonly Slot[];
  readonly held: readonly Node[];
}
interface Entry {
  /** The result with placeholders for tensors. */
  readonly result: unknown;
  readonly outputs: readonly { shape: Shape; dtype: DType }[];
  readonly reads: readonly Variable[];
  readonly writes: TracedGraph['writes'];
  readonly compiled: Promise<Ready>;
  ready: Ready | null;
}

/**
 * `fn` compiled. Arguments and results are trees: tensors inside arrays and plain objects; other values (numbers,
 * strings) are part of the key, so a new number compiles anew: pass what varies as a tensor. `fn` must be pure but for
 * Variables. Inside a gradient or another trace it is simply called.
 * @example
 * const step = jit((x: Tensor, w: Tensor) => x.matmul(w).relu());
 * console.log(await step(ones([1, 2]), ones([2, 3])).array()); // → [ [ 2, 2, 2 ] ]
 */
export function jit<A extends unknown[], R>(fn: (...args: A) => R): (...args: A) => R {
  const entries = new Map<Device, Map<string, Entry>>();
  return (...args) => {
    if (state.trace || state.gradDepth > 0) return fn(...args);
    const device = currentDevice();
    const { key, leaves } = flattenTree(args);
    const known = entries.get(device) ?? new Map<string, Entry>();
    entries.set(device, known);
    const entry = known.get(key) ?? build(fn, args, leaves, device);
    known.set(key, entry);
    const outputs = call(entry, leaves, device);
    let next = 0;
    return mapTree(entry.result as R, () => outputs[next++]);
  };
}

function build<A extends unknown[], R>(fn: (...args: A) => R, args: A, leaves: readonly Tensor[], device: Device): Entry {
  let result: unknown;
  const firstId = makeNode('constant', [], { value: 0 }, 'f32', []).id;
  const graph = trace(
    (inputs) => {
      let next = 0;
      result = fn(...mapTree(args, () => inputs[next++]));
      return flattenTree(result).leaves;
    },
    leaves.map((t) => ({ shape: t.shape, dtype: t.dtype })),
  );
  // Writes become outputs: an eager call must not overwrite what earlier tensors still read.
  const entry: Entry = {
    result,
    outputs: [...graph.outputs, ...graph.writes.map((w) => w.value)].map((n) => ({ shape: n.shape, dtype: n.dtype })),
    reads: graph.reads,
    writes: graph.writes,
    compiled: compile(graph, firstId, device),
    ready: null,
  };
  entry.compiled.then(
    (ready) => {
      entry.ready = ready;
    },
    () => undefined,
  );
  return entry;
}
async function compile(traced: TracedGraph, firstId: number, device: Device): Promise<Ready> {
  const graph = await hoist(traced, firstId);
  const { program, slots } = compileGraph({ outputs: [...graph.outputs, ...graph.writes.map((w) => w.value)], writes: [] }, device.target);
  const executable = await device.compile(program);
  const held: Node[] = [];
  for (const slot of slots)
    if (slot.kind === 'buffer') {
      held.push(slot.node);
      if (slot.node.arg instanceof Storage) await slot.node.arg.prepare(device);
    }
  return { executable, slots, held };
}

function call(entry: Entry, leaves: readonly Tensor[], device: Device): Tensor[] {
  // A Variable's value is the one at the time of the call.
  const values = new Map(entry.reads.map((v) => [v, v.read()]));
  const sources = [...leaves, ...values.values()];
  const isReady = entry.ready !== null && sources.every((t) => storageOf(t.node)?.availableOn(device));
  let outputs: Storage[];
  if (isReady && entry.ready) {
    const { buffers, run } = launch(entry, entry.ready, leaves, values, device);
    outputs = entry.outputs.map((o, i) => Storage.on(device, buffers[i], o.dtype, o.shape));
    run.catch((error: unknown) => {
      for (const o of outputs) o.fail(error);
    });
  } else {
    const work = (async (): Promise<DeviceBuffer[]> => {
      const ready = await entry.compiled;
      await realize(sources);
      await prepareAll([...sources, ...ready.held.map((n) => new Tensor(n))].map(contentOf), device);
      const { buffers, run } = launch(entry, ready, leaves, values, device);
      await run;
      return buffers;
    })();
    outputs = entry.outputs.map((o, i) => Storage.pending(o.dtype, o.shape, async (s) => s.place(device, (await work)[i])));
  }
  const first = entry.outputs.length - entry.writes.length;
  entry.writes.forEach((w, i) => {
    w.variable.replace(outputs[first + i]);
  });
  return outputs.slice(0, first).map((s) => new Tensor(s.node));
}
function contentOf(t: Tensor | undefined): Storage {
  const storage = t ? storageOf(t.node) : null;
  if (!storage) throw new InternalError('jit: an argument was not realized');
  return storage;
}
function launch(
  entry: Entry,
  ready: Ready,
  leaves: readonly Tensor[],
  values: ReadonlyMap<Variable, Tensor>,
  device: Device,
): { buffers: DeviceBuffer[]; run: Promise<unknown> } {
  const buffers = entry.outputs.map((o) => device.allocate(o.dtype, size(o.shape)));
  const content = (t: Tensor | undefined): DeviceBuffer => contentOf(t).buffer(device);
  const resolve = (slot: Slot): DeviceBuffer => {
    switch (slot.kind) {
      case 'input':
        return content(leaves[slot.index]);
      case 'output':
        return buffers[slot.index];
      case 'buffer':
        return slot.node.arg instanceof Storage ? slot.node.arg.buffer(device) : device.wrap(slot.node.dtype, slot.node.arg.data);
      case 'variable':
        return content(isVariable(slot.variable) ? values.get(slot.variable) : undefined);
    }
  };
  const externals = ready.slots.map(resolve);
  return { buffers, run: track(device, device.run(ready.executable, externals)) };
}
