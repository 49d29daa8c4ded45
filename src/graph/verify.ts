/** @file Checks that a graph says what its rules say: every node is inferred again. Run in tests and under TENON_DEBUG. */
import { reasonOf } from '../base/errors.js';
import { sameShape, showShape } from '../base/shape.js';
import { type Node, type Op, topological } from './node.js';
import { primitives } from './primitives/index.js';
import type { TypeOf } from './primitives/primitive.js';

const inferAgain = <O extends Op>(node: Node<O>): TypeOf => primitives[node.op].infer(node.inputs, node.arg, node);

/** One message for each node under `roots` that is wrong; none for a sound graph. */
export function verify(roots: readonly Node[]): string[] {
  const messages: string[] = [];
  for (const node of topological(roots)) {
    const who = `node ${node.id} (${node.op})`;
    try {
      const { shape, dtype } = inferAgain(node);
      if (dtype !== node.dtype || !sameShape(shape, node.shape))
        messages.push(
          `${who}: its type is not its rule's. Expected ${dtype}${showShape(shape)}, received ${node.dtype}${showShape(node.shape)}.`,
        );
    } catch (error) {
      messages.push(`${who}: ${reasonOf(error)}`);
    }
  }
  return messages;
}
