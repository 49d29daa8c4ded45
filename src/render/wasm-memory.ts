/** @file Elements in memory: the loads and stores of every dtype, of one value and of four neighbours. */
import { type DType, dtypes } from '../base/dtype.js';
import { type Address, type Code, f32, i4, i32, loadFrom, storeTo, v128, type WasmFunction } from './wasm-assembler.js';
import type { WasmHelpers } from './wasm-helpers.js';

/** In the arithmetic type; a truth value as 0 or 1. */
export function loadOne(dtype: DType, at: Address, math: WasmHelpers): Code {
  switch (dtype) {
    case 'f32':
      return loadFrom('f32Load', at);
    case 'i32':
    case 'u32':
      return loadFrom('i32Load', at);
    case 'i8':
      return loadFrom('i32Load8S', at);
    case 'u8':
      return loadFrom('i32Load8U', at);
    case 'bool':
      return i32.ne(loadFrom('i32Load8U', at), i32.const(0));
    case 'bf16':
      return f32.ofBits(i32.shl(loadFrom('i32Load16U', at), i32.const(16)));
    case 'f16':
      return math.one('fromF16', f32.ofBits(loadFrom('i32Load16U', at)));
  }
}

export function storeOne(dtype: DType, at: Address, value: Code, math: WasmHelpers): Code {
  switch (dtype) {
    case 'f32':
      return storeTo('f32Store', at, value);
    case 'i32':
    case 'u32':
      return storeTo('i32Store', at, value);
    case 'i8':
    case 'u8':
    case 'bool':
      return storeTo('i32Store8', at, value);
    case 'bf16':
    case 'f16':
      return storeTo('i32Store16', at, i32.bits(math.one(dtype === 'f16' ? 'toF16' : 'toBf16', value)));
  }
}

/** Four neighbours, or two, in the low lanes; null: there is no instruction for so few of this dtype. */
export function loadFour(dtype: DType, at: Address, count: number, math: WasmHelpers, f: WasmFunction): Code | null {
  const { bytes } = dtypes[dtype];
  const total = bytes * count;
  if (total < 4) return null;
  const raw = loadFrom(total === 16 ? 'load' : total === 8 ? 'load64Zero' : 'load32Zero', at);
  switch (dtype) {
    case 'bf16':
      return i4.shl(i4.extendU16(raw), i32.const(16));
    case 'f16':
      return math.four('fromF16', f, i4.extendU16(raw));
    case 'i8':
      return i4.extendS16(i4.extendS8(raw));
    case 'u8':
      return i4.extendU16(i4.extendU8(raw));
    case 'bool':
      return i4.ne(i4.extendU16(i4.extendU8(raw)), f.i4(0));
    default:
      return raw;
  }
}

export function storeFour(dtype: DType, at: Address, x: Code, count: number, math: WasmHelpers, f: WasmFunction): Code | null {
  const { bytes } = dtypes[dtype];
  const total = bytes * count;
  if (total < 4) return null;
  const name = total === 16 ? 'store' : total === 8 ? 'store64Lane' : 'store32Lane';
  const halves = (h: Code): Code => {
    const y = f.let('v128', h);
    return i4.narrow16(y, y);
  };
  const bytesOf = (low: Code): Code => {
    const y = f.let('v128', halves(low));
    return i4.narrow8(y, y);
  };
  switch (dtype) {
    case 'bf16':
    case 'f16':
      return storeTo(name, at, halves(math.four(dtype === 'f16' ? 'toF16' : 'toBf16', f, x)));
    case 'i8':
    case 'u8':
      return storeTo(name, at, bytesOf(v128.and(x, f.i4(255))));
    case 'bool':
      return storeTo(name, at, bytesOf(i4.neg(x)));
    default:
      return storeTo(name, at, x);
  }
}
