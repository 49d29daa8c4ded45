/** @file The elementwise rows, derived from the table of kernel/scalar-ops, and cast. */
import { type DType, isFloat } from '../../base/dtype.js';
import { DTypeError, InternalError, ShapeError } from '../../base/errors.js';
import { sameShape, showShape } from '../../base/shape.js';
import { type ScalarOp, type ScalarRow, scalarOps, scalarRow } from '../../kernel/scalar-ops.js';
import type { Node } from '../node.js';
import type { Family, Primitive, TypeOf } from './primitive.js';

const domains: Record<ScalarRow['domain'], { accepts(d: DType): boolean; text: string; fix: string }> = {
  float: { accepts: isFloat, text: 'a float dtype', fix: 'Cast the operand to f32' },
  number: { accepts: (d) => d !== 'bool', text: 'a number dtype', fix: 'Cast the operand to i32 or f32' },
  int: { accepts: (d) => !isFloat(d), text: 'an integer dtype or bool', fix: 'Cast the operand to i32' },
  any: { accepts: () => true, text: 'any dtype', fix: '' },
};
/** Bit patterns of one bit have no complement or shift of their own. */
const integersOnly: readonly string[] = ['bitNot', 'shl', 'shr'];

function infer(op: ScalarOp, inputs: readonly Node[]): TypeOf {
  const row = scalarRow(op);
  if (inputs.length !== row.arity) throw new InternalError(`${op} takes ${row.arity} operands, received ${inputs.length}`);
  if (op === 'select' && inputs[0].dtype !== 'bool')
    throw new DTypeError(`select: the condition is not bool. Expected bool, received ${inputs[0].dtype}. Compare it or cast it to bool.`);
  const operands = op === 'select' ? inputs.slice(1) : inputs;
  const { dtype } = operands[0];
  for (const x of operands)
    if (x.dtype !== dtype)
      throw new DTypeError(`${op}: operands differ in dtype. Expected equal dtypes, received ${dtype} and ${x.dtype}. Cast one of them.`);
  const domain = domains[row.domain];
  if (!domain.accepts(dtype))
    throw new DTypeError(`${op}: undefined on ${dtype}. Expected ${domain.text}, received ${dtype}. ${domain.fix}.`);
  if (dtype === 'bool' && integersOnly.includes(op))
    throw new DTypeError(`${op}: undefined on bool. Expected an integer dtype, received bool. Use not, and, or, xor, or cast to i32.`);
  for (const x of inputs)
    if (!sameShape(x.shape, inputs[0].shape))
      throw new ShapeError(
        `${op}: operands differ in shape. Expected equal shapes, received ${showShape(inputs[0].shape)} and ${showShape(x.shape)}. Broadcast one of them.`,
      );
  return { shape: inputs[0].shape, dtype: row.out === 'bool' ? 'bool' : dtype };
}

/** The function that a row means on operands of `dtype`, bool results as 0 or 1. Also what constant folding calls. */
export function scalarMeaning(op: ScalarOp, dtype: DType): (...x: number[]) => number {
  const row = scalarRow(op);
  const f = isFloat(dtype) ? row.js : (row.jsInt ?? row.js);
  return row.out === 'bool' || dtype === 'bool' ? (...x) => (f(...x) ? 1 : 0) : f;
}

function row<O extends ScalarOp>(op: O): Primitive<O> {
  const { grad } = scalarRow(op);
  return {
    infer: (inputs) => infer(op, inputs),
    grad: grad && ((o, dy, node) => grad(o, dy, [...node.inputs], node)),
  };
}

const cast: Primitive<'cast'> = {
  infer: ([x], { dtype }) => ({ shape: x.shape, dtype }),
  grad: (o, dy, { inputs: [x] }) => [isFloat(x.dtype) ? o.cast(dy, x.dtype) : null],
};

// fromEntries forgets the keys; they are the table's own, so the type is what the table says.
const scalars = Object.fromEntries((Object.keys(scalarOps) as ScalarOp[]).map((op) => [op, row(op)])) as Family<ScalarOp>;

export const elementwise: Family<ScalarOp | 'cast'> = { ...scalars, cast };
