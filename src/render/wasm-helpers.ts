/** @file Functions that rendered kernels call: elementary functions, integer rules, Philox (Random123's Philox4x32-10), sorting. */
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
  type MathImport,
  select,
  storeTo,
  v128,
  WasmFunction,
  type WasmModule,
  when,
} from './wasm-assembler.js';
import { type Formulaic, formulaFunction, inlineFormula } from './wasm-math.js';

/** What a kernel calls: helpers are written into the module at their first use. */
export class WasmHelpers {
  readonly #module: WasmModule;
  readonly isFused: boolean;
  constructor(module: WasmModule, isFused: boolean) {
    this.#module = module;
    this.isFused = isFused;
  }

  /** A formula on four lanes, within `f`: a call would put every register that is in use on the stack. */
  four(name: Formulaic, f: WasmFunction, x: Code): Code {
    return inlineFormula(name, f, x, this.isFused);
  }
  /** On one number, the same bits. */
  one(name: Formulaic, x: Code): Code {
    return f4.extract(
      this.#module.call(name, [f4.splat(x)], () => formulaFunction(name, this.isFused)),
      0,
    );
  }

  /** Math's function of doubles, on floats. */
  double(name: MathImport, ...args: Code[]): Code {
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
