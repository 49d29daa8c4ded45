/** @file The order of a Program's calls: after what they read, and before anyone overwrites what they read. */
import { InternalError } from '../base/errors.js';
import type { Node } from '../graph/node.js';
import type { LoweredCall } from './lower.js';

export class CallOrder {
  readonly #calls: LoweredCall[] = [];
  /** For each call, those that must come first. */
  readonly #before: Set<number>[] = [];
  readonly #writers = new Map<Node, number>();
  readonly #readers = new Map<Node, Set<number>>();
  /** Calls that overwrite the buffer which holds a node. */
  readonly #overwriters = new Map<Node, number>();

  /** @param calls in an order that respects data flow */
  constructor(calls: readonly LoweredCall[]) {
    for (const c of calls) this.add(c);
  }

  add(call: LoweredCall): void {
    const i = this.#calls.length;
    const before = new Set<number>();
    this.#calls.push(call);
    this.#before.push(before);
    for (const [b, n] of call.nodes.entries()) {
      if (call.kernel.buffers[b].access !== 'read') {
        this.#writers.set(n, i);
        continue;
      }
      const readers = this.#readers.get(n) ?? new Set();
      this.#readers.set(n, readers.add(i));
      const writer = this.#writers.get(n);
      if (writer !== undefined) before.add(writer);
      const overwriter = this.#overwriters.get(n);
      if (overwriter !== undefined) this.#before[overwriter].add(i);
    }
  }

  /**
   * Lets the call that computes `value` write over the buffer of `old`, after everyone else who reads it. False, and
   * nothing changed, when the call itself reads `old` at other elements or a reader needs the call's result.
   */
  overwrite(old: Node, value: Node): boolean {
    const writer = this.#writers.get(value);
    if (writer === undefined) throw new InternalError('order: nobody computes the value');
    const readers = [...(this.#readers.get(old) ?? [])];
    if (readers.includes(writer) && !this.#calls[writer].inPlace.has(old)) return false;
    const others = readers.filter((i) => i !== writer);
    if (others.some((i) => this.#dependsOn(i, writer))) return false;
    for (const i of others) this.#before[writer].add(i);
    this.#overwriters.set(old, writer);
    return true;
  }

  #dependsOn(call: number, other: number): boolean {
    const seen = new Set([call]);
    const stack = [call];
    for (let x = stack.pop(); x !== undefined; x = stack.pop())
      for (const p of this.#before[x]) {
        if (p === other) return true;
        if (!seen.has(p)) {
          seen.add(p);
          stack.push(p);
        }
      }
    return false;
  }

  /** Every call after those it needs, close to the order in which they were added. */
  sorted(): LoweredCall[] {
    const out: LoweredCall[] = [];
    const state = new Uint8Array(this.#calls.length);
    for (let root = 0; root < state.length; root++) {
      if (state[root] !== 0) continue;
      state[root] = 1;
      const stack = [{ call: root, rest: [...this.#before[root]] }];
      while (stack.length > 0) {
        const top = stack[stack.length - 1];
        const next = top.rest.pop();
        if (next === undefined) {
          state[top.call] = 2;
          out.push(this.#calls[top.call]);
          stack.pop();
        } else if (state[next] === 1) throw new InternalError('order: calls need each other in a circle');
        else if (state[next] === 0) {
          state[next] = 1;
          stack.push({ call: next, rest: [...this.#before[next]] });
        }
      }
    }
    return out;
  }
}
