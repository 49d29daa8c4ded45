/**
 * @file Load prologues: what a contraction's second operand (by custom the weights) is computed from is read where the
 * product takes the operand, if that is less memory than the operand: casts, and quantized weights times their scales.
 * Such an operand is never a whole matrix in memory; two products (forward, backward) decode it twice.
 */
import { dtypes } from '../base/dtype.js';
import { size } from '../base/shape.js';
import { isOp, type Node } from '../graph/node.js';
import { isScalarOp } from '../kernel/scalar-ops.js';
import { isSource, isView, viewBase } from './views.js';

/** Larger tables are no part of a formula but something to look rows up in. */
export const largestTable = 256;
const mostNodes = 24;

const bytes = (n: Node): number => size(n.shape) * dtypes[n.dtype].bytes;

/** What `base` is computed from, all of it from sources by formulas of one element; null: it isn't, or not from less memory. */
function formulaOf(base: Node): Set<Node> | null {
  const members = new Set<Node>();
  const leaves = new Set<Node>();
  const visit = (n: Node): boolean => {
    if (members.has(n) || leaves.has(n)) return true;
    if (isSource(n)) {
      leaves.add(n);
      return true;
    }
    members.add(n);
    if (members.size > mostNodes) return false;
    if (n.op === 'constant' || n.op === 'iota') return true;
    const isElement = isScalarOp(n.op) || n.op === 'cast' || isView(n) || (isOp(n, 'take') && size(n.inputs[0].shape) <= largestTable);
    return isElement && n.inputs.every(visit);
  };
  if (!visit(base)) return null;
  const read = [...leaves].reduce((sum, n) => sum + bytes(n), 0);
  // A cast to 16 bits reads more than it makes, but to store that and read it again would be more still.
  const isNarrowing = isOp(base, 'cast') && dtypes[base.dtype].bytes === 2;
  return read < bytes(base) || (isNarrowing && read <= 2 * bytes(base)) ? members : null;
}

/** The nodes that contractions compute where they load their second operand. `isStored`: of a node that gets a buffer anyway. */
export function prologueNodes(
  order: readonly Node[],
  users: ReadonlyMap<Node, readonly Node[]>,
  isStored: (n: Node) => boolean,
): Set<Node> {
  const out = new Set<Node>();
  /** Whether everyone who reads it, through movements, is a contraction that takes it as its second operand. */
  const isOperandOnly = (n: Node): boolean =>
    !isStored(n) &&
    (users.get(n) ?? []).every((u) =>
      isView(u) ? isOperandOnly(u) : (isOp(u, 'dot') || isOp(u, 'conv')) && u.inputs[1] === n && u.inputs[0] !== n,
    );
  for (const n of order) {
    if (!isOp(n, 'dot') && !isOp(n, 'conv')) continue;
    const base = viewBase(n.inputs[1]);
    if (isSource(base) || base.op === 'constant' || base.op === 'iota' || out.has(base) || !isOperandOnly(base)) continue;
    for (const m of formulaOf(base) ?? []) out.add(m);
    if (!out.has(base)) continue;
    // Movements between it and the product belong to it.
    for (let m = n.inputs[1]; m !== base; m = m.inputs[0]) out.add(m);
  }
  return out;
}
