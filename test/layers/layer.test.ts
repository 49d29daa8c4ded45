/** @file Layer itself: names, building, weights, shapes by tracing, the functional graph, losses, errors. */
import { describe, expect, it } from 'vitest';
import { input } from '../../src/layers/symbolic.js';
import { activation, conv2d, dense, dropout, flatten, maxPooling2d } from '../../src/layers/index.js';
import { ones, tensor } from '../../src/tensor/index.js';

describe('layers', () => {
  it('applies eagerly and builds on first use', async () => {
    const layer = dense({ units: 3, kernelInitializer: 'ones', name: 'd' });
    const y = layer.apply(tensor([[1, 2]]));
    expect(await y.array()).toEqual([[3, 3, 3]]);
    expect(layer.weights.map((w) => w.name)).toEqual(['d/kernel', 'd/bias']);
  });
  it('records the functional graph', () => {
    const x = input({ shape: [32, 32, 3] });
    let y = conv2d({ filters: 8, kernelSize: 3, activation: 'relu' }).apply(x);
    expect(y.shape).toEqual([null, 30, 30, 8]);
    y = maxPooling2d().apply(y);
    y = flatten().apply(y);
    expect(y.shape).toEqual([null, 15 * 15 * 8]);
    y = dropout(0.5).apply(y);
    y = dense({ units: 10 }).apply(y);
    y = activation('softmax').apply(y);
    expect(y.shape).toEqual([null, 10]);
    expect(y.producer?.layer.className).toBe('Activation');
  });
  it('runs a convolution', async () => {
    const layer = conv2d({ filters: 2, kernelSize: 2, kernelInitializer: 'ones', biasInitializer: 'ones' });
    expect(await layer.apply(ones([1, 2, 2, 3])).array()).toEqual([[[[13, 13]]]]);
  });
});
