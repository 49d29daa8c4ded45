/** @file Every layer with several configs, for the one layer test. */
import type { Layer } from '../../src/layers/index.js';
import * as layers from '../../src/layers/index.js';
import type { LayerTest } from './run-layer-test.js';

export type Row = [make: () => Layer, test: LayerTest];
const attention = (q: number, v: number, heads: number, kd: number, vd: number, out: number): Record<string, number[]> => ({
  'query/kernel': [q, heads, kd],
  'query/bias': [heads, kd],
  'key/kernel': [v, heads, kd],
  'key/bias': [heads, kd],
  'value/kernel': [v, heads, vd],
  'value/bias': [heads, vd],
  'attention_output/kernel': [heads, vd, out],
  'attention_output/bias': [out],
});
const image = { input: [4, 5, 3], output: [4, 5, 3] };
const steps = { input: [4, 3], output: [4, 3] };
const statistics = { gamma: [3], beta: [3], moving_mean: [3], moving_variance: [3] };
const moving = ['moving_mean', 'moving_variance'];

export const table: Record<string, Row[]> = {
  core: [
    [() => layers.dense({ units: 4 }), { input: [3], output: [4], weights: { kernel: [3, 4], bias: [4] } }],
    [
      () =>
        layers.dense({
          units: 2,
          activation: 'tanh',
          useBias: false,
          kernelInitializer: 'he_normal',
          kernelRegularizer: 'l2',
          kernelConstraint: 'maxNorm',
        }),
      { input: [4, 3], output: [4, 2], weights: { kernel: [3, 2] }, mask: 'kept' },
    ],
    [() => layers.dense({ units: 4 }), { input: [3], output: [4], dtype: 'u8', weights: { kernel: [3, 4], bias: [4] } }],
    [
      () => layers.einsumDense({ equation: 'abc,cd->abd', outputShape: [null, 5], biasAxes: 'd' }),
      { input: [4, 3], output: [4, 5], weights: { kernel: [3, 5], bias: [5] } },
    ],
    [
      () => layers.einsumDense({ equation: '...x,xyz->...yz', outputShape: [2, 5], biasAxes: 'yz', activation: 'silu' }),
      { input: [4, 3], output: [4, 2, 5], weights: { kernel: [3, 2, 5], bias: [2, 5] } },
    ],
    [
      () => layers.embedding({ inputDim: 7, outputDim: 3 }),
      { input: [4], output: [4, 3], dtype: 'i32', below: 7, weights: { embeddings: [7, 3] } },
    ],
    [() => layers.activation('gelu'), { ...steps, mask: 'kept' }],
    [() => layers.activation({ activation: 'log_softmax' }), steps],
    [() => layers.identity(), { ...steps, mask: 'dropped' }],
    [() => layers.masking(), { ...steps }],
    [() => layers.reLU({ maxValue: 0.5, negativeSlope: 0.1 }), { ...steps, mask: 'kept' }],
    [() => layers.leakyReLU(), steps],
    [() => layers.leakyReLU({ alpha: 0.1 }), steps],
    [() => layers.inputLayer({ inputShape: [4, 3] }), steps],
    [() => layers.pReLU({ sharedAxes: [1] }), { ...steps, weights: { alpha: [1, 3] } }],
    [() => layers.eLU({ alpha: 2 }), steps],
    [() => layers.softmax({ axis: 1 }), steps],
  ],
  convolution: [
    [
      () => layers.conv1d({ filters: 2, kernelSize: 3, padding: 'causal' }),
      { ...steps, output: [4, 2], weights: { kernel: [3, 3, 2], bias: [2] }, mask: 'dropped' },
    ],
    [
      () => layers.conv2d({ filters: 6, kernelSize: 3, groups: 3 }),
      { ...image, output: [2, 3, 6], weights: { kernel: [3, 3, 1, 6], bias: [6] } },
    ],
    [
      () => layers.conv2d({ filters: 2, kernelSize: [2, 3], strides: 2, padding: 'same', activation: 'sigmoid', useBias: false }),
      { ...image, output: [2, 3, 2], weights: { kernel: [2, 3, 3, 2] } },
    ],
    [
      () => layers.conv2d({ filters: 2, kernelSize: 2, dilationRate: 2 }),
      { ...image, output: [2, 3, 2], weights: { kernel: [2, 2, 3, 2], bias: [2] } },
    ],
    [
      () => layers.conv3d({ filters: 2, kernelSize: 2 }),
      { input: [2, 3, 3, 2], output: [1, 2, 2, 2], weights: { kernel: [2, 2, 2, 2, 2], bias: [2] } },
    ],
    [
      () => layers.conv1dTranspose({ filters: 2, kernelSize: 3, strides: 2 }),
      { ...steps, output: [9, 2], weights: { kernel: [3, 2, 3], bias: [2] } },
    ],
    [
      () => layers.conv2dTranspose({ filters: 2, kernelSize: 3, strides: 2, padding: 'same' }),
      { ...image, output: [8, 10, 2], weights: { kernel: [3, 3, 2, 3], bias: [2] } },
    ],
    [
      () => layers.conv2dTranspose({ filters: 2, kernelSize: 3, strides: 2, padding: 'same', outputPadding: 0 }),
      { ...image, output: [7, 9, 2], weights: { kernel: [3, 3, 2, 3], bias: [2] } },
    ],
    [() => layers.depthwiseConv1d({ kernelSize: 2 }), { ...steps, output: [3, 3], weights: { kernel: [2, 3, 1], bias: [3] } }],
    [
      () => layers.depthwiseConv2d({ kernelSize: 3, depthMultiplier: 2, depthwiseInitializer: 'heNormal' }),
      { ...image, output: [2, 3, 6], weights: { kernel: [3, 3, 3, 2], bias: [6] } },
    ],
    [
      () => layers.separableConv1d({ filters: 2, kernelSize: 2 }),
      { ...steps, output: [3, 2], weights: { depthwise_kernel: [2, 3, 1], pointwise_kernel: [1, 3, 2], bias: [2] } },
    ],
    [
      () => layers.separableConv2d({ filters: 4, kernelSize: 3, padding: 'same', pointwiseRegularizer: 'l1' }),
      { ...image, output: [4, 5, 4], weights: { depthwise_kernel: [3, 3, 3, 1], pointwise_kernel: [1, 1, 3, 4], bias: [4] } },
    ],
  ],
  pooling: [
    [() => layers.maxPooling1d(), { ...steps, output: [2, 3] }],
    [() => layers.maxPool2d({ poolSize: [2, 3], strides: 1 }), { ...image, output: [3, 3, 3] }],
    [() => layers.maxPooling2d({ padding: 'same' }), { ...image, output: [2, 3, 3] }],
    [() => layers.maxPooling3d(), { input: [2, 4, 3, 2], output: [1, 2, 1, 2] }],
    [() => layers.averagePooling1d({ poolSize: 3, strides: 1 }), { ...steps, output: [2, 3] }],
    [() => layers.averagePooling2d({ padding: 'same' }), { ...image, output: [2, 3, 3] }],
    [() => layers.averagePooling3d(), { input: [2, 4, 3, 2], output: [1, 2, 1, 2] }],
    [() => layers.globalMaxPooling1d(), { ...steps, output: [3] }],
    [() => layers.globalMaxPooling2d({ keepDims: true }), { ...image, output: [1, 1, 3] }],
    [() => layers.globalAveragePooling1d(), { ...steps, output: [3], mask: 'dropped' }],
    [() => layers.globalAveragePooling2d(), { ...image, output: [3] }],
  ],
  normalization: [
    [() => layers.batchNormalization(), { ...image, weights: statistics, frozen: moving }],
    [() => layers.batchNormalization({ momentum: 0.5 }), { ...image, weights: statistics, frozen: moving, training: true }],
    [
      () => layers.batchNormalization({ axis: 1, center: false, scale: false }),
      { input: [3, 4], output: [3, 4], weights: { moving_mean: [3], moving_variance: [3] }, frozen: moving, mask: 'kept' },
    ],
    [() => layers.layerNormalization(), { ...steps, weights: { gamma: [3], beta: [3] }, mask: 'kept' }],
    [() => layers.layerNormalization({ axis: [1, 2], scale: false }), { ...steps, weights: { beta: [4, 3] } }],
    [() => layers.groupNormalization({ groups: 3 }), { ...image, weights: { gamma: [3], beta: [3] } }],
    [() => layers.rmsNormalization(), { ...steps, weights: { scale: [3] } }],
    [() => layers.unitNormalization({ axis: 1 }), steps],
  ],
  attention: [
    [() => layers.multiHeadAttention({ numHeads: 2, keyDim: 3 }), { ...steps, weights: attention(3, 3, 2, 3, 3, 3), mask: 'kept' }],
    [
      () => layers.multiHeadAttention({ numHeads: 2, keyDim: 3, valueDim: 4, outputShape: 5 }),
      {
        input: [
          [4, 3],
          [6, 2],
        ],
        output: [4, 5],
        weights: attention(3, 2, 2, 3, 4, 5),
      },
    ],
    [
      () => layers.groupQueryAttention({ headDim: 3, numQueryHeads: 4, numKeyValueHeads: 2, useBias: false }),
      {
        ...steps,
        weights: { 'query/kernel': [3, 4, 3], 'key/kernel': [3, 2, 3], 'value/kernel': [3, 2, 3], 'attention_output/kernel': [4, 3, 3] },
      },
    ],
  ],
  reshaping: [
    [() => layers.flatten(), { ...image, output: [60] }],
    [() => layers.reshape({ targetShape: [-1, 6] }), { ...image, output: [10, 6] }],
    [() => layers.permute({ dims: [2, 1] }), { ...steps, output: [3, 4] }],
    [() => layers.repeatVector(3), { input: [4], output: [3, 4] }],
    [() => layers.zeroPadding1d({ padding: [1, 2] }), { ...steps, output: [7, 3] }],
    [
      () =>
        layers.zeroPadding2d({
          padding: [
            [0, 1],
            [2, 3],
          ],
        }),
      { ...image, output: [5, 10, 3] },
    ],
    [() => layers.zeroPadding2d({ padding: [1, 2] }), { ...image, output: [6, 9, 3] }],
    [() => layers.cropping1d({ cropping: [1, 0] }), { ...steps, output: [3, 3] }],
    [() => layers.cropping2d({ cropping: [1, 2] }), { ...image, output: [2, 1, 3] }],
    [() => layers.upSampling1d({ size: 3 }), { ...steps, output: [12, 3] }],
    [() => layers.upSampling2d({ size: [2, 3] }), { ...image, output: [8, 15, 3] }],
    [() => layers.upSampling2d({ interpolation: 'bilinear' }), { ...image, output: [8, 10, 3] }],
  ],
  merging: [
    [
      () => layers.add(),
      {
        input: [
          [4, 3],
          [4, 3],
          [4, 3],
        ],
        output: [4, 3],
        mask: 'kept',
      },
    ],
    [
      () => layers.subtract(),
      {
        input: [
          [4, 3],
          [4, 3],
        ],
        output: [4, 3],
      },
    ],
    [
      () => layers.multiply(),
      {
        input: [
          [4, 3],
          [4, 1],
        ],
        output: [4, 3],
      },
    ],
    [() => layers.average(), { input: [[4, 3], [3]], output: [4, 3] }],
    [
      () => layers.maximum(),
      {
        input: [
          [4, 3],
          [4, 3],
        ],
        output: [4, 3],
      },
    ],
    [
      () => layers.minimum(),
      {
        input: [
          [4, 3],
          [4, 3],
        ],
        output: [4, 3],
      },
    ],
    [
      () => layers.concatenate(),
      {
        input: [
          [4, 3],
          [4, 2],
        ],
        output: [4, 5],
      },
    ],
    [
      () => layers.concatenate({ axis: 1 }),
      {
        input: [
          [4, 3],
          [2, 3],
        ],
        output: [6, 3],
      },
    ],
    [() => layers.dot({ axes: 1 }), { input: [[3], [3]], output: [1] }],
    [
      () => layers.dot({ axes: [2, 1], normalize: true }),
      {
        input: [
          [4, 3],
          [3, 5],
        ],
        output: [4, 5],
      },
    ],
  ],
  regularization: [
    [() => layers.dropout(0.5), { ...steps, mask: 'dropped' }],
    [
      () => layers.dropout({ rate: 0.5, noiseShape: [null, 1, null], seed: 3 }),
      { ...steps, training: true, gradient: false, mask: 'kept' },
    ],
    [() => layers.spatialDropout1d({ rate: 0.5 }), steps],
    [() => layers.spatialDropout2d({ rate: 0.5 }), { ...image, training: true, gradient: false }],
    [() => layers.gaussianNoise({ stddev: 1 }), steps],
    [() => layers.alphaDropout({ rate: 0.3 }), { ...steps, training: true, gradient: false }],
    [() => layers.gaussianDropout({ rate: 0.2 }), { ...steps, training: true, gradient: false }],
    [() => layers.activityRegularization({ l1: 0.1, l2: 0.1 }), steps],
  ],
  preprocessing: [
    [() => layers.rescaling({ scale: 1 / 255, offset: -1 }), { ...image, dtype: 'u8' }],
    [() => layers.rescaling({ scale: [1, 2, 3] }), image],
    [() => layers.normalization({ mean: [1, 2, 3], variance: [1, 4, 9] }), image],
    [
      () => layers.normalization({ axis: [1, 2] }),
      { ...steps, weights: { mean: [4, 3], variance: [4, 3], count: [] }, frozen: ['mean', 'variance', 'count'] },
    ],
    [() => layers.normalization({ mean: 1, variance: 2, axis: null, invert: true }), { ...image, dtype: 'u8' }],
    [() => layers.resizing({ height: 3, width: 7 }), { ...image, output: [3, 7, 3] }],
    [() => layers.resizing({ height: 3, width: 3, interpolation: 'nearest', cropToAspectRatio: true }), { ...image, output: [3, 3, 3] }],
    [() => layers.centerCrop({ height: 3, width: 2 }), { ...image, output: [3, 2, 3] }],
    [() => layers.randomFlip(), { ...image, dtype: 'u8', training: true }],
    [
      () => layers.randomTranslation({ heightFactor: 0.2, widthFactor: [-0.1, 0.3], fillMode: 'wrap' }),
      { ...image, training: true, gradient: false },
    ],
    [() => layers.randomCrop({ height: 3, width: 2, seed: 1 }), { ...image, output: [3, 2, 3], training: true, gradient: false }],
    [() => layers.randomCrop({ height: 3, width: 2 }), { ...image, output: [3, 2, 3] }],
  ],
};
