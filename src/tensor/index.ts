/** @file What tensor/ offers: re-exports only. */
import './methods.js';

export type { DType, TypedArray } from '../base/dtype.js';
export type { Shape } from '../base/shape.js';
export * from './creation.js';
export type { Device, DeviceBuffer, TensorSpec } from './engine.js';
export { formatTensor, type NestedArray } from './format.js';
export * from './grad.js';
export { jit } from './jit.js';
export { fromHost, resultDType, toNode, toTensor } from './operand.js';
export * from './ops-activation.js';
export * from './ops-contract.js';
export * from './ops-conv.js';
export * from './ops-elementwise.js';
export * from './ops-index.js';
export * from './ops-norm.js';
export * from './ops-reduce.js';
export * from './ops-scan.js';
export * from './ops-shape.js';
export type { RandomOptions } from './random.js';
export * as random from './random.js';
export { globalRandomState, type RandomSnapshot, RandomState, setRandomSeed } from './random-state.js';
export { clearProgramCache, flushWrites, programCacheSize, realize, realizeSync } from './realize.js';
export { compileStep, Step, type StepInput, type StepOptions } from './step.js';
export { fromNode, type HostArray, isTensor, type Readable, Tensor, type TensorLike } from './tensor.js';
export { hoist, Trace, type TracedGraph, trace as traceFunction } from './trace.js';
export { flattenTree, mapTree, type Tree } from './tree.js';
export { isVariable, Variable, type VariableOptions, variable } from './variable.js';
