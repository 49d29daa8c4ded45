import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConfigError, FormatError } from '../../src/base/errors.js';
import { encodeUtf8 } from '../../src/io/bytes.js';
import { readTenon, TENON_VERSION, type TenonParts, writeTenon } from '../../src/io/tenon-file.js';
import { readZip, writeZip } from '../../src/io/zip.js';
import { plain, runs, tensorMap } from './arbitraries.js';

const json = fc.dictionary(
  fc.string(),
  fc.jsonValue().chain((x) => fc.constantFrom(x, Number.NaN, -0, Number.POSITIVE_INFINITY, [Number.NEGATIVE_INFINITY, x])),
);
const parts: fc.Arbitrary<TenonParts> = fc.record({
  json,
  tensors: fc.dictionary(fc.stringMatching(/^[a-z][a-z0-9._-]{0,6}$/), tensorMap, { maxKeys: 3 }),
});

const show = (p: TenonParts): unknown => ({ json: p.json, tensors: Object.entries(p.tensors).map(([key, map]) => [key, plain(map)]) });

/** A file with the index replaced, its checksum right. */
const withIndex = (file: Uint8Array, index: unknown): Uint8Array =>
  writeZip([...readZip(file)].map(([name, bytes]) => ({ name, bytes: name === 'tenon.json' ? encodeUtf8(JSON.stringify(index)) : bytes })));

const small: TenonParts = {
  json: { kind: 'model', config: { units: 3 }, history: [0.5, Number.NaN] },
  tensors: { weights: new Map([['dense/kernel', { dtype: 'f32', shape: [2], data: Float32Array.of(1, 2) }]]), slots: new Map() },
};

describe('.tenon', () => {
  test('round trip, bit for bit, with NaN, infinities and −0 in the JSON', () => {
    fc.assert(
      fc.property(parts, (p) => {
        const bytes = writeTenon(p);
        const read = readTenon(bytes);
        expect(show(read)).toEqual(show(p));
        for (const map of Object.values(read.tensors))
          for (const t of map.values()) if (t.data.length > 0) expect(t.data.buffer).toBe(bytes.buffer);
      }),
      runs(100),
    );
  });

  test('the same parts give the same bytes', () => expect(writeTenon(small)).toEqual(writeTenon(small)));

  test('every truncation is an error', () => {
    const bytes = writeTenon(small);
    for (let n = 0; n < bytes.length; n++) expect(() => readTenon(bytes.slice(0, n))).toThrow(FormatError);
  });

  test('flipped bits: an error or the same content', () => {
    const check = (file: Uint8Array, want: unknown, bits: readonly number[]) => {
      const damaged = file.slice();
      for (const bit of bits) damaged[(bit >> 3) % file.length] ^= 1 << (bit & 7);
      let read: TenonParts;
      try {
        read = readTenon(damaged);
      } catch (error) {
        expect(error).toBeInstanceOf(FormatError);
        return;
      }
      expect(show(read)).toEqual(want);
    };
    const file = writeTenon(small);
    const want = show(small);
    for (let bit = 0; bit < file.length * 8; bit++) check(file, want, [bit]);
    fc.assert(
      fc.property(parts, fc.array(fc.nat(2 ** 20), { minLength: 1, maxLength: 3 }), (p, bits) => check(writeTenon(p), show(p), bits)),
      runs(200),
    );
  });

  test('a flipped weight names the part', () => {
    const file = writeTenon(small);
    // What is read are views of the file.
    const weight = readTenon(file).tensors.weights.get('dense/kernel');
    if (weight) weight.data[0] = 3;
    expect(() => readTenon(file, 'm.tenon')).toThrow('m.tenon: the member "weights.safetensors" does not match its checksum');
  });

  test.each([
    [{ format: 'tenon', version: TENON_VERSION + 1, tensors: [], json: {} }, 'Update the package'],
    [{ format: 'tenon', version: '1', tensors: [], json: {} }, 'format version is malformed'],
    [{ format: 'other', version: 1, tensors: [], json: {} }, 'does not say format "tenon"'],
    [{ format: 'tenon', version: 1, tensors: ['weights', 'slots', 'ema'], json: {} }, 'ema.safetensors is missing'],
    [{ format: 'tenon', version: 1, tensors: ['weights'], json: {} }, 'not those that tenon.json lists'],
    [{ format: 'tenon', version: 1, tensors: ['weights', 'slots'], json: [] }, 'tenon.json is malformed'],
    [{ format: 'tenon', version: 1, tensors: ['weights', 'slots'], json: { a: { $number: 'NaNa' } } }, 'malformed "$number"'],
  ])('an index of %j is refused', (index, message) => {
    const file = withIndex(writeTenon(small), index);
    expect(() => readTenon(file)).toThrow(FormatError);
    expect(() => readTenon(file)).toThrow(message);
  });

  test('other files are refused with what they are', () => {
    expect(() => readTenon(new Uint8Array(0))).toThrow('the file is empty');
    expect(() => readTenon(encodeUtf8('{"a": 1}'))).toThrow('no zip file');
    expect(() => readTenon(writeZip([{ name: 'a', bytes: new Uint8Array(1) }]))).toThrow('there is no tenon.json');
  });

  test('what JSON cannot hold is refused with its path', () => {
    const save = (value: unknown) => () => writeTenon({ json: { config: { list: [1, value] } }, tensors: {} });
    expect(save(() => 1)).toThrow('json.config.list[1] cannot be saved as JSON: it is a function');
    expect(save(1n)).toThrow('it is a bigint');
    expect(save(undefined)).toThrow('it is undefined');
    expect(save(new Float32Array(1))).toThrow('it is an instance of Float32Array');
    expect(save({ $number: 1 })).toThrow('is reserved');
    const loop: Record<string, unknown> = {};
    loop.self = loop;
    expect(save(loop)).toThrow('holds itself');
    expect(() => writeTenon({ json: {}, tensors: { '../a': new Map() } })).toThrow(ConfigError);
  });
});
