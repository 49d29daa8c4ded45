import { describe, expect, it } from 'vitest';
import { CounterRandom, streams } from '../../src/data/random.js';
import { epochIndices } from '../../src/data/shuffle.js';

describe('epochIndices', () => {
  it('is one permutation for (n, seed, epoch) on every machine', () => {
    // Written down once: a change would break the order of resumed runs.
    expect(Array.from(epochIndices(10, 1, 0))).toEqual([5, 6, 9, 7, 2, 1, 8, 0, 4, 3]);
    expect(Array.from(epochIndices(10, 1, 1))).toEqual([9, 5, 4, 2, 3, 8, 1, 7, 6, 0]);
    expect(Array.from(epochIndices(1000, 7, 3)).sort((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect(epochIndices(0, 1, 0).length).toBe(0);
  });
  it('refuses what is no number of examples, seed or epoch', () => {
    expect(() => epochIndices(-1, 0, 0)).toThrow('expected n to be a number of examples, received -1');
    expect(() => epochIndices(3, 0.5, 0)).toThrow('expected an integer seed, received 0.5');
    expect(() => epochIndices(3, 0, -2)).toThrow('expected an epoch number, 0 or more, received -2');
  });
});

describe('CounterRandom', () => {
  it('starts anew at every item, and differs between items, streams and seeds', () => {
    const draw = (r: CounterRandom): number[] => Array.from({ length: 9 }, () => r.word());
    const first = draw(new CounterRandom(1, streams.shuffle, 5));
    expect(draw(new CounterRandom(1, streams.shuffle).seek(5))).toEqual(first);
    for (const other of [
      new CounterRandom(2, streams.shuffle, 5),
      new CounterRandom(1, streams.split, 5),
      new CounterRandom(1, streams.shuffle, 6),
      new CounterRandom(1 + 2 ** 32, streams.shuffle, 5),
      new CounterRandom(1, streams.shuffle, 5 + 2 ** 32),
    ])
      expect(draw(other)).not.toEqual(first);
  });
  it('is uniform below n', () => {
    const r = new CounterRandom(3, streams.shuffle);
    const counts = [0, 0, 0, 0, 0, 0];
    for (let i = 0; i < 6000; i++) counts[r.below(6)]++;
    for (const c of counts) expect(Math.abs(c - 1000)).toBeLessThan(150);
  });
});
