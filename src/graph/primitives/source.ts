/** @file The rows without inputs: placeholders, host data, Variables, constants, iota. */
import { DTypeError, InternalError, ShapeError } from '../../base/errors.js';
import { sameShape, showShape, size } from '../../base/shape.js';
import type { Family, TypeOf } from './primitive.js';
import { checkAxes } from './values.js';

function declaredType(op: string, declared: TypeOf | undefined): TypeOf {
  if (!declared) throw new InternalError(`${op} is made with a declared shape and dtype, received none`);
  for (const d of declared.shape)
    if (!Number.isInteger(d) || d < 0)
      throw new ShapeError(`${op}: ${showShape(declared.shape)} is not a shape. Expected whole extents ≥ 0, received ${d}.`);
  return { shape: declared.shape, dtype: declared.dtype };
}

export const source: Family<'input' | 'buffer' | 'variable' | 'constant' | 'iota'> = {
  input: { infer: (_, __, declared) => declaredType('input', declared), grad: null },
  buffer: {
    infer(_, { data }, declared) {
      const type = declaredType('buffer', declared);
      if (data.length !== size(type.shape))
        throw new ShapeError(
          `buffer: data does not fill its shape. Expected ${size(type.shape)} elements for ${showShape(type.shape)}, received ${data.length}.`,
        );
      return type;
    },
    grad: null,
  },
  variable: {
    infer(_, { variable }, declared) {
      if (declared && (!sameShape(declared.shape, variable.shape) || declared.dtype !== variable.dtype))
        throw new InternalError(`variable "${variable.name}" is ${variable.dtype}${showShape(variable.shape)}, its node is not`);
      return { shape: variable.shape, dtype: variable.dtype };
    },
    grad: null,
  },
  constant: {
    infer: (_, __, declared) => declaredType('constant', declared),
    grad: null,
  },
  iota: {
    infer(_, { axis }, declared) {
      const type = declaredType('iota', declared);
      checkAxes('iota', [axis], type.shape);
      if (type.dtype === 'bool') throw new DTypeError('iota: bool cannot count. Expected a number dtype, received bool. Use i32.');
      return type;
    },
    grad: null,
  },
};
