/** @file A graph for human eyes: one line a node. */
import { showShape } from '../base/shape.js';
import { type Node, topological } from './node.js';
import type { Variable } from './variable.js';

const isVariable = (x: object): x is Variable => 'version' in x && 'name' in x && 'id' in x;

/** An attribute, short: arrays in brackets, host data as its length, Variables by name. */
function show(x: unknown): string {
  if (Array.isArray(x)) return `[${x.map(show).join(', ')}]`;
  if (ArrayBuffer.isView(x)) return `${x.byteLength} bytes`;
  if (typeof x === 'function') return x.name || 'function';
  if (typeof x === 'string') return `"${x}"`;
  if (typeof x !== 'object' || x === null) return String(x);
  if (isVariable(x)) return `"${x.name}"`;
  return Object.entries(x)
    .map(([key, value]) => `${key}=${show(value)}`)
    .join(' ');
}

/** `%2 = sum f32[3] (%1) axes=[0]`, inputs before users, numbered from 0; the roots are named in the last line. */
export function print(roots: readonly Node[]): string {
  const order = topological(roots);
  const number = new Map(order.map((node, i) => [node, i]));
  const name = (node: Node) => `%${number.get(node)}`;
  const lines = order.map((node) => {
    const inputs = node.inputs.length > 0 ? ` (${node.inputs.map(name).join(', ')})` : '';
    const arg = node.arg === undefined ? '' : ` ${show(node.arg)}`;
    return `${name(node)} = ${node.op} ${node.dtype}${showShape(node.shape)}${inputs}${arg}`;
  });
  return [...lines, `→ ${roots.map(name).join(', ')}`].join('\n');
}
