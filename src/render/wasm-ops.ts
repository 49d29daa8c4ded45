/** @file The table of the WebAssembly renderer: every op on one value and on four, by the kind of its last operand. */
import type { ScalarOp } from '../kernel/scalar-ops.js';
import type { Kind } from './kinds.js';
import { type Code, f4, f32, i4, i32, type MathImport, select, v128, type WasmFunction } from './wasm-assembler.js';
import type { WasmHelpers } from './wasm-helpers.js';
import type { Formulaic } from './wasm-math.js';

/** What a row may use: helpers, and names for values that it needs twice. */
export interface OpContext {
  readonly math: WasmHelpers;
  readonly f: WasmFunction;
}
export type Form = (c: OpContext, ...x: Code[]) => Code;
type Forms = Partial<Record<Kind, Form>>;
/** Absent in `one`: not an operation of that kind. Absent in `four`: lane by lane. */
export interface OpRow {
  readonly one: Forms;
  readonly four: Forms;
}

const of =
  (op: (...x: Code[]) => Code): Form =>
  (_, ...x) =>
    op(...x);
const ints = (form: Form): Record<'i' | 'u' | 'l', Form> => ({ i: form, u: form, l: form });
const same: Form = (_, x) => x;
const zero = i32.const(0);

const arithmetic = (name: 'add' | 'sub' | 'mul'): OpRow => ({
  one: { f: of(f32[name]), ...ints(of(i32[name])) },
  four: { f: of(f4[name]), ...ints(of(i4[name])) },
});
const formula = (name: Formulaic): OpRow => ({
  one: { f: ({ math }, x) => math.one(name, x) },
  four: { f: ({ math, f }, x) => math.four(name, f, x) },
});
const rounding = (name: 'floor' | 'ceil' | 'nearest'): OpRow => ({
  one: { f: of(f32[name]), ...ints(same) },
  four: { f: of(f4[name]), ...ints(same) },
});
const bitwise = (name: 'and' | 'or' | 'xor'): OpRow => ({
  one: { ...ints(of(i32[name])), b: of(i32[name]) },
  four: { ...ints(of(v128[name])), b: of(v128[name]) },
});
const comparison = (name: 'lt' | 'le', signed: 'ltS' | 'leS', unsigned: 'ltU' | 'leU', ofMasks: Form): OpRow => ({
  one: { f: of(f32[name]), i: of(i32[signed]), u: of(i32[unsigned]), l: of(i32[signed]), b: of(i32[signed]) },
  four: { f: of(f4[name]), i: of(i4[signed]), u: of(i4[unsigned]), l: of(i4[signed]), b: ofMasks },
});
const equality = (name: 'eq' | 'ne'): OpRow => ({
  one: { f: of(f32[name]), ...ints(of(i32[name])), b: of(i32[name]) },
  four: { f: of(f4[name]), ...ints(of(i4[name])), b: of(i4[name]) },
});
const double = (name: MathImport): Forms => ({ f: ({ math }, ...x) => math.double(name, ...x) });
const division = (name: 'idiv' | 'mod', ofFloats: Form): OpRow => ({
  one: {
    f: ofFloats,
    i: ({ math }, a, b) => math.divide(name, true, a, b),
    u: ({ math }, a, b) => math.divide(name, false, a, b),
    l: ({ math }, a, b) => math.divide(name, true, a, b),
  },
  four: {},
});
/** The larger or smaller; NaN wins over every number. */
const extreme = (name: 'max' | 'min', ofMasks: 'or' | 'and'): OpRow => {
  const isBetter = name === 'max' ? f32.gt : f32.lt;
  const one: Form = ({ f }, a, b) => {
    const [x, y] = [f.let('f32', a), f.let('f32', b)];
    return select(i32.or(isBetter(x, y), f32.ne(x, x)), x, y);
  };
  const integer = (signed: boolean): Form => {
    const wins = signed ? (name === 'max' ? i32.gtS : i32.ltS) : name === 'max' ? i32.gtU : i32.ltU;
    return ({ f }, a, b) => {
      const [x, y] = [f.let('i32', a), f.let('i32', b)];
      return select(wins(x, y), x, y);
    };
  };
  const four: Form = ({ f }, a, b) => {
    const y = f.let('v128', b);
    // pmax(a, b) is a where either is NaN.
    return v128.bitselect(y, (name === 'max' ? f4.pmax : f4.pmin)(a, y), f4.ne(y, y));
  };
  return {
    one: { f: one, i: integer(true), u: integer(false), l: integer(true), b: of(i32[ofMasks]) },
    four: {
      f: four,
      i: of(name === 'max' ? i4.maxS : i4.minS),
      u: of(name === 'max' ? i4.maxU : i4.minU),
      l: of(name === 'max' ? i4.maxS : i4.minS),
      b: of(v128[ofMasks]),
    },
  };
};
const nonZero: Form = ({ f }, x) => {
  const y = f.let('f32', x);
  return i32.or(f32.lt(y, f32.const(0)), f32.gt(y, f32.const(0)));
};
const nonZeros: Form = ({ f }, x) => f4.gt(f4.abs(x), f.f4(0));
const chosen: Form = (_, c, a, b) => select(c, a, b);
const blended: Form = (_, c, a, b) => v128.bitselect(a, b, c);

export const ops = {
  neg: {
    one: { f: of(f32.neg), ...ints((_, x) => i32.sub(zero, x)) },
    four: { f: of(f4.neg), ...ints(of(i4.neg)) },
  },
  abs: {
    one: {
      f: of(f32.abs),
      i: ({ f }, x) => {
        const y = f.let('i32', x);
        return select(i32.ltS(y, zero), i32.sub(zero, y), y);
      },
      u: same,
    },
    four: { f: of(f4.abs), i: of(i4.abs), u: same },
  },
  sign: {
    one: {
      f: ({ f }, x) => {
        const y = f.let('f32', x);
        return select(f32.gt(y, f32.const(0)), f32.const(1), select(f32.lt(y, f32.const(0)), f32.const(-1), y));
      },
      i: ({ f }, x) => {
        const y = f.let('i32', x);
        return i32.sub(i32.gtS(y, zero), i32.ltS(y, zero));
      },
      u: (_, x) => i32.ne(x, zero),
    },
    four: {
      f: ({ f }, x) => {
        const y = f.let('v128', x);
        return v128.bitselect(f.f4(1), v128.bitselect(f.f4(-1), y, f4.lt(y, f.f4(0))), f4.gt(y, f.f4(0)));
      },
    },
  },
  not: {
    one: { f: (c, x) => i32.eqz(nonZero(c, x)), ...ints(of(i32.eqz)), b: of(i32.eqz) },
    four: { f: (c, x) => v128.not(nonZeros(c, x)), ...ints(({ f }, x) => i4.eq(x, f.i4(0))), b: of(v128.not) },
  },
  bitNot: {
    one: { i: (_, x) => i32.xor(x, i32.const(-1)), u: (_, x) => i32.xor(x, i32.const(-1)), b: of(i32.eqz) },
    four: { i: of(v128.not), u: of(v128.not), b: of(v128.not) },
  },
  exp: formula('exp'),
  expm1: formula('expm1'),
  log: formula('log'),
  log1p: formula('log1p'),
  sqrt: { one: { f: of(f32.sqrt) }, four: { f: of(f4.sqrt) } },
  rsqrt: {
    one: { f: (_, x) => f32.div(f32.const(1), f32.sqrt(x)) },
    four: { f: ({ f }, x) => f4.div(f.f4(1), f4.sqrt(x)) },
  },
  sin: { one: double('sin'), four: {} },
  cos: { one: double('cos'), four: {} },
  tanh: formula('tanh'),
  sigmoid: formula('sigmoid'),
  erf: formula('erf'),
  floor: rounding('floor'),
  ceil: rounding('ceil'),
  round: rounding('nearest'),
  add: { one: { ...arithmetic('add').one, b: of(i32.or) }, four: { ...arithmetic('add').four, b: of(v128.or) } },
  sub: arithmetic('sub'),
  mul: { one: { ...arithmetic('mul').one, b: of(i32.and) }, four: { ...arithmetic('mul').four, b: of(v128.and) } },
  div: { one: { f: of(f32.div) }, four: { f: of(f4.div) } },
  idiv: division('idiv', ({ math }, a, b) => math.quotient(a, b)),
  mod: division('mod', ({ math }, a, b) => math.remainder(a, b)),
  pow: {
    one: { ...double('pow'), i: ({ math }, a, b) => math.power(true, a, b), u: ({ math }, a, b) => math.power(false, a, b) },
    four: {},
  },
  max: extreme('max', 'or'),
  min: extreme('min', 'and'),
  atan2: { one: double('atan2'), four: {} },
  and: bitwise('and'),
  or: bitwise('or'),
  xor: bitwise('xor'),
  // Lanes are all shifted by one amount: the renderer does that where it is one.
  shl: { one: { i: of(i32.shl), u: of(i32.shl) }, four: {} },
  shr: { one: { i: of(i32.shrS), u: of(i32.shrU) }, four: {} },
  lt: comparison('lt', 'ltS', 'ltU', (_, a, b) => v128.andnot(b, a)),
  le: comparison('le', 'leS', 'leU', (_, a, b) => v128.not(v128.andnot(a, b))),
  eq: equality('eq'),
  ne: equality('ne'),
  select: {
    one: { f: chosen, ...ints(chosen), b: chosen },
    four: { f: blended, ...ints(blended), b: blended },
  },
} as const satisfies Record<ScalarOp, OpRow>;

/** Number → truth value. */
export const truth = {
  one: { f: nonZero, ...ints((_, x) => i32.ne(x, zero)), b: same } satisfies Record<Kind, Form>,
  four: { f: nonZeros, ...ints(({ f }, x) => i4.ne(x, f.i4(0))), b: same } satisfies Record<Kind, Form>,
};
