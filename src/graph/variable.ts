/**
 * @file Variable: the noun for everything that changes: parameters, optimizer slots, statistics, accumulators, seeds.
 * Here it is only what the graph must know: identity, shape, dtype and version. Who holds its memory is tensor/'s matter.
 */
import type { DType } from '../base/dtype.js';
import type { Shape } from '../base/shape.js';

export interface Variable {
  readonly id: number;
  readonly name: string;
  readonly shape: Shape;
  readonly dtype: DType;
  /** Counts the overwrites; a read captures it. */
  readonly version: number;
}
