/** @file Program: kernels in order and one buffer plan. What compile/ makes and a device runs. */
import type { DType } from '../base/dtype.js';
import type { Kernel } from './kernel.js';

/** Where a buffer of a Program lives. `external` buffers are handed over at each run, by position. */
export type BufferPlace =
  | { readonly kind: 'external'; readonly slot: number }
  | { readonly kind: 'arena'; readonly offset: number }
  /** Constants baked into the Program (small tables). */
  | { readonly kind: 'constant'; readonly data: ArrayBufferView };

export interface BufferPlan {
  readonly dtype: DType;
  /** Elements. */
  readonly size: number;
  readonly place: BufferPlace;
}

export interface KernelCall {
  readonly kernel: Kernel;
  /** For each parameter of the kernel, an index into `Program.buffers`. */
  readonly buffers: readonly number[];
}

export interface Program {
  readonly calls: readonly KernelCall[];
  readonly buffers: readonly BufferPlan[];
  /** Bytes of the arena that temporaries share; offsets in it are multiples of 64. */
  readonly arenaBytes: number;
  /** Number of external slots. */
  readonly externals: number;
}
