/**
 * @file Elementwise groups: loops over the stored shape, merged where memory is walked in order, cut where the formulas divide an
 * index, and in boxes where they ask whether it has passed a border.
 */
import type { Shape } from '../base/shape.js';
import { size } from '../base/shape.js';
import { makeNode, type Node } from '../graph/node.js';
import { type Stmt, variable } from '../kernel/kernel.js';
import type { TargetInfo } from '../kernel/target.js';
import { Buffers } from './emit.js';
import type { Group } from './fuse.js';
import { cutAxes, loopsAround, mergeLoops, nest, plainLoops, unpack } from './loops.js';
import { bytesOf, countOps, emitStores, inPlaceNodes, type LoweredCall, labelOf } from './lower.js';
import { Ix } from './symbolic.js';

/** A part of a group's index space: where it begins and how far it goes along each axis. */
interface Box {
  readonly from: readonly number[];
  readonly extent: readonly number[];
}
/** Boxes that cover `shape`, of whose indices `compose` makes the group's. */
interface Boxes {
  readonly shape: Shape;
  readonly compose: (idx: readonly Ix[]) => Ix[];
  readonly list: readonly Box[];
  /** Tests for borders that are left in them. */
  readonly tests: number;
}

/** More would take long to compile. */
const maxBoxes = 12;
const mostStatements = 1000;

/**
 * The index space, cut where the formulas ask whether an index has passed a border (padding, pieces of a concatenation), so that
 * no box asks again. Null if that takes too many boxes.
 */
function boxesOf(g: Group, shape: Shape, compose: Boxes['compose']): Boxes | null {
  const list: Box[] = [];
  let tests = 0;
  const cut = (box: Box, first: number): boolean => {
    const idx = plainLoops(box.extent, 'i').idx.map((ix, i) => ix.add(box.from[i]));
    const { guards, body } = emitStores(g, new Buffers(), compose(idx));
    for (let axis = first; axis < box.extent.length; axis++) {
      const borders = new Set<number>();
      for (const { at, extent } of guards) {
        const shift = at.shiftOf(`i${axis}`);
        if (shift === null) continue;
        // The box's own start is in the shift.
        for (const border of [-shift, extent - shift]) if (border > 0 && border < box.extent[axis]) borders.add(border);
      }
      if (borders.size === 0) continue;
      const at = [0, ...[...borders].sort((a, b) => a - b), box.extent[axis]];
      for (let k = 1; k < at.length; k++) {
        const piece = {
          from: box.from.map((f, i) => (i === axis ? f + at[k - 1] : f)),
          extent: box.extent.map((e, i) => (i === axis ? at[k] - at[k - 1] : e)),
        };
        if (!cut(piece, axis + 1)) return false;
      }
      return true;
    }
    list.push(box);
    tests += guards.length;
    return list.length <= maxBoxes && list.length * body.length <= mostStatements;
  };
  return cut({ from: shape.map(() => 0), extent: shape }, 0) ? { shape, compose, list, tests } : null;
}

/** Loops over `extent` for a body that touches such indices: cut where it divides them, merged where it steps through several as one. */
function loopsFor(
  extent: Shape,
  prefix: string,
  touchedBy: (idx: readonly Ix[]) => readonly Ix[],
  probe = touchedBy(plainLoops(extent, prefix).idx),
) {
  const cut = cutAxes(extent, prefix, probe);
  const isCut = cut.shape.length > extent.length;
  const loops = mergeLoops(cut.shape, prefix, isCut ? touchedBy(cut.compose(plainLoops(cut.shape, prefix).idx)) : probe);
  return { axes: loops.axes, idx: cut.compose(loops.idx) };
}

export function elementwise(g: Group, target: TargetInfo): LoweredCall {
  const probe = emitStores(g, new Buffers(), plainLoops(g.shape, 'i').idx);
  if (probe.guards.length > 0) {
    const whole = boxesOf(g, g.shape, (idx) => [...idx]);
    const cut = whole?.tests === 0 ? null : cutAxes(g.shape, 'i', probe.touched);
    const finer = cut && boxesOf(g, cut.shape, cut.compose);
    const boxes = whole && finer ? (finer.tests < whole.tests ? finer : whole) : (whole ?? finer);
    const call = boxes && boxes.list.length > 1 ? elementwiseInBoxes(g, boxes, target) : null;
    if (call) return call;
  }
  const { axes, idx } = loopsFor(g.shape, 'i', (at) => emitStores(g, new Buffers(), at).touched, probe.touched);
  const buffers = new Buffers();
  const e = emitStores(g, buffers, idx);
  const cost = countOps(e.body);
  const n = nest(axes, target, cost);
  return {
    kernel: {
      label: labelOf(g),
      buffers: buffers.params,
      grid: n.grid,
      body: n.wrap(e.body),
      flops: cost * size(g.shape),
      bytes: bytesOf(buffers),
    },
    nodes: buffers.nodes,
    inPlace: inPlaceNodes(g.shape, e, idx),
  };
}

/** Box after box within an item; null where the axes outside of them are too few items for the threads. */
function elementwiseInBoxes(g: Group, { shape, compose, list }: Boxes, target: TargetInfo): LoweredCall | null {
  const lead = shape.findIndex((extent, i) => list.some((b) => b.extent[i] !== extent));
  const grid = shape.slice(0, lead).map((extent, i) => ({ name: `g${i}`, extent }));
  const items = size(shape.slice(0, lead));
  if (items < 4 * target.threads) return null;
  const outside = grid.map((a) => Ix.variable(a.name, a.extent));
  const buffers = new Buffers();
  const body: Stmt[] = [...unpack(variable('item'), grid)];
  let inPlace: Set<Node> | null = null;
  let flops = 0;
  list.forEach((box, n) => {
    const extent = box.extent.slice(lead);
    const placed = (idx: readonly Ix[]): Ix[] => compose([...outside, ...idx.map((ix, i) => ix.add(box.from[lead + i]))]);
    const { axes, idx } = loopsFor(extent, `i${n}_`, (at) => emitStores(g, new Buffers(), placed(at)).touched);
    const at = placed(idx);
    const e = emitStores(g, buffers, at);
    body.push(...loopsAround(axes, e.body));
    flops += countOps(e.body) * items * size(extent);
    const here = inPlaceNodes(g.shape, e, at);
    inPlace = inPlace ? new Set([...inPlace].filter((x) => here.has(x))) : here;
  });
  return {
    kernel: { label: labelOf(g), buffers: buffers.params, grid: { name: 'item', extent: items }, body, flops, bytes: bytesOf(buffers) },
    nodes: buffers.nodes,
    inPlace: inPlace ?? new Set(),
  };
}

/** Copies a buffer as it is. */
export function copyKernel(from: Node, to: Node, target: TargetInfo): LoweredCall {
  const same = makeNode('reshape', [from], { shape: from.shape }, from.dtype, from.shape);
  const only = new Set<Node>([same]);
  const { kernel, nodes } = elementwise(
    { id: -1, shape: from.shape, anchor: null, members: only, stores: only, aligned: only, waits: new Set(), prologue: new Set() },
    target,
  );
  return { kernel: { ...kernel, label: 'copy' }, nodes: nodes.map((n) => (n === same ? to : n)), inPlace: new Set() };
}
