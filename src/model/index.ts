/** @file What model/ offers: re-exports only. */
export {
  type AdapterFiles,
  adapterFiles,
  type LoadAdapterOptions,
  loadAdapter,
  type SaveAdapterOptions,
  saveAdapter,
} from './adapter-files.js';
export { Functional, type FunctionalOptions, model } from './functional.js';
export { type LoadOptions, loadModel, modelFromParts } from './load.js';
export {
  type AdapterInfo,
  adapters,
  applyLora,
  type LoraOptions,
  mergeLora,
  setAdapter,
  type TargetModules,
  unloadLora,
  withAdapter,
} from './lora.js';
export { type AnyModel, Model, type ModelOptions, type Outputs } from './model.js';
export { dequantizeModel, type QuantizeOptions, type QuantizeReport, quantizeModel } from './quantize.js';
export type { SaveOptions } from './save.js';
export { Sequential, type SequentialOptions, sequential } from './sequential.js';
export type { SummaryOptions } from './summary.js';
