/** @file Embeddings in training: a step that looks up a few rows updates those alone, and learns the same. */
import { describe, expect, it } from 'vitest';
import { nativeUnusable } from '../../src/device/native/native.js';
import { layers, profileStep, sequential, tensor } from '../../src/index.js';

describe('an embedding in fit', () => {
  const lookUps = tensor(
    Int32Array.from({ length: 32 * 4 }, (_, i) => (i * i) % 59),
    { shape: [32, 4] },
  );
  const wanted = tensor(
    Float32Array.from({ length: 32 }, (_, i) => Math.sin(i * 0.9)),
    { shape: [32, 1] },
  );
  const make = (inputDim: number, optimizer: 'sgd' | 'adagrad') => {
    const model = sequential([
      layers.embedding({ inputDim, outputDim: 8, inputShape: [4], embeddingsInitializer: 'ones' }),
      layers.flatten(),
      layers.dense({ units: 1, kernelInitializer: 'ones' }),
    ]);
    model.compile({ optimizer, loss: 'meanSquaredError' });
    return model;
  };

  it.each(['sgd', 'adagrad'] as const)('under %s learns by rows as it does as a whole', async (optimizer) => {
    // 32 look-ups a step are at most half of 1,000 rows, but more than half of 60.
    const curves = await Promise.all(
      [1000, 60].map(async (rows) => {
        const model = make(rows, optimizer);
        const { history } = await model.fit(lookUps, wanted, { batchSize: 8, epochs: 3, shuffle: false, verbose: 0 });
        return history.loss as number[];
      }),
    );
    curves[0].forEach((loss, i) => {
      expect(loss).toBeCloseTo(curves[1][i], 5);
    });
    expect(curves[0][2]).toBeLessThan(curves[0][0]);
  });

  it.skipIf(nativeUnusable() !== null)('its step holds the update by rows', async () => {
    const labels = async (rows: number) => (await profileStep(make(rows, 'sgd'), { batchSize: 8, steps: 1 })).kernels.map((k) => k.label);
    expect(await labels(1000)).toContain('sparse update');
    expect(await labels(60)).not.toContain('sparse update');
  });
});
