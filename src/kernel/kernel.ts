/**
 * @file Kernel: the only thing a backend has to understand. A kernel is a loop nest over buffers, run for each `item`
 * of a one-dimensional grid; items are independent, so a device may spread them over threads in any way.
 * Scalars are the rule; `lanes > 1` makes explicit vectors (register tiles in templates), `simd` loops leave
 * vectorizing to the renderer. Index arithmetic is of type 'index' (non-negative or small negative, 53 bits suffice).
 */
import type { DType } from '../base/dtype.js';
import type { ScalarOp } from './scalar-ops.js';

export type ValueType = DType | 'index';

/** An expression: pure, typed, `lanes` wide (1 unless a template asks for a vector). Arithmetic types are f32, i32, u32, bool and index: loads widen f16/bf16 → f32, i8 → i32, u8 → u32 …; stores narrow. */
export type Expr =
  | { readonly kind: 'const'; readonly type: ValueType; readonly value: number; readonly lanes: 1 }
  /** A loop variable, the grid's item, a `let` or a `mut`. */
  | { readonly kind: 'var'; readonly type: ValueType; readonly name: string; readonly lanes: number }
  /** Element (or `lanes` consecutive elements) of a parameter or local array; `type` is the buffer's dtype. */
  | { readonly kind: 'load'; readonly type: ValueType; readonly buffer: string; readonly index: Expr; readonly lanes: number }
  /** A row of scalar-ops. On 'index' operands: add sub mul, idiv and mod (floor), max min, comparisons (→ bool), select. */
  | { readonly kind: 'op'; readonly type: ValueType; readonly op: ScalarOp; readonly args: readonly Expr[]; readonly lanes: number }
  | { readonly kind: 'cast'; readonly type: ValueType; readonly x: Expr; readonly lanes: number }
  /** One scalar in every lane. */
  | { readonly kind: 'splat'; readonly type: ValueType; readonly x: Expr; readonly lanes: number }
  /** a·b + c, rounded once where the target has a fused multiply-add. f32. */
  | { readonly kind: 'fma'; readonly type: 'f32'; readonly a: Expr; readonly b: Expr; readonly c: Expr; readonly lanes: number }
  /** Words of two neighbouring bf16 each, from element `index` of a bf16 buffer on, the lower one in the low half. Only where `TargetInfo.hasBf16Dot`. */
  | { readonly kind: 'pairs'; readonly type: 'u32'; readonly buffer: string; readonly index: Expr; readonly lanes: number }
  /** Two f32 as such a word, each rounded to bf16. */
  | { readonly kind: 'pack2'; readonly type: 'u32'; readonly low: Expr; readonly high: Expr; readonly lanes: number }
  /** c + the products of both pairs of two words. Where subnormals and roundings go is the processor's choice. */
  | { readonly kind: 'dot2'; readonly type: 'f32'; readonly a: Expr; readonly b: Expr; readonly c: Expr; readonly lanes: number }
  /** The element of a table of `size` f32 at the position in each lane of x (i32, within the table). */
  | {
      readonly kind: 'lookup';
      readonly type: 'f32';
      readonly buffer: string;
      readonly size: number;
      readonly x: Expr;
      readonly lanes: number;
    }
  /** Word `counter & 3` of Philox4x32-10 with counter (counter >> 2, step, stream, 0) and key (key0, key1). Type u32. */
  | {
      readonly kind: 'random';
      readonly type: 'u32';
      readonly counter: Expr;
      readonly step: Expr;
      readonly stream: number;
      readonly key0: Expr;
      readonly key1: Expr;
      readonly lanes: 1;
    };

export type ReduceOp = 'add' | 'mul' | 'max' | 'min';

export type Stmt =
  /** for (name = from; name < to; name += step). 'simd': iterations are independent but for `reduce`, and the renderer should vectorize. 'unrolled': a small constant count. */
  | {
      readonly kind: 'for';
      readonly name: string;
      readonly from: Expr;
      readonly to: Expr;
      readonly step: number;
      readonly mode: 'serial' | 'simd' | 'unrolled';
      /** Accumulators of a simd loop: `mut`s combined across iterations by op (the order is the renderer's, fixed for a target). */
      readonly reduce?: readonly { readonly name: string; readonly op: ReduceOp }[];
      readonly body: readonly Stmt[];
    }
  /** An immutable value. */
  | { readonly kind: 'let'; readonly name: string; readonly value: Expr }
  /** A mutable register. */
  | { readonly kind: 'mut'; readonly name: string; readonly value: Expr }
  | { readonly kind: 'assign'; readonly name: string; readonly value: Expr }
  | { readonly kind: 'store'; readonly buffer: string; readonly index: Expr; readonly value: Expr }
  | { readonly kind: 'if'; readonly cond: Expr; readonly then: readonly Stmt[]; readonly otherwise?: readonly Stmt[] }
  /** A scratch array of `size` elements, private to the item, uninitialised. A device puts small ones on the stack, large ones (> 64 KiB) in per-thread memory. */
  | { readonly kind: 'local'; readonly name: string; readonly type: DType; readonly size: number }
  /**
   * Stable sort: writes to out[outBase + i·outStride], i < length, the positions (i32) that bring key(name) into ascending order (descending: larger first,
   * equal keys keep their order both ways). NaN sorts last when ascending, first when descending (NumPy, JAX).
   */
  | {
      readonly kind: 'argsort';
      readonly name: string;
      readonly key: Expr;
      readonly length: number;
      readonly descending: boolean;
      readonly out: string;
      readonly outBase: Expr;
      readonly outStride: number;
    }
  /** A hint that the cache line of buffer[index], which may lie past the end, is read soon. A renderer may leave it out. */
  | { readonly kind: 'prefetch'; readonly buffer: string; readonly index: Expr }
  /** A square of size × size f32 (or words of two bf16, from a bf16 array with an even stride to a u32 one) turned over its diagonal: out[outBase + j·outStride + i] = from[base + i·stride + j]. `size` is a number of lanes. */
  | {
      readonly kind: 'transpose';
      readonly size: number;
      readonly from: string;
      readonly base: Expr;
      readonly stride: number;
      readonly out: string;
      readonly outBase: Expr;
      readonly outStride: number;
    };

export interface BufferParam {
  readonly name: string;
  readonly dtype: DType;
  readonly access: 'read' | 'write' | 'readwrite';
}

export interface Kernel {
  /** Human-readable label: the fused ops, e.g. `conv+add+relu`. Not part of its identity. */
  readonly label: string;
  readonly buffers: readonly BufferParam[];
  readonly grid: { readonly name: string; readonly extent: number };
  readonly body: readonly Stmt[];
  /** Estimates for profiles and for deciding on threads: arithmetic operations and bytes touched, in all. */
  readonly flops: number;
  readonly bytes: number;
  /** The contraction that it belongs to, by the name that `TargetInfo.choosePlan` was asked with. Not part of its identity. */
  readonly contraction?: string;
}

// ---- builders: short names, since templates are made of them; they fold constants so that printed kernels stay readable.

export const index = (value: number): Expr => ({ kind: 'const', type: 'index', value, lanes: 1 });
export const constant = (type: ValueType, value: number): Expr => ({ kind: 'const', type, value, lanes: 1 });
export const variable = (name: string, type: ValueType = 'index', lanes = 1): Expr => ({ kind: 'var', type, name, lanes });
export const load = (buffer: string, type: ValueType, at: Expr, lanes = 1): Expr => ({ kind: 'load', type, buffer, index: at, lanes });
export const splat = (x: Expr, lanes: number): Expr => (lanes === 1 ? x : { kind: 'splat', type: x.type, x, lanes });
export const fma = (a: Expr, b: Expr, c: Expr): Expr => ({ kind: 'fma', type: 'f32', a, b, c, lanes: c.lanes });
export const cast = (type: ValueType, x: Expr): Expr => (x.type === type ? x : { kind: 'cast', type, x, lanes: x.lanes });
export const op = (name: ScalarOp, type: ValueType, ...args: Expr[]): Expr => ({
  kind: 'op',
  type,
  op: name,
  args,
  lanes: args[args.length - 1].lanes,
});

/** The expressions that an expression is made of. */
export function operands(e: Expr): readonly Expr[] {
  switch (e.kind) {
    case 'const':
    case 'var':
      return [];
    case 'load':
    case 'pairs':
      return [e.index];
    case 'pack2':
      return [e.low, e.high];
    case 'op':
      return e.args;
    case 'cast':
    case 'splat':
    case 'lookup':
      return [e.x];
    case 'fma':
    case 'dot2':
      return [e.a, e.b, e.c];
    case 'random':
      return [e.counter, e.step, e.key0, e.key1];
  }
}
/** Whether an expression uses one of the variables. */
export const mentions = (e: Expr, names: ReadonlySet<string>): boolean =>
  e.kind === 'var' ? names.has(e.name) : operands(e).some((x) => mentions(x, names));

const value = (e: Expr): number | null => (e.kind === 'const' ? e.value : null);

/** Index sum, product, floor quotient and remainder with the usual identities folded. */
export function iadd(a: Expr, b: Expr | number): Expr {
  const y = typeof b === 'number' ? index(b) : b;
  const [u, v] = [value(a), value(y)];
  if (u !== null && v !== null) return index(u + v);
  if (u === 0) return y;
  if (v === 0) return a;
  return op('add', 'index', a, y);
}
export function imul(a: Expr, b: Expr | number): Expr {
  const y = typeof b === 'number' ? index(b) : b;
  const [u, v] = [value(a), value(y)];
  if (u !== null && v !== null) return index(u * v);
  if (u === 0 || v === 0) return index(0);
  if (u === 1) return y;
  if (v === 1) return a;
  return op('mul', 'index', a, y);
}
export function idiv(a: Expr, b: number): Expr {
  const u = value(a);
  return b === 1 ? a : u !== null ? index(Math.floor(u / b)) : op('idiv', 'index', a, index(b));
}
export function imod(a: Expr, b: number): Expr {
  const u = value(a);
  return b === 1 ? index(0) : u !== null ? index(u - b * Math.floor(u / b)) : op('mod', 'index', a, index(b));
}

export function loop(
  name: string,
  from: Expr | number,
  to: Expr | number,
  body: readonly Stmt[],
  options: { mode?: 'serial' | 'simd' | 'unrolled'; step?: number; reduce?: { name: string; op: ReduceOp }[] } = {},
): Stmt {
  return {
    kind: 'for',
    name,
    body,
    from: typeof from === 'number' ? index(from) : from,
    to: typeof to === 'number' ? index(to) : to,
    step: options.step ?? 1,
    mode: options.mode ?? 'serial',
    ...(options.reduce ? { reduce: options.reduce } : {}),
  };
}
