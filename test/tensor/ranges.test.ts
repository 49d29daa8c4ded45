/** @file Elementwise functions at the ends of f32's range and gradients at kinks, against mpmath's values and PyTorch's choices. */
import { describe, expect, it } from 'vitest';
import * as tn from '../../src/tensor/index.js';

type Fn = (x: tn.Tensor) => tn.Tensor;
async function near(t: tn.Tensor, expected: readonly number[], relative = 2e-6): Promise<void> {
  const data = [...(await t.data())];
  expect(data.length).toBe(expected.length);
  data.forEach((x, i) => {
    if (!Number.isFinite(expected[i]) || expected[i] === 0) expect(x, `element ${i}`).toBe(expected[i]);
    else expect(Math.abs(x / expected[i] - 1), `element ${i}: ${x} against ${expected[i]}`).toBeLessThan(relative);
  });
}
const slopes = (f: Fn, at: readonly number[]): tn.Tensor => tn.grad((x) => f(x).sum())(tn.tensor(at));

describe('hyperbolic functions far out', () => {
  const f32 = Math.fround;
  it('sinh and cosh are finite up to 89.4 and infinite beyond', async () => {
    const at = [-1000, -89, -20, -10, -8, -1e-6, 0, 1e-6, 0.5, 9.99, 10, 20, 89, 89.4, 90, Infinity];
    const toF32 = (y: number) => (Math.abs(y) > 3.4028235e38 ? Math.sign(y) * Infinity : y);
    await near(
      tn.sinh(at),
      at.map((x) => toF32(Math.sinh(f32(x)))),
    );
    await near(
      tn.cosh(at),
      at.map((x) => toF32(Math.cosh(f32(x)))),
    );
    await near(
      slopes((x) => x.sinh(), [-89, -3, 0, 8, 89]),
      [-89, -3, 0, 8, 89].map(Math.cosh),
    );
    await near(
      slopes((x) => x.cosh(), [-89, 0, 89]),
      [-89, 0, 89].map(Math.sinh),
    );
    expect(await tn.sinh([Number.NaN]).data()).toEqual(new Float32Array([Number.NaN]));
  });
  it('asinh and acosh are logarithms of large numbers', async () => {
    const at = [-1e20, -3000, -2048, -1, -1e-6, 0, 1e-6, 1, 2047, 2048, 1e20, 3e38, Infinity];
    await near(
      tn.asinh(at),
      at.map((x) => Math.asinh(f32(x))),
    );
    await near(tn.asinh(1e20).reshape([1]), [46.7448489]);
    const above = [1, 1.0001, 1.5, 2047, 2048, 1e20, 3e38, Infinity];
    await near(
      tn.acosh(above),
      above.map((x) => Math.acosh(f32(x))),
    );
    expect(await tn.acosh(0.5).item()).toBeNaN();
    await near(
      slopes((x) => x.asinh(), [-1e20, -3, 0, 3, 1e20]),
      [1e-20, 10 ** -0.5, 1, 10 ** -0.5, 1e-20],
    );
    await near(
      slopes((x) => x.acosh(), [2, 1e20]),
      [3 ** -0.5, 1e-20],
    );
  });
});

describe('hypot', () => {
  it('neither overflows nor underflows', async () => {
    await near(tn.hypot([3e20, 1e-25, 0, 3, -5, Infinity, 0], [4e20, 1e-25, 0, 4, 12, 1, -2]), [
      5e20,
      Math.SQRT2 * 1e-25,
      0,
      5,
      13,
      Infinity,
      2,
    ]);
    await near(tn.hypot(tn.tensor([[3], [5]]), [4, 12]).ravel(), [5, Math.hypot(3, 12), Math.hypot(5, 4), 13]);
  });
  it('has finite gradients, 0 at the origin', async () => {
    const [da, db] = tn.grad((a, b) => tn.hypot(a, b).sum(), [0, 1])([3e20, 1e-25, 0, 2], [4e20, 1e-25, 0, -2]);
    await near(da, [0.6, Math.SQRT1_2, 0, Math.SQRT1_2]);
    await near(db, [0.8, Math.SQRT1_2, 0, -Math.SQRT1_2]);
    // d²h/da² = b²/h³: the scale inside takes no part.
    const second = tn.grad((a) =>
      tn
        .grad((c) => tn.hypot(c, 4))(a)
        .sum(),
    );
    await near(second(3).reshape([1]), [16 / 125]);
  });
});

describe('erfc', () => {
  it('keeps its tail', async () => {
    const at = [-3, -1, -0.25, 0, 0.25, 0.5, 1, 2, 3, 5, 8, 9, Infinity, -Infinity];
    const want = [
      1.9999779095, 1.8427007929, 1.2763263902, 1, 0.7236736098, 0.4795001222, 0.1572992071, 0.0046777349810472645, 2.2090496998585441e-5,
      1.5374597944280349e-12, 1.1224297172982928e-29, 4.13703174651381e-37, 0, 2,
    ];
    await near(tn.erfc(at), want);
    expect(await tn.erfc(Number.NaN).item()).toBeNaN();
  });
  it('has the gradient −2/√π·exp(−x²)', async () => {
    const at = [-2, 0, 0.25, 1, 3, 5];
    await near(
      slopes((x) => tn.erfc(x), at),
      at.map((x) => (-2 / Math.sqrt(Math.PI)) * Math.exp(-x * x)),
      1e-5,
    );
    expect(await slopes((x) => tn.erfc(x), [Infinity, -Infinity]).data()).toEqual(new Float32Array([-0, -0]));
  });
});

describe('exp2', () => {
  it('is exact at whole numbers', async () => {
    const at = Array.from({ length: 253 }, (_, i) => i - 125);
    expect([...(await tn.exp2(at).data())]).toEqual(at.map((n) => 2 ** n));
    await near(tn.exp2([0.5, -3.25, 128, -Infinity]), [Math.SQRT2, 2 ** -3.25, Infinity, 0]);
  });
  it('has the gradient ln 2·2ˣ', async () => {
    await near(
      slopes((x) => tn.exp2(x), [-1, 0, 3]),
      [Math.LN2 / 2, Math.LN2, Math.LN2 * 8],
    );
  });
});

describe('roots at 0', () => {
  it('gradients of norms at a zero vector are 0', async () => {
    for (const ord of [null, 2, 3, 1.5] as const) {
      const g = tn.grad((x) => x.norm(ord, 1).sum())([
        [0, 0],
        [3, 4],
      ]);
      const data = [...(await g.data())];
      expect(data.slice(0, 2)).toEqual([0, 0]);
      const p = ord ?? 2;
      const length = (3 ** p + 4 ** p) ** (1 / p);
      await near(g.get(1), [(3 / length) ** (p - 1), (4 / length) ** (p - 1)], 1e-5);
    }
    await near(tn.norm(tn.zeros([2, 2]), 3, 1), [0, 0]);
  });
  it('the gradient of std of equal values is 0', async () => {
    const g = tn.grad((x) => tn.std(x, 1).sum())([
      [2, 2],
      [1, 3],
    ]);
    expect([...(await g.data())]).toEqual([0, 0, -0.5, 0.5]);
    await near(tn.std([7, 7, 7]).reshape([1]), [0]);
  });
});

describe('integers of mixed signs', () => {
  it('u32 with i32 is i32 and wraps', async () => {
    const y = tn.tensor(new Uint32Array([4294967295, 5])).add(new Int32Array([1, -7]));
    expect(y.dtype).toBe('i32');
    expect([...(await y.data())]).toEqual([0, -2]);
  });
});
