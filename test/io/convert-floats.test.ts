import { describe, expect, test } from 'vitest';
import { fromBf16, fromF16, toBf16, toF16 } from '../../src/base/dtype.js';
import { ConfigError } from '../../src/base/errors.js';
import { convertedPieces, convertFloats } from '../../src/io/convert-floats.js';

const every = Uint16Array.from({ length: 65536 }, (_, i) => i);
/** Every exponent and sign with the fractions at which rounding turns, and random ones. */
const floats = ((): Float32Array => {
  const bits: number[] = [];
  let s = 7;
  for (let top = 0; top < 512; top++) {
    for (let k = 0; k < 24; k++) for (const d of [-1, 0, 1]) bits.push(((top << 23) | (((1 << k) + d) & 0x7fffff)) >>> 0);
    // Ties of bf16 and of f16, both ways.
    for (const low of [0x8000, 0x18000, 0x1000, 0x3000, 0x7fffff, 0x7ff000]) bits.push(((top << 23) | low) >>> 0);
    for (let k = 0; k < 200; k++) {
      s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
      bits.push(((top << 23) | (s >>> 9)) >>> 0);
    }
  }
  return new Float32Array(Uint32Array.from(bits).buffer);
})();
/** Where two lists first differ, which `toEqual` takes long to find in so many; −1 when nowhere. */
function difference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Math.min(a.length, b.length);
  for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) return i;
  return -1;
}

describe('convertFloats', () => {
  test('f32 → f16 and bf16 is what one element’s conversion gives', () => {
    expect(difference(convertFloats(floats, 'f32', 'f16'), Uint16Array.from(floats, toF16))).toBe(-1);
    expect(difference(convertFloats(floats, 'f32', 'bf16'), Uint16Array.from(floats, toBf16))).toBe(-1);
  });

  test('f16 and bf16 → f32 for every pattern', () => {
    expect(difference(convertFloats(every, 'f16', 'f32'), Array.from(every, fromF16))).toBe(-1);
    expect(difference(convertFloats(every, 'bf16', 'f32'), Array.from(every, fromBf16))).toBe(-1);
  });

  test('between f16 and bf16 for every pattern', () => {
    expect(
      difference(
        convertFloats(every, 'f16', 'bf16'),
        Uint16Array.from(every, (b) => toBf16(fromF16(b))),
      ),
    ).toBe(-1);
    expect(
      difference(
        convertFloats(every, 'bf16', 'f16'),
        Uint16Array.from(every, (b) => toF16(fromBf16(b))),
      ),
    ).toBe(-1);
  });

  test('there and back is the same where it must be', () => {
    const finite = every.filter((b) => !Number.isNaN(fromF16(b)));
    expect(difference(convertFloats(convertFloats(finite, 'f16', 'f32'), 'f32', 'f16'), finite)).toBe(-1);
    expect(convertFloats(floats, 'f32', 'f32')).toBe(floats);
    expect(() => convertFloats(floats, 'f16', 'f32')).toThrow(ConfigError);
  });

  test('pieces are the whole; integers come as they are', () => {
    const large = new Float32Array(2 ** 20 + 5).map((_, i) => i / 7);
    const joined = [...convertedPieces(large, 'f32', 'bf16')].flatMap((piece) => [...piece]);
    expect(difference(joined, convertFloats(large, 'f32', 'bf16'))).toBe(-1);
    const ids = Int32Array.of(1, 2);
    expect([...convertedPieces(ids, 'i32', 'bf16')]).toEqual([ids]);
  });
});
