/**
 * @file checkpoint: activation checkpointing, or rematerialization (Chen et al. 2016; torch.utils.checkpoint, jax.checkpoint): what a function
 * computes inside isn't kept for the backward pass but computed again in it, from the function's arguments.
 */
import { gradients } from '../autodiff/vjp.js';
import { isFloat } from '../base/dtype.js';
import { ConfigError } from '../base/errors.js';
import { ops } from '../graph/builder.js';
import { isOp, makeNode, type Node } from '../graph/node.js';
import type { CustomRule } from '../graph/primitives/args.js';
import { rewrite } from './rewrite.js';
import { state } from './state.js';
import { isTensor, Tensor } from './tensor.js';

/** Where the graph of `y` begins for a function whose nodes have numbers from `first` on: its arguments, Variables, what it closes over. */
function leavesOf(y: Node, first: number): Node[] {
  const leaves: Node[] = [];
  const seen = new Set([y]);
  for (const n of seen) {
    if (isOp(n, 'constant')) continue;
    if (n.id < first || n.inputs.length === 0) leaves.push(n);
    else for (const i of n.inputs) seen.add(i);
  }
  return leaves;
}

/**
 * `fn` with a backward pass that computes fn's inner values again instead of keeping them: a block of layers then costs the memory of its
 * argument, and its forward pass twice. Values and gradients are those of `fn`, with respect to its arguments, to Variables that it reads and to
 * tensors that it closes over; dropout inside repeats its mask, and what it assigns to Variables is assigned once. Calls may be nested.
 * `fn` returns one tensor; arguments that are no tensors are passed on. Throws ConfigError where it returns something else.
 * @example
 * const cube = checkpoint((x: Tensor) => x.mul(x).mul(x));
 * console.log(await grad((x) => cube(x).sum())([1, 2]).array()); // → [ 3, 12 ]
 */
export function checkpoint<A extends unknown[]>(fn: (...args: A) => Tensor): (...args: A) => Tensor {
  return (...args) => {
    const first = makeNode('constant', [], { value: 0 }, 'f32', []).id;
    const value = fn(...args);
    if (!isTensor(value))
      throw new ConfigError(
        'checkpoint: the function returned no tensor. Expected one tensor. Join several, or checkpoint each by itself.',
      );
    // Where nobody can ask for a gradient, nothing would be kept.
    if (!state.trace && state.gradDepth === 0) return value;
    const y = value.node;
    if (y.id < first || y.inputs.length === 0 || !isFloat(y.dtype)) return value;
    const leaves = leavesOf(y, first);
    const rule: CustomRule = (dy, given) => {
      const late = given.map((x) => ops.barrier(x as Node, [dy as Node]));
      const from = new Map(leaves.map((leaf, i) => [leaf, late[i]]));
      const [again] = rewrite([y], (n) => from.get(n) ?? null);
      return gradients(again, dy as Node, late).map((g, i) => (isFloat(late[i].dtype) ? g : null));
    };
    return new Tensor(ops.customGradient(y, leaves, rule));
  };
}
