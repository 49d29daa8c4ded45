/**
 * @file Node: the immutable vertex of the one graph everything is built from. A node's identity is its structure:
 * `compile/simplify` interns a graph before it is lowered, so equal sub-expressions become one node.
 */
import type { DType, TypedArray } from '../base/dtype.js';
import type { Shape } from '../base/shape.js';
import type { ScalarOp } from '../kernel/scalar-ops.js';
import type { PrimitiveArgs } from './primitives/args.js';

/** Names of all primitives: the scalar ops and the families of `primitives/`. */
export type Op = ScalarOp | keyof PrimitiveArgs;

/** The attribute of a primitive: undefined for scalar ops. */
export type ArgOf<O extends Op> = O extends keyof PrimitiveArgs ? PrimitiveArgs[O] : undefined;

export interface Node<O extends Op = Op> {
  readonly id: number;
  readonly op: O;
  readonly inputs: readonly Node[];
  readonly arg: ArgOf<O>;
  readonly dtype: DType;
  readonly shape: Shape;
}

let nextId = 0;

export function makeNode<O extends Op>(op: O, inputs: readonly Node[], arg: ArgOf<O>, dtype: DType, shape: Shape): Node<O> {
  return { id: nextId++, op, inputs, arg, dtype, shape };
}

export const isOp = <O extends Op>(node: Node, op: O): node is Node<O> => node.op === op;

/** Host data of a `buffer` node, in the storage form of its dtype. */
export interface HostBuffer {
  readonly data: TypedArray;
}

/**
 * All nodes reachable from `roots`, inputs before users, without recursion (graphs may be deep). Nodes that `done` has are
 * left out, with what only they lead to.
 */
export function topological(roots: readonly Node[], done: { has(node: Node): boolean } = new Set()): Node[] {
  const order: Node[] = [];
  const state = new Map<Node, number>();
  const stack: Node[] = roots.filter((r) => !done.has(r)).reverse();
  while (stack.length > 0) {
    const node = stack[stack.length - 1];
    const seen = state.get(node);
    if (seen === undefined) {
      state.set(node, 0);
      for (let i = node.inputs.length - 1; i >= 0; i--) {
        const input = node.inputs[i];
        if (!state.has(input) && !done.has(input)) stack.push(input);
      }
    } else {
      stack.pop();
      if (seen === 0) {
        state.set(node, 1);
        order.push(node);
      }
    }
  }
  return order;
}
