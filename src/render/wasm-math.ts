/**
 * @file The elementary functions of the WebAssembly renderer, on four lanes: the formulas, sources and errors of c-math.ts
 * (without its fused multiply-adds where the engine has none), and the conversions of 16-bit floats.
 */
import { type Code, f4, i4, i32, v128, WasmFunction } from './wasm-assembler.js';

/** A constant as C writes it: hexadecimal digits, a power of two. */
function hex(text: string): number {
  const [digits, power] = text.split('p');
  const [whole, fraction = ''] = digits.split('.');
  const sign = whole.startsWith('-') ? -1 : 1;
  return sign * (Number.parseInt(whole.replace('-', '') + fraction, 16) / 16 ** fraction.length) * 2 ** Number(power);
}

/** A function of vectors being written, with the few idioms that the formulas share. */
class Formula {
  readonly f: WasmFunction;
  readonly #fused: boolean;
  constructor(f: WasmFunction, fused: boolean) {
    this.f = f;
    this.#fused = fused;
  }
  let(x: Code): Code {
    return this.f.let('v128', x);
  }
  c(value: number | string): Code {
    return this.f.f4(typeof value === 'string' ? hex(value) : value);
  }
  /** a·b + c. */
  fma(a: Code, b: Code, c: Code): Code {
    return this.#fused ? f4.madd(a, b, c) : f4.add(f4.mul(a, b), c);
  }
  /** c − a·b. */
  fnma(a: Code, b: Code, c: Code): Code {
    return this.#fused ? f4.nmadd(a, b, c) : f4.sub(c, f4.mul(a, b));
  }
  /** The polynomial with these coefficients, the highest power first. */
  horner(x: Code, ...coefficients: (number | string)[]): Code {
    return coefficients.slice(1).reduce<Code>((p, c) => this.fma(p, x, this.c(c)), this.c(coefficients[0]));
  }
  shl(x: Code, bits: number): Code {
    return i4.shl(x, i32.const(bits));
  }
  /** Where the mask holds a, else b. */
  where(mask: Code, a: Code, b: Code): Code {
    return v128.bitselect(a, b, mask);
  }
  /** x ≥ 0 (or NaN) with the sign of y. */
  withSign(x: Code, y: Code): Code {
    return v128.or(x, v128.and(y, this.f.i4(0x80000000)));
  }
  /** Between two limits; NaN becomes `low`. */
  clamp(x: Code, low: number, high: number): Code {
    return f4.pmin(this.c(high), f4.pmax(this.c(low), x));
  }
}

/** Natural logarithm. */
function logOf(m: Formula, x: Code): Code {
  const tiny = m.let(f4.lt(x, m.c(2 ** -126)));
  const b = m.let(m.where(tiny, f4.mul(x, m.c(2 ** 23)), x));
  const e = m.let(i4.shrS(i4.sub(b, m.f.i4(0x3f3504f3)), i32.const(23)));
  const f = m.let(f4.sub(i4.sub(b, m.shl(e, 23)), m.c(1)));
  const k = m.let(f4.fromI4(i4.sub(e, v128.and(tiny, m.f.i4(23)))));
  const p = m.horner(
    f,
    7.0376836292e-2,
    -1.151461031e-1,
    1.167699874e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
  );
  const z = m.let(f4.mul(f, f));
  const small = m.fnma(m.c(0.5), z, m.fma(f4.mul(p, f), z, f4.mul(m.c(-2.1219444e-4), k)));
  const r = m.fma(m.c(0.693359375), k, f4.add(f, small));
  const finite = m.where(f4.lt(x, m.c(Number.POSITIVE_INFINITY)), r, x);
  const real = m.where(f4.lt(x, m.c(0)), m.c(Number.NaN), finite);
  return m.where(f4.eq(x, m.c(0)), m.c(Number.NEGATIVE_INFINITY), real);
}

/** Rows of c-math.ts, by name. */
const formulas = {
  exp(m, x) {
    return m.where(f4.ne(x, x), x, expIn(m, m.let(m.clamp(x, -104, 89))));
  },
  expm1(m, x) {
    const c = m.let(m.clamp(x, -20, 89));
    const k = m.let(m.fma(c, m.c('1.715476p+0'), m.c(1.5 * 2 ** 23 + 126)));
    const t = m.let(m.shl(k, 23));
    const n = m.let(f4.sub(k, m.c(1.5 * 2 ** 23 + 126)));
    const f = m.let(m.fnma(n, m.c('1.7f7d1cp-20'), m.fnma(n, m.c('1.62e4p-1'), c)));
    const p = m.horner(f, '1.6b9ce8p-10', '1.12256cp-7', '1.5556f2p-5', '1.5554b4p-3', '1.fffffep-2');
    const r = f4.mul(m.c(2), m.fma(t, m.fma(p, f4.mul(f, f), f), f4.sub(t, m.c(0.5))));
    return m.where(f4.gt(f4.abs(x), m.c(0)), r, x);
  },
  log: logOf,
  log1p(m, x) {
    const u = m.let(f4.add(m.c(1), x));
    const c = m.let(f4.div(f4.sub(x, f4.sub(u, m.c(1))), u));
    const near = v128.and(f4.gt(u, m.c(0)), f4.lt(u, m.c(2 ** 25)));
    const r = f4.add(logOf(m, u), v128.and(c, near));
    return m.where(f4.eq(x, m.c(0)), x, r);
  },
  tanh(m, x) {
    const a = m.let(f4.pmin(f4.abs(x), m.c(10)));
    const k = m.let(m.fma(a, m.c('-1.715476p+1'), m.c(1.5 * 2 ** 23 + 127)));
    const s = m.let(m.shl(k, 23));
    const n = m.let(f4.sub(k, m.c(1.5 * 2 ** 23 + 127)));
    const f = m.let(m.fma(n, m.c('1.7f7d1cp-21'), m.fma(n, m.c('1.62e4p-2'), a)));
    const p = m.horner(f, '-1.6b9ce8p-5', '1.12256cp-3', '-1.5556f2p-2', '1.5554b4p-1', '-1.fffffep-1');
    const w = m.let(m.fma(s, m.fma(p, f4.mul(f, f), f), m.fnma(m.c(0.5), s, m.c(0.5))));
    return m.where(f4.ne(x, x), x, m.withSign(f4.div(w, f4.sub(m.c(1), w)), x));
  },
  sigmoid(m, x) {
    const e = m.let(expIn(m, m.let(f4.pmax(m.c(-104), f4.neg(f4.abs(x))))));
    const r = f4.div(m.where(f4.lt(x, m.c(0)), e, m.c(1)), f4.add(m.c(1), e));
    return m.where(f4.ne(x, x), x, r);
  },
  erf(m, x) {
    const t = m.let(f4.pmin(f4.abs(x), m.c(3.95)));
    const p = m.horner(
      t,
      '1.393f40p-17',
      '-1.f07c64p-14',
      '1.4d34e0p-11',
      '-1.b65bdcp-10',
      '1.5be740p-13',
      '1.39c048p-6',
      '-1.a4f95ap-4',
      '-1.45f2fep-1',
    );
    const r = m.let(m.fnma(m.c('1.20dd76p+0'), t, m.fma(p, f4.mul(t, t), f4.mul(m.c('1.f7ac92p-25'), t))));
    const k = m.let(m.fma(r, m.c('1.715476p+0'), m.c(1.5 * 2 ** 23 + 127)));
    const s = m.let(m.shl(k, 23));
    const f = m.let(m.fnma(f4.sub(k, m.c(1.5 * 2 ** 23 + 127)), m.c('1.62e430p-1'), r));
    const q = m.horner(f, '1.6b9ce8p-10', '1.12256cp-7', '1.5556f2p-5', '1.5554b4p-3', '1.fffffep-2');
    const part = m.fma(q, f4.mul(f, f), f);
    return m.where(f4.ne(x, x), x, m.withSign(m.fnma(s, part, f4.sub(m.c(1), s)), x));
  },
  /** Halves (16 bits in each lane's low part) of floats, rounded to even. */
  toBf16(m, x) {
    const odd = v128.and(i4.shrU(x, i32.const(16)), m.f.i4(1));
    const r = i4.shrU(i4.add(i4.add(x, m.f.i4(0x7fff)), odd), i32.const(16));
    return m.where(f4.ne(x, x), v128.or(i4.shrU(x, i32.const(16)), m.f.i4(0x40)), r);
  },
  toF16(m, x) {
    const sign = v128.and(i4.shrU(x, i32.const(16)), m.f.i4(0x8000));
    const a = m.let(v128.and(x, m.f.i4(0x7fffffff)));
    const odd = v128.and(i4.shrU(a, i32.const(13)), m.f.i4(1));
    const normal = i4.shrU(i4.sub(i4.add(i4.add(a, m.f.i4(0xfff)), odd), m.f.i4(0x38000000)), i32.const(13));
    // Adding 0.5 puts one unit of a subnormal half at the last place, so the addition rounds it.
    const small = i4.sub(f4.add(a, m.c(0.5)), m.f.i4(0x3f000000));
    const finite = m.where(i4.ltS(a, m.f.i4(0x38800000)), small, normal);
    const large = m.where(i4.geS(a, m.f.i4(0x47800000)), m.f.i4(0x7c00), finite);
    return v128.or(sign, m.where(i4.gtS(a, m.f.i4(0x7f800000)), m.f.i4(0x7e00), large));
  },
  fromF16(m, h) {
    // Rebiased: subnormals become normal.
    const f = m.let(f4.mul(m.shl(v128.and(h, m.f.i4(0x7fff)), 13), m.c(2 ** 112)));
    const top = v128.and(f4.ge(f, m.c(65536)), m.f.i4(0x7f800000));
    return v128.or(v128.or(f, top), m.shl(v128.and(h, m.f.i4(0x8000)), 16));
  },
} satisfies Record<string, (m: Formula, x: Code) => Code>;

/** e^c for -104 ≤ c ≤ 89. */
function expIn(m: Formula, c: Code): Code {
  const magic = m.c(1.5 * 2 ** 23 + 254);
  const k = m.let(m.fma(c, m.c('1.715476p+0'), magic));
  const h = m.let(i4.shrS(k, i32.const(1)));
  const n = m.let(f4.sub(k, magic));
  const f = m.let(m.fnma(n, m.c('1.7f7d1cp-20'), m.fnma(n, m.c('1.62e4p-1'), c)));
  const p = m.horner(f, '1.6850e4p-10', '1.123bccp-7', '1.555b98p-5', '1.55548ep-3', '1.fffff8p-2');
  const s = m.let(m.shl(h, 23));
  return f4.mul(m.fma(s, m.fma(p, f4.mul(f, f), f), s), m.shl(i4.sub(k, h), 23));
}

export type Formulaic = keyof typeof formulas;

/** The formula's code within `f`. */
export function inlineFormula(name: Formulaic, f: WasmFunction, x: Code, isFused: boolean): Code {
  const formula = new Formula(f, isFused);
  return formulas[name](formula, formula.let(x));
}
/** The formula as a function of its own. */
export function formulaFunction(name: Formulaic, isFused: boolean): WasmFunction {
  const f = new WasmFunction(['v128'], 'v128');
  f.push(inlineFormula(name, f, f.get(0), isFused));
  return f;
}
