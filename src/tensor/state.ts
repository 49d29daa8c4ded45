/** @file What the tensor layer remembers between calls: the current trace, open gradients, realized nodes, pending writes. */
import type { Node } from '../graph/node.js';
import type { Storage } from './storage.js';
import type { Trace } from './trace.js';

export const state: {
  /** The function being traced, if any. */
  trace: Trace | null;
  /** Open `grad` calls: inside them nodes keep their identity. */
  gradDepth: number;
} = { trace: null, gradDepth: 0 };

/** Node → the buffer node with its value. Tensors derived before the realization find the value here. */
export const realized = new WeakMap<Node, Node<'buffer'>>();

/** Something whose next value is a node that hasn't been computed: a Variable after an eager assignment. */
export interface PendingWrite {
  readonly pendingNode: Node | null;
  settle(storage: Storage): void;
}
/** Computed together with the next realization, so that what they share is computed once. */
export const pendingWrites = new Set<PendingWrite>();
