/**
 * @file Kernel → JavaScript, one scalar at a time. Integers wrap exactly; f32 sums and products keep double precision
 * until they are bound, stored or cast, every other f32 op is rounded at once, so that infinities appear where f32 has them.
 */
import { type DType, dtypes, fromBf16, fromF16, spelled, type TypedArray, toBf16, toF16 } from '../base/dtype.js';
import { InternalError } from '../base/errors.js';
import { philox4x32 } from '../base/philox.js';
import type { Expr, Kernel, Stmt, ValueType } from '../kernel/kernel.js';
import { kernelIdentity } from '../kernel/print.js';
import { erf, roundHalfEven, type ScalarOp } from '../kernel/scalar-ops.js';

/** A rendered kernel: runs the items lo ≤ item < hi on the storage arrays of its buffers, by position. */
export type JsKernel = (b: readonly TypedArray[], lo: number, hi: number) => void;

type Arithmetic = 'f32' | 'i32' | 'u32' | 'bool' | 'index';

/** The type in which values of `type` are computed. */
function arithmetic(type: ValueType): Arithmetic {
  switch (type) {
    case 'f16':
    case 'bf16':
      return 'f32';
    case 'i8':
      return 'i32';
    case 'u8':
      return 'u32';
    default:
      return type;
  }
}

/** What generated code calls. */
const library = {
  toF16,
  fromF16,
  toBf16,
  fromBf16,
  erf,
  round: roundHalfEven,
  philox: philox4x32,
  /** Integer power modulo 2^32; a negative exponent gives the truncated reciprocal. */
  ipow(a: number, b: number): number {
    if (b < 0) return a === 1 ? 1 : a === -1 ? (b & 1 ? -1 : 1) : 0;
    let r = 1;
    for (let base = a, n = b; n > 0; n = Math.floor(n / 2), base = Math.imul(base, base)) if (n % 2) r = Math.imul(r, base);
    return r;
  },
  /** Positions that sort `keys`, stable; NaN last ascending, first descending. */
  argsort(keys: Float64Array, descending: boolean): Int32Array {
    const order = Int32Array.from(keys, (_, i) => i);
    const rank = (x: number, y: number) => (x < y ? -1 : x > y ? 1 : 0);
    return order.sort((i, j) => {
      const x = keys[i];
      const y = keys[j];
      const c = Number.isNaN(x) || Number.isNaN(y) ? Number(Number.isNaN(x)) - Number(Number.isNaN(y)) : rank(x, y);
      return (descending ? -c : c) || i - j;
    });
  },
};

/** Text of an op from the texts of its arguments, for one arithmetic type. */
type Snippet = (...x: string[]) => string;

const call =
  (name: string): Snippet =>
  (...x) =>
    `${name}(${x.join(', ')})`;
const between =
  (sign: string): Snippet =>
  (a, b) =>
    `(${a} ${sign} ${b})`;
const compare =
  (sign: string): Snippet =>
  (a, b) =>
    `(${a} ${sign} ${b} ? 1 : 0)`;

/** Floats (and the ops whose text is the same for every type). */
const floatOps = {
  neg: (x) => `(-${x})`,
  abs: call('Math.abs'),
  sign: call('Math.sign'),
  not: (x) => `(${x} ? 0 : 1)`,
  bitNot: (x) => `(~${x})`,
  exp: call('Math.exp'),
  expm1: call('Math.expm1'),
  log: call('Math.log'),
  log1p: call('Math.log1p'),
  sqrt: call('Math.sqrt'),
  rsqrt: (x) => `(1 / Math.sqrt(${x}))`,
  sin: call('Math.sin'),
  cos: call('Math.cos'),
  tanh: call('Math.tanh'),
  sigmoid: (x) => `(1 / (1 + Math.exp(-${x})))`,
  erf: call('$.erf'),
  floor: call('Math.floor'),
  ceil: call('Math.ceil'),
  round: call('$.round'),
  add: between('+'),
  sub: between('-'),
  mul: between('*'),
  div: between('/'),
  idiv: (a, b) => `Math.floor(${a} / ${b})`,
  mod: (a, b) => `(${a} - ${b} * Math.floor(${a} / ${b}))`,
  pow: call('Math.pow'),
  max: call('Math.max'),
  min: call('Math.min'),
  atan2: call('Math.atan2'),
  and: between('&'),
  or: between('|'),
  xor: between('^'),
  shl: between('<<'),
  shr: between('>>'),
  lt: compare('<'),
  le: compare('<='),
  eq: compare('==='),
  ne: compare('!=='),
  select: (c, a, b) => `(${c} ? ${a} : ${b})`,
} satisfies Record<ScalarOp, Snippet>;

const same: Snippet = (x) => x;
/** Integers, before wrapping. */
const intOps: Partial<Record<ScalarOp, Snippet>> = {
  mul: call('Math.imul'),
  idiv: (a, b) => `(${b} === 0 ? 0 : Math.floor(${a} / ${b}))`,
  mod: (a, b) => `(${b} === 0 ? 0 : ${a} - ${b} * Math.floor(${a} / ${b}))`,
  pow: call('$.ipow'),
  floor: same,
  ceil: same,
  round: same,
};
const tables: Record<Arithmetic, Partial<Record<ScalarOp, Snippet>>> = {
  f32: {},
  i32: intOps,
  u32: { ...intOps, shr: between('>>>') },
  // add and mul of truth values are or and and, as in NumPy.
  bool: { add: between('|'), mul: between('&'), bitNot: (x) => `(${x} ^ 1)` },
  index: { idiv: floatOps.idiv, mod: floatOps.mod },
};
/** Ops of f32 whose result is left in double precision. */
const unrounded = new Set<ScalarOp>(['add', 'sub', 'mul', 'neg', 'abs', 'sign', 'max', 'min', 'floor', 'ceil', 'round', 'select']);

/** Brings a computed number back into the range of `type`. */
function wrap(type: ValueType, text: string): string {
  switch (type) {
    case 'f32':
      return `Math.fround(${text})`;
    case 'f16':
      return `$.fromF16($.toF16(${text}))`;
    case 'bf16':
      return `$.fromBf16($.toBf16(${text}))`;
    case 'i32':
      return `(${text} | 0)`;
    case 'u32':
      return `(${text} >>> 0)`;
    case 'i8':
      return `(${text} << 24 >> 24)`;
    case 'u8':
      return `(${text} & 255)`;
    default:
      return text;
  }
}

const reserved = new Set(
  (
    'await break case catch class const continue debugger default delete do else enum export extends false finally for function if import in ' +
    'instanceof new null return super switch this throw true try typeof var void while with yield let static eval arguments async of ' +
    'implements interface package private protected public undefined NaN Infinity Math b lo hi'
  ).split(' '),
);
const identifier = (name: string): string => (reserved.has(name) ? `${name}$` : name);

class Renderer {
  readonly #dtypes = new Map<string, DType>();
  readonly #locals: string[] = [];
  /** A local's array in the generated code: hoisted, so that items share one allocation. */
  readonly #arrays = new Map<string, string>();

  source(kernel: Kernel): string {
    const buffers = kernel.buffers.map((p, i) => {
      this.#dtypes.set(p.name, p.dtype);
      this.#arrays.set(p.name, identifier(p.name));
      return `const ${identifier(p.name)} = b[${i}];\n`;
    });
    const item = identifier(kernel.grid.name);
    const body = this.#block(kernel.body, '  ');
    return `${buffers.join('')}${this.#locals.join('')}for (let ${item} = lo; ${item} < hi; ${item}++) {\n${body}}\n`;
  }

  #block(body: readonly Stmt[], indent: string): string {
    return body.map((s) => this.#stmt(s, indent)).join('');
  }

  #stmt(s: Stmt, indent: string): string {
    const inner = `${indent}  `;
    switch (s.kind) {
      case 'for': {
        const i = identifier(s.name);
        const head = `let ${i} = ${this.expr(s.from)}, ${i}$end = ${this.expr(s.to)}; ${i} < ${i}$end; ${i} += ${s.step}`;
        return `${indent}for (${head}) {\n${this.#block(s.body, inner)}${indent}}\n`;
      }
      case 'let':
        return `${indent}const ${identifier(s.name)} = ${s.value.type === 'f32' ? wrap('f32', this.expr(s.value)) : this.expr(s.value)};\n`;
      // A register keeps double precision: sums are then as good as an oracle's.
      case 'mut':
        return `${indent}let ${identifier(s.name)} = ${this.expr(s.value)};\n`;
      case 'assign':
        return `${indent}${identifier(s.name)} = ${this.expr(s.value)};\n`;
      case 'store':
        return `${indent}${this.#array(s.buffer)}[${this.expr(s.index)}] = ${this.#encode(this.#dtype(s.buffer), s.value)};\n`;
      case 'if': {
        const otherwise = s.otherwise?.length ? ` else {\n${this.#block(s.otherwise, inner)}${indent}}` : '';
        return `${indent}if (${this.expr(s.cond)}) {\n${this.#block(s.then, inner)}${indent}}${otherwise}\n`;
      }
      case 'local': {
        const array = `${identifier(s.name)}$${this.#locals.length}`;
        this.#locals.push(`const ${array} = new ${dtypes[s.type].array.name}(${s.size});\n`);
        this.#arrays.set(s.name, array);
        this.#dtypes.set(s.name, s.type);
        return '';
      }
      case 'prefetch':
        return '';
      case 'transpose':
        throw new InternalError('JavaScript renderer: a square of lanes. Expected a kernel for a target of 1 lane.');
      case 'argsort': {
        const i = identifier(s.name);
        return (
          `${indent}{\n${inner}const keys$ = new Float64Array(${s.length});\n` +
          `${inner}for (let ${i} = 0; ${i} < ${s.length}; ${i}++) keys$[${i}] = ${this.expr(s.key)};\n` +
          `${inner}const order$ = $.argsort(keys$, ${s.descending}), base$ = ${this.expr(s.outBase)};\n` +
          `${inner}for (let i$ = 0; i$ < ${s.length}; i$++) ${this.#array(s.out)}[base$ + i$ * ${s.outStride}] = order$[i$];\n${indent}}\n`
        );
      }
    }
  }

  expr(e: Expr): string {
    if (e.lanes !== 1)
      throw new InternalError(`JavaScript renderer: a ${e.kind} of ${e.lanes} lanes. Expected a kernel for a target of 1 lane.`);
    switch (e.kind) {
      case 'const':
        return this.#constant(e.type, e.value);
      case 'var':
        return identifier(e.name);
      case 'load': {
        const text = `${this.#array(e.buffer)}[${this.expr(e.index)}]`;
        const dtype = this.#dtype(e.buffer);
        return dtype === 'f16' ? `$.fromF16(${text})` : dtype === 'bf16' ? `$.fromBf16(${text})` : text;
      }
      case 'op': {
        // The operands' type decides what a comparison or `not` means; for the rest it is the result's.
        const type = e.type === 'bool' ? arithmetic(e.args[e.args.length - 1].type) : arithmetic(e.type);
        const snippet: Snippet = tables[type][e.op] ?? floatOps[e.op];
        const text = snippet(...e.args.map((a) => this.expr(a)));
        if (e.type === 'bool' || e.type === 'index' || (e.type === 'f32' && unrounded.has(e.op))) return text;
        return wrap(e.type, text);
      }
      case 'cast':
        return this.#cast(e.type, e.x);
      case 'splat':
        return this.expr(e.x);
      case 'fma':
        return `(${this.expr(e.a)} * ${this.expr(e.b)} + ${this.expr(e.c)})`;
      case 'pairs':
      case 'pack2':
      case 'dot2':
        throw new InternalError(`JavaScript renderer: ${e.kind}. Expected a kernel for a target without products of pairs.`);
      case 'lookup':
        return `${this.#array(e.buffer)}[${this.expr(e.x)}]`;
      case 'random': {
        const counter = this.expr(e.counter);
        const words = [
          `Math.floor(${counter} / 4) >>> 0`,
          this.expr(e.step),
          String(e.stream >>> 0),
          '0',
          this.expr(e.key0),
          this.expr(e.key1),
        ];
        return `$.philox(${words.join(', ')})[${counter} % 4]`;
      }
    }
  }

  #constant(type: ValueType, value: number): string {
    if (Number.isNaN(value)) return 'NaN';
    const v = type === 'f32' ? Math.fround(value) : value;
    return v < 0 || Object.is(v, -0) ? `(${spelled(v)})` : String(v);
  }

  #cast(to: ValueType, x: Expr): string {
    const text = this.expr(x);
    if (to === 'bool') return x.type === 'bool' ? text : `(${text} !== 0 ? 1 : 0)`;
    if (to === 'index') return arithmetic(x.type) === 'f32' ? `Math.trunc(${text})` : text;
    if (to === 'f32' && ['bool', 'i8', 'u8', 'f16', 'bf16'].includes(x.type)) return text;
    return wrap(to, text);
  }

  /** The storage form of `value` in an array of `dtype`; typed arrays round and wrap by themselves. */
  #encode(dtype: DType, value: Expr): string {
    const text = this.expr(value);
    switch (dtype) {
      case 'f16':
        return `$.toF16(${text})`;
      case 'bf16':
        return `$.toBf16(${text})`;
      case 'bool':
        return value.type === 'bool' ? text : `(${text} !== 0 ? 1 : 0)`;
      default:
        return text;
    }
  }

  #array(name: string): string {
    const array = this.#arrays.get(name);
    if (array === undefined) throw new InternalError(`JavaScript renderer: no buffer or local array "${name}".`);
    return array;
  }

  #dtype(name: string): DType {
    const dtype = this.#dtypes.get(name);
    if (dtype === undefined) throw new InternalError(`JavaScript renderer: no buffer or local array "${name}".`);
    return dtype;
  }
}

/** The body of `(b, lo, hi) => …`. Throws InternalError for vectors (lanes > 1). */
export function renderJs(kernel: Kernel): string {
  return new Renderer().source(kernel);
}

const compiled = new Map<string, JsKernel>();

/** The function of a kernel; kernels of one identity share it. */
export function compileJs(kernel: Kernel): { run: JsKernel; cached: boolean } {
  const key = kernelIdentity(kernel);
  const known = compiled.get(key);
  if (known) return { run: known, cached: true };
  const make: (lib: typeof library) => JsKernel = new Function(
    '$',
    `"use strict"; return (b, lo, hi) => {\n${renderJs(kernel)}};`,
  ) as never;
  const run = make(library);
  compiled.set(key, run);
  return { run, cached: false };
}
