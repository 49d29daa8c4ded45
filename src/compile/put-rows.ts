/**
 * @file putRows: rows written over those of a buffer (a key/value cache, a block of a larger tensor). The kernel touches nothing but its
 * rows: whether it works in the buffer of its operand or in a copy of it, compile.ts decides.
 */
import { type Shape, size } from '../base/shape.js';
import { ops } from '../graph/builder.js';
import { isOp, type Node, topological } from '../graph/node.js';
import type { Variable } from '../graph/variable.js';
import { cast, constant, type Expr, loop, op, type Stmt } from '../kernel/kernel.js';
import type { TargetInfo } from '../kernel/target.js';
import { Buffers, Emitter, unflattenWindow } from './emit.js';
import type { Group } from './fuse.js';
import { columnSlabs, type LoweredCall, labelOf } from './lower.js';
import { Ix } from './symbolic.js';
import { behindBarriers, flatten, unshaped } from './views.js';

/** Each item owns a slab of columns and writes the rows to it in order: of equal indices the last one stays, however many threads. */
export function lowerPutRows(g: Group, n: Node<'putRows'>, target: TargetInfo): LoweredCall {
  const [x, rows, indices] = n.inputs;
  const [extent, ...tail] = n.shape;
  const [count] = indices.shape;
  const columns = size(tail);
  const slabs = columnSlabs(columns, target, 'item');
  const buffers = new Buffers();
  const out = buffers.name(n, 'readwrite');
  const k = Ix.variable('k', count);
  const tailIdx = unflattenWindow(Ix.variable('column', columns), tail);

  const picker = new Emitter(buffers, g.members);
  const row = picker.bind(cast('index', picker.emit(indices, [k])));
  const at = flatten([Ix.opaque(row, row.kind === 'var' ? row.name : 'const', extent, [k]), ...tailIdx], n.shape);
  const value = new Emitter(buffers, g.members);
  const v = value.emit(rows, [k, ...tailIdx]);
  const put: Stmt[] = [...value.body, { kind: 'store', buffer: out, index: at.toExpr(), value: cast(n.dtype, v) }];
  const inside: Expr = op('and', 'bool', op('le', 'bool', constant('index', 0), row), op('lt', 'bool', row, constant('index', extent)));
  return {
    kernel: {
      label: labelOf(g),
      buffers: buffers.params,
      grid: { name: 'item', extent: slabs.count },
      body: [loop('k', 0, count, [...picker.body, { kind: 'if', cond: inside, then: [slabs.over(put)] }])],
      flops: count * columns,
      bytes: 4 * (2 * count * columns + slabs.count * count),
    },
    nodes: buffers.nodes,
    inPlace: new Set(),
    onto: behindBarriers(unshaped(x)),
  };
}

/** The start of a block along an axis as dynamicUpdateSlice takes it: moved inside. */
const clamped = (start: Node, most: number): Node => ops.max(ops.min(start, ops.full([], most, 'i32')), ops.full([], 0, 'i32'));

/** A dynamicUpdateSlice as rows of the axes from the first to the last that the block doesn't fill. */
function asRows([x, update, ...starts]: readonly Node[]): Node {
  const last = update.shape.findLastIndex((d, i) => d !== x.shape[i]);
  const lead: Shape = update.shape.slice(0, last + 1);
  const tail = x.shape.slice(last + 1);
  let position = ops.full(lead, 0, 'i32');
  for (let i = 0; i <= last; i++) {
    const along = ops.add(ops.iota(lead, i, 'i32'), clamped(starts[i], x.shape[i] - update.shape[i]));
    position = ops.add(ops.mul(position, ops.full([], x.shape[i], 'i32')), along);
  }
  const rows = ops.reshape(update, [size(lead), ...tail]);
  const into = ops.reshape(x, [size(x.shape.slice(0, last + 1)), ...tail]);
  return ops.reshape(ops.putRows(into, rows, ops.reshape(position, [size(lead)])), x.shape);
}

/**
 * The graph with every small dynamicUpdateSlice on the way from a Variable's old value to its new one as putRows, which works in place;
 * `roots` where there is none.
 */
export function blocksAsRows(
  roots: readonly Node[],
  writes: readonly { readonly variable: Variable; readonly value: Node }[],
): readonly Node[] {
  const isSmall = (n: Node): boolean => isOp(n, 'dynamicUpdateSlice') && size(n.shape) > 0 && 2 * size(n.inputs[1].shape) <= size(n.shape);
  const chosen = new Set<Node>();
  for (const { variable, value } of writes) {
    const updates: Node[] = [];
    let x = unshaped(value);
    for (; isOp(x, 'dynamicUpdateSlice') || isOp(x, 'putRows'); x = unshaped(x.inputs[0])) updates.push(x);
    if (isOp(x, 'variable') && x.arg.variable.id === variable.id) for (const n of updates.filter(isSmall)) chosen.add(n);
  }
  if (chosen.size === 0) return roots;
  const built = new Map<Node, Node>();
  for (const n of topological(roots)) {
    const inputs = n.inputs.map((i) => built.get(i) as Node);
    const same = inputs.every((x, i) => x === n.inputs[i]);
    built.set(n, chosen.has(n) ? asRows(inputs) : same ? n : ops.make(n.op, inputs, n.arg as never));
  }
  return roots.map((r) => built.get(r) as Node);
}
