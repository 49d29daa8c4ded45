/** @file What model/ offers: re-exports only. */
export { Functional, type FunctionalOptions, model } from './functional.js';
export { type LoadOptions, loadModel, modelFromParts } from './load.js';
export { type AnyModel, Model, type ModelOptions, type Outputs } from './model.js';
export type { SaveOptions } from './save.js';
export { Sequential, type SequentialOptions, sequential } from './sequential.js';
export type { SummaryOptions } from './summary.js';
