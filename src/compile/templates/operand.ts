/**
 * @file Elements of an operand as f32, one or a vector of neighbours, wherever they come from: loaded and widened, or by the
 * operand's formula (decoding is done where the product takes its operand, never as a whole matrix).
 */
import type { DType } from '../../base/dtype.js';
import { cast, type Expr, index, load, loop, type Stmt, variable } from '../../kernel/kernel.js';
import { Ix } from '../symbolic.js';
import { type Contraction, type Element, type Operand, vectorBuffers } from './contract-dims.js';
import { vectorizeValue } from './vectorize.js';

/** The element at an address, in `type`; of a product of pairs the word there. */
export function elementAt(o: Operand, at: Ix, type: DType): Element {
  if (o.pair !== undefined) {
    if (o.pair === 1 && !o.element)
      return { body: [], value: { kind: 'pairs', type: 'u32', buffer: o.buffer, index: at.toExpr(), lanes: 1 } };
    return packed(singleAt(o, at, 'f32'), singleAt(o, at.add(o.pair), 'f32'));
  }
  return singleAt(o, at, type);
}

const packed = (low: Element, high: Element): Element => ({
  body: [...low.body, ...high.body],
  value: { kind: 'pack2', type: 'u32', low: low.value, high: high.value, lanes: low.value.lanes },
});
/** Loads of 16 bits are floats once loaded. */
const asFloat = (x: Expr): Expr => (x.type === 'f16' || x.type === 'bf16' ? x : cast('f32', x));

function singleAt(o: Operand, at: Ix, type: DType): Element {
  if (o.element) return o.element(at);
  const x = load(o.buffer, o.dtype, at.toExpr());
  return { body: [], value: type === 'f32' ? asFloat(x) : cast(type, x) };
}

/** Elements (or words) at `at` … `at` + lanes - 1 as one vector. */
export function vectorAt(c: Contraction, o: Operand, at: Ix, lanes: number): Element {
  if (o.pair !== undefined) return packed(floatsAt(c, o, at, lanes), floatsAt(c, o, at.add(o.pair), lanes));
  return floatsAt(c, o, at, lanes);
}

/** Elements at `at` … `at` + lanes - 1 as one vector of f32, pairs or not. */
export function floatsAt(c: Contraction, o: Operand, at: Ix, lanes: number): Element {
  if (!o.element) return { body: [], value: asFloat(load(o.buffer, o.dtype, at.toExpr(), lanes)) };
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
