/**
 * @file frames: a value that a convolution reads with zeros around it is stored with them alone. Whoever else reads it reads the
 * inside of that frame: one array is written instead of two, and no kernel copies one into the other.
 */
import { size } from '../base/shape.js';
import { ops } from '../graph/builder.js';
import { isOp, type Node, topological } from '../graph/node.js';
import { isScalarOp } from '../kernel/scalar-ops.js';
import { isAnchor } from './fuse.js';

const isElementwise = (n: Node): boolean => isScalarOp(n.op) || n.op === 'cast';
/** A frame may be so many times as large as what it holds. */
const mostGrowth = 1.5;

/** The graph with such values read in their frames; `roots` where there are none. */
export function readInFrames(roots: readonly Node[]): readonly Node[] {
  const order = topological(roots);
  const users = new Map<Node, Node[]>();
  for (const n of order) for (const i of n.inputs) users.get(i)?.push(n) ?? users.set(i, [n]);
  const readers = (n: Node): readonly Node[] => users.get(n) ?? [];
  const rootSet = new Set(roots);

  // Anchors on the way to a node: what has as many as another may be computed in its loops.
  const level = new Map<Node, number>();
  const levelOf = (n: Node): number => level.get(n) ?? 0;
  // Values that the kernel of an anchor of their own size can finish: it stores them where it works.
  const finishing = new Set<Node>();
  for (const n of order) {
    const own = Math.max(0, ...n.inputs.map((i) => levelOf(i) + (isAnchor(i) ? 1 : 0)));
    level.set(n, own);
    const isNext = (i: Node): boolean =>
      size(i.shape) === size(n.shape) && (isAnchor(i) ? levelOf(i) + 1 === own : finishing.has(i) && levelOf(i) === own);
    if (isElementwise(n) && n.inputs.some(isNext)) finishing.add(n);
  }

  const frames = new Map<Node, Node<'pad'>>();
  for (const pad of order) {
    if (!isOp(pad, 'pad')) continue;
    const [x] = pad.inputs;
    const others = readers(x).filter((u) => u !== pad);
    const isFrame = pad.arg.dims.every(([low, high, interior]) => low >= 0 && high >= 0 && interior === 0);
    const isOperand = readers(pad).some((u) => isOp(u, 'conv') || (isOp(u, 'transpose') && readers(u).some((v) => isOp(v, 'conv'))));
    if (!isFrame || !isOperand || size(pad.shape) > mostGrowth * size(x.shape)) continue;
    if (!isElementwise(x) || rootSet.has(x) || finishing.has(x) || others.length === 0) continue;
    // Another frame, or what shares the loops that make the value, wants the value itself.
    if (others.some((u) => u.op === 'pad' || (isElementwise(u) && levelOf(u) === levelOf(x)))) continue;
    frames.set(x, pad);
  }
  if (frames.size === 0) return roots;

  const built = new Map<Node, Node>();
  const inside = (x: Node, pad: Node<'pad'>): Node => {
    const frame = built.get(pad) ?? ops.pad(built.get(x) as Node, pad.arg.dims, pad.arg.value);
    built.set(pad, frame);
    const start = pad.arg.dims.map(([low]) => low);
    return ops.slice(
      frame,
      start,
      start.map((s, i) => s + x.shape[i]),
      start.map(() => 1),
    );
  };
  for (const n of order) {
    if (built.has(n)) continue;
    const inputs = n.inputs.map((i) => {
      const pad = frames.get(i);
      return pad && pad !== n ? inside(i, pad) : (built.get(i) as Node);
    });
    built.set(n, inputs.every((x, i) => x === n.inputs[i]) ? n : ops.make(n.op, inputs, n.arg as never));
  }
  return roots.map((r) => built.get(r) as Node);
}
