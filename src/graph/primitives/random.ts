/** @file Random bits, a pure function of seed, step, stream and element. */
import { DTypeError } from '../../base/errors.js';
import { sameShape, showShape } from '../../base/shape.js';
import type { Family } from './primitive.js';

export const random: Family<'randomBits'> = {
  randomBits: {
    infer([seed, step], { shape }) {
      if (seed.dtype !== 'u32' || !sameShape(seed.shape, [2]) || step.dtype !== 'u32' || step.shape.length > 0)
        throw new DTypeError(
          `randomBits: seed or step is of the wrong kind. Expected u32[2] and u32[], received ${seed.dtype}${showShape(seed.shape)} and ${step.dtype}${showShape(step.shape)}.`,
        );
      return { shape, dtype: 'u32' };
    },
    grad: null,
  },
};
