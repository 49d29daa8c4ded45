/**
 * @file The elementary functions of the WebAssembly renderer, on four lanes: the formulas, sources and errors of c-math.ts
 * (without its fused multiply-adds where the engine has none), storage conversions, integer rules, Philox, sorting.
 */

import type { WasmModule } from './wasm-assembler.js';
import {
  type Code,
  choose,
  copyMemory,
  f4,
  f32,
  f64,
  i4,
  i32,
  i64,
  loadFrom,
  select,
  storeTo,
  v128,
  WasmFunction,
  when,
} from './wasm-assembler.js';

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

/** What a kernel calls: helpers are written into the module at their first use. */
export class WasmMath {
  readonly #module: WasmModule;
  readonly isFused: boolean;
  constructor(module: WasmModule, isFused: boolean) {
    this.#module = module;
    this.isFused = isFused;
  }

  /** A formula on four lanes. */
  of(name: Formulaic, x: Code): Code {
    return this.#module.call(name, [x], () => {
      const f = new WasmFunction(['v128'], 'v128');
      f.push(formulas[name](new Formula(f, this.isFused), f.get(0)));
      return f;
    });
  }
  /** On one number, the same bits. */
  ofOne(name: Formulaic, x: Code): Code {
    return f4.extract(this.of(name, f4.splat(x)), 0);
  }

  /** Math's function of doubles, on floats. */
  double(name: 'sin' | 'cos' | 'pow' | 'atan2', ...args: Code[]): Code {
    return f32.demote(this.#module.math(name, ...args.map((a) => f64.promote(a))));
  }
  /** ⌊a / b⌋ and a − b·⌊a / b⌋ in double precision, where a quotient of floats is never rounded up to a whole number. */
  quotient(a: Code, b: Code): Code {
    return f32.demote(f64.floor(f64.div(f64.promote(a), f64.promote(b))));
  }
  remainder(a: Code, b: Code): Code {
    return this.#helper('mod_f', ['f32', 'f32'], 'f32', [a, b], (f) => {
      const [x, y] = [f64.promote(f.get(0)), f64.promote(f.get(1))];
      return f32.demote(f64.sub(x, f64.mul(y, f64.floor(f64.div(x, y)))));
    });
  }

  #helper(
    name: string,
    params: readonly ('i32' | 'f32' | 'v128')[],
    result: 'i32' | 'f32' | 'v128',
    args: readonly Code[],
    write: (f: WasmFunction) => Code,
  ): Code {
    return this.#module.call(name, args, () => {
      const f = new WasmFunction(params, result);
      f.push(write(f));
      return f;
    });
  }

  /** Floor division and remainder of integers; by zero they give 0. */
  divide(what: 'idiv' | 'mod', isSigned: boolean, a: Code, b: Code): Code {
    return this.#helper(`${what}_${isSigned ? 'i' : 'u'}`, ['i32', 'i32'], 'i32', [a, b], (f) => {
      const [x, y] = [f.get(0), f.get(1)];
      if (!isSigned) return choose('i32', y, what === 'idiv' ? i32.divU(x, y) : i32.remU(x, y), i32.const(0));
      // Of -2^31 and -1 the quotient overflows, and the remainder is 0.
      const special = i32.leU(i32.add(y, i32.const(1)), i32.const(1));
      const otherwise = what === 'idiv' ? i32.mul(x, y) : i32.const(0);
      const r = f.local('i32');
      const differ = i32.and(i32.ne(f.get(r), i32.const(0)), i32.ltS(i32.xor(f.get(r), y), i32.const(0)));
      const keep: Code = [i32.remS(x, y), 0x21, r];
      const rest =
        what === 'idiv'
          ? [keep, i32.sub(i32.divS(x, y), i32.and(i32.ne(f.get(r), i32.const(0)), i32.ltS(i32.xor(x, y), i32.const(0))))]
          : [keep, select(differ, i32.add(f.get(r), y), f.get(r))];
      // y is 0 or -1: 0·x and -1·x.
      return choose('i32', special, otherwise, rest);
    });
  }
  /** Power of integers modulo 2^32; a negative exponent gives the truncated reciprocal. */
  power(isSigned: boolean, a: Code, b: Code): Code {
    return this.#helper(`pow_${isSigned ? 'i' : 'u'}`, ['i32', 'i32'], 'i32', [a, b], (f) => {
      const r = f.local('i32');
      const [x, n] = [f.get(0), f.get(1)];
      const loop = f.block(() => {
        f.set(r, i32.const(1));
        f.while(n, () => {
          f.set(r, i32.mul(f.get(r), select(i32.and(n, i32.const(1)), x, i32.const(1))));
          f.set(0, i32.mul(x, x));
          f.set(1, i32.shrU(n, i32.const(1)));
        });
      });
      const plain: Code = [loop, f.get(r)];
      if (!isSigned) return plain;
      const odd = i32.and(n, i32.const(1));
      const unit = select(
        i32.eq(x, i32.const(1)),
        i32.const(1),
        select(i32.eq(x, i32.const(-1)), select(odd, i32.const(-1), i32.const(1)), i32.const(0)),
      );
      return choose('i32', i32.ltS(n, i32.const(0)), unit, plain);
    });
  }

  /** float → int as JavaScript's ToInt32: truncates, wraps modulo 2^32, NaN and infinities give 0. */
  toInt(x: Code): Code {
    return this.#helper('f2i', ['f32'], 'i32', [x], (f) =>
      select(f32.lt(f32.abs(f.get(0)), f32.const(2 ** 63)), i32.wrap(i64.truncF32(f.get(0))), i32.const(0)),
    );
  }
  toInts(x: Code): Code {
    return this.#helper('f2i4', ['v128'], 'v128', [x], (f) => {
      const [x4, r] = [f.get(0), f.local('v128')];
      f.set(r, i4.truncF4(x4));
      const large = v128.not(f4.lt(f4.abs(x4), f.f4(2 ** 31)));
      const slow = f.block(() => {
        for (let lane = 0; lane < 4; lane++) f.set(r, i4.replace(f.get(r), lane, this.toInt(f4.extract(x4, lane))));
      });
      f.push(when(v128.anyTrue(large), slow));
      return f.get(r);
    });
  }

  /** Words 4·block … 4·block + 3 of Philox4x32-10. */
  #philox(block: Code, step: Code, stream: Code, k0: Code, k1: Code): Code {
    return this.#helper('philox', ['i32', 'i32', 'i32', 'i32', 'i32'], 'v128', [block, step, stream, k0, k1], (f) => {
      let [a, b, c, d]: Code[] = [f.get(0), f.get(1), f.get(2), i32.const(0)];
      const product = (x: Code, by: number): Code => f.let('i64', i64.mul(i64.extendU(x), i64.const(by)));
      const high = (x: Code): Code => i32.wrap(i64.shrU(x, i64.const(32)));
      const name = (x: Code): Code => f.let('i32', x);
      for (let round = 0; round < 10; round++) {
        const p = product(a, 0xd2511f53);
        const q = product(c, 0xcd9e8d57);
        const key = (at: number, by: number): Code => i32.add(f.get(at), i32.const(Math.imul(round, by)));
        a = name(i32.xor(i32.xor(high(q), b), key(3, 0x9e3779b9 | 0)));
        b = name(i32.wrap(q));
        c = name(i32.xor(i32.xor(high(p), d), key(4, 0xbb67ae85 | 0)));
        d = name(i32.wrap(p));
      }
      return i4.replace(i4.replace(i4.replace(i4.splat(a), 1, b), 2, c), 3, d);
    });
  }
  /** Words at … at + 3. */
  randoms(at: Code, ...rest: [Code, Code, Code, Code]): Code {
    return this.#helper('philox4', ['i32', 'i32', 'i32', 'i32', 'i32'], 'v128', [at, ...rest], (f) => {
      const keys = [1, 2, 3, 4].map((i) => f.get(i)) as [Code, Code, Code, Code];
      const first = f.let('v128', this.#philox(i32.shrU(f.get(0), i32.const(2)), ...keys));
      const shift = f.let('i32', i32.and(f.get(0), i32.const(3)));
      const next = this.#philox(i32.add(i32.shrU(f.get(0), i32.const(2)), i32.const(1)), ...keys);
      const from = (lane: number, second: Code): Code =>
        v128.shuffle(
          first,
          second,
          Array.from({ length: 16 }, (_, byte) => byte + 4 * lane),
        );
      const second = f.local('v128');
      const shifted = choose(
        'v128',
        i32.eq(shift, i32.const(1)),
        from(1, f.get(second)),
        choose('v128', i32.eq(shift, i32.const(2)), from(2, f.get(second)), from(3, f.get(second))),
      );
      return choose('v128', i32.eqz(shift), first, [next, 0x21, second, shifted]);
    });
  }
  random(at: Code, ...rest: [Code, Code, Code, Code]): Code {
    return i4.extract(this.randoms(at, ...rest), 0);
  }

  /** Order-preserving keys of 64 bits above 32 that are free: NaN above all. */
  sortKey(kind: 'f' | 'i' | 'u' | 'b', x: Code): Code {
    if (kind === 'u' || kind === 'b') return x;
    if (kind === 'i') return i32.xor(x, i32.const(0x80000000));
    return this.#helper('key_f', ['f32'], 'i32', [x], (f) => {
      // 0 and -0 are one key.
      const b = f.let('i32', i32.bits(f32.add(f.get(0), f32.const(0))));
      const k = select(i32.ltS(b, i32.const(0)), i32.xor(b, i32.const(-1)), i32.xor(b, i32.const(0x80000000)));
      return select(f32.ne(f.get(0), f.get(0)), i32.const(-1), k);
    });
  }
  /** Sorts n words of 64 bits at `v` (merge sort), with as many at `spare` to work in. */
  sort(v: Code, spare: Code, n: Code): Code {
    return this.#module.call('sort', [v, spare, n], () => {
      const f = new WasmFunction(['i32', 'i32', 'i32'], null);
      const [from, to, width, s, m, e, i, j, k] = Array.from({ length: 9 }, () => f.local('i32'));
      const g = f.get;
      const least = (a: Code, b: Code): Code => select(i32.ltS(a, b), a, b);
      const word = (array: number, at: number): Code =>
        loadFrom('i64Load', { base: i32.add(g(array), i32.shl(g(at), i32.const(3))), offset: 0 });
      f.set(from, g(0));
      f.set(to, g(1));
      f.set(width, i32.const(1));
      f.while(i32.ltS(g(width), g(2)), () => {
        f.set(s, i32.const(0));
        f.while(i32.ltS(g(s), g(2)), () => {
          f.set(m, least(i32.add(g(s), g(width)), g(2)));
          f.set(e, least(i32.add(g(m), g(width)), g(2)));
          f.set(i, g(s));
          f.set(j, g(m));
          f.count(k, g(s), g(e), 1, () => {
            const firstWins = choose('i32', i32.geS(g(j), g(e)), i32.const(1), i64.leU(word(from, i), word(from, j)));
            const isFirst = choose('i32', i32.ltS(g(i), g(m)), firstWins, i32.const(0));
            const at = (source: number): Code => [
              storeTo('i64Store', { base: i32.add(g(to), i32.shl(g(k), i32.const(3))), offset: 0 }, word(from, source)),
              i32.add(g(source), i32.const(1)),
              0x21,
              source,
            ];
            f.push(when(isFirst, at(i), at(j)));
          });
          f.set(s, g(e));
        });
        const swap = f.let('i32', g(from));
        f.set(from, g(to));
        f.set(to, swap);
        f.set(width, i32.shl(g(width), i32.const(1)));
      });
      f.push(when(i32.ne(g(from), g(0)), copyMemory(g(0), g(from), i32.shl(g(2), i32.const(3)))));
      return f;
    });
  }
}
