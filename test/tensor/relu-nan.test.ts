/** @file Rectifiers let NaN through: a loss check can only see what the activations pass on. */
import { describe, expect, it } from 'vitest';
import { grad, hardShrink, relu, relu6, tensor } from '../../src/tensor/index.js';

describe('rectifiers', () => {
  const x = tensor([Number.NaN, 1, -1, 0, 7]);
  it('keep NaN', async () => {
    expect([...(await relu(x).data())]).toEqual([Number.NaN, 1, 0, 0, 7]);
    expect([...(await relu6(x).data())]).toEqual([Number.NaN, 1, 0, 0, 6]);
    expect([...(await hardShrink(x).data())]).toEqual([Number.NaN, 1, -1, 0, 7]);
  });
  it('have gradient 0 at and below 0', async () => {
    expect([...(await grad((v) => relu(v).sum())(tensor([-1, 0, 2])).data())]).toEqual([0, 0, 1]);
  });
});
