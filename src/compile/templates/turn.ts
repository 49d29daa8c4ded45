/** @file Turning a block of lines into columns: squares of `lanes` in registers where both are f32, line after line else. */
import type { DType } from '../../base/dtype.js';
import { cast, type Expr, iadd, idiv, imul, load, loop, type Stmt, variable } from '../../kernel/kernel.js';

/**
 * Copies width × count elements of a buffer, whose lines lie along the steps (the first step of line j is at base + j · stride), so that they lie
 * across them.
 */
export function turnedBuffer(
  from: { readonly buffer: string; readonly dtype: DType; readonly base: Expr; readonly stride: number },
  to: { readonly buffer: string; readonly type: DType; readonly base: Expr; readonly stride: number },
  width: number,
  count: Expr,
  lanes: number,
): Stmt[] {
  const j = variable('c_j');
  const k = variable('c_k');
  const one: Stmt = {
    kind: 'store',
    buffer: to.buffer,
    index: iadd(to.base, iadd(imul(k, to.stride), j)),
    value: cast(to.type, load(from.buffer, from.dtype, iadd(from.base, iadd(imul(j, from.stride), k)))),
  };
  const lines = (first: number, last: number, start: Expr | number): Stmt[] =>
    first === last ? [] : [loop('c_j', first, last, [loop('c_k', start, count, [one])])];
  if (from.dtype !== 'f32' || to.type !== 'f32' || lanes < 4) return lines(0, width, 0);
  const whole = Math.floor(width / lanes) * lanes;
  const squares = imul(idiv(count, lanes), lanes);
  const square: Stmt = {
    kind: 'transpose',
    size: lanes,
    from: from.buffer,
    base: iadd(from.base, iadd(imul(j, from.stride), k)),
    stride: from.stride,
    out: to.buffer,
    outBase: iadd(to.base, iadd(imul(k, to.stride), j)),
    outStride: to.stride,
  };
  return [
    ...(whole > 0 ? [loop('c_k', 0, squares, [loop('c_j', 0, whole, [square], { step: lanes })], { step: lanes })] : []),
    ...(squares.kind === 'const' && count.kind === 'const' && squares.value === count.value ? [] : lines(0, whole, squares)),
    ...lines(whole, width, 0),
  ];
}
