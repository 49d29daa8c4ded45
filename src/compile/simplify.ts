/**
 * @file simplify: rebuilds a graph bottom-up so that equal nodes are one (hash-consing), constants are folded, dead
 * nodes vanish, and movements that cancel disappear. Rewrites never change a value beyond the rounding of folded constants.
 */
import { type DType, decode, dtypes, encode, isFloat, spelled } from '../base/dtype.js';
import { type Shape, sameShape, size } from '../base/shape.js';
import { ops } from '../graph/builder.js';
import { isOp, makeNode, type Node, topological } from '../graph/node.js';
import { isScalarOp, scalarRow } from '../kernel/scalar-ops.js';
import { unpadded } from './narrow.js';
import { rewriteConv } from './rewrite-conv.js';
import { isSource, isView } from './views.js';

/** The attribute of a node as text. */
export function argKey(node: Node): string {
  if (isOp(node, 'variable')) return `${node.arg.variable.id}@${node.arg.version}`;
  if (isOp(node, 'buffer')) return `#${bufferId(node.arg.data)}`;
  if (isOp(node, 'constant')) return spelled(node.arg.value);
  // JSON has neither infinities nor -0.
  const plain = (_: string, v: unknown): unknown => (typeof v === 'number' && (!Number.isFinite(v) || Object.is(v, -0)) ? spelled(v) : v);
  return node.arg === undefined ? '' : JSON.stringify(node.arg, plain);
}

/** Structure of a node over already interned inputs; equal keys are equal values. */
const keyOf = (node: Node): string =>
  `${node.op}(${node.inputs.map((i) => i.id).join(',')})${argKey(node)}:${node.dtype}[${node.shape.join(',')}]`;

const bufferIds = new WeakMap<object, number>();
let nextBufferId = 0;
function bufferId(data: object): number {
  let id = bufferIds.get(data);
  if (id === undefined) {
    id = nextBufferId++;
    bufferIds.set(data, id);
  }
  return id;
}

/** The compiler's one form of a filled tensor: a constant node of the full shape. */
const full = (shape: Shape, value: number, dtype: DType): Node => makeNode('constant', [], { value }, dtype, shape);

const constantValue = (n: Node): number | null => (isOp(n, 'constant') ? n.arg.value : null);

/** Rounds a folded value to what `dtype` can hold. */
function round(dtype: Node['dtype'], value: number): number {
  if (dtype === 'f32') return Math.fround(value);
  const array = new dtypes[dtype].array(1);
  array[0] = encode(dtype, value);
  return decode(dtype, array[0]);
}

/** x with `low` and `high` zeros before and after it along one axis, as a sum of slices' gradients has it. */
function padOfZeros(n: Node): { x: Node; axis: number; low: number; high: number } | null {
  if (!isOp(n, 'pad') || n.arg.value !== 0) return null;
  const moved = n.arg.dims.flatMap(([low, high, interior], axis) => (low || high || interior ? [{ low, high, interior, axis }] : []));
  if (moved.length !== 1 || moved[0].interior || moved[0].low < 0 || moved[0].high < 0) return null;
  const { axis, low, high } = moved[0];
  return { x: n.inputs[0], axis, low, high };
}

/** Padded pieces that lie side by side are joined, not added: what the gradient of a split comes as. */
function joinPads(a: Node, b: Node): Node | null {
  const [p, q] = [padOfZeros(a), padOfZeros(b)];
  if (!p || !q || p.axis !== q.axis || (p.low === 0 && p.high === 0) || (q.low === 0 && q.high === 0)) return null;
  const { axis } = p;
  const [first, second] = p.low < q.low ? [p, q] : [q, p];
  if (first.low + first.x.shape[axis] !== second.low) return null;
  const pieces = [first.x, second.x].flatMap((x) => (isOp(x, 'concat') && x.arg.axis === axis ? x.inputs : [x]));
  const joined = ops.concat(pieces, axis);
  if (first.low === 0 && second.high === 0) return joined;
  return ops.pad(
    joined,
    joined.shape.map((_, i) => (i === axis ? [first.low, second.high, 0] : [0, 0, 0])),
    0,
  );
}

/** Identities of scalar ops; null: none applies. */
function simplifyScalar(n: Node): Node | null {
  const values = n.inputs.map(constantValue);
  if (isScalarOp(n.op) && values.every((v) => v !== null)) {
    const row = scalarRow(n.op);
    const f = row.jsInt && !isFloat(n.inputs[n.inputs.length - 1].dtype) ? row.jsInt : row.js;
    return full(n.shape, round(n.dtype, f(...(values as number[]))), n.dtype);
  }
  const [a, b] = n.inputs;
  const [u, v] = values;
  switch (n.op) {
    case 'add':
      return v === 0 ? a : u === 0 ? b : joinPads(a, b);
    case 'sub':
      return v === 0 ? a : null;
    case 'mul':
      return v === 1 ? a : u === 1 ? b : v === -1 && n.dtype !== 'bool' ? ops.neg(a) : null;
    case 'div':
      // A power of two has an exact reciprocal.
      return v === 1 ? a : v && Number.isInteger(Math.log2(Math.abs(v))) ? ops.mul(a, ops.constant(1 / v, a)) : null;
    case 'pow':
      return v === 1
        ? a
        : v === 2
          ? ops.mul(a, a)
          : v === 0.5
            ? ops.sqrt(a)
            : v === -1 && isFloat(a.dtype)
              ? ops.div(ops.constant(1, a), a)
              : null;
    case 'neg':
      return isOp(a, 'neg') ? a.inputs[0] : null;
    case 'select':
      return u !== null ? (u ? b : n.inputs[2]) : b === n.inputs[2] ? b : null;
    default:
      return null;
  }
}

/** Movements that cancel, compose or miss what they move. */
function simplifyMovement(n: Node): Node | null {
  const x = n.inputs[0];
  if (isOp(x, 'constant') && (n.op === 'reshape' || n.op === 'transpose' || n.op === 'broadcast' || n.op === 'slice' || n.op === 'flip'))
    return full(n.shape, x.arg.value, n.dtype);
  if (isOp(n, 'reshape')) {
    if (sameShape(n.shape, x.shape)) return x;
    if (isOp(x, 'reshape')) return ops.reshape(x.inputs[0], n.shape);
  }
  if (isOp(n, 'transpose')) {
    if (n.arg.perm.every((p, i) => p === i)) return x;
    if (isOp(x, 'transpose')) {
      const inner = x.arg.perm;
      return ops.transpose(
        x.inputs[0],
        n.arg.perm.map((p) => inner[p]),
      );
    }
  }
  if (isOp(n, 'pad') && isOp(x, 'transpose')) {
    // In memory as what it pads: a view of one padded copy serves a convolution and its filter's gradient.
    const { perm } = x.arg;
    const { dims, value } = n.arg;
    return ops.transpose(
      ops.pad(
        x.inputs[0],
        perm.map((_, axis) => dims[perm.indexOf(axis)]),
        value,
      ),
      perm,
    );
  }
  if (isOp(n, 'broadcast')) {
    if (sameShape(n.shape, x.shape)) return x;
    if (isOp(x, 'broadcast')) return ops.broadcast(x.inputs[0], n.shape);
  }
  if (isOp(n, 'slice')) {
    const { start, end, stride } = n.arg;
    if (sameShape(n.shape, x.shape) && stride.every((s) => s === 1)) return x;
    if (isOp(x, 'slice')) {
      const inner = x.arg;
      return ops.slice(
        x.inputs[0],
        start.map((s, i) => inner.start[i] + s * inner.stride[i]),
        start.map((s, i) => inner.start[i] + (s + (n.shape[i] - 1) * stride[i]) * inner.stride[i] + 1),
        stride.map((s, i) => s * inner.stride[i]),
      );
    }
    if (isOp(x, 'concat')) {
      // A slice that lies inside one piece needs only that piece.
      const axis = x.arg.axis;
      let low = 0;
      for (const piece of x.inputs) {
        const high = low + piece.shape[axis];
        if (start[axis] >= low && end[axis] <= high && stride[axis] === 1) {
          const at = (v: readonly number[]) => v.map((s, i) => (i === axis ? s - low : s));
          return ops.slice(piece, at(start), at(end), stride);
        }
        low = high;
      }
    }
    if (isOp(x, 'pad') && x.arg.dims.every((d) => d[2] === 0)) {
      // A slice that never meets the padding.
      const inside = x.arg.dims.every(([low], i) => start[i] >= low && end[i] <= low + x.inputs[0].shape[i]);
      if (inside)
        return ops.slice(
          x.inputs[0],
          start.map((s, i) => s - x.arg.dims[i][0]),
          end.map((e, i) => e - x.arg.dims[i][0]),
          stride,
        );
    }
  }
  return null;
}

/** A barrier lies before movements, where it costs nothing, and waits for what is computed alone. */
function simplifyBarrier(n: Node<'barrier'>): Node | null {
  const [x, ...others] = n.inputs;
  const isGiven = (o: Node): boolean => (isSource(o) && o.op !== 'barrier') || o.op === 'constant' || o.op === 'iota';
  const computed = others.filter((o) => !isGiven(o));
  if (computed.length === 0 || x.op === 'constant' || x.op === 'iota') return x;
  if (computed.length < others.length) return ops.barrier(x, computed);
  if (isView(x)) return ops.make(x.op, [ops.barrier(x.inputs[0], others)], x.arg as never);
  return null;
}

function rewrite(n: Node): Node | null {
  return rewriteOne(n) ?? unpadded(n);
}

function rewriteOne(n: Node): Node | null {
  if (isScalarOp(n.op)) return simplifyScalar(n);
  if (isOp(n, 'cast')) {
    const x = n.inputs[0];
    const v = constantValue(x);
    if (v !== null) return full(n.shape, round(n.dtype, n.dtype === 'bool' ? Number(v !== 0) : v), n.dtype);
    return x.dtype === n.dtype ? x : null;
  }
  if (isOp(n, 'stopGradient') || isOp(n, 'customGradient')) return n.inputs[0];
  if (isOp(n, 'barrier')) return simplifyBarrier(n);
  if (isOp(n, 'conv')) return rewriteConv(n);
  if (isOp(n, 'putRows') && (size(n.inputs[1].shape) === 0 || size(n.shape) === 0)) return n.inputs[0];
  if ((isOp(n, 'takeAdd') || isOp(n, 'takeAlongAdd')) && size(n.inputs[0].shape) === 0) return full(n.shape, 0, n.dtype);
  if (isOp(n, 'sum')) {
    const x = n.inputs[0];
    const v = constantValue(x);
    if (n.arg.axes.length === 0 && x.dtype === n.dtype) return x;
    if (v !== null) return full(n.shape, round(n.dtype, (v * size(x.shape)) / Math.max(1, size(n.shape))), n.dtype);
  }
  if ((isOp(n, 'reduceMax') || isOp(n, 'reduceMin')) && n.arg.axes.length === 0) return n.inputs[0];
  return n.inputs.length > 0 ? simplifyMovement(n) : null;
}

/** Simplified, interned equivalents of `roots`, in order. */
export function simplify(roots: readonly Node[]): Node[] {
  const interned = new Map<string, Node>();
  const done = new Map<Node, Node>();

  const intern = (node: Node): Node => {
    const key = keyOf(node);
    const old = interned.get(key);
    if (old) return old;
    interned.set(key, node);
    return node;
  };

  // A rewrite may build several new nodes: they go through the same mill until nothing changes.
  const settle = (node: Node): Node => {
    const known = done.get(node);
    if (known) return known;
    for (const n of topological([node], done)) {
      // Settling one may settle others of this list.
      if (done.has(n)) continue;
      const inputs = n.inputs.map((i) => done.get(i) as Node);
      const current = inputs.every((x, i) => x === n.inputs[i]) ? n : ops.make(n.op, inputs, n.arg as never);
      const rewritten = current === n || !done.has(current) ? rewrite(current) : null;
      const result = rewritten && rewritten !== current ? settle(rewritten) : intern(current);
      done.set(n, result);
      done.set(current, result);
      done.set(result, result);
    }
    return done.get(node) as Node;
  };

  return roots.map(settle);
}
