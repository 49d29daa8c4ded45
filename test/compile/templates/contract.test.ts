import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allocate, type DType, decode, encode, type TypedArray } from '../../../src/base/dtype.js';
import { accumulatorType, type ContractDim, type Contraction, contract } from '../../../src/compile/templates/contract.js';
import { cast, type Expr, iadd, imul, index, load, op } from '../../../src/kernel/kernel.js';
import type { TargetInfo } from '../../../src/kernel/target.js';
import { verifyKernel } from '../../../src/kernel/verify.js';
import { cFlags, renderC } from '../../../src/render/c.js';
import { compileC, compilers, type KernelFunction, targets } from '../../render/c-run.js';

/** A contraction that stores 2·acc + bias[last col dim] row-major, and what it needs to be checked. */
interface Case {
  readonly c: Contraction;
  readonly name: string;
  readonly sizes: { a: number; b: number; out: number; bias: number };
  readonly type: DType;
}

type Dims = { extent: number; a?: number; b?: number }[];

function makeCase(
  name: string,
  batch: Dims,
  rows: Dims,
  cols: Dims,
  reduce: Dims,
  types: [DType, DType] = ['f32', 'f32'],
  offset = 0,
): Case {
  let out = 1;
  const strides: number[] = [];
  const all = [...batch, ...rows, ...cols];
  for (let i = all.length - 1; i >= 0; i--) {
    strides[i] = out;
    out *= all[i].extent;
  }
  const full = (dims: Dims, from: number | null): ContractDim[] =>
    dims.map((d, i) => ({ extent: d.extent, a: d.a ?? 0, b: d.b ?? 0, out: from === null ? 0 : strides[from + i] }));
  const span = (of: 'a' | 'b') => 1 + [...all, ...reduce].reduce((n, d) => n + Math.max(0, d.extent - 1) * (d[of] ?? 0), 0);
  const c: Contraction = {
    batch: full(batch, 0),
    rows: full(rows, batch.length),
    cols: full(cols, batch.length + rows.length),
    reduce: full(reduce, null),
    a: { buffer: 'a', offset, dtype: types[0] },
    b: { buffer: 'b', offset: 0, dtype: types[1] },
    // Both ways are to be seen: elements twice, or a loop over each once.
    isRepeatable: name.length % 2 === 0,
    epilogue: (acc, x, y, z) => {
      const at = [...x, ...y, ...z].reduce<Expr>((sum, e, i) => iadd(sum, imul(e, strides[i])), index(0));
      const type = acc.type;
      const bias = load('bias', acc.type as DType, z[z.length - 1] ?? index(0));
      return [
        { kind: 'let', name: 'twice', value: op('add', type, acc, acc) },
        {
          kind: 'store',
          buffer: 'out',
          index: at,
          value: op('add', type, { kind: 'var', name: 'twice', type, lanes: 1 }, cast(type, bias)),
        },
      ];
    },
    buffers: [],
    label: name,
  };
  const type = accumulatorType(c);
  const withBuffers: Contraction = {
    ...c,
    buffers: [
      { name: 'a', dtype: types[0], access: 'read' },
      { name: 'b', dtype: types[1], access: 'read' },
      { name: 'bias', dtype: type, access: 'read' },
      { name: 'out', dtype: type, access: 'write' },
    ],
  };
  return { c: withBuffers, name, type, sizes: { a: offset + span('a'), b: span('b'), out, bias: cols[cols.length - 1]?.extent ?? 1 } };
}

function numbers(dtype: DType, n: number, seed: number): TypedArray {
  const x = allocate(dtype, n);
  for (let i = 0; i < n; i++) {
    const v = ((Math.imul(i + 1, 2654435761) ^ Math.imul(seed, 40503)) >>> 8) % 1000;
    x[i] = encode(dtype, dtype === 'f32' || dtype === 'f16' || dtype === 'bf16' ? v / 500 - 1 : dtype === 'bool' ? v & 1 : v % 90);
  }
  return x;
}

/** Where all combinations of indices of `dims` lie, in order. */
function offsets(dims: readonly ContractDim[], of: (d: ContractDim) => number): number[] {
  return dims.reduce<number[]>((all, d) => all.flatMap((x) => Array.from({ length: d.extent }, (_, e) => x + e * of(d))), [0]);
}
interface Wanted {
  readonly want: readonly number[];
  readonly scale: readonly number[];
}
/** Plain loops in double precision. */
function naive({ c, sizes, type }: Case, a: TypedArray, b: TypedArray, bias: TypedArray): Wanted {
  const want: number[] = Array(sizes.out).fill(0);
  const scale: number[] = Array(sizes.out).fill(0);
  const [x, y] = [Float64Array.from(a, (v) => decode(c.a.dtype, v)), Float64Array.from(b, (v) => decode(c.b.dtype, v))];
  const outer = [...c.batch, ...c.rows, ...c.cols];
  const [startA, startB, places] = [offsets(outer, (d) => d.a), offsets(outer, (d) => d.b), offsets(outer, (d) => d.out)];
  const columns = offsets(outer, (d) => (d === c.cols.at(-1) ? 1 : 0));
  const [stepA, stepB] = [Int32Array.from(offsets(c.reduce, (d) => d.a)), Int32Array.from(offsets(c.reduce, (d) => d.b))];
  for (const [i, z] of places.entries()) {
    const [p, q] = [c.a.offset + startA[i], startB[i]];
    let sum = 0;
    let size = 0;
    for (let k = 0; k < stepA.length; k++) {
      const v = x[p + stepA[k]] * y[q + stepB[k]];
      sum += v;
      size += Math.abs(v);
    }
    want[z] = 2 * sum + bias[columns[i]];
    if (type === 'i32') want[z] |= 0;
    scale[z] = size;
  }
  return { want, scale };
}

function prepare(
  cases: Case[],
  target: TargetInfo,
  cc?: string,
): (i: number, out: TypedArray, inputs: Record<string, TypedArray>, cut: boolean) => void {
  const made = cases.map((x) => contract(x.c, target));
  const functions = compileC(
    made.flatMap((m) => m.kernels),
    target,
    cc,
  );
  let next = 0;
  const own: KernelFunction[][] = made.map((m) => m.kernels.map(() => functions[next++]));
  return (i, out, inputs, cut) => {
    const memory: Record<string, TypedArray> = { ...inputs, out };
    for (const t of made[i].temporaries) memory[t.name] = allocate(t.dtype, t.size).fill(99);
    made[i].kernels.forEach((kernel, k) => {
      const buffers = kernel.buffers.map((p) => memory[p.name]);
      const items = kernel.grid.extent;
      // Items are independent: in two parts, the later one first.
      if (cut && items > 1) {
        own[i][k](buffers, items >> 1, items);
        own[i][k](buffers, 0, items >> 1);
      } else own[i][k](buffers);
    });
  };
}

/** Answers, the same for every target, and texts that were checked: targets that differ in what some kernels use share the others. */
const answers = new Map<string, Wanted>();
const checked = new Set<string>();

function check(all: Case[], target: TargetInfo, cc?: string): void {
  const isNew = (x: Case): boolean => {
    const texts = contract(x.c, target).kernels.map((k) => renderC(k, 'k'));
    const key = createHash('sha1')
      .update(`${x.name} ${cc} ${cFlags(target)} ${texts}`)
      .digest('hex');
    return !checked.has(key) && checked.add(key) !== undefined;
  };
  const cases = all.filter(isNew);
  if (cases.length === 0) return;
  const run = prepare(cases, target, cc);
  cases.forEach((x, i) => {
    const a = numbers(x.c.a.dtype, x.sizes.a, 1);
    const b = numbers(x.c.b.dtype, x.sizes.b, 2);
    const bias = numbers(x.type, x.sizes.bias, 3);
    const out = allocate(x.type, x.sizes.out + 16).fill(7);
    run(i, out, { a, b, bias }, i % 2 === 1);
    const answer = answers.get(x.name) ?? naive(x, a, b, bias);
    answers.set(x.name, answer);
    const { want, scale } = answer;
    for (let e = 0; e < x.sizes.out; e++) {
      const close = x.type === 'f32' ? Math.abs(out[e] - want[e]) <= 1e-6 * (scale[e] + 2) : out[e] === want[e];
      if (!close) expect.fail(`${x.name}, ${target.lanes} lanes: out[${e}] = ${out[e]}, expected ${want[e]}`);
    }
    for (let e = x.sizes.out; e < out.length; e++) if (out[e] !== 7) expect.fail(`${x.name}: wrote past the end`);
  });
}

/** [M, K] × [K, N] with each operand transposed or not, and batch. */
function matmul(M: number, N: number, K: number, ta: boolean, tb: boolean, B = 1, types: [DType, DType] = ['f32', 'f32']): Case {
  return makeCase(
    `matmul ${B}×${M}×${N}×${K}${ta ? ' Aᵀ' : ''}${tb ? ' Bᵀ' : ''} ${types.join('×')}`,
    B === 1 ? [] : [{ extent: B, a: M * K, b: N * K }],
    [{ extent: M, a: ta ? 1 : K }],
    [{ extent: N, b: tb ? K : 1 }],
    [{ extent: K, a: ta ? M : 1, b: tb ? 1 : N }],
    types,
  );
}
/** Input [n, h, w, c] (padded already), filter [kh, kw, c, o]. */
function conv(n: number, h: number, w: number, ch: number, k: number, o: number, stride = 1, dilation = 1): Case {
  const oh = Math.floor((h - (k - 1) * dilation - 1) / stride) + 1;
  const ow = Math.floor((w - (k - 1) * dilation - 1) / stride) + 1;
  return makeCase(
    `conv ${[n, h, w, ch, k, o, stride, dilation]}`,
    [],
    [
      { extent: n, a: h * w * ch },
      { extent: oh, a: stride * w * ch },
      { extent: ow, a: stride * ch },
    ],
    [{ extent: o, b: 1 }],
    [
      { extent: k, a: dilation * w * ch, b: k * ch * o },
      { extent: k, a: dilation * ch, b: ch * o },
      { extent: ch, a: 1, b: o },
    ],
  );
}
function filterGradient(n: number, h: number, w: number, ch: number, k: number, o: number): Case {
  const [oh, ow] = [h - k + 1, w - k + 1];
  return makeCase(
    `filter gradient ${[n, h, w, ch, k, o]}`,
    [],
    [
      { extent: k, a: w * ch },
      { extent: k, a: ch },
      { extent: ch, a: 1 },
    ],
    [{ extent: o, b: 1 }],
    [
      { extent: n, a: h * w * ch, b: oh * ow * o },
      { extent: oh, a: w * ch, b: ow * o },
      { extent: ow, a: ch, b: o },
    ],
  );
}

/** Whether all samples are run. */
const isLong = Number(process.env.TENON_TEST_RUNS ?? 0) >= 1000;

const many = (target: TargetInfo): TargetInfo => ({ ...target, threads: 8 });

describe.each(targets.map((t) => [`${t.lanes} lanes${t.hasBf16Dot ? ', products of pairs' : ''}`, t] as const))(
  'contract, %s',
  (_, target) => {
    it.each(compilers)('products of every orientation (%s)', (cc) => {
      const sizes = [
        [1, 1, 1],
        [1, 7, 5],
        [7, 1, 5],
        [1, 64, 33],
        [64, 1, 33],
        [3, 3, 1],
        [13, 10, 27],
        [77, 65, 33],
        [6, 16, 300],
        [33, 15, 64],
      ];
      check(
        sizes.flatMap(([m, n, k]) => [0, 1, 2, 3].map((t) => matmul(m, n, k, (t & 1) === 1, t > 1))),
        target,
        cc,
      );
    });

    it('convolutions and filter gradients', () => {
      check(
        [
          conv(2, 8, 9, 3, 3, 32),
          conv(1, 9, 9, 5, 3, 10, 2),
          conv(3, 9, 11, 2, 3, 7, 1, 2),
          conv(2, 5, 5, 8, 1, 24),
          conv(2, 15, 15, 4, 3, 64),
          filterGradient(3, 8, 9, 3, 3, 32),
          filterGradient(2, 7, 7, 4, 3, 10),
          filterGradient(9, 12, 12, 3, 3, 16),
        ],
        target,
      );
    });

    it('with many threads: chunks of rows, and reductions summed in parts', () => {
      const cases = [
        matmul(96, 64, 700, false, false),
        matmul(16, 16, 20000, true, false),
        matmul(4, 4, 40000, true, false),
        filterGradient(8, 20, 20, 3, 3, 32),
        matmul(130, 40, 64, false, true),
        conv(4, 20, 20, 3, 3, 33),
      ];
      const parts = cases.map((x) => contract(x.c, many(target)).kernels.length);
      expect(parts[target.lanes > 1 ? 1 : 2]).toBe(2);
      check(cases, many(target));
    });

    it('operands copied once where caches are small: ragged, batched, in blocks', () => {
      const small = { ...target, l1: 1024, l2: target.lanes === 16 ? 4096 : 16384 };
      const cases = [false, true].flatMap((ta) =>
        [false, true].flatMap((tb) => [
          matmul(100, 150, 400, ta, tb),
          matmul(96, 256, 512, ta, tb),
          matmul(61, 93, 1000, ta, tb, 2),
          matmul(200, 331, 70, ta, tb),
        ]),
      );
      const made = cases.map((x) => contract(x.c, small));
      for (const kernel of made.flatMap((m) => m.kernels)) verifyKernel(kernel);
      const copies = made.flatMap((m) => m.temporaries.map((t) => t.name));
      expect(new Set(copies)).toEqual(new Set(target.lanes > 1 ? ['c_packA', 'c_packB'] : copies));
      check(cases, small);
      // Outer products have no step to copy along.
      for (const [m, n] of [
        [4000, 100],
        [100, 4000],
        [300, 300],
      ])
        for (const kernel of contract(matmul(m, n, 1, true, true).c, small).kernels) verifyKernel(kernel);
    });

    it('several dims a side, joined or not, with offsets', () => {
      check(
        [
          // Heads: rows [t], cols [3, heads, d] joined to one; out is anywhere.
          makeCase(
            'qkv',
            [],
            [{ extent: 20, a: 24 }],
            [
              { extent: 3, b: 64 },
              { extent: 4, b: 16 },
              { extent: 16, b: 1 },
            ],
            [{ extent: 24, a: 1, b: 192 }],
          ),
          makeCase(
            'panels',
            [],
            [{ extent: 20, a: 24 }],
            [
              { extent: 3, b: 24 * 16 },
              { extent: 16, b: 1 },
            ],
            [{ extent: 24, a: 1, b: 16 }],
          ),
          makeCase(
            'short parts',
            [],
            [{ extent: 9, a: 5 }],
            [
              { extent: 7, b: 3 },
              { extent: 3, b: 1 },
            ],
            [{ extent: 5, a: 1, b: 21 }],
          ),
          makeCase(
            'two batches',
            [
              { extent: 2, a: 120, b: 0 },
              { extent: 3, a: 40, b: 80 },
            ],
            [{ extent: 5, a: 8 }],
            [{ extent: 10, b: 8 }],
            [{ extent: 8, a: 1, b: 1 }],
            ['f32', 'f32'],
            3,
          ),
          makeCase('no reduction', [], [{ extent: 5, a: 1 }], [{ extent: 19, b: 1 }], []),
          makeCase('dot', [], [], [], [{ extent: 1000, a: 1, b: 1 }]),
          makeCase(
            'strided dot',
            [],
            [],
            [],
            [
              { extent: 10, a: 3, b: 2 },
              { extent: 4, a: 1, b: 50 },
            ],
          ),
          makeCase(
            'short inner rows',
            [],
            [
              { extent: 30, a: 40 },
              { extent: 3, a: 7 },
            ],
            [{ extent: 16, b: 1 }],
            [{ extent: 7, a: 1, b: 16 }],
          ),
          makeCase(
            'depthwise',
            [{ extent: 12, a: 1, b: 1 }],
            [
              { extent: 4, a: 72 },
              { extent: 4, a: 12 },
            ],
            [],
            [
              { extent: 3, a: 72, b: 36 },
              { extent: 3, a: 12, b: 12 },
            ],
          ),
        ],
        target,
      );
    });

    it('integers wrap, f16 and bf16 widen', () => {
      const pairs: [DType, DType][] = [
        ['i32', 'i32'],
        ['u32', 'u32'],
        ['i8', 'i8'],
        ['u8', 'i8'],
        ['u8', 'u8'],
        ['bool', 'bool'],
        ['bf16', 'bf16'],
        ['f16', 'f16'],
        ['f32', 'bf16'],
        ['f16', 'f32'],
        ['u8', 'f32'],
      ];
      check(
        pairs.flatMap((types) => [
          matmul(9, 17, 21, false, false, 1, types),
          matmul(70, 40, 70, false, true, 1, types),
          matmul(1, 6, 40, false, true, 1, types),
        ]),
        target,
      );
    });

    it('products of bf16 pairs: every orientation, odd and even reductions, copied panel by panel and once', () => {
      const products = (m: number, n: number, k: number) =>
        [0, 1, 2, 3].map((t) => matmul(m, n, k, (t & 1) === 1, t > 1, 1, ['bf16', 'bf16']));
      const small = { ...target, l1: 1024, l2: target.lanes === 16 ? 4096 : 16384 };
      const even = products(50, 90, 130);
      for (const [cases, t] of [
        [[...even, ...products(33, 17, 77)], target],
        [products(60, 70, 96), small],
      ] as const)
        check([...cases], t);
      const isPaired = (x: Case) => JSON.stringify(contract(x.c, target).kernels).includes('dot2');
      expect(even.every(isPaired)).toBe(target.hasBf16Dot === true);
    }, 240_000);

    it('random products', () => {
      const dims = fc.record({
        M: fc.integer({ min: 1, max: 40 }),
        N: fc.integer({ min: 1, max: 70 }),
        K: fc.integer({ min: 1, max: 40 }),
        B: fc.integer({ min: 1, max: 3 }),
        ta: fc.boolean(),
        tb: fc.boolean(),
      });
      check(
        fc.sample(dims, { numRuns: isLong ? 100 : 12, seed: 7 }).map((d) => matmul(d.M, d.N, d.K, d.ta, d.tb, d.B)),
        target,
      );
    });
  },
);

it('an empty result needs no kernel, an empty reduction gives 0', () => {
  expect(contract(matmul(0, 3, 4, false, false).c, targets[0]).kernels).toEqual([]);
  check([makeCase('K = 0', [], [{ extent: 3, a: 1 }], [{ extent: 9, b: 1 }], [{ extent: 0, a: 3, b: 9 }])], targets[0]);
});
