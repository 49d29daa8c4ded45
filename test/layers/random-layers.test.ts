/** @file Layers that draw: dropout, noise, augmentation; normalization's adapt; attention's masks. */
import { beforeEach, describe, expect, it } from 'vitest';
import * as layers from '../../src/layers/index.js';
import { arange, jit, ones, random, setRandomSeed, type Tensor, tensor, zeros } from '../../src/tensor/index.js';

beforeEach(() => setRandomSeed(11));
const meanOf = (xs: ArrayLike<number>, f: (v: number) => number): number => Array.from(xs).reduce((s, v) => s + f(v), 0) / xs.length;
const rows = async (t: Tensor): Promise<number[][]> => (await t.array()) as number[][];

describe('dropout', () => {
  it('zeroes its share and scales the rest, in training only', async () => {
    const layer = layers.dropout(0.25);
    const y = await layer.apply(ones([100, 100]), { training: true }).data();
    const kept = y.filter((v) => v !== 0);
    expect(kept.length / y.length).toBeCloseTo(0.75, 1);
    expect(kept.every((v) => Math.abs(v - 4 / 3) < 1e-6)).toBe(true);
    expect(await layer.apply(ones([2, 2])).array()).toEqual([
      [1, 1],
      [1, 1],
    ]);
    expect(
      await layers
        .dropout(1)
        .apply(ones([2]), { training: true })
        .array(),
    ).toEqual([0, 0]);
  });
  it('draws anew at each call of a compiled function, and repeats with the seed', async () => {
    const layer = layers.dropout(0.5);
    const step = jit((x: Tensor) => layer.apply(x, { training: true }));
    const runs = async (): Promise<unknown[]> => [await step(ones([32])).array(), await step(ones([32])).array()];
    const first = await runs();
    expect(first[0]).not.toEqual(first[1]);
    setRandomSeed(11);
    expect(await runs()).toEqual(first);
  });
  it('drops whole channels', async () => {
    const y = await layers
      .spatialDropout2d({ rate: 0.5 })
      .apply(ones([4, 3, 3, 8]), { training: true })
      .reshape([4, 9, 8])
      .data();
    for (let n = 0; n < 4; n++) for (let c = 0; c < 8; c++) for (let i = 1; i < 9; i++) expect(y[(n * 9 + i) * 8 + c]).toBe(y[n * 72 + c]);
    expect(new Set(y).size).toBe(2);
  });
  it('keeps mean and variance with alphaDropout', async () => {
    const x = random.normal([20000], 0, 1, { seed: 1 });
    const y = await layers.alphaDropout({ rate: 0.3 }).apply(x, { training: true }).data();
    expect(Math.abs(meanOf(y, (v) => v))).toBeLessThan(0.05);
    expect(meanOf(y, (v) => v * v)).toBeCloseTo(1, 1);
  });
  it('adds and multiplies noise', async () => {
    const noise = await layers
      .gaussianNoise({ stddev: 2 })
      .apply(zeros([10000]), { training: true })
      .data();
    expect(Math.sqrt(meanOf(noise, (v) => v * v))).toBeCloseTo(2, 1);
    const factor = await layers
      .gaussianDropout({ rate: 0.5 })
      .apply(ones([10000]), { training: true })
      .data();
    expect(meanOf(factor, (v) => v)).toBeCloseTo(1, 1);
    expect(Math.sqrt(meanOf(factor, (v) => (v - 1) ** 2))).toBeCloseTo(1, 1);
  });
});

/** Pictures of one row whose pixels are 1 … w. */
const ramp = (n: number, w: number): Tensor =>
  arange(1, w + 1)
    .reshape([1, 1, w, 1])
    .broadcastTo([n, 1, w, 1]);

describe('randomFlip', () => {
  it('mirrors about half of the pictures, each as a whole', async () => {
    const y = await rows(layers.randomFlip('horizontal').apply(ramp(200, 3), { training: true }).reshape([200, 3]));
    const flipped = y.filter((r) => r.join() === '3,2,1').length;
    expect(y.filter((r) => r.join() === '1,2,3').length).toBe(200 - flipped);
    expect(flipped).toBeGreaterThan(70);
    expect(flipped).toBeLessThan(130);
  });
  it('mirrors up and down by itself', async () => {
    const x = ramp(200, 3).transpose([0, 2, 1, 3]);
    const y = await rows(layers.randomFlip({ mode: 'vertical' }).apply(x, { training: true }).reshape([200, 3]));
    expect(new Set(y.map((r) => r.join()))).toEqual(new Set(['1,2,3', '3,2,1']));
    const both = await rows(
      layers
        .randomFlip({ mode: 'horizontal_and_vertical' })
        .apply(arange(4).reshape([1, 2, 2, 1]).broadcastTo([100, 2, 2, 1]), { training: true })
        .reshape([100, 4]),
    );
    expect(new Set(both.map((r) => r.join())).size).toBe(4);
  });
  it('does nothing outside of training', async () => {
    expect(await layers.randomFlip().apply(ramp(1, 3)).data()).toEqual(Float32Array.of(1, 2, 3));
  });
});

describe('randomTranslation', () => {
  /** Shifted by exactly `pixels` of 4. */
  const shifted = async (pixels: number, options: Partial<layers.RandomTranslationOptions>): Promise<number[]> => {
    const factor: [number, number] = [pixels / 4, pixels / 4];
    const layer = layers.randomTranslation({ heightFactor: 0, widthFactor: factor, ...options });
    return [...(await layer.apply(ramp(1, 4), { training: true }).data())];
  };
  it('fills in all modes', async () => {
    expect(await shifted(1, { fillMode: 'constant', fillValue: 9 })).toEqual([9, 1, 2, 3]);
    expect(await shifted(-1, { fillMode: 'constant' })).toEqual([2, 3, 4, 0]);
    expect(await shifted(2, { fillMode: 'reflect' })).toEqual([2, 1, 1, 2]);
    expect(await shifted(-2, {})).toEqual([3, 4, 4, 3]);
    expect(await shifted(2, { fillMode: 'nearest' })).toEqual([1, 1, 1, 2]);
    expect(await shifted(1, { fillMode: 'wrap' })).toEqual([4, 1, 2, 3]);
    expect(await shifted(-3, { fillMode: 'wrap' })).toEqual([4, 1, 2, 3]);
  });
  it('interpolates between pixels', async () => {
    expect(await shifted(0.5, { fillMode: 'nearest' })).toEqual([1, 1.5, 2.5, 3.5]);
    expect(await shifted(0.5, { fillMode: 'constant' })).toEqual([0.5, 1.5, 2.5, 3.5]);
    expect(await shifted(0.25, { fillMode: 'constant', interpolation: 'nearest' })).toEqual([1, 2, 3, 4]);
  });
  it('shifts down for positive heights, each picture by its own amount', async () => {
    const x = ramp(50, 4).transpose([0, 2, 1, 3]);
    const down = layers.randomTranslation({ heightFactor: [0.25, 0.25], widthFactor: 0, fillMode: 'constant' });
    expect((await rows(down.apply(x, { training: true }).reshape([50, 4])))[7]).toEqual([0, 1, 2, 3]);
    const some = await rows(layers.randomTranslation({ heightFactor: 0.5, widthFactor: 0 }).apply(x, { training: true }).reshape([50, 4]));
    expect(new Set(some.map((r) => r.join())).size).toBeGreaterThan(40);
  });
});

describe('randomCrop and centerCrop', () => {
  it('cut a window of each picture', async () => {
    const y = await rows(layers.randomCrop({ height: 1, width: 2 }).apply(ramp(200, 4), { training: true }).reshape([200, 2]));
    expect(new Set(y.map((r) => r.join()))).toEqual(new Set(['1,2', '2,3', '3,4']));
  });
  it('take the middle outside of training', async () => {
    const x = arange(16).reshape([1, 4, 4, 1]);
    expect(await layers.centerCrop({ height: 2, width: 2 }).apply(x).data()).toEqual(Float32Array.of(5, 6, 9, 10));
    // The largest window of that aspect ratio is all of it, halved.
    expect(await layers.randomCrop({ height: 2, width: 2 }).apply(x).data()).toEqual(Float32Array.of(2.5, 4.5, 10.5, 12.5));
  });
});

describe('normalization', () => {
  it('adapts to an array, to batches and to pairs of them', async () => {
    const data = [
      [0, 7, 4],
      [2, 9, 6],
      [0, 7, 4],
      [2, 9, 6],
    ];
    const sources: layers.AdaptData[] = [
      data,
      tensor(data),
      [tensor(data.slice(0, 1)), tensor(data.slice(1))],
      [[tensor(data), tensor([0, 0, 0, 0])]],
    ];
    for (const source of sources) {
      const layer = await layers.normalization().adapt(source);
      expect(await layer.weights[0].array()).toEqual([1, 8, 5]);
      for (const v of await layer.weights[1].data()) expect(v).toBeCloseTo(1, 5);
      for (const v of await layer.apply(tensor([[0, 7, 4]])).data()) expect(v).toBeCloseTo(-1, 5);
    }
  });
  it('adapts to everything at once, and inverts', async () => {
    const layer = await layers.normalization({ axis: null, invert: true }).adapt([[1, 2, 3, 4, 5]]);
    expect((await layer.apply(tensor([[1]])).data())[0]).toBeCloseTo(3 + Math.SQRT2, 5);
    await expect(layers.normalization({ mean: 0, variance: 1 }).adapt([[1]])).rejects.toThrow('adapt, though mean and variance were given');
    await expect(layers.normalization().adapt([])).rejects.toThrow();
  });
});

describe('attention', () => {
  const layer = layers.multiHeadAttention({ numHeads: 2, keyDim: 3 });
  const x = arange(12).mul(0.37).sin().reshape([1, 4, 3]);
  const scoresOf = async (options: layers.CallOptions): Promise<number[]> => {
    const [, scores] = layer.apply<Tensor[]>(x, { ...options, returnAttentionScores: true });
    expect(scores.shape).toEqual([1, 2, 4, 4]);
    return [...(await scores.data())];
  };
  it('looks back only, when causal', async () => {
    const scores = await scoresOf({ useCausalMask: true });
    scores.forEach((s, i) => {
      if (i % 4 > Math.floor(i / 4) % 4) expect(s).toBe(0);
    });
    expect(scores[0]).toBe(1);
  });
  it('looks where the masks allow, the same with and without scores', async () => {
    const attentionMask = tensor([
      [
        [true, false, false, false],
        [true, true, false, false],
        [false, true, true, false],
        [true, true, true, true],
      ],
    ]);
    const scores = await scoresOf({ attentionMask });
    expect(scores.slice(8, 12)[0]).toBe(0);
    const fast = await layer.apply(x, { attentionMask }).data();
    const [slow] = layer.apply<Tensor[]>(x, { attentionMask, returnAttentionScores: true });
    const data = await slow.data();
    fast.forEach((v, i) => void expect(v).toBeCloseTo(data[i], 5));
  });
  it('leaves padding out', async () => {
    const mask = tensor([[true, true, false, false]]);
    const scores = await scoresOf({ mask });
    expect(scores.slice(0, 4).slice(2)).toEqual([0, 0]);
    const changed = tensor([[[0], [0], [9], [9]]]).add(x);
    const [a, b] = [await layer.apply(x, { mask }).data(), await layer.apply(changed, { mask }).data()];
    for (let i = 0; i < 6; i++) expect(a[i]).toBeCloseTo(b[i], 5);
  });
  it('lets masked queries look nowhere in particular, as Keras', async () => {
    const [, scores] = layer.apply<Tensor[]>([x, x.mul(2)], {
      mask: [tensor([[true, false, true, true]]), null],
      returnAttentionScores: true,
    });
    const data = await scores.data();
    expect([...data.slice(4, 8)]).toEqual([0.25, 0.25, 0.25, 0.25]);
    expect(data[0]).not.toBeCloseTo(0.25, 3);
  });
  it('thins out its weights in training', async () => {
    const thin = layers.multiHeadAttention({ numHeads: 1, keyDim: 2, dropout: 0.5 });
    const [a, b] = [await thin.apply(x, { training: true }).data(), await thin.apply(x, { training: true }).data()];
    expect(a).not.toEqual(b);
    expect(await thin.apply(x).data()).toEqual(await thin.apply(x).data());
  });
});
