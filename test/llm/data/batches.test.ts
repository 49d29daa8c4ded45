import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../../src/base/errors.js';
import {
  NO_LABEL,
  splitExamples,
  type TokenBatch,
  TokenBatches,
  type TokenBatchesOptions,
  type TokenExample,
  type TokenExamples,
  TokenList,
} from '../../../src/llm/data/index.js';
import { documentLengths } from './support.js';

/** Example i holds the tokens (i, place): i · 1000 + place, so that every place of a batch says where it is from. */
function numbered(lengths: ArrayLike<number>, group: 1 | 2 = 1): TokenList {
  return new TokenList(
    Array.from(
      lengths,
      (n, i): TokenExample => ({
        ids: Int32Array.from({ length: n }, (_, p) => i * 1000 + p),
        isTarget: Uint8Array.from({ length: n }, (_, p) => ((i + p) % 5 === 0 ? 0 : 1)),
      }),
    ),
    group,
  );
}
async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}
const dataOf = ({ x, y }: TokenBatch) => {
  const [ids, positions, starts] = x.map((c) => c.data);
  const [rows, length] = x[0].shape;
  return { ids, positions, starts, labels: y[0].data, rows, length };
};
const PAD = 999_999;

/** What must hold of any batch; gives the places seen as 'example:place' with how often. */
function check(batch: TokenBatch, seen: Map<string, number>): void {
  const { ids, positions, starts, labels, rows, length } = dataOf(batch);
  let [tokens, targets] = [0, 0];
  for (const c of [...batch.x, batch.y[0]]) expect([c.shape, c.dtype]).toEqual([[rows, length], 'i32']);
  for (let r = 0; r < rows; r++)
    for (let t = 0; t < length; t++) {
      const i = r * length + t;
      const at = `row ${r}, place ${t}`;
      if (ids[i] === PAD) {
        if (labels[i] !== NO_LABEL || positions[i] !== 0 || starts[i] !== t) throw new Error(`padding at ${at}`);
        continue;
      }
      tokens++;
      const example = Math.floor(ids[i] / 1000);
      const place = ids[i] % 1000;
      // All that a query sees is of its own example, one token after the other.
      if (starts[i] !== t - positions[i] || starts[i] < 0) throw new Error(`start of ${at}`);
      for (let k = starts[i]; k <= t; k++) if (ids[r * length + k] !== ids[i] - (t - k)) throw new Error(`${at} sees place ${k}`);
      const isLabelled = isTarget(example, place + 1);
      if (isLabelled) targets++;
      if (labels[i] !== (isLabelled ? ids[i] + 1 : NO_LABEL)) throw new Error(`label of ${at}`);
      const key = `${example}:${place}`;
      seen.set(key, (seen.get(key) ?? 0) + 1);
    }
  expect([batch.tokens, batch.targets]).toEqual([tokens, targets]);
}
const isTarget = (i: number, p: number): boolean => (i + p) % 5 !== 0;

describe('batches', () => {
  const options = fc.record({
    layout: fc.constantFrom('padded' as const, 'packed' as const),
    batchSize: fc.integer({ min: 1, max: 5 }),
    length: fc.integer({ min: 3, max: 40 }),
    shuffle: fc.boolean(),
    seed: fc.integer({ min: 0, max: 9 }),
    groupByLength: fc.boolean(),
    maxShapes: fc.integer({ min: 1, max: 4 }),
    roundTo: fc.constantFrom(1, 4, 8),
    long: fc.constantFrom('split' as const, 'cut' as const),
  });
  it('hold every place of every example once an epoch, each seeing its own example only', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 60 }), { minLength: 1, maxLength: 40 }), options, async (lengths, own) => {
        fc.pre(lengths.some((n) => n > 1));
        const batches = new TokenBatches(numbered(lengths), { ...own, padId: PAD });
        const shapes = new Set<number>();
        for (const epoch of [0, 3]) {
          const seen = new Map<string, number>();
          const list = await all(batches.epoch(epoch));
          expect(list).toHaveLength(batches.size);
          for (const batch of list) {
            expect(batch.x[0].shape[0]).toBe(own.batchSize);
            shapes.add(batch.x[0].shape[1]);
            check(batch, seen);
          }
          const expected: [string, number][] = lengths.flatMap((n, i) =>
            Array.from({ length: own.long === 'split' ? Math.max(0, n - 1) : Math.min(own.length, n - 1) }, (_, p): [string, number] => [
              `${i}:${p}`,
              1,
            ]),
          );
          expect([...seen].sort()).toEqual(expected.sort());
        }
        expect(shapes.size).toBeLessThanOrEqual(own.layout === 'packed' ? 1 : own.maxShapes);
        for (const length of shapes) expect(length).toBeLessThanOrEqual(own.length);
      }),
      { numRuns: Number(process.env.TENON_TEST_RUNS ?? 60) },
    );
  });
  it('can be asked for by number, in any order, after any other', async () => {
    const examples = numbered(documentLengths(200, 20, 64));
    for (const layout of ['padded', 'packed', 'windows'] as const) {
      const make = (): TokenBatches => new TokenBatches(examples, { batchSize: 6, layout, length: 64, seed: 4, groupByLength: true });
      const epochs = await Promise.all([0, 1].map((e) => all(make().epoch(e))));
      expect(epochs[0]).not.toEqual(epochs[1]);
      const one = make();
      for (const [epoch, skip] of [
        [1, 3],
        [0, 0],
        [1, epochs[1].length - 1],
        [0, 2],
        [1, epochs[1].length],
      ])
        expect(await all(one.openAt(epoch, skip))).toEqual(epochs[epoch].slice(skip));
      // Passes count epochs.
      expect([await all(one), await all(one)]).toEqual(epochs);
    }
  });
  it('of another seed come in another order, unshuffled ones in that of the examples', async () => {
    const examples = numbered([4, 4, 4, 4, 4, 4, 4, 4]);
    const order = async (more: Partial<TokenBatchesOptions>, epoch = 0): Promise<number[]> => {
      const batches = await all(new TokenBatches(examples, { batchSize: 2, ...more }).epoch(epoch));
      return batches.flatMap((b) => [0, 1].map((r) => Math.floor(dataOf(b).ids[r * 8] / 1000)));
    };
    expect(await order({ shuffle: false }, 5)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(await order({ seed: 1 })).not.toEqual(await order({ seed: 2 }));
  });
  it('of packed documents are full, of grouped ones fuller than of others; lengths are few', () => {
    const examples = numbered(documentLengths(3000, 60, 400));
    const stats = (more: Partial<TokenBatchesOptions>) => new TokenBatches(examples, { batchSize: 16, ...more }).stats;
    expect(stats({ layout: 'packed', length: 512 }).efficiency).toBeGreaterThan(0.98);
    const [padded, grouped] = [stats({}), stats({ groupByLength: true })];
    expect(grouped.efficiency).toBeGreaterThan(padded.efficiency * 1.5);
    expect(padded.lengths.length).toBeLessThanOrEqual(4);
    for (const n of grouped.lengths) expect(n % 8).toBe(0);
    expect(stats({ groupByLength: true, shuffle: false }).efficiency).toBeGreaterThan(grouped.efficiency);
    const whole = stats({ dropRemainder: true, batchSize: 64 });
    expect([whole.batches, whole.rows]).toEqual([46, 46 * 64]);
  });
  it('say what they hold and leave out', () => {
    const examples = numbered([300, 1, 50, 50]);
    const said = (more: Partial<TokenBatchesOptions>): string[] =>
      new TokenBatches(examples, { batchSize: 2, shuffle: false, ...more }).describe();
    expect(said({ length: 100 })).toEqual([
      '2 padded batches an epoch of 2 × 56 or 100 tokens; 77.3 % of the places hold tokens.',
      "1 example of more than 100 tokens is cut: 199 tokens are never seen. Raise length, or use long: 'split'.",
      '1 example of less than two tokens left out.',
    ]);
    expect(said({ layout: 'packed', length: 100 }).slice(0, 2)).toEqual([
      '2 packed batches an epoch of 2 × 100 tokens; 99.3 % of the places hold tokens.',
      '1 example of more than 100 tokens is split.',
    ]);
  });
  it('of pairs keep chosen and rejected together, rows 2i and 2i + 1', async () => {
    const examples = numbered([5, 9, 3, 4, 1, 8, 7, 7, 2, 2, 6, 6], 2);
    for (const groupByLength of [false, true]) {
      const batches = new TokenBatches(examples, { batchSize: 2, groupByLength, padId: PAD });
      const pairs: number[] = [];
      for (const batch of await all(batches)) {
        const { ids, rows, length } = dataOf(batch);
        expect(rows).toBe(4);
        for (let r = 0; r < rows; r += 2) {
          const [a, b] = [ids[r * length], ids[(r + 1) * length]].map((id) => Math.floor(id / 1000));
          if (ids[r * length] === PAD) continue;
          expect(b).toBe(a + 1);
          pairs.push(a / 2);
        }
      }
      // Of the third pair one half has nothing to predict.
      expect(pairs.sort()).toEqual([0, 1, 3, 4, 5]);
      expect(batches.stats.tooShort).toBe(2);
    }
    expect(() => new TokenBatches(examples, { batchSize: 2, layout: 'packed', length: 16 })).toThrow(
      "the examples are pairs. Expected layout 'padded'",
    );
  });
  it('list the places that have a label where that is asked for', async () => {
    const examples = numbered(documentLengths(60, 20, 64));
    for (const labelledRows of [true, 3])
      for await (const batch of new TokenBatches(examples, { batchSize: 4, labelledRows })) {
        const { labels, rows, length } = dataOf(batch);
        const [, places, own] = batch.y;
        const width = places.shape[1];
        expect([places.shape, own.shape, places.dtype]).toEqual([[rows, width], [rows, width], 'i32']);
        const expected = Array.from(labels.keys()).filter((i) => labels[i] !== NO_LABEL);
        expect([...places.data.subarray(0, expected.length)]).toEqual(expected);
        expect([...own.data.subarray(0, expected.length)]).toEqual(expected.map((i) => labels[i]));
        expect(places.data.subarray(expected.length).every((p) => p === 0)).toBe(true);
        expect(own.data.subarray(expected.length).every((l) => l === NO_LABEL)).toBe(true);
        const step = length / (labelledRows === true ? 8 : 3);
        expect(Math.ceil(Math.round(width / step) * step)).toBe(width);
        expect(rows * (width - Math.ceil(step))).toBeLessThan(expected.length + rows);
      }
  });
  it('of windows begin anywhere, hold only what follows there, and are as many as asked for', async () => {
    const examples = numbered([500, 3, 1, 700]);
    const batches = new TokenBatches(examples, { batchSize: 8, layout: 'windows', length: 32, seed: 3, batchesPerEpoch: 40, padId: PAD });
    expect(batches.size).toBe(40);
    const seen = new Map<string, number>();
    for (const batch of await all(batches)) {
      check(batch, seen);
      expect(batch.tokens).toBe(8 * 32);
    }
    // 10,240 draws of 1,200 places: hardly one is never seen.
    expect(seen.size).toBeGreaterThan(1150);
    const whole = new TokenBatches(examples, { batchSize: 2, layout: 'windows', length: 2000, padId: PAD });
    const [batch] = await all(whole);
    expect([whole.size, batch.tokens]).toEqual([1, 2 * (499 + 2 + 699)]);
  });
  it('refuse options that cannot be', () => {
    const examples = numbered([4, 4]);
    const make = (options: object) => () => new TokenBatches(examples, { batchSize: 1, ...options });
    for (const [options, message] of [
      [{ batchSize: 0 }, 'batchSize is 0'],
      [{ layout: 'ragged' }, `layout is "ragged". Expected 'padded' or 'packed' or 'windows'`],
      [{ layout: 'packed' }, "layout 'packed' without length"],
      [{ long: 'split' }, "long: 'split' without length"],
      [{ seed: 0.5 }, 'seed is 0.5'],
      [{ roundTo: 0 }, 'roundTo is 0'],
      [{ labelledRows: 0 }, 'labelledRows is 0'],
      [{ batchSize: 3, dropRemainder: true }, "the examples don't fill one batch of 3 rows"],
    ] as const) {
      expect(make(options)).toThrow(message);
      expect(make(options)).toThrow(ConfigError);
    }
    expect(() => new TokenBatches(numbered([1, 0]), { batchSize: 1 })).toThrow('there is nothing to learn');
  });
});

it('the batch that needs most memory is known by its number', async () => {
  for (const lengths of [
    [4, 4, 40, 4, 9, 9],
    [4, 4, 4, 4, 4, 30],
  ]) {
    const batches = new TokenBatches(numbered(lengths), { batchSize: 2, shuffle: false });
    const at: number[] = [];
    for await (const { x } of batches.epoch(0)) at.push(x[0].data.length);
    expect(new Set(at).size).toBeGreaterThan(1);
    expect(batches.longestBatch).toBe(at.indexOf(Math.max(...at)));
  }
});

describe('a split', () => {
  const tokensOf = async (e: TokenExamples): Promise<number[]> =>
    (await Promise.all(Array.from({ length: e.count }, (_, i) => e.example(i)))).flatMap((x) => [...x.ids]);
  it('without a seed is of tokens, also inside of an example', async () => {
    const examples = numbered([30, 50, 20]);
    for (const held of [0.1, 0.2, 0.35, 0.9]) {
      const [train, rest] = splitExamples(examples, held);
      expect([...(await tokensOf(train)), ...(await tokensOf(rest))]).toEqual(await tokensOf(examples));
      expect((await tokensOf(rest)).length).toBe(Math.round(100 * held));
    }
    const [, last] = splitExamples(numbered([100]), 0.1);
    expect([last.count, last.lengthOf(0), [...(await last.example(0, 2, 4)).ids]]).toEqual([1, 10, [92, 93]]);
  });
  it('with a seed is of whole examples, of pairs both', async () => {
    const examples = numbered(
      Array.from({ length: 40 }, () => 3),
      2,
    );
    const [train, held] = splitExamples(examples, 0.25, { seed: 1 });
    expect([train.count, held.count, train.group, held.group]).toEqual([30, 10, 2, 2]);
    const of = async (e: TokenExamples) => (await tokensOf(e)).filter((t) => t % 1000 === 0).map((t) => t / 1000);
    const [a, b] = [await of(train), await of(held)];
    expect([...a, ...b].sort((x, y) => x - y)).toEqual(Array.from({ length: 40 }, (_, i) => i));
    for (const list of [a, b]) for (let i = 0; i < list.length; i += 2) expect(list[i + 1]).toBe(list[i] + 1);
    expect(await of(splitExamples(examples, 0.25, { seed: 2 })[1])).not.toEqual(b);
    expect(() => splitExamples(numbered([2]), 0.1, { seed: 1 })).toThrow('one part would be empty');
    expect(() => splitExamples(examples, 1)).toThrow('a share of 1');
  });
});
