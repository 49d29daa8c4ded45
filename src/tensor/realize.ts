/**
 * @file From lazy to realized: the eager tier. Programs are kept by structure; small ones run at once on the plain
 * JavaScript device, large or often used ones on the current device (docs/decisions/0002-eager-tier.md has the figures).
 */

import { allocate, encode, spelled } from '../base/dtype.js';
import { DeviceError, InternalError } from '../base/errors.js';
import { size } from '../base/shape.js';
import { isOp, type Node } from '../graph/node.js';
import { asBuffer, type Capture, capture, estimateCost, template } from './capture.js';
import { compileGraph, currentDevice, type Device, type Executable, plainDevice, type Slot } from './engine.js';
import { type PendingWrite, pendingWrites, realized, state } from './state.js';
import { isIdle, prepareAll, Storage, track } from './storage.js';
import type { Tensor } from './tensor.js';

/** Estimated operations and bytes below which a Program runs on the plain device. */
const SMALL = 1e6;
/** Cumulated cost after which a small Program is worth compiling (a few tenths of a second of plain JavaScript). */
const PROMOTE = 5e7;
/** Below this a single run costs less in JavaScript than a native call does: never worth it. */
const TINY = 1e4;
const CHAIN_LIMIT = 500;
const CACHE_SIZE = 1024;
/** Different constants in one structure before they become arguments. */
const LIFT_AFTER = 3;

interface Compiled {
  readonly device: Device;
  readonly executable: Executable;
  readonly slots: readonly Slot[];
}
/** A structure's Programs, one a device. */
interface Entry {
  readonly outputs: readonly Node[];
  readonly cost: number;
  readonly lifted: boolean;
  spent: number;
  readonly compiled: Map<Device, Compiled>;
  readonly compiling: Map<Device, Promise<Compiled>>;
}
interface Family {
  readonly byConstants: Map<string, Entry>;
  lifted: Entry | null;
}
const families = new Map<string, Family>();

/** Number of structures kept, for tests and profiles. */
export const programCacheSize = (): number => families.size;
export const clearProgramCache = (): void => families.clear();

function lookUp(c: Capture): Entry {
  let family = families.get(c.key);
  if (family) families.delete(c.key);
  else family = { byConstants: new Map(), lifted: null };
  // Deleted and set again: a Map's order is then that of the last use.
  families.set(c.key, family);
  if (families.size > CACHE_SIZE)
    for (const oldest of families.keys()) {
      families.delete(oldest);
      break;
    }
  if (family.lifted) return family.lifted;
  const values = c.constants.length === 0 ? '' : c.constants.map((n) => spelled(n.arg.value)).join();
  const known = family.byConstants.get(values);
  if (known) return known;
  const lift = family.byConstants.size >= LIFT_AFTER;
  const outputs = template(c, lift);
  const entry: Entry = { outputs, cost: estimateCost(outputs), lifted: lift, spent: 0, compiled: new Map(), compiling: new Map() };
  if (lift) {
    family.lifted = entry;
    family.byConstants.clear();
  } else family.byConstants.set(values, entry);
  return entry;
}

function compileNow(entry: Entry, device: Device): Compiled | null {
  const known = entry.compiled.get(device);
  if (known) return known;
  if (!device.compileSync) return null;
  const { program, slots } = compileGraph({ outputs: [...entry.outputs], writes: [] }, device.target);
  const compiled = { device, executable: device.compileSync(program), slots };
  entry.compiled.set(device, compiled);
  return compiled;
}
function compileLater(entry: Entry, device: Device): Promise<Compiled> {
  const known = entry.compiled.get(device);
  if (known) return Promise.resolve(known);
  let work = entry.compiling.get(device);
  if (!work) {
    const { program, slots } = compileGraph({ outputs: [...entry.outputs], writes: [] }, device.target);
    work = device.compile(program).then((executable) => {
      const compiled = { device, executable, slots };
      entry.compiled.set(device, compiled);
      return compiled;
    });
    work.finally(() => entry.compiling.delete(device)).catch(() => undefined);
    entry.compiling.set(device, work);
  }
  return work;
}

/** The device for the next run of `entry`; starts the promotion of a small Program that is run again and again. */
function chooseDevice(entry: Entry): Device {
  const current = currentDevice();
  const plain = plainDevice();
  if (plain === null || current === plain || entry.cost >= SMALL || !plain.runSync) return current;
  if (entry.cost < TINY) return plain;
  if (entry.compiled.has(current)) return current;
  entry.spent += entry.cost;
  if (entry.spent > PROMOTE) compileLater(entry, current).catch(() => undefined);
  return plain;
}

interface Job {
  readonly capture: Capture;
  readonly entry: Entry;
}
function prepare(tensors: readonly Tensor[], writes: Iterable<PendingWrite>): Job | null {
  const outputs = new Set<Node>();
  const need = (node: Node): void => {
    if (!asBuffer(node)) outputs.add(node);
  };
  for (const t of tensors) need(t.node);
  if (state.gradDepth === 0) {
    settleReady();
    for (const w of writes) if (w.pendingNode && !settleZeros(w, w.pendingNode)) need(w.pendingNode);
  }
  if (outputs.size === 0) return null;
  const c = capture([...outputs]);
  return { capture: c, entry: lookUp(c) };
}
/** Gives pending writes the values that exist. */
function settleReady(): void {
  for (const w of pendingWrites) {
    const at = w.pendingNode ? asBuffer(w.pendingNode) : null;
    if (at?.arg instanceof Storage) {
      pendingWrites.delete(w);
      w.settle(at.arg);
    } else if (!w.pendingNode) pendingWrites.delete(w);
  }
}

/** Fewer elements are computed with the rest: in the plain device's arrays, which need no device to be idle. */
const LEAST_ZEROS = 4096;
/**
 * Zeros of a Variable (an optimizer's slots) become a fresh buffer that nobody else was shown: the first Program that overwrites
 * them needs no copy of them. False: `node` is something else.
 */
function settleZeros(write: PendingWrite, node: Node): boolean {
  const device = currentDevice();
  if (!isOp(node, 'constant') || !Object.is(node.arg.value, 0) || size(node.shape) < LEAST_ZEROS || !device.readSync) return false;
  write.settle(Storage.on(device, device.allocate(node.dtype, size(node.shape)), node.dtype, node.shape));
  pendingWrites.delete(write);
  return true;
}

/** Arguments of a run: leaves, lifted constants and fresh outputs, as the slots say. */
function bind(job: Job, compiled: Compiled): { externals: ReturnType<Storage['buffer']>[]; outputs: Storage[] } {
  const { device } = compiled;
  const outputs = job.capture.outputs.map((n) => Storage.on(device, device.allocate(n.dtype, size(n.shape)), n.dtype, n.shape));
  const { leaves, constants } = job.capture;
  const externals = compiled.slots.map((slot) => {
    if (slot.kind === 'output') return outputs[slot.index].buffer(device);
    if (slot.kind !== 'input') throw new InternalError(`eager Program with a ${slot.kind} slot`);
    if (slot.index < leaves.length) return leaves[slot.index].buffer(device);
    const n = constants[slot.index - leaves.length];
    const data = allocate(n.dtype, 1);
    data[0] = encode(n.dtype, n.arg.value);
    return device.wrap(n.dtype, data);
  });
  return { externals, outputs };
}
function settle(job: Job, outputs: readonly Storage[]): void {
  job.capture.outputs.forEach((node, i) => {
    realized.set(node, outputs[i].node);
  });
  if (state.gradDepth === 0) settleReady();
}

function runNow(job: Job, device: Device): boolean {
  if (!device.runSync || (device !== plainDevice() && !isIdle(device))) return false;
  for (const leaf of job.capture.leaves) if (!leaf.availableOn(device)) return false;
  const compiled = compileNow(job.entry, device);
  if (!compiled) return false;
  const { externals, outputs } = bind(job, compiled);
  device.runSync(compiled.executable, externals);
  settle(job, outputs);
  return true;
}

/** Computes the tensors and all pending writes of Variables in one Program. */
export async function realize(tensors: readonly Tensor[]): Promise<void> {
  try {
    await compute(tensors);
  } catch (error) {
    // Somebody else's write may be what failed: whoever asks for that Variable is told, and nobody here.
    const others = writesBeside(tensors);
    if (others.length === 0) throw error;
    for (const w of others) await compute([], [w]).catch(() => pendingWrites.delete(w));
    await compute(tensors, []);
  }
  // Looking at the node lets go of the graph behind it.
  for (const t of tensors) void t.node;
}
async function compute(tensors: readonly Tensor[], writes: Iterable<PendingWrite> = pendingWrites): Promise<void> {
  const job = prepare(tensors, writes);
  if (!job) return;
  const device = chooseDevice(job.entry);
  // On the plain device a run is over before a promise would be; elsewhere the event loop stays free.
  if (device === plainDevice() && runNow(job, device)) return;
  const compiled = await compileLater(job.entry, device);
  await prepareAll(job.capture.leaves, device);
  const { externals, outputs } = bind(job, compiled);
  await track(device, device.run(compiled.executable, externals));
  settle(job, outputs);
}
/** Pending writes whose values are none of `tensors`. */
function writesBeside(tensors: readonly Tensor[]): PendingWrite[] {
  const asked = new Set(tensors.map((t) => t.node));
  return [...pendingWrites].filter((w) => w.pendingNode && !asked.has(w.pendingNode));
}

/** The same in the calling thread. Throws DeviceError where that is impossible. */
export function realizeSync(tensors: readonly Tensor[]): void {
  if (!tryRealizeSync(tensors))
    throw new DeviceError(
      'dataSync: the device is asynchronous or busy. Expected an idle device that runs in the calling thread. Use `await t.data()`.',
    );
}
function tryRealizeSync(tensors: readonly Tensor[]): boolean {
  try {
    if (!computeSync(tensors)) return false;
  } catch (error) {
    // As in realize.
    const others = writesBeside(tensors);
    if (others.length === 0) throw error;
    for (const w of others) {
      try {
        computeSync([], [w]);
      } catch {
        pendingWrites.delete(w);
      }
    }
    if (!computeSync(tensors, [])) return false;
  }
  for (const t of tensors) void t.node;
  return true;
}
function computeSync(tensors: readonly Tensor[], writes: Iterable<PendingWrite> = pendingWrites): boolean {
  const job = prepare(tensors, writes);
  return !job || runNow(job, chooseDevice(job.entry));
}

/** Computes what eager assignments left open. */
export async function flushWrites(): Promise<void> {
  await realize([]);
}

// ---- chains

const depths = new WeakMap<Node, number>();

/** Longest path to a buffer. */
function depthOf(root: Node): number {
  const known = depths.get(root);
  if (known !== undefined) return known;
  const stack = [root];
  while (stack.length > 0) {
    const node = stack[stack.length - 1];
    let depth = 0;
    let open = false;
    for (const x of node.inputs) {
      if (realized.has(x)) continue;
      const d = depths.get(x);
      if (d === undefined) {
        stack.push(x);
        open = true;
      } else depth = Math.max(depth, d + 1);
    }
    if (open) continue;
    depths.set(node, depth);
    stack.pop();
  }
  return depths.get(root) ?? 0;
}
/** Counts `node` as `depth` deep whatever is behind it. */
export const setDepth = (node: Node, depth: number): void => void depths.set(node, depth);
/** Depth of the deepest of these. */
export const depthOfAll = (nodes: readonly Node[]): number => nodes.reduce((d, n) => Math.max(d, asBuffer(n) ? 0 : depthOf(n)), 0);

/** Realizes a tensor whose chain has grown long, where the device can do that here and now. */
export function chainLimit(tensor: Tensor): void {
  if (state.trace || state.gradDepth > 0 || state.shapesOnly) return;
  const node = tensor.node;
  if (depthOf(node) <= CHAIN_LIMIT) return;
  // When it cannot, trying again at every step would be quadratic: wait for as many steps again.
  if (!tryRealizeSync([tensor])) setDepth(node, 0);
}

/** Runs `fn`, of whose tensors only shapes and dtypes are wanted: a deep model's chain isn't computed on the way. */
export function shapesOnly<T>(fn: () => T): T {
  const before = state.shapesOnly;
  state.shapesOnly = true;
  try {
    return fn();
  } finally {
    state.shapesOnly = before;
  }
}
