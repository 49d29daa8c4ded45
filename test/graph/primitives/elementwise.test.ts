import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { DType } from '../../../src/base/dtype.js';
import { DTypeError, ShapeError } from '../../../src/base/errors.js';
import { size } from '../../../src/base/shape.js';
import { ops } from '../../../src/graph/builder.js';
import type { Node } from '../../../src/graph/node.js';
import { type ScalarOp, scalarOps, scalarRow } from '../../../src/kernel/scalar-ops.js';
import { expectGradient, expectSecondGradient, input, propertyOptions, run, shape, tensor, uniform } from '../support.js';

type Case = [dtype: DType, operands: number[][], expected: number[]];
const nan = Number.NaN;
const inf = Number.POSITIVE_INFINITY;

/** Hand-made cases of every op. */
const cases: Record<ScalarOp, Case[]> = {
  neg: [
    ['f32', [[1, -2]], [-1, 2]],
    ['u8', [[1, 0]], [255, 0]],
  ],
  abs: [['i32', [[-3, 4]], [3, 4]]],
  sign: [['f32', [[-3, 0, 9]], [-1, 0, 1]]],
  not: [
    ['bool', [[1, 0]], [0, 1]],
    ['f32', [[0, 2.5]], [1, 0]],
  ],
  bitNot: [
    ['i32', [[0, -1]], [-1, 0]],
    ['u32', [[0]], [0xffffffff]],
  ],
  exp: [['f32', [[0, 1]], [1, Math.fround(Math.E)]]],
  expm1: [['f32', [[0, 1e-10]], [0, Math.fround(1e-10)]]],
  log: [['f32', [[1, 0]], [0, -inf]]],
  log1p: [['f32', [[0, 1e-10]], [0, Math.fround(1e-10)]]],
  sqrt: [['f32', [[4, 9]], [2, 3]]],
  rsqrt: [['f32', [[4, 16]], [0.5, 0.25]]],
  sin: [['f32', [[0, Math.PI / 2]], [0, 1]]],
  cos: [['f32', [[0, Math.PI]], [1, -1]]],
  tanh: [['f32', [[0, 40, -40]], [0, 1, -1]]],
  sigmoid: [['f32', [[0, 200, -200]], [0.5, 1, 0]]],
  erf: [['f32', [[0, 0.5, -10]], [0, Math.fround(0.5204998778130465), -1]]],
  floor: [['f32', [[1.5, -1.5]], [1, -2]]],
  ceil: [['f32', [[1.5, -1.5]], [2, -1]]],
  round: [['f32', [[0.5, 1.5, 2.5, -0.7]], [0, 2, 2, -1]]],
  add: [
    ['f32', [[1], [2]], [3]],
    ['i32', [[2 ** 31 - 1], [1]], [-(2 ** 31)]],
    ['u8', [[255], [2]], [1]],
    [
      'bool',
      [
        [1, 0],
        [1, 0],
      ],
      [1, 0],
    ],
  ],
  sub: [['u32', [[0], [1]], [0xffffffff]]],
  mul: [
    ['i32', [[65537], [65537]], [131073]],
    ['f32', [[3], [-2]], [-6]],
    [
      'bool',
      [
        [1, 1],
        [1, 0],
      ],
      [1, 0],
    ],
  ],
  div: [
    [
      'f32',
      [
        [1, 1],
        [4, 0],
      ],
      [0.25, inf],
    ],
  ],
  idiv: [
    [
      'i32',
      [
        [-7, 7, 7],
        [2, 2, 0],
      ],
      [-4, 3, 0],
    ],
    ['f32', [[-7], [2]], [-4]],
  ],
  mod: [
    [
      'i32',
      [
        [-7, 7, 7],
        [3, -3, 0],
      ],
      [2, -2, 0],
    ],
    ['f32', [[-7.5], [2]], [0.5]],
  ],
  pow: [
    [
      'f32',
      [
        [2, 9],
        [3, 0.5],
      ],
      [8, 3],
    ],
  ],
  max: [
    [
      'f32',
      [
        [1, nan],
        [2, 0],
      ],
      [2, nan],
    ],
    ['u8', [[3], [200]], [200]],
  ],
  min: [
    [
      'f32',
      [
        [1, 0],
        [2, nan],
      ],
      [1, nan],
    ],
  ],
  atan2: [
    [
      'f32',
      [
        [1, 0],
        [0, -1],
      ],
      [Math.fround(Math.PI / 2), Math.fround(Math.PI)],
    ],
  ],
  and: [
    ['i32', [[6], [3]], [2]],
    [
      'bool',
      [
        [1, 1],
        [1, 0],
      ],
      [1, 0],
    ],
  ],
  or: [['u32', [[0x80000000], [1]], [0x80000001]]],
  xor: [['i8', [[-1], [1]], [-2]]],
  shl: [
    ['u32', [[1], [31]], [0x80000000]],
    ['u8', [[129], [1]], [2]],
  ],
  shr: [
    ['i32', [[-8], [1]], [-4]],
    ['u32', [[0x80000000], [31]], [1]],
  ],
  lt: [
    [
      'f32',
      [
        [1, 2, nan],
        [2, 2, 1],
      ],
      [1, 0, 0],
    ],
  ],
  le: [
    [
      'i32',
      [
        [1, 2, 3],
        [2, 2, 2],
      ],
      [1, 1, 0],
    ],
  ],
  eq: [
    [
      'f32',
      [
        [1, nan],
        [1, nan],
      ],
      [1, 0],
    ],
  ],
  ne: [
    [
      'f32',
      [
        [1, nan],
        [1, nan],
      ],
      [0, 1],
    ],
  ],
  select: [],
};
const scalarOpNames = Object.keys(scalarOps) as ScalarOp[];

describe('meaning', () => {
  test.each(scalarOpNames.flatMap((op) => cases[op].map((c) => [op, ...c] as const)))('%s on %s', (op, dtype, operands, expected) => {
    const node = ops.make(
      op,
      operands.map((x) => tensor(x, [x.length], dtype)),
      undefined,
    );
    const actual = run(node);
    expected.forEach((e, i) => {
      if (dtype === 'f32' && Number.isFinite(e)) expect(actual[i]).toBeCloseTo(e, 6);
      else expect(actual[i]).toBe(e);
    });
  });

  test('select', () => {
    const c = tensor([1, 0, 1], [3], 'bool');
    expect(run(ops.select(c, tensor([1, 2, 3]), tensor([4, 5, 6])))).toEqual([1, 5, 3]);
  });

  test('cast truncates, wraps, tests and rounds to even', () => {
    expect(run(ops.cast(tensor([1.9, -1.9, 3e9]), 'i32'))).toEqual([1, -1, 3e9 - 2 ** 32]);
    expect(run(ops.cast(tensor([0, 0.25, -2]), 'bool'))).toEqual([0, 1, 1]);
    expect(run(ops.cast(tensor([300, -1], [2], 'i32'), 'u8'))).toEqual([44, 255]);
    expect(run(ops.cast(tensor([2049, 2051, 1e6]), 'f16'))).toEqual([2048, 2052, inf]);
    expect(run(ops.cast(tensor([257, 259]), 'bf16'))).toEqual([256, 260]);
  });

  test('arithmetic on f16 rounds to f16', () => {
    expect(run(ops.add(tensor([2048], [1], 'f16'), tensor([1], [1], 'f16')))).toEqual([2048]);
  });
});

/** Where each differentiable op is smooth. */
const smooth: Partial<Record<ScalarOp, [low: number, high: number][]>> = {
  abs: [[0.2, 2]],
  sign: [[0.2, 2]],
  log: [[0.3, 3]],
  log1p: [[-0.5, 2]],
  sqrt: [[0.3, 3]],
  rsqrt: [[0.3, 3]],
  floor: [[1.1, 1.9]],
  ceil: [[1.1, 1.9]],
  round: [[1.6, 2.4]],
  div: [
    [-2, 2],
    [0.5, 2],
  ],
  idiv: [
    [4.1, 4.9],
    [2.01, 2.04],
  ],
  mod: [
    [4.1, 4.9],
    [2.01, 2.04],
  ],
  pow: [
    [0.3, 2],
    [-2, 2],
  ],
  max: [
    [-2, 2],
    [-2, 2],
  ],
  min: [
    [-2, 2],
    [-2, 2],
  ],
  atan2: [
    [0.5, 2],
    [0.5, 2],
  ],
};
const differentiable = scalarOpNames.filter((op) => scalarRow(op).grad && op !== 'select');
const apply =
  (op: ScalarOp) =>
  (...x: Node[]) =>
    ops.make(op, x, undefined);

describe('gradient', () => {
  test.each(differentiable)('%s', (op) => {
    const { arity } = scalarRow(op);
    const points = Array.from({ length: arity }, (_, i) => uniform(6, 11 + i, ...(smooth[op]?.[i] ?? [-2, 2])));
    expectGradient(
      apply(op),
      points.map(() => [2, 3]),
      points,
    );
  });
  test.each([
    'exp',
    'expm1',
    'log',
    'log1p',
    'sqrt',
    'rsqrt',
    'sin',
    'cos',
    'tanh',
    'sigmoid',
    'erf',
    'mul',
    'div',
    'pow',
    'atan2',
  ] as const)('second order of %s', (op) => {
    const { arity } = scalarRow(op);
    const points = Array.from({ length: arity }, (_, i) => uniform(4, 21 + i, ...(smooth[op]?.[i] ?? [-2, 2])));
    expectSecondGradient(
      apply(op),
      points.map(() => [4]),
      points,
    );
  });
  test('select, and max with a tie', () => {
    const c = tensor([1, 0, 1, 0], [4], 'bool');
    expectGradient((a, b) => ops.select(c, ops.mul(a, a), b), [[4], [4]], [uniform(4, 1), uniform(4, 2)]);
    expectGradient((a, b) => ops.max(a, b), [[1], [1]], [[1], [1]]);
  });
  test('pow at base 0 and exponents 0, 1, 2', () => {
    expectGradient((a) => ops.pow(a, tensor([2, 3, 2])), [[3]], [[0, 0, -1]]);
  });
  test('broadcast operands get summed gradients', () => {
    fc.assert(
      fc.property(shape(1, 3, 3), fc.integer({ min: 0, max: 7 }), fc.integer(), (full, mask, seed) => {
        const partial = full.map((d, i) => ((mask >> i) & 1 ? 1 : d)).slice(mask % 2);
        expectGradient((a, b) => ops.mul(a, b), [full, partial], [uniform(size(full), seed), uniform(size(partial), seed + 1)]);
      }),
      propertyOptions,
    );
  });
  test('cast passes between floats and ends at integers', () => {
    expectGradient((a) => ops.cast(ops.cast(a, 'bf16'), 'f32'), [[3]], [uniform(3, 5)]);
    expectGradient((a) => ops.add(ops.cast(ops.cast(a, 'i32'), 'f32'), a), [[2]], [[1.5, 2.5]]);
  });
});

describe('errors', () => {
  test('unequal dtypes', () => {
    expect(() => ops.add(input(0, [2]), input(1, [2], 'i32'))).toThrow(DTypeError);
    expect(() => ops.add(input(0, [2]), input(1, [2], 'i32'))).toThrow(/f32 and i32.*[Cc]ast one of them/);
  });
  test('domains', () => {
    expect(() => ops.exp(input(0, [2], 'i32'))).toThrow(/exp: undefined on i32\. Expected a float dtype/);
    expect(() => ops.neg(input(0, [2], 'bool'))).toThrow(DTypeError);
    expect(() => ops.and(input(0, [2]), input(1, [2]))).toThrow(DTypeError);
    expect(() => ops.shl(input(0, [2], 'bool'), input(1, [2], 'bool'))).toThrow(DTypeError);
    expect(() => ops.select(input(0, [2]), input(1, [2]), input(2, [2]))).toThrow(/condition is not bool/);
  });
  test('shapes that do not broadcast', () => {
    expect(() => ops.add(input(0, [2, 3]), input(1, [2]))).toThrow(ShapeError);
    expect(() => ops.make('add', [input(0, [2, 3]), input(1, [3])], undefined)).toThrow(/Broadcast one of them/);
  });
});
