import { describe, expect, it } from 'vitest';
import { Gate, type Release } from '../../src/serve/gate.js';

const never = new AbortController().signal;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('Gate', () => {
  it('lets in as many as it has slots, the others in order of arrival', async () => {
    const gate = new Gate(2, 10);
    const entered: number[] = [];
    const releases: Release[] = [];
    const enter = (count: number, first: number): void => {
      for (const [i, place] of (gate.admit(count, never) ?? []).entries())
        void place.then((release) => {
          entered.push(first + i);
          releases.push(release);
        });
    };
    enter(1, 0);
    enter(3, 1);
    enter(2, 4);
    await turn();
    expect(entered).toEqual([0, 1]);
    expect([gate.active, gate.waiting]).toEqual([2, 4]);
    releases[1]();
    // A place is given back once.
    releases[1]();
    await turn();
    expect(entered).toEqual([0, 1, 2]);
    for (let i = 0; i < releases.length; i++) {
      releases[i]();
      await turn();
    }
    expect(entered).toEqual([0, 1, 2, 3, 4, 5]);
    expect([gate.active, gate.waiting]).toEqual([0, 0]);
  });

  it('admits all of a request or nothing', async () => {
    const gate = new Gate(1, 2);
    const [first] = gate.admit(1, never) ?? [];
    expect(gate.hasRoom(2)).toBe(true);
    expect(gate.admit(3, never)).toBeNull();
    expect([gate.active, gate.waiting]).toEqual([1, 0]);
    expect(gate.admit(2, never)).toHaveLength(2);
    expect(gate.hasRoom(1)).toBe(false);
    (await first)();
    expect(gate.hasRoom(1)).toBe(true);
  });

  it('forgets those who leave the queue, and only those', async () => {
    const gate = new Gate(1, 5);
    const [first] = gate.admit(1, never) ?? [];
    const leaving = new AbortController();
    const places = gate.admit(3, leaving.signal) ?? [];
    const [last] = gate.admit(1, never) ?? [];
    const outcomes = Promise.allSettled(places);
    const reason = new Error('gone');
    leaving.abort(reason);
    expect((await outcomes).map((o) => o.status === 'rejected' && o.reason)).toEqual([reason, reason, reason]);
    expect([gate.active, gate.waiting]).toEqual([1, 1]);
    (await first)();
    (await last)();
    expect([gate.active, gate.waiting]).toEqual([0, 0]);
    await expect(gate.admit(1, leaving.signal)?.[0]).rejects.toBe(reason);
    expect(gate.active).toBe(0);
  });

  it('says when trying again makes sense: by what waits, from 1 to 60 s', async () => {
    const gate = new Gate(1, 1000);
    expect(gate.retryAfter()).toBe(1);
    for (let i = 0; i < 100; i++) gate.admit(5, new AbortController().signal);
    expect(gate.retryAfter()).toBe(60);
  });
});
