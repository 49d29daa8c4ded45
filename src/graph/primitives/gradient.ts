/** @file Rows that compute nothing and tell differentiation what to do. */
import { ConfigError } from '../../base/errors.js';
import { sameShape, showShape } from '../../base/shape.js';
import type { Node } from '../node.js';
import type { Family } from './primitive.js';

const isNode = (x: unknown): x is Node => typeof x === 'object' && x !== null && 'op' in x && 'inputs' in x && 'shape' in x;

export const gradient: Family<'stopGradient' | 'customGradient' | 'barrier'> = {
  stopGradient: {
    infer: ([x]) => ({ shape: x.shape, dtype: x.dtype }),
    grad: null,
  },
  customGradient: {
    infer: ([value]) => ({ shape: value.shape, dtype: value.dtype }),
    grad(_, dy, { inputs: [value, ...args], arg: { rule } }) {
      const results = rule(dy, args, value);
      if (results.length !== args.length)
        throw new ConfigError(`customGradient: one gradient an argument is needed. Expected ${args.length}, received ${results.length}.`);
      const gradients = results.map((g, i) => {
        if (g === null || g === undefined) return null;
        if (!isNode(g) || !sameShape(g.shape, args[i].shape) || g.dtype !== args[i].dtype)
          throw new ConfigError(
            `customGradient: the gradient of argument ${i} does not fit it. Expected ${args[i].dtype}${showShape(args[i].shape)}, received ${isNode(g) ? `${g.dtype}${showShape(g.shape)}` : typeof g}.`,
          );
        return g;
      });
      return [null, ...gradients];
    },
  },
  barrier: {
    infer: ([x]) => ({ shape: x.shape, dtype: x.dtype }),
    grad: (_, dy, { inputs: [, ...others] }) => [dy, ...others.map(() => null)],
  },
};
