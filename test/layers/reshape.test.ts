/** @file Layers that move elements, by hand: which side is padded, cropped, repeated. */
import { describe, expect, it } from 'vitest';
import * as layers from '../../src/layers/index.js';
import { arange, type Tensor, tensor } from '../../src/tensor/index.js';

const steps = arange(1, 4).reshape([1, 3, 1]);
const picture = arange(12).reshape([1, 3, 4, 1]);
const table: [string, Tensor, layers.Layer, number[]][] = [
  ['zeroPadding1d', steps, layers.zeroPadding1d({ padding: [2, 1] }), [0, 0, 1, 2, 3, 0]],
  ['cropping1d before', steps, layers.cropping1d({ cropping: [1, 0] }), [2, 3]],
  ['cropping1d after', steps, layers.cropping1d({ cropping: [0, 2] }), [1]],
  [
    'cropping2d',
    picture,
    layers.cropping2d({
      cropping: [
        [1, 0],
        [0, 2],
      ],
    }),
    [4, 5, 8, 9],
  ],
  [
    'zeroPadding2d',
    tensor([[[[7]]]]),
    layers.zeroPadding2d({
      padding: [
        [1, 0],
        [0, 2],
      ],
    }),
    [0, 0, 0, 7, 0, 0],
  ],
  ['upSampling1d', steps, layers.upSampling1d(), [1, 1, 2, 2, 3, 3]],
  ['repeatVector', tensor([[1, 2]]), layers.repeatVector(2), [1, 2, 1, 2]],
  ['permute', arange(6).reshape([1, 2, 3]), layers.permute({ dims: [2, 1] }), [0, 3, 1, 4, 2, 5]],
  ['flatten', picture, layers.flatten(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]],
];

describe('movement', () => {
  for (const [name, x, layer, wanted] of table)
    it(name, async () => {
      expect([...(await layer.apply(x).data())]).toEqual(wanted);
    });
});
