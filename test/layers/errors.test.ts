/** @file What users are told when a layer is given the wrong thing. */
import { describe, expect, it } from 'vitest';
import * as layers from '../../src/layers/index.js';
import { input, Layer } from '../../src/layers/index.js';
import { getInitializer } from '../../src/layers/initializers.js';
import { type Tensor, zeros } from '../../src/tensor/index.js';

class Block extends Layer {
  readonly stem = layers.conv2d({ filters: 1, kernelSize: 5, name: 'stem' });
  override call(x: Tensor): Tensor {
    return this.stem.apply(x);
  }
}

const table: [string, () => unknown, string][] = [
  [
    'units missing',
    () => layers.dense({ name: 'd' } as unknown as layers.DenseOptions),
    'Dense "d": units is missing. Expected a whole number ≥ 1.',
  ],
  ['units not whole', () => layers.dense({ units: 1.5, name: 'd' }), 'Dense "d": units is 1.5. Expected a whole number ≥ 1.'],
  [
    'an unknown activation',
    () => layers.dense({ units: 1, activation: 'rellu' }),
    'activation: "rellu" is not known. Expected one of linear, relu',
  ],
  ['an unknown initializer', () => getInitializer('glorot'), 'initializer: "glorot" is not known. Expected one of Zeros, Ones'],
  ['an unknown regularizer', () => layers.dense({ units: 1, kernelRegularizer: 'l3' }).build([null, 1]), 'regularizer: "l3" is not known.'],
  [
    'a constraint that is none',
    () => layers.dense({ units: 1, kernelConstraint: 'l2' }).build([null, 1]),
    'constraint: "l2" is not known.',
  ],
  [
    'other features than built for',
    () => {
      const d = layers.dense({ units: 1, name: 'd' });
      d.apply(zeros([1, 4]));
      d.apply(zeros([1, 5]));
    },
    'Dense "d": axis -1 of input [1, 5] is 5. Expected 4, which the layer was built for.',
  ],
  ['one axis', () => layers.dense({ units: 1, name: 'd' }).apply(zeros([4])), 'Dense "d": input [?]. Expected [batch, ..., features].'],
  [
    'features unknown',
    () => layers.dense({ units: 1, name: 'd' }).apply(input({ shape: [null] })),
    'Dense "d": axis -1 of input [?, ?] is unknown. Expected a fixed extent',
  ],
  [
    'a list for one tensor',
    () => layers.dense({ units: 1, name: 'd' }).apply([zeros([1, 4]), zeros([1, 4])]),
    'Dense "d": it was given a list of 2 inputs. Expected one tensor.',
  ],
  [
    'pictures without channels',
    () => layers.conv2d({ filters: 1, kernelSize: 3, name: 'c' }).apply(zeros([2, 28, 28])),
    'Conv2D "c": input [?, 28, 28] has 3 axes. Expected 4: [batch, height, width, channels]. Reshape the data to add the axis of channels.',
  ],
  [
    'a kernel too large',
    () => layers.conv2d({ filters: 1, kernelSize: 5, name: 'stem' }).apply(zeros([32, 3, 3, 16])),
    'Conv2D "stem": kernel 5×5 does not fit input [32, 3, 3, 16]. Expected height and width ≥ 5 with padding "valid". Use padding: "same".',
  ],
  [
    'a kernel of two extents too large',
    () => layers.conv2d({ filters: 1, kernelSize: [3, 5], name: 'stem' }).apply(zeros([1, 3, 3, 1])),
    'Expected height ≥ 3 and width ≥ 5 with padding',
  ],
  [
    'a kernel of three axes too large',
    () => layers.conv3d({ filters: 1, kernelSize: 2 }).apply(zeros([1, 1, 1, 1, 1])),
    'Expected depth, height and width ≥ 2 with padding',
  ],
  [
    'a kernel of one axis too large',
    () => layers.conv1d({ filters: 1, kernelSize: 2 }).apply(zeros([1, 1, 1])),
    'Expected steps ≥ 2 with padding',
  ],
  [
    "a layer of Keras's dtype",
    () => layers.dense({ units: 1, name: 'd', dtype: 'float32' as 'f32' }),
    'Dense "d": dtype "float32" is not known. Expected one of bool, u8, i8, u32, i32, bf16, f16, f32. Write \'f32\'.',
  ],
  ["an input of Keras's dtype", () => input({ shape: [1], dtype: 'int32' as 'i32' }), 'input: dtype "int32" is not known.'],
  [
    'an input of one number',
    () => input({ shape: 784 as unknown as number[] }),
    'input: shape is 784. Expected an array of whole numbers ≥ 0, or null for an unknown extent. Write [784].',
  ],
  ['a batch that is not whole', () => input({ shape: [1], batchSize: 1.5 }), 'input: batchSize is 1.5. Expected a whole number ≥ 0.'],
  [
    'inputShape of one number',
    () => layers.dense({ units: 1, name: 'd', inputShape: 3 as unknown as number[] }).givenInputShape,
    'Dense "d": inputShape is 3. Expected an array of whole numbers ≥ 0, or null for an unknown extent. Write [3].',
  ],
  [
    'a kernel size of three numbers',
    () => layers.conv2d({ filters: 1, kernelSize: [3, 3, 3] }),
    'kernelSize is [3,3,3]. Expected one or 2 whole numbers ≥ 1.',
  ],
  [
    'padding unknown',
    () => layers.conv2d({ filters: 1, kernelSize: 3, padding: 'causal' }),
    "padding is \"causal\". Expected 'valid' or 'same'.",
  ],
  [
    'strides and dilation',
    () => layers.conv2d({ filters: 1, kernelSize: 3, strides: 2, dilationRate: 2 }),
    'Expected one of them to be 1.',
  ],
  ['groups', () => layers.conv2d({ filters: 3, kernelSize: 3, groups: 2 }), '3 filters in 2 groups. Expected filters divisible by groups.'],
  [
    'channels first',
    () => layers.conv2d({ filters: 1, kernelSize: 1, dataFormat: 'channelsFirst' as unknown as 'channelsLast' }),
    'dataFormat is "channelsFirst". Expected \'channelsLast\'.',
  ],
  [
    'a window too large',
    () => layers.maxPooling2d({ name: 'p', poolSize: 4 }).apply(zeros([1, 3, 3, 1])),
    'MaxPooling2D "p": window 4×4 does not fit input [1, 3, 3, 1].',
  ],
  ['a rate above 1', () => layers.dropout({ rate: 50, name: 'd' }), 'Dropout "d": rate is 50. Expected a number in [0, 1].'],
  [
    'shapes that do not add',
    () => layers.add({ name: 'a' }).apply([zeros([1, 3]), zeros([1, 4])]),
    'Add "a": inputs [?, 3] and [?, 4] do not fit.',
  ],
  [
    'one tensor to add',
    () => layers.add({ name: 'a' }).apply(zeros([1, 3])),
    'Add "a": it was given one tensor. Expected a list of at least 1 tensors.',
  ],
  [
    'three tensors to subtract',
    () => layers.subtract().apply([zeros([1]), zeros([1]), zeros([1])]),
    'it was given 3 inputs. Expected a list of 2 tensors.',
  ],
  [
    'shapes that do not join',
    () => layers.concatenate().apply([zeros([1, 2, 3]), zeros([1, 4, 3])]),
    'Expected equal extents on every axis but -1.',
  ],
  [
    'a shape of other size',
    () => layers.reshape({ targetShape: [5], name: 'r' }).apply(zeros([2, 4])),
    'Reshape "r": 4 elements a sample of input [2, 4] do not fill targetShape [5].',
  ],
  ['a wrong permutation', () => layers.permute({ dims: [0, 1] }), 'dims is [0,1]. Expected 1 … 2 in some order.'],
  [
    'too many groups of channels',
    () => layers.groupNormalization({ name: 'g' }).apply(zeros([1, 4])),
    'GroupNormalization "g": 4 channels of input [?, 4] in 32 groups.',
  ],
  ['mean without variance', () => layers.normalization({ mean: 1 }), 'mean alone. Expected mean and variance, or neither.'],
  [
    'heads that do not divide',
    () => layers.groupQueryAttention({ headDim: 2, numQueryHeads: 3, numKeyValueHeads: 2 }),
    '3 query heads share 2 key and value heads.',
  ],
  [
    'an attention mask of other size',
    () => layers.multiHeadAttention({ numHeads: 1, keyDim: 1 }).apply(zeros([1, 2, 3]), { attentionMask: zeros([1, 3, 3]) }),
    'attentionMask [1, 3, 3]. Expected [batch, 2, 2] or [batch, heads, 2, 2].',
  ],
  ['inputs without a shape', () => input({}), 'input: expected either shape or batchShape, received neither.'],
  [
    'real and symbolic together',
    () => layers.add().apply([input({ shape: [1] }), zeros([1, 1])] as never),
    'symbolic and real tensors in one call.',
  ],
  ['counting before building', () => layers.dense({ units: 1 }).countParams(), 'it has no weights yet.'],
  [
    'inside a block, with the path',
    () => new Block({ name: 'block' }).apply(zeros([1, 3, 3, 1])),
    'Conv2D "stem": kernel 5×5 does not fit input [1, 3, 3, 1]. Expected height and width ≥ 5 with padding "valid". Use padding: "same". (in block › stem)',
  ],
  [
    'a failure of an operation names the layer',
    () => layers.lambda({ name: 'l', function: (x) => x.reshape([7]) }).apply(zeros([2, 3])),
    'Lambda "l": reshape',
  ],
];

describe('errors', () => {
  for (const [name, act, message] of table) it(name, () => expect(act).toThrow(message));
});

/** Errors of symbolic calls: extents that nobody gave are shown as ?. */
const symbolic: [string, () => unknown, string][] = [
  [
    'the batch',
    () => layers.conv2d({ filters: 1, kernelSize: 5, name: 'stem' }).apply(input({ shape: [3, 3, 1] })),
    'Conv2D "stem": kernel 5×5 does not fit input [?, 3, 3, 1]. Expected height and width ≥ 5 with padding "valid". Use padding: "same".',
  ],
  [
    'an extent that equals the stand-in',
    () => layers.conv2d({ filters: 1, kernelSize: 5, name: 'stem_2' }).apply(input({ shape: [2, 3, 2] })),
    'Conv2D "stem_2": kernel 5×5 does not fit input [?, 2, 3, 2]. Expected height and width ≥ 5 with',
  ],
  [
    'a batch that was given',
    () => layers.conv2d({ filters: 1, kernelSize: 5, name: 'stem' }).apply(input({ batchShape: [2, 3, 3, 1] })),
    'does not fit input [2, 3, 3, 1].',
  ],
  [
    'other axes, and a fixed batch',
    () => layers.maxPooling2d({ poolSize: 4, name: 'p' }).apply(input({ batchShape: [7, 3, null, 1] })),
    'MaxPooling2D "p": window 4×4 does not fit input [7, 3, ?, 1].',
  ],
  [
    'inside a block, with the path',
    () => new Block({ name: 'block' }).apply(input({ shape: [3, 3, 1] })),
    'does not fit input [?, 3, 3, 1]. Expected height and width ≥ 5 with padding "valid". Use padding: "same". (in block › stem)',
  ],
  [
    'numbers made of the batch',
    () => layers.lambda({ name: 'l', function: (x) => x.reshape([7]) }).apply(input({ shape: [3] })),
    'Lambda "l": reshape: [?, 3] has ? elements and does not fit [7]. Expected a shape of ? elements with at most one -1.',
  ],
  [
    'nothing where only some batches fail',
    () => layers.lambda({ name: 'l', function: (x) => x.add(zeros([3, 1])) }).apply(input({ shape: [5] })),
    'Lambda "l": add: shapes [2, 5] and [3, 1] do not broadcast.',
  ],
];
describe('errors of symbolic calls', () => {
  for (const [name, act, message] of symbolic) it(name, () => expect(act).toThrow(message));
  it('the stack too, which is what an uncaught error prints', () => {
    let stack = '';
    try {
      layers.conv2d({ filters: 1, kernelSize: 5, name: 'stem' }).apply(input({ shape: [3, 3, 1] }));
    } catch (error) {
      if (error instanceof Error) stack = error.stack ?? '';
    }
    expect(stack).toContain('input [?, 3, 3, 1]');
    expect(stack).toContain('requireFit');
    expect(stack).not.toContain('[2, 3, 3, 1]');
  });
});
