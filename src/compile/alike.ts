/**
 * @file Groups that are alike are lowered once: the layers of a deep model differ only in which buffers they read and
 * write, and making the loops of each again takes most of the compiler's time and garbage.
 */
import { isOp, makeNode, type Node } from '../graph/node.js';
import type { Group } from './fuse.js';
import type { LoweredCall } from './lower.js';
import { argKey } from './simplify.js';
import { isView } from './views.js';

/** A lowered call with numbers in the place of nodes: of the shape's nodes, or past their end of temporaries. */
interface Pattern {
  readonly call: LoweredCall;
  readonly nodes: readonly number[];
  readonly inPlace: readonly number[];
  readonly onto: number | null;
}
interface Patterns {
  readonly temporaries: readonly Node[];
  readonly calls: readonly Pattern[];
}

export class Alike {
  readonly #known = new Map<string, Patterns>();

  /**
   * What `lower` gives for these groups, or what it gave for groups of the same structure with these groups' nodes in it.
   * @param context what else the lowering depends on.
   * @param isOwn what it is told about stored nodes.
   */
  lower(groups: readonly Group[], context: string, isOwn: (n: Node) => boolean, lower: () => LoweredCall[]): LoweredCall[] {
    const { key, nodes } = structureOf(groups, context, isOwn);
    const known = this.#known.get(key);
    if (known) return refer(known, nodes);
    const calls = lower();
    this.#known.set(key, patternsOf(calls, nodes));
    return calls;
  }
}

/** Text that two sets of groups share if they are lowered alike, and the nodes that stand behind its numbers. */
function structureOf(groups: readonly Group[], context: string, isOwn: (n: Node) => boolean): { key: string; nodes: Node[] } {
  const numbers = new Map<Node, number>();
  const nodes: Node[] = [];
  const members = new Set(groups.flatMap((g) => [...g.members]));
  const lines = [context];
  /** Numbers inputs before their users; what isn't computed here ends the walk, but for movements, which the loops look through. */
  const visit = (root: Node): number => {
    const stack = [root];
    while (stack.length > 0) {
      const n = stack[stack.length - 1];
      const inputs = members.has(n) ? n.inputs : isView(n) || isOp(n, 'barrier') ? n.inputs.slice(0, 1) : [];
      const open = numbers.has(n) ? [] : inputs.filter((x) => !numbers.has(x));
      if (open.length > 0) {
        stack.push(...open.reverse());
        continue;
      }
      stack.pop();
      if (numbers.has(n)) continue;
      numbers.set(n, nodes.length);
      nodes.push(n);
      const arg = inputs.length > 0 || members.has(n) || isOp(n, 'constant') || isOp(n, 'iota') ? argOf(n) : '';
      lines.push(`${n.op}(${inputs.map((x) => numbers.get(x)).join()})${arg}:${n.dtype}[${n.shape.join()}]`);
    }
    return numbers.get(root) as number;
  };
  for (const g of groups) {
    const list = (set: ReadonlySet<Node>): string => [...set].map(visit).join();
    lines.push(`${list(g.members)};${list(g.stores)};${list(g.aligned)};${list(g.prologue)};${g.anchor ? visit(g.anchor) : ''}`);
    lines.push(`[${g.shape.join()}] ${[...g.stores].map((n) => (isOwn(n) ? 1 : 0)).join('')}`);
  }
  return { key: lines.join('\n'), nodes };
}

/** Which Variable or buffer a leaf is makes no difference. */
const argOf = (n: Node): string => (isOp(n, 'variable') || isOp(n, 'buffer') || isOp(n, 'input') ? '' : argKey(n));

function patternsOf(calls: readonly LoweredCall[], nodes: readonly Node[]): Patterns {
  const numbers = new Map(nodes.map((n, i) => [n, i]));
  const temporaries: Node[] = [];
  const number = (n: Node): number => {
    const known = numbers.get(n);
    if (known !== undefined) return known;
    temporaries.push(n);
    numbers.set(n, nodes.length + temporaries.length - 1);
    return nodes.length + temporaries.length - 1;
  };
  return {
    calls: calls.map((call) => ({
      call,
      nodes: call.nodes.map(number),
      inPlace: [...call.inPlace].map(number),
      onto: call.onto ? number(call.onto) : null,
    })),
    temporaries,
  };
}

function refer({ calls, temporaries }: Patterns, nodes: readonly Node[]): LoweredCall[] {
  const all = [...nodes, ...temporaries.map((t) => makeNode(t.op, t.inputs, t.arg, t.dtype, t.shape))];
  return calls.map(({ call, nodes: places, inPlace, onto }) => ({
    ...call,
    nodes: places.map((i) => all[i]),
    inPlace: new Set(inPlace.map((i) => all[i])),
    ...(onto === null ? {} : { onto: all[onto] }),
  }));
}
