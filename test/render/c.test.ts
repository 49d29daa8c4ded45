import { describe, expect, it } from 'vitest';
import { allocate, type DType, decode, encode } from '../../src/base/dtype.js';
import type { Expr, Kernel, Stmt, ValueType } from '../../src/kernel/kernel.js';
import { cast, constant, iadd, idiv, imod, imul, index, load, loop, op, splat, variable } from '../../src/kernel/kernel.js';
import { isScalarOp, scalarOps, scalarRow } from '../../src/kernel/scalar-ops.js';
import { renderC } from '../../src/render/c.js';
import { compileC, compilers, targets } from './c-run.js';

const kernel = (buffers: Kernel['buffers'], body: Stmt[], extent = 1): Kernel => ({
  label: 'test',
  buffers,
  grid: { name: 'item', extent },
  body,
  flops: 0,
  bytes: 0,
});
const i = variable('i');
const elementwise = (types: DType[], out: DType, n: number, f: (x: Expr[]) => Expr, lanes = 1): Kernel =>
  kernel(
    [...types.map((dtype, k) => ({ name: `x${k}`, dtype, access: 'read' as const })), { name: 'y', dtype: out, access: 'write' }],
    [
      loop('i', 0, n, [{ kind: 'store', buffer: 'y', index: i, value: f(types.map((t, k) => load(`x${k}`, t, i, lanes))) }], {
        mode: lanes === 1 ? 'simd' : 'serial',
        step: lanes,
      }),
    ],
  );

const floats = [
  0,
  -0,
  1,
  -1,
  0.5,
  -2.5,
  3,
  2.5,
  1e-3,
  -7.25,
  100,
  -100,
  1e30,
  Number.NaN,
  Infinity,
  -Infinity,
  1e-42,
  3.5,
  -3.5,
  12345.678,
  6,
  -6,
  0.1,
  8,
];
const integers = [0, 1, -1, 2, -2, 3, 7, -7, 31, 100, -100, 2147483647, -2147483648, 65536, 12, -12];
const samples: Record<string, number[]> = { f32: floats, i32: integers, u32: integers.map((x) => x >>> 0), bool: [0, 1] };

/** All pairs (or singles, triples) of samples as columns. */
function columns(dtype: DType, arity: number): number[][] {
  const s = samples[dtype];
  const out: number[][] = Array.from({ length: arity }, () => []);
  for (const a of s)
    for (const b of arity > 1 ? s : [0])
      [a, b].slice(0, arity).forEach((v, k) => {
        out[k].push(v);
      });
  while (out[0].length % 8) for (const c of out) c.push(c[0]);
  return out;
}
const fill = (dtype: DType, values: number[]) => {
  const a = allocate(dtype, values.length);
  values.forEach((v, k) => {
    a[k] = encode(dtype, v);
  });
  return a;
};

const domains: Record<string, DType[]> = {
  float: ['f32'],
  number: ['f32', 'i32', 'u32'],
  int: ['i32', 'u32', 'bool'],
  any: ['f32', 'i32', 'u32', 'bool'],
};

describe.each(targets.map((t) => [t.lanes, t] as const))('renderC, %i lanes', (lanes, target) => {
  it.each(compilers)('every scalar op on every dtype as scalars and vectors (%s)', (cc) => {
    const cases: { name: string; kernel: Kernel; inputs: number[][]; types: DType[]; out: DType; js: (...x: number[]) => number }[] = [];
    for (const name of Object.keys(scalarOps)) {
      if (!isScalarOp(name)) continue;
      const row = scalarRow(name);
      for (const dtype of domains[row.domain]) {
        if (dtype === 'bool' && row.domain === 'int' && (name === 'shl' || name === 'shr')) continue;
        if (dtype === 'bool' && name === 'bitNot') continue;
        const types: DType[] = row.arity === 3 ? ['bool', dtype, dtype] : Array.from({ length: row.arity }, () => dtype);
        let inputs = columns(dtype, Math.min(row.arity, 2));
        if (row.arity === 3) inputs = [inputs[0].map((_, k) => (k % 3) & 1), ...inputs];
        if (name === 'shl' || name === 'shr') inputs[1] = inputs[1].map((v) => v & 31);
        const out: DType = row.out === 'bool' ? 'bool' : dtype;
        const js = dtype !== 'f32' && row.jsInt ? row.jsInt : row.js;
        for (const w of [1, 8]) {
          cases.push({
            name: `${name} ${dtype} x${w}`,
            kernel: elementwise(types, out, inputs[0].length, (x) => op(name, out, ...x), w),
            inputs,
            types,
            out,
            js,
          });
        }
      }
    }
    const functions = compileC(
      cases.map((c) => c.kernel),
      target,
      cc,
    );
    cases.forEach((c, k) => {
      const inputs = c.inputs.map((v, j) => fill(c.types[j], v));
      const y = allocate(c.out, inputs[0].length);
      functions[k]([...inputs, y]);
      for (let e = 0; e < y.length; e++) {
        const args = inputs.map((v) => v[e]);
        const want = allocate(c.out, 1);
        want[0] = encode(c.out, c.js(...args));
        const close = Object.is(y[e] + 0, want[0] + 0) || (c.out === 'f32' && Math.abs(y[e] - want[0]) <= 3e-7 * Math.abs(want[0]) + 1e-45);
        // Large powers of integers leave double precision, large remainders single precision.
        const beyond =
          (c.name.startsWith('pow') && c.out !== 'f32' && Math.abs(c.js(...args)) > 2 ** 53) ||
          (/^(mod|idiv) f32/.test(c.name) && Math.abs(args[0] / args[1]) > 1e6) ||
          (/^(sin|cos)/.test(c.name) && Math.abs(args[0]) > 2 ** 50 && Number.isFinite(args[0]));
        if (!close && !beyond) expect.fail(`${c.name}(${args.join(', ')}) = ${y[e]}, expected ${want[0]}`);
      }
    });
  });

  it('casts between all dtypes as encode does, scalar and vector', () => {
    const all: DType[] = ['f32', 'f16', 'bf16', 'i32', 'u32', 'i8', 'u8', 'bool'];
    const numbers = [
      0,
      1,
      -1,
      2.5,
      -2.5,
      127,
      128,
      255,
      256,
      -129,
      65504,
      65519,
      65520,
      1e-7,
      5.96e-8,
      2.9e-8,
      3e9,
      -3e9,
      5e12,
      1.0009765,
      1.00146484375,
      3.3895e38,
      Number.NaN,
      Infinity,
    ];
    const cases = all.flatMap((from) => all.flatMap((to) => [1, 8].map((w) => ({ from, to, w }))));
    const functions = compileC(
      cases.map((c) => elementwise([c.from], c.to, numbers.length, ([x]) => cast(c.to, x), c.w)),
      target,
    );
    cases.forEach(({ from, to, w }, k) => {
      const x = fill(from, numbers);
      const y = allocate(to, x.length);
      functions[k]([x, y]);
      const want = fill(
        to,
        [...x].map((raw) => decode(from, raw)),
      );
      expect({ from, to, w, y: [...y] }).toEqual({ from, to, w, y: [...want] });
    });
  });

  it('reductions keep NaN and infinity and agree with a plain loop', () => {
    const n = 1003;
    const x = Float32Array.from({ length: n }, (_, k) => Math.fround(Math.sin(k * 12.9898) * 5));
    const reduce = (name: 'add' | 'max' | 'min', first: number): Kernel =>
      kernel(
        [
          { name: 'x', dtype: 'f32', access: 'read' },
          { name: 'y', dtype: 'f32', access: 'write' },
        ],
        [
          { kind: 'mut', name: 'acc', value: constant('f32', first) },
          loop('i', 0, n, [{ kind: 'assign', name: 'acc', value: op(name, 'f32', variable('acc', 'f32'), load('x', 'f32', i)) }], {
            mode: 'simd',
            reduce: [{ name: 'acc', op: name }],
          }),
          { kind: 'store', buffer: 'y', index: index(0), value: variable('acc', 'f32') },
        ],
      );
    const [sum, max, min] = compileC([reduce('add', 0), reduce('max', -Infinity), reduce('min', Infinity)], target);
    const y = new Float32Array(1);
    sum([x, y]);
    expect(y[0]).toBeCloseTo(
      x.reduce((a, b) => a + b, 0),
      3,
    );
    max([x, y]);
    expect(y[0]).toBe(Math.max(...x));
    min([x, y]);
    expect(y[0]).toBe(Math.min(...x));
    x[500] = Number.NaN;
    for (const f of [sum, max, min]) {
      f([x, y]);
      expect(y[0]).toBeNaN();
    }
  });

  it('sorts stably with NaN last ascending and first descending, and in scratch when large', () => {
    const small = [3, 1, Number.NaN, 2, 1, -0, 0, -Infinity, Infinity, Number.NaN, -5, 3];
    const large = Array.from({ length: 5000 }, (_, k) => (k % 97 === 0 ? Number.NaN : Math.round(Math.sin(k * 78.233) * 50)));
    for (const values of [small, large]) {
      const n = values.length;
      const sort = (descending: boolean): Kernel =>
        kernel(
          [
            { name: 'x', dtype: 'f32', access: 'read' },
            { name: 'y', dtype: 'i32', access: 'write' },
          ],
          [{ kind: 'argsort', name: 'i', key: load('x', 'f32', i), length: n, descending, out: 'y', outBase: index(1), outStride: 2 }],
        );
      const functions = compileC([sort(false), sort(true)], target);
      const x = Float32Array.from(values);
      [false, true].forEach((descending, k) => {
        const y = new Int32Array(2 * n);
        functions[k]([x, y]);
        const rank = (v: number) => (Number.isNaN(v) ? Number.POSITIVE_INFINITY : v);
        const want = [...x.keys()].sort((a, b) => {
          const [u, v] = [x[a], x[b]];
          const ascending =
            Number.isNaN(u) || Number.isNaN(v) ? Number(Number.isNaN(u)) - Number(Number.isNaN(v)) : Math.sign(rank(u) - rank(v) || 0);
          return (descending ? -ascending : ascending) || a - b;
        });
        expect([...y].filter((_, e) => e % 2 === 1)).toEqual(want);
      });
    }
  });

  it('indices, local arrays, conditions, unrolled loops and the grid range', () => {
    const [N, C] = [6, 10];
    const item = variable('item');
    const big = 20_000;
    const k = kernel(
      [
        { name: 'x', dtype: 'f32', access: 'read' },
        { name: 'y', dtype: 'f32', access: 'write' },
      ],
      [
        { kind: 'local', name: 'buffer', type: 'f32', size: big },
        { kind: 'let', name: 'row', value: idiv(item, 3) },
        loop('i', 0, C, [{ kind: 'store', buffer: 'buffer', index: iadd(i, big - C), value: load('x', 'f32', iadd(imul(item, C), i)) }], {
          mode: 'unrolled',
        }),
        loop('i', 0, C, [
          {
            kind: 'if',
            cond: op('lt', 'bool', i, index(C / 2)),
            then: [{ kind: 'store', buffer: 'y', index: iadd(imul(item, C), i), value: load('buffer', 'f32', iadd(i, big - C)) }],
            otherwise: [
              {
                kind: 'store',
                buffer: 'y',
                index: iadd(imul(item, C), i),
                // Floor division of a negative index: (i - 12) / 5 is -2 … -1 here.
                value: op(
                  'add',
                  'f32',
                  cast('f32', idiv(iadd(i, -12), 5)),
                  cast('f32', iadd(imod(iadd(i, -12), 5), imul(variable('row'), 100))),
                ),
              },
            ],
          },
        ]),
      ],
      N,
    );
    const [run] = compileC([k], target);
    const x = Float32Array.from({ length: N * C }, (_, e) => e);
    const y = new Float32Array(N * C);
    run([x, y], 1, 5);
    const want = new Float32Array(N * C);
    for (let r = 1; r < 5; r++)
      for (let c = 0; c < C; c++)
        want[r * C + c] = c < 5 ? x[r * C + c] : Math.floor((c - 12) / 5) + ((((c - 12) % 5) + 5) % 5) + 100 * Math.floor(r / 3);
    expect([...y]).toEqual([...want]);
  });

  it('Philox4x32-10 gives the published vectors', () => {
    // Random123's known answers for counter 0 and key 0, and for all ones.
    const k = (at: number, step: number, stream: number, key: number): Kernel =>
      kernel(
        [{ name: 'y', dtype: 'u32', access: 'write' }],
        [
          loop('i', 0, 4, [
            {
              kind: 'store',
              buffer: 'y',
              index: i,
              value: {
                kind: 'random',
                type: 'u32',
                counter: iadd(i, at),
                step: constant('u32', step),
                stream,
                key0: constant('u32', key),
                key1: constant('u32', key),
                lanes: 1,
              },
            },
          ]),
        ],
      );
    const [zero] = compileC([k(0, 0, 0, 0)], target);
    const y = new Uint32Array(4);
    zero([y]);
    expect([...y].map((v) => v.toString(16))).toEqual(['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']);
  });

  if (lanes > 1) {
    it('splats and vector fma', () => {
      const w = lanes;
      const k = elementwise(
        ['f32'],
        'f32',
        4 * w,
        ([x]) => ({
          kind: 'fma',
          type: 'f32',
          a: x,
          b: splat(load('x0', 'f32', index(1)), w),
          c: splat(constant('f32', 0.5), w),
          lanes: w,
        }),
        w,
      );
      const [run] = compileC([k], target);
      const x = Float32Array.from({ length: 4 * w }, (_, e) => e);
      const y = new Float32Array(4 * w);
      run([x, y]);
      expect([...y]).toEqual([...x].map((v) => v + 0.5));
    });
  }
});

it('refuses what the form does not allow', () => {
  const bad = (name: string, type: ValueType): Kernel =>
    kernel([{ name: 'y', dtype: 'f32', access: 'write' }], [{ kind: 'let', name, value: constant(type, 1) }]);
  expect(() => renderC(bad('a-b', 'f32'), 'k')).toThrow(/identifier/);
  expect(() =>
    renderC(
      elementwise(['i32'], 'i32', 4, ([x]) => op('exp', 'i32', x)),
      'k',
    ),
  ).toThrow(/exp is not an operation on i32/);
});
