/**
 * @file sparse: the update of a table of which a step looks up a few rows. Where a rule leaves a row whose gradient is zero as it is (SGD
 * without momentum, Adagrad), only the rows that were looked up are read and written: their gradients are summed, each is used once and set to
 * zero, so that a row that was looked up twice is left alone the second time. Values equal those of the whole update.
 */
import { sameShape, size } from '../base/shape.js';
import { isOp, type Node, topological } from '../graph/node.js';
import type { Variable } from '../graph/variable.js';
import { cast, constant, type Expr, load, loop, op, type Stmt, variable } from '../kernel/kernel.js';
import type { TargetInfo } from '../kernel/target.js';
import { arithmetic, Buffers, Emitter, unflattenWindow } from './emit.js';
import { isElementwise, usersOf } from './fuse.js';
import { bytesOf, columnSlabs, type LoweredCall } from './lower.js';
import { Ix } from './symbolic.js';
import { flatten, isSource } from './views.js';

type Write = { readonly variable: Variable; readonly value: Node };

/** The kernel of one table's gradient, the values that it writes over their Variables, and what must be in buffers for it. */
export interface SparseUpdate {
  readonly call: LoweredCall;
  readonly values: readonly Node[];
  readonly inputs: readonly Node[];
}

type AtZero = 'zero' | Node | null;

/** What a formula is where `gradient` is zero: zero, a Variable's old value, or something else (null). Infinite factors are not thought of. */
function atZero(n: Node, gradient: Node, known = new Map<Node, AtZero>()): AtZero {
  if (n === gradient || (isOp(n, 'constant') && n.arg.value === 0)) return 'zero';
  if (isOp(n, 'variable')) return n;
  const old = known.get(n);
  if (old !== undefined) return old;
  // Of a choice (fit keeps the old value where a step is not to count), both sides.
  const [a, b] = (n.op === 'select' ? n.inputs.slice(1) : n.inputs).map((i) => atZero(i, gradient, known));
  const isZero = a === 'zero' || b === 'zero';
  let value: AtZero = null;
  if (n.op === 'mul') value = isZero ? 'zero' : null;
  else if (n.op === 'add') value = a === 'zero' ? b : b === 'zero' ? a : null;
  else if (n.op === 'select') value = a === b ? a : null;
  else if (n.op === 'sub') value = b === 'zero' ? a : null;
  else if (n.op === 'div' || n.op === 'neg' || n.op === 'cast' || n.op === 'broadcast' || n.op === 'reshape')
    value = a === 'zero' ? a : null;
  known.set(n, value);
  return value;
}

/** Updates of which each touches at most half of a table's rows. */
export function sparseUpdates(outputs: readonly Node[], writes: readonly Write[], target: TargetInfo): SparseUpdate[] {
  const order = topological([...outputs, ...writes.map((w) => w.value)]);
  const users = usersOf(order);
  const writesOf = new Map<Node, Write[]>();
  for (const w of writes) writesOf.set(w.value, [...(writesOf.get(w.value) ?? []), w]);

  const found: SparseUpdate[] = [];
  for (const gradient of order) {
    if (!isOp(gradient, 'takeAdd') || gradient.arg.axis !== 0 || 2 * size(gradient.inputs[1].shape) > gradient.arg.extent) continue;
    // Everything made of the gradient, up to the values that are written.
    const made = new Set<Node>([gradient]);
    const isMade = (n: Node): boolean => isElementwise(n) && sameShape(n.shape, gradient.shape);
    for (const n of order) if (n.inputs.some((i) => made.has(i))) made.add(n);
    const values = [...made].filter((n) => writesOf.has(n));
    const isUpdate = (n: Node): boolean => {
      const [write, ...others] = writesOf.get(n) ?? [];
      const old = write && others.length === 0 && !outputs.includes(n) ? atZero(n, gradient) : null;
      return old !== null && old !== 'zero' && isOp(old, 'variable') && old.arg.variable.id === write.variable.id;
    };
    const isInner = (n: Node): boolean => isMade(n) && !outputs.includes(n) && (users.has(n) || writesOf.has(n));
    if (![...made].every((n) => n === gradient || isInner(n))) continue;
    if (outputs.includes(gradient) || values.length === 0 || !values.every(isUpdate)) continue;
    found.push(lower(gradient, values, target));
  }
  return found;
}

/** The formulas' nodes that are computed at an element, and those that are read from buffers. */
function formulas(gradient: Node, values: readonly Node[]): { members: Set<Node>; leaves: Set<Node> } {
  const members = new Set<Node>([gradient]);
  const leaves = new Set<Node>();
  const visit = (n: Node): void => {
    if (members.has(n) || leaves.has(n)) return;
    const isInline = isElementwise(n) || n.op === 'broadcast' || n.op === 'reshape' || n.op === 'constant';
    // What has few elements is made once.
    if (!isInline || (n.op !== 'constant' && 4 * size(n.shape) <= size(gradient.shape))) leaves.add(n);
    else {
      members.add(n);
      n.inputs.forEach(visit);
    }
  };
  values.forEach(visit);
  return { members, leaves };
}

function lower(gradient: Node<'takeAdd'>, values: readonly Node[], target: TargetInfo): SparseUpdate {
  const [dy, indices] = gradient.inputs;
  const { members, leaves } = formulas(gradient, values);
  const tail = gradient.shape.slice(1);
  const columns = size(tail);
  const slabs = columnSlabs(columns, target, 'item');
  const tailIdx = unflattenWindow(Ix.variable('column', columns), tail);
  const count = size(indices.shape);
  const kIdx = indices.shape.length === 0 ? [] : unflattenWindow(Ix.variable('k', count), indices.shape);
  const type = arithmetic(gradient.dtype);
  const buffers = new Buffers();
  const sums = buffers.name(gradient, 'readwrite');
  const none = new Set<Node>();

  /** A loop over the look-ups, in it one over the item's columns of the row. */
  const overRows = (make: (row: Ix, at: Expr) => Stmt[]): Stmt => {
    const picker = new Emitter(buffers, none);
    const row = picker.position(picker.emit(indices, kIdx), gradient.arg.extent, kIdx);
    const body = make(row, flatten([row, ...tailIdx], gradient.shape).toExpr());
    return loop('k', 0, count, [...picker.body, slabs.over(body)]);
  };
  const sum = (at: Expr): Expr => cast(type, load(sums, gradient.dtype, at));
  const put = (at: Expr, value: Expr): Stmt => ({ kind: 'store', buffer: sums, index: at, value: cast(gradient.dtype, value) });
  const clear = overRows((_, at) => [put(at, constant(type, 0))]);
  const add = overRows((_, at) => {
    const e = new Emitter(buffers, none);
    const v = e.emit(dy, [...kIdx, ...tailIdx]);
    return [...e.body, put(at, op('add', type, sum(at), v))];
  });
  const update = overRows((row, at) => {
    const e = new Emitter(buffers, members, new Map([[gradient, variable('g', type)]]));
    // All old values are read before the first new one is written.
    const made = values.map((v) => e.emit(v, [row, ...tailIdx]));
    const stores = values.map(
      (v, i): Stmt => ({ kind: 'store', buffer: buffers.name(v, 'write'), index: at, value: cast(v.dtype, made[i]) }),
    );
    return [{ kind: 'let', name: 'g', value: sum(at) }, ...e.body, ...stores, put(at, constant(type, 0))];
  });
  return {
    call: {
      kernel: {
        label: 'sparse update',
        buffers: buffers.params,
        grid: { name: 'item', extent: slabs.count },
        body: [clear, add, update],
        flops: (members.size + 2) * count * columns,
        bytes: Math.min(bytesOf(buffers), 4 * (2 * values.length + 4) * count * columns),
      },
      nodes: buffers.nodes,
      inPlace: new Set([...leaves].filter((n) => isOp(n, 'variable'))),
    },
    values,
    inputs: [dy, indices, ...leaves].filter((n) => !isSource(n) || n.op === 'barrier'),
  };
}
