/** @file The one table of chainable methods: every function here takes the tensor first. A line makes `x.name(…)` of `name(x, …)`. */
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

const { add, subtract, sub, multiply, mul, divide, div, floorDivide, mod, power, pow, maximum, minimum, negative, neg } = elementwise;
const { abs, sign, square, reciprocal, squaredDifference, clip, nanToNum, exp, expm1, exp2, log, log1p, log2, log10, logAddExp } =
  elementwise;
const { sqrt, rsqrt, cbrt, hypot, erf, erfc, floor, ceil, trunc, round, sin, cos, tan, asin, acos, atan, atan2 } = elementwise;
const { sinh, cosh, tanh, asinh, acosh, atanh, deg2rad, rad2deg, equal, notEqual, less, lessEqual, greater, greaterEqual } = elementwise;
const { isNan, isInf, isFinite, isClose, logicalNot, logicalAnd, logicalOr, logicalXor } = elementwise;
const { bitwiseAnd, bitwiseOr, bitwiseXor, bitwiseNot, leftShift, rightShift, cast, stopGradient } = elementwise;
const { relu, relu6, leakyRelu, elu, selu, celu, sigmoid, logSigmoid, softplus, softsign, hardSigmoid, hardSilu, hardTanh } = activation;
const { silu, mish, gelu, glu, hardShrink, softShrink, tanhShrink, threshold, squareplus, sparsemax } = activation;
const { sum, prod, mean, moments, variance, std, max, min, ptp, any, all, countNonzero, argmax, argmin } = reduce;
const { logSumExp, median, quantile, average, norm: norm_, l2Normalize, normalize } = reduce;
const { reshape, ravel, flatten, transpose, permute, swapaxes, moveaxis, expandDims, squeeze, broadcastTo, split, unstack } = shape;
const { pad, tile, repeat, flip, roll, rot90 } = shape;
const {
  get,
  slice,
  take,
  gather,
  takeAlongAxis,
  gatherNd,
  sliceUpdate,
  dynamicSlice,
  oneHot,
  multiHot,
  tril,
  triu,
  diagonal,
  diag,
  trace,
  diff,
} = index;
const { matmul, dot, inner, vdot, outer, tensordot, cross } = contract;
const { depthwiseConv, separableConv, convTranspose, maxPool, averagePool } = conv;
const { cumsum, cumprod, cummax, cummin, sort, argsort, topK } = scan;
const { softmax, logSoftmax, batchNormalization, layerNormalization, rmsNormalization } = norm;

/** `name: function`, the tensor its first argument. */
export const methods = {
  // arithmetic
  ...{ add, subtract, sub, multiply, mul, divide, div, floorDivide, mod, power, pow, maximum, minimum, negative, neg },
  ...{ abs, sign, square, reciprocal, squaredDifference, clip, nanToNum, exp, expm1, exp2, log, log1p, log2, log10, logAddExp },
  ...{ sqrt, rsqrt, cbrt, hypot, erf, erfc, floor, ceil, trunc, round, sin, cos, tan, asin, acos, atan, atan2 },
  ...{ sinh, cosh, tanh, asinh, acosh, atanh, deg2rad, rad2deg, equal, notEqual, less, lessEqual, greater, greaterEqual },
  ...{ isNan, isInf, isFinite, isClose, logicalNot, logicalAnd, logicalOr, logicalXor },
  ...{ bitwiseAnd, bitwiseOr, bitwiseXor, bitwiseNot, leftShift, rightShift, cast, stopGradient },
  // activations
  ...{ relu, relu6, leakyRelu, elu, selu, celu, sigmoid, logSigmoid, softplus, softsign, hardSigmoid, hardSilu, hardTanh },
  ...{ silu, mish, gelu, glu, hardShrink, softShrink, tanhShrink, threshold, squareplus, sparsemax, softmax, logSoftmax },
  // reductions
  ...{ sum, prod, mean, moments, variance, std, max, min, ptp, any, all, countNonzero, argmax, argmin },
  ...{ logSumExp, median, quantile, average, norm: norm_, l2Normalize, normalize },
  // movement and indexing
  ...{ reshape, ravel, flatten, transpose, permute, swapaxes, moveaxis, expandDims, squeeze, broadcastTo, split, unstack },
  ...{ pad, tile, repeat, flip, roll, rot90, get, slice, take, gather, takeAlongAxis, gatherNd, sliceUpdate, dynamicSlice },
  ...{ oneHot, multiHot, tril, triu, diagonal, diag, trace, diff },
  // products, windows, scans
  ...{
    matmul,
    dot,
    inner,
    vdot,
    outer,
    tensordot,
    cross,
    conv: conv.conv,
    depthwiseConv,
    separableConv,
    convTranspose,
    maxPool,
    averagePool,
  },
  ...{ cumsum, cumprod, cummax, cummin, sort, argsort, topK, batchNormalization, layerNormalization, rmsNormalization },
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
