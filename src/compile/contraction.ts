/**
 * @file Products and convolutions: their operands as strided views, then the register-tile template, or an ordinary
 * reduction where a tile would stay empty (depthwise convolutions, matrix times vector, integers).
 */
import { isOp, type Node } from '../graph/node.js';
import { type Expr, op } from '../kernel/kernel.js';
import type { TargetInfo } from '../kernel/target.js';
import { arithmetic, type Emitter } from './emit.js';
import type { Group } from './fuse.js';
import { type LoweredCall, lowerReduction, type Reduction } from './lower.js';
import type { Ix } from './symbolic.js';

export function lowerContraction(g: Group, n: Node<'dot'> | Node<'conv'>, target: TargetInfo): LoweredCall[] {
  return lowerReduction(g, isOp(n, 'dot') ? dotReduction(n) : convReduction(n as Node<'conv'>), target);
}

const multiply = (e: Emitter, n: Node, a: readonly Ix[], b: readonly Ix[]): Expr =>
  op('mul', arithmetic(n.dtype), e.emit(n.inputs[0], a), e.emit(n.inputs[1], b));

/** Axes of an operand that are neither batch nor contracted, in order. */
const restAxes = (rank: number, batch: readonly number[], contract: readonly number[]) =>
  Array.from({ length: rank }, (_, i) => i).filter((i) => !batch.includes(i) && !contract.includes(i));

function dotReduction(n: Node<'dot'>): Reduction {
  const { batch, contract } = n.arg;
  const [a, b] = n.inputs;
  const rest = [restAxes(a.shape.length, batch[0], contract[0]), restAxes(b.shape.length, batch[1], contract[1])];
  return {
    out: n,
    reduced: contract[0].map((axis) => a.shape[axis]),
    op: 'add',
    initial: 0,
    element: (e, o, r) => {
      const place = (side: 0 | 1, rank: number, first: number): Ix[] => {
        const idx = new Array<Ix>(rank);
        for (const [i, axis] of batch[side].entries()) idx[axis] = o[i];
        for (const [i, axis] of contract[side].entries()) idx[axis] = r[i];
        for (const [i, axis] of rest[side].entries()) idx[axis] = o[first + i];
        return idx;
      };
      const nb = batch[0].length;
      return multiply(e, n, place(0, a.shape.length, nb), place(1, b.shape.length, nb + rest[0].length));
    },
  };
}

function convReduction(n: Node<'conv'>): Reduction {
  const { stride, kernelDilation } = n.arg;
  const [, w] = n.inputs;
  const spatial = stride.length;
  const channels = w.shape[spatial + 1];
  return {
    out: n,
    reduced: [...w.shape.slice(0, spatial), channels],
    op: 'add',
    initial: 0,
    element: (e, o, r) => {
      const at = stride.map((s, i) => o[1 + i].scale(s).add(r[i].scale(kernelDilation[i])));
      const group = o[1 + spatial];
      const c = r[spatial];
      return multiply(e, n, [o[0], ...at, group, c], [...r.slice(0, spatial), group, c, o[2 + spatial]]);
    },
  };
}
