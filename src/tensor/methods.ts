/** @file The one table of chainable methods: a name in a list makes `x.name(…)` of its family's `name(x, …)`. */
import * as activation from './ops-activation.js';
import * as contract from './ops-contract.js';
import * as conv from './ops-conv.js';
import * as elementwise from './ops-elementwise.js';
import * as index from './ops-index.js';
import * as norm from './ops-norm.js';
import * as reduce from './ops-reduce.js';
import * as scan from './ops-scan.js';
import * as shape from './ops-shape.js';
import { Tensor } from './tensor.js';

/** The named functions of a family; each takes the tensor first. */
function pick<T extends object, K extends keyof T>(family: T, names: readonly K[]): Pick<T, K> {
  return Object.fromEntries(names.map((name) => [name, family[name]])) as Pick<T, K>;
}

export const methods = {
  ...pick(elementwise, [
    // arithmetic
    ...([
      'add',
      'subtract',
      'sub',
      'multiply',
      'mul',
      'divide',
      'div',
      'floorDivide',
      'mod',
      'power',
      'pow',
      'maximum',
      'minimum',
    ] as const),
    ...(['negative', 'neg', 'abs', 'sign', 'square', 'reciprocal', 'squaredDifference', 'clip', 'nanToNum'] as const),
    ...(['exp', 'expm1', 'exp2', 'log', 'log1p', 'log2', 'log10', 'logAddExp', 'sqrt', 'rsqrt', 'cbrt', 'hypot', 'erf', 'erfc'] as const),
    ...(['floor', 'ceil', 'trunc', 'round', 'sin', 'cos', 'tan', 'asin', 'acos', 'atan', 'atan2'] as const),
    ...(['sinh', 'cosh', 'tanh', 'asinh', 'acosh', 'atanh', 'deg2rad', 'rad2deg'] as const),
    // comparison, logic, bits, conversion
    ...(['equal', 'notEqual', 'less', 'lessEqual', 'greater', 'greaterEqual', 'isNan', 'isInf', 'isFinite', 'isClose'] as const),
    ...(['logicalNot', 'logicalAnd', 'logicalOr', 'logicalXor', 'bitwiseAnd', 'bitwiseOr', 'bitwiseXor', 'bitwiseNot'] as const),
    ...(['leftShift', 'rightShift', 'cast', 'stopGradient'] as const),
  ]),
  ...pick(activation, [
    ...(['relu', 'relu6', 'leakyRelu', 'elu', 'selu', 'celu', 'sigmoid', 'logSigmoid', 'softplus', 'softsign', 'hardSigmoid'] as const),
    ...(['hardSilu', 'hardTanh', 'silu', 'mish', 'gelu', 'glu', 'hardShrink', 'softShrink', 'tanhShrink', 'threshold'] as const),
    ...(['squareplus', 'sparsemax'] as const),
  ]),
  ...pick(reduce, [
    ...([
      'sum',
      'prod',
      'mean',
      'moments',
      'variance',
      'std',
      'max',
      'min',
      'ptp',
      'any',
      'all',
      'countNonzero',
      'argmax',
      'argmin',
    ] as const),
    ...(['logSumExp', 'median', 'quantile', 'average', 'norm', 'l2Normalize', 'normalize'] as const),
  ]),
  ...pick(shape, [
    ...(['reshape', 'ravel', 'flatten', 'transpose', 'permute', 'swapaxes', 'moveaxis', 'expandDims', 'squeeze', 'broadcastTo'] as const),
    ...(['split', 'unstack', 'pad', 'tile', 'repeat', 'flip', 'roll', 'rot90'] as const),
  ]),
  ...pick(index, [
    ...(['get', 'slice', 'take', 'gather', 'takeAlongAxis', 'gatherNd', 'sliceUpdate', 'dynamicSlice', 'oneHot', 'multiHot'] as const),
    ...(['tril', 'triu', 'diagonal', 'diag', 'trace', 'diff'] as const),
  ]),
  ...pick(contract, ['matmul', 'dot', 'inner', 'vdot', 'outer', 'tensordot', 'cross']),
  ...pick(conv, ['conv', 'depthwiseConv', 'separableConv', 'convTranspose', 'maxPool', 'averagePool']),
  ...pick(scan, ['cumsum', 'cumprod', 'cummax', 'cummin', 'sort', 'argsort', 'topK']),
  ...pick(norm, ['softmax', 'logSoftmax', 'batchNormalization', 'layerNormalization', 'rmsNormalization']),
};

type Chained<F> = F extends (x: never, ...rest: infer R) => infer O ? (...rest: R) => O : never;
export type TensorMethods = { [K in keyof typeof methods]: Chained<(typeof methods)[K]> };

declare module './tensor.js' {
  interface Tensor extends TensorMethods {}
}

for (const [name, fn] of Object.entries(methods)) {
  const call: (x: Tensor, ...rest: never[]) => unknown = fn;
  Object.defineProperty(Tensor.prototype, name, {
    value(this: Tensor, ...rest: never[]) {
      return call(this, ...rest);
    },
    writable: true,
    configurable: true,
  });
}
