/** @file The one door from tensor/ to the engine below: types of devices and compiled graphs, and the reference tier. */
import type { DType } from '../base/dtype.js';
import type { Shape } from '../base/shape.js';

export type { CompiledGraph, GraphToCompile, Slot } from '../compile/compile.js';
export { compileGraph } from '../compile/compile.js';
export type { Device, DeviceBuffer, Executable } from '../device/device.js';
export { currentDevice, plainDevice } from '../device/registry.js';
export type { TargetInfo } from '../kernel/target.js';

/** Shape and dtype of a value that doesn't exist yet. */
export interface TensorSpec {
  readonly shape: Shape;
  readonly dtype: DType;
}
