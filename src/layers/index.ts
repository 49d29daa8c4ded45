/** @file Layers: classes, and factories with their Keras names in camelCase: `layers.conv2d({ filters: 32, kernelSize: 3 })`. */
import * as activations from './activation-layers.js';
import * as attention from './attention.js';
import * as augment from './augment-geometry.js';
import * as convolution from './conv.js';
import * as core from './core.js';
import { factory } from './factory.js';
import * as merge from './merge.js';
import * as norm from './norm.js';
import * as pool from './pool.js';
import * as preprocess from './preprocess.js';
import * as regularize from './regularize.js';
import * as shape from './reshape.js';

export * from './activation-layers.js';
export * from './attention.js';
export * from './augment-geometry.js';
export * from './conv.js';
export * from './core.js';
export * from './layer.js';
export * from './merge.js';
export * from './norm.js';
export * from './pool.js';
export * from './preprocess.js';
export { registerClass, registerFunction } from './registry.js';
export * from './regularize.js';
export * from './reshape.js';
export { type InputOptions, input, isSymbolic, type Producer, type SymbolicCall, SymbolicTensor } from './symbolic.js';

const bias = { useBias: true, biasInitializer: true, biasRegularizer: true, biasConstraint: true } as const;
const projection = { ...bias, kernelInitializer: true, kernelRegularizer: true, kernelConstraint: true } as const;
const kernel = { ...projection, activation: true } as const;
export const dense = /* @__PURE__ */ factory(core.Dense, () => ({ units: true, ...kernel }));
export const linear = /* @__PURE__ */ factory(core.Linear, () => ({ units: true, ...kernel }));
export const einsumDense = /* @__PURE__ */ factory(core.EinsumDense, () => ({
  equation: true,
  outputShape: true,
  biasAxes: true,
  ...kernel,
}));
export const embedding = /* @__PURE__ */ factory(core.Embedding, () => ({
  inputDim: true,
  outputDim: true,
  maskZero: true,
  embeddingsInitializer: true,
  embeddingsRegularizer: true,
  embeddingsConstraint: true,
}));
export const activation = /* @__PURE__ */ factory(core.ActivationLayer, () => ({ activation: true }));
export const identity = /* @__PURE__ */ factory(core.IdentityLayer, () => ({}));
export const inputLayer = /* @__PURE__ */ factory(core.InputLayer, () => ({}));
export const lambda = /* @__PURE__ */ factory(core.Lambda, () => ({ function: true }));
export const masking = /* @__PURE__ */ factory(core.Masking, () => ({ maskValue: true }));

export const reLU = /* @__PURE__ */ factory(activations.ReLU, () => ({ maxValue: true, negativeSlope: true, threshold: true }));
export const leakyReLU = /* @__PURE__ */ factory(activations.LeakyReLU, () => ({ negativeSlope: true, alpha: true }));
export const pReLU = /* @__PURE__ */ factory(activations.PReLU, () => ({
  alphaInitializer: true,
  alphaRegularizer: true,
  alphaConstraint: true,
  sharedAxes: true,
}));
export const eLU = /* @__PURE__ */ factory(activations.ELU, () => ({ alpha: true }));
export const softmax = /* @__PURE__ */ factory(activations.Softmax, () => ({ axis: true }));

const window = { kernelSize: true, strides: true, padding: true, dilationRate: true, dataFormat: true } as const;
const depthwise = {
  ...window,
  ...bias,
  activation: true,
  depthMultiplier: true,
  depthwiseInitializer: true,
  depthwiseRegularizer: true,
  depthwiseConstraint: true,
} as const;
export const conv1d = /* @__PURE__ */ factory(convolution.Conv1D, () => ({ filters: true, groups: true, ...kernel, ...window }));
export const conv2d = /* @__PURE__ */ factory(convolution.Conv2D, () => ({ filters: true, groups: true, ...kernel, ...window }));
export const conv3d = /* @__PURE__ */ factory(convolution.Conv3D, () => ({ filters: true, groups: true, ...kernel, ...window }));
export const conv1dTranspose = /* @__PURE__ */ factory(convolution.Conv1DTranspose, () => ({
  filters: true,
  outputPadding: true,
  ...kernel,
  ...window,
}));
export const conv2dTranspose = /* @__PURE__ */ factory(convolution.Conv2DTranspose, () => ({
  filters: true,
  outputPadding: true,
  ...kernel,
  ...window,
}));
export const depthwiseConv1d = /* @__PURE__ */ factory(convolution.DepthwiseConv1D, () => depthwise);
export const depthwiseConv2d = /* @__PURE__ */ factory(convolution.DepthwiseConv2D, () => depthwise);
export const separableConv1d = /* @__PURE__ */ factory(convolution.SeparableConv1D, () => ({
  filters: true,
  ...depthwise,
  pointwiseInitializer: true,
  pointwiseRegularizer: true,
  pointwiseConstraint: true,
}));
export const separableConv2d = /* @__PURE__ */ factory(convolution.SeparableConv2D, () => ({
  filters: true,
  ...depthwise,
  pointwiseInitializer: true,
  pointwiseRegularizer: true,
  pointwiseConstraint: true,
}));

const pooling = { poolSize: true, strides: true, padding: true, dataFormat: true } as const;
const globalPooling = { keepDims: true, dataFormat: true } as const;
export const maxPooling1d = /* @__PURE__ */ factory(pool.MaxPooling1D, () => pooling);
export const maxPooling2d = /* @__PURE__ */ factory(pool.MaxPooling2D, () => pooling);
export const maxPooling3d = /* @__PURE__ */ factory(pool.MaxPooling3D, () => pooling);
export const averagePooling1d = /* @__PURE__ */ factory(pool.AveragePooling1D, () => pooling);
export const averagePooling2d = /* @__PURE__ */ factory(pool.AveragePooling2D, () => pooling);
export const averagePooling3d = /* @__PURE__ */ factory(pool.AveragePooling3D, () => pooling);
export const globalMaxPooling1d = /* @__PURE__ */ factory(pool.GlobalMaxPooling1D, () => globalPooling);
export const globalMaxPooling2d = /* @__PURE__ */ factory(pool.GlobalMaxPooling2D, () => globalPooling);
export const globalAveragePooling1d = /* @__PURE__ */ factory(pool.GlobalAveragePooling1D, () => globalPooling);
export const globalAveragePooling2d = /* @__PURE__ */ factory(pool.GlobalAveragePooling2D, () => globalPooling);

const affine = {
  epsilon: true,
  center: true,
  scale: true,
  betaInitializer: true,
  betaRegularizer: true,
  betaConstraint: true,
  gammaInitializer: true,
  gammaRegularizer: true,
  gammaConstraint: true,
} as const;
export const batchNormalization = /* @__PURE__ */ factory(norm.BatchNormalization, () => ({
  ...affine,
  axis: true,
  momentum: true,
  movingMeanInitializer: true,
  movingVarianceInitializer: true,
}));
export const layerNormalization = /* @__PURE__ */ factory(norm.LayerNormalization, () => ({ ...affine, axis: true }));
export const groupNormalization = /* @__PURE__ */ factory(norm.GroupNormalization, () => ({ ...affine, groups: true, axis: true }));
export const rmsNormalization = /* @__PURE__ */ factory(norm.RMSNormalization, () => ({ axis: true, epsilon: true }));
export const unitNormalization = /* @__PURE__ */ factory(norm.UnitNormalization, () => ({ axis: true }));

const attending = { ...projection, dropout: true, seed: true } as const;
export const multiHeadAttention = /* @__PURE__ */ factory(attention.MultiHeadAttention, () => ({
  ...attending,
  numHeads: true,
  keyDim: true,
  valueDim: true,
  outputShape: true,
}));
export const groupQueryAttention = /* @__PURE__ */ factory(attention.GroupQueryAttention, () => ({
  ...attending,
  headDim: true,
  numQueryHeads: true,
  numKeyValueHeads: true,
}));

export const flatten = /* @__PURE__ */ factory(shape.Flatten, () => ({}));
export const reshape = /* @__PURE__ */ factory(shape.Reshape, () => ({ targetShape: true }));
export const permute = /* @__PURE__ */ factory(shape.Permute, () => ({ dims: true }));
export const repeatVector = /* @__PURE__ */ factory(shape.RepeatVector, () => ({ n: true }));
export const zeroPadding1d = /* @__PURE__ */ factory(shape.ZeroPadding1D, () => ({ padding: true }));
export const zeroPadding2d = /* @__PURE__ */ factory(shape.ZeroPadding2D, () => ({ padding: true }));
export const cropping1d = /* @__PURE__ */ factory(shape.Cropping1D, () => ({ cropping: true }));
export const cropping2d = /* @__PURE__ */ factory(shape.Cropping2D, () => ({ cropping: true }));
export const upSampling1d = /* @__PURE__ */ factory(shape.UpSampling1D, () => ({ size: true }));
export const upSampling2d = /* @__PURE__ */ factory(shape.UpSampling2D, () => ({ size: true, interpolation: true }));

export const add = /* @__PURE__ */ factory(merge.Add, () => ({}));
export const subtract = /* @__PURE__ */ factory(merge.Subtract, () => ({}));
export const multiply = /* @__PURE__ */ factory(merge.Multiply, () => ({}));
export const average = /* @__PURE__ */ factory(merge.Average, () => ({}));
export const maximum = /* @__PURE__ */ factory(merge.Maximum, () => ({}));
export const minimum = /* @__PURE__ */ factory(merge.Minimum, () => ({}));
export const concatenate = /* @__PURE__ */ factory(merge.Concatenate, () => ({ axis: true }));
export const dot = /* @__PURE__ */ factory(merge.Dot, () => ({ axes: true, normalize: true }));

const dropping = { rate: true, noiseShape: true, seed: true } as const;
export const dropout = /* @__PURE__ */ factory(regularize.Dropout, () => dropping);
export const spatialDropout1d = /* @__PURE__ */ factory(regularize.SpatialDropout1D, () => dropping);
export const spatialDropout2d = /* @__PURE__ */ factory(regularize.SpatialDropout2D, () => dropping);
export const alphaDropout = /* @__PURE__ */ factory(regularize.AlphaDropout, () => dropping);
export const gaussianNoise = /* @__PURE__ */ factory(regularize.GaussianNoise, () => ({ stddev: true, seed: true }));
export const gaussianDropout = /* @__PURE__ */ factory(regularize.GaussianDropout, () => ({ rate: true, seed: true }));
export const activityRegularization = /* @__PURE__ */ factory(regularize.ActivityRegularization, () => ({ l1: true, l2: true }));

export const rescaling = /* @__PURE__ */ factory(preprocess.Rescaling, () => ({ scale: true, offset: true }));
export const normalization = /* @__PURE__ */ factory(preprocess.Normalization, () => ({
  axis: true,
  mean: true,
  variance: true,
  invert: true,
}));
export const resizing = /* @__PURE__ */ factory(preprocess.Resizing, () => ({
  height: true,
  width: true,
  interpolation: true,
  cropToAspectRatio: true,
}));
export const centerCrop = /* @__PURE__ */ factory(preprocess.CenterCrop, () => ({ height: true, width: true }));
export const randomFlip = /* @__PURE__ */ factory(augment.RandomFlip, () => ({ mode: true, seed: true }));
export const randomTranslation = /* @__PURE__ */ factory(augment.RandomTranslation, () => ({
  heightFactor: true,
  widthFactor: true,
  fillMode: true,
  interpolation: true,
  fillValue: true,
  seed: true,
}));
export const randomCrop = /* @__PURE__ */ factory(augment.RandomCrop, () => ({ height: true, width: true, seed: true }));

export {
  averagePooling1d as avgPool1d,
  averagePooling1d as avgPooling1d,
  averagePooling1d as averagePool1d,
  averagePooling2d as avgPooling2d,
  averagePooling2d as avgPool2d,
  averagePooling2d as averagePool2d,
  concatenate as concat,
  eLU as elu,
  globalAveragePooling1d as globalAvgPool1d,
  globalAveragePooling2d as globalAvgPool2d,
  globalMaxPooling1d as globalMaxPool1d,
  globalMaxPooling2d as globalMaxPool2d,
  leakyReLU as leakyRelu,
  maxPooling1d as maxPool1d,
  maxPooling2d as maxPool2d,
  maxPooling3d as maxPool3d,
  pReLU as prelu,
  reLU as relu,
};
