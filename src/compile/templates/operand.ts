/**
 * @file Elements of an operand as f32, one or a vector of neighbours, wherever they come from: loaded and widened, or by the
 * operand's formula (decoding is done where the product takes its operand, never as a whole matrix).
 */
import type { DType } from '../../base/dtype.js';
import { cast, index, load, loop, type Stmt, variable } from '../../kernel/kernel.js';
import { Ix } from '../symbolic.js';
import { type Contraction, type Element, type Operand, vectorBuffers } from './contract-dims.js';
import { vectorizeValue } from './vectorize.js';

/** The element at an address, in `type`. */
export function elementAt(o: Operand, at: Ix, type: DType): Element {
  if (o.element) return o.element(at);
  return { body: [], value: cast(type, load(o.buffer, o.dtype, at.toExpr())) };
}

/** Elements at `at` … `at` + lanes - 1 as one vector of f32. */
export function vectorAt(c: Contraction, o: Operand, at: Ix, lanes: number): Element {
  if (!o.element) {
    const x = load(o.buffer, o.dtype, at.toExpr(), lanes);
    return { body: [], value: o.dtype === 'f32' || o.dtype === 'f16' || o.dtype === 'bf16' ? x : cast('f32', x) };
  }
  const { body, value } = o.element(at.add(Ix.variable('c_lane', lanes)));
  const vector = vectorizeValue(body, value, 'c_lane', lanes, vectorBuffers(c));
  if (vector) return vector;
  // One after another, into an array.
  const run = (o.fresh as () => string)();
  const store: Stmt = { kind: 'store', buffer: run, index: variable('c_lane'), value };
  return {
    body: [{ kind: 'local', name: run, type: 'f32', size: lanes }, loop('c_lane', 0, lanes, [...body, store], { mode: 'simd' })],
    value: load(run, 'f32', index(0), lanes),
  };
}
