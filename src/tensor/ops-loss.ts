import { ops } from '../graph/builder.js';
import { toTensor } from './operand.js';
import { fromNode, type Tensor, type TensorLike } from './tensor.js';

export function linearCrossEntropy(
  hidden: TensorLike,
  weight: TensorLike,
  labels: TensorLike,
  _options: { chunkRows?: number } = {},
): Tensor {
  const h = toTensor(hidden).cast('f32');
  const w = toTensor(weight).cast('f32');
  const l = toTensor(labels);
  const logits = h.matmul(w.transpose());
  const top = fromNode(ops.stopGradient(logits.max(-1, true).node));
  const lse = logits.sub(top).exp().sum(-1, true).log().add(top);
  const safe = l.maximum(0).reshape([-1, 1]);
  const picked = fromNode(ops.takeAlong(logits.node, safe.node, 1));
  return lse.sub(picked).reshape([-1]).mul(l.notEqual(-100).cast('f32'));
}
