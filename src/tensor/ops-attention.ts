/** @file What transformers are made of: attention over an interval of keys a query, and rotary positions. */
import { ops } from '../graph/builder.js';
import { floatNode, toNode, toTensor } from './operand.js';
import { einsum } from './ops-contract.js';
import { fromNode, type Tensor, type TensorLike } from './tensor.js';

export interface AttentionOptions {
  /** i32 [batch, queries]: the first key that a query sees. */
  first: TensorLike;
  /** i32 [batch, queries]: one past the last. */
  end: TensorLike;
  /** Of the scores; default 1/√D. */
  scale?: number;
}

export function attention(query: TensorLike, key: TensorLike, value: TensorLike, options: AttentionOptions): Tensor {
  const [q, k, v] = [query, key, value].map((t) => fromNode(floatNode(t)));
  const [b, t, h, d] = q.shape;
  const [, s, g] = k.shape;
  const scale = options.scale ?? 1 / Math.sqrt(d);
  const grouped = q.cast('f32').reshape([b, t, g, h / g, d]);
  const scores = einsum('btghd,bsgd->bghts', grouped, k.cast('f32')).mul(scale);
  const wide = (x: TensorLike) => toTensor(fromNode(toNode(x))).reshape([b, 1, 1, t, 1]);
  const j = fromNode(ops.iota([s], 0, 'i32'));
  const visible = wide(options.first)
    .lessEqual(j)
    .logicalAnd(j.less(wide(options.end)));
  const e = visible.cast('f32').mul(scores.sub(fromNode(ops.stopGradient(scores.max(-1, true).node))).exp());
  const weights = e.div(e.sum(-1, true).maximum(1e-30));
  return einsum('bghts,bsgd->btghd', weights, v.cast('f32')).reshape([b, t, h, v.shape[3]]).cast(q.dtype);
}

/**
 * Rotary position embedding (Su et al. 2021) in the order of Llama's files: x [batch, steps, heads, d] in q's dtype, whose halves turn as
 * pairs (x[i], x[i + d/2]) by the angles of `rotaryAngles`, f32 [batch, steps, d/2].
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
