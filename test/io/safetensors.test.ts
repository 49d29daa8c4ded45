import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concatBytes } from '../../src/base/bytes.js';
import { ConfigError, FormatError } from '../../src/base/errors.js';
import { encodeUtf8 } from '../../src/io/bytes.js';
import { readSafetensors, writeSafetensors } from '../../src/io/safetensors.js';
import { plain, runs, tensorMap } from './arbitraries.js';

/** A file with the given header and data, as another program would write it. */
function file(header: unknown, data: readonly number[] | Uint8Array = []): Uint8Array {
  const json = encodeUtf8(typeof header === 'string' ? header : JSON.stringify(header));
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(json.length), true);
  return concatBytes([length, json, Uint8Array.from(data)]);
}

const entry = (dtype: string, shape: number[], begin: number, end: number) => ({ dtype, shape, data_offsets: [begin, end] });

describe('safetensors', () => {
  test('round trip keeps names, dtypes, shapes, bits and metadata', () => {
    fc.assert(
      fc.property(tensorMap, fc.dictionary(fc.string(), fc.string()), (tensors, metadata) => {
        const read = readSafetensors(writeSafetensors(tensors, metadata));
        expect(plain(read.tensors)).toEqual(plain(tensors));
        expect(Object.entries(read.metadata)).toEqual(Object.entries(metadata));
      }),
      runs(200),
    );
  });

  test('reads in place where aligned, and the same from an odd address', () => {
    const tensors = new Map([['w', { dtype: 'f32' as const, shape: [3], data: Float32Array.of(1, 2, 3) }]]);
    const bytes = writeSafetensors(tensors);
    const w = readSafetensors(bytes).tensors.get('w')?.data;
    expect(w?.buffer).toBe(bytes.buffer);
    expect((w?.byteOffset ?? 1) % 64).toBe(0);
    const shifted = new Uint8Array(bytes.length + 1);
    shifted.set(bytes, 1);
    expect(plain(readSafetensors(shifted.subarray(1)).tensors)).toEqual(plain(tensors));
  });

  test('the layout is the format: read by hand', () => {
    const bytes = writeSafetensors(new Map([['a', { dtype: 'i32', shape: [2], data: Int32Array.of(1, -1) }]]), { by: 'us' });
    const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
    const header: unknown = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
    expect(header).toEqual({ __metadata__: { by: 'us' }, a: { dtype: 'I32', shape: [2], data_offsets: [0, 8] } });
    expect([...bytes.subarray(8 + length)]).toEqual([1, 0, 0, 0, 255, 255, 255, 255]);
  });

  test('I64, I16 and U16 come as i32, checked', () => {
    const data = new DataView(new ArrayBuffer(24));
    data.setBigInt64(0, -2147483648n, true);
    data.setBigInt64(8, 2147483647n, true);
    data.setInt16(16, -5, true);
    data.setUint16(18, 65535, true);
    const header = { a: entry('I64', [2], 0, 16), b: entry('I16', [1], 16, 18), c: entry('U16', [1], 18, 20) };
    const { tensors } = readSafetensors(file(header, new Uint8Array(data.buffer, 0, 20)));
    expect(tensors.get('a')).toEqual({ dtype: 'i32', shape: [2], data: Int32Array.of(-2147483648, 2147483647) });
    expect(tensors.get('b')?.data).toEqual(Int32Array.of(-5));
    expect(tensors.get('c')?.data).toEqual(Int32Array.of(65535));
    data.setBigInt64(8, 2147483648n, true);
    expect(() => readSafetensors(file({ a: entry('I64', [2], 0, 16) }, new Uint8Array(data.buffer, 0, 16)))).toThrow(
      'tensor "a" holds 2147483648, which does not fit i32',
    );
  });

  test.each([
    ['a hole', file({ a: entry('U8', [1], 1, 2) }, [0, 0]), 'tensor "a" leaves a hole before it'],
    ['an overlap', file({ a: entry('U8', [2], 0, 2), b: entry('U8', [2], 1, 3) }, [0, 0, 0]), 'tensor "b" overlaps'],
    ['bytes after the last', file({ a: entry('U8', [1], 0, 1) }, [0, 0]), '1 bytes follow the last tensor'],
    ['data past the end', file({ a: entry('F32', [2], 0, 8) }, [0, 0, 0, 0]), 'tensor "a" lies outside the file'],
    ['a size that is not the shape’s', file({ a: entry('F32', [2], 0, 4) }, [0, 0, 0, 0]), 'Expected 8 bytes for F32 [2], received 4'],
    ['an unknown dtype', file({ a: entry('F64', [1], 0, 8) }, new Uint8Array(8)), 'tensor "a" has an unknown dtype'],
    ['a dtype from Object.prototype', file({ a: entry('constructor', [0], 0, 0) }), 'unknown dtype'],
    ['a negative extent', file({ a: entry('U8', [-1, -1], 0, 1) }, [0]), 'malformed shape'],
    ['an extent beyond integers', file({ a: entry('U8', [2 ** 53, 0], 0, 0) }), 'malformed shape'],
    ['offsets reversed', file({ a: entry('U8', [0], 1, 0) }, [0]), 'lies outside the file'],
    ['offsets that are no pair', file({ a: { dtype: 'U8', shape: [], data_offsets: [0] } }, [0]), 'malformed data_offsets'],
    ['lists beyond the stack', file(`{"a":{"dtype":${'['.repeat(2e5)}${']'.repeat(2e5)}}}`), 'unknown dtype'],
    ['a hundred dimensions', file({ a: entry('U8', new Array(100).fill(1), 0, 1) }, [0]), 'Expected a list of at most 64 integers'],
    ['an unknown field', file({ a: { ...entry('U8', [], 0, 1), extra: 1 } }, [0]), 'unknown field "extra"'],
    ['a BOOL of 2', file({ a: entry('BOOL', [1], 0, 1) }, [2]), 'holds a BOOL'],
    ['metadata of numbers', file({ __metadata__: { a: 1 } }), '__metadata__ is malformed'],
    ['a list as header', file('[]'), 'not a JSON object'],
    ['no JSON', file('{'), 'not JSON'],
    ['no UTF-8', concatBytes([Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0), Uint8Array.of(0xff)]), 'not JSON in UTF-8'],
    ['a giant header', Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 255), 'the header is too large'],
    ['a header past the end', Uint8Array.of(9, 0, 0, 0, 0, 0, 0, 0), 'truncated inside its header'],
    ['seven bytes', new Uint8Array(7), 'Expected at least 8 bytes, received 7'],
  ])('refuses %s', (_, bytes, message) => {
    expect(() => readSafetensors(bytes, 'w.safetensors')).toThrow(FormatError);
    expect(() => readSafetensors(bytes, 'w.safetensors')).toThrow(`w.safetensors: `);
    expect(() => readSafetensors(bytes)).toThrow(message);
  });

  test('every truncation is refused', () => {
    fc.assert(
      fc.property(tensorMap, (tensors) => {
        const bytes = writeSafetensors(tensors);
        for (let n = 0; n < bytes.length; n++) expect(() => readSafetensors(bytes.slice(0, n))).toThrow(FormatError);
      }),
      runs(20),
    );
  });

  test('writing refuses what a file cannot hold', () => {
    const data = new Float32Array(2);
    expect(() => writeSafetensors(new Map([['a', { dtype: 'f32', shape: [3], data }]]))).toThrow('Expected 3 elements for [3], received 2');
    expect(() => writeSafetensors(new Map([['a', { dtype: 'i32', shape: [2], data }]]))).toThrow('i32 is held in a Int32Array');
    expect(() => writeSafetensors(new Map([['__metadata__', { dtype: 'f32', shape: [2], data }]]))).toThrow(ConfigError);
  });
});
