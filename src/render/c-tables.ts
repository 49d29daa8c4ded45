/** @file The tables of the C renderer: types, the text of every op by the kind of its operands, constants, compiler flags. */
import type { DType } from '../base/dtype.js';
import type { ReduceOp, ValueType } from '../kernel/kernel.js';
import type { ScalarOp } from '../kernel/scalar-ops.js';
import type { TargetInfo } from '../kernel/target.js';
import { type Kind, kinds } from './kinds.js';

export const scalarTypes = { f: 'float', i: 'int', u: 'unsigned', b: 'int', l: 'long' } as const satisfies Record<Kind, string>;
export const vectorTypes = { f: 't_f32x', i: 't_i32x', u: 't_u32x', b: 't_i32x', l: null } as const satisfies Record<Kind, string | null>;
export const storage = {
  f32: 'float',
  f16: 't_u16',
  bf16: 't_u16',
  i32: 'int',
  u32: 'unsigned',
  i8: 'signed char',
  u8: 'unsigned char',
  bool: 'unsigned char',
} as const satisfies Record<DType, string>;
export const storedVector = {
  f32: 't_f32x',
  f16: 't_u16x',
  bf16: 't_u16x',
  i32: 't_i32x',
  u32: 't_u32x',
  i8: 't_i8x',
  u8: 't_u8x',
  bool: 't_u8x',
} as const satisfies Record<DType, string>;

/** By the kind of the (last) argument: a function's name, or a pattern of $a, $b. Absent: not an operation of that kind. */
export type Row = Partial<Record<Kind, string>>;
const arithmetic = (symbol: string): Row => ({ f: `$a ${symbol} $b`, i: `$a ${symbol} $b`, u: `$a ${symbol} $b`, l: `$a ${symbol} $b` });
const comparison = (symbol: string): Row => ({ ...arithmetic(symbol), b: `$a ${symbol} $b` });
const bitwise = (symbol: string): Row => ({ i: `$a ${symbol} $b`, u: `$a ${symbol} $b`, b: `$a ${symbol} $b`, l: `$a ${symbol} $b` });
const rounding = (name: string): Row => ({ f: name, i: '$a', u: '$a', l: '$a' });

export const ops = {
  neg: { f: '-$a', i: '-$a', u: '-$a', l: '-$a' },
  abs: { f: '__builtin_fabsf', i: 't_abs_i', u: '$a' },
  sign: { f: 't_sign', i: 't_sign_i', u: 't_sign_u' },
  not: { f: 't_not', i: '$a == 0', u: '$a == 0', b: '!$a', l: '$a == 0' },
  bitNot: { i: '~$a', u: '~$a', b: '!$a' },
  exp: { f: 't_exp' },
  expm1: { f: 't_expm1' },
  log: { f: 't_log' },
  log1p: { f: 't_log1p' },
  sqrt: { f: '__builtin_sqrtf' },
  rsqrt: { f: 't_rsqrt' },
  sin: { f: 't_sin' },
  cos: { f: 't_cos' },
  tanh: { f: 't_tanh' },
  sigmoid: { f: 't_sigmoid' },
  erf: { f: 't_erf' },
  floor: rounding('__builtin_floorf'),
  ceil: rounding('__builtin_ceilf'),
  round: rounding('__builtin_rintf'),
  add: { ...arithmetic('+'), b: '$a | $b' },
  sub: arithmetic('-'),
  mul: { ...arithmetic('*'), b: '$a & $b' },
  div: { f: '$a / $b' },
  idiv: { f: 't_idiv', i: 't_idiv_i', u: 't_idiv_u', l: 't_idiv_l' },
  mod: { f: 't_mod', i: 't_mod_i', u: 't_mod_u', l: 't_mod_l' },
  pow: { f: 't_pow', i: 't_pow_i', u: 't_pow_u' },
  max: { f: 't_max', i: 't_max_i', u: 't_max_u', b: '$a | $b', l: 't_max_l' },
  min: { f: 't_min', i: 't_min_i', u: 't_min_u', b: '$a & $b', l: 't_min_l' },
  atan2: { f: '__builtin_atan2f' },
  and: bitwise('&'),
  or: bitwise('|'),
  xor: bitwise('^'),
  shl: { i: '$a << ($b & 31)', u: '$a << ($b & 31)' },
  shr: { i: '$a >> ($b & 31)', u: '$a >> ($b & 31)' },
  lt: comparison('<'),
  le: comparison('<='),
  eq: comparison('=='),
  ne: comparison('!='),
  select: { f: '$a ? $b : $c', i: '$a ? $b : $c', u: '$a ? $b : $c', b: '$a ? $b : $c', l: '$a ? $b : $c' },
} as const satisfies Record<ScalarOp, Row>;

/** Vector forms where the scalar pattern doesn't hold lane by lane. */
export const vectorOps: Partial<Record<ScalarOp, (a: string[], kind: Kind, n: number) => string>> = {
  select: (a, k, n) => `T_SELECT(${vectorTypes[k]}${n}, t_i32x${n}, ${a.join(', ')})`,
  max: (a, k, n) => (k === 'b' ? `(${a[0]} | ${a[1]})` : `T_MAXV(${vectorTypes[k]}${n}, t_i32x${n}, ${a.join(', ')})`),
  min: (a, k, n) => (k === 'b' ? `(${a[0]} & ${a[1]})` : `T_MINV(${vectorTypes[k]}${n}, t_i32x${n}, ${a.join(', ')})`),
  not: (a, k, n) => (k === 'b' ? `(~${a[0]})` : k === 'f' ? `({ t_f32x${n} z_ = ${a[0]}; (z_ == 0.0f) | (z_ != z_); })` : `(${a[0]} == 0)`),
  bitNot: (a) => `(~${a[0]})`,
  // A true lane is -1.
  lt: (a, k) => (k === 'b' ? `(~${a[0]} & ${a[1]})` : `(${a[0]} < ${a[1]})`),
  le: (a, k) => (k === 'b' ? `(~${a[0]} | ${a[1]})` : `(${a[0]} <= ${a[1]})`),
};

export const reductions = {
  add: { f: '+', i: '+', u: '+' },
  mul: { f: '*', i: '*', u: '*' },
  max: { i: 'max', u: 'max' },
  min: { i: 'min', u: 'min' },
} as const satisfies Record<ReduceOp, Partial<Record<Kind, string>>>;

export function scalarConstant(type: ValueType, value: number): string {
  switch (kinds[type]) {
    case 'f': {
      if (Number.isNaN(value)) return '__builtin_nanf("")';
      if (!Number.isFinite(value)) return value > 0 ? '__builtin_inff()' : '(-__builtin_inff())';
      const text = Object.is(value, -0) ? '-0' : String(Math.fround(value));
      if (!Number.isFinite(Math.fround(value))) return value > 0 ? '__builtin_inff()' : '(-__builtin_inff())';
      const literal = `${/[.e]/.test(text) ? text : `${text}.0`}f`;
      return text.startsWith('-') ? `(${literal})` : literal;
    }
    case 'i':
      return (value | 0) === -2147483648 ? '(-2147483647 - 1)' : value < 0 ? `(${value | 0})` : `${value | 0}`;
    case 'u':
      return `${value >>> 0}u`;
    case 'b':
      return value ? '1' : '0';
    default:
      return value < 0 ? `(${value}L)` : `${value}L`;
  }
}

/** Flags for `cc`: no -ffast-math, so that NaN and infinity survive. */
export function cFlags(target: TargetInfo): string[] {
  const machine =
    target.lanes >= 16
      ? ['-mavx512f', '-mavx512bw', '-mavx512dq', '-mavx512vl', '-mavx512cd', '-mfma', '-mf16c', '-mprefer-vector-width=512']
      : target.lanes === 8
        ? ['-mavx2', '-mfma', '-mf16c']
        : [];
  return [
    // GCC's cost model of -O2 leaves loops with reductions and calls scalar; pairs of scalars made vectors only cost.
    '-O3',
    '-fno-tree-slp-vectorize',
    ...machine,
    '-fPIC',
    '-fopenmp-simd',
    '-ffp-contract=fast',
    '-fno-math-errno',
    '-fno-trapping-math',
    '-fwrapv',
    '-fno-strict-aliasing',
    '-w',
  ];
}
