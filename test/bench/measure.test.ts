/** @file The rules by which benchmarks count: medians, turns, which peers go on, what the ratio compares. */
import { describe, expect, test } from 'vitest';
import { type Contender, markdownTable, median, race, resultTable, rotated, withRates } from '../../bench/measure.js';

/** A contender whose steps take `ms` by its own clock, and that writes down when it ran. */
function fake(name: string, ms: number, isPeer: boolean, log: string[]): Contender & { closed: boolean } {
  return {
    name,
    configuration: name,
    isPeer,
    closed: false,
    async run(steps) {
      log.push(name);
      return steps * ms;
    },
    async close() {
      this.closed = true;
    },
  };
}

describe('median', () => {
  test('takes the middle, or the mean of the two', () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([4, 1, 2, 9])).toBe(3);
    expect(() => median([])).toThrow(RangeError);
  });
});

describe('race', () => {
  test('compares with the best peer, screens out the slow ones and closes everybody', async () => {
    const log: string[] = [];
    const own = fake('own', 6, false, log);
    const peers = [30, 12, 50, 8, 20].map((ms) => fake(`peer${ms}`, ms, true, log));
    const result = await race('r', [own, ...peers], { rounds: 3, roundMs: 60, finalists: 2 });
    expect(result.ratio).toBe(6 / 8);
    expect(result.contenders.map((c) => c.name)).toEqual(['own', 'peer8', 'peer12', 'peer20', 'peer30', 'peer50']);
    expect(result.contenders.map((c) => c.screenedAfter)).toEqual([undefined, undefined, undefined, 3, 3, 3]);
    expect([own, ...peers].every((c) => c.closed)).toBe(true);
  });
  test('counts a peer that was screened out when it turns out to be the best', async () => {
    let calls = 0;
    // Fast in warm-up (2 calls) and screening (3 turns of 2 calls), slow in the rounds that follow.
    const moody: Contender = { ...fake('moody', 0, true, []), run: async (steps) => steps * (++calls <= 8 ? 30 : 80) };
    const own = fake('own', 20, false, []);
    const result = await race('r', [own, moody, fake('steady', 40, true, [])], { rounds: 1, roundMs: 50, finalists: 1 });
    expect(result.contenders.map((c) => [c.name, c.median])).toEqual([
      ['own', 20],
      ['moody', 80],
      ['steady', 40],
    ]);
    expect(result.ratio).toBe(20 / 40);
  });
  test('lets another contender begin every round', async () => {
    const log: string[] = [];
    const list = ['a', 'b', 'c'].map((n) => fake(n, 50, n !== 'a', log));
    await race('r', list, { rounds: 3, roundMs: 100 });
    // Two runs each to warm up, then two a turn: one that nobody counts.
    const turns = log.slice(6).filter((_, i) => i % 2 === 0);
    expect(turns.join('')).toBe('abcbcacab');
  });
  test('at its own pace: as many steps as a round holds for each, one of the slowest', async () => {
    const taken: [string, number][] = [];
    const list = [fake('quick', 10, false, []), fake('slow', 900, true, [])].map((c) => ({
      ...c,
      run: (steps: number) => {
        taken.push([c.name, steps]);
        return c.run(steps);
      },
    }));
    const result = await race('r', list, { rounds: 1, roundMs: 300, isOwnPace: true });
    // Warm-up and pace of each, then a turn of each: one that nobody counts, and one that counts.
    expect(taken.filter(([name]) => name === 'slow').map(([, steps]) => steps)).toEqual([1, 1, 1, 1]);
    expect(taken.filter(([name]) => name === 'quick').map(([, steps]) => steps)).toEqual([1, 30, 15, 30]);
    expect(result.ratio).toBe(10 / 900);
    const text = resultTable(withRates(result, 1e9));
    expect(text).toContain('GFLOP/s');
    expect(text).not.toContain('of product rate');
  });
  test('has no ratio without peers', async () => {
    const result = await race('r', [fake('own', 6, false, [])], { rounds: 1, roundMs: 10 });
    expect(result.ratio).toBeNull();
    expect(resultTable(result)).toContain('no peer · 1 round');
  });
});

test('rates follow from the median', async () => {
  const result = withRates(await race('r', [fake('own', 10, false, [])], { rounds: 1, roundMs: 10 }), 2e9, 400);
  expect(result.contenders[0]).toMatchObject({ median: 10, gflops: 200, share: 0.5 });
  expect(resultTable(result)).toContain('| 200.0   | 50 %');
});

test('rotated and markdownTable', () => {
  expect(rotated([1, 2, 3], 4)).toEqual([2, 3, 1]);
  expect(markdownTable(['a', 'long'], [['bbb', 'c']])).toBe('| a   | long |\n|-----|------|\n| bbb | c    |');
});
