/**
 * @file attention with an interval of visible keys for each query, its log-sum-exp and its gradient (FlashAttention, Dao et al. 2022: scores
 * are computed again backward). Causal, sliding, block-diagonal and padding masks are all such intervals.
 */
import { isFloat } from '../../base/dtype.js';
import { ConfigError, DTypeError, ShapeError } from '../../base/errors.js';
import { sameShape, showShape, size } from '../../base/shape.js';
import type { Builder } from '../builder.js';
import type { Node } from '../node.js';
import type { Family } from './primitive.js';

const shown = (...xs: Node[]): string => xs.map((x) => `${x.dtype}${showShape(x.shape)}`).join(', ');

function checkFloat(who: string, what: string, x: Node): void {
  if (!isFloat(x.dtype)) throw new DTypeError(`${who}: ${what} are ${x.dtype}. Expected f32, bf16 or f16. Cast them.`);
}

function checkHeads(who: string, q: Node, k: Node): void {
  checkFloat(who, 'queries', q);
  checkFloat(who, 'keys', k);
  const [batch, , heads, dim] = q.shape;
  const [keyBatch, , groups, keyDim] = k.shape;
  if (q.shape.length !== 4 || k.shape.length !== 4 || batch !== keyBatch || dim !== keyDim || dim < 1)
    throw new ShapeError(
      `${who}: query and key do not fit. Expected [batch, queries, heads, dim] and [batch, keys, groups, dim], received ${shown(q, k)}.`,
    );
  if (groups < 1 || heads % groups !== 0)
    throw new ShapeError(`${who}: ${heads} query heads share ${groups} key heads. Expected a multiple of ${groups} query heads.`);
}

function checkValues(who: string, k: Node, v: Node): void {
  checkFloat(who, 'values', v);
  if (v.shape.length !== 4 || v.shape[3] < 1 || v.shape.slice(0, 3).some((d, i) => d !== k.shape[i]))
    throw new ShapeError(
      `${who}: values do not fit the keys. Expected [batch, keys, groups, valueDim], one a key and head, received ${shown(k, v)}.`,
    );
}

function checkIntervals(who: string, q: Node, first: Node, end: Node): void {
  const wanted = q.shape.slice(0, 2);
  for (const x of [first, end])
    if (x.dtype !== 'i32' || !sameShape(x.shape, wanted))
      throw new ShapeError(
        `${who}: the first visible key and the end are given for each query. Expected i32${showShape(wanted)} each, received ${shown(first, end)}.`,
      );
}

const once = (): never => {
  throw new ConfigError(
    'attention: its gradient is differentiated. Expected first derivatives only. Write it as dotProductAttention, whose derivatives have some of their own.',
  );
};

/** The pieces of a flat tensor, in the shapes and dtypes of `like`. */
function pieces(o: Builder, flat: Node, like: readonly Node[]): Node[] {
  let from = 0;
  return like.map((x) => {
    const to = from + size(x.shape);
    const piece = o.cast(o.reshape(o.slice(flat, [from], [to]), x.shape), x.dtype);
    from = to;
    return piece;
  });
}

export const attention: Family<'attention' | 'attentionLse' | 'attentionGrad'> = {
  attention: {
    infer([q, k, v, first, end]) {
      checkHeads('attention', q, k);
      checkValues('attention', k, v);
      checkIntervals('attention', q, first, end);
      return { shape: [...q.shape.slice(0, 3), v.shape[3]], dtype: q.dtype };
    },
    grad(o, dy, node) {
      const [q, k, v, first, end] = node.inputs;
      const lse = o.attentionLse(q, k, first, end, node.arg.scale);
      return [...pieces(o, o.attentionGrad(node.inputs, node, lse, dy, node.arg.scale), [q, k, v]), null, null];
    },
  },
  attentionLse: {
    infer([q, k, first, end]) {
      checkHeads('attentionLse', q, k);
      checkIntervals('attentionLse', q, first, end);
      return { shape: q.shape.slice(0, 3), dtype: 'f32' };
    },
    grad: once,
  },
  attentionGrad: {
    infer([q, k, v, first, end, out, lse, dy]) {
      checkHeads('attentionGrad', q, k);
      checkValues('attentionGrad', k, v);
      checkIntervals('attentionGrad', q, first, end);
      const wanted = [...q.shape.slice(0, 3), v.shape[3]];
      const isResult = (x: Node): boolean => x.dtype === q.dtype && sameShape(x.shape, wanted);
      if (!isResult(out) || !isResult(dy) || lse.dtype !== 'f32' || !sameShape(lse.shape, wanted.slice(0, 3)))
        throw new ShapeError(
          `attentionGrad: the results do not fit. Expected ${q.dtype}${showShape(wanted)}, f32${showShape(wanted.slice(0, 3))} and ${q.dtype}${showShape(wanted)}, received ${shown(out, lse, dy)}.`,
        );
      return { shape: [size(q.shape) + size(k.shape) + size(v.shape)], dtype: 'f32' };
    },
    grad: once,
  },
};
