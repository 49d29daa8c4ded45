/** @file The public surface: re-exports only, in the order in which a reader meets them. What is not here may change. */

// ---- Tensor: values, operations, gradients, compiled functions, devices

export {
  ConfigError,
  DeviceError,
  DTypeError,
  FormatError,
  InternalError,
  ShapeError,
  TenonError,
} from './base/errors.js';
export { type DeviceName, type DeviceStatus, getDevice, listDevices, setDevice } from './device/registry.js';
export * from './tensor/creation.js';
export type { DType, HostArray, NestedArray, Shape, StepInput, TensorLike, Tree, TypedArray, VariableOptions } from './tensor/index.js';
export {
  compileStep,
  convertToTensor,
  customGradient,
  grad,
  isTensor,
  isVariable,
  jit,
  RandomState,
  random,
  Step,
  setRandomSeed,
  stopGradient,
  stopGradients,
  Tensor,
  tensor,
  Variable,
  valueAndGrad,
  variable,
  vjp,
  wrap,
} from './tensor/index.js';
export * from './tensor/ops-activation.js';
export * from './tensor/ops-attention.js';
export * from './tensor/ops-contract.js';
export * from './tensor/ops-conv.js';
export * from './tensor/ops-elementwise.js';
export * from './tensor/ops-index.js';
export * from './tensor/ops-loss.js';
export * from './tensor/ops-norm.js';
export * from './tensor/ops-reduce.js';
export * from './tensor/ops-scan.js';
export * from './tensor/ops-shape.js';

// ---- layers

export { activations } from './layers/activations.js';
export { deserializeLayer } from './layers/all.js';
export { Constraint, constraints } from './layers/constraints.js';
export * as layers from './layers/index.js';
export {
  type CallContext,
  type CallOptions,
  input,
  Layer,
  type LayerOptions,
  type PartialShape,
  registerClass,
  registerFunction,
  SymbolicTensor,
  serializeLayer,
} from './layers/index.js';
export { Initializer, initializers } from './layers/initializers.js';
export { Regularizer, regularizers } from './layers/regularizers.js';

// ---- models

export type {
  AnyModel,
  FunctionalOptions,
  LoadOptions,
  ModelOptions,
  Outputs,
  SaveOptions,
  SequentialOptions,
  SummaryOptions,
} from './model/index.js';
export { Functional, loadModel, Model, model, Sequential, sequential } from './model/index.js';

// ---- training

export { type Loss, type LossLike, losses, registerLoss } from './losses/index.js';
export {
  classificationReport,
  confusionMatrix,
  Metric,
  type MetricLike,
  metrics,
  registerMetric,
  rocAuc,
  rocAucOneVsRest,
} from './metrics/index.js';
export {
  getOptimizer,
  Optimizer,
  type OptimizerLike,
  type OptimizerOptions,
  optimizers,
  registerOptimizer,
  schedules,
} from './optimizers/index.js';
export type {
  Batch,
  Callback,
  CallbackContext,
  CheckpointOptions,
  CompileOptions,
  Data,
  DataLike,
  EvaluateOptions,
  Evaluation,
  FitOptions,
  InspectOptions,
  KernelProfile,
  Logs,
  MachineLimits,
  Objective,
  ObjectiveResult,
  PredictOptions,
  ProfileOptions,
  StepDescription,
  StepKernel,
  StepProfile,
  Stream,
  StreamBatch,
} from './train/index.js';
export { callbacks, History, inspectStep, NonFiniteLossError, profileStep } from './train/index.js';

// ---- data

export type { ImageClassification, LabelledImages, LoadOptions as DatasetOptions } from './data/datasets/index.js';
export * as data from './data/index.js';
export {
  type ArrayColumn,
  type ColumnLike,
  Dataset,
  type DecodeImageOptions,
  datasets,
  decodeImage,
  type Element,
  type ImageFolderOptions,
  imageFolder,
  toCategorical,
} from './data/index.js';

// ---- files

export { readSafetensors, type TensorData, type TensorMap, writeSafetensors } from './io/safetensors.js';
export type { ByteSource } from './io/source.js';
