/** @file Gradients of composites by finite differences; nesting, Variables, custom rules. */
import { describe, expect, it } from 'vitest';
import * as tn from '../../src/tensor/index.js';

const point = [0.31, -0.72, 1.24, 0.53, -1.37, 0.88];
const weights = tn.tensor([0.7, -1.1, 0.4, 1.3, -0.6, 0.9]);

/** Compares the gradient of Σ w·f(x) with central differences in f32. */
async function check(f: (x: tn.Tensor) => tn.Tensor, at = point, shape = [2, 3]): Promise<void> {
  const loss = (x: tn.Tensor) => {
    const y = f(x);
    const w = weights.get(`:${Math.min(6, y.size)}`);
    return y
      .ravel()
      .get(`:${Math.min(6, y.size)}`)
      .mul(w)
      .sum();
  };
  const g = await tn.grad(loss)(tn.tensor(at).reshape(shape)).data();
  const h = 1e-2;
  for (let i = 0; i < at.length; i++) {
    const value = async (d: number) => loss(tn.tensor(at.map((v, k) => (k === i ? v + d : v))).reshape(shape)).item();
    const slope = ((await value(h)) - (await value(-h))) / (2 * h);
    expect(Math.abs(g[i] - slope), `element ${i}: ${g[i]} against ${slope}`).toBeLessThan(5e-3 * Math.max(1, Math.abs(slope)));
  }
}

const functions: Record<string, (x: tn.Tensor) => tn.Tensor> = {
  softmax: (x) => tn.softmax(x),
  logSoftmax: (x) => tn.logSoftmax(x, 0),
  logSumExp: (x) => tn.logSumExp(x, 1),
  variance: (x) => x.variance(1),
  std: (x) => x.std(0),
  norm: (x) => x.norm(2, 1),
  norm3: (x) => x.norm(3, 0),
  l2Normalize: (x) => tn.l2Normalize(x),
  layerNormalization: (x) => tn.layerNormalization(x, -1, { scale: [1, 2, 3], offset: [0, 1, 2] }),
  rmsNormalization: (x) => tn.rmsNormalization(x),
  sparseCrossEntropy: (x) => tn.sparseCrossEntropyFromLogits(x, tn.tensor([2, 0], 'i32')),
  crossEntropy: (x) =>
    tn.crossEntropyFromLogits(x, [
      [0.2, 0.3, 0.5],
      [1, 0, 0],
    ]),
  binaryCrossEntropy: (x) =>
    tn.binaryCrossEntropyFromLogits(x, [
      [1, 0, 1],
      [0, 0.5, 1],
    ]),
  gelu: (x) => tn.gelu(x),
  geluTanh: (x) => tn.gelu(x, true),
  silu: tn.silu,
  mish: tn.mish,
  elu: (x) => tn.elu(x),
  selu: tn.selu,
  celu: (x) => tn.celu(x, 0.5),
  softplus: tn.softplus,
  logSigmoid: tn.logSigmoid,
  softsign: tn.softsign,
  hardSilu: tn.hardSilu,
  squareplus: (x) => tn.squareplus(x),
  glu: (x) => tn.glu(x, 0),
  sparsemax: (x) => tn.sparsemax(x),
  sinh: (x) => x.sinh(),
  asinh: (x) => x.asinh(),
  atan: (x) => x.atan(),
  tan: (x) => x.mul(0.5).tan(),
  logAddExp: (x) => x.logAddExp(x.flip(0).mul(0.5)),
  power: (x) => x.abs().pow(x.flip(1)),
  cumsum: (x) => x.cumsum(1),
  cumprod: (x) => x.cumprod(1),
  sort: (x) => x.sort(),
  topK: (x) => x.topK(2).values,
  take: (x) => x.take([1, 1, 0], 1),
  takeAlongAxis: (x) => x.takeAlongAxis(tn.tensor([[1], [2]], 'i32'), 1),
  get: (x) => x.get('::-1, 1:'),
  pad: (x) =>
    x.pad(
      [
        [0, 1],
        [1, 2],
      ],
      { mode: 'reflect' },
    ),
  tile: (x) => x.tile([2, 1]),
  repeat: (x) => x.repeat(2, 1),
  roll: (x) => x.roll(1, 1),
  concatenate: (x) => tn.concatenate([x, x.square()], 1),
  stack: (x) => tn.stack([x.exp(), x], 0),
  where: (x) => tn.where(x.greater(0), x.square(), x.mul(3)),
  maximum: (x) => x.maximum([[0.5, 0.5, 0.5]]),
  matmul: (x) => x.matmul(x.transpose()),
  outer: (x) => tn.outer(x, x),
  prod: (x) => x.prod(1),
  quantile: (x) => tn.quantile(x, 0.4, 1),
  diag: (x) => tn.diag(x.ravel()).get(':, 0').add(x.ravel()),
  tril: (x) => x.tril(),
};

describe('gradients of composites', () => {
  it.each(Object.entries(functions))('%s', async (_, f) => check(f));
  it.each([
    ['conv same strided', (x: tn.Tensor) => tn.conv(x, tn.arange(8).sub(3).reshape([2, 2, 1, 2]), { padding: 'same', strides: 2 })],
    ['conv dilated', (x: tn.Tensor) => tn.conv(x, tn.arange(4).sub(1.5).reshape([2, 2, 1, 1]), { dilationRate: [1, 2] })],
    ['convTranspose', (x: tn.Tensor) => tn.convTranspose(x, tn.arange(9).sub(3.5).reshape([3, 3, 1, 1]), { strides: 2, padding: 'same' })],
    ['depthwiseConv', (x: tn.Tensor) => tn.depthwiseConv(x, tn.arange(8).sub(3).reshape([2, 2, 1, 2]), { padding: 'same' })],
    ['maxPool', (x: tn.Tensor) => tn.maxPool(x, 2, { strides: 1 })],
    ['averagePool', (x: tn.Tensor) => tn.averagePool(x, 2, { padding: 'same' })],
  ] as const)('%s', async (_, f) => check(f, point, [1, 2, 3, 1]));
});

describe('grad', () => {
  it('takes argnums, nests, and ignores what it closes over', async () => {
    const x = tn.tensor(2);
    const z = x.mul(10);
    expect(
      await tn
        .grad((a) => a.mul(z))(x)
        .item(),
    ).toBe(20);
    const [ga, gb] = tn.grad((a, b) => a.mul(b.square()), [0, 1])(3, 4);
    expect(await ga.item()).toBe(16);
    expect(await gb.item()).toBe(24);
    const third = tn.grad(tn.grad(tn.grad((a) => a.pow(4))));
    expect(await third(2).item()).toBe(48);
    expect(
      await tn
        .grad((a) => tn.stopGradient(a).mul(a))(5)
        .item(),
    ).toBe(5);
    expect(
      await tn
        .grad((a) => tn.relu(a))(0)
        .item(),
    ).toBe(0);
  });
  it('gives Hessian-vector products', async () => {
    const f = (x: tn.Tensor) => x.pow(3).sum();
    const hvp = tn.grad((x) => tn.grad(f)(x).mul([1, 0, 2]).sum());
    expect(await hvp([1, 2, 3]).array()).toEqual([6, 0, 36]);
  });
  it('finds Variables whose value is still to be filled in, each by itself', async () => {
    const [a, b, c] = [tn.variable(tn.zeros([2, 2])), tn.variable(tn.zeros([2, 2])), tn.variable(tn.ones([2]))];
    const x = tn.tensor([
      [1, 2],
      [3, 4],
    ]);
    const { gradients } = tn.valueAndGrad(() => x.matmul(a.read().transpose()).add(x.mul(c)).add(x.mul(10).matmul(b)).sum(), [a, b, c]);
    expect(await gradients[0].array()).toEqual([
      [4, 6],
      [4, 6],
    ]);
    expect(await gradients[1].array()).toEqual([
      [40, 40],
      [60, 60],
    ]);
    expect(await gradients[2].array()).toEqual([4, 6]);
    expect(await a.array()).toEqual([
      [0, 0],
      [0, 0],
    ]);
  });
  it('gives values with gradients, by arguments and by Variables', async () => {
    const [value, g] = tn.valueAndGrad((x) => x.square().sum())([1, 2]);
    expect(await value.item()).toBe(5);
    expect(await g.array()).toEqual([2, 4]);
    const w = tn.variable([1, 2]);
    const b = tn.variable(0.5);
    const r = tn.valueAndGrad(() => w.read().mul([3, 4]).sum().add(b).square(), [w, b]);
    expect(await r.value.item()).toBe(132.25);
    expect(await r.gradients[0].array()).toEqual([69, 92]);
    expect(await r.gradients[1].item()).toBe(23);
    const aux = tn.valueAndGrad(() => [tn.toTensor(w).sum(), 'more'] as const, [w]);
    expect(aux.aux).toBe('more');
  });
  it('of take leaves out what is out of range', async () => {
    const at = tn.tensor([0, 5, 0, -1, -9], 'i32');
    const [value, g] = tn.valueAndGrad((x) => x.take(at, 0).mul([1, 2, 3, 4, 5]).sum())([1, 2, 3]);
    expect(await value.item()).toBeNaN();
    expect(await g.array()).toEqual([4, 0, 4]);
    const clipped = tn.grad((x) => x.take(at, 0, { mode: 'clip' }).mul([1, 2, 3, 4, 5]).sum())([1, 2, 3]);
    expect(await clipped.array()).toEqual([13, 0, 2]);
  });
  it('pulls back', async () => {
    const [y, pull] = tn.vjp((a, b) => a.matmul(b), [[1, 2]], [[3], [4]]);
    expect(await y.array()).toEqual([[11]]);
    const [ga, gb] = pull([[2]]);
    expect(await ga.array()).toEqual([[6, 8]]);
    expect(await gb.array()).toEqual([[2], [4]]);
  });
  it('follows custom rules', async () => {
    const clipped = tn.customGradient((x: tn.Tensor) => ({ value: x.square(), grad: (dy) => [dy.mul(100)] }));
    expect(
      await tn
        .grad((x) => clipped(x).mul(2))(3)
        .item(),
    ).toBe(200);
  });
  it('names what is wrong', () => {
    expect(() => tn.grad((x) => x)([1, 2])).toThrow(/Expected a scalar/);
    expect(() => tn.grad((x) => x.sum())(tn.tensor([1], 'i32'))).toThrow(/dtype i32/);
    expect(() => tn.grad((x) => x.sum(), 1)([1])).toThrow(/argnum 1/);
  });
});
