/** @file Hand-built kernels that every device must run alike, each with data and what a plain loop gives. */
import { allocate, type DType, fromBf16, fromF16, type TypedArray, toBf16, toF16 } from '../../src/base/dtype.js';
import { philox4x32 } from '../../src/base/philox.js';
import {
  type BufferParam,
  cast,
  constant,
  type Expr,
  iadd,
  imod,
  imul,
  index,
  type Kernel,
  load,
  loop,
  op,
  type Stmt,
  variable,
} from '../../src/kernel/kernel.js';
import type { BufferPlan, Program } from '../../src/kernel/program.js';
import { erf, type ScalarOp } from '../../src/kernel/scalar-ops.js';

export interface Case {
  readonly name: string;
  readonly kernel: Kernel;
  /** One array a parameter; written ones hold their initial contents. */
  readonly data: readonly TypedArray[];
  /** Expected contents of each written parameter, by position; storage form. */
  readonly expected: ReadonlyMap<number, ArrayLike<number>>;
  /** Relative tolerance; 0 means equal storage. */
  readonly tolerance: number;
}

export const buffer = (name: string, dtype: DType, access: BufferParam['access'] = 'read'): BufferParam => ({ name, dtype, access });

export function makeKernel(label: string, buffers: readonly BufferParam[], extent: number, body: readonly Stmt[], cost = 0): Kernel {
  return { label, buffers, grid: { name: 'item', extent }, body, flops: cost, bytes: cost };
}

/** A Program of one call whose parameters are external slots in order. */
export function programOf(kernel: Kernel, data: readonly TypedArray[]): Program {
  return {
    calls: [{ kernel, buffers: kernel.buffers.map((_, i) => i) }],
    buffers: kernel.buffers.map((b, slot): BufferPlan => ({ dtype: b.dtype, size: data[slot].length, place: { kind: 'external', slot } })),
    arenaBytes: 0,
    externals: kernel.buffers.length,
  };
}

/** A fixed pseudo-random sequence in [0, 1). */
export function sequence(seed: number): () => number {
  let s = seed >>> 0;
  return () => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return s / 2 ** 32;
  };
}

const item = variable('item');
const f32s = (n: number, seed: number, scale = 2): Float32Array => {
  const next = sequence(seed);
  return Float32Array.from({ length: n }, () => (next() - 0.5) * 2 * scale);
};

/** y = f(x…) over a loop of `inner` a grid item; the last block is cut off at `size`, as fused loops are. */
export function elementwise(
  label: string,
  inputs: readonly DType[],
  out: DType,
  size: number,
  inner: number,
  f: (...x: Expr[]) => Expr,
  mode: 'serial' | 'simd' = 'simd',
): Kernel {
  const at = iadd(imul(item, inner), variable('i'));
  const body: Stmt[] = [{ kind: 'store', buffer: 'y', index: at, value: f(...inputs.map((d, k) => load(`x${k}`, d, at))) }];
  const end = op('min', 'index', index(inner), op('sub', 'index', index(size), imul(item, inner)));
  const buffers = [...inputs.map((d, k) => buffer(`x${k}`, d)), buffer('y', out, 'write')];
  return makeKernel(label, buffers, Math.ceil(size / inner), [loop('i', 0, end, body, { mode })], size);
}

const only = (position: number, values: ArrayLike<number>) => new Map([[position, values]]);

function floatCases(): Case[] {
  const cases: Case[] = [];
  for (const n of [1, 7, 64, 1003]) {
    const a = f32s(n, n);
    const b = f32s(n, n + 1);
    const kernel = elementwise('mul+add', ['f32', 'f32'], 'f32', n, 128, (x, y) => op('add', 'f32', op('mul', 'f32', x, y), y));
    cases.push({
      name: `x*y + y, ${n} elements`,
      kernel,
      data: [a, b, new Float32Array(n)],
      expected: only(
        2,
        a.map((x, i) => x * b[i] + b[i]),
      ),
      tolerance: 1e-6,
    });
  }
  const unary: [ScalarOp, (x: number) => number, number][] = [
    ['exp', Math.exp, 20],
    ['expm1', Math.expm1, 3],
    ['tanh', Math.tanh, 6],
    ['sigmoid', (x) => 1 / (1 + Math.exp(-x)), 15],
    ['erf', erf, 4],
    ['sin', Math.sin, 30],
    ['cos', Math.cos, 30],
    ['floor', Math.floor, 10],
    ['ceil', Math.ceil, 10],
    ['abs', Math.abs, 10],
    ['sign', Math.sign, 3],
    ['neg', (x) => -x, 3],
  ];
  for (const [name, f, scale] of unary) {
    const x = f32s(333, 5, scale);
    cases.push({
      name,
      kernel: elementwise(name, ['f32'], 'f32', x.length, 100, (v) => op(name, 'f32', v)),
      data: [x, new Float32Array(x.length)],
      expected: only(1, x.map(f)),
      tolerance: 3e-6,
    });
  }
  for (const [name, f] of [
    ['log', Math.log],
    ['log1p', Math.log1p],
    ['sqrt', Math.sqrt],
    ['rsqrt', (x: number) => 1 / Math.sqrt(x)],
  ] as [ScalarOp, (x: number) => number][]) {
    const x = f32s(200, 9, 50).map((v) => Math.abs(v) + 0.01);
    cases.push({
      name,
      kernel: elementwise(name, ['f32'], 'f32', x.length, 64, (v) => op(name, 'f32', v)),
      data: [x, new Float32Array(x.length)],
      expected: only(1, x.map(f)),
      tolerance: 3e-6,
    });
  }
  const halves = Float32Array.of(0.5, 1.5, 2.5, -0.5, -1.5, 3.49, -3.51, 1e9, Number.POSITIVE_INFINITY);
  cases.push({
    name: 'round goes to even',
    kernel: elementwise('round', ['f32'], 'f32', halves.length, 16, (v) => op('round', 'f32', v)),
    data: [halves, new Float32Array(halves.length)],
    expected: only(1, Float32Array.of(0, 2, 2, -0, -2, 3, -4, 1e9, Number.POSITIVE_INFINITY)),
    tolerance: 0,
  });
  const special = Float32Array.of(Number.NaN, 1, Number.NEGATIVE_INFINITY, 0, -2, 3);
  const other = Float32Array.of(1, Number.NaN, 5, 0, -3, Number.POSITIVE_INFINITY);
  for (const name of ['max', 'min'] as const)
    cases.push({
      name: `${name} spreads NaN`,
      kernel: elementwise(name, ['f32', 'f32'], 'f32', 6, 8, (x, y) => op(name, 'f32', x, y)),
      data: [special, other, new Float32Array(6)],
      expected: only(
        2,
        special.map((x, i) => Math[name](x, other[i])),
      ),
      tolerance: 0,
    });
  const denominators = f32s(100, 4).map((v) => v || 1);
  const numerators = f32s(100, 3, 50);
  cases.push({
    name: 'float mod has the sign of the divisor',
    kernel: elementwise('mod', ['f32', 'f32'], 'f32', 100, 100, (x, y) => op('mod', 'f32', x, y)),
    data: [numerators, denominators, new Float32Array(100)],
    // Whether the product is fused decides the last bits: compare with room at multiples of the divisor.
    expected: only(
      2,
      numerators.map((x, i) => x - denominators[i] * Math.floor(Math.fround(x / denominators[i]))),
    ),
    tolerance: 1e-4,
  });
  return cases;
}

function integerCases(): Case[] {
  const edge = [0, 1, -1, 2, -2, 7, -7, 46341, 65536, 123456789, -123456789, 2147483647, -2147483648, 1000003];
  const pairs = edge.flatMap((a) => edge.map((b) => [a, b] as const));
  const a = Int32Array.from(pairs, (p) => p[0]);
  const b = Int32Array.from(pairs, (p) => p[1]);
  const [ua, ub] = [Uint32Array.from(a), Uint32Array.from(b)];
  const n = pairs.length;
  const floorDiv = (x: number, y: number) => (y === 0 ? 0n : (BigInt(x) - (((BigInt(x) % BigInt(y)) + BigInt(y)) % BigInt(y))) / BigInt(y));
  const floorMod = (x: number, y: number) => (y === 0 ? 0n : ((BigInt(x) % BigInt(y)) + BigInt(y)) % BigInt(y));
  const meaning: [ScalarOp, (x: number, y: number) => bigint][] = [
    ['add', (x, y) => BigInt(x) + BigInt(y)],
    ['sub', (x, y) => BigInt(x) - BigInt(y)],
    ['mul', (x, y) => BigInt(x) * BigInt(y)],
    ['idiv', floorDiv],
    ['mod', floorMod],
    ['max', (x, y) => BigInt(Math.max(x, y))],
    ['min', (x, y) => BigInt(Math.min(x, y))],
    ['and', (x, y) => BigInt(x) & BigInt(y)],
    ['or', (x, y) => BigInt(x) | BigInt(y)],
    ['xor', (x, y) => BigInt(x) ^ BigInt(y)],
  ];
  const cases: Case[] = [];
  for (const [name, f] of meaning) {
    const signed = Int32Array.from(pairs, ([x, y]) => Number(BigInt.asIntN(32, f(x, y))));
    const unsigned = Uint32Array.from({ length: n }, (_, i) => Number(BigInt.asUintN(32, f(ua[i], ub[i]))));
    const kernel = (t: 'i32' | 'u32') => elementwise(name, [t, t], t, n, 50, (x, y) => op(name, t, x, y));
    cases.push({ name: `i32 ${name}`, kernel: kernel('i32'), data: [a, b, new Int32Array(n)], expected: only(2, signed), tolerance: 0 });
    cases.push({
      name: `u32 ${name}`,
      kernel: kernel('u32'),
      data: [ua, ub, new Uint32Array(n)],
      expected: only(2, unsigned),
      tolerance: 0,
    });
  }
  for (const t of ['i32', 'u32'] as const) {
    const x = t === 'i32' ? a : ua;
    for (const name of ['shl', 'shr'] as const) {
      const by = Int32Array.from({ length: n }, (_, i) => i % 32);
      const shift = t === 'i32' ? by : Uint32Array.from(by);
      const f = (v: number, s: number) => (name === 'shl' ? v << s : t === 'i32' ? v >> s : v >>> s);
      cases.push({
        name: `${t} ${name}`,
        kernel: elementwise(name, [t, t], t, n, 64, (v, s) => op(name, t, v, s)),
        data: [x, shift, x.slice().fill(0)],
        expected: only(
          2,
          x.map((v, i) => f(v, shift[i])),
        ),
        tolerance: 0,
      });
    }
    for (const [name, f] of [
      ['neg', (v: number) => -v],
      ['bitNot', (v: number) => ~v],
      ['abs', (v: number) => Math.abs(v)],
    ] as [ScalarOp, (v: number) => number][])
      cases.push({
        name: `${t} ${name}`,
        kernel: elementwise(name, [t], t, n, 64, (v) => op(name, t, v)),
        data: [x, x.slice().fill(9)],
        expected: only(1, x.map(f)),
        tolerance: 0,
      });
  }
  for (const [name, f] of [
    ['lt', (x: number, y: number) => x < y],
    ['le', (x: number, y: number) => x <= y],
    ['eq', (x: number, y: number) => x === y],
    ['ne', (x: number, y: number) => x !== y],
  ] as [ScalarOp, (x: number, y: number) => boolean][])
    cases.push({
      name: `u32 ${name}`,
      kernel: elementwise(name, ['u32', 'u32'], 'bool', n, 64, (x, y) => op(name, 'bool', x, y)),
      data: [ua, ub, new Uint8Array(n)],
      expected: only(
        2,
        ua.map((x, i) => Number(f(x, ub[i]))),
      ),
      tolerance: 0,
    });
  const bytes = Uint8Array.from({ length: 300 }, (_, i) => i);
  cases.push({
    name: 'u8 → f32 → u8, scaled',
    kernel: elementwise('cast', ['u8'], 'u8', 300, 128, (x) => cast('u8', op('mul', 'f32', cast('f32', x), constant('f32', 0.5)))),
    data: [bytes, new Uint8Array(300)],
    expected: only(
      1,
      bytes.map((x) => Math.trunc(x / 2)),
    ),
    tolerance: 0,
  });
  const signs = Int8Array.from({ length: 300 }, (_, i) => i);
  cases.push({
    name: 'i8 sum wraps when stored',
    kernel: elementwise('add', ['i8', 'i8'], 'i8', 300, 128, (x, y) => op('add', 'i32', cast('i32', x), cast('i32', y))),
    data: [signs, signs, new Int8Array(300)],
    expected: only(
      2,
      signs.map((x) => x + x),
    ),
    tolerance: 0,
  });
  const near = Float32Array.of(0.5, -0.5, 1.99, -1.99, 2147483000, -2147483648, 0, 12345.678);
  cases.push({
    name: 'f32 → i32 truncates, → bool is ≠ 0',
    kernel: makeKernel('cast', [buffer('x', 'f32'), buffer('i', 'i32', 'write'), buffer('b', 'bool', 'write')], near.length, [
      { kind: 'store', buffer: 'i', index: item, value: cast('i32', load('x', 'f32', item)) },
      { kind: 'store', buffer: 'b', index: item, value: cast('bool', load('x', 'f32', item)) },
    ]),
    data: [near, new Int32Array(near.length), new Uint8Array(near.length)],
    expected: new Map<number, ArrayLike<number>>([
      [1, Int32Array.from(near, Math.trunc)],
      [2, Uint8Array.from(near, (x) => Number(x !== 0))],
    ]),
    tolerance: 0,
  });
  return cases;
}

function storageCases(): Case[] {
  const x = Float32Array.from([
    ...f32s(500, 11, 100),
    0,
    -0,
    65504,
    65520,
    1e-7,
    6e-8,
    1e30,
    Number.NEGATIVE_INFINITY,
    2 ** -14,
    1 + 2 ** -11,
  ]);
  const cases: Case[] = [];
  for (const [t, to, from] of [
    ['f16', toF16, fromF16],
    ['bf16', toBf16, fromBf16],
  ] as const) {
    cases.push({
      name: `f32 → ${t} rounds to even`,
      kernel: elementwise('cast', ['f32'], t, x.length, 100, (v) => cast(t, v)),
      data: [x, allocate(t, x.length)],
      expected: only(1, Uint16Array.from(x, to)),
      tolerance: 0,
    });
    const stored = Uint16Array.from(x, to);
    cases.push({
      name: `${t} → f32, halved`,
      kernel: elementwise('cast', [t], 'f32', x.length, 100, (v) => op('mul', 'f32', cast('f32', v), constant('f32', 0.5))),
      data: [stored, new Float32Array(x.length)],
      expected: only(
        1,
        Float32Array.from(stored, (v) => from(v) / 2),
      ),
      tolerance: 0,
    });
  }
  return cases;
}

function structureCases(): Case[] {
  const cases: Case[] = [];
  const [rows, columns] = [13, 517];
  const m = f32s(rows * columns, 21);
  const row = imul(item, columns);
  const j = variable('j');
  for (const reduce of ['add', 'max', 'min'] as const) {
    const start = { add: 0, max: Number.NEGATIVE_INFINITY, min: Number.POSITIVE_INFINITY }[reduce];
    const acc = variable('acc', 'f32');
    cases.push({
      name: `row ${reduce} with a simd reduction`,
      kernel: makeKernel(`reduce ${reduce}`, [buffer('x', 'f32'), buffer('y', 'f32', 'write')], rows, [
        { kind: 'mut', name: 'acc', value: constant('f32', start) },
        loop('j', 0, columns, [{ kind: 'assign', name: 'acc', value: op(reduce, 'f32', acc, load('x', 'f32', iadd(row, j))) }], {
          mode: 'simd',
          reduce: [{ name: 'acc', op: reduce }],
        }),
        { kind: 'store', buffer: 'y', index: item, value: acc },
      ]),
      data: [m, new Float32Array(rows)],
      expected: only(
        1,
        Array.from({ length: rows }, (_, r) => {
          const values = m.subarray(r * columns, (r + 1) * columns);
          return values.reduce((a, b) => (reduce === 'add' ? a + b : Math[reduce](a, b)), start);
        }),
      ),
      tolerance: 1e-5,
    });
  }
  const running = m.slice();
  for (let r = 0; r < rows; r++) for (let c = 1; c < columns; c++) running[r * columns + c] += running[r * columns + c - 1];
  const sum = variable('sum', 'f32');
  cases.push({
    name: 'serial scan',
    kernel: makeKernel('cumsum', [buffer('x', 'f32'), buffer('y', 'f32', 'write')], rows, [
      { kind: 'mut', name: 'sum', value: constant('f32', 0) },
      loop('j', 0, columns, [
        { kind: 'assign', name: 'sum', value: op('add', 'f32', sum, load('x', 'f32', iadd(row, j))) },
        { kind: 'store', buffer: 'y', index: iadd(row, j), value: sum },
      ]),
    ]),
    data: [m, new Float32Array(m.length)],
    expected: only(1, running),
    tolerance: 1e-4,
  });
  const keys = Float32Array.of(3, Number.NaN, 1, 3, -0, 0, Number.POSITIVE_INFINITY, 1, Number.NEGATIVE_INFINITY, Number.NaN, 3, 2);
  for (const descending of [false, true]) {
    const order = descending ? [1, 9, 6, 0, 3, 10, 11, 2, 7, 4, 5, 8] : [8, 4, 5, 2, 7, 11, 0, 3, 10, 6, 1, 9];
    const out = new Int32Array(24).fill(-1);
    const expected = out.slice();
    order.forEach((p, i) => {
      expected[2 * i + 1] = p;
    });
    cases.push({
      name: `argsort ${descending ? 'descending' : 'ascending'} with ties and NaN, strided`,
      kernel: makeKernel('argsort', [buffer('x', 'f32'), buffer('y', 'i32', 'readwrite')], 1, [
        {
          kind: 'argsort',
          name: 'k',
          key: load('x', 'f32', variable('k')),
          length: 12,
          descending,
          out: 'y',
          outBase: index(1),
          outStride: 2,
        },
      ]),
      data: [keys, out],
      expected: only(1, expected),
      tolerance: 0,
    });
  }
  const many = Int32Array.from({ length: 2000 }, (_, i) => (i * 7919) % 100);
  cases.push({
    name: 'argsort of 2000 integers with many ties',
    kernel: makeKernel('argsort', [buffer('x', 'i32'), buffer('y', 'i32', 'write')], 1, [
      {
        kind: 'argsort',
        name: 'k',
        key: load('x', 'i32', variable('k')),
        length: 2000,
        descending: false,
        out: 'y',
        outBase: index(0),
        outStride: 1,
      },
    ]),
    data: [many, new Int32Array(2000)],
    expected: only(
      1,
      Array.from(many, (_, i) => i).sort((a, b) => many[a] - many[b] || a - b),
    ),
    tolerance: 0,
  });
  for (const size of [64, 40_000]) {
    const k = variable('k');
    const x = f32s(size, 31);
    cases.push({
      name: `local array of ${size} elements, reversed into the output`,
      kernel: makeKernel('local', [buffer('x', 'f32'), buffer('y', 'f32', 'write')], 6, [
        { kind: 'local', name: 'scratch', type: 'f32', size },
        loop('k', 0, size, [
          { kind: 'store', buffer: 'scratch', index: k, value: op('add', 'f32', load('x', 'f32', k), cast('f32', item)) },
        ]),
        loop('k', 0, size, [
          {
            kind: 'store',
            buffer: 'y',
            index: iadd(imul(item, size), k),
            value: load('scratch', 'f32', op('sub', 'index', index(size - 1), k)),
          },
        ]),
      ]),
      data: [x, new Float32Array(6 * size)],
      expected: only(
        1,
        Float32Array.from({ length: 6 * size }, (_, i) => x[size - 1 - (i % size)] + Math.floor(i / size)),
      ),
      tolerance: 1e-6,
    });
  }
  const odd = op('eq', 'bool', imod(item, 2), index(1));
  cases.push({
    name: 'if and otherwise, with a mut changed in both',
    kernel: makeKernel('if', [buffer('y', 'i32', 'write')], 9, [
      { kind: 'mut', name: 'v', value: constant('i32', 5) },
      {
        kind: 'if',
        cond: odd,
        then: [{ kind: 'assign', name: 'v', value: op('mul', 'i32', variable('v', 'i32'), cast('i32', item)) }],
        otherwise: [{ kind: 'assign', name: 'v', value: op('sub', 'i32', variable('v', 'i32'), cast('i32', item)) }],
      },
      { kind: 'if', cond: op('lt', 'bool', index(6), item), then: [{ kind: 'assign', name: 'v', value: constant('i32', -1) }] },
      { kind: 'store', buffer: 'y', index: item, value: variable('v', 'i32') },
    ]),
    data: [new Int32Array(9)],
    expected: only(0, [5, 5, 3, 15, 1, 25, -1, -1, -1]),
    tolerance: 0,
  });
  cases.push({
    name: 'floor quotient and remainder of negative indices, steps and unrolled loops',
    kernel: makeKernel('index', [buffer('y', 'i32', 'readwrite')], 5, [
      { kind: 'let', name: 'p', value: op('sub', 'index', imul(item, 3), index(7)) },
      loop(
        'u',
        0,
        2,
        [
          {
            kind: 'if',
            cond: op('eq', 'bool', variable('u'), index(0)),
            then: [{ kind: 'store', buffer: 'y', index: imul(item, 2), value: cast('i32', op('idiv', 'index', variable('p'), index(4))) }],
            otherwise: [{ kind: 'store', buffer: 'y', index: iadd(imul(item, 2), 1), value: cast('i32', imod(variable('p'), 4)) }],
          },
        ],
        { mode: 'unrolled' },
      ),
      loop('s', 0, 10, [{ kind: 'store', buffer: 'y', index: iadd(variable('s'), 10), value: cast('i32', variable('s')) }], { step: 4 }),
    ]),
    data: [new Int32Array(20)],
    expected: only(0, [-2, 1, -1, 0, -1, 3, 0, 2, 1, 1, 0, 0, 0, 0, 4, 0, 0, 0, 8, 0]),
    tolerance: 0,
  });
  return cases;
}

function randomCase(): Case {
  const n = 1001;
  const u32 = (k: number) => load('key', 'u32', index(k));
  const words = Uint32Array.from({ length: n }, (_, i) => philox4x32(i >> 2, 77, 5, 0, 0x12345678, 0x9abcdef0)[i & 3]);
  const at = iadd(imul(item, 100), variable('i'));
  const end = op('min', 'index', index(100), op('sub', 'index', index(n), imul(item, 100)));
  const random: Expr = { kind: 'random', type: 'u32', counter: at, step: u32(2), stream: 5, key0: u32(0), key1: u32(1), lanes: 1 };
  return {
    name: 'random bits are Philox4x32-10',
    kernel: makeKernel('random', [buffer('key', 'u32'), buffer('y', 'u32', 'write')], 11, [
      loop('i', 0, end, [{ kind: 'store', buffer: 'y', index: at, value: random }], { mode: 'simd' }),
    ]),
    data: [Uint32Array.of(0x12345678, 0x9abcdef0, 77), new Uint32Array(n)],
    expected: only(1, words),
    tolerance: 0,
  };
}

/** All cases. */
export const cases = (): Case[] => [...floatCases(), ...integerCases(), ...storageCases(), ...structureCases(), randomCase()];
