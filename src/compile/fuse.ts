/**
 * @file fuse: decides which nodes get a buffer and which are computed inside another node's loops. A Group becomes one
 * kernel (or a few): it iterates over one shape, may hold one anchor (a reduction, contraction, scan …) whose finished
 * elements feed the elementwise nodes around it, and stores one or more results.
 */
import { dtypes } from '../base/dtype.js';
import { type Shape, sameShape, size } from '../base/shape.js';
import { isOp, type Node, type Op, topological } from '../graph/node.js';
import { isScalarOp, type ScalarOp } from '../kernel/scalar-ops.js';
import { prologueNodes } from './prologue.js';
import { behindBarriers, isSource, isView, rowView, unshaped, viewBase } from './views.js';

export interface Group {
  readonly id: number;
  /** What the loops run over: the anchor's shape, or the stored shape of most axes; all stores have its row-major order. */
  shape: Shape;
  anchor: Node | null;
  /** Everything computed in this kernel, the anchor and what is recomputed included. */
  readonly members: Set<Node>;
  /** Members whose value is written to a buffer. */
  readonly stores: Set<Node>;
  /** Members that every user in the group reads at the element being computed. */
  readonly aligned: Set<Node>;
  /** Stored by other groups, which come first: what barriers wait for. */
  readonly waits: Set<Node>;
  /** Members that a contraction computes where it loads its second operand. */
  readonly prologue: Set<Node>;
}

/** Nodes that cost nothing to repeat anywhere. */
const isFree = (n: Node): boolean => n.op === 'constant' || n.op === 'iota';

const scalarCost: Partial<Record<ScalarOp, number>> = {
  div: 3,
  idiv: 3,
  mod: 3,
  sqrt: 3,
  rsqrt: 4,
  exp: 8,
  expm1: 12,
  log: 8,
  log1p: 12,
  sin: 10,
  cos: 10,
  tanh: 10,
  sigmoid: 10,
  erf: 12,
  pow: 20,
  atan2: 20,
};

/** Windows up to this many taps are written out inline; larger ones are loops. */
export const inlineWindow = 16;
const windowTaps = (sizes: readonly number[]) => sizes.reduce((a, b) => a * b, 1);

const anchorOps = new Set<Op>([
  'sum',
  'reduceMax',
  'reduceMin',
  'prod',
  'argmax',
  'argmin',
  'dot',
  'conv',
  'takeAdd',
  'takeAlongAdd',
  'putRows',
  'cumsum',
  'cumprod',
  'cummax',
  'argsort',
  'attention',
  'attentionLse',
  'attentionGrad',
]);

export type AttentionNode = Node<'attention'> | Node<'attentionLse'> | Node<'attentionGrad'>;
export const isAttention = (n: Node): n is AttentionNode => isOp(n, 'attention') || isOp(n, 'attentionLse') || isOp(n, 'attentionGrad');

/** What a node reads from memory, even where it's free to make: a contraction's and an attention's operands behind movements. */
function memoryOperands(n: Node): readonly Node[] {
  if (isOp(n, 'dot') || isOp(n, 'conv')) return n.inputs.map(viewBase);
  if (isAttention(n)) return n.inputs.map((x) => (x.shape.length === 4 ? rowView(x).base : x));
  return [];
}

/** Anchors need loops of their own; everything else is a formula of its inputs' elements. */
export function isAnchor(n: Node): boolean {
  if (isOp(n, 'windowMax') || isOp(n, 'windowSum') || isOp(n, 'windowArgmax')) return windowTaps(n.arg.size) > inlineWindow;
  return anchorOps.has(n.op);
}
/** Anchors whose kernel writes its result itself, so that nothing can follow in the same loops. */
const isClosed = (n: Node): boolean =>
  n.op === 'argsort' || n.op === 'takeAdd' || n.op === 'takeAlongAdd' || n.op === 'putRows' || isAttention(n);

/** Work of one element of a node computed inline. */
function elementCost(n: Node): number {
  if (isScalarOp(n.op)) return scalarCost[n.op] ?? 1;
  if (isOp(n, 'windowMax') || isOp(n, 'windowSum') || isOp(n, 'windowArgmax') || isOp(n, 'windowScatter') || isOp(n, 'windowSpread'))
    return 2 * windowTaps(n.arg.size);
  switch (n.op) {
    case 'randomBits':
      return 40;
    case 'concat':
      return n.inputs.length;
    case 'take':
    case 'takeAlong':
    case 'windowGather':
    case 'dynamicSlice':
    case 'dynamicUpdateSlice':
      return 2;
    default:
      return 0;
  }
}

export const isElementwise = (n: Node): boolean => isScalarOp(n.op) || n.op === 'cast';
/** Nodes whose element k (row-major) depends on element k of their inputs. */
const keepsOrder = (n: Node): boolean => isElementwise(n) || n.op === 'reshape';

/** Input elements read for each element of an anchor or inline window: how often the input's formula would run. */
function evaluations(user: Node, input: Node, userCount: number): number {
  if (isOp(user, 'windowMax') || isOp(user, 'windowSum') || isOp(user, 'windowArgmax')) return userCount * windowTaps(user.arg.size);
  // A contraction reads its operands from buffers: each element was computed once. Rows that are put somewhere are read once.
  if (isOp(user, 'dot') || isOp(user, 'conv') || isOp(user, 'putRows') || isAttention(user)) return size(input.shape);
  return isAnchor(user) ? Math.max(userCount, size(input.shape)) : userCount;
}

/** Elements up to which a kernel of its own costs a value little. */
const mostSmall = 1 << 15;
/** Work up to which an element is computed anew rather than written and read again. */
const repeatableCost = 8;

/**
 * Elementwise nodes whose formula only reads values that have a buffer anyway (and small ones): computed
 * anew where they are read, they need none themselves.
 */
function coveredNodes(
  order: readonly Node[],
  users: ReadonlyMap<Node, readonly Node[]>,
  level: ReadonlyMap<Node, number>,
  isStored: (n: Node) => boolean,
): Set<Node> {
  const covered = new Set<Node>();
  const readersOf = new Map<Node, Set<Node>>();
  const readers = (n: Node): Set<Node> => {
    let set = readersOf.get(n);
    if (!set) {
      set = new Set((users.get(n) ?? []).flatMap((u) => (isView(u) ? [...readers(u)] : [u])));
      readersOf.set(n, set);
    }
    return set;
  };
  // Anchors on the way to the first that reads a node: where its loops run.
  const home = new Map<Node, number>();
  for (const n of [...order].reverse()) {
    const own = level.get(n) ?? 0;
    const first = Math.min(...[...readers(n)].map((u) => home.get(u) ?? 0));
    home.set(n, isElementwise(n) && !isStored(n) && Number.isFinite(first) ? Math.max(own, first) : own);
  }
  /** Whether its reader is there for a reduction alone (the square of a gradient, for their norm), and others read it in later loops: it has a buffer. */
  const isKeptFor = (n: Node, reader: Node): boolean => {
    const isReduced = [...readers(reader)].every((u) => isOp(u, 'sum') || isOp(u, 'reduceMax') || isOp(u, 'reduceMin'));
    const made = (level.get(n) ?? 0) + (isAnchor(n) ? 1 : 0);
    return isReduced && [...readers(n)].some((u) => u !== reader && (home.get(u) ?? 0) > made);
  };
  const isReadLater = (n: Node): boolean => [...readers(n)].some((u) => !isElementwise(u) || (home.get(u) ?? 0) > (home.get(n) ?? 0));
  const isSmall = (i: Node, n: Node): boolean => isFree(i) || 4 * size(i.shape) <= size(n.shape);
  /** Bytes an element of what is cheap to compute from a node alone and read later: from twice its own on, the node is stored instead. */
  const saved = new Map<Node, number>();
  for (const n of order) {
    const [only, ...others] = new Set(n.inputs.filter((i) => !isSmall(i, n)));
    if (!isElementwise(n) || !only || others.length > 0 || !isElementwise(only) || elementCost(n) > repeatableCost || !isReadLater(n))
      continue;
    saved.set(only, (saved.get(only) ?? 0) + dtypes[n.dtype].bytes);
  }
  /** Whether it gets a buffer: some read it in loops of their own, or would read what it makes. */
  const hasBuffer = (n: Node): boolean =>
    isSource(n) ||
    isStored(n) ||
    (readers(n).size > 1 && [...readers(n)].some((u) => !isElementwise(u))) ||
    (saved.get(n) ?? 0) >= 2 * dtypes[n.dtype].bytes;
  const formulas = new Map<Node, { readonly leaves: ReadonlySet<Node>; readonly cost: number }>();
  for (const n of order) {
    if (!isElementwise(n) && !isView(n)) continue;
    const leaves = new Set<Node>();
    let cost = elementCost(n);
    for (const i of n.inputs) {
      if (isSmall(i, n)) continue;
      const formula = isStored(i) || isKeptFor(i, n) ? undefined : formulas.get(i);
      if (formula) cost += formula.cost;
      for (const l of formula?.leaves ?? [i]) leaves.add(l);
    }
    const count = readers(n).size;
    const read = [...leaves].reduce((bytes, l) => bytes + dtypes[l.dtype].bytes, 0) * count;
    const isCovered =
      isElementwise(n) &&
      cost <= repeatableCost &&
      leaves.size > 0 &&
      [...leaves].every((l) => (hasBuffer(l) || isKeptFor(l, n)) && size(l.shape) <= size(n.shape)) &&
      // Less than to write it (which reads the lines too) and read it again.
      read < dtypes[n.dtype].bytes * (count + 2);
    if (isCovered) covered.add(n);
    if (cost <= repeatableCost && (isCovered || !hasBuffer(n))) formulas.set(n, { leaves, cost });
  }
  return covered;
}

/** How many such nodes are on the way to each one. */
function levels(order: readonly Node[], isCounted: (n: Node) => boolean): Map<Node, number> {
  const level = new Map<Node, number>();
  for (const n of order) level.set(n, Math.max(0, ...n.inputs.map((i) => (level.get(i) ?? 0) + (isCounted(i) ? 1 : 0))));
  return level;
}
const isProduct = (n: Node): boolean => isOp(n, 'dot') || isOp(n, 'conv');

export interface Fusion {
  /** In an order in which no group comes before one it reads from. */
  readonly groups: readonly Group[];
  /** The group that stores a node. */
  readonly storedBy: ReadonlyMap<Node, Group>;
}

/**
 * Nodes that `g` reads from the stores of other groups: members' inputs that are not members, and what contractions (through
 * movements), sorts and updates of rows find in memory even where it's free to make.
 */
export function nodesRead(g: Group, storedBy: ReadonlyMap<Node, Group>): Set<Node> {
  const out = new Set(g.waits);
  for (const m of g.members) {
    for (const i of m.inputs.map(behindBarriers)) if (storedBy.has(i) && !g.members.has(i)) out.add(i);
    const fromMemory = isOp(m, 'argsort') ? m.inputs : isOp(m, 'putRows') ? [unshaped(m.inputs[0])] : memoryOperands(m);
    for (const i of fromMemory.map(behindBarriers)) if ((storedBy.get(i) ?? g) !== g) out.add(i);
  }
  return out;
}

/** Groups whose stores `g` reads. */
export function groupsRead(g: Group, storedBy: ReadonlyMap<Node, Group>): Set<Group> {
  const out = new Set<Group>();
  for (const n of nodesRead(g, storedBy)) out.add(storedBy.get(n) as Group);
  return out;
}

/** The nodes of `order` that read each one. */
export function usersOf(order: readonly Node[]): Map<Node, Node[]> {
  const users = new Map<Node, Node[]>();
  for (const n of order) for (const i of n.inputs) users.get(i)?.push(n) ?? users.set(i, [n]);
  return users;
}

/** Groups the (simplified) graph below `roots`. Every root that is not a source gets a store. */
export function fuse(roots: readonly Node[]): Fusion {
  const order = topological(roots);
  const users = usersOf(order);
  const rootSet = new Set(roots);

  // Work to recompute a node from buffers, ∞ behind an anchor.
  const depth = new Map<Node, number>();
  for (const n of order) {
    const below = Math.max(0, ...n.inputs.map((i) => depth.get(i) ?? 0));
    depth.set(n, isSource(n) || isFree(n) ? 0 : isAnchor(n) ? Number.POSITIVE_INFINITY : below + elementCost(n));
  }

  const forced = new Set<Node>();
  const prologue = prologueNodes(order, users, (n) => rootSet.has(n));
  for (const n of order) {
    for (const i of memoryOperands(n)) if (!isSource(i) && !prologue.has(i)) forced.add(i);
    if (isOp(n, 'barrier') && !isSource(n.inputs[0])) forced.add(n.inputs[0]);
  }
  const level = levels(order, isAnchor);
  const products = levels(order, isProduct);
  const productsIn = (n: Node): number => (products.get(n) ?? 0) + (isProduct(n) ? 1 : 0);
  const covered = coveredNodes(order, users, level, (n) => rootSet.has(n) || forced.has(n));

  /** Whether `n` is made of `from`. */
  const isMadeOf = (n: Node, from: Node): boolean => {
    const seen = new Set([n]);
    const least = level.get(from) ?? 0;
    for (const x of seen) {
      if (x === from) return true;
      for (const i of x.inputs) if ((level.get(i) ?? 0) >= least) seen.add(i);
    }
    return false;
  };
  // Nodes that could be the epilogue of an anchor: storing them instead of what they are made of saves the traffic.
  const overAnchor = new Map<Node, Node>();
  for (const n of order) {
    if (isAnchor(n) && !isClosed(n)) overAnchor.set(n, n);
    if (isAnchor(n) || !keepsOrder(n)) continue;
    for (const i of n.inputs) {
      const anchor = size(i.shape) === size(n.shape) ? overAnchor.get(i) : undefined;
      // What takes the whole of the anchor's result (a softmax its maximum) can't follow in its loops.
      if (!anchor || n.inputs.some((j) => j !== i && overAnchor.get(j) !== anchor && isMadeOf(j, anchor))) continue;
      overAnchor.set(n, anchor);
      break;
    }
  }

  // Of a sum of many, each is added to what there is so far where it lies: none of them waits for the others, or for what comes much later
  // (the gradient of a table that is the output matrix too).
  const isSum = (n: Node): boolean => isOp(n, 'add') && n.inputs.every((i) => overAnchor.has(i) && size(i.shape) === size(n.shape));

  const groups: Group[] = [];
  const groupsOf = new Map<Node, Set<Group>>();
  const storedBy = new Map<Node, Group>();
  /** How many elements of a member the group computes. */
  const counts = new Map<Group, Map<Node, number>>();

  /** Groups that come after a node: they read a barrier that waits for it. */
  const followers = new Map<Node, Set<Group>>();
  const follow = (n: Node, readers: Iterable<Group>): void => {
    const set = followers.get(n) ?? new Set();
    for (const g of readers) set.add(g);
    if (set.size > 0) followers.set(n, set);
  };

  const join = (g: Group, n: Node, count: number, aligned: boolean) => {
    g.members.add(n);
    if (aligned) {
      g.aligned.add(n);
      if (!g.anchor && n.shape.length > g.shape.length) g.shape = n.shape;
    }
    counts.get(g)?.set(n, count);
    const set = groupsOf.get(n) ?? new Set();
    set.add(g);
    groupsOf.set(n, set);
  };
  const store = (g: Group, n: Node) => {
    g.stores.add(n);
    storedBy.set(n, g);
    for (const f of followers.get(n) ?? []) f.waits.add(n);
  };
  const newGroup = (n: Node): Group => {
    const g: Group = {
      id: groups.length,
      shape: n.shape,
      anchor: isAnchor(n) ? n : null,
      members: new Set(),
      stores: new Set(),
      aligned: new Set(),
      waits: new Set(),
      prologue: new Set(),
    };
    groups.push(g);
    counts.set(g, new Map());
    join(g, n, size(n.shape), true);
    store(g, n);
    return g;
  };

  const reads = (g: Group): Set<Group> => groupsRead(g, storedBy);
  const dependsOn = (g: Group, targets: ReadonlySet<Group>): boolean => {
    const seen = new Set<Group>([g]);
    const stack = [g];
    for (let x = stack.pop(); x; x = stack.pop())
      for (const p of reads(x)) {
        if (targets.has(p)) return true;
        if (!seen.has(p)) {
          seen.add(p);
          stack.push(p);
        }
      }
    return false;
  };

  /**
   * Whether a small value and those of the group would wait for each other's products: the number of labels that the gradient is divided
   * by, for the loss that is divided by it too.
   */
  const isDelay = (n: Node, g: Group): boolean => size(n.shape) <= mostSmall && [...g.stores].some((m) => productsIn(m) !== productsIn(n));

  /** A group over the same elements that reads one of n's inputs too, so that one loop can make both (a maximum and its position). */
  const sibling = (n: Node, candidates: ReadonlySet<Group>): Group | undefined => {
    for (const input of n.inputs) {
      if (isFree(input) || size(input.shape) < size(n.shape)) continue;
      for (const u of users.get(input) ?? []) {
        const g = storedBy.get(u);
        const others = new Set([...candidates, ...(followers.get(n) ?? [])]);
        if (!g || u === n || g.anchor || !sameShape(g.shape, n.shape) || isDelay(n, g) || others.has(g) || dependsOn(g, others)) continue;
        return g;
      }
    }
    return undefined;
  };

  for (let k = order.length - 1; k >= 0; k--) {
    const n = order[k];
    const candidates = new Set<Group>();
    for (const u of users.get(n) ?? []) for (const g of groupsOf.get(u) ?? []) candidates.add(g);
    if (isOp(n, 'argsort') && !isSource(n.inputs[0])) forced.add(n.inputs[0]);
    if (isOp(n, 'putRows') && !isSource(unshaped(n.inputs[0]))) forced.add(unshaped(n.inputs[0]));
    const later = followers.get(n) ?? new Set<Group>();
    if (isOp(n, 'barrier')) for (const i of n.inputs) follow(i, [...candidates, ...later]);
    if (isSource(n)) continue;
    if (isFree(n)) {
      if (rootSet.has(n) || forced.has(n)) newGroup(n);
      for (const g of candidates) join(g, n, 0, false);
      continue;
    }

    const usersIn = (g: Group) => (users.get(n) ?? []).filter((u) => g.members.has(u));
    const alignedIn = (g: Group) => size(g.shape) === size(n.shape) && usersIn(g).every((u) => keepsOrder(u) && g.aligned.has(u));
    const countIn = (g: Group) => Math.max(...usersIn(g).map((u) => evaluations(u, n, counts.get(g)?.get(u) ?? size(g.shape))));
    const needsStore = rootSet.has(n) || forced.has(n);
    if (prologue.has(n) && !needsStore) {
      for (const g of candidates) {
        join(g, n, countIn(g), false);
        g.prologue.add(n);
      }
      continue;
    }
    const host = (allowAnchor: boolean): Group | undefined => {
      for (const g of candidates) {
        if (!alignedIn(g) || (g.anchor !== null && !allowAnchor) || g.members.size > 400) continue;
        const others = new Set([...candidates, ...later].filter((h) => h !== g));
        if (later.has(g) || (others.size > 0 && (isDelay(n, g) || dependsOn(g, others)))) continue;
        return g;
      }
      return undefined;
    };

    if (isAnchor(n)) {
      const g = isClosed(n) ? undefined : host(false);
      if (g) {
        g.anchor = n;
        g.shape = n.shape;
        join(g, n, size(n.shape), true);
        if (needsStore || candidates.size > 1) store(g, n);
      } else newGroup(n);
      if (!storedBy.has(n)) for (const i of n.inputs) follow(i, later);
      continue;
    }

    const isMovement = !isElementwise(n) && elementCost(n) === 0;
    const repeats = (g: Group) => !isMovement && countIn(g) > 1.5 * size(n.shape) && (elementCost(n) >= 4 || (depth.get(n) ?? 0) >= 16);
    const cheap = (depth.get(n) ?? 0) <= 2 || isMovement || covered.has(n);
    const only = candidates.size === 1 ? [...candidates][0] : undefined;
    const isPartialSum =
      only !== undefined && isSum(n) && (only.anchor !== null || [...only.stores].some((m) => productsIn(m) > productsIn(n)));
    const isEpilogue = isPartialSum || (only !== undefined && isElementwise(n) && overAnchor.has(n) && !covered.has(n) && !alignedIn(only));
    if (!needsStore && only && !isEpilogue && !repeats(only) && only.members.size <= 400) join(only, n, countIn(only), alignedIn(only));
    else if (!needsStore && candidates.size > 1 && cheap && ![...candidates].some(repeats))
      for (const g of candidates) join(g, n, countIn(g), alignedIn(g));
    else {
      const g = isPartialSum ? undefined : (host(true) ?? sibling(n, candidates));
      if (g) {
        join(g, n, size(n.shape), true);
        store(g, n);
      } else newGroup(n);
    }
    if (!storedBy.has(n)) for (const i of n.inputs) follow(i, later);
  }

  const host = (g: Group): Group | undefined =>
    groups.findLast(
      (h) => h.anchor && isOp(h.anchor, 'attention') && sharesScores(h.anchor, g.anchor as Node) && !dependsOn(h, new Set([g])),
    );
  const apart = groups.filter((g) => {
    const together = g.anchor && isOp(g.anchor, 'attentionLse') ? host(g) : undefined;
    if (together) for (const n of g.stores) store(together, n);
    return !together;
  });
  return { groups: sortGroups(apart, reads), storedBy };
}

/** Whether an attention makes the scores whose log-sum-exp `lse` is: one pass then makes both. */
function sharesScores(attention: Node<'attention'>, lse: Node): boolean {
  const [q, k, , first, end] = attention.inputs;
  const [ofQ, ofK, ofFirst, ofEnd] = lse.inputs;
  const isSame = q === ofQ && k === ofK && first === ofFirst && end === ofEnd;
  return isSame && isOp(lse, 'attentionLse') && attention.arg.scale === lse.arg.scale;
}

function sortGroups(groups: readonly Group[], reads: (g: Group) => Set<Group>): Group[] {
  const out: Group[] = [];
  const done = new Set<Group>();
  const visit = (g: Group) => {
    if (done.has(g)) return;
    done.add(g);
    for (const p of reads(g)) visit(p);
    out.push(g);
  };
  for (let i = groups.length - 1; i >= 0; i--) visit(groups[i]);
  return out;
}
