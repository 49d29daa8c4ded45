/** @file Running sum, product and maximum along an axis. */
import { DTypeError } from '../../base/errors.js';
import type { Builder } from '../builder.js';
import type { Node } from '../node.js';
import type { PadDim } from './args.js';
import type { Family, Primitive, TypeOf } from './primitive.js';
import { checkAxes } from './values.js';

type ScanOp = 'cumsum' | 'cumprod' | 'cummax';

function infer(who: string, x: Node, axis: number): TypeOf {
  checkAxes(who, [axis], x.shape);
  if (x.dtype === 'bool') throw new DTypeError(`${who}: undefined on bool. Expected a number dtype, received bool. Cast it to i32.`);
  return { shape: x.shape, dtype: x.dtype };
}

/** x moved by `by` places against the scan's direction along `axis`, filled with `value`. */
function ahead(o: Builder, x: Node, axis: number, by: number, reverse: boolean, value: number): Node {
  const dims = x.shape.map((_, i): PadDim => (i !== axis ? [0, 0, 0] : reverse ? [by, -by, 0] : [-by, by, 0]));
  return o.pad(x, dims, value);
}

/**
 * s with s[j] = b[j] + a[j]·s[j + 1] (s[j − 1] for a reversed scan), by doubling: log₂ n steps of plain elementwise work.
 * Hillis and Steele, "Data parallel algorithms" (1986).
 */
function linearRecurrence(o: Builder, a: Node, b: Node, axis: number, reverse: boolean): Node {
  let [factor, sum] = [a, b];
  for (let by = 1; by < a.shape[axis]; by *= 2) {
    sum = o.add(sum, o.mul(factor, ahead(o, sum, axis, by, reverse, 0)));
    factor = o.mul(factor, ahead(o, factor, axis, by, reverse, 0));
  }
  return sum;
}

const cumsum: Primitive<'cumsum'> = {
  infer: ([x], { axis }) => infer('cumsum', x, axis),
  grad: (o, dy, { arg: { axis, reverse, exclusive } }) => [o.cumsum(dy, axis, { reverse: !reverse, exclusive })],
};

const cumprod: Primitive<'cumprod'> = {
  infer: ([x], { axis }) => infer('cumprod', x, axis),
  // dx[j] = (product before j) · Σ over results i that hold x[j] of dy[i] · (product between j and i):
  // the sum is a linear recurrence, so nothing is ever divided by x.
  grad(o, dy, { inputs: [x], arg: { axis, reverse, exclusive } }) {
    const before = o.cumprod(x, axis, { reverse, exclusive: true });
    const factor = ahead(o, x, axis, 1, reverse, 0);
    const first = exclusive ? ahead(o, dy, axis, 1, reverse, 0) : dy;
    return [o.mul(before, linearRecurrence(o, factor, first, axis, reverse))];
  },
};

const cummax: Primitive<'cummax'> = {
  infer: ([x], { axis }) => infer('cummax', x, axis),
  // The gradient goes to the latest element that set the maximum, as PyTorch's does.
  grad(o, dy, node) {
    const [x] = node.inputs;
    const { axis, reverse } = node.arg;
    const last = o.full(x.shape, x.shape[axis] - 1, 'i32');
    const index = o.iota(x.shape, axis, 'i32');
    const order = reverse ? o.sub(last, index) : index;
    const setter = o.cummax(o.select(o.eq(x, node), order, o.constant(0, order)), axis, { reverse });
    return [o.takeAlongAdd(dy, reverse ? o.sub(last, setter) : setter, axis, x.shape[axis])];
  },
};

export const scans: Family<ScanOp> = { cumsum, cumprod, cummax };
