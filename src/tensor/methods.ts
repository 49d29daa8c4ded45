/** @file Methods of tensors: every function of chainable.ts as `x.name(…)`. */
import * as chainable from './chainable.js';
import { Tensor } from './tensor.js';

type Chained<F> = F extends (x: never, ...rest: infer R) => infer O ? (...rest: R) => O : never;
export type TensorMethods = { [K in keyof typeof chainable]: Chained<(typeof chainable)[K]> };

declare module './tensor.js' {
  interface Tensor extends TensorMethods {}
}

for (const [name, fn] of Object.entries(chainable)) {
  const call: (x: Tensor, ...rest: never[]) => unknown = fn;
  Object.defineProperty(Tensor.prototype, name, {
    value(this: Tensor, ...rest: never[]) {
      return call(this, ...rest);
    },
    writable: true,
    configurable: true,
  });
}
