/**
 * @file Capture: a lazy graph as structure and data. The structure is a text that equal computations share (buffers and
 * scalar constants are places in it), so that repeating an operation finds its Program; the data fill the places.
 */
import { spelled } from '../base/dtype.js';
import { ConfigError } from '../base/errors.js';
import { size } from '../base/shape.js';
import { ops } from '../graph/builder.js';
import { isOp, makeNode, type Node } from '../graph/node.js';
import { rewrite } from './rewrite.js';
import { realized } from './state.js';
import { Storage } from './storage.js';

export interface Capture {
  /** Structure without the values of constants. */
  readonly key: string;
  readonly outputs: readonly Node[];
  readonly leaves: readonly Storage[];
  readonly constants: readonly Node<'constant'>[];
  /** Which place each buffer node fills. */
  readonly places: ReadonlyMap<Node, number>;
}

/** The buffer node that stands for `node`: itself, or its realization. */
export function asBuffer(node: Node): Node<'buffer'> | null {
  return isOp(node, 'buffer') ? node : (realized.get(node) ?? null);
}

export function capture(outputs: readonly Node[]): Capture {
  const parts: string[] = [];
  const index = new Map<Node, number>();
  const leaves: Storage[] = [];
  const places = new Map<Node, number>();
  const constants: Node<'constant'>[] = [];
  const stack: Node[] = [];
  const resolve = (node: Node): Node => asBuffer(node) ?? node;
  const number = (node: Node, text: string): void => {
    index.set(node, index.size);
    parts.push(`${text}:${node.dtype}[${node.shape.join()}]`);
  };
  const visit = (root: Node): void => {
    stack.push(root);
    while (stack.length > 0) {
      const node = stack[stack.length - 1];
      if (index.has(node)) {
        stack.pop();
        continue;
      }
      if (isOp(node, 'buffer')) {
        places.set(node, leaves.length);
        leaves.push(node.arg instanceof Storage ? node.arg : Storage.of(node.dtype, node.shape, node.arg.data));
        number(node, '#');
        stack.pop();
      } else if (isOp(node, 'constant')) {
        constants.push(node);
        number(node, '=');
        stack.pop();
      } else if (isOp(node, 'input') || isOp(node, 'variable')) {
        throw new ConfigError(
          'tensor: this value belongs to a function that is being traced (jit, fit) and has no elements of its own. Expected a tensor outside of it. Return it from the function and read the result.',
        );
      } else {
        const inputs = node.inputs.map(resolve);
        let open = false;
        for (let i = inputs.length - 1; i >= 0; i--)
          if (!index.has(inputs[i])) {
            stack.push(inputs[i]);
            open = true;
          }
        if (open) continue;
        // JSON has neither infinities nor -0: the one attribute that may hold them is spelled out.
        const fill = isOp(node, 'pad') ? spelled(node.arg.value) : '';
        const arg = node.arg === undefined || isOp(node, 'customGradient') ? '' : JSON.stringify(node.arg) + fill;
        number(node, `${node.op}${arg}(${inputs.map((x) => index.get(x)).join()})`);
        stack.pop();
      }
    }
  };
  for (const o of outputs) visit(o);
  parts.push(outputs.map((o) => index.get(o)).join());
  return { key: parts.join(';'), outputs, leaves, constants, places };
}

/** The structure as a function of inputs: a place for each leaf, then (when `liftConstants`) a scalar for each constant. */
export function template(c: Capture, liftConstants: boolean): Node[] {
  const lifted = new Map<Node, number>(liftConstants ? c.constants.map((n, i) => [n, c.leaves.length + i]) : []);
  return rewrite(c.outputs, (node) => {
    const leaf = asBuffer(node);
    if (leaf) {
      const place = c.places.get(leaf);
      if (place !== undefined) return ops.input(place, `x${place}`, node.shape, node.dtype);
    }
    const scalar = lifted.get(node);
    if (scalar !== undefined) return ops.broadcast(ops.input(scalar, `x${scalar}`, [], node.dtype), node.shape);
    // A copy: what the request's own nodes stand for would live as long as the template.
    return node.inputs.length === 0 ? makeNode(node.op, [], node.arg, node.dtype, node.shape) : null;
  });
}

/** Products of queries × keys × dim. */
const productsOf = { attention: 2, attentionLse: 1, attentionGrad: 5 };

/** Rough arithmetic operations and bytes of a graph: decides on the tier, before anything is lowered. */
export function estimateCost(outputs: readonly Node[]): number {
  let cost = 0;
  const seen = new Set<Node>(outputs);
  for (const node of seen) {
    for (const x of node.inputs) seen.add(x);
    const out = size(node.shape);
    if (isOp(node, 'dot')) cost += 2 * out * node.arg.contract[0].reduce((k, a) => k * node.inputs[0].shape[a], 1);
    else if (isOp(node, 'conv')) cost += (2 * out * size(node.inputs[1].shape)) / Math.max(1, node.shape[node.shape.length - 1]);
    else if (isOp(node, 'attention') || isOp(node, 'attentionLse') || isOp(node, 'attentionGrad')) {
      const [q, k] = node.inputs;
      cost += 2 * productsOf[node.op] * size(q.shape) * k.shape[1];
    } else if (isOp(node, 'windowMax') || isOp(node, 'windowSum') || isOp(node, 'windowArgmax')) cost += out * size(node.arg.size);
    else if (isOp(node, 'argsort')) cost += 20 * out;
    else if (isOp(node, 'randomBits')) cost += 40 * out;
    else if (node.inputs.length > 0) cost += Math.max(out, ...node.inputs.map((x) => size(x.shape)));
    cost += isOp(node, 'input') ? 4 * out : 0;
  }
  for (const o of outputs) cost += 4 * size(o.shape);
  return cost;
}
