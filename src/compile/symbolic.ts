/**
 * @file Symbolic indices: integer linear combinations of bounded atoms, with floor quotients and remainders that
 * simplify when ranges allow. They make movement primitives free: a reshape of a transpose of a slice becomes one
 * affine address wherever it is one. (tinygrad's symbolic.py is the model.)
 */
import { type Expr, iadd, idiv, imod, imul, index, variable } from '../kernel/kernel.js';

/** Something an index is linear in: a loop variable, a computed position, or a quotient or remainder that did not simplify. */
interface Atom {
  readonly key: string;
  readonly expr: Expr;
  readonly min: number;
  readonly max: number;
  /** Whether its value may change with the loop variable. */
  depends(name: string): boolean;
  /** Set on quotients and remainders: of what, by what. */
  readonly quotient?: { readonly of: Ix; readonly by: number };
  readonly remainder?: { readonly of: Ix; readonly by: number };
}

interface Term {
  readonly atom: Atom;
  readonly factor: number;
}

/** offset + Σ factor · atom. Immutable. */
export class Ix {
  readonly terms: readonly Term[];
  readonly offset: number;
  readonly key: string;
  readonly min: number;
  readonly max: number;

  private constructor(terms: readonly Term[], offset: number) {
    this.terms = terms;
    this.offset = offset;
    this.key = `${terms.map((t) => `${t.factor}*${t.atom.key}`).join('+')}|${offset}`;
    let min = offset;
    let max = offset;
    for (const { atom, factor } of terms) {
      min += factor * (factor > 0 ? atom.min : atom.max);
      max += factor * (factor > 0 ? atom.max : atom.min);
    }
    this.min = min;
    this.max = max;
  }

  static constant(value: number): Ix {
    return new Ix([], value);
  }

  /** A loop variable running over [0, extent). */
  static variable(name: string, extent: number): Ix {
    return extent === 1
      ? Ix.constant(0)
      : Ix.of([{ atom: { key: name, expr: variable(name), min: 0, max: extent - 1, depends: (n) => n === name }, factor: 1 }], 0);
  }

  /**
   * Any index expression known to lie in [0, extent); equal keys mean equal values. It changes with the loop variables of
   * `from`, or counts as changing with every one.
   */
  static opaque(expr: Expr, key: string, extent: number, from?: readonly Ix[]): Ix {
    if (expr.kind === 'const') return Ix.constant(expr.value);
    return Ix.of(
      [
        {
          atom: { key, expr, min: 0, max: extent - 1, depends: (name) => from === undefined || from.some((ix) => ix.depends(name)) },
          factor: 1,
        },
      ],
      0,
    );
  }

  private static of(terms: readonly Term[], offset: number): Ix {
    const merged = new Map<string, Term>();
    for (const t of terms) {
      const old = merged.get(t.atom.key);
      merged.set(t.atom.key, old ? { atom: t.atom, factor: old.factor + t.factor } : t);
    }
    let extra: Ix | null = null;
    // c·b·⌊x/b⌋ + c·(x mod b) = c·x
    for (const [key, t] of merged) {
      const r = t.atom.remainder;
      if (!r || t.factor === 0) continue;
      const whole = r.of.div(r.by);
      const q =
        whole.terms.length === 1 && whole.offset === 0 && whole.terms[0].factor === 1 ? merged.get(whole.terms[0].atom.key) : undefined;
      if (q && q.factor === t.factor * r.by) {
        merged.delete(key);
        merged.delete(q.atom.key);
        extra = (extra ?? Ix.constant(0)).add(r.of.scale(t.factor));
      }
    }
    const list = [...merged.values()].filter((t) => t.factor !== 0).sort((a, b) => (a.atom.key < b.atom.key ? -1 : 1));
    const ix = new Ix(list, offset);
    return extra ? ix.add(extra) : ix;
  }

  get isConstant(): boolean {
    return this.terms.length === 0;
  }

  add(other: Ix | number): Ix {
    if (typeof other === 'number') return other === 0 ? this : new Ix(this.terms, this.offset + other);
    return Ix.of([...this.terms, ...other.terms], this.offset + other.offset);
  }

  scale(factor: number): Ix {
    if (factor === 1) return this;
    if (factor === 0) return Ix.constant(0);
    return Ix.of(
      this.terms.map((t) => ({ atom: t.atom, factor: t.factor * factor })),
      this.offset * factor,
    );
  }

  /** ⌊this / by⌋ for a positive constant. */
  div(by: number): Ix {
    if (by === 1) return this;
    const { whole, rest } = this.splitBy(by);
    if (rest.min >= 0 && rest.max < by) return whole;
    // ⌊(⌊x/a⌋ + c)/b⌋ = ⌊(x + c·a)/(a·b)⌋
    const [only] = rest.terms;
    const q = only?.atom.quotient;
    if (rest.terms.length === 1 && only.factor === 1 && q) return whole.add(q.of.add(rest.offset * q.by).div(q.by * by));
    const inner = rest.nested(by);
    if (inner) return whole.add(inner.major.div(by / inner.unit));
    const { value, by: d } = reduceCommon(rest, by);
    return whole.add(Ix.of([{ atom: quotient(value, d), factor: 1 }], 0));
  }

  /** this mod by (in [0, by)). */
  mod(by: number): Ix {
    if (by === 1) return Ix.constant(0);
    const { rest } = this.splitBy(by);
    if (rest.min >= 0 && rest.max < by) return rest;
    const inner = rest.nested(by);
    if (inner)
      return inner.major
        .mod(by / inner.unit)
        .scale(inner.unit)
        .add(inner.minor);
    const { value, by: d, common } = reduceCommon(rest, by);
    return Ix.of([{ atom: remainder(value, d), factor: common }], 0);
  }

  /**
   * this = unit·major + minor with 0 ≤ minor < unit and unit a proper divisor of `by`, so that ⌊this/by⌋ = ⌊major/(by/unit)⌋:
   * the position in a finer grid does not decide the cell of a coarser one.
   */
  private nested(by: number): { unit: number; major: Ix; minor: Ix } | null {
    const units = new Set(this.terms.map((t) => gcd(t.factor, by)));
    for (const unit of [...units].sort((a, b) => b - a)) {
      if (unit <= 1 || unit >= by) continue;
      const { whole: major, rest: minor } = this.splitBy(unit);
      if (minor.min >= 0 && minor.max < unit && minor.key !== this.key) return { unit, major, minor };
    }
    return null;
  }

  /** this / g where g divides every factor and the offset. */
  shrink(g: number): Ix {
    return Ix.of(
      this.terms.map((t) => ({ atom: t.atom, factor: t.factor / g })),
      this.offset / g,
    );
  }

  /** this = by·whole + rest, with every factor of `rest` not a multiple of `by` and its offset in [0, by). */
  private splitBy(by: number): { whole: Ix; rest: Ix } {
    const whole: Term[] = [];
    const rest: Term[] = [];
    for (const t of this.terms) {
      if (t.factor % by === 0) whole.push({ atom: t.atom, factor: t.factor / by });
      else rest.push(t);
    }
    const q = Math.floor(this.offset / by);
    return { whole: Ix.of(whole, q), rest: Ix.of(rest, this.offset - q * by) };
  }

  /** Factor of a loop variable; NaN when it hides inside a quotient, a remainder or another opaque atom. */
  factorOf(name: string): number {
    let factor = 0;
    for (const t of this.terms) {
      if (t.atom.key === name) factor = t.factor;
      else if (t.atom.depends(name)) return Number.NaN;
    }
    return factor;
  }

  /** Where this index divides the loop variable, or is it with a border passed: lengths of the runs between. */
  cutsOf(name: string): number[] {
    const shift = this.shiftOf(name);
    const bare = (ix: Ix) => ix.terms.length === 1 && ix.terms[0].atom.key === name && ix.offset === 0;
    const cuts: number[] = [];
    for (const { atom } of this.terms) {
      const cut = atom.quotient ?? atom.remainder;
      if (!cut) continue;
      if (bare(cut.of)) cuts.push(cut.by / gcd(cut.by, cut.of.terms[0].factor));
      else cuts.push(...cut.of.cutsOf(name));
    }
    if (shift !== null && shift < 0) cuts.push(-shift);
    return cuts;
  }

  /** What this is more than the loop variable; null where it is not just that, shifted. */
  shiftOf(name: string): number | null {
    const [only] = this.terms;
    return this.terms.length === 1 && only.factor === 1 && only.atom.key === name ? this.offset : null;
  }

  depends(name: string): boolean {
    return this.terms.some((t) => t.atom.depends(name));
  }

  /** True when every atom is one of the named variables, so that the index is a stride for each. */
  isAffineIn(names: ReadonlySet<string>): boolean {
    return this.terms.every((t) => names.has(t.atom.key));
  }

  toExpr(): Expr {
    let e: Expr | null = null;
    for (const t of this.terms) {
      const term = imul(t.atom.expr, t.factor);
      e = e ? iadd(e, term) : term;
    }
    return e ? iadd(e, this.offset) : index(this.offset);
  }
}

const quotientKey = (of: Ix, by: number) => `(${of.key})/${by}`;
const bound = (x: number, by: number) => Math.floor(x / by);
const quotient = (of: Ix, by: number): Atom => ({
  key: quotientKey(of, by),
  expr: idiv(of.toExpr(), by),
  min: bound(of.min, by),
  max: bound(of.max, by),
  depends: (name) => of.depends(name),
  quotient: { of, by },
});
const remainder = (of: Ix, by: number): Atom => ({
  key: `(${of.key})%${by}`,
  expr: imod(of.toExpr(), by),
  min: 0,
  max: Math.min(by - 1, of.min >= 0 ? of.max : by - 1),
  depends: (name) => of.depends(name),
  remainder: { of, by },
});

const gcd = (a: number, b: number): number => (b === 0 ? Math.abs(a) : gcd(b, a % b));

/** Divides value and divisor by what they share: ⌊(g·v)/(g·d)⌋ = ⌊v/d⌋ and (g·v) mod (g·d) = g·(v mod d). */
function reduceCommon(value: Ix, by: number): { value: Ix; by: number; common: number } {
  let g = gcd(by, value.offset);
  for (const t of value.terms) g = gcd(g, t.factor);
  if (g <= 1) return { value, by, common: 1 };
  return { value: value.shrink(g), by: by / g, common: g };
}
