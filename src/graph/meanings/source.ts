/** @file Host data, constants, iota and random bits, and what passes its input on. */
import { InternalError } from '../../base/errors.js';
import { philox4x32 } from '../../base/philox.js';
import { contiguousStrides } from '../../base/shape.js';
import { roundTo } from '../primitives/values.js';
import type { Meanings } from './meaning.js';
import { decodeArray } from './values.js';

type SourceOp = 'input' | 'buffer' | 'variable' | 'constant' | 'iota' | 'randomBits' | 'stopGradient' | 'customGradient' | 'barrier';

const fed = (op: string) => (): never => {
  throw new InternalError(`${op} has no meaning of its own: interpret feeds it`);
};

export const source: Meanings<SourceOp> = {
  input: fed('input'),
  buffer: (out, _, { data }) => out.data.set(decodeArray(data, out.shape, out.dtype).data),
  variable: fed('variable'),
  constant: (out, _, { value }) => void out.data.fill(roundTo(out.dtype, value)),
  iota(out, _, { axis }) {
    const stride = contiguousStrides(out.shape)[axis];
    for (let i = 0; i < out.data.length; i++) out.data[i] = Math.floor(i / stride) % out.shape[axis];
  },
  randomBits(out, [seed, step], { stream }) {
    for (let i = 0; i < out.data.length; i += 4) {
      const words = philox4x32(i >>> 2, step.data[0], stream >>> 0, 0, seed.data[0], seed.data[1]);
      for (let j = 0; j < 4 && i + j < out.data.length; j++) out.data[i + j] = words[j];
    }
  },
  stopGradient: (out, [x]) => out.data.set(x.data),
  customGradient: (out, [value]) => out.data.set(value.data),
  barrier: (out, [x]) => out.data.set(x.data),
};
