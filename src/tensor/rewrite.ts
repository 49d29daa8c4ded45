/** @file Rebuilding a graph with some nodes replaced; what doesn't change keeps its identity. */
import { type ArgOf, makeNode, type Node, type Op } from '../graph/node.js';

const remake = <O extends Op>(node: Node<O>, inputs: readonly Node[]): Node<O> =>
  makeNode(node.op, inputs, node.arg as ArgOf<O>, node.dtype, node.shape);

/** `roots` after `replace` (null: keep) was applied to every node reachable without passing a replaced one. */
export function rewrite(roots: readonly Node[], replace: (node: Node) => Node | null): Node[] {
  const done = new Map<Node, Node>();
  const stack: Node[] = [...roots];
  while (stack.length > 0) {
    const node = stack[stack.length - 1];
    if (done.has(node)) {
      stack.pop();
      continue;
    }
    const other = replace(node);
    if (other) {
      done.set(node, other);
      stack.pop();
      continue;
    }
    const open = node.inputs.filter((x) => !done.has(x));
    if (open.length > 0) {
      stack.push(...open);
      continue;
    }
    const inputs = node.inputs.map((x) => done.get(x) ?? x);
    done.set(node, inputs.some((x, i) => x !== node.inputs[i]) ? remake(node, inputs) : node);
    stack.pop();
  }
  return roots.map((r) => done.get(r) ?? r);
}
