/** @file Layers: classes, and factories with their Keras names in camelCase: `layers.conv2d({ filters: 32, kernelSize: 3 })`. */
import * as conv from './conv.js';
import * as core from './core.js';
import * as pool from './pool.js';
import * as regularize from './regularize.js';
import * as reshape from './reshape.js';
import { registerBuiltins } from './registry.js';

export * from './conv.js';
export * from './core.js';
export * from './pool.js';
export * from './regularize.js';
export * from './reshape.js';

type Maker<C extends abstract new (...args: never[]) => unknown> = (...args: ConstructorParameters<C>) => InstanceType<C>;
const factory =
  <C extends new (...args: never[]) => unknown>(cls: C): Maker<C> =>
  (...args) =>
    new cls(...(args as never[])) as InstanceType<C>;

export const dense = factory(core.Dense);
export const activation = factory(core.ActivationLayer);
export const conv2d = factory(conv.Conv2D);
export const maxPooling2d = factory(pool.MaxPooling2D);
export const flatten = factory(reshape.Flatten);
export const dropout = factory(regularize.Dropout);

registerBuiltins([core.Dense, core.ActivationLayer, conv.Conv2D, pool.MaxPooling2D, reshape.Flatten, regularize.Dropout]);
