/** @file What transformers are made of: attention over an interval of keys a query, for training and decoding alike, and rotary positions. */
import { ConfigError } from '../base/errors.js';
import { useAttention } from '../compile/attention.js';
import { ops } from '../graph/builder.js';
import { floatNode, indexNode, toNode } from './operand.js';
import { fromNode, type Tensor, type TensorLike } from './tensor.js';

export interface AttentionOptions {
  /** Of each query, [batch, queries]: the first key that it sees, and the one after the last. Outside of [0, keys) there are none. */
  first: TensorLike;
  end: TensorLike;
  /** Of the products of queries and keys; default 1/√dim. */
  scale?: number;
}

/**
 * softmax(q·kᵀ·scale)·v over the visible keys: q [batch, queries, heads, dim], k [batch, keys, groups, dim] and v
 * [batch, keys, groups, valueDim] → [batch, queries, heads, valueDim] in q's dtype. Each is f32, bf16 or f16, and computed with in f32.
 * `heads` is a multiple of `groups`: neighbouring query heads share a key head (Ainslie et al. 2023). A query that sees nothing gives 0.
 * Nothing of queries × keys is stored, forward or backward (FlashAttention, Dao et al. 2022).
 * Masks are intervals: causal `{ first: 0, end: t + 1 }`, a window of w `{ first: t − w + 1 }`, packed documents `{ first: the document's start }`,
 * a cache of which p + 1 places are filled `{ first: 0, end: p + 1 }`.
 * @throws DTypeError, ShapeError, ConfigError
 */
export function attention(q: TensorLike, k: TensorLike, v: TensorLike, options: AttentionOptions): Tensor {
  const [query, key, value] = [q, k, v].map((x) => toNode(x));
  const { scale = 1 / Math.sqrt(query.shape[query.shape.length - 1]) } = options;
  if (!Number.isFinite(scale)) throw new ConfigError(`attention: scale is ${scale}. Expected a finite number.`);
  const [first, end] = [options.first, options.end].map((x) => indexNode(x, 'attention'));
  useAttention();
  return fromNode(ops.attention(query, key, value, first, end, scale));
}

/**
 * Rotary position embedding (Su et al. 2021) in the order of Llama's files: x [batch, steps, heads, d] in q's dtype, whose halves turn as
 * pairs (x[i], x[i + d/2]) by `angles`, f32 [batch, steps, d/2].
 */
export function rotaryEmbedding(x: TensorLike, angles: TensorLike): Tensor {
  const n = floatNode(x);
  const [b, t, h, d] = n.shape;
  const half = d / 2;
  const a = ops.reshape(toNode(angles), [b, t, 1, half]);
  const [cos, sin] = [ops.cos(a), ops.sin(a)];
  const wide = ops.cast(n, 'f32');
  const part = (from: number) => ops.slice(wide, [0, 0, 0, from], [b, t, h, from + half]);
  const [low, high] = [part(0), part(half)];
  const turned = ops.concat([ops.sub(ops.mul(low, cos), ops.mul(high, sin)), ops.add(ops.mul(high, cos), ops.mul(low, sin))], 3);
  return fromNode(ops.cast(turned, n.dtype));
}
