/** @file Layers: classes, and factories with their Keras names in camelCase: `layers.conv2d({ filters: 32, kernelSize: 3 })`. */
import * as activations from './activation-layers.js';
import * as attention from './attention.js';
import * as augment from './augment-geometry.js';
import * as convolution from './conv.js';
import * as core from './core.js';
import * as merge from './merge.js';
import * as norm from './norm.js';
import * as pool from './pool.js';
import * as preprocess from './preprocess.js';
import { type Configurable, type ConfigurableClass, registerBuiltins } from './registry.js';
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
/** The class as a function, registered for loading. */
function factory<A extends unknown[], T extends Configurable>(cls: {
  new (...args: A): T;
  readonly className?: string;
}): (...args: A) => T {
  builtins.push(cls);
  return (...args) => new cls(...args);
}

export const dense = factory(core.Dense);
export const einsumDense = factory(core.EinsumDense);
export const embedding = factory(core.Embedding);
export const activation = factory(core.ActivationLayer);
export const identity = factory(core.IdentityLayer);
export const inputLayer = factory(core.InputLayer);
export const lambda = factory(core.Lambda);
export const masking = factory(core.Masking);

export const reLU = factory(activations.ReLU);
export const leakyReLU = factory(activations.LeakyReLU);
export const pReLU = factory(activations.PReLU);
export const eLU = factory(activations.ELU);
export const softmax = factory(activations.Softmax);

export const conv1d = factory(convolution.Conv1D);
export const conv2d = factory(convolution.Conv2D);
export const conv3d = factory(convolution.Conv3D);
export const conv1dTranspose = factory(convolution.Conv1DTranspose);
export const conv2dTranspose = factory(convolution.Conv2DTranspose);
export const depthwiseConv1d = factory(convolution.DepthwiseConv1D);
export const depthwiseConv2d = factory(convolution.DepthwiseConv2D);
export const separableConv1d = factory(convolution.SeparableConv1D);
export const separableConv2d = factory(convolution.SeparableConv2D);

export const maxPooling1d = factory(pool.MaxPooling1D);
export const maxPooling2d = factory(pool.MaxPooling2D);
export const maxPooling3d = factory(pool.MaxPooling3D);
export const averagePooling1d = factory(pool.AveragePooling1D);
export const averagePooling2d = factory(pool.AveragePooling2D);
export const averagePooling3d = factory(pool.AveragePooling3D);
export const globalMaxPooling1d = factory(pool.GlobalMaxPooling1D);
export const globalMaxPooling2d = factory(pool.GlobalMaxPooling2D);
export const globalAveragePooling1d = factory(pool.GlobalAveragePooling1D);
export const globalAveragePooling2d = factory(pool.GlobalAveragePooling2D);

export const batchNormalization = factory(norm.BatchNormalization);
export const layerNormalization = factory(norm.LayerNormalization);
export const groupNormalization = factory(norm.GroupNormalization);
export const rmsNormalization = factory(norm.RMSNormalization);
export const unitNormalization = factory(norm.UnitNormalization);

export const multiHeadAttention = factory(attention.MultiHeadAttention);
export const groupQueryAttention = factory(attention.GroupQueryAttention);

export const flatten = factory(shape.Flatten);
export const reshape = factory(shape.Reshape);
export const permute = factory(shape.Permute);
export const repeatVector = factory(shape.RepeatVector);
export const zeroPadding1d = factory(shape.ZeroPadding1D);
export const zeroPadding2d = factory(shape.ZeroPadding2D);
export const cropping1d = factory(shape.Cropping1D);
export const cropping2d = factory(shape.Cropping2D);
export const upSampling1d = factory(shape.UpSampling1D);
export const upSampling2d = factory(shape.UpSampling2D);

export const add = factory(merge.Add);
export const subtract = factory(merge.Subtract);
export const multiply = factory(merge.Multiply);
export const average = factory(merge.Average);
export const maximum = factory(merge.Maximum);
export const minimum = factory(merge.Minimum);
export const concatenate = factory(merge.Concatenate);
export const dot = factory(merge.Dot);

export const dropout = factory(regularize.Dropout);
export const spatialDropout1d = factory(regularize.SpatialDropout1D);
export const spatialDropout2d = factory(regularize.SpatialDropout2D);
export const alphaDropout = factory(regularize.AlphaDropout);
export const gaussianNoise = factory(regularize.GaussianNoise);
export const gaussianDropout = factory(regularize.GaussianDropout);
export const activityRegularization = factory(regularize.ActivityRegularization);

export const rescaling = factory(preprocess.Rescaling);
export const normalization = factory(preprocess.Normalization);
export const resizing = factory(preprocess.Resizing);
export const centerCrop = factory(preprocess.CenterCrop);
export const randomFlip = factory(augment.RandomFlip);
export const randomTranslation = factory(augment.RandomTranslation);
export const randomCrop = factory(augment.RandomCrop);

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
