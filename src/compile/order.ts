/** @file The order of a Program's calls: after what they read, and before anyone overwrites what they read. */
import { InternalError } from '../base/errors.js';
import { size } from '../base/shape.js';
import type { Node } from '../graph/node.js';
import { arrange } from './lifetimes.js';
import type { LoweredCall } from './lower.js';
import { byteLength } from './memory.js';
import { behindBarriers } from './views.js';

export class CallOrder {
  readonly #calls: LoweredCall[] = [];
  /** For each call, those that must come first. */
  readonly #before: Set<number>[] = [];
  /** The call after which a node is whole, and the first that writes some of it. */
  readonly #writers = new Map<Node, number>();
  readonly #firstWriters = new Map<Node, number>();
  /** Calls that need a node's elements. */
  readonly #readers = new Map<Node, Set<number>>();
  /** Calls that overwrite the buffer which holds a node. */
  readonly #overwriters = new Map<Node, number>();

  /** @param calls in an order that respects data flow */
  constructor(calls: readonly LoweredCall[]) {
    for (const c of calls) this.add(c);
  }

  add(call: LoweredCall): void {
    const i = this.#calls.length;
    this.#calls.push(call);
    this.#before.push(new Set());
    for (const [b, n] of call.nodes.entries()) {
      if (call.kernel.buffers[b].access === 'read') this.#need(i, behindBarriers(n));
      else {
        this.#writers.set(n, i);
        if (!this.#firstWriters.has(n)) this.#firstWriters.set(n, i);
      }
    }
    if (call.onto) this.#need(i, call.onto);
    for (const n of call.waits ?? []) this.#waitFor(i, n);
  }

  /** A chain of passes may read what it has written itself. */
  #waitFor(call: number, n: Node): void {
    const writer = this.#writers.get(n);
    if (writer !== undefined && writer !== call) this.#before[call].add(writer);
  }

  #need(call: number, n: Node): void {
    this.#readers.set(n, (this.#readers.get(n) ?? new Set()).add(call));
    this.#waitFor(call, n);
    const overwriter = this.#overwriters.get(n);
    if (overwriter !== undefined) this.#before[overwriter].add(call);
  }

  #writer(value: Node): number {
    const writer = this.#writers.get(value);
    if (writer === undefined) throw new InternalError('order: nobody computes the value');
    return writer;
  }

  /**
   * Lets the call that computes `value` write over the buffer of `old`, after everyone else who reads it. False, and
   * nothing changed, when the call itself reads `old` at other elements, a reader needs the call's result or another call writes there.
   */
  overwrite(old: Node, value: Node): boolean {
    const first = this.#firstWriters.get(value) ?? this.#writer(value);
    const readers = this.#readers.get(old) ?? new Set();
    const { nodes, inPlace } = this.#calls[first];
    const isSafe = nodes.every((n) => behindBarriers(n) !== old || inPlace.has(n));
    if (this.#overwriters.has(old) || !isSafe) return false;
    const others = [...readers].filter((i) => i !== first);
    if (others.some((i) => this.#dependsOn(i, first))) return false;
    for (const i of others) this.#before[first].add(i);
    this.#overwriters.set(old, first);
    return true;
  }

  /** Puts a copy of what the call that computes `value` works onto before it: `copy` writes it to `value`'s own buffer. */
  copyFirst(value: Node, copy: LoweredCall): void {
    const writer = this.#writer(value);
    const { onto, nodes } = this.#calls[writer];
    if (onto && !nodes.some((n) => behindBarriers(n) === onto)) this.#readers.get(onto)?.delete(writer);
    this.#firstWriters.set(value, this.#calls.length);
    this.add(copy);
    this.#before[writer].add(this.#writer(value));
    this.#writers.set(value, writer);
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

  /**
   * Every call after those it needs, close to the order in which they were added or with fewer bytes alive.
   * @param bufferOf the temporary buffer of a node, as one of the nodes in it; null for those of the caller
   */
  sorted(bufferOf: (n: Node) => Node | null): LoweredCall[] {
    const given = this.#inOrder();
    const place = new Map(given.map((call, i) => [call, i]));
    const number = new Map<Node, number>();
    const numberOf = (buffer: Node): number => {
      const known = number.get(buffer) ?? number.size;
      number.set(buffer, known);
      return known;
    };
    const touching = given.map((call) => {
      const buffers = new Set(this.#calls[call].nodes.flatMap((n) => bufferOf(n) ?? []));
      return {
        before: new Set([...this.#before[call]].map((p) => place.get(p) as number)),
        buffers: [...buffers].map(numberOf),
        inPlace: pairsInPlace(this.#calls[call], bufferOf).map(({ from, to }) => ({ from: numberOf(from), to: numberOf(to) })),
      };
    });
    const bytes = [...number.keys()].map((n) => byteLength(n.dtype, size(n.shape)));
    return arrange(touching, bytes).map((i) => this.#calls[given[i]]);
  }

  /** Every call after those it needs, close to the order in which they were added. */
  #inOrder(): number[] {
    const out: number[] = [];
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
          out.push(top.call);
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

/** Fewer bytes are not worth a variant of a kernel. */
const leastShared = 1 << 16;

/** Temporary buffers that a call could write over others which it reads, each at the element that it writes. */
export function pairsInPlace(call: LoweredCall, bufferOf: (n: Node) => Node | null): { from: Node; to: Node }[] {
  const { kernel, nodes, inPlace } = call;
  const same = (a: Node, b: Node): boolean => a.dtype === b.dtype && size(a.shape) === size(b.shape);
  const pairs: { from: Node; to: Node }[] = [];
  for (const x of inPlace) {
    const from = bufferOf(x);
    if (!from || !nodes.includes(x) || byteLength(x.dtype, size(x.shape)) < leastShared) continue;
    // Every name of the buffer must be read that way.
    if (nodes.some((n) => bufferOf(n) === from && !inPlace.has(n))) continue;
    for (const [k, n] of nodes.entries()) {
      const to = kernel.buffers[k].access === 'write' ? bufferOf(n) : null;
      if (to && same(x, n) && same(from, to)) pairs.push({ from, to });
    }
  }
  return pairs;
}
