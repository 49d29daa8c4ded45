/** @file Which dtype was meant by a name that is none. */
import { describe, expect, it } from 'vitest';
import { dtypes, optionalDType, requireDType } from '../../src/base/dtype.js';
import { ConfigError } from '../../src/base/errors.js';

const fixes: [unknown, string][] = [
  ['float32', " Write 'f32'."],
  ['float16', " Write 'f16'."],
  ['bfloat16', " Write 'bf16'."],
  ['int32', " Write 'i32'."],
  ['uint32', " Write 'u32'."],
  ['int8', " Write 'i8'."],
  ['uint8', " Write 'u8'."],
  ['int', " Write 'i32'."],
  ['boolean', " Write 'bool'."],
  ['torch.float32', " Write 'f32'."],
  ['F32', " Write 'f32'."],
  ['f23', " Write 'f32'."],
  ['int64', " There is none as int64 here: the nearest is 'i32'."],
  ['float64', " There is none as float64 here: the nearest is 'f32'."],
  ['complex', ''],
  ['toString', ''],
  ['', ''],
];

describe('requireDType', () => {
  it.each(Object.keys(dtypes))('%s is one', (name) => {
    expect(requireDType(name, 'f')).toBe(name);
  });
  it.each(fixes)('%s', (name, fix) => {
    expect(() => requireDType(name, 'f')).toThrow(
      new ConfigError(`f: dtype "${String(name)}" is not known. Expected one of bool, u8, i8, u32, i32, bf16, f16, f32.${fix}`),
    );
  });
  it.each([
    [null, 'null'],
    [3, '(a value of type number)'],
    [Object.create(null), '(a value of type object)'],
    [Float32Array, '(a value of type function)'],
    [undefined, '(a value of type undefined)'],
  ])('a value that is no text: %#', (value, shown) => {
    expect(() => requireDType(value, 'f')).toThrow(`f: dtype ${shown} is not known.`);
  });
});

describe('optionalDType', () => {
  it('is left out in three ways', () => {
    expect([undefined, {}, { dtype: undefined }].map((given) => optionalDType(given, 'f'))).toEqual([undefined, undefined, undefined]);
  });
  it('is given in two ways', () => {
    expect([optionalDType('u8', 'f'), optionalDType({ dtype: 'u8' }, 'f')]).toEqual(['u8', 'u8']);
  });
});
