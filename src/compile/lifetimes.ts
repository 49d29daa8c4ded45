/**
 * @file lifetimes: an order of calls that keeps few bytes alive. Besides the given order there is one that always goes on with what was
 * written last (a chunk's backward pass right after its forward pass, a weight's gradient right after what it is made of), and in
 * both calls may be put off until their results are wanted. The lowest peak wins. All of it depends on the calls alone, so equal graphs have
 * equal Programs.
 */

import { InternalError } from '../base/errors.js';

/** What a call does to temporary buffers, which are numbered. */
export interface Touching {
  /** Calls that must come first. */
  readonly before: ReadonlySet<number>;
  /** Buffers that it reads or writes, each once. */
  readonly buffers: readonly number[];
  /** `to` may lie where `from` does, if nobody wants `from` after this call. */
  readonly inPlace: readonly { readonly from: number; readonly to: number }[];
}

/** What an order must save of the given one's peak: neighbours in the given order find each other's results in the caches. */
const worthwhile = 0.05;

/** An order of `calls` (given: 0, 1, 2 …, which respects `before`); `bytes[b]` is the size of buffer b. */
export function arrange(calls: readonly Touching[], bytes: readonly number[]): number[] {
  const given = calls.map((_, i) => i);
  const lifetimes = new Lifetimes(calls, bytes);
  const depthFirst = lifetimes.depthFirst();
  let best = given;
  let least = lifetimes.peak(given) * (1 - worthwhile);
  for (const order of [lifetimes.putOff(given), depthFirst, lifetimes.putOff(depthFirst)]) {
    const peak = lifetimes.peak(order);
    if (peak >= least) continue;
    least = peak;
    best = order;
  }
  return best;
}

class Lifetimes {
  readonly #calls: readonly Touching[];
  readonly #bytes: readonly number[];
  /** The calls that touch each buffer, and how many they are. */
  readonly #touchedBy: readonly number[][];
  readonly #users: readonly number[];
  /** Calls that wait for each one. */
  readonly #after: readonly number[][];

  constructor(calls: readonly Touching[], bytes: readonly number[]) {
    this.#calls = calls;
    this.#bytes = bytes;
    this.#after = calls.map(() => []);
    this.#touchedBy = bytes.map(() => []);
    calls.forEach((c, i) => {
      for (const p of c.before) this.#after[p].push(i);
      for (const b of c.buffers) this.#touchedBy[b].push(i);
    });
    this.#users = this.#touchedBy.map((list) => list.length);
  }

  /** Bytes that a call adds while it runs, by how many there are more afterwards, and those freed, where `left` calls still touch each buffer. */
  #change(call: number, left: readonly number[]): { during: number; remaining: number; freed: number } {
    const { buffers, inPlace } = this.#calls[call];
    let during = 0;
    let freed = 0;
    for (const b of buffers) {
      if (left[b] === this.#users[b]) during += this.#bytes[b];
      if (left[b] === 1) freed += this.#bytes[b];
    }
    const remaining = during - freed;
    if (inPlace.length === 0) return { during, remaining, freed };
    const taken = new Set<number>();
    for (const { from, to } of inPlace) {
      if (left[from] !== 1 || left[to] !== this.#users[to] || this.#users[from] === 1 || taken.has(from) || taken.has(to)) continue;
      taken.add(from).add(to);
      during -= this.#bytes[to];
    }
    return { during, remaining, freed };
  }

  /** The same of a call and of the one that waits for it alone: what is copied for a product counts with the product. */
  #withNext(call: number, left: number[], open: readonly number[]): { remaining: number; freed: number } {
    const own = this.#change(call, left);
    const waiting = this.#after[call].filter((c) => open[c] === 1);
    if (waiting.length !== 1 || own.remaining <= 0) return own;
    const { buffers } = this.#calls[call];
    for (const b of buffers) left[b]--;
    const next = this.#change(waiting[0], left);
    for (const b of buffers) left[b]++;
    return { remaining: own.remaining + next.remaining, freed: own.freed + next.freed };
  }

  /** Live bytes while each call of an order runs. */
  #profile(order: readonly number[]): number[] {
    const left = [...this.#users];
    let live = 0;
    return order.map((call) => {
      const { during, remaining } = this.#change(call, left);
      const most = live + during;
      live += remaining;
      for (const b of this.#calls[call].buffers) left[b]--;
      return most;
    });
  }

  peak(order: readonly number[]): number {
    return this.#profile(order).reduce((a, b) => Math.max(a, b), 0);
  }

  /**
   * Of the calls that can run: one that frees at least half of what it adds, or adds next to nothing (others may wait for it); else one of those that became ready last, whose operands are
   * in the caches and are freed soon.
   */
  depthFirst(): number[] {
    const little = this.#bytes.reduce((a, b) => Math.max(a, b), 0) / 1024;
    const open = this.#calls.map((c) => c.before.size);
    const left = [...this.#users];
    /** Ready calls, those that became so last at the end; a list holds those that one call made ready. */
    const ready: number[][] = [open.flatMap((n, i) => (n === 0 ? [i] : []))];
    const order: number[] = [];
    const run = (list: number[], at: number): void => {
      const [call] = list.splice(at, 1);
      order.push(call);
      for (const b of this.#calls[call].buffers) left[b]--;
      const next = this.#after[call].filter((c) => --open[c] === 0);
      if (next.length > 0) ready.push(next);
    };
    while (order.length < this.#calls.length) {
      let best: { list: number[]; at: number; cost: number } | null = null;
      let top: { list: number[]; at: number; cost: number } | null = null;
      for (let i = ready.length - 1; i >= 0; i--) {
        const list = ready[i];
        if (list.length === 0) ready.splice(i, 1);
        for (let at = 0; at < list.length; at++) {
          const { remaining, freed } = this.#withNext(list[at], left, open);
          const cost = remaining - freed;
          if (cost < (best?.cost ?? little)) best = { list, at, cost };
          // What waits for nobody runs in the given order.
          if (!top || (top.list === list && i > 0 && remaining < top.cost)) top = { list, at, cost: remaining };
        }
      }
      const chosen = best ?? top;
      if (!chosen) throw new InternalError('lifetimes: calls need each other in a circle');
      run(chosen.list, chosen.at);
    }
    return order;
  }

  /** Calls that add more than they free are put off until right before the first that waits for them, where that lowers what is alive. */
  putOff(given: readonly number[]): number[] {
    const order = [...given];
    const place = new Array<number>(order.length);
    const first = new Array<number>(this.#bytes.length);
    const last = new Array<number>(this.#bytes.length);
    /** Bytes alive during each call, and from it to the next. */
    let at: number[] = [];
    let between: number[] = [];
    const measure = (): void => {
      first.fill(-1);
      order.forEach((call, i) => {
        place[call] = i;
        for (const b of this.#calls[call].buffers) {
          if (first[b] < 0) first[b] = i;
          last[b] = i;
        }
      });
      const born = order.map(() => 0);
      const freed = order.map(() => 0);
      first.forEach((from, b) => {
        born[from] += this.#bytes[b];
        freed[last[b]] += this.#bytes[b];
      });
      let live = 0;
      at = born.map((n, i) => (live += n - (freed[i - 1] ?? 0)));
      between = at.map((n, i) => n - freed[i]);
    };
    measure();
    for (let i = order.length - 2; i >= 0; i--) {
      const call = order[i];
      const { buffers } = this.#calls[call];
      const balance = buffers.reduce((n, b) => n + (first[b] === i ? this.#bytes[b] : 0) - (last[b] === i ? this.#bytes[b] : 0), 0);
      if (balance <= 0) continue;
      let to = order.length - 1;
      for (const c of this.#after[call]) to = Math.min(to, place[c] - 1);
      if (to <= i) continue;
      // Where each buffer would be alive with the call right after `to`.
      const moved = buffers.map((b) => {
        const others = this.#touchedBy[b].filter((c) => c !== call).map((c) => place[c]);
        return { b, from: Math.min(to + 0.5, ...others), end: Math.max(to + 0.5, ...others) };
      });
      const spans = (b: number): boolean => first[b] <= to && last[b] > to;
      let most = between[to] + buffers.reduce((n, b) => n + (spans(b) ? 0 : this.#bytes[b]), 0);
      let before = at[i];
      let sum = most - at[i];
      for (let k = i + 1; k <= to; k++) {
        let change = 0;
        for (const { b, from, end } of moved) {
          if (from <= k && k <= end) change += this.#bytes[b];
          if (first[b] <= k && k <= last[b]) change -= this.#bytes[b];
        }
        most = Math.max(most, at[k] + change);
        before = Math.max(before, at[k]);
        sum += change;
      }
      if (most > before || sum >= 0) continue;
      order.splice(i, 1);
      order.splice(to, 0, call);
      measure();
    }
    return order;
  }
}
