/**
 * @file Reverse-mode differentiation, graph → graph: the gradient rules of the primitives, applied from the output down.
 * The result is an ordinary graph, so differentiating it again gives higher orders.
 */
import { isFloat } from '../base/dtype.js';
import { DTypeError, InternalError, ShapeError } from '../base/errors.js';
import { sameShape, showShape } from '../base/shape.js';
import { ops } from '../graph/builder.js';
import { isOp, type Node, type Op, topological } from '../graph/node.js';
import { primitives } from '../graph/primitives/index.js';

/**
 * Gradients of Σ seed·output with respect to the nodes `wrt`, each of the node's shape and dtype; zeros where the output
 * does not depend on it. Where one node of `wrt` depends on another, the other gets the total derivative.
 * `seed` has the shape and dtype of `output`, a float. Throws ShapeError, DTypeError.
 */
export function gradients(output: Node, seed: Node, wrt: readonly Node[]): Node[] {
  if (!isFloat(output.dtype) || seed.dtype !== output.dtype)
    throw new DTypeError(
      `gradients: cannot differentiate. Expected a float output and a seed of its dtype, received ${output.dtype} and ${seed.dtype}.`,
    );
  if (!sameShape(output.shape, seed.shape))
    throw new ShapeError(
      `gradients: the seed does not fit the output. Expected ${showShape(output.shape)}, received ${showShape(seed.shape)}.`,
    );

  const targets = new Set(wrt);
  const order = topological([output]);
  // A node carries a gradient if it is a float that depends on a target through rules that pass one on.
  const active = new Set<Node>();
  const passes = (node: Node) => primitives[node.op].grad !== null && node.inputs.some((x) => active.has(x));
  for (const node of order) if (isFloat(node.dtype) && (targets.has(node) || passes(node))) active.add(node);

  const gradientOf = new Map<Node, Node>(active.has(output) ? [[output, seed]] : []);
  for (const node of order.reverse()) {
    const dy = gradientOf.get(node);
    if (!dy || !passes(node)) continue;
    if (!targets.has(node)) gradientOf.delete(node);
    inputGradients(node, dy).forEach((g, i) => {
      const x = node.inputs[i];
      if (!g || !active.has(x) || isZero(g)) return;
      const sum = gradientOf.get(x);
      gradientOf.set(x, sum ? ops.add(sum, g) : g);
    });
  }
  return wrt.map((x) => gradientOf.get(x) ?? ops.constant(0, x));
}

const isZero = (x: Node): boolean => isOp(x, 'constant') && x.arg.value === 0;

function inputGradients<O extends Op>(node: Node<O>, dy: Node): (Node | null)[] {
  const all = primitives[node.op].grad?.(ops, dy, node) ?? [];
  all.forEach((g, i) => {
    const x = node.inputs[i];
    if (g && (!sameShape(g.shape, x.shape) || (isFloat(x.dtype) && g.dtype !== x.dtype)))
      throw new InternalError(
        `gradient of ${node.op}: input ${i} is ${x.dtype}${showShape(x.shape)}, its gradient ${g.dtype}${showShape(g.shape)}`,
      );
  });
  return all;
}
