/**
 * @file Groups that are alike are lowered once: the layers of a deep model differ only in which buffers they read and
 * write, and making the loops of each again takes most of the compiler's time and garbage.
 */
import { isOp, makeNode, type Node, topological } from '../graph/node.js';
import type { Group } from './fuse.js';
import type { LoweredCall } from './lower.js';
import { argKey } from './simplify.js';
import { isView } from './views.js';

export class Alike {
  readonly #known = new Map<string, { readonly calls: readonly LoweredCall[]; readonly nodes: readonly Node[] }>();

  /**
   * What `lower` gives for these groups, or what it gave for groups of the same structure with these groups' nodes in it.
   * @param context what else the lowering depends on.
   * @param isOwn what it is told about stored nodes.
   */
  lower(groups: readonly Group[], context: string, isOwn: (n: Node) => boolean, lower: () => LoweredCall[]): LoweredCall[] {
    const { key, nodes } = structureOf(groups, context, isOwn);
    const known = this.#known.get(key);
    if (!known) {
      const calls = lower();
      this.#known.set(key, { calls, nodes });
      return calls;
    }
    const now = new Map(known.nodes.map((n, i) => [n, nodes[i]]));
    // What isn't of the graph is a buffer between the calls: these get their own.
    const at = (n: Node): Node => {
      const x = now.get(n) ?? makeNode(n.op, n.inputs, n.arg, n.dtype, n.shape);
      now.set(n, x);
      return x;
    };
    return known.calls.map((c) => ({
      ...c,
      nodes: c.nodes.map(at),
      inPlace: new Set([...c.inPlace].map(at)),
      ...(c.onto && { onto: at(c.onto) }),
    }));
  }
}

/** Text that two sets of groups share if they are lowered alike, and the nodes that stand behind its numbers. */
function structureOf(groups: readonly Group[], context: string, isOwn: (n: Node) => boolean): { key: string; nodes: Node[] } {
  const members = new Set(groups.flatMap((g) => [...g.members]));
  const nodes: Node[] = [];
  const numbers = new Map<Node, number>();
  const lines = [context];
  const number = (n: Node, inputs = ''): number => {
    const known = numbers.get(n);
    if (known !== undefined) return known;
    // Which Variable or buffer it is makes no difference.
    const arg = isOp(n, 'variable') || isOp(n, 'buffer') || isOp(n, 'input') ? '' : argKey(n);
    lines.push(`${n.op}(${inputs})${arg}:${n.dtype}[${n.shape}]`);
    numbers.set(n, nodes.length);
    return nodes.push(n) - 1;
  };
  // Up to what isn't computed here, but for movements, which the loops look through.
  const isEnd = (n: Node): boolean => !members.has(n) && !isView(n) && n.op !== 'barrier';
  for (const n of topological([...members], { has: isEnd })) number(n, `${n.inputs.map((x) => number(x))}`);
  for (const g of groups) {
    const sets = [g.members, g.stores, g.aligned, g.prologue, g.anchor ? [g.anchor] : [], [...g.stores].filter(isOwn)];
    lines.push(`${sets.map((set) => [...set].map((n) => number(n))).join(';')}[${g.shape}]`);
  }
  return { key: lines.join('\n'), nodes };
}
