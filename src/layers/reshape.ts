/** @file Layers that move elements: flatten, reshape, permute, repeat, pad, crop, enlarge. */
import { ShapeError } from '../base/errors.js';
import { showShape, size } from '../base/shape.js';
import type { Tensor } from '../tensor/index.js';
import { Layer, type LayerOptions } from './layer.js';

/** [n, ...] → [n, the rest]. */
export class Flatten extends Layer {
  static override className = 'Flatten';
  override call(x: Tensor): Tensor {
    if (x.rank < 1) throw new ShapeError(`${this.label}: input ${showShape(x.shape)}. Expected a batch axis.`);
    return x.reshape([x.shape[0], size(x.shape.slice(1))]);
  }
}
export type { LayerOptions };
