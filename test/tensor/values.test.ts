/** @file Operations against values known from NumPy, TensorFlow and paper. */
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import * as tn from '../../src/tensor/index.js';

const { tensor, arange } = tn;
const m = () =>
  tensor([
    [1, 2, 3],
    [4, 5, 6],
  ]);

async function close(t: tn.Tensor, expected: unknown, digits = 5): Promise<void> {
  const flat = (x: unknown): number[] => (Array.isArray(x) ? x.flatMap(flat) : [Number(x)]);
  const shapeOf = (x: unknown): number[] => (Array.isArray(x) ? [x.length, ...shapeOf(x[0])] : []);
  if (!(Array.isArray(expected) && expected.length === 0)) expect([...t.shape]).toEqual(shapeOf(expected));
  const data = [...(await t.data())];
  const want = flat(expected);
  expect(data.length).toBe(want.length);
  data.forEach((x, i) => {
    if (Number.isNaN(want[i])) expect(x).toBeNaN();
    else if (!Number.isFinite(want[i])) expect(x).toBe(want[i]);
    else expect(x).toBeCloseTo(want[i], digits);
  });
}

describe('creation', () => {
  it('reads nested arrays, typed arrays and scalars', async () => {
    expect(tensor([[1, 2]]).dtype).toBe('f32');
    expect(tensor([true, false]).dtype).toBe('bool');
    expect(tensor(new Uint8Array(3)).dtype).toBe('u8');
    expect(tensor(new Float64Array(3)).dtype).toBe('f32');
    expect(tensor([1, 2], 'i32').dtype).toBe('i32');
    expect(await tensor([true, false]).array()).toEqual([true, false]);
    expect(await tensor(new Int32Array([1, 2, 3, 4]), { shape: [2, 2] }).array()).toEqual([
      [1, 2],
      [3, 4],
    ]);
    expect(await tensor(7).item()).toBe(7);
    expect(() => tensor([[1], [2, 3]])).toThrow(/ragged/);
  });
  it('copies what it is given', async () => {
    const a = new Float32Array([1, 2]);
    const t = tensor(a);
    a[0] = 9;
    expect([...(await t.data())]).toEqual([1, 2]);
  });
  it('makes ranges, eyes and fills', async () => {
    await close(arange(4), [0, 1, 2, 3]);
    await close(arange(1, 2, 0.25), [1, 1.25, 1.5, 1.75]);
    await close(arange(5, 0, -2, 'i32'), [5, 3, 1]);
    await close(tn.linspace(0, 1, 5), [0, 0.25, 0.5, 0.75, 1]);
    await close(tn.logspace(0, 2, 3), [1, 10, 100]);
    await close(tn.eye(2, 3, 1), [
      [0, 1, 0],
      [0, 0, 1],
    ]);
    await close(tn.full([2], 3), [3, 3]);
    await close(tn.zerosLike(m()), [
      [0, 0, 0],
      [0, 0, 0],
    ]);
    await close(tn.onesLike(tensor([2])), [1]);
    await close(tn.tri(2, 3), [
      [1, 0, 0],
      [1, 1, 0],
    ]);
  });
  it('stores f16 and bf16 and decodes them', async () => {
    const h = tensor([1, 0.333251953125, 65504], 'f16');
    expect(h.dtype).toBe('f16');
    expect([...(await h.data())]).toEqual([1, 0.333251953125, 65504]);
    expect([...(await h.mul(2).data())]).toEqual([2, 0.66650390625, Infinity]);
    expect([...(await tensor([1.00390625], 'bf16').data())]).toEqual([1]);
  });
});

describe('arithmetic and promotion', () => {
  const dt = (x: tn.TensorLike, y: tn.TensorLike) => tn.add(x, y).dtype;
  it.each([
    ['f32', 'i32', 'f32'],
    ['u8', 'i8', 'i32'],
    ['u8', 'i32', 'i32'],
    ['bool', 'u8', 'u8'],
    ['f16', 'bf16', 'f32'],
    ['f16', 'i32', 'f16'],
    ['bool', 'bool', 'bool'],
  ] as const)('%s + %s = %s', (a, b, out) => {
    expect(dt(tn.zeros([2], a), tn.zeros([2], b))).toBe(out);
  });
  it('treats numbers as weak', () => {
    expect(dt(tn.zeros([1], 'f16'), 2.5)).toBe('f16');
    expect(dt(tn.zeros([1], 'u8'), 2)).toBe('u8');
    expect(dt(tn.zeros([1], 'i32'), 2.5)).toBe('f32');
    expect(dt(tn.zeros([1], 'bool'), 1)).toBe('i32');
    expect(dt(tn.zeros([1], 'u8'), true)).toBe('u8');
    expect(dt(1, 2)).toBe('f32');
  });
  it('divides integers to f32 and floors like NumPy', async () => {
    const a = tensor([7, -7], 'i32');
    expect(a.div(2).dtype).toBe('f32');
    await close(a.div(2), [3.5, -3.5]);
    await close(a.floorDivide(2), [3, -4]);
    await close(a.mod(3), [1, 2]);
    await close(a.floorDivide(0), [0, 0]);
  });
  it('broadcasts', async () => {
    await close(m().add([10, 20, 30]), [
      [11, 22, 33],
      [14, 25, 36],
    ]);
    await close(tn.outer([1, 2], [3, 4, 5]), [
      [3, 4, 5],
      [6, 8, 10],
    ]);
    expect(() => m().add([1, 2])).toThrow(/broadcast/);
  });
  it('raises, clips, compares and chooses', async () => {
    await close(m().pow(2), [
      [1, 4, 9],
      [16, 25, 36],
    ]);
    await close(tensor([4, 9]).pow(0.5), [2, 3]);
    await close(tn.power(2, [1, 2, 3]), [2, 4, 8]);
    await close(tensor([-2, 0.5, 3]).clip(-1, 1), [-1, 0.5, 1]);
    expect(await m().greater(3).array()).toEqual([
      [false, false, false],
      [true, true, true],
    ]);
    await close(tn.where(tensor([true, false]), [1, 2], [10, 20]), [1, 20]);
    await close(tn.maximum([1, NaN], [0, 1]), [1, NaN]);
    expect(await tn.isNan([1, NaN]).array()).toEqual([false, true]);
    expect(await tn.isFinite([1, Infinity, NaN]).array()).toEqual([true, false, false]);
    expect(await tn.isInf([1, -Infinity]).array()).toEqual([false, true]);
    expect(await tn.logicalXor([1, 0], [1, 1]).array()).toEqual([false, true]);
    await close(tensor([12, 10], 'i32').bitwiseAnd(6), [4, 2]);
    await close(tensor([-8], 'i32').rightShift(1), [-4]);
    expect(() => tn.bitwiseAnd(tensor([1.5]), tensor([1]))).toThrow(/integers/);
    await close(tn.nanToNum([NaN, 1]), [0, 1]);
  });
  it('rounds half to even, truncates, keeps integers', async () => {
    await close(tn.round([0.5, 1.5, 2.5, -0.5]), [0, 2, 2, -0]);
    await close(tn.round([1.2345], 2), [1.23]);
    await close(tn.trunc([1.7, -1.7]), [1, -1]);
    expect(tn.floor(tensor([1], 'i32')).dtype).toBe('i32');
  });
  it.each([
    ['tan', Math.tan, 0.7],
    ['asin', Math.asin, 0.3],
    ['acos', Math.acos, -0.4],
    ['atan', Math.atan, 2],
    ['sinh', Math.sinh, 0.01],
    ['cosh', Math.cosh, 1.1],
    ['asinh', Math.asinh, -2],
    ['acosh', Math.acosh, 1.5],
    ['atanh', Math.atanh, 0.5],
    ['log2', Math.log2, 5],
    ['log10', Math.log10, 5],
    ['exp2', (x: number) => 2 ** x, 1.5],
    ['cbrt', Math.cbrt, -8],
    ['expm1', Math.expm1, 1e-5],
    ['log1p', Math.log1p, 1e-5],
    ['reciprocal', (x: number) => 1 / x, 4],
  ] as const)('%s', async (name, js, x) => {
    expect((await tensor(x)[name]().item()) / js(x)).toBeCloseTo(1, 5);
  });
});

describe('reductions', () => {
  it('sums, averages, finds', async () => {
    await close(m().sum(), 21);
    await close(m().sum(0), [5, 7, 9]);
    await close(m().sum(-1, true), [[6], [15]]);
    await close(m().mean([0, 1]), 3.5);
    await close(m().variance(1), [2 / 3, 2 / 3]);
    await close(m().std(null, false, 1), Math.sqrt(3.5));
    await close(m().max(0), [4, 5, 6]);
    await close(m().prod(1), [6, 120]);
    await close(m().argmax(1), [2, 2]);
    await close(m().argmin(), 0);
    await close(
      tn.countNonzero(
        [
          [1, 0],
          [0, 0],
        ],
        0,
      ),
      [1, 0],
    );
    expect(
      await tn
        .any(
          [
            [1, 0],
            [0, 0],
          ],
          1,
        )
        .array(),
    ).toEqual([true, false]);
    expect(
      await tn
        .all(
          [
            [1, 1],
            [0, 1],
          ],
          1,
        )
        .array(),
    ).toEqual([true, false]);
    await close(tn.logSumExp([1000, 1000]), 1000 + Math.log(2), 3);
    await close(tn.logSumExp([-Infinity, -Infinity]), -Infinity);
    await close(tn.median([3, 1, 2, 10]), 2.5);
    await close(
      tn.quantile(
        [
          [1, 2, 3],
          [4, 5, 9],
        ],
        0.25,
        1,
      ),
      [1.5, 4.5],
    );
    await close(tn.average([1, 2, 3], 0, [3, 0, 1]), 1.5);
    await close(tn.ptp([1, 5, 2]), 4);
    expect(tn.sum(tensor([true, true])).dtype).toBe('i32');
    expect(tn.mean(tensor([1, 2], 'i32')).dtype).toBe('f32');
    expect(() => m().sum(2)).toThrow(/out of range/);
    expect(() => tn.max(tn.zeros([0]))).toThrow(/nothing to reduce/);
  });
  it('takes norms', async () => {
    await close(tn.norm([3, 4]), 5);
    await close(tn.norm([3, -4], 1), 7);
    await close(tn.norm([3, -4], Infinity), 4);
    await close(tn.norm(m(), 1), 9);
    await close(tn.norm(m(), Infinity), 15);
    await close(tn.norm(m(), 2, 1), [Math.sqrt(14), Math.sqrt(77)]);
    await close(tn.norm([1, 2], 3), 9 ** (1 / 3));
    await close(tn.l2Normalize([3, 4]), [0.6, 0.8]);
    await close(tn.normalize([[3, -1]], -1, 1), [[0.75, -0.25]]);
    const [mean, variance] = m().moments(0);
    await close(mean, [2.5, 3.5, 4.5]);
    await close(variance, [2.25, 2.25, 2.25]);
  });
});

describe('movement', () => {
  it('reshapes, transposes, joins, splits', async () => {
    expect(m().reshape([3, -1]).shape).toEqual([3, 2]);
    expect(() => m().reshape([4, -1])).toThrow(/does not fit/);
    await close(m().transpose(), [
      [1, 4],
      [2, 5],
      [3, 6],
    ]);
    expect(tn.zeros([2, 3, 4]).moveaxis(0, -1).shape).toEqual([3, 4, 2]);
    expect(tn.zeros([2, 3, 4]).swapaxes(0, 2).shape).toEqual([4, 3, 2]);
    expect(m().expandDims([0, -1]).shape).toEqual([1, 2, 3, 1]);
    expect(tn.zeros([1, 2, 1]).squeeze().shape).toEqual([2]);
    expect(() => m().squeeze(0)).toThrow(/extent 2/);
    await close(tn.concatenate([[[1, 2]], [[3, 4]]], 1), [[1, 2, 3, 4]]);
    await close(
      tn.stack(
        [
          [1, 2],
          [3, 4],
        ],
        1,
      ),
      [
        [1, 3],
        [2, 4],
      ],
    );
    const parts = m().split([1], 1);
    await close(parts[0], [[1], [4]]);
    await close(parts[1], [
      [2, 3],
      [5, 6],
    ]);
    await close(m().unstack()[1], [4, 5, 6]);
  });
  it('pads in every mode', async () => {
    const x = tensor([1, 2, 3]);
    await close(x.pad(1, { value: 9 }), [9, 1, 2, 3, 9]);
    await close(x.pad([[2, 1]], { mode: 'reflect' }), [3, 2, 1, 2, 3, 2]);
    await close(x.pad([[2, 1]], { mode: 'symmetric' }), [2, 1, 1, 2, 3, 3]);
    await close(x.pad([[2, 1]], { mode: 'edge' }), [1, 1, 1, 2, 3, 3]);
    await close(x.pad([1, 0], { value: -Infinity }), [-Infinity, 1, 2, 3]);
    await close(x.pad([1, 0], { value: Infinity }), [Infinity, 1, 2, 3]);
    expect(() => x.pad(3, { mode: 'reflect' })).toThrow(/does not fit/);
  });
  it('tiles, repeats, flips, rolls, turns', async () => {
    await close(tn.tile([[1, 2]], [2, 2]), [
      [1, 2, 1, 2],
      [1, 2, 1, 2],
    ]);
    await close(tn.tile([1, 2], 2), [1, 2, 1, 2]);
    await close(tn.repeat([1, 2], 2), [1, 1, 2, 2]);
    await close(m().repeat([1, 2], 0), [
      [1, 2, 3],
      [4, 5, 6],
      [4, 5, 6],
    ]);
    await close(m().flip(1), [
      [3, 2, 1],
      [6, 5, 4],
    ]);
    await close(m().roll(1, 1), [
      [3, 1, 2],
      [6, 4, 5],
    ]);
    await close(m().roll(1), [
      [6, 1, 2],
      [3, 4, 5],
    ]);
    await close(m().rot90(), [
      [3, 6],
      [2, 5],
      [1, 4],
    ]);
    const [x, y] = tn.meshgrid([
      [1, 2, 3],
      [4, 5],
    ]);
    await close(x, [
      [1, 2, 3],
      [1, 2, 3],
    ]);
    await close(y, [
      [4, 4, 4],
      [5, 5, 5],
    ]);
  });
});

describe('indexing', () => {
  const x = () => arange(24).reshape([2, 3, 4]);
  it('slices as Python does', async () => {
    await close(x().get(1, 2, 3), 23);
    await close(x().get('..., -1'), [
      [3, 7, 11],
      [15, 19, 23],
    ]);
    await close(x().get('0, ::-1, 1:3'), [
      [9, 10],
      [5, 6],
      [1, 2],
    ]);
    await close(x().get('1, :, ::-2'), [
      [15, 13],
      [19, 17],
      [23, 21],
    ]);
    expect(x().get(null, '...', 0).shape).toEqual([1, 2, 3]);
    expect(x().get('5:').shape).toEqual([0, 3, 4]);
    await close(x().get(0, [2, 0], 1), [9, 1]);
    await close(x().slice([0, 1, 1], [1, -1, 2]), [
      [
        [5, 6],
        [9, 10],
      ],
    ]);
    await close(x().slice('1', '0', '1:3'), [13, 14]);
    expect(() => x().get(2)).toThrow(/out of range/);
    expect(() => x().get(0, 0, 0, 0)).toThrow(/4 indices/);
    expect(() => x().get('::0')).toThrow(/step 0/);
  });
  it('gathers and scatters', async () => {
    await close(m().take([2, -1, 0], 1), [
      [3, 3, 1],
      [6, 6, 4],
    ]);
    await close(m().take(tensor([1], 'i32'), 0), [[4, 5, 6]]);
    await close(m().takeAlongAxis(tensor([[0], [2]], 'i32'), 1), [[1], [6]]);
    await close(
      tn.gatherNd(
        m(),
        tensor(
          [
            [0, 1],
            [1, 2],
          ],
          'i32',
        ),
      ),
      [2, 6],
    );
    await close(tn.scatter(tensor([[0], [2], [0]], 'i32'), [1, 2, 3], [4]), [4, 0, 2, 0]);
    await close(tn.segmentSum([1, 2, 3], tensor([1, 1, 0], 'i32'), 3), [3, 3, 0]);
    await close(tn.oneHot(tensor([0, 2, 5], 'i32'), 3), [
      [1, 0, 0],
      [0, 0, 1],
      [0, 0, 0],
    ]);
    await close(tn.multiHot(tensor([[0, 2]], 'i32'), 3), [[1, 0, 1]]);
    await close(tn.sliceUpdate([1, 2, 3], [tensor(1, 'i32')], [9]), [1, 9, 3]);
    await close(
      tn.putRows(
        [
          [1, 2],
          [3, 4],
          [5, 6],
        ],
        [
          [7, 8],
          [0, 0],
          [9, 9],
        ],
        [2, 3, 2],
      ),
      [
        [1, 2],
        [3, 4],
        [9, 9],
      ],
    );
    await close(tensor([1, 2, 3]).putRows([9], tensor([-1], 'i32')), [1, 2, 3]);
    await close(tn.dynamicSlice([1, 2, 3], [tensor(1, 'i32')], [2]), [2, 3]);
    expect(() => m().take(tensor([0.5]))).toThrow(/integer/);
  });
  it('takes slices at indices out of range as the mode says', async () => {
    const x = [10, 20, 30];
    const at = [-4, -3, -1, 0, 2, 3, 7];
    const nan = Number.NaN;
    // Lists are put right on the host, tensors in the graph.
    for (const i of [at, tensor(at, 'i32'), Int32Array.from(at), tensor(at, 'i8')]) {
      expect(await tn.take(x, i).data()).toEqual(Float32Array.of(nan, 10, 30, 10, 30, nan, nan));
      // numpy.take(x, at, mode='clip') and mode='wrap'
      await close(tn.take(x, i, 0, { mode: 'clip' }), [10, 10, 10, 10, 30, 30, 30]);
      await close(tn.take(x, i, 0, { mode: 'wrap' }), [30, 10, 30, 10, 30, 10, 20]);
      await close(tn.take(tensor(x, 'i32'), i), [10, 10, 30, 10, 30, 30, 30]);
    }
    expect(
      await m()
        .take([[3, 0]], 1)
        .array(),
    ).toEqual([[[nan, 1]], [[nan, 4]]]);
    expect(
      await m()
        .take(tensor([2, 1], 'u8'), 0)
        .array(),
    ).toEqual([
      [nan, nan, nan],
      [4, 5, 6],
    ]);
    expect(await m().cast('bf16').take([9, 0]).array()).toEqual([nan, 1]);
    expect(() => tn.take(x, at, 0, { mode: 'raise' as 'fill' })).toThrow(
      "take: unknown mode \"raise\". Expected 'fill', 'clip' or 'wrap'.",
    );
  });
  it('takes triangles and diagonals', async () => {
    await close(m().tril(), [
      [1, 0, 0],
      [4, 5, 0],
    ]);
    await close(m().triu(1), [
      [0, 2, 3],
      [0, 0, 6],
    ]);
    await close(m().diagonal(), [1, 5]);
    await close(m().diagonal(1), [2, 6]);
    await close(m().diagonal(-1), [4]);
    await close(tn.diag([1, 2], -1), [
      [0, 0, 0],
      [1, 0, 0],
      [0, 2, 0],
    ]);
    await close(m().trace(), 6);
    await close(m().diff(), [
      [1, 1],
      [1, 1],
    ]);
    await close(tn.searchSorted([1, 3, 5], [3, 4]), [1, 2]);
    await close(tn.bincount(tensor([0, 2, 2], 'i32'), 3), [1, 0, 2]);
  });
});

describe('products', () => {
  it('multiplies matrices by NumPy rules', async () => {
    await close(m().matmul([[1], [1], [1]]), [[6], [15]]);
    await close(m().matmul([1, 0, 1]), [4, 10]);
    await close(tn.matmul([1, 1], m()), [5, 7, 9]);
    expect(tn.matmul(tn.zeros([5, 1, 2, 3]), tn.zeros([4, 3, 6])).shape).toEqual([5, 4, 2, 6]);
    expect(tn.matmul(tn.zeros([3]), tn.zeros([4, 3, 6])).shape).toEqual([4, 6]);
    expect(() => m().matmul(m())).toThrow(/do not chain/);
    await close(tn.dot([1, 2], [3, 4]), 11);
    await close(tn.inner(m(), [1, 1, 1]), [6, 15]);
    await close(tn.vdot(m(), m()), 91);
    await close(
      tn.tensordot(m(), m(), [
        [0, 1],
        [0, 1],
      ]),
      91,
    );
    await close(tn.cross([1, 0, 0], [0, 1, 0]), [0, 0, 1]);
  });
  it('convolves', async () => {
    const x = arange(1, 10).reshape([1, 3, 3, 1]);
    await close(tn.conv(x, tn.ones([2, 2, 1, 1])).reshape([-1]), [12, 16, 24, 28]);
    await close(tn.conv(x, tn.ones([3, 3, 1, 1]), { padding: 'same' }).reshape([-1]), [12, 21, 16, 27, 45, 33, 24, 39, 28]);
    await close(tn.conv(x, tn.ones([2, 2, 1, 1]), { padding: 'same', strides: 2 }).reshape([-1]), [12, 9, 15, 9]);
    await close(tn.conv(x, tn.ones([2, 2, 1, 1]), { dilationRate: 2 }).reshape([-1]), [20]);
    // Two groups: the first filter sees the first channel only.
    const two = tensor([
      [
        [1, 10],
        [2, 20],
      ],
    ]).reshape([1, 2, 2]);
    await close(tn.conv(two, tensor([[[3, 5]]]).reshape([1, 1, 2])), [
      [
        [3, 50],
        [6, 100],
      ],
    ]);
    await close(
      tn.depthwiseConv(
        two,
        tensor([
          [
            [1, 2],
            [3, 4],
          ],
        ]).reshape([1, 2, 2]),
      ),
      [
        [
          [1, 2, 30, 40],
          [2, 4, 60, 80],
        ],
      ],
    );
    await close(tn.separableConv(two, tn.ones([1, 2, 1]), tn.ones([1, 2, 1])), [[[11], [22]]]);
    expect(() => tn.conv(x, tn.ones([4, 4, 1, 1]))).toThrow(/does not fit/);
    expect(() => tn.conv(x, tn.ones([2, 2, 3, 1]))).toThrow(/channels/);
  });
  it('transposes convolutions with the extents of Keras', async () => {
    const x = tensor([1, 2]).reshape([1, 2, 1]);
    const k = tensor([1, 10, 100]).reshape([3, 1, 1]);
    await close(tn.convTranspose(x, k, { strides: 2 }).reshape([-1]), [1, 10, 102, 20, 200]);
    // TensorFlow's conv1d_transpose with padding SAME, stride 2: pad_total = 1, low 0.
    await close(tn.convTranspose(x, k, { strides: 2, padding: 'same' }).reshape([-1]), [1, 10, 102, 20]);
    await close(tn.convTranspose(x, k, { padding: 'same' }).reshape([-1]), [12, 120]);
    expect(tn.convTranspose(x, k, { strides: 2, padding: 'same', outputPadding: 1 }).shape).toEqual([1, 4, 1]);
    expect(tn.convTranspose(x, tn.ones([1, 1, 1]), { strides: 3 }).shape).toEqual([1, 6, 1]);
  });
  it('pools', async () => {
    const x = arange(1, 10).reshape([1, 3, 3, 1]);
    await close(tn.maxPool(x, 2).reshape([-1]), [5]);
    await close(tn.maxPool(x, 2, { strides: 1 }).reshape([-1]), [5, 6, 8, 9]);
    await close(tn.averagePool(x, 2, { padding: 'same' }).reshape([-1]), [3, 4.5, 7.5, 9]);
    await close(tn.upSample(tensor([1, 2]).reshape([1, 2, 1, 1]), [2, 2]).reshape([-1]), [1, 1, 1, 1, 2, 2, 2, 2]);
  });
});

describe('scans and sorting', () => {
  it('runs along an axis', async () => {
    await close(m().cumsum(1), [
      [1, 3, 6],
      [4, 9, 15],
    ]);
    await close(m().cumsum(), [1, 3, 6, 10, 15, 21]);
    await close(tn.cumsum([1, 2, 3], 0, { reverse: true, exclusive: true }), [5, 3, 0]);
    await close(tn.cumprod([1, 2, 3]), [1, 2, 6]);
    await close(tn.cummax([1, 3, 2]), [1, 3, 3]);
    await close(tn.cummin([2, 3, 1]), [2, 2, 1]);
    await close(tn.sort([3, 1, 2]), [1, 2, 3]);
    await close(tn.argsort([3, 1, 2], -1, { descending: true }), [0, 2, 1]);
    const { values, indices } = tn.topK([1, 5, 3], 2);
    await close(values, [5, 3]);
    await close(indices, [1, 2]);
    expect(() => tn.topK([1], 2)).toThrow(/k is 2/);
    expect(
      await tn
        .inTopK(
          tensor([0, 1], 'i32'),
          [
            [1, 2, 3],
            [1, 2, 3],
          ],
          2,
        )
        .array(),
    ).toEqual([false, true]);
  });
});

describe('softmax, losses, normalizations', () => {
  it('is safe at the edges', async () => {
    await close(tn.softmax([1000, 1000]), [0.5, 0.5]);
    await close(tn.logSoftmax([0, 0]), [-Math.LN2, -Math.LN2]);
    await close(
      tn.sparseCrossEntropyFromLogits(
        [
          [0, 0],
          [100, 0],
        ],
        tensor([0, 1], 'i32'),
      ),
      [Math.LN2, 100],
      4,
    );
    await close(tn.sparseCrossEntropyFromLogits([[0, 0]], tensor([[1]], 'u8')), [Math.LN2]);
    await close(tn.crossEntropyFromLogits([[0, 0]], [[0.5, 0.5]]), [Math.LN2]);
    await close(tn.binaryCrossEntropyFromLogits([0, 100, -100], [1, 1, 0]), [Math.LN2, 0, 0]);
  });
  it('normalizes', async () => {
    await close(tn.layerNormalization([[1, 3]], -1, { epsilon: 0 }), [[-1, 1]]);
    await close(tn.rmsNormalization([[3, 4]], -1, { epsilon: 0, scale: [1, 2] }), [[3 / Math.sqrt(12.5), 8 / Math.sqrt(12.5)]]);
    await close(tn.batchNormalization([[1, 2]], [1, 1], [4, 4], -1, { epsilon: 0, scale: [1, 2], offset: [0, 1] }), [[0, 2]]);
  });
  it('attends', async () => {
    const q = tn.zeros([1, 2, 1, 4]);
    const v = tensor([[1], [3]]).reshape([1, 2, 1, 1]);
    await close(tn.dotProductAttention(q, q, v).reshape([-1]), [2, 2]);
    await close(tn.dotProductAttention(q, q, v, { isCausal: true }).reshape([-1]), [1, 2]);
  });
});

describe('activations', () => {
  const at = (f: (x: tn.TensorLike) => tn.Tensor, x: number[]) => f(tensor(x));
  it('has the values of Keras', async () => {
    await close(at(tn.relu, [-1, 2]), [0, 2]);
    await close(at(tn.relu6, [-1, 7]), [0, 6]);
    await close(tn.leakyRelu([-1, 2]), [-0.2, 2]);
    await close(tn.elu([-1, 1000]), [Math.expm1(-1), 1000]);
    await close(at(tn.selu, [-1, 1]), [-1.1113307, 1.050701]);
    await close(tn.celu([-1], 2), [2 * Math.expm1(-0.5)]);
    await close(at(tn.softplus, [-1000, 0, 1000]), [0, Math.LN2, 1000]);
    await close(at(tn.logSigmoid, [-1000, 0]), [-1000, -Math.LN2]);
    await close(tn.gelu([1]), [0.8413447]);
    await close(tn.gelu([1], true), [0.841192]);
    await close(at(tn.silu, [1]), [0.7310586]);
    await close(at(tn.mish, [1]), [0.8650984]);
    await close(at(tn.hardSigmoid, [-4, 0, 4]), [0, 0.5, 1]);
    await close(at(tn.hardSilu, [-4, 1, 4]), [0, 2 / 3, 4]);
    await close(at(tn.hardTanh, [-4, 0.5]), [-1, 0.5]);
    await close(at(tn.softsign, [1]), [0.5]);
    await close(tn.hardShrink([0.4, -1]), [0, -1]);
    await close(tn.softShrink([0.4, -1]), [0, -0.5]);
    await close(at(tn.tanhShrink, [1]), [1 - Math.tanh(1)]);
    await close(tn.threshold([1, 3], 2, 7), [7, 3]);
    await close(tn.squareplus([0]), [1]);
    await close(tn.glu([1, 2, 0, 0]), [0.5, 1]);
    await close(tn.sparsemax([1, 0.5, -1]), [0.75, 0.25, 0]);
  });
});

describe('printing', () => {
  it('prints like NumPy', async () => {
    const t = m();
    await t.data();
    expect(t.toString()).toBe('Tensor(shape=[2, 3], dtype=f32,\n[[1. 2. 3.]\n [4. 5. 6.]])');
    expect(inspect({ t })).toContain('[[1. 2. 3.]');
    expect(`${tensor([1, 2.5])} ${tensor(3)} ${tensor(true)}`).toBe(
      'Tensor(shape=[2], dtype=f32,\n[1.0 2.5]) Tensor(shape=[], dtype=f32, 3.) Tensor(shape=[], dtype=bool, true)',
    );
    const lazy = tn.add(t, 1).get('0');
    expect(String(lazy)).toBe('Tensor(shape=[3], dtype=f32, values after `await t.data()` or with `await t.print()`)');
    expect(inspect(lazy)).toBe(String(lazy));
    await lazy.data();
    expect(String(lazy)).toBe('Tensor(shape=[3], dtype=f32,\n[2. 3. 4.])');
    let inside = '';
    tn.grad((x) => {
      const y = x.square().sum();
      inside = String(y);
      return y;
    })(t);
    expect(inside).toBe('Tensor(shape=[], dtype=f32, being traced)');
    lazy.dispose();
    expect(String(lazy)).toBe('Tensor(disposed)');
    expect(tn.formatTensor(new Float32Array([0.5, -10.25]), [2], 'f32')).toBe('[  0.50 -10.25]');
    expect(tn.formatTensor(new Uint8Array([1, 0]), [2], 'bool')).toBe('[ true false]');
    expect(tn.formatTensor(new Float32Array(2000), [2000], 'f32')).toBe('[0. 0. 0. ... 0. 0. 0.]');
    expect(tn.formatTensor(new Float32Array([1e-7, 1]), [2], 'f32')).toBe('[1.0000e-7 1.0000e+0]');
  });
});
