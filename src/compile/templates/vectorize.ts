/**
 * @file Turns scalar statements along a simd variable into explicit vectors, so that a short epilogue runs on the
 * register tile itself. It refuses (null) whatever isn't plain arithmetic on neighbouring elements: the caller then
 * writes a simd loop.
 */
import type { Expr, Stmt } from '../../kernel/kernel.js';
import { iadd, imul, index, splat, variable } from '../../kernel/kernel.js';
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
]);
const stored: ReadonlySet<string> = new Set(['f32', 'i32', 'u32', 'bf16']);

class Refused extends Error {}

class Vectorizer {
  readonly #lane: string;
  readonly #lanes: number;
  /** Per name: an index's step along the lane variable, or whether a value is a vector. */
  readonly #steps = new Map<string, number>();
  readonly #vectors = new Map<string, Expr>();

  constructor(lane: string, lanes: number, vectors: ReadonlyMap<string, Expr>) {
    this.#lane = lane;
    this.#lanes = lanes;
    this.#vectors = new Map(vectors);
  }

  /** How an index changes from lane to lane. */
  #step(e: Expr): number {
    if (e.kind === 'const') return 0;
    if (e.kind === 'var') return e.name === this.#lane ? 1 : (this.#steps.get(e.name) ?? 0);
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
        return { ...e, args: args.map((a) => splat(a, a.lanes === 1 ? this.#lanes : 1)), lanes: this.#lanes };
      }
      case 'fma': {
        const [a, b, c] = [e.a, e.b, e.c].map((x) => this.value(x));
        if (a.lanes === 1 && b.lanes === 1 && c.lanes === 1) return { ...e, a, b, c };
        const wide = (x: Expr): Expr => splat(x, x.lanes === 1 ? this.#lanes : 1);
        return { ...e, a: wide(a), b: wide(b), c: wide(c), lanes: this.#lanes };
      }
      case 'cast': {
        const x = this.value(e.x);
        if (x.lanes === 1) return { ...e, x };
        const cheap = e.type === 'f32' && (x.type === 'i32' || x.type === 'bool' || x.type === 'bf16');
        if (!cheap) throw new Refused();
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
          this.#steps.set(s.name, this.#step(s.value));
          return { ...s, value: this.#first(s.value) };
        }
        break;
      case 'store': {
        const value = this.value(s.value);
        const wide = splat(value, value.lanes === 1 ? this.#lanes : 1);
        if (this.#step(s.index) !== 1 || !['f32', 'i32', 'u32'].includes(wide.type)) throw new Refused();
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

/**
 * `body` for `lanes` values of the index variable `lane`, from 0, at once; `vectors` are the names in it that already
 * hold one value a lane. Null when it can't be said in plain vectors. A store's buffer must have the value's dtype.
 */
export function vectorize(
  body: readonly Stmt[],
  lane: string,
  lanes: number,
  vectors: ReadonlyMap<string, Expr>,
  dtypeOf: (buffer: string) => string | undefined,
): Stmt[] | null {
  const v = new Vectorizer(lane, lanes, vectors);
  try {
    return body.map((s) => {
      const out = v.statement(s);
      if (out.kind === 'store' && dtypeOf(out.buffer) !== out.value.type) throw new Refused();
      return out;
    });
  } catch (e) {
    if (e instanceof Refused) return null;
    throw e;
  }
}
