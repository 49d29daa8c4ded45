/** @file What the tensor layer remembers between calls: the current trace, open gradients, realized nodes, pending writes. */
import type { Node } from '../graph/node.js';
import type { Storage } from './storage.js';
import type { Trace } from './trace.js';

export const state: {
  /** The function being traced, if any. */
  trace: Trace | null;
  /** Open `grad` calls: inside them nodes keep their identity. */
  gradDepth: number;
  /** Whether nobody wants more than the shapes of what is made now. */
  shapesOnly: boolean;
} = { trace: null, gradDepth: 0, shapesOnly: false };

/** Node → the buffer node with its value. Tensors derived before the realization find the value here. */
export const realized = new WeakMap<Node, Node<'buffer'>>();

/** Something whose next value is a node that hasn't been computed: a Variable after an eager assignment. */
export interface PendingWrite {
  readonly pendingNode: Node | null;
  settle(storage: Storage): void;
}

/** An iterable set that keeps nobody alive: models that are built and dropped take their initial weights with them. */
class WeakGroup<T extends object> {
  readonly #members = new Set<WeakRef<T>>();
  readonly #references = new WeakMap<T, WeakRef<T>>();

  add(member: T): void {
    if (this.#references.has(member)) return;
    const reference = new WeakRef(member);
    this.#references.set(member, reference);
    this.#members.add(reference);
  }
  delete(member: T): void {
    const reference = this.#references.get(member);
    if (!reference) return;
    this.#references.delete(member);
    this.#members.delete(reference);
  }
  /** May still count members that are gone; reading them all removes these. */
  get size(): number {
    return this.#members.size;
  }
  *[Symbol.iterator](): Iterator<T> {
    for (const reference of this.#members) {
      const member = reference.deref();
      if (member) yield member;
      else this.#members.delete(reference);
    }
  }
}

/** Computed together with the next realization, so that what they share is computed once. */
export const pendingWrites = new WeakGroup<PendingWrite>();
