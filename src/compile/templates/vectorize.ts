/**
 * @file Turns scalar statements along a simd variable into explicit vectors, so that a short epilogue runs on the
 * register tile itself and an operand's formula where its elements are wanted. It refuses (null) whatever isn't plain
 * arithmetic on neighbouring elements: the caller then writes a simd loop.
 */
import type { Expr, Stmt } from '../../kernel/kernel.js';
import { cast, constant, iadd, imul, index, op, splat, variable } from '../../kernel/kernel.js';
import type { ScalarOp } from '../../kernel/scalar-ops.js';

/** Operations whose vector form is a few instructions on every target. */
const plain: ReadonlySet<ScalarOp> = new Set<ScalarOp>([
  'neg',
  'add',
  'sub',
  'mul',
  'div',
  'max',
  'min',
  'lt',
  'le',
  'eq',
  'ne',
  'select',
  'and',
  'or',
  'xor',
  'not',
  'shl',
  'shr',
]);
const stored: ReadonlySet<string> = new Set(['f32', 'i32', 'u32', 'bf16', 'f16', 'i8', 'u8']);
/** Casts that are one or two instructions. */
const cheapCasts: Readonly<Record<string, readonly string[]>> = {
  f32: ['i32', 'u32', 'bool', 'bf16', 'f16', 'i8', 'u8'],
  i32: ['i8', 'u8', 'u32', 'bool'],
  u32: ['u8', 'i32', 'bool'],
  bf16: ['f32'],
  u8: ['u32', 'i32'],
  i8: ['i32'],
};

class Refused extends Error {}

/** What a vectorizer asks of buffers. */
export interface VectorBuffers {
  dtypeOf(buffer: string): string | undefined;
  /** Elements of a small table that may be looked up lane by lane; undefined: of any other buffer. */
  tableSize?(buffer: string): number | undefined;
}

class Vectorizer {
  readonly #lane: string;
  readonly #lanes: number;
  readonly #buffers: VectorBuffers;
  /** Per name: an index's step along the lane variable, or whether a value is a vector. */
  readonly #steps = new Map<string, number>();
  readonly #vectors = new Map<string, Expr>();
  /** Indices that differ from lane to lane in no fixed step, as vectors of i32. */
  readonly #positions = new Map<string, Expr>();

  constructor(lane: string, lanes: number, vectors: ReadonlyMap<string, Expr>, buffers: VectorBuffers) {
    this.#lane = lane;
    this.#lanes = lanes;
    this.#vectors = new Map(vectors);
    this.#buffers = buffers;
  }

  /** How an index changes from lane to lane. */
  #step(e: Expr): number {
    if (e.kind === 'const') return 0;
    if (e.kind === 'var') {
      if (this.#positions.has(e.name)) throw new Refused();
      return e.name === this.#lane ? 1 : (this.#steps.get(e.name) ?? 0);
    }
    if (e.kind === 'op') {
      const steps = e.args.map((a) => this.#step(a));
      if (steps.every((s) => s === 0)) return 0;
      if (e.op === 'add') return steps[0] + steps[1];
      if (e.op === 'sub') return steps[0] - steps[1];
      if (e.op === 'mul') {
        const [x, y] = e.args;
        if (y.kind === 'const') return steps[0] * y.value;
        if (x.kind === 'const') return steps[1] * x.value;
      }
      throw new Refused();
    }
    // A loaded or cast index: only where nothing in it moves.
    if (e.kind === 'load' && this.#step(e.index) === 0) return 0;
    if (e.kind === 'cast' && !this.#varies(e.x)) return 0;
    throw new Refused();
  }

  #varies(e: Expr): boolean {
    return this.value(e).lanes > 1;
  }

  /** A vector of positions: what a table is looked up at. */
  #position(e: Expr): Expr {
    if (e.kind === 'const') return splat(constant('i32', e.value), this.#lanes);
    if (e.kind === 'cast' && e.type === 'index') return splatted(cast('i32', this.value(e.x)), this.#lanes);
    if (e.kind === 'op' && (e.op === 'max' || e.op === 'min')) return op(e.op, 'i32', ...e.args.map((a) => this.#position(a)));
    throw new Refused();
  }

  /** The index of lane 0. */
  #first(e: Expr): Expr {
    if (e.kind === 'var') return e.name === this.#lane ? index(0) : e;
    if (e.kind !== 'op') return e;
    const args = e.args.map((a) => this.#first(a));
    if (e.op === 'add') return iadd(args[0], args[1]);
    if (e.op === 'mul') return imul(args[0], args[1]);
    return { ...e, args };
  }

  /** A scalar where all lanes agree, else a vector. */
  value(e: Expr): Expr {
    if (e.lanes > 1) throw new Refused();
    switch (e.kind) {
      case 'const':
        return e;
      case 'var': {
        if (e.type === 'index' && this.#step(e) !== 0) throw new Refused();
        return this.#vectors.get(e.name) ?? e;
      }
      case 'load': {
        const at = e.index.kind === 'var' ? this.#positions.get(e.index.name) : undefined;
        const size = at && this.#buffers.tableSize?.(e.buffer);
        if (at && size !== undefined && e.type === 'f32')
          return { kind: 'lookup', type: 'f32', buffer: e.buffer, size, x: at, lanes: this.#lanes };
        const step = this.#step(e.index);
        if (step === 0) return { ...e, index: this.#first(e.index) };
        if (step !== 1 || !stored.has(e.type)) throw new Refused();
        return { ...e, index: this.#first(e.index), lanes: this.#lanes };
      }
      case 'op': {
        if (e.type === 'index') {
          if (this.#step(e) !== 0) throw new Refused();
          return this.#first(e);
        }
        const args = e.args.map((a) => this.value(a));
        if (args.every((a) => a.lanes === 1)) return { ...e, args };
        if (!plain.has(e.op)) throw new Refused();
        return { ...e, args: args.map((a) => splatted(a, this.#lanes)), lanes: this.#lanes };
      }
      case 'fma': {
        const [a, b, c] = [e.a, e.b, e.c].map((x) => this.value(x));
        if (a.lanes === 1 && b.lanes === 1 && c.lanes === 1) return { ...e, a, b, c };
        return { ...e, a: splatted(a, this.#lanes), b: splatted(b, this.#lanes), c: splatted(c, this.#lanes), lanes: this.#lanes };
      }
      case 'cast': {
        if (e.x.type === 'index') {
          if (this.#step(e.x) !== 0) throw new Refused();
          return { ...e, x: this.#first(e.x) };
        }
        const x = this.value(e.x);
        if (x.lanes === 1) return { ...e, x };
        if (!cheapCasts[e.type]?.includes(x.type)) throw new Refused();
        return { ...e, x, lanes: this.#lanes };
      }
      default:
        throw new Refused();
    }
  }

  statement(s: Stmt): Stmt {
    switch (s.kind) {
      case 'let':
        if (s.value.type === 'index') {
          try {
            this.#steps.set(s.name, this.#step(s.value));
            return { ...s, value: this.#first(s.value) };
          } catch (e) {
            if (!(e instanceof Refused)) throw e;
          }
          this.#positions.set(s.name, variable(s.name, 'i32', this.#lanes));
          return { ...s, value: this.#position(s.value) };
        }
        break;
      case 'store': {
        const value = this.value(s.value);
        const wide = splatted(value, this.#lanes);
        const dtype = this.#buffers.dtypeOf(s.buffer);
        // Of a bf16 buffer the store itself rounds.
        const fits = dtype === wide.type ? ['f32', 'i32', 'u32', 'bf16'].includes(dtype) : dtype === 'bf16' && wide.type === 'f32';
        if (this.#step(s.index) !== 1 || !fits) throw new Refused();
        return { ...s, index: this.#first(s.index), value: wide };
      }
      default:
        throw new Refused();
    }
    const value = this.value(s.value);
    if (value.lanes > 1) this.#vectors.set(s.name, variable(s.name, value.type, this.#lanes));
    return { ...s, value };
  }
}

const splatted = (x: Expr, lanes: number): Expr => (x.lanes === 1 ? splat(x, lanes) : x);

function unlessRefused<T>(make: () => T): T | null {
  try {
    return make();
  } catch (e) {
    if (e instanceof Refused) return null;
    throw e;
  }
}

/**
 * `body` for `lanes` values of the index variable `lane`, from 0, at once; `vectors` are the names in it that already
 * hold one value a lane. Null when it can't be said in plain vectors.
 */
export function vectorize(
  body: readonly Stmt[],
  lane: string,
  lanes: number,
  vectors: ReadonlyMap<string, Expr>,
  buffers: VectorBuffers,
): Stmt[] | null {
  const v = new Vectorizer(lane, lanes, vectors, buffers);
  return unlessRefused(() => body.map((s) => v.statement(s)));
}

/** The same for a value that `body` leads up to. */
export function vectorizeValue(
  body: readonly Stmt[],
  value: Expr,
  lane: string,
  lanes: number,
  buffers: VectorBuffers,
): { body: Stmt[]; value: Expr } | null {
  const v = new Vectorizer(lane, lanes, new Map(), buffers);
  return unlessRefused(() => ({ body: body.map((s) => v.statement(s)), value: splatted(v.value(value), lanes) }));
}
