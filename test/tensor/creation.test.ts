/** @file Creation functions: a dtype given either way, and what a wrong dtype or shape is answered with. */
import { describe, expect, it } from 'vitest';
import { ConfigError, ShapeError } from '../../src/base/errors.js';
import {
  arange,
  broadcastTo,
  cast,
  eye,
  full,
  fullLike,
  identity,
  linspace,
  logspace,
  multiHot,
  oneHot,
  ones,
  onesLike,
  random,
  reshape,
  type Tensor,
  tensor,
  tri,
  Variable,
  wrap,
  zeros,
  zerosLike,
} from '../../src/tensor/index.js';

/** What a caller without types may write. */
type Loose = (...args: unknown[]) => unknown;
const loose = (f: unknown): Loose => f as Loose;

/** Each function called up to its dtype, with the values it then has. */
const creations: [string, Loose, unknown[], unknown][] = [
  ['tensor', loose(tensor), [[1, 2]], [1, 2]],
  ['zeros', loose(zeros), [[2]], [0, 0]],
  ['ones', loose(ones), [[2]], [1, 1]],
  ['full', loose(full), [[2], 3], [3, 3]],
  ['full', loose(full), [[2], [3, 4]], [3, 4]],
  ['zerosLike', loose(zerosLike), [[1, 2]], [0, 0]],
  ['onesLike', loose(onesLike), [[5, 2]], [1, 1]],
  ['fullLike', loose(fullLike), [[5, 2], 7], [7, 7]],
  ['arange', loose(arange), [3], [0, 1, 2]],
  ['arange', loose(arange), [1, 3], [1, 2]],
  ['arange', loose(arange), [1, 6, 2], [1, 3, 5]],
  ['arange', loose(arange), [3, undefined, 1], [0, 1, 2]],
  ['linspace', loose(linspace), [0, 2, 3], [0, 1, 2]],
  ['logspace', loose(logspace), [0, 2, 3], [1, 10, 100]],
  [
    'eye',
    loose(eye),
    [2],
    [
      [1, 0],
      [0, 1],
    ],
  ],
  ['eye', loose(eye), [1, 2, 1], [[0, 1]]],
  ['identity', loose(identity), [1], [[1]]],
  [
    'tri',
    loose(tri),
    [2],
    [
      [1, 0],
      [1, 1],
    ],
  ],
  ['oneHot', loose(oneHot), [[1], 2, -1], [[0, 1]]],
  ['multiHot', loose(multiHot), [[1], 2], [0, 1]],
  ['wrap', loose(wrap), [Int32Array.of(4, 5), [2]], [4, 5]],
];
const draws: [string, Loose, unknown[]][] = [
  ['uniform', loose(random.uniform), [[2], 0, 9]],
  ['normal', loose(random.normal), [[2], 0, 9]],
  ['truncatedNormal', loose(random.truncatedNormal), [[2], 0, 9]],
  ['randint', loose(random.randint), [[2], 0, 9]],
  ['bernoulli', loose(random.bernoulli), [[2], 0.5]],
  ['gumbel', loose(random.gumbel), [[2]]],
  ['permutation', loose(random.permutation), [4]],
  ['choice', loose(random.choice), [4, [2]]],
  ['shuffle', loose(random.shuffle), [[1, 2], 0]],
  ['categorical', loose(random.categorical), [[[0.5, 0.5]], 1]],
];

describe('a dtype', () => {
  it.each(creations)('%s takes it by itself and as an option (%#)', async (_, make, args, values) => {
    for (const given of ['i32', { dtype: 'i32' }]) {
      const t = make(...args, given) as Tensor;
      expect(t.dtype).toBe('i32');
      expect(await t.array()).toEqual(values);
    }
  });
  it.each(creations.filter(([name]) => name !== 'wrap'))('%s has a default (%#)', async (_, make, args, values) => {
    for (const rest of [[], [{}], [undefined]]) {
      const t = make(...args, ...rest) as Tensor;
      expect(t.dtype).toBe('f32');
      expect(await t.array()).toEqual(values);
    }
  });
  it.each(draws)('random.%s takes it by itself and beside a seed', async (_, draw, args) => {
    const [a, b] = ['i32', { dtype: 'i32', seed: 1 }].map((given) => draw(...args, given) as Tensor);
    expect([a.dtype, b.dtype]).toEqual(['i32', 'i32']);
    expect(b.shape).toEqual(a.shape);
    expect(await b.array()).toEqual(await (draw(...args, { dtype: 'i32', seed: 1 }) as Tensor).array());
  });
  it.each([...creations, ...draws].map(([name, make, args]) => [name, make, args] as const))(
    '%s names itself and the dtype that was meant (%#)',
    (name, make, args) => {
      for (const given of ['float32', { dtype: 'float32' }]) {
        expect(() => make(...args, given)).toThrow(ConfigError);
        expect(() => make(...args, given)).toThrow(
          `${name}: dtype "float32" is not known. Expected one of bool, u8, i8, u32, i32, bf16, f16, f32. Write 'f32'.`,
        );
      }
      expect(() => make(...args, { dtyp: 'f32' })).toThrow(`${name}: there is no option "dtyp". Expected "dtype"`);
    },
  );
  it('is checked where values are converted', () => {
    expect(() => loose(cast)(tensor([1]), 'int')).toThrow(`cast: dtype "int" is not known.`);
    expect(() => loose(tensor([1]).cast.bind(tensor([1])))('int')).toThrow(`cast: dtype "int" is not known.`);
    expect(() => new Variable(1, { dtype: 'float32' as 'f32' })).toThrow(`dtype "float32" is not known.`);
  });
  it('comes last', () => {
    expect(() => loose(arange)(0, 'i32', 2)).toThrow('arange: something follows the dtype. Expected numbers, then the dtype at the end.');
  });
  it('does not let arange count without end', () => {
    expect(() => arange(0, Number.POSITIVE_INFINITY)).toThrow('arange: from 0 to Infinity by 1. Expected finite numbers.');
    expect(() => loose(arange)('3')).toThrow(ConfigError);
  });
});

describe('a shape', () => {
  const table: [unknown, string][] = [
    [{ a: 1 }, 'the shape is an object.'],
    [3, 'the shape is 3. Expected an array of whole numbers ≥ 0. Write [3].'],
    ['3', 'the shape is "3".'],
    [undefined, 'the shape is undefined.'],
    [[2, -1], 'the shape is [2, -1].'],
    [[1.5], 'the shape is [1.5].'],
    [[null, 2], 'the shape is [null, 2].'],
    [[['2']], 'the shape is [an array].'],
    [tensor([2]), 'the shape is a tensor.'],
  ];
  it.each(table)('%j is refused', (shape, text) => {
    const calls: [string, () => unknown][] = [
      ['zeros', () => loose(zeros)(shape)],
      ['ones', () => loose(ones)(shape)],
      ['full', () => loose(full)(shape, 1)],
      ['full', () => loose(full)(shape, [1])],
      ['wrap', () => loose(wrap)(Float32Array.of(1), shape, 'f32')],
      ['normal', () => loose(random.normal)(shape)],
      ['randint', () => loose(random.randint)(shape, 0, 2)],
      ['broadcastTo', () => loose(broadcastTo)([1], shape)],
    ];
    for (const [name, call] of calls) {
      expect(call).toThrow(ShapeError);
      expect(call).toThrow(`${name}: ${text}`);
    }
  });
  it('is checked where it is an option and where it is counted', () => {
    expect(() => loose(tensor)([1, 2], { shape: 2 })).toThrow('tensor: the shape is 2. Expected an array of whole numbers ≥ 0. Write [2].');
    expect(() => loose(reshape)([1, 2], 2)).toThrow('reshape: the shape is 2.');
    expect(() => eye(2.5)).toThrow('eye: the shape is [2.5, 2.5].');
    expect(() => linspace(0, 1, -1)).toThrow('linspace: the shape is [-1].');
    expect(() => oneHot([1], 1.5)).toThrow('oneHot: the shape is [1.5].');
  });
});
