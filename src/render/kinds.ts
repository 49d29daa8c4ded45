/** @file What a value of a dtype is while it is computed with. */
import type { ValueType } from '../kernel/kernel.js';

/** What a value is in a register: float, int, unsigned, truth value (0 or 1; all bits set in a vector's lane), index. */
export type Kind = 'f' | 'i' | 'u' | 'b' | 'l';

export const kinds = {
  f32: 'f',
  f16: 'f',
  bf16: 'f',
  i32: 'i',
  i8: 'i',
  u32: 'u',
  u8: 'u',
  bool: 'b',
  index: 'l',
} as const satisfies Record<ValueType, Kind>;

/** The type in which values of a kind are computed. */
export const arithmeticOf = (kind: Kind): ValueType => (({ f: 'f32', i: 'i32', u: 'u32', b: 'bool', l: 'index' }) as const)[kind];
