/** @file The elementwise rows, by the functions of kernel/scalar-ops, and cast. */
import { isInteger } from '../../base/dtype.js';
import { type ScalarOp, scalarOps } from '../../kernel/scalar-ops.js';
import { scalarMeaning } from '../primitives/elementwise.js';
import type { Meaning, Meanings, Value } from './meaning.js';

function scalar(op: ScalarOp, out: Value, inputs: readonly Value[]): void {
  const f = scalarMeaning(op, inputs[inputs.length - 1].dtype);
  const [a, b, c] = inputs.map((v) => v.data);
  const n = out.data.length;
  if (inputs.length === 1) for (let i = 0; i < n; i++) out.data[i] = f(a[i]);
  else if (inputs.length === 2) for (let i = 0; i < n; i++) out.data[i] = f(a[i], b[i]);
  else for (let i = 0; i < n; i++) out.data[i] = f(a[i], b[i], c[i]);
}

const cast: Meaning<'cast'> = (out, [x]) => {
  if (out.dtype === 'bool') for (let i = 0; i < x.data.length; i++) out.data[i] = x.data[i] !== 0 ? 1 : 0;
  else if (isInteger(out.dtype)) for (let i = 0; i < x.data.length; i++) out.data[i] = Math.trunc(x.data[i]);
  else out.data.set(x.data);
};

const row =
  (op: ScalarOp): Meaning<ScalarOp> =>
  (out, inputs) =>
    scalar(op, out, inputs);
// fromEntries forgets the keys; they are the table's own, so the type is what the table says.
const scalars = Object.fromEntries((Object.keys(scalarOps) as ScalarOp[]).map((op) => [op, row(op)])) as Meanings<ScalarOp>;

export const elementwise: Meanings<ScalarOp | 'cast'> = { ...scalars, cast };
