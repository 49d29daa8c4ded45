/** @file Layers: classes, and factories with their Keras names in camelCase: `layers.conv2d({ filters: 32, kernelSize: 3 })`. */
import * as activations from './activation-layers.js';
import * as attention from './attention.js';
import * as augment from './augment-geometry.js';
import * as convolution from './conv.js';
import * as core from './core.js';
import type { Layer, LayerOptions } from './layer.js';
import * as merge from './merge.js';
import * as norm from './norm.js';
import * as pool from './pool.js';
import * as preprocess from './preprocess.js';
import { type ConfigurableClass, registerBuiltins } from './registry.js';
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

const builtins: ConfigurableClass[] = [];
/** Of the forms that an argument may have, the object's. */
type KeysOf<O> = O extends string | number | ((...args: never[]) => unknown) ? never : keyof O;
/** One entry an option beyond those of every layer: the compiler says when one is missing. */
type Names<A extends unknown[]> = Readonly<Record<Exclude<KeysOf<A[0]>, keyof LayerOptions>, true>>;
/** The class as a function, registered for loading; it refuses options that are not in `names`. */
function factory<A extends unknown[], T extends Layer>(
  cls: {
    new (...args: A): T;
    readonly className?: string;
    optionNames: readonly string[];
  },
  names: Names<A>,
): (...args: A) => T {
  cls.optionNames = Object.keys(names);
  builtins.push(cls);
  return (...args) => new cls(...args);
}

const bias = { useBias: true, biasInitializer: true, biasRegularizer: true, biasConstraint: true } as const;
const projection = { ...bias, kernelInitializer: true, kernelRegularizer: true, kernelConstraint: true } as const;
const kernel = { ...projection, activation: true } as const;
export const dense = factory(core.Dense, { units: true, ...kernel });
export const einsumDense = factory(core.EinsumDense, { equation: true, outputShape: true, biasAxes: true, ...kernel });
export const embedding = factory(core.Embedding, {
  inputDim: true,
  outputDim: true,
  maskZero: true,
  embeddingsInitializer: true,
  embeddingsRegularizer: true,
  embeddingsConstraint: true,
});
export const activation = factory(core.ActivationLayer, { activation: true });
export const identity = factory(core.IdentityLayer, {});
export const inputLayer = factory(core.InputLayer, {});
export const lambda = factory(core.Lambda, { function: true });
export const masking = factory(core.Masking, { maskValue: true });

export const reLU = factory(activations.ReLU, { maxValue: true, negativeSlope: true, threshold: true });
export const leakyReLU = factory(activations.LeakyReLU, { negativeSlope: true, alpha: true });
export const pReLU = factory(activations.PReLU, {
  alphaInitializer: true,
  alphaRegularizer: true,
  alphaConstraint: true,
  sharedAxes: true,
});
export const eLU = factory(activations.ELU, { alpha: true });
export const softmax = factory(activations.Softmax, { axis: true });

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
export const conv1d = factory(convolution.Conv1D, { filters: true, groups: true, ...kernel, ...window });
export const conv2d = factory(convolution.Conv2D, { filters: true, groups: true, ...kernel, ...window });
export const conv3d = factory(convolution.Conv3D, { filters: true, groups: true, ...kernel, ...window });
export const conv1dTranspose = factory(convolution.Conv1DTranspose, { filters: true, outputPadding: true, ...kernel, ...window });
export const conv2dTranspose = factory(convolution.Conv2DTranspose, { filters: true, outputPadding: true, ...kernel, ...window });
export const depthwiseConv1d = factory(convolution.DepthwiseConv1D, depthwise);
export const depthwiseConv2d = factory(convolution.DepthwiseConv2D, depthwise);
export const separableConv1d = factory(convolution.SeparableConv1D, {
  filters: true,
  ...depthwise,
  pointwiseInitializer: true,
  pointwiseRegularizer: true,
  pointwiseConstraint: true,
});
export const separableConv2d = factory(convolution.SeparableConv2D, {
  filters: true,
  ...depthwise,
  pointwiseInitializer: true,
  pointwiseRegularizer: true,
  pointwiseConstraint: true,
});

const pooling = { poolSize: true, strides: true, padding: true, dataFormat: true } as const;
const globalPooling = { keepDims: true, dataFormat: true } as const;
export const maxPooling1d = factory(pool.MaxPooling1D, pooling);
export const maxPooling2d = factory(pool.MaxPooling2D, pooling);
export const maxPooling3d = factory(pool.MaxPooling3D, pooling);
export const averagePooling1d = factory(pool.AveragePooling1D, pooling);
export const averagePooling2d = factory(pool.AveragePooling2D, pooling);
export const averagePooling3d = factory(pool.AveragePooling3D, pooling);
export const globalMaxPooling1d = factory(pool.GlobalMaxPooling1D, globalPooling);
export const globalMaxPooling2d = factory(pool.GlobalMaxPooling2D, globalPooling);
export const globalAveragePooling1d = factory(pool.GlobalAveragePooling1D, globalPooling);
export const globalAveragePooling2d = factory(pool.GlobalAveragePooling2D, globalPooling);

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
export const batchNormalization = factory(norm.BatchNormalization, {
  ...affine,
  axis: true,
  momentum: true,
  movingMeanInitializer: true,
  movingVarianceInitializer: true,
});
export const layerNormalization = factory(norm.LayerNormalization, { ...affine, axis: true });
export const groupNormalization = factory(norm.GroupNormalization, { ...affine, groups: true, axis: true });
export const rmsNormalization = factory(norm.RMSNormalization, { axis: true, epsilon: true });
export const unitNormalization = factory(norm.UnitNormalization, { axis: true });

const attending = { ...projection, dropout: true, seed: true } as const;
export const multiHeadAttention = factory(attention.MultiHeadAttention, {
  ...attending,
  numHeads: true,
  keyDim: true,
  valueDim: true,
  outputShape: true,
});
export const groupQueryAttention = factory(attention.GroupQueryAttention, {
  ...attending,
  headDim: true,
  numQueryHeads: true,
  numKeyValueHeads: true,
});

export const flatten = factory(shape.Flatten, {});
export const reshape = factory(shape.Reshape, { targetShape: true });
export const permute = factory(shape.Permute, { dims: true });
export const repeatVector = factory(shape.RepeatVector, { n: true });
export const zeroPadding1d = factory(shape.ZeroPadding1D, { padding: true });
export const zeroPadding2d = factory(shape.ZeroPadding2D, { padding: true });
export const cropping1d = factory(shape.Cropping1D, { cropping: true });
export const cropping2d = factory(shape.Cropping2D, { cropping: true });
export const upSampling1d = factory(shape.UpSampling1D, { size: true });
export const upSampling2d = factory(shape.UpSampling2D, { size: true, interpolation: true });

export const add = factory(merge.Add, {});
export const subtract = factory(merge.Subtract, {});
export const multiply = factory(merge.Multiply, {});
export const average = factory(merge.Average, {});
export const maximum = factory(merge.Maximum, {});
export const minimum = factory(merge.Minimum, {});
export const concatenate = factory(merge.Concatenate, { axis: true });
export const dot = factory(merge.Dot, { axes: true, normalize: true });

const dropping = { rate: true, noiseShape: true, seed: true } as const;
export const dropout = factory(regularize.Dropout, dropping);
export const spatialDropout1d = factory(regularize.SpatialDropout1D, dropping);
export const spatialDropout2d = factory(regularize.SpatialDropout2D, dropping);
export const alphaDropout = factory(regularize.AlphaDropout, dropping);
export const gaussianNoise = factory(regularize.GaussianNoise, { stddev: true, seed: true });
export const gaussianDropout = factory(regularize.GaussianDropout, { rate: true, seed: true });
export const activityRegularization = factory(regularize.ActivityRegularization, { l1: true, l2: true });

export const rescaling = factory(preprocess.Rescaling, { scale: true, offset: true });
export const normalization = factory(preprocess.Normalization, { axis: true, mean: true, variance: true, invert: true });
export const resizing = factory(preprocess.Resizing, { height: true, width: true, interpolation: true, cropToAspectRatio: true });
export const centerCrop = factory(preprocess.CenterCrop, { height: true, width: true });
export const randomFlip = factory(augment.RandomFlip, { mode: true, seed: true });
export const randomTranslation = factory(augment.RandomTranslation, {
  heightFactor: true,
  widthFactor: true,
  fillMode: true,
  interpolation: true,
  fillValue: true,
  seed: true,
});
export const randomCrop = factory(augment.RandomCrop, { height: true, width: true, seed: true });

registerBuiltins(builtins);

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
