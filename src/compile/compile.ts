/**
 * @file compileGraph: graph → Program. The passes, in order: simplify (one node a value, constants folded), narrow (only
 * what is read), fuse (which nodes share loops), lower (loops become Kernels), then order and memory (in-place updates,
 * one arena).
 */
import { InternalError } from '../base/errors.js';
import { log } from '../base/log.js';
import { size } from '../base/shape.js';
import { isOp, type Node, topological } from '../graph/node.js';
import { print as printGraph } from '../graph/print.js';
import type { Variable } from '../graph/variable.js';
import type { Kernel } from '../kernel/kernel.js';
import { kernelIdentity, printKernel } from '../kernel/print.js';
import type { BufferPlan, KernelCall, Program } from '../kernel/program.js';
import type { TargetInfo } from '../kernel/target.js';
import { aliasParams } from './alias.js';
import { Alike } from './alike.js';
import { copyKernel } from './elementwise.js';
import { fuse, type Group, nodesRead } from './fuse.js';
import { type LoweredCall, lowerGroup, temporary } from './lower.js';
import { byteLength, planArena } from './memory.js';
import { narrow } from './narrow.js';
import { CallOrder, pairsInPlace } from './order.js';
import { blocksAsRows } from './put-rows.js';
import { type Chain, chainRows, lowerChain } from './rows.js';
import { simplify } from './simplify.js';
import { sparseUpdates } from './sparse.js';
import { behindBarriers, isSource, unshaped } from './views.js';

/** What the caller puts into an external slot of the Program. */
export type Slot =
  | { readonly kind: 'input'; readonly index: number }
  | { readonly kind: 'buffer'; readonly node: Node<'buffer'> }
  | { readonly kind: 'variable'; readonly variable: Variable }
  | { readonly kind: 'output'; readonly index: number };

export interface CompiledGraph {
  readonly program: Program;
  /** Meaning of each external slot, in order. */
  readonly slots: readonly Slot[];
}

export interface GraphToCompile {
  readonly outputs: readonly Node[];
  /** New values of Variables, written in place when the Program runs; reads in the graph see the old ones. */
  readonly writes: readonly { readonly variable: Variable; readonly value: Node }[];
}

/** `allowRows`: whether Variables may be updated by rows. */
export function compileGraph(graph: GraphToCompile, target: TargetInfo, allowRows = true): CompiledGraph {
  const whole = simplify([...graph.outputs, ...graph.writes.map((w) => w.value)]);
  const news = graph.writes.map(({ variable }, i) => ({ variable, value: whole[graph.outputs.length + i] }));
  const narrowed = narrow(allowRows ? blocksAsRows(whole, news) : whole);
  // A buffer has no shape: rows put into a reshaped tensor are its new value as they are.
  const roots = (narrowed === whole ? whole : simplify(narrowed))
    .map(behindBarriers)
    .map((r) => (unshaped(r).op === 'putRows' ? unshaped(r) : r));
  const outputs = roots.slice(0, graph.outputs.length);
  const writes = graph.writes.map((w, i) => ({ variable: w.variable, value: roots[graph.outputs.length + i] }));
  const sparse = allowRows ? sparseUpdates(outputs, writes, target) : [];
  const byRows = new Set(sparse.flatMap((s) => s.values));
  const stored = new Set([...roots.filter((r) => !byRows.has(r)), ...sparse.flatMap((s) => s.inputs)]);
  const fusion = fuse([...stored].filter((r) => !isSource(r) || r.op === 'barrier'));
  const readers = new Map<Node, Group[]>();
  for (const g of fusion.groups) for (const n of nodesRead(g, fusion.storedBy)) readers.set(n, [...(readers.get(n) ?? []), g]);
  // What a barrier gives out again is read under another name.
  const again = new Set(topological(roots).flatMap((n) => (isOp(n, 'barrier') ? [behindBarriers(n)] : [])));
  const isOwn = (n: Node, chain: Chain): boolean =>
    !stored.has(n) && !again.has(n) && (readers.get(n) ?? []).every((g) => chain.groups.includes(g));
  // Each kernel is kept once, or the bodies of a deep model's would take more memory than the model.
  const kernels = new Map<string, Kernel>();
  const once = (kernel: Kernel): Kernel => {
    const key = `${kernel.label}\n${kernel.flops} ${kernel.bytes}\n${kernelIdentity(kernel)}`;
    const known = kernels.get(key) ?? kernel;
    kernels.set(key, known);
    return known;
  };
  const alike = new Alike();
  const lowered = (
    groups: readonly Group[],
    lower: () => LoweredCall[],
    context = '',
    own = (_: Node): boolean => false,
  ): LoweredCall[] => {
    const waits = new Set(groups.flatMap((g) => [...g.waits]));
    return alike.lower(groups, context, own, () => lower().map((c) => ({ ...c, kernel: once(c.kernel) }))).map((c) => ({ ...c, waits }));
  };
  const fused = chainRows(fusion, target).flatMap((g) => {
    if (!('rows' in g)) return size(g.shape) === 0 ? [] : lowered([g], () => lowerGroup(g, target));
    const own = (n: Node): boolean => isOwn(n, g);
    return lowered(g.groups, () => [lowerChain(g, target, own)], `${g.rows} rows of ${g.columns}`, own);
  });
  const calls = [...fused, ...sparse.map((s) => s.call)];

  // ---- a place for every value
  const slots: Slot[] = [];
  const buffers: BufferPlan[] = [];
  const place = new Map<Node, number>();
  const external = (slot: Slot, node: Node): number => {
    slots.push(slot);
    buffers.push({ dtype: node.dtype, size: size(node.shape), place: { kind: 'external', slot: slots.length - 1 } });
    return buffers.length - 1;
  };

  const variablePlace = new Map<number, number>();
  const variableNode = new Map<number, Node>();
  for (const n of topological(roots)) {
    if (isOp(n, 'input')) place.set(n, external({ kind: 'input', index: n.arg.index }, n));
    else if (isOp(n, 'buffer')) place.set(n, external({ kind: 'buffer', node: n }, n));
    else if (isOp(n, 'variable')) {
      const v = n.arg.variable;
      place.set(n, variablePlace.get(v.id) ?? external({ kind: 'variable', variable: v }, n));
      variablePlace.set(v.id, place.get(n) as number);
      variableNode.set(v.id, n);
    }
  }
  // ---- results: written straight to their place where possible, copied where a value has two places or comes from outside
  const order = new CallOrder(calls);
  // ---- rows put into a buffer: that of the tensor they are put into where nobody wants this any more, a copy elsewhere
  /** Value → the one whose buffer it is written to. */
  const over = new Map<Node, Node>();
  const bufferOf = (n: Node): Node => {
    let x = behindBarriers(n);
    for (let o = over.get(x); o; o = over.get(x)) x = o;
    return x;
  };
  const rowUpdates = new Map<Node, Node>();
  for (const c of calls) if (c.onto) rowUpdates.set(c.nodes[0], c.onto);
  /** Values on the way from a Variable's old value to its new one. */
  const steps = new Set<Node>();
  for (const { variable, value } of allowRows ? writes : []) {
    const chain: Node[] = [];
    let x = value;
    for (let onto = rowUpdates.get(x); onto; onto = rowUpdates.get(x)) {
      chain.push(x);
      x = onto;
    }
    if (isOp(x, 'variable') && x.arg.variable.id === variable.id) for (const n of chain) steps.add(n);
  }
  const results = new Set(roots);
  for (const [value, onto] of rowUpdates) {
    const mayOverwrite = isSource(onto) ? isOp(onto, 'variable') && steps.has(value) : !results.has(onto);
    if (mayOverwrite && order.overwrite(onto, value)) over.set(value, onto);
    else order.copyFirst(value, copyKernel(onto, value, target));
  }

  const copyTo = (from: Node, index: number): Node => {
    const to = temporary(from.dtype, from.shape, 'copy');
    place.set(to, index);
    if (size(from.shape) > 0) order.add(copyKernel(from, to, target));
    return to;
  };
  for (const [i, value] of outputs.entries()) {
    const index = external({ kind: 'output', index: i }, value);
    if (isSource(value) || place.has(bufferOf(value))) copyTo(value, index);
    else place.set(bufferOf(value), index);
  }
  const overwritten = new Set(writes.map((w) => w.variable.id));
  for (const { variable, value } of writes) {
    const home = variablePlace.get(variable.id) ?? external({ kind: 'variable', variable }, value);
    variablePlace.set(variable.id, home);
    const old = variableNode.get(variable.id);
    const buffer = bufferOf(value);
    if (value === old || buffer === old || size(value.shape) === 0) continue;
    if (!isSource(value) && !place.has(buffer) && (!old || order.overwrite(old, buffer))) {
      place.set(buffer, home);
      continue;
    }
    // Rows can be updated where they lie, or not at all.
    if (byRows.has(value) || [...over.values()].some((o) => o === old)) return compileGraph(graph, target, false);
    // Variables that exchange values do it through a buffer of their own.
    let from = value;
    if (isOp(value, 'variable') && overwritten.has(value.arg.variable.id)) {
      from = temporary(value.dtype, value.shape, 'hold');
      order.add(copyKernel(value, from, target));
    }
    const copy = copyTo(from, home);
    if (old && !order.overwrite(old, copy))
      throw new InternalError('compileGraph: a copy cannot wait for the readers of what it overwrites');
  }
  const temporaryOf = (n: Node): Node | null => {
    const buffer = bufferOf(n);
    return place.has(buffer) ? null : buffer;
  };
  const sorted = order.sorted(temporaryOf);

  // ---- the arena
  const lives = new Map<Node, { from: number; to: number }>();
  const written = new Set<Node>();
  for (const [i, c] of sorted.entries())
    for (const [k, n] of c.nodes.entries()) {
      if (c.kernel.buffers[k].access !== 'read') written.add(n);
      else if (!written.has(behindBarriers(n)) && !isSource(behindBarriers(n)) && size(n.shape) > 0)
        throw new InternalError(`compileGraph: ${c.kernel.label} reads a ${n.op} that no kernel before it writes`);
      const buffer = bufferOf(n);
      if (place.has(buffer)) continue;
      const life = lives.get(buffer);
      lives.set(buffer, { from: life?.from ?? i, to: i });
    }
  // What a call reads for the last time, it writes its result over.
  for (const [i, c] of sorted.entries()) {
    const taken = new Set<Node>();
    for (const { from, to } of pairsInPlace(c, temporaryOf)) {
      const [a, b] = [lives.get(from), lives.get(to)];
      if (!a || !b || from === to || a.to !== i || b.from !== i || taken.has(from)) continue;
      over.set(to, from);
      lives.set(from, { from: a.from, to: b.to });
      lives.delete(to);
      taken.add(from);
    }
  }
  const nodes = [...lives.keys()];
  const arena = planArena(
    nodes.map((n) => ({ bytes: byteLength(n.dtype, size(n.shape)), ...(lives.get(n) as { from: number; to: number }) })),
  );
  for (const [i, n] of nodes.entries()) {
    place.set(n, buffers.length);
    buffers.push({ dtype: n.dtype, size: size(n.shape), place: { kind: 'arena', offset: arena.offsets[i] } });
  }

  const programCalls: KernelCall[] = sorted
    .filter((c) => c.kernel.grid.extent > 0)
    .map((c) => {
      const { kernel, places } = aliasParams(
        c.kernel,
        c.nodes.map((n) => place.get(bufferOf(n)) as number),
      );
      return { kernel: kernel === c.kernel ? kernel : once(kernel), buffers: places };
    });
  const program: Program = { calls: programCalls, buffers, arenaBytes: arena.bytes, externals: slots.length };
  explain(roots, fusion.groups.length, program);
  return { program, slots };
}

/** What TENON_DEBUG=graph,passes,schedule,kernels prints about a Program; the device adds `source`. */
function explain(roots: readonly Node[], groups: number, program: Program): void {
  if (log.enabled('graph')) log.debug('graph', `\n${printGraph(roots)}`);
  const { calls } = program;
  if (log.enabled('passes'))
    log.debug(
      'passes',
      `${topological(roots).length} nodes after simplify → ${groups} groups → ${calls.length} kernels, arena ${program.arenaBytes} bytes`,
    );
  if (log.enabled('schedule')) {
    const rows = calls.map(({ kernel, buffers }, i) => {
      const amount = `${(kernel.flops / 1e6).toFixed(2)} MFLOP, ${(kernel.bytes / 1024).toFixed(0)} KiB`;
      return `  ${String(i).padStart(3)} ${kernel.label} ×${kernel.grid.extent}  ${amount}  buffers ${buffers.join(' ')}`;
    });
    log.debug('schedule', `${calls.length} kernels, arena ${program.arenaBytes} bytes\n${rows.join('\n')}`);
  }
  if (log.enabled('kernels')) for (const { kernel } of calls) log.debug('kernels', `\n${printKernel(kernel)}`);
}
