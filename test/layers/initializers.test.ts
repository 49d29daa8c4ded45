/** @file Initializers (ranges, moments, seeds), regularizers and constraints, by hand. */
import { describe, expect, it } from 'vitest';
import { constraints, getConstraint } from '../../src/layers/constraints.js';
import * as layers from '../../src/layers/index.js';
import { computeFans, getInitializer, type InitializerLike, initializers } from '../../src/layers/initializers.js';
import { deserialize, serialize } from '../../src/layers/registry.js';
import { getRegularizer, regularizers } from '../../src/layers/regularizers.js';
import { setRandomSeed, type Tensor, tensor } from '../../src/tensor/index.js';

const make = async (id: InitializerLike, shape: number[]): Promise<Float32Array> =>
  Float32Array.from(await getInitializer(id).call(shape, 'f32').data());
const moments = (x: Float32Array): { mean: number; std: number; max: number } => {
  const mean = x.reduce((s, v) => s + v, 0) / x.length;
  return { mean, std: Math.sqrt(x.reduce((s, v) => s + (v - mean) ** 2, 0) / x.length), max: Math.max(...x.map(Math.abs)) };
};

describe('initializers', () => {
  it('count fans as Keras', () => {
    expect(computeFans([])).toEqual([1, 1]);
    expect(computeFans([5])).toEqual([5, 5]);
    expect(computeFans([5, 7])).toEqual([5, 7]);
    expect(computeFans([3, 3, 4, 8])).toEqual([36, 72]);
  });
  // Standard deviation and largest value for a [100, 200] weight.
  const fan = { in: 100, out: 200, avg: 150 };
  const scaled: [string, number, number][] = [
    ['glorotUniform', Math.sqrt(1 / fan.avg), Math.sqrt(3 / fan.avg)],
    ['glorot_normal', Math.sqrt(1 / fan.avg), (2 * Math.sqrt(1 / fan.avg)) / 0.8796],
    ['heUniform', Math.sqrt(2 / fan.in), Math.sqrt(6 / fan.in)],
    ['HeNormal', Math.sqrt(2 / fan.in), (2 * Math.sqrt(2 / fan.in)) / 0.8796],
    ['lecun_uniform', Math.sqrt(1 / fan.in), Math.sqrt(3 / fan.in)],
    ['lecunNormal', Math.sqrt(1 / fan.in), (2 * Math.sqrt(1 / fan.in)) / 0.8796],
    ['randomUniform', 0.1 / Math.sqrt(12), 0.05],
    ['uniform', 0.1 / Math.sqrt(12), 0.05],
    ['truncatedNormal', 0.05 * 0.8796, 0.1],
  ];
  for (const [name, std, max] of scaled)
    it(`${name} has its spread and range`, async () => {
      setRandomSeed(1);
      const m = moments(await make(name, [100, 200]));
      expect(Math.abs(m.mean)).toBeLessThan(std / 20);
      expect(m.std / std).toBeCloseTo(1, 1);
      expect(m.max).toBeLessThanOrEqual(max * 1.0001);
      expect(m.max).toBeGreaterThan(max * 0.97);
    });
  it('randomNormal is not cut off', async () => {
    setRandomSeed(1);
    const m = moments(await make('randomNormal', [100, 200]));
    expect(m.std).toBeCloseTo(0.05, 2);
    expect(m.max).toBeGreaterThan(0.15);
  });
  it('orthogonal has orthonormal columns or rows', async () => {
    for (const shape of [
      [6, 4],
      [4, 6],
      [2, 2, 3, 5],
    ]) {
      const w = getInitializer(initializers.orthogonal({ gain: 2, seed: 3 })).call(shape, 'f32');
      const flat = w.reshape([-1, shape[shape.length - 1]]);
      const narrow: Tensor = flat.shape[0] >= flat.shape[1] ? flat.transpose().matmul(flat) : flat.matmul(flat.transpose());
      const product = (await narrow.array()) as number[][];
      product.forEach((row, i) => {
        for (const [j, v] of row.entries()) expect(v).toBeCloseTo(i === j ? 4 : 0, 4);
      });
    }
  });
  it('take constants, identities, values and functions', async () => {
    expect([...(await make(initializers.constant(3), [2]))]).toEqual([3, 3]);
    expect([...(await make('identity', [2, 2]))]).toEqual([1, 0, 0, 1]);
    expect([...(await make([[1, 2]], [1, 2]))]).toEqual([1, 2]);
    expect([...(await make(Float32Array.of(1, 2, 3, 4), [2, 2]))]).toEqual([1, 2, 3, 4]);
    expect([...(await make((shape) => tensor(new Float32Array(shape[0]).fill(7)), [2]))]).toEqual([7, 7]);
    await expect(make([[1, 2]], [3, 2])).rejects.toThrow('the given values have shape [1, 2]. Expected [3, 2].');
  });
  it('repeat with the seed and differ without', async () => {
    const weight = async (): Promise<unknown> => {
      const layer = layers.dense({ units: 2 });
      layer.build([null, 2]);
      return layer.weights[0].array();
    };
    setRandomSeed(7);
    const first = [await weight(), await weight()];
    setRandomSeed(7);
    expect([await weight(), await weight()]).toEqual(first);
    expect(first[0]).not.toEqual(first[1]);
    setRandomSeed(8);
    expect(await weight()).not.toEqual(first[0]);
    expect(await make(initializers.heNormal({ seed: 1 }), [3])).toEqual(await make(initializers.heNormal({ seed: 1 }), [3]));
  });
  it('survive a config', async () => {
    for (const i of [
      initializers.varianceScaling({ scale: 2, mode: 'fanOut', distribution: 'uniform', seed: 4 }),
      initializers.heNormal({ seed: 2 }),
      initializers.values([[1, 2]]),
    ]) {
      const copy = getInitializer(JSON.parse(JSON.stringify(serialize(i))));
      expect(await copy.call([1, 2], 'f32').array()).toEqual(await i.call([1, 2], 'f32').array());
    }
  });
});

describe('regularizers', () => {
  const x = tensor([
    [1, -2],
    [3, 0],
  ]);
  const value = async (id: Parameters<typeof getRegularizer>[0]): Promise<number> =>
    (await getRegularizer(id)?.call(x).item()) ?? Number.NaN;
  it('are what they say', async () => {
    expect(await value('l1')).toBeCloseTo(0.06);
    expect(await value('l2')).toBeCloseTo(0.14);
    expect(await value('l1_l2')).toBeCloseTo(0.2);
    expect(await value(regularizers.l1l2({ l1: 1, l2: 2 }))).toBeCloseTo(34);
    expect(await value(regularizers.l1l2({}))).toBe(0);
    expect(await value(regularizers.l2(0.5))).toBeCloseTo(7);
    expect(await value((t) => t.sum())).toBe(2);
    // Cosine of the rows [1, −2] and [3, 0].
    expect(await value('orthogonal')).toBeCloseTo(0.01 / Math.sqrt(5), 5);
    expect(getRegularizer(null)).toBeNull();
  });
  it('survive a config', () => {
    for (const r of [regularizers.l1(0.3), regularizers.l2(), regularizers.l1l2(), regularizers.orthogonal({ mode: 'columns' })])
      expect(deserialize(JSON.parse(JSON.stringify(serialize(r))))).toEqual(r);
  });
});

describe('constraints', () => {
  const w = tensor([
    [3, -0.3],
    [4, 0.4],
  ]);
  const close = async (t: Tensor | undefined, wanted: number[]): Promise<void> => {
    const data = await t?.data();
    wanted.forEach((v, i) => void expect(data?.[i]).toBeCloseTo(v, 4));
  };
  it('move weights to where they belong', async () => {
    await close(getConstraint('maxNorm')?.call(w), [1.2, -0.3, 1.6, 0.4]);
    await close(getConstraint('unit_norm')?.call(w), [0.6, -0.6, 0.8, 0.8]);
    await close(getConstraint('nonNeg')?.call(w), [3, 0, 4, 0.4]);
    await close(constraints.minMaxNorm({ minValue: 1, maxValue: 2 }).call(w), [1.2, -0.6, 1.6, 0.8]);
    await close(constraints.minMaxNorm({ minValue: 1, maxValue: 2, rate: 0.5 }).call(w), [2.1, -0.45, 2.8, 0.6]);
    await close(constraints.maxNorm({ axis: 1, maxValue: 1 }).call(w), [0.995037, -0.0995037, 0.995037, 0.0995037]);
  });
  it('survive a config', () => {
    for (const c of [
      constraints.maxNorm({ axis: [0, 1] }),
      constraints.minMaxNorm({ rate: 0.1 }),
      constraints.nonNeg(),
      constraints.unitNorm(),
    ])
      expect(deserialize(JSON.parse(JSON.stringify(serialize(c))))).toEqual(c);
  });
});
