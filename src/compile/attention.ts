/** @file attention, its log-sum-exp and its gradient: operands as rows in their buffers, then the templates. */
import { isOp, type Node } from '../graph/node.js';
import { index } from '../kernel/kernel.js';
import type { TargetInfo } from '../kernel/target.js';
import { Buffers } from './emit.js';
import type { AttentionNode, Group } from './fuse.js';
import { type LoweredCall, labelOf, setAttentionLowering, temporary } from './lower.js';
import { attentionForward } from './templates/attention.js';
import type { AttentionShape, Rows } from './templates/attention-block.js';
import { attentionBackward } from './templates/attention-grad.js';
import { rowView } from './views.js';

/** Called before the first attention is made. */
export const useAttention = (): void => setAttentionLowering(lowerAttention);

/** The kernels of a group whose anchor is `n`: an attention's group may store its log-sum-exp too. */
function lowerAttention(g: Group, n: AttentionNode, target: TargetInfo): LoweredCall[] {
  const buffers = new Buffers();
  const rows = (x: Node): Rows => {
    const { base, offset, strides } = rowView(x);
    return { buffer: buffers.name(base, 'read'), dtype: base.dtype, offset: index(offset), strides: [strides[0], strides[1], strides[2]] };
  };
  const [q, k] = n.inputs;
  const v = isOp(n, 'attentionLse') ? k : n.inputs[2];
  const [first, end] = n.inputs.slice(isOp(n, 'attentionLse') ? 2 : 3);
  const shape: AttentionShape = {
    batch: q.shape[0],
    queries: q.shape[1],
    heads: q.shape[2],
    keys: k.shape[1],
    groups: k.shape[2],
    dim: q.shape[3],
    valueDim: v.shape[3],
    scale: n.arg.scale,
  };
  const operands = {
    shape,
    q: rows(q),
    k: rows(k),
    v: rows(v),
    first: buffers.name(first, 'read'),
    end: buffers.name(end, 'read'),
    label: labelOf(g),
  };
  const call = (kernel: LoweredCall['kernel'], more: ReadonlyMap<string, Node> = new Map()): LoweredCall => ({
    kernel,
    nodes: kernel.buffers.map(({ name }) => more.get(name) ?? buffers.nodes[buffers.params.findIndex((p) => p.name === name)]),
    inPlace: new Set(),
  });
  if (isOp(n, 'attentionGrad')) {
    const [out, lse, dy] = n.inputs.slice(5);
    const grad = {
      ...operands,
      out: rows(out),
      dy: rows(dy),
      lse: buffers.name(lse, 'read'),
      grad: buffers.name(n, 'write'),
    };
    const { kernels, partial } = attentionBackward({ ...grad, buffers: buffers.params }, target);
    const more = new Map(partial ? [[partial.name, temporary('f32', [partial.size])]] : []);
    return kernels.map((kernel) => call(kernel, more));
  }
  const written = (op: 'attention' | 'attentionLse'): string | null => {
    const x = [...g.stores].find((stored) => isOp(stored, op));
    return x ? buffers.name(x, 'write') : null;
  };
  const results = { out: written('attention'), lse: written('attentionLse') };
  return [call(attentionForward({ ...operands, ...results, outType: q.dtype, buffers: buffers.params }, target))];
}
