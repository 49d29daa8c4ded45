import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError, ShapeError } from '../../src/base/errors.js';
import type { ArrayColumn } from '../../src/data/column.js';
import { Dataset } from '../../src/data/dataset.js';
import { epochIndices } from '../../src/data/shuffle.js';

const collect = async <T>(source: AsyncIterable<T>): Promise<T[]> => {
  const all: T[] = [];
  for await (const item of source) all.push(item);
  return all;
};
const numbers = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
/** A source that is no array: nothing can be asked for by number. */
const stream = (n: number): Dataset<number> =>
  Dataset.fromIterable(function* () {
    yield* numbers(n);
  });
const deferred = (): { promise: Promise<void>; resolve: () => void } => {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((r) => {
    resolve = r;
  });
  return { promise, resolve };
};
const column = (data: Uint8Array, shape: number[]): ArrayColumn => ({ data, shape, dtype: 'u8' });
const labelled = (n: number) =>
  Dataset.fromArrays(
    column(
      Uint8Array.from({ length: 2 * n }, (_, i) => i),
      [n, 2],
    ),
    Uint8Array.from({ length: n }, (_, i) => i),
  );
const valuesOf = (c: ArrayColumn | undefined): number[] => Array.from(c?.data ?? []);

describe('Dataset.fromArrays', () => {
  it('gives examples with the dtype and shape of a row', async () => {
    const [first, second] = await labelled(2).toArray();
    expect(first).toEqual({ x: column(Uint8Array.of(0, 1), [2]), y: column(Uint8Array.of(0), []) });
    expect(second.x.data).toEqual(Uint8Array.of(2, 3));
  });
  it('batches rows, the last batch smaller or dropped', async () => {
    const batches = await labelled(5).batch(2).toArray();
    expect(batches.map((b) => b.x.shape)).toEqual([
      [2, 2],
      [2, 2],
      [1, 2],
    ]);
    expect(batches.map((b) => valuesOf(b.y))).toEqual([[0, 1], [2, 3], [4]]);
    const whole = labelled(5).batch(2, { dropRemainder: true });
    expect(whole.size).toBe(2);
    expect((await whole.toArray()).length).toBe(2);
  });
  it('takes lists, records, nested numbers and weights', async () => {
    const data = Dataset.fromArrays({ left: [[1], [2]], right: new Int32Array([3, 4]) }, [[5], [6]], [0.5, 2]);
    const [batch] = await data.batch(2).toArray();
    expect(batch.x.left).toEqual({ data: Float32Array.of(1, 2), shape: [2, 1], dtype: 'f32' });
    expect(batch.x.right).toEqual({ data: Int32Array.of(3, 4), shape: [2], dtype: 'i32' });
    expect(batch.y.shape).toEqual([2, 1]);
    expect(valuesOf(batch.sampleWeight)).toEqual([0.5, 2]);
    const [listed] = await Dataset.fromArrays([new Float32Array(3), column(new Uint8Array(3), [3, 1])])
      .batch(3)
      .toArray();
    expect(listed.x.map((c) => c.shape)).toEqual([[3], [3, 1]]);
  });
  it('names the column that does not fit', () => {
    expect(() => Dataset.fromArrays(new Float32Array(3), { a: new Float32Array(3), b: new Float32Array(2) })).toThrow(
      new ShapeError('Dataset.fromArrays: y.b has 2 rows and x has 3. Expected as many: one row an example. Their shapes are [2] and [3].'),
    );
    expect(() => Dataset.fromArrays(column(Uint8Array.of(1), []))).toThrow('x is a single number');
    expect(() => Dataset.fromArrays(column(Uint8Array.of(1), [2]))).toThrow('shape [2] needs 2 elements. Received 1.');
    expect(() => Dataset.fromArrays([[1, 2], [3]])).toThrow(ShapeError);
  });
  it('is empty without rows', async () => {
    expect(await labelled(0).batch(3).toArray()).toEqual([]);
  });
});

describe('data in memory', () => {
  it('stays columns with row numbers through every change of order', () => {
    const data = labelled(10).shuffle({ seed: 3 }).skip(2).take(5).repeat(2).batch(4).prefetch(1);
    const memory = data.inMemory();
    expect(memory).toMatchObject({ size: 10, batchSize: 4, dropRemainder: false });
    const order = (epoch: number): number[] => Array.from(epochIndices(10, 3, epoch).subarray(2, 7));
    expect(Array.from(memory?.rows(1) ?? [])).toEqual([...order(2), ...order(3)]);
    expect(memory?.x).toMatchObject({ shape: [10, 2] });
  });
  it('gives the same batches by iterating and by gathering', async () => {
    const data = labelled(11).shuffle({ seed: 9 }).batch(4);
    const memory = data.inMemory();
    for (const epoch of [0, 1, 5]) {
      const rows = Array.from(memory?.rows(epoch) ?? []);
      const batches = await collect(data.epoch(epoch));
      expect(batches.flatMap((b) => valuesOf(b.y))).toEqual(rows);
      expect(batches.flatMap((b) => valuesOf(b.x))).toEqual(rows.flatMap((r) => [2 * r, 2 * r + 1]));
    }
  });
  it('is no longer in memory after map, filter or an endless repeat', () => {
    expect(
      labelled(3)
        .map((e) => e)
        .inMemory(),
    ).toBeNull();
    expect(
      labelled(3)
        .filter(() => true)
        .inMemory(),
    ).toBeNull();
    expect(labelled(3).repeat().inMemory()).toBeNull();
    expect(Dataset.fromIterable([1, 2]).inMemory()).toBeNull();
    expect(stream(3).inMemory()).toBeNull();
  });
  it('gives row numbers that the caller may change', async () => {
    const data = labelled(4).take(3);
    data.inMemory()?.rows(0).fill(0);
    expect((await data.toArray()).flatMap((e) => valuesOf(e.y))).toEqual([0, 1, 2]);
  });
  it('is left as it is by cache', () => {
    const data = labelled(3).batch(2);
    expect(data.cache()).toBe(data);
  });
});

describe('Dataset.fromIterable', () => {
  it('takes arrays, sets, async generators and functions, anew for every pass', async () => {
    for (const source of [
      [1, 2],
      new Set([1, 2]),
      () => [1, 2],
      async () => new Set([1, 2]),
      async function* () {
        yield 1;
        yield 2;
      },
    ]) {
      const data = Dataset.fromIterable<number>(source);
      expect(await data.toArray()).toEqual([1, 2]);
      expect(await data.toArray()).toEqual([1, 2]);
    }
  });
  it('passes the number of the epoch to a function', async () => {
    const data = Dataset.fromIterable((epoch) => [epoch]);
    expect([await data.toArray(), await data.toArray(), await collect(data.epoch(7))]).toEqual([[0], [1], [7]]);
  });
  it('refuses a second pass over a generator, and says what to do', async () => {
    const data = Dataset.fromIterable(
      (function* () {
        yield 1;
      })(),
    );
    expect(await data.toArray()).toEqual([1]);
    await expect(data.toArray()).rejects.toThrow(
      new ConfigError(
        'Dataset.fromIterable: the iterator was used up by an earlier pass. Expected something that can be iterated again, received a generator. Pass a function that makes one, () => …, or add cache().',
      ),
    );
  });
  it('refuses what cannot be iterated', async () => {
    const wrong = 3 as unknown as number[];
    expect(() => Dataset.fromIterable(wrong)).toThrow('Dataset.fromIterable: expected an iterable');
    await expect(Dataset.fromIterable(() => wrong).toArray()).rejects.toThrow('the function gave nothing to iterate');
  });
  it('stacks elements of every accepted form', async () => {
    const [pairs] = await Dataset.fromIterable([[[1, 2], 0] as const, [[3, 4], 1] as const])
      .batch(2)
      .toArray();
    expect(pairs).toEqual({
      x: { data: Float32Array.of(1, 2, 3, 4), shape: [2, 2], dtype: 'f32' },
      y: { data: Float32Array.of(0, 1), shape: [2], dtype: 'f32' },
    });
    const [named] = await Dataset.fromIterable([{ x: { a: Uint8Array.of(7), b: 1 }, sampleWeight: 3 }])
      .batch(1)
      .toArray();
    expect(named).toEqual({
      x: { a: column(Uint8Array.of(7), [1, 1]), b: { data: Float32Array.of(1), shape: [1], dtype: 'f32' } },
      y: undefined,
      sampleWeight: { data: Float32Array.of(3), shape: [1], dtype: 'f32' },
    });
  });
  it('names what differs inside a batch', async () => {
    await expect(
      Dataset.fromIterable([[[1, 2]], [[1]]] as const)
        .batch(2)
        .toArray(),
    ).rejects.toThrow('Dataset.batch x: examples of one batch differ. Expected f32 [2], received f32 [1].');
    await expect(
      Dataset.fromIterable([{ x: 1 }, { x: 1, y: 2 }])
        .batch(2)
        .toArray(),
    ).rejects.toThrow('examples of one batch differ in form. Expected x in each, received x, y.');
    await expect(Dataset.fromIterable([7]).batch(2).toArray()).rejects.toThrow('Dataset.batch: expected { x, y } or [x, y], received 7.');
  });
});

describe('order', () => {
  it('take, skip, repeat and batch agree with arrays, in memory or not', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(12), fc.nat(14), fc.nat(14), fc.nat(3), fc.boolean(), async (n, taken, left, times, isArray) => {
        const data = (isArray ? Dataset.fromIterable(numbers(n)) : stream(n)).take(taken).skip(left).repeat(times);
        const pass = numbers(n).slice(0, taken).slice(left);
        const expected = Array.from({ length: times }, () => pass).flat();
        expect(await data.toArray()).toEqual(expected);
        if (isArray) expect(data.size).toBe(expected.length);
      }),
      { seed: 1, numRuns: 60 },
    );
  });
  it('shuffle permutes anew each epoch, the same for the same seed', async () => {
    for (const make of [() => Dataset.fromIterable(numbers(50)), () => stream(50)]) {
      const data = make().shuffle({ seed: 4 });
      const [first, second] = [await data.toArray(), await data.toArray()];
      expect([...first].sort((a, b) => a - b)).toEqual(numbers(50));
      expect(second).not.toEqual(first);
      expect(first).not.toEqual(numbers(50));
      expect(await collect(make().shuffle({ seed: 4 }).epoch(1))).toEqual(second);
      expect(await collect(make().shuffle({ seed: 5 }).epoch(1))).not.toEqual(second);
    }
  });
  it('a shuffled stream moves nothing forward by more than its buffer', async () => {
    const out = await stream(100).shuffle({ seed: 2, bufferSize: 10 }).toArray();
    expect([...out].sort((a, b) => a - b)).toEqual(numbers(100));
    for (const [at, value] of out.entries()) expect(value).toBeLessThanOrEqual(at + 10);
  });
  it('every place is equally likely', async () => {
    const data = Dataset.fromIterable(numbers(4)).shuffle({ seed: 1 });
    const counts = Array.from({ length: 16 }, () => 0);
    for (let epoch = 0; epoch < 4000; epoch++)
      for (const [at, value] of (await collect(data.epoch(epoch))).entries()) counts[at * 4 + value]++;
    for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(140);
  });
  it('repeats without end, and stops when there is nothing to repeat', async () => {
    expect(await stream(2).repeat().take(5).toArray()).toEqual([0, 1, 0, 1, 0]);
    expect(await stream(0).repeat().toArray()).toEqual([]);
    const shuffledPasses = await Dataset.fromIterable(numbers(20)).shuffle().repeat().take(40).toArray();
    expect(shuffledPasses.slice(20)).not.toEqual(shuffledPasses.slice(0, 20));
  });
  it('map tells epoch and index, and keeps the order whatever finishes first', async () => {
    const data = stream(20).map(
      async (value, { epoch, index }) => {
        for (let i = 0; i < (value * 7) % 5; i++) await Promise.resolve();
        return [value, epoch, index];
      },
      { parallel: 6 },
    );
    await data.toArray();
    expect(await data.toArray()).toEqual(numbers(20).map((i) => [i, 1, i]));
    expect(data.size).toBeNull();
  });
  it('filters with functions that may wait', async () => {
    expect(
      await stream(6)
        .filter(async (i) => i % 2 === 1)
        .toArray(),
    ).toEqual([1, 3, 5]);
  });
});

describe('split', () => {
  const seedsOf = async (data: Dataset<number>, part: number, seed?: number): Promise<[number[], number[]]> => {
    const [a, b] = data.split(part, seed === undefined ? {} : { seed });
    return [await a.toArray(), await b.toArray()];
  };
  it('cuts at a share or a number', async () => {
    expect(await seedsOf(Dataset.fromIterable(numbers(5)), 0.6)).toEqual([
      [0, 1, 2],
      [3, 4],
    ]);
    expect(await seedsOf(Dataset.fromIterable(numbers(5)), 1)).toEqual([[0], [1, 2, 3, 4]]);
  });
  it('draws members by a seed, whole and apart, in memory or mapped', async () => {
    for (const data of [Dataset.fromIterable(numbers(40)), Dataset.fromIterable(numbers(40)).map((x) => x)]) {
      const [a, b] = await seedsOf(data, 0.75, 3);
      expect(a.length).toBe(30);
      expect([...a, ...b].sort((p, q) => p - q)).toEqual(numbers(40));
      expect(a).not.toEqual(numbers(30));
      expect(await seedsOf(data, 0.75, 3)).toEqual([a, b]);
      expect((await seedsOf(data, 0.75, 4))[0]).not.toEqual(a);
    }
  });
  it('refuses what would mix or leave nothing', () => {
    const data = Dataset.fromIterable(numbers(5));
    expect(() => data.shuffle().split(0.5)).toThrow('Expected split() before shuffle() and not after it.');
    expect(() =>
      data
        .shuffle()
        .map((x) => x)
        .take(4)
        .split(0.5),
    ).toThrow('the order changes between epochs');
    expect(() => stream(5).split(0.5)).toThrow('the number of elements is unknown');
    for (const part of [0, 5, 0.01, 1.5, -1, Number.NaN]) expect(() => data.split(part)).toThrow('leaves some in both parts');
  });
});

describe('work beside the consumer', () => {
  it('prefetch produces while the consumer holds an element', async () => {
    const third = deferred();
    let produced = 0;
    const data = Dataset.fromIterable(async function* () {
      for (const i of numbers(6)) {
        produced++;
        if (i === 2) third.resolve();
        yield i;
      }
    }).prefetch(2);
    const seen: number[] = [];
    for await (const i of data) {
      seen.push(i);
      // Held until the source has made two more: without overlap this would never go on.
      if (i === 0) {
        await third.promise;
        await new Promise((resolve) => setTimeout(resolve, 5));
        expect(produced).toBe(3);
      }
    }
    expect(seen).toEqual(numbers(6));
  });
  it('map runs as many calls at once as told, not more', async () => {
    const all = deferred();
    let running = 0;
    let most = 0;
    const data = stream(8).map(
      async (i) => {
        most = Math.max(most, ++running);
        if (running === 3) all.resolve();
        await all.promise;
        running--;
        return i;
      },
      { parallel: 3 },
    );
    expect(await data.toArray()).toEqual(numbers(8));
    expect(most).toBe(3);
  });
  it('nothing starts before the first element is asked for', async () => {
    let started = false;
    const data = Dataset.fromIterable(() => {
      started = true;
      return [1];
    }).prefetch();
    const iterator = data[Symbol.asyncIterator]();
    await Promise.resolve();
    expect(started).toBe(false);
    await iterator.return?.();
    expect(started).toBe(false);
  });
});

describe('errors and early ends', () => {
  const failing = (log: string[]): Dataset<number> =>
    Dataset.fromIterable(async function* () {
      try {
        yield 0;
        yield 1;
        throw new Error('disk on fire');
      } finally {
        log.push('closed');
      }
    });
  const stages: Record<string, (d: Dataset<number>) => Dataset<unknown>> = {
    map: (d) => d.map((x) => x),
    'parallel map': (d) => d.map(async (x) => x, { parallel: 2 }),
    prefetch: (d) => d.prefetch(5),
    filter: (d) => d.filter(() => true),
    shuffle: (d) => d.shuffle(),
    cache: (d) => d.cache(),
    batch: (d) => d.map((x) => [x] as const).batch(4),
    take: (d) => d.take(9),
    skip: (d) => d.skip(1),
    repeat: (d) => d.repeat(2),
    'all of them': (d) =>
      d
        .map((x) => x, { parallel: 2 })
        .prefetch(2)
        .shuffle()
        .map((x) => [x] as const)
        .batch(2)
        .prefetch(1),
  };
  it.each(Object.entries(stages))("a source's error comes through %s", async (_, stage) => {
    const log: string[] = [];
    await expect(stage(failing(log)).toArray()).rejects.toThrow('disk on fire');
    expect(log).toEqual(['closed']);
  });
  it('what came before the error is delivered first', async () => {
    const seen: number[] = [];
    const read = async (): Promise<void> => {
      for await (const i of failing([]).prefetch(8)) seen.push(i);
    };
    await expect(read()).rejects.toThrow('disk on fire');
    expect(seen).toEqual([0, 1]);
  });
  it("a function's error comes in its turn, and closes the source", async () => {
    const log: string[] = [];
    const seen: number[] = [];
    const data = Dataset.fromIterable(function* () {
      try {
        yield* numbers(10);
      } finally {
        log.push('closed');
      }
    }).map(
      async (i) => {
        if (i === 3) throw new Error('bad picture 3');
        return i;
      },
      { parallel: 4 },
    );
    const read = async (): Promise<void> => {
      for await (const i of data) seen.push(i);
    };
    await expect(read()).rejects.toThrow('bad picture 3');
    expect(seen).toEqual([0, 1, 2]);
    expect(log).toEqual(['closed']);
  });
  it.each(Object.entries(stages))('leaving %s early closes the source', async (_, stage) => {
    const log: string[] = [];
    const source = Dataset.fromIterable(async function* () {
      try {
        for (let i = 0; i < 5000; i++) yield i;
      } finally {
        log.push('closed');
      }
    });
    for await (const _first of stage(source)) break;
    expect(log).toEqual(['closed']);
  });
  it('take closes its source after the last element', async () => {
    let pulled = 0;
    const data = Dataset.fromIterable(function* () {
      for (;;) yield pulled++;
    }).take(3);
    expect(await data.toArray()).toEqual([0, 1, 2]);
    expect(pulled).toBe(3);
    expect(await data.take(0).toArray()).toEqual([]);
  });
  it('names impossible numbers', () => {
    const data = labelled(4);
    expect(() => data.batch(0)).toThrow(new ConfigError('Dataset.batch: batchSize 0. Expected a whole number ≥ 1.'));
    expect(() => data.prefetch(1.5)).toThrow('Dataset.prefetch: count 1.5.');
    expect(() => data.take(-1)).toThrow('Dataset.take: count -1. Expected a whole number ≥ 0.');
    expect(() => data.skip(Number.NaN)).toThrow('Dataset.skip');
    expect(() => data.repeat(-2)).toThrow('Dataset.repeat');
    expect(() => data.shuffle({ bufferSize: 0 })).toThrow('Dataset.shuffle: bufferSize 0.');
    expect(() => data.shuffle({ seed: 0.5 })).toThrow('Dataset.shuffle: seed 0.5.');
    expect(() => data.map((x) => x, { parallel: 0 })).toThrow('Dataset.map: parallel 0.');
  });
});

describe('cache', () => {
  const counted = (): { data: Dataset<number>; passes: () => number } => {
    let passes = 0;
    const data = Dataset.fromIterable(() => {
      passes++;
      return numbers(4);
    });
    return { data, passes: () => passes };
  };
  it('does the work before it once, also for a generator', async () => {
    const { data, passes } = counted();
    const cached = data.cache();
    expect(await cached.toArray()).toEqual(numbers(4));
    expect(await cached.toArray()).toEqual(numbers(4));
    expect(passes()).toBe(1);
    const generator = Dataset.fromIterable(numbers(3).values()).cache();
    expect([await generator.toArray(), await generator.toArray()]).toEqual([numbers(3), numbers(3)]);
  });
  it('keeps nothing of a pass that was left early', async () => {
    const { data, passes } = counted();
    const cached = data.cache();
    for await (const _ of cached) break;
    expect(await cached.toArray()).toEqual(numbers(4));
    expect(passes()).toBe(2);
  });
  it('is whole when the consumer takes exactly as many', async () => {
    let calls = 0;
    const cached = Dataset.fromIterable(numbers(3))
      .map((x) => {
        calls++;
        return x;
      })
      .cache();
    await cached.take(3).toArray();
    await cached.toArray();
    expect(calls).toBe(3);
  });
  it('freezes a shuffle before it and not one after it', async () => {
    const before = stream(30).shuffle({ seed: 1 }).cache();
    expect(await before.toArray()).toEqual(await before.toArray());
    const after = stream(30).cache().shuffle({ seed: 1 });
    expect(await after.toArray()).not.toEqual(await after.toArray());
  });
});
