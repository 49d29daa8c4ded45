/**
 * @file The attribute of each primitive that is not a scalar op: what it takes besides tensors, and what it means.
 * Attributes are canonical: axes count from 0 (never negative), each once; `infer` refuses anything else.
 */
import type { DType } from '../../base/dtype.js';
import type { Shape } from '../../base/shape.js';
import type { HostBuffer } from '../node.js';
import type { Variable } from '../variable.js';

/** Low and high padding, and the number of fill elements put between neighbours. Negative low/high crop. */
export type PadDim = readonly [low: number, high: number, interior: number];

export interface DotArg {
  /** Axes paired one to one, in order, kept first in the result. */
  readonly batch: readonly [readonly number[], readonly number[]];
  /** Axes paired one to one and summed. */
  readonly contract: readonly [readonly number[], readonly number[]];
}

/**
 * x [n, ...spatial, g, c] ⊛ w [...kernel, g, c, o] → [n, ...out, g, o]. One attribute a spatial dimension:
 * out[p] = Σₜ x[(p·stride + t·kernelDilation − low) / inputDilation]·w[t], where x is 0 at fractions and outside its range;
 * out = ⌊((n − 1)·inputDilation + 1 + low + high − ((kernel − 1)·kernelDilation + 1)) / stride⌋ + 1.
 */
export interface ConvArg {
  readonly stride: readonly number[];
  /** Padding of x after its dilation; may be negative. */
  readonly padding: readonly (readonly [low: number, high: number])[];
  /** Zeros between x's elements: dilation − 1 of them (transposed convolution). */
  readonly inputDilation: readonly number[];
  /** Distance of the kernel's taps. */
  readonly kernelDilation: readonly number[];
}

/** Windows over the axes `axes` of x; other axes pass through. Padding never wins a maximum and adds nothing to a sum. */
export interface WindowArg {
  readonly axes: readonly number[];
  readonly size: readonly number[];
  readonly stride: readonly number[];
  readonly padding: readonly (readonly [low: number, high: number])[];
}

export interface PrimitiveArgs {
  // ---- source
  /** Placeholder of a traced function; `index` tells which. */
  input: { readonly index: number; readonly name: string };
  /** Host data. */
  buffer: HostBuffer;
  /** The value of a Variable at the version it has when the Program starts (or, eagerly, when it was read). */
  variable: { readonly variable: Variable; readonly version: number };
  /** One number in every element (the shape may be []). */
  constant: { readonly value: number };
  /** 0, 1, 2 … along `axis`. Any number dtype. */
  iota: { readonly axis: number };
  // ---- conversion
  /** To `dtype`: float → integer truncates towards zero, number → bool is ≠ 0, float → 16 bit rounds to even. */
  cast: { readonly dtype: DType };
  // ---- movement
  reshape: { readonly shape: Shape };
  /** out[i] = in[perm[i]] as axes. */
  transpose: { readonly perm: readonly number[] };
  /** NumPy broadcasting to `shape` (extents 1 are repeated, leading axes added). */
  broadcast: { readonly shape: Shape };
  /** Half-open ranges with positive strides. */
  slice: { readonly start: readonly number[]; readonly end: readonly number[]; readonly stride: readonly number[] };
  /** Element i goes to low + i·(interior + 1) if that is inside; the rest is filled with `value`. */
  pad: { readonly dims: readonly PadDim[]; readonly value: number };
  concat: { readonly axis: number };
  flip: { readonly axes: readonly number[] };
  // ---- reduce: over `axes` (ascending from the builder), which disappear. sum and prod of bool, i8, u8, i32 give i32; u32 stays.
  sum: { readonly axes: readonly number[] };
  reduceMax: { readonly axes: readonly number[] };
  reduceMin: { readonly axes: readonly number[] };
  prod: { readonly axes: readonly number[] };
  /** Position (i32) of the first largest / smallest along `axis`, which disappears. NaN counts as largest / smallest. */
  argmax: { readonly axis: number };
  argmin: { readonly axis: number };
  // ---- contract
  /** f32 accumulation (i32 for integers, whose result is i32; u32 stays). Result axes: batch, rest of a, rest of b. */
  dot: DotArg;
  conv: ConvArg;
  // ---- window
  /** A window of padding alone gives the dtype's lowest value (−∞ for floats). */
  windowMax: WindowArg;
  /** Position (i32) of the first largest inside its window, row-major over `size`; NaN counts as largest; 0 where all is padding. */
  windowArgmax: WindowArg;
  windowSum: WindowArg;
  /** (x, position) → x at that position of each window (0 where that is padding): shape of windowArgmax's result. */
  windowGather: WindowArg;
  /** (dy, position) → adjoint of windowGather: adds dy at the position; `shape` is x's. */
  windowScatter: WindowArg & { readonly shape: Shape };
  /** dy → adjoint of windowSum. */
  windowSpread: WindowArg & { readonly shape: Shape };
  // ---- indexing (indices i32; outside the range they are clamped, but for putRows)
  /** (x, i): x's axis `axis` replaced by the axes of i. */
  take: { readonly axis: number };
  /** (dy, i) → adjoint of take: adds slices of dy to zeros whose axis `axis` has `extent`. Deterministic. */
  takeAdd: { readonly axis: number; readonly extent: number };
  /** (x, i), same rank, equal but on `axis`: out[…j…] = x[…i[…j…]…]. */
  takeAlong: { readonly axis: number };
  /** (dy, i) → adjoint of takeAlong. */
  takeAlongAdd: { readonly axis: number; readonly extent: number };
  /** (x, update, …start scalars i32, one an axis): x with `update` written at start (clamped to fit). */
  dynamicUpdateSlice: undefined;
  /** (x, rows, i): x with x[i[m]] = rows[m]; an index outside the range writes nothing, of equal ones the last counts. */
  putRows: undefined;
  /** (x, …start scalars i32): a block of `size` from start (clamped to fit). */
  dynamicSlice: { readonly size: Shape };
  // ---- scan: running sum / product / maximum along `axis`, from the end if `reverse`, without the element itself if `exclusive`.
  // The dtype stays (integers wrap); no bool.
  cumsum: { readonly axis: number; readonly reverse: boolean; readonly exclusive: boolean };
  cumprod: { readonly axis: number; readonly reverse: boolean; readonly exclusive: boolean };
  cummax: { readonly axis: number; readonly reverse: boolean };
  // ---- sort
  /** Positions (i32) that sort along `axis`; stable; NaN last ascending, first descending. */
  argsort: { readonly axis: number; readonly descending: boolean };
  // ---- attention: q [b, t, h, d], k [b, s, g, d], v [b, s, g, e], first and end i32 [b, t]; query head i reads key/value head ⌊i/(h/g)⌋,
  // query t the keys first ≤ j < end (outside [0, s) there are none). q, k and v are floats, of one dtype or several, and computed with in f32.
  /** (q, k, v, first, end) → softmax(q·kᵀ·scale)·v over the visible keys, [b, t, h, e] in q's dtype; 0 where there are none. */
  attention: { readonly scale: number };
  /** (q, k, first, end) → ln Σ e^(q·kᵀ·scale), f32 [b, t, h]; −∞ where there are none. */
  attentionLse: { readonly scale: number };
  /** (q, k, v, first, end, out, lse, dy) → the gradients of q, k and v, one after the other, in one axis of f32. */
  attentionGrad: { readonly scale: number };
  // ---- random
  /** (seed u32[2], step u32[]) → u32 bits of `shape`: word i & 3 of Philox4x32-10 at counter (i >> 2, step, stream, 0). */
  randomBits: { readonly shape: Shape; readonly stream: number };
  // ---- gradients
  /** Identity whose gradient is zero. */
  stopGradient: undefined;
  /** inputs: (value, …args): the value; its gradient with respect to args is `rule`'s (custom gradients). */
  customGradient: { readonly rule: CustomRule };
  /** (x, …others) → x, as a value of its own that isn't there before the others are: what is made of it is made again, and then. */
  barrier: undefined;
}

/** Gradient of a custom function: from dy, args and the value to one gradient (or null) an argument. Nodes are opaque here to avoid a cycle of types. */
export type CustomRule = (dy: unknown, args: readonly unknown[], value: unknown) => readonly unknown[];
