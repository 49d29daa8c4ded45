/**
 * @file The index spaces of a contraction: dims that are adjacent in memory become one, and what a template needs to
 * walk them (strides, index recovery, decomposition of a grid item).
 */
import type { DType } from '../../base/dtype.js';
import { isFloat } from '../../base/dtype.js';
import type { BufferParam, Expr, Kernel, Stmt } from '../../kernel/kernel.js';
import { iadd, idiv, imod, imul, index, operands } from '../../kernel/kernel.js';
import type { Ix } from '../symbolic.js';
import type { VectorBuffers } from './vectorize.js';

/** A dimension of the index space: strides in elements, 0 where an operand does not vary along it. */
export interface ContractDim {
  readonly extent: number;
  readonly a: number;
  readonly b: number;
  /** Informative: the epilogue stores. */
  readonly out: number;
}

/** An element of an operand that lies in no buffer: statements that lead up to it, and its value (f32). */
export interface Element {
  readonly body: readonly Stmt[];
  readonly value: Expr;
}

export interface Operand {
  readonly buffer: string;
  readonly offset: number;
  readonly dtype: DType;
  /**
   * Set where the operand is a formula of other buffers (decoding, casts): its element at an address, which then counts the
   * elements of an array that is nowhere in memory. Names are new at every call. Only B may be one.
   */
  readonly element?: (at: Ix) => Element;
  /**
   * Set in a product of pairs: an element is then the word of the two bf16 at an address and so many further on. Strides along the
   * paired reduction count two steps at once.
   */
  readonly pair?: number;
  /** A name that is new in the kernel; set with `element`. */
  readonly fresh?: () => string;
}

/**
 * out[batch, rows, cols] = Σ over reduce of a · b, for strided operands. A convolution is rows [n, oy, ox], reduce
 * [ky, kx, c], cols [o]; its filter's gradient rows [ky, kx, c], reduce [n, oy, ox], cols [o]. Every access must be in
 * bounds: padding was made real before.
 */
export interface Contraction {
  readonly batch: readonly ContractDim[];
  /** b = 0. */
  readonly rows: readonly ContractDim[];
  /** a = 0. */
  readonly cols: readonly ContractDim[];
  /** out = 0. */
  readonly reduce: readonly ContractDim[];
  readonly a: Operand;
  readonly b: Operand;
  /**
   * Statements that consume a finished element: `acc` is a scalar of type `accumulatorType`, then the index of each
   * batch, row and column dim as given. They may run inside a simd loop along a column (or row) dim, in any order, each
   * element once. Names starting with `c_` are the template's.
   */
  epilogue(acc: Expr, batch: readonly Expr[], rows: readonly Expr[], cols: readonly Expr[]): Stmt[];
  /** Whether an element may also be consumed twice: nothing that the epilogue reads is overwritten by it. */
  readonly isRepeatable?: boolean;
  readonly buffers: readonly BufferParam[];
  /** Elements of small tables of f32 among the buffers, which may be looked up lane by lane. */
  readonly tables?: ReadonlyMap<string, number>;
  readonly label: string;
}

/** The type in which products are summed: f32, or i32 / u32 for integers (bool counts in i32). */
export function accumulatorType(c: Contraction): 'f32' | 'i32' | 'u32' {
  const { a, b } = c;
  if (isFloat(a.dtype) || isFloat(b.dtype)) return 'f32';
  const unsigned = (d: DType) => d === 'u32' || d === 'u8' || d === 'bool';
  return (a.dtype === 'u32' || b.dtype === 'u32' || a.dtype === 'u8' || b.dtype === 'u8') && unsigned(a.dtype) && unsigned(b.dtype)
    ? 'u32'
    : 'i32';
}

/** What a vectorizer asks of the buffers of a contraction's kernel; `others` are the template's own. */
export const vectorBuffers = (c: Contraction, others: ReadonlyMap<string, DType> = new Map()): VectorBuffers => ({
  dtypeOf: (name) => others.get(name) ?? c.buffers.find((b) => b.name === name)?.dtype,
  tableSize: (name) => c.tables?.get(name),
});

/** Whether steps of this stride are neighbours in memory. */
export const isLine = (o: Operand, stride: number): boolean => stride === (o.pair === 1 ? 2 : 1) && (o.pair === undefined || o.pair === 1);

/** The type of copies of operands: words of two bf16 in a product of pairs. */
export const copyType = (c: Contraction): DType => (c.b.pair === undefined ? accumulatorType(c) : 'u32');

/** One or more given dims walked as one. */
export interface Axis {
  readonly extent: number;
  readonly a: number;
  readonly b: number;
  /** The given dims, outermost first, by position in their list. */
  readonly parts: readonly { readonly position: number; readonly extent: number }[];
}

/** Drops dims of extent 1 and joins neighbours whose strides allow. */
export function axes(dims: readonly ContractDim[]): Axis[] {
  const out: Axis[] = [];
  dims.forEach((d, position) => {
    if (d.extent === 1) return;
    const last = out[out.length - 1];
    const part = { position, extent: d.extent };
    if (last && last.a === d.a * d.extent && last.b === d.b * d.extent) {
      out[out.length - 1] = { extent: last.extent * d.extent, a: d.a, b: d.b, parts: [...last.parts, part] };
    } else out.push({ extent: d.extent, a: d.a, b: d.b, parts: [part] });
  });
  return out;
}

export const extentOf = (dims: readonly { extent: number }[]): number => dims.reduce((n, d) => n * d.extent, 1);

/** The index of each given dim (`rank` of them), from an index along each axis. */
export function recover(list: readonly Axis[], at: readonly Expr[], rank: number): Expr[] {
  const out: Expr[] = Array.from({ length: rank }, () => index(0));
  list.forEach((axis, i) => {
    let rest = at[i];
    for (let p = axis.parts.length - 1; p >= 0; p--) {
      const { position, extent } = axis.parts[p];
      out[position] = p === 0 ? rest : imod(rest, extent);
      rest = idiv(rest, extent);
    }
  });
  return out;
}

/** Σ index · stride. */
export function address(list: readonly Axis[], at: readonly Expr[], of: 'a' | 'b', base: Expr = index(0)): Expr {
  return list.reduce((sum, axis, i) => iadd(sum, imul(at[i], axis[of])), base);
}

/** The flat number of an index in each of `list`, the last one fastest: what `unravel` splits. */
export function ravel(list: readonly { readonly extent: number }[], at: readonly Expr[], base: Expr = index(0)): Expr {
  return list.reduce((flat, { extent }, i) => iadd(imul(flat, extent), at[i]), base);
}

/** Splits `item` into an index for each extent, the last one fastest. */
export function unravel(item: Expr, extents: readonly number[]): Expr[] {
  const out: Expr[] = [];
  let rest = item;
  for (let i = extents.length - 1; i >= 0; i--) {
    const outermost = extents.slice(0, i).every((e) => e === 1);
    out[i] = extents[i] === 1 ? index(0) : outermost ? rest : imod(rest, extents[i]);
    if (extents[i] !== 1) rest = idiv(rest, extents[i]);
  }
  return out;
}

/** Names a compound index once, so that it is computed once. */
export function named(name: string, e: Expr, out: Stmt[]): Expr {
  if (e.kind === 'const' || e.kind === 'var') return e;
  out.push({ kind: 'let', name, value: e });
  return { kind: 'var', type: e.type, name, lanes: e.lanes };
}

/** Names of the buffers that statements touch. */
export function touched(body: readonly Stmt[], into = new Set<string>()): Set<string> {
  const see = (e: Expr): void => {
    if (e.kind === 'load' || e.kind === 'pairs' || e.kind === 'lookup') into.add(e.buffer);
    for (const x of operands(e)) see(x);
  };
  for (const s of body) {
    switch (s.kind) {
      case 'for':
        see(s.from);
        see(s.to);
        touched(s.body, into);
        break;
      case 'let':
      case 'mut':
      case 'assign':
        see(s.value);
        break;
      case 'store':
        into.add(s.buffer);
        see(s.index);
        see(s.value);
        break;
      case 'if':
        see(s.cond);
        touched(s.then, into);
        touched(s.otherwise ?? [], into);
        break;
      case 'prefetch':
        into.add(s.buffer);
        see(s.index);
        break;
      case 'transpose':
        into.add(s.from).add(s.out);
        see(s.base);
        see(s.outBase);
        break;
      case 'argsort':
        into.add(s.out);
        see(s.key);
        see(s.outBase);
        break;
      case 'local':
        break;
    }
  }
  return into;
}

/** A kernel over `items`, with those of `buffers` that its body touches. */
export function kernelOf(
  label: string,
  buffers: readonly BufferParam[],
  items: number,
  body: readonly Stmt[],
  flops: number,
  bytes: number,
): Kernel {
  const names = touched(body);
  return { label, buffers: buffers.filter((b) => names.has(b.name)), grid: { name: 'c_item', extent: items }, body, flops, bytes };
}
