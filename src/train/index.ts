/** @file What train/ offers: re-exports only. */
export type { Batch, ClassWeight, Data, DataLike, Structure } from './batch.js';
export type { Callback, CallbackContext, Logs } from './callbacks/callback.js';
export { History } from './callbacks/history.js';
export * as callbacks from './callbacks/index.js';
export type { CheckpointOptions, Position } from './checkpoint.js';
export type { CompileOptions, MetricsOption } from './compiled.js';
export { NonFiniteLossError } from './errors.js';
export type { EvaluateOptions, Evaluation, EvaluationResult } from './evaluate.js';
export type { FitOptions } from './fit.js';
export type { ValidationData } from './fit-data.js';
export type { Objective, ObjectiveContext, ObjectiveResult } from './objective.js';
export type { PredictOptions } from './predict.js';
export {
  type InspectOptions,
  inspectStep,
  type KernelProfile,
  type MachineLimits,
  measureLimits,
  type ProfileOptions,
  profileStep,
  type StepDescription,
  type StepKernel,
  type StepProfile,
} from './profile.js';
export type { Stream, StreamBatch } from './source.js';
