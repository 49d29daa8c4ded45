import type { Family } from './primitive.js';
import { checkAxes } from './values.js';

export const sort: Family<'argsort'> = {
  argsort: {
    infer([x], { axis }) {
      checkAxes('argsort', [axis], x.shape);
      return { shape: x.shape, dtype: 'i32' };
    },
    grad: null,
  },
};
