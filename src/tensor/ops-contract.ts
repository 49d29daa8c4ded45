/** @file Products: matmul, dot, tensordot, outer, einsum. Each is one `dot` between transposes and reshapes. */
import { ConfigError, ShapeError } from '../base/errors.js';
import { broadcastShapes, normalizeAxis, showShape } from '../base/shape.js';
import { ops } from '../graph/builder.js';
import type { Node } from '../graph/node.js';
import { atLeastInt, floatNode, promoted, toTensor } from './operand.js';
import { fromNode, type Tensor, type TensorLike } from './tensor.js';

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

/** NumPy's matrix product: 1-D operands are rows or columns, leading axes broadcast. Throws ShapeError. */
export function matmul(a: TensorLike, b: TensorLike): Tensor {
  let [x, y] = promoted([toTensor(a), toTensor(b)], atLeastInt);
  const [rx, ry] = [x.shape.length, y.shape.length];
  if (rx === 0 || ry === 0) throw new ShapeError('matmul: a scalar operand. Expected rank ≥ 1. Use multiply.');
  const ax = rx - 1;
  const ay = ry === 1 ? 0 : ry - 2;
  if (x.shape[ax] !== y.shape[ay])
    throw new ShapeError(
      `matmul: shapes ${showShape(x.shape)} and ${showShape(y.shape)} do not chain. Expected the last extent of the first (${x.shape[ax]}) to equal ${ry === 1 ? 'the' : 'the next-to-last'} extent of the second (${y.shape[ay]}).`,
    );
  // A plain matrix on the right needs no batch: the rows of x, however many axes they have, are one.
  if (ry <= 2) return fromNode(ops.dot(x, y, { batch: [[], []], contract: [[ax], [ay]] }));
  const batch = broadcastShapes(x.shape.slice(0, -2), y.shape.slice(0, -2), 'matmul');
  if (rx === 1) x = ops.reshape(x, [1, x.shape[0]]);
  x = ops.broadcast(x, [...batch, ...x.shape.slice(-2)]);
  y = ops.broadcast(y, [...batch, ...y.shape.slice(-2)]);
  const k = batch.length;
  const axes = range(0, k);
  const z = ops.dot(x, y, { batch: [axes, axes], contract: [[k + 1], [k]] });
  return fromNode(rx === 1 ? ops.reshape(z, [...batch, z.shape[k + 1]]) : z);
}

/** NumPy's dot: the last axis of `a` with the next-to-last of `b`; a product when one is a scalar. */
export function dot(a: TensorLike, b: TensorLike): Tensor {
  const [x, y] = promoted([toTensor(a), toTensor(b)], atLeastInt);
  if (x.shape.length === 0 || y.shape.length === 0) return fromNode(ops.mul(x, y));
  const ay = y.shape.length === 1 ? 0 : y.shape.length - 2;
  return tensordot(fromNode(x), fromNode(y), [[x.shape.length - 1], [ay]]);
}
/** Sum of products over the last axes of both. */
export const inner = (a: TensorLike, b: TensorLike): Tensor => {
  const [x, y] = [toTensor(a), toTensor(b)];
  return x.rank === 0 || y.rank === 0 ? dot(x, y) : tensordot(x, y, [[x.rank - 1], [y.rank - 1]]);
};
/** Sum of all products of equal positions. */
export function vdot(a: TensorLike, b: TensorLike): Tensor {
  const [x, y] = promoted([toTensor(a), toTensor(b)], atLeastInt);
  const flat = (n: Node): Node => ops.reshape(n, [n.shape.reduce((k, d) => k * d, 1)]);
  return tensordot(fromNode(flat(x)), fromNode(flat(y)), 1);
}
/** Products of all pairs: [...a, ...b] of the flattened operands, as NumPy's outer. */
export function outer(a: TensorLike, b: TensorLike): Tensor {
  const [x, y] = promoted([toTensor(a), toTensor(b)], atLeastInt);
  const size = (n: Node): number => n.shape.reduce((k, d) => k * d, 1);
  return fromNode(ops.mul(ops.reshape(x, [size(x), 1]), ops.reshape(y, [1, size(y)])));
}

/** Sums over the pairs of axes: `axes` lists those of `a` and of `b`, or how many last of `a` meet first of `b`. */
export function tensordot(
  a: TensorLike,
  b: TensorLike,
  axes: number | readonly [readonly number[] | number, readonly number[] | number] = 2,
): Tensor {
  const [x, y] = promoted([toTensor(a), toTensor(b)], atLeastInt);
  const [ax, ay] =
    typeof axes === 'number'
      ? [range(x.shape.length - axes, x.shape.length), range(0, axes)]
      : axes.map((l) => (typeof l === 'number' ? [l] : [...l]));
  const cx = ax.map((i) => normalizeAxis(i, x.shape.length, 'tensordot'));
  const cy = ay.map((i) => normalizeAxis(i, y.shape.length, 'tensordot'));
  if (cx.length !== cy.length || cx.some((i, k) => x.shape[i] !== y.shape[cy[k]]))
    throw new ShapeError(
      `tensordot: axes [${ax}] of ${showShape(x.shape)} and [${ay}] of ${showShape(y.shape)} differ. Expected pairs of equal extents.`,
    );
  return fromNode(ops.dot(x, y, { batch: [[], []], contract: [cx, cy] }));
}

/** Cross product of 3-vectors along the last axis. */
export function cross(a: TensorLike, b: TensorLike): Tensor {
  const [x0, y0] = promoted([toTensor(a), toTensor(b)], atLeastInt);
  const shape = broadcastShapes(x0.shape, y0.shape, 'cross');
  if (shape[shape.length - 1] !== 3) throw new ShapeError(`cross: last extent ${shape[shape.length - 1]}. Expected vectors of 3.`);
  const [x, y] = [ops.broadcast(x0, shape), ops.broadcast(y0, shape)];
  const last = shape.length - 1;
  const part = (n: Node, i: number): Node =>
    ops.slice(
      n,
      shape.map((_, k) => (k === last ? i : 0)),
      shape.map((d, k) => (k === last ? i + 1 : d)),
    );
  const minor = (i: number, j: number): Node => ops.sub(ops.mul(part(x, i), part(y, j)), ops.mul(part(x, j), part(y, i)));
  return fromNode(ops.concat([minor(1, 2), minor(2, 0), minor(0, 1)], last));
}

// ---- einsum

/** One operand on the way: a node whose axes carry letters. */
interface Labelled {
  node: Node;
  labels: string[];
}

/**
 * Einstein summation, NumPy's notation with '...' and repeated letters: `einsum('bij,bjk->bik', a, b)`.
 * Operands are contracted pairwise from the left; every letter's extents must agree or be 1.
 */
export function einsum(equation: string, ...operands: TensorLike[]): Tensor {
  const { inputs, output } = parseEinsum(
    equation,
    operands.map((x) => toTensor(x).shape),
  );
  const nodes = promoted(
    operands.map((x) => toTensor(x)),
    atLeastInt,
  );
  let terms = nodes.map((node, i) => takeDiagonals({ node, labels: inputs[i] }));
  while (terms.length > 1) {
    const [a, b, ...rest] = terms;
    const needed = new Set([...output, ...rest.flatMap((t) => t.labels)]);
    terms = [contractPair(sumOut(a, new Set([...needed, ...b.labels])), sumOut(b, new Set([...needed, ...a.labels])), needed), ...rest];
  }
  const result = sumOut(terms[0], new Set(output));
  return fromNode(
    ops.transpose(
      result.node,
      output.map((l) => result.labels.indexOf(l)),
    ),
  );
}

function parseEinsum(equation: string, shapes: readonly (readonly number[])[]): { inputs: string[][]; output: string[] } {
  const [left, right, extra] = equation.replaceAll(' ', '').split('->');
  const texts = left.split(',');
  if (extra !== undefined || texts.length !== shapes.length)
    throw new ConfigError(
      `einsum: "${equation}" names ${texts.length} operands, ${shapes.length} given. Expected one comma-separated term an operand.`,
    );
  let widest = 0;
  const expand = (text: string, ellipsis: number): string[] => {
    const parts = text.split('...');
    if (parts.length > 2 || !/^[A-Za-z]*$/.test(parts.join('')))
      throw new ConfigError(`einsum: term "${text}". Expected letters and at most one '...'.`);
    // The axes of an ellipsis are aligned from the last: labels ·k counts from the right.
    return parts.length === 1 ? [...text] : [...parts[0], ...range(0, ellipsis).map((k) => `·${ellipsis - 1 - k}`), ...parts[1]];
  };
  const inputs = texts.map((text, i) => {
    const letters = text.replace('...', '').length;
    const ellipsis = text.includes('...') ? shapes[i].length - letters : 0;
    if (ellipsis < 0 || letters + ellipsis !== shapes[i].length)
      throw new ShapeError(`einsum: term "${text}" has ${letters} letters for shape ${showShape(shapes[i])}. Expected one letter an axis.`);
    widest = Math.max(widest, ellipsis);
    return expand(text, ellipsis);
  });
  const extents = new Map<string, number>();
  inputs.forEach((labels, i) => {
    labels.forEach((l, axis) => {
      const d = shapes[i][axis];
      const known = extents.get(l) ?? 1;
      if (known !== 1 && d !== 1 && known !== d)
        throw new ShapeError(`einsum: letter "${l}" has extents ${known} and ${d} in "${equation}". Expected equal extents.`);
      extents.set(l, Math.max(known, d));
    });
  });
  const all = inputs.flat();
  const output =
    right !== undefined
      ? expand(right, widest)
      : [
          ...range(0, widest).map((k) => `·${widest - 1 - k}`),
          ...[...new Set(all)].filter((l) => !l.startsWith('·') && all.filter((m) => m === l).length === 1).sort(),
        ];
  for (const l of output) if (!extents.has(l)) throw new ConfigError(`einsum: output letter "${l}" of "${equation}" is in no operand.`);
  if (new Set(output).size !== output.length)
    throw new ConfigError(`einsum: an output letter of "${equation}" appears twice. Expected each once.`);
  return { inputs, output };
}

/** 'ii…' → the diagonal as one axis i. */
function takeDiagonals({ node, labels }: Labelled): Labelled {
  let n = node;
  let names = [...labels];
  for (let i = 0; i < names.length; i++) {
    let j = names.indexOf(names[i], i + 1);
    while (j >= 0) {
      const [d, e] = [n.shape[i], n.shape[j]];
      if (d !== e)
        throw new ShapeError(`einsum: repeated letter "${names[i]}" has extents ${d} and ${e} in one operand. Expected equal extents.`);
      const row = ops.iota(n.shape, i, 'i32');
      const column = ops.iota(n.shape, j, 'i32');
      n = ops.sum(ops.select(ops.eq(row, column), n, ops.constant(0, n)), [j]);
      names = names.filter((_, k) => k !== j);
      j = names.indexOf(names[i], i + 1);
    }
  }
  return { node: n, labels: names };
}
function sumOut({ node, labels }: Labelled, keep: Set<string>): Labelled {
  const axes = labels.flatMap((l, i) => (keep.has(l) ? [] : [i]));
  return axes.length === 0 ? { node, labels } : { node: ops.sum(node, axes), labels: labels.filter((l) => keep.has(l)) };
}
function contractPair(a: Labelled, b: Labelled, needed: Set<string>): Labelled {
  const shared = a.labels.filter((l) => b.labels.includes(l));
  const at = (t: Labelled, l: string): number => t.node.shape[t.labels.indexOf(l)];
  // Extents 1 against n broadcast.
  const grow = (t: Labelled, other: Labelled): Labelled => ({
    node: ops.broadcast(
      t.node,
      t.labels.map((l) => (shared.includes(l) ? Math.max(at(t, l), at(other, l)) : at(t, l))),
    ),
    labels: t.labels,
  });
  const [x, y] = [grow(a, b), grow(b, a)];
  const batch = shared.filter((l) => needed.has(l));
  const contract = shared.filter((l) => !needed.has(l));
  const axes = (t: Labelled, ls: string[]): number[] => ls.map((l) => t.labels.indexOf(l));
  const rest = (t: Labelled): string[] => t.labels.filter((l) => !shared.includes(l));
  if (contract.length === 0) {
    // Nothing is summed: a product of broadcast operands is cheaper than a dot.
    const labels = [...batch, ...rest(x), ...rest(y)];
    const spread = (t: Labelled): Node => {
      const own = labels.filter((l) => t.labels.includes(l));
      return ops.reshape(
        ops.transpose(t.node, axes(t, own)),
        labels.map((l) => (t.labels.includes(l) ? at(t, l) : 1)),
      );
    };
    return { node: ops.mul(spread(x), spread(y)), labels };
  }
  const node = ops.dot(x.node, y.node, { batch: [axes(x, batch), axes(y, batch)], contract: [axes(x, contract), axes(y, contract)] });
  return { node, labels: [...batch, ...rest(x), ...rest(y)] };
}

/**
 * softmax(q kᵀ · scale + bias) v over [..., length, heads, dim] (Keras's layout), `mask` true where attention is allowed
 * (broadcast to [..., heads, queries, keys]).
 */
export function dotProductAttention(
  query: TensorLike,
  key: TensorLike,
  value: TensorLike,
  options: { bias?: TensorLike; mask?: TensorLike; scale?: number; isCausal?: boolean } = {},
): Tensor {
  const [q, k, v] = [query, key, value].map((t) => fromNode(floatNode(t)));
  const scale = options.scale ?? 1 / Math.sqrt(q.shape[q.rank - 1]);
  let scores = ops.mul(einsum('...qhd,...khd->...hqk', q, k).node, ops.full([], scale, q.dtype));
  if (options.bias !== undefined) scores = ops.add(scores, ops.cast(toTensor(options.bias).node, scores.dtype));
  const hide = (allowed: Node): void => {
    scores = ops.select(allowed, scores, ops.full([], scores.dtype === 'f16' ? -6e4 : -1e30, scores.dtype));
  };
  if (options.mask !== undefined) hide(ops.cast(toTensor(options.mask).node, 'bool'));
  if (options.isCausal) {
    const [rows, columns] = scores.shape.slice(-2);
    hide(ops.le(ops.iota([rows, columns], 1, 'i32'), ops.iota([rows, columns], 0, 'i32')));
  }
  const last = scores.shape.length - 1;
  const keep = scores.shape.map((d, i) => (i === last ? 1 : d));
  const top = ops.stopGradient(ops.reshape(ops.reduceMax(scores, [last]), keep));
  const e = ops.exp(ops.sub(scores, top));
  const weights = ops.div(e, ops.reshape(ops.sum(e, [last]), keep));
  return einsum('...hqk,...khd->...qhd', fromNode(weights), v);
}
