/** @file The oracle: each primitive's own plain meaning, run node by node in double precision. No lowering, no fusion, no plan. */
import { isFloat, type TypedArray } from '../base/dtype.js';
import { ConfigError } from '../base/errors.js';
import { showShape, size } from '../base/shape.js';
import { meanings } from './meanings/index.js';
import type { Meaning, Value } from './meanings/meaning.js';
import { decodeArray, encodeArray, newValue } from './meanings/values.js';
import { isOp, type Node, type Op, topological } from './node.js';
import { roundTo } from './primitives/values.js';
import type { Variable } from './variable.js';

/** Values of the leaves, in storage form; a Float64Array holds numbers as they are (for finite differences). */
export interface Feeds {
  readonly inputs?: ReadonlyMap<number, TypedArray | Float64Array>;
  readonly variables?: (variable: Variable) => TypedArray | Float64Array;
}

export interface InterpretOptions {
  /** Keep doubles throughout instead of rounding every float node to its dtype. */
  readonly precise?: boolean;
}

/** Values of `outputs` in the storage form of their dtypes. Throws ConfigError for a leaf that was not fed. */
export function interpret(outputs: readonly Node[], feeds: Feeds = {}, options: InterpretOptions = {}): TypedArray[] {
  return interpretValues(outputs, feeds, options).map(encodeArray);
}

/** As `interpret`, but floats stay doubles. */
export function interpretValues(outputs: readonly Node[], feeds: Feeds = {}, { precise = false }: InterpretOptions = {}): Value[] {
  const values = new Map<Node, Value>();
  const lookUp = (node: Node): Value => values.get(node) as Value; // inputs come before users
  for (const node of topological(outputs)) {
    const value = fed(node, feeds) ?? compute(node, node.inputs.map(lookUp));
    if (!precise && isFloat(node.dtype)) for (let i = 0; i < value.data.length; i++) value.data[i] = roundTo(node.dtype, value.data[i]);
    values.set(node, value);
  }
  return outputs.map(lookUp);
}

function compute<O extends Op>(node: Node<O>, inputs: readonly Value[]): Value {
  const out = newValue(node.shape, node.dtype);
  const meaning: Meaning<O> = meanings[node.op];
  meaning(out, inputs, node.arg);
  return out;
}

function fed(node: Node, feeds: Feeds): Value | undefined {
  const isInput = isOp(node, 'input');
  if (!isInput && !isOp(node, 'variable')) return undefined;
  const name = isInput ? `input ${node.arg.index} "${node.arg.name}"` : `variable "${node.arg.variable.name}"`;
  const raw = isInput ? feeds.inputs?.get(node.arg.index) : feeds.variables?.(node.arg.variable);
  if (!raw || raw.length !== size(node.shape))
    throw new ConfigError(
      `interpret: ${name} is not fed. Expected ${size(node.shape)} elements for ${node.dtype}${showShape(node.shape)}, received ${raw ? raw.length : 'none'}.`,
    );
  return decodeArray(raw, node.shape, node.dtype);
}
