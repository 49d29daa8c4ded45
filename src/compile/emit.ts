/**
 * @file Emitter: the element of a node at an index, as an expression. Movements only change the index, elementwise
 * nodes become `let`s, everything with a buffer is loaded. One Emitter serves one kernel body; scopes follow the
 * statement lists it is writing into.
 */
import { type DType, dtypes, isFloat } from '../base/dtype.js';
import { InternalError } from '../base/errors.js';
import { isOp, type Node } from '../graph/node.js';
import type { WindowArg } from '../graph/primitives/args.js';
import { type BufferParam, cast, constant, type Expr, load, op, type Stmt, type ValueType, variable } from '../kernel/kernel.js';
import { isScalarOp, scalarRow } from '../kernel/scalar-ops.js';
import { Ix } from './symbolic.js';
import { flatten, isSource, moveIndex } from './views.js';

/** The type in which elements of a dtype are computed with. */
export function arithmetic(dtype: DType): DType {
  if (isFloat(dtype)) return 'f32';
  if (dtype === 'i8') return 'i32';
  return dtype === 'u8' ? 'u32' : dtype;
}

/** An array of the item's own that holds a node's elements from `first` on. */
export interface OwnArray {
  readonly name: string;
  readonly first: Ix;
}

/** Buffers of one kernel: names by node, in order of first use. */
export class Buffers {
  readonly params: BufferParam[] = [];
  readonly nodes: Node[] = [];
  readonly #names = new Map<Node, string>();
  readonly #own: ReadonlyMap<Node, OwnArray>;
  #serial = 0;

  /** @param own nodes that live in arrays of the item instead of buffers. */
  constructor(own: ReadonlyMap<Node, OwnArray> = new Map()) {
    this.#own = own;
  }

  /** A name that is new in this kernel. Numbered by kernel, so that equal kernels have equal text and are compiled once. */
  fresh(prefix: string): string {
    return `${prefix}${this.#serial++}`;
  }

  name(node: Node, access: BufferParam['access']): string {
    let name = this.#names.get(node);
    if (name === undefined) {
      name = `b${this.params.length}`;
      this.#names.set(node, name);
      this.params.push({ name, dtype: node.dtype, access });
      this.nodes.push(node);
    } else {
      const i = this.nodes.indexOf(node);
      if (this.params[i].access !== access) this.params[i] = { ...this.params[i], access: 'readwrite' };
    }
    return name;
  }

  /** Where the element of a node with the flat index `at` lies. */
  place(node: Node, access: 'read' | 'write', at: Ix): { readonly buffer: string; readonly index: Expr } {
    const own = this.#own.get(node);
    if (own) return { buffer: own.name, index: at.add(own.first.scale(-1)).toExpr() };
    return { buffer: this.name(node, access), index: at.toExpr() };
  }
}

interface Scope {
  readonly body: Stmt[];
  readonly memo: Map<string, Expr>;
}

export class Emitter {
  /** Every index that addressed a buffer, became a value or guarded a condition: what decides which loops may merge. */
  readonly touched: Ix[] = [];
  /** Indices that were tested to lie in [0, extent), where their range doesn't tell. */
  readonly guards: { at: Ix; extent: number }[] = [];
  /** Reads of nodes' buffers, by address. */
  readonly reads: { node: Node; at: Ix }[] = [];
  readonly #buffers: Buffers;
  readonly #members: ReadonlySet<Node>;
  readonly #given: ReadonlyMap<Node, Expr>;
  readonly #scopes: Scope[];

  /**
   * @param members nodes to compute here; others are loaded.
   * @param given values that are in registers at the element being computed (an anchor's accumulator).
   */
  constructor(buffers: Buffers, members: ReadonlySet<Node>, given: ReadonlyMap<Node, Expr> = new Map()) {
    this.#buffers = buffers;
    this.#members = members;
    this.#given = given;
    this.#scopes = [{ body: [], memo: new Map() }];
  }

  /** Statements written so far in the outermost scope. */
  get body(): Stmt[] {
    return this.#scopes[0].body;
  }

  emit(n: Node, idx: readonly Ix[]): Expr {
    const given = this.#given.get(n);
    if (given) return given;
    if (isOp(n, 'constant')) return constant(arithmetic(n.dtype), n.arg.value);
    const key = `${n.id}@${idx.map((i) => i.key).join(';')}`;
    for (const s of this.#scopes) {
      const known = s.memo.get(key);
      if (known) return known;
    }
    const value = this.#compute(n, idx);
    const bound = this.bind(value);
    this.#scopes[this.#scopes.length - 1].memo.set(key, bound);
    return bound;
  }

  /** x's element, or `otherwise` where the index lies outside x. */
  emitInside(x: Node, at: readonly Ix[], otherwise: number): Expr {
    const type = arithmetic(x.dtype);
    return this.#guard(
      at.map((ix, i) => this.#inside(ix, x.shape[i])),
      type,
      constant(type, otherwise),
      () => this.emit(x, at),
    );
  }

  /** Writes the element of a stored node. */
  store(n: Node, idx: readonly Ix[], value: Expr): void {
    const at = flatten(idx, n.shape);
    this.touched.push(at);
    this.write({ kind: 'store', ...this.#buffers.place(n, 'write', at), value: cast(n.dtype, value) });
  }

  write(s: Stmt): void {
    this.#scopes[this.#scopes.length - 1].body.push(s);
  }

  /** Names a value unless it is one already, so that shared expressions are computed once. */
  bind(value: Expr): Expr {
    if (value.kind === 'const' || value.kind === 'var') return value;
    const name = this.#buffers.fresh('t');
    this.write({ kind: 'let', name, value });
    return variable(name, value.type);
  }

  /** Runs `inner` in a scope of its own and returns its statements. */
  scoped(inner: () => void): Stmt[] {
    const scope: Scope = { body: [], memo: new Map() };
    this.#scopes.push(scope);
    inner();
    this.#scopes.pop();
    return scope.body;
  }

  /** Value of an index as an integer or float. */
  indexValue(ix: Ix, type: ValueType): Expr {
    this.touched.push(ix);
    return cast(type, ix.toExpr());
  }

  #load(n: Node, idx: readonly Ix[]): Expr {
    const at = flatten(idx, n.shape);
    this.touched.push(at);
    this.reads.push({ node: n, at });
    const { buffer, index } = this.#buffers.place(n, 'read', at);
    return cast(arithmetic(n.dtype), load(buffer, n.dtype, index));
  }

  /** 0 ≤ ix < extent as a condition; true or false when the range decides. */
  #inside(ix: Ix, extent: number): Expr | boolean {
    if (ix.min >= 0 && ix.max < extent) return true;
    if (ix.max < 0 || ix.min >= extent) return false;
    this.touched.push(ix);
    this.guards.push({ at: ix, extent });
    const e = ix.toExpr();
    const low = ix.min >= 0 ? null : op('le', 'bool', constant('index', 0), e);
    const high = ix.max < extent ? null : op('lt', 'bool', e, constant('index', extent));
    return low && high ? op('and', 'bool', low, high) : ((low ?? high) as Expr);
  }

  /** `value()` where all conditions hold, else `otherwise`; nothing is loaded where they don't. */
  #guard(conditions: readonly (Expr | boolean)[], type: ValueType, otherwise: Expr, value: () => Expr): Expr {
    if (conditions.some((c) => c === false)) return otherwise;
    const tests = conditions.filter((c): c is Expr => typeof c !== 'boolean');
    if (tests.length === 0) return value();
    const name = this.#buffers.fresh('m');
    this.write({ kind: 'mut', name, value: otherwise });
    const then = this.scoped(() => this.write({ kind: 'assign', name, value: value() }));
    this.write({ kind: 'if', cond: tests.reduce((a, b) => op('and', 'bool', a, b)), then });
    return variable(name, type);
  }

  /** An i32 position, found at the indices `from`, made an index, clamped to the axis. */
  position(value: Expr, extent: number, from: readonly Ix[]): Ix {
    const bound = this.bind(
      op('max', 'index', op('min', 'index', cast('index', value), constant('index', extent - 1)), constant('index', 0)),
    );
    return Ix.opaque(bound, bound.kind === 'var' ? bound.name : 'const', extent, from);
  }

  #compute(n: Node, idx: readonly Ix[]): Expr {
    if (!this.#members.has(n) || isSource(n)) return this.#load(n, idx);
    const type = arithmetic(n.dtype);
    if (isScalarOp(n.op)) return this.#scalar(n, idx);
    const moved = moveIndex(n, idx);
    if (moved) return this.emit(n.inputs[0], moved);
    if (isOp(n, 'iota')) return this.indexValue(idx[n.arg.axis], type);
    if (isOp(n, 'cast')) return this.#convert(this.emit(n.inputs[0], idx), n.inputs[0].dtype, n.dtype);
    if (isOp(n, 'pad')) return this.#pad(n, idx);
    if (isOp(n, 'concat')) return this.#concat(n, idx);
    if (isOp(n, 'take')) {
      const rank = n.inputs[1].shape.length;
      const { axis } = n.arg;
      const from = idx.slice(axis, axis + rank);
      const at = this.position(this.emit(n.inputs[1], from), n.inputs[0].shape[axis], from);
      return this.emit(n.inputs[0], [...idx.slice(0, axis), at, ...idx.slice(axis + rank)]);
    }
    if (isOp(n, 'takeAlong')) {
      const at = this.position(this.emit(n.inputs[1], idx), n.inputs[0].shape[n.arg.axis], idx);
      return this.emit(
        n.inputs[0],
        idx.map((ix, i) => (i === n.arg.axis ? at : ix)),
      );
    }
    if (isOp(n, 'dynamicSlice')) {
      const x = n.inputs[0];
      return this.emit(
        x,
        idx.map((ix, i) => ix.add(this.position(this.emit(n.inputs[1 + i], []), x.shape[i] - n.shape[i] + 1, []))),
      );
    }
    if (isOp(n, 'dynamicUpdateSlice')) {
      const [x, update] = n.inputs;
      const local = idx.map((ix, i) =>
        ix.add(this.position(this.emit(n.inputs[2 + i], []), x.shape[i] - update.shape[i] + 1, []).scale(-1)),
      );
      const old = this.emit(x, idx);
      return this.#guard(
        local.map((ix, i) => this.#inside(ix, update.shape[i])),
        type,
        old,
        () => this.emit(update, local),
      );
    }
    if (isOp(n, 'randomBits')) {
      const [seed, step] = n.inputs;
      const counter = flatten(idx, n.shape);
      this.touched.push(counter);
      return {
        kind: 'random',
        type: 'u32',
        lanes: 1,
        stream: n.arg.stream,
        counter: counter.toExpr(),
        step: this.emit(step, []),
        key0: this.emit(seed, [Ix.constant(0)]),
        key1: this.emit(seed, [Ix.constant(1)]),
      };
    }
    if (isOp(n, 'windowGather')) {
      const position = this.bind(cast('index', this.emit(n.inputs[1], idx)));
      const flat = Ix.opaque(
        position,
        position.kind === 'var' ? position.name : 'const',
        n.arg.size.reduce((a, b) => a * b, 1),
      );
      return this.emitInside(n.inputs[0], windowAt(n.arg, idx, unflattenWindow(flat, n.arg.size)), 0);
    }
    if (isOp(n, 'windowMax') || isOp(n, 'windowSum')) return this.#windowInline(n, idx);
    if (isOp(n, 'windowArgmax')) return this.#windowArgmaxInline(n, idx);
    if (isOp(n, 'windowScatter') || isOp(n, 'windowSpread')) return this.#windowAdjoint(n, idx);
    throw new InternalError(`emit: no formula for ${n.op}`);
  }

  #convert(x: Expr, from: DType, to: DType): Expr {
    if (to === 'bool') return from === 'bool' ? x : op('ne', 'bool', x, constant(x.type, 0));
    // Through the narrow type, so that integers wrap as they would in memory.
    const narrow = dtypes[to].bytes < 4 && !isFloat(to) ? cast(to, x) : x;
    return cast(arithmetic(to), narrow);
  }

  #scalar(n: Node, idx: readonly Ix[]): Expr {
    const args = n.inputs.map((i) => this.emit(i, idx));
    const row = scalarRow(n.op as Parameters<typeof scalarRow>[0]);
    const type = row.out === 'bool' ? 'bool' : arithmetic(n.dtype);
    const result = op(n.op as Parameters<typeof op>[0], type, ...args);
    const narrow = row.out === 'same' && (n.dtype === 'u8' || n.dtype === 'i8');
    return narrow ? cast(type, cast(n.dtype, this.bind(result))) : result;
  }

  #pad(n: Node<'pad'>, idx: readonly Ix[]): Expr {
    const x = n.inputs[0];
    const guards = this.guards.length;
    const conditions: (Expr | boolean)[] = [];
    const inner = idx.map((ix, i) => {
      const [low, , interior] = n.arg.dims[i];
      const at = ix.add(-low);
      if (interior === 0) {
        conditions.push(this.#inside(at, x.shape[i]));
        return at;
      }
      const step = interior + 1;
      // Shifted by a multiple of the step so that quotient and remainder are of something non-negative.
      const shift = Math.max(0, Math.ceil(low / step));
      const positive = at.add(shift * step);
      const rest = positive.mod(step);
      if (!rest.isConstant) {
        this.touched.push(rest);
        conditions.push(op('eq', 'bool', rest.toExpr(), constant('index', 0)));
      } else conditions.push(rest.offset === 0);
      const q = positive.div(step).add(-shift);
      conditions.push(this.#inside(q, x.shape[i]));
      return q;
    });
    // All padding: the other axes' tests decide nothing.
    if (conditions.includes(false)) this.guards.length = guards;
    return this.#guard(conditions, arithmetic(n.dtype), constant(arithmetic(n.dtype), n.arg.value), () => this.emit(x, inner));
  }

  #concat(n: Node<'concat'>, idx: readonly Ix[]): Expr {
    const { axis } = n.arg;
    const at = idx[axis];
    const type = arithmetic(n.dtype);
    let result: Expr = constant(type, 0);
    let low = 0;
    for (const piece of n.inputs) {
      const local = at.add(-low);
      const before = result;
      result = this.#guard([this.#inside(local, piece.shape[axis])], type, before, () =>
        this.emit(
          piece,
          idx.map((ix, i) => (i === axis ? local : ix)),
        ),
      );
      low += piece.shape[axis];
    }
    return result;
  }

  /** Taps of a window that may lie outside x; calls `tap` for each with its guard conditions and x's index. */
  #taps(arg: WindowArg, x: Node, idx: readonly Ix[], tap: (inside: (Expr | boolean)[], at: Ix[], position: number) => void): void {
    const total = arg.size.reduce((a, b) => a * b, 1);
    for (let p = 0; p < total; p++) {
      const at = windowAt(arg, idx, unflattenWindow(Ix.constant(p), arg.size));
      const inside = arg.axes.map((axis) => this.#inside(at[axis], x.shape[axis]));
      if (!inside.includes(false)) tap(inside, at, p);
    }
  }

  #windowInline(n: Node<'windowMax'> | Node<'windowSum'>, idx: readonly Ix[]): Expr {
    const type = arithmetic(n.dtype);
    const max = isOp(n, 'windowMax');
    const neutral = constant(type, max ? lowest(n.dtype) : 0);
    let acc: Expr | null = null;
    this.#taps(n.arg, n.inputs[0], idx, (inside, at) => {
      const v = this.#guard(inside, type, neutral, () => this.emit(n.inputs[0], at));
      acc = acc === null ? v : this.bind(op(max ? 'max' : 'add', type, acc, v));
    });
    return acc ?? neutral;
  }

  /** Position of a window's first element that isn't padding: where nothing is larger than -infinity, that one is the largest. */
  firstInside(arg: WindowArg, idx: readonly Ix[]): Expr {
    let position: Expr | null = null;
    let unit = arg.size.reduce((a, b) => a * b, 1);
    for (const [d, axis] of arg.axes.entries()) {
      unit /= arg.size[d];
      const ahead = idx[axis].scale(-arg.stride[d]).add(arg.padding[d][0]);
      if (ahead.max <= 0) continue;
      let taps = op('max', 'i32', constant('i32', 0), this.indexValue(ahead, 'i32'));
      if (ahead.max >= arg.size[d]) taps = op('min', 'i32', taps, constant('i32', arg.size[d] - 1));
      const skipped = op('mul', 'i32', taps, constant('i32', unit));
      position = position ? op('add', 'i32', position, skipped) : skipped;
    }
    return position ? this.bind(position) : constant('i32', 0);
  }

  #windowArgmaxInline(n: Node<'windowArgmax'>, idx: readonly Ix[]): Expr {
    const x = n.inputs[0];
    const type = arithmetic(x.dtype);
    let best: Expr | null = null;
    let where = this.firstInside(n.arg, idx);
    this.#taps(n.arg, x, idx, (inside, at, p) => {
      const v = this.#guard(inside, type, constant(type, lowest(x.dtype)), () => this.emit(x, at));
      if (best === null) best = v;
      else {
        const wins = this.bind(greater(v, best));
        best = this.bind(op('select', type, wins, v, best));
        where = this.bind(op('select', 'i32', wins, constant('i32', p), where));
      }
    });
    return where;
  }

  /** Adjoint of a window: sums over the windows that cover the element. */
  #windowAdjoint(n: Node<'windowScatter'> | Node<'windowSpread'>, idx: readonly Ix[]): Expr {
    const { axes, size, stride, padding } = n.arg;
    const [dy, position] = n.inputs;
    const type = arithmetic(n.dtype);
    const zero = constant(type, 0);
    const cover = axes.map((_, d) => Math.ceil(size[d] / stride[d]));
    const total = cover.reduce((a, b) => a * b, 1);
    let acc: Expr | null = null;
    for (let c = 0; c < total; c++) {
      const which = unflattenWindow(Ix.constant(c), cover).map((ix) => ix.offset);
      const out = [...idx];
      const local: Ix[] = [];
      const conditions: (Expr | boolean)[] = [];
      for (const [d, axis] of axes.entries()) {
        // The last window that could hold the element, and `which` windows before it.
        const at = idx[axis].add(padding[d][0]);
        const w = at.div(stride[d]).add(-which[d]);
        const tap = at.mod(stride[d]).add(which[d] * stride[d]);
        conditions.push(this.#inside(w, dy.shape[axis]), this.#inside(tap, size[d]));
        out[axis] = w;
        local.push(tap);
      }
      const term = this.#guard(conditions, type, zero, () => {
        const v = this.emit(dy, out);
        if (!isOp(n, 'windowScatter')) return v;
        const flat = flatten(local, size);
        const hit = op('eq', 'bool', this.emit(position, out), this.indexValue(flat, 'i32'));
        return op('select', type, hit, v, zero);
      });
      acc = acc === null ? term : this.bind(op('add', type, acc, term));
    }
    return acc ?? zero;
  }
}

/** a > b where NaN counts as largest (the first one wins). */
export function greater(a: Expr, b: Expr): Expr {
  const more = op('lt', 'bool', b, a);
  if (a.type !== 'f32') return more;
  const firstNan = op('and', 'bool', op('ne', 'bool', a, a), op('eq', 'bool', b, b));
  return op('or', 'bool', more, firstNan);
}

/** The neutral element of max. */
export function lowest(dtype: DType): number {
  if (isFloat(dtype)) return Number.NEGATIVE_INFINITY;
  return dtype === 'i32' ? -(2 ** 31) : dtype === 'i8' ? -128 : 0;
}

/** x's index for tap `tap` of the window at `idx`. */
export function windowAt(arg: WindowArg, idx: readonly Ix[], tap: readonly Ix[]): Ix[] {
  const at = [...idx];
  for (const [d, axis] of arg.axes.entries()) at[axis] = idx[axis].scale(arg.stride[d]).add(tap[d]).add(-arg.padding[d][0]);
  return at;
}

export function unflattenWindow(flat: Ix, size: readonly number[]): Ix[] {
  const out = new Array<Ix>(size.length);
  let rest = flat;
  for (let d = size.length - 1; d >= 0; d--) {
    out[d] = d === 0 ? rest : rest.mod(size[d]);
    rest = rest.div(size[d]);
  }
  return out;
}
