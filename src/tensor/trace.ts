/**
 * @file Trace: a function of tensors recorded as a graph. Inputs are placeholders; a Variable is one node until it is
 * written, then what was written; writes are collected as outputs of the Program.
 */
import { ConfigError } from '../base/errors.js';
import { ops } from '../graph/builder.js';
import { isOp, makeNode, type Node } from '../graph/node.js';
import { asBuffer } from './capture.js';
import type { TensorSpec } from './engine.js';
import { realize } from './realize.js';
import { rewrite } from './rewrite.js';
import { state } from './state.js';
import { Tensor } from './tensor.js';
import type { Variable } from './variable.js';

export interface TracedGraph {
  readonly inputs: readonly Node[];
  readonly outputs: readonly Node[];
  readonly writes: readonly { readonly variable: Variable; readonly value: Node }[];
  /** Variables whose old value is used. */
  readonly reads: readonly Variable[];
}

export class Trace {
  /** Nodes below this id existed before: what they compute doesn't depend on the trace. */
  readonly firstId: number;
  readonly #reads = new Map<Variable, Node>();
  readonly #writes = new Map<Variable, Node>();
  #streams = 0;
  /** Run at the end, to record writes such as a random step's increment. */
  readonly #endings = new Set<() => void>();

  constructor() {
    this.firstId = makeNode('constant', [], { value: 0 }, 'f32', []).id;
  }

  read(variable: Variable): Node {
    const written = this.#writes.get(variable);
    if (written) return written;
    return this.firstRead(variable);
  }
  /** The value at the start, whatever was written since. */
  firstRead(variable: Variable): Node {
    let node = this.#reads.get(variable);
    if (!node) {
      node = ops.variable(variable);
      this.#reads.set(variable, node);
    }
    return node;
  }
  write(variable: Variable, value: Node): void {
    this.#writes.set(variable, value);
  }
  /** A number for the next random operation: its place in the order of calls. */
  nextStream(): number {
    return this.#streams++;
  }
  /** Calls `ending` once, before the trace closes. */
  atEnd(ending: () => void): void {
    this.#endings.add(ending);
  }
  finish(): { reads: Variable[]; writes: { variable: Variable; value: Node }[] } {
    for (const ending of this.#endings) ending();
    return { reads: [...this.#reads.keys()], writes: [...this.#writes].map(([variable, value]) => ({ variable, value })) };
  }
}

/** Records `fn` on placeholders of the given shapes and dtypes. Synchronous; throws what `fn` throws, ConfigError when nested. */
export function trace(fn: (inputs: Tensor[]) => readonly Tensor[], specs: readonly TensorSpec[]): TracedGraph {
  if (state.trace) throw new ConfigError('trace: a trace is already open. Expected one at a time. Call the inner function directly.');
  const own = new Trace();
  state.trace = own;
  try {
    const inputs = specs.map((s, i) => ops.input(i, `input${i}`, s.shape, s.dtype));
    const outputs = fn(inputs.map((n) => new Tensor(n))).map((t) => t.node);
    return { inputs, outputs, ...own.finish() };
  } finally {
    state.trace = null;
  }
}

/** Nodes that were computed from constants and buffers only: they are realized once instead of in every run. */
export async function hoist(graph: TracedGraph, firstId: number): Promise<TracedGraph> {
  const roots = [...graph.outputs, ...graph.writes.map((w) => w.value)];
  const old = new Set<Node>();
  const seen = new Set<Node>(roots);
  for (const node of seen) {
    if (asBuffer(node)) continue;
    if (node.id < firstId && node.inputs.length > 0) old.add(node);
    else for (const x of node.inputs) seen.add(x);
  }
  if (old.size > 0) await realize([...old].map((n) => new Tensor(n)));
  const [...nodes] = rewrite(roots, (n) => (isOp(n, 'buffer') ? null : asBuffer(n)));
  return {
    ...graph,
    outputs: nodes.slice(0, graph.outputs.length),
    writes: graph.writes.map((w, i) => ({ ...w, value: nodes[graph.outputs.length + i] })),
  };
}
