/** @file Gradients of functions of tensors: grad, valueAndGrad, vjp, customGradient. They nest, eagerly and in traces. */

import { gradients } from '../autodiff/vjp.js';
import { isFloat } from '../base/dtype.js';
import { ConfigError, DTypeError, ShapeError } from '../base/errors.js';
import { showShape } from '../base/shape.js';
import { ops } from '../graph/builder.js';
import { isOp, makeNode, type Node } from '../graph/node.js';
import type { CustomRule } from '../graph/primitives/args.js';
import { toTensor } from './operand.js';
import { depthOfAll, setDepth } from './realize.js';
import { state } from './state.js';
import { Tensor, type TensorLike } from './tensor.js';
import { mapTree } from './tree.js';
import { isVariable, type Variable } from './variable.js';

/** An identity that is a node of its own: derivatives stop there and not at what the caller's tensor came from. */
const separate = (x: Node): Node => makeNode('reshape', [x], { shape: x.shape }, x.dtype, x.shape);

/** Runs `fn` with nodes keeping their identity, so that its graph leads back to the arguments. */
function recording<T>(fn: () => T): T {
  state.gradDepth++;
  try {
    return fn();
  } finally {
    state.gradDepth--;
  }
}
/** How much a gradient counts in the length of a chain: long enough that loops over it are realized in time. */
const GRADIENT_DEPTH = 50;
function finished(nodes: readonly Node[], sources: readonly Node[]): Tensor[] {
  // In a trace nothing is realized, so nothing is measured.
  const depth = state.trace || state.gradDepth > 0 ? 0 : depthOfAll(sources) + GRADIENT_DEPTH;
  return nodes.map((n) => {
    if (depth > 0) setDepth(n, depth);
    return new Tensor(n);
  });
}
function requireScalar(y: Tensor, who: string): void {
  if (y.size !== 1)
    throw new ShapeError(
      `${who}: the function returned shape ${showShape(y.shape)}. Expected a scalar. Reduce it with sum() or mean(), or use vjp().`,
    );
  if (!isFloat(y.dtype)) throw new DTypeError(`${who}: the function returned dtype ${y.dtype}. Expected a float.`);
}
function requireDifferentiable(t: { dtype: Tensor['dtype'] }, who: string): void {
  if (!isFloat(t.dtype))
    throw new DTypeError(`${who}: the argument has dtype ${t.dtype}. Expected a float. Cast it, or leave it out of argnums.`);
}

type Argnums = number | readonly number[];
/** What a differentiated function may return besides its scalar: [value, auxiliary]. */
export type WithAux<A> = readonly [Tensor, A];

/**
 * `(…args) => gradient` of the scalar `fn`: for one argnum (default 0) a Tensor, for several an array.
 * @example
 * const slope = grad((x) => x.square().sum());
 * console.log(await slope([1, 2]).array()); // → [ 2, 4 ]
 */
export function grad<P extends TensorLike[]>(fn: (...args: Tensor[]) => Tensor, argnums?: number): (...args: P) => Tensor;
export function grad<P extends TensorLike[]>(fn: (...args: Tensor[]) => Tensor, argnums: readonly number[]): (...args: P) => Tensor[];
export function grad(fn: (...args: Tensor[]) => Tensor, argnums: Argnums = 0): (...args: TensorLike[]) => Tensor | Tensor[] {
  return (...args) => {
    const { gradients: g } = differentiate(fn, [argnums].flat(), args, 'grad');
    return typeof argnums === 'number' ? g[0] : g;
  };
}

function differentiate(
  fn: (...args: Tensor[]) => Tensor,
  at: readonly number[],
  args: readonly TensorLike[],
  who: string,
): { value: Tensor; gradients: Tensor[] } {
  const sources: Node[] = [];
  const result = recording(() => {
    const own = args.map((a, i) => {
      const t = toTensor(a);
      sources.push(t.node);
      if (!at.includes(i)) return t;
      requireDifferentiable(t, who);
      return new Tensor(separate(t.node));
    });
    for (const i of at)
      if (!own[i]) throw new ConfigError(`${who}: argnum ${i} of ${args.length} arguments. Expected one of 0…${args.length - 1}.`);
    const value = fn(...own);
    requireScalar(value, who);
    const y = value.node;
    return {
      y,
      g: gradients(
        y,
        ops.constant(1, y),
        at.map((i) => own[i].node),
      ),
    };
  });
  return { value: finished([result.y], sources)[0], gradients: finished(result.g, sources) };
}

/**
 * The value and its gradients.
 * With Variables: `valueAndGrad(() => loss, variables)` runs the function now and returns { value, gradients } in their order.
 * With argnums (default 0): returns a function of the arguments, as `grad` does, giving [value, gradient(s)].
 */
export function valueAndGrad(fn: () => Tensor, variables: readonly Variable[]): { value: Tensor; gradients: Tensor[] };
export function valueAndGrad<A>(fn: () => WithAux<A>, variables: readonly Variable[]): { value: Tensor; gradients: Tensor[]; aux: A };
export function valueAndGrad(fn: (...args: Tensor[]) => Tensor, argnums?: number): (...args: TensorLike[]) => [Tensor, Tensor];
export function valueAndGrad(fn: (...args: Tensor[]) => Tensor, argnums: readonly number[]): (...args: TensorLike[]) => [Tensor, Tensor[]];
export function valueAndGrad(
  fn: ((...args: Tensor[]) => Tensor) | (() => WithAux<unknown>),
  of: Argnums | readonly Variable[] = 0,
): { value: Tensor; gradients: Tensor[]; aux?: unknown } | ((...args: TensorLike[]) => [Tensor, Tensor | Tensor[]]) {
  if (isVariableList(of)) return ofVariables(fn as () => Tensor | WithAux<unknown>, of);
  return (...args) => {
    const { value, gradients: g } = differentiate(fn as (...args: Tensor[]) => Tensor, [of].flat(), args, 'valueAndGrad');
    return [value, typeof of === 'number' ? g[0] : g];
  };
}
const isVariableList = (x: Argnums | readonly Variable[]): x is readonly Variable[] =>
  typeof x === 'object' && (x.length === 0 || isVariable(x[0]));

function ofVariables(
  fn: () => Tensor | WithAux<unknown>,
  variables: readonly Variable[],
): { value: Tensor; gradients: Tensor[]; aux?: unknown } {
  let wrt: Node[] = [];
  const result = recording(() => {
    wrt = variables.map((v) => {
      requireDifferentiable(v, `valueAndGrad of "${v.name}"`);
      const { node } = v.read();
      if (!isOp(node, 'constant')) return node;
      // A value that is still to be filled in would be folded into what is computed from it, and is the same node for all such Variables.
      v.assign(new Tensor(separate(node)));
      return v.read().node;
    });
    const out = fn();
    const [value, aux] = Array.isArray(out) ? (out as unknown as WithAux<unknown>) : [out as Tensor, undefined];
    requireScalar(value, 'valueAndGrad');
    const y = value.node;
    return { y, aux, g: gradients(y, ops.constant(1, y), wrt) };
  });
  const value = finished([result.y], wrt)[0];
  return { value, gradients: finished(result.g, wrt), ...(result.aux === undefined ? {} : { aux: result.aux }) };
}

/** The value of `fn(…args)` and its pullback: from a gradient of the value to one of each argument. */
export function vjp(fn: (...args: Tensor[]) => Tensor, ...args: TensorLike[]): [Tensor, (dy: TensorLike) => Tensor[]] {
  const sources = args.map((a) => toTensor(a).node);
  const [y, wrt] = recording(() => {
    const own = sources.map((n) => new Tensor(separate(n)));
    return [fn(...own).node, own.map((t) => t.node)] as const;
  });
  const value = finished([y], sources)[0];
  return [
    value,
    (dy) => {
      const seed = toTensor(dy, y.dtype).node;
      return recording(() => finished(gradients(y, ops.broadcast(seed, y.shape), wrt), sources));
    },
  ];
}

/**
 * A function with a gradient of its own. `fn` returns the value and `grad(dy, args)`, one tensor (or null) an argument.
 * @example const clipped = customGradient((x) => ({ value: x, grad: (dy) => [dy.clip(-1, 1)] }))
 */
export function customGradient<P extends Tensor[]>(
  fn: (...args: P) => { value: Tensor; grad: (dy: Tensor, args: P) => readonly (Tensor | null)[] },
): (...args: { [K in keyof P]: TensorLike }) => Tensor {
  return (...args) => {
    const own = args.map((a) => toTensor(a)) as P;
    const nodes = own.map((t) => t.node);
    const { value, grad: rule } = fn(...own);
    // A checkpoint passes arguments of its own: those of the computation that it repeats.
    const nodeRule: CustomRule = (dy, given) =>
      rule(new Tensor(dy as Node), given.map((n) => new Tensor(n as Node)) as P).map((g) => g?.node ?? null);
    return new Tensor(ops.customGradient(value.node, nodes, nodeRule));
  };
}

/** The tree with every tensor cut off from gradients. */
export const stopGradients = <T>(tree: T): T => mapTree(tree, (t) => new Tensor(ops.stopGradient(t.node)));
