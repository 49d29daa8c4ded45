/**
 * @file Dataset: a lazy pipeline of elements, one pass an epoch. The same epoch gives the same elements on every machine; data in
 * memory stay columns through shuffle, take, skip, split, repeat and batch, so that training can gather rows inside its step.
 */
import { ConfigError, ShapeError } from '../base/errors.js';
import type { ArrayColumn, ColumnLike } from './column.js';
import {
  type ColumnTree,
  type ColumnTreeLike,
  columnsOf,
  type Element,
  type ElementLike,
  gatherElement,
  rowElement,
  stackElements,
  toElement,
  toTree,
} from './element.js';
import { filtered, grouped, mapped, prefetched, repeated, shuffled, skipped, taken } from './pipeline.js';
import { CounterRandom, streams } from './random.js';
import { epochIndices, permutation } from './shuffle.js';

/** What `fromIterable` takes; a function is called anew for every pass, with the epoch's number. */
export type IterableSource<T> =
  | Iterable<T>
  | AsyncIterable<T>
  | ((epoch: number) => Iterable<T> | AsyncIterable<T> | Promise<Iterable<T> | AsyncIterable<T>>);

/** Where an element stands, for work that must come out the same in a resumed run (seeded augmentation). */
export interface ElementPosition {
  readonly epoch: number;
  /** Number in the pass. */
  readonly index: number;
}

/** What a column given to `fromArrays` becomes. */
export type Columns<C> = C extends ColumnLike ? ArrayColumn : { readonly [K in keyof C]: ArrayColumn };
/** An element after `batch`: columns that gained a first axis. */
export type Batched<T> = T extends Element<infer X, infer Y> ? Element<X, Y> : Element;

/** A Dataset's columns and the rows that an epoch visits: all that training needs to gather batches itself. */
export interface InMemory extends Element {
  /** Examples an epoch. */
  readonly size: number;
  /** Null before `batch`. */
  readonly batchSize: number | null;
  readonly dropRemainder: boolean;
  /** Row numbers of an epoch's examples in their order, i32 [size], the caller's to change. */
  rows(epoch: number): Int32Array;
}

/** Items that can be asked for by number. */
interface Indexed<T> {
  readonly length: number;
  at(index: number): T;
  order(epoch: number): Int32Array;
  readonly columns: Element | null;
}

interface Parts<T> {
  readonly open: (epoch: number) => AsyncIterable<T>;
  readonly size: number | null;
  readonly indexed?: Indexed<T>;
  readonly memory?: InMemory | null;
  /** Whether epochs differ in their order. */
  readonly isReshuffled?: boolean;
}

/** Above this many row numbers a repeat is a stream. */
const mostRepeatedRows = 2 ** 24;
/** Passes that an epoch of a repeated Dataset may have before it meets the next epoch's. */
const passesOfEpoch = 2 ** 20;

/**
 * A lazy sequence of elements. Iterating it is a pass; a pass after the first is the next epoch. Errors of any stage reach whoever
 * iterates, and leaving early closes the sources.
 * @example
 * const x = { data: new Float32Array(128), shape: [64, 2], dtype: 'f32' as const };
 * const y = new Uint8Array(64);
 * const train = Dataset.fromArrays(x, y).shuffle({ seed: 1 }).map((e) => e, { parallel: 4 }).batch(32).prefetch(2);
 * for await (const batch of train) console.log(batch.x.shape.join()); // → 32,2
 * // → 32,2
 */
export class Dataset<T> implements AsyncIterable<T> {
  /** Elements of a pass, where known. */
  readonly size: number | null;
  readonly #open: (epoch: number) => AsyncIterable<T>;
  readonly #indexed: Indexed<T> | null;
  readonly #memory: InMemory | null;
  readonly #isReshuffled: boolean;
  #passes = 0;

  private constructor(parts: Parts<T>) {
    this.size = parts.size;
    this.#open = parts.open;
    this.#indexed = parts.indexed ?? null;
    this.#memory = parts.memory ?? null;
    this.#isReshuffled = parts.isReshuffled ?? false;
  }

  /**
   * Examples { x, y, sampleWeight } of columns in memory, nothing copied: each of x and y one column, a list, or columns by name,
   * with the examples along the first axis.
   * @throws ShapeError when the columns differ in their number of rows
   */
  static fromArrays<X extends ColumnTreeLike>(x: X): Dataset<Element<Columns<X>, undefined>>;
  static fromArrays<X extends ColumnTreeLike, Y extends ColumnTreeLike>(
    x: X,
    y: Y,
    sampleWeight?: ColumnLike,
  ): Dataset<Element<Columns<X>, Columns<Y>>>;
  static fromArrays(x: ColumnTreeLike, y?: ColumnTreeLike, sampleWeight?: ColumnLike): Dataset<Element> {
    const who = 'Dataset.fromArrays';
    const columns: Element = {
      x: toTree(x, `${who} x`),
      y: y === undefined ? undefined : toTree(y, `${who} y`),
      ...(sampleWeight === undefined ? {} : { sampleWeight: toElement({ x: sampleWeight }, `${who} sampleWeight`).x as ArrayColumn }),
    };
    const all = [
      ...columnsOf(columns.x).map(([name, c]) => [name ? `x.${name}` : 'x', c] as const),
      ...(columns.y ? columnsOf(columns.y) : []).map(([name, c]) => [name ? `y.${name}` : 'y', c] as const),
      ...(columns.sampleWeight ? [['sampleWeight', columns.sampleWeight] as const] : []),
    ];
    if (all.length === 0) throw new ConfigError(`${who}: x holds no column. Expected at least one.`);
    const scalar = all.find(([, c]) => c.shape.length === 0);
    if (scalar) throw new ShapeError(`${who}: ${scalar[0]} is a single number. Expected a first axis that counts the examples.`);
    const length = all[0][1].shape[0];
    for (const [name, c] of all)
      if (c.shape[0] !== length)
        throw new ShapeError(
          `${who}: ${name} has ${c.shape[0]} rows and ${all[0][0]} has ${length}. Expected as many: one row an example. Their shapes are [${c.shape.join(', ')}] and [${all[0][1].shape.join(', ')}].`,
        );
    const order = inOrder(length);
    return Dataset.#ofIndexed({ length, columns, at: (i) => rowElement(columns, i), order: () => order }, false);
  }

  /**
   * Elements of an array, an iterable, or what a function gives anew for every pass. A generator lasts for one pass.
   * @throws ConfigError on a second pass over a generator
   */
  static fromIterable<T>(source: IterableSource<T>): Dataset<T> {
    if (Array.isArray(source)) {
      const items: readonly T[] = source;
      const order = inOrder(items.length);
      return Dataset.#ofIndexed({ length: items.length, columns: null, at: (i) => items[i], order: () => order }, false);
    }
    const isFunction = typeof source === 'function';
    if (!isFunction && !isIterable(source))
      throw new ConfigError(
        `Dataset.fromIterable: expected an iterable, an async iterable or a function that gives one, received ${source === null ? 'null' : typeof source}.`,
      );
    let isUsed = false;
    return new Dataset<T>({
      size: null,
      open: async function* (epoch) {
        const opened = isFunction ? await source(epoch) : source;
        if (!isIterable(opened))
          throw new ConfigError('Dataset.fromIterable: the function gave nothing to iterate. Expected an iterable or async iterable.');
        // An iterator that is its own iterable can be walked once.
        if ('next' in opened) {
          if (isUsed && !isFunction)
            throw new ConfigError(
              'Dataset.fromIterable: the iterator was used up by an earlier pass. Expected something that can be iterated again, received a generator. Pass a function that makes one, () => …, or add cache().',
            );
          isUsed = true;
        }
        yield* opened;
      },
    });
  }

  static #ofIndexed<T>(indexed: Indexed<T>, isReshuffled: boolean): Dataset<T> {
    const { columns, length, order } = indexed;
    return new Dataset<T>({
      size: length,
      indexed,
      isReshuffled,
      memory: columns && { ...columns, size: length, batchSize: null, dropRemainder: false, rows: (epoch) => order(epoch).slice() },
      open: async function* (epoch) {
        for (const i of order(epoch)) yield indexed.at(i);
      },
    });
  }

  /** The elements of epoch `epoch`. Opening it twice gives the same ones. */
  epoch(epoch: number): AsyncIterable<T> {
    return this.#open(epoch);
  }

  /** A pass: the first is epoch 0. */
  [Symbol.asyncIterator](): AsyncIterator<T> {
    return this.#open(this.#passes++)[Symbol.asyncIterator]();
  }

  /** All elements of a pass. */
  async toArray(): Promise<T[]> {
    const all: T[] = [];
    for await (const element of this) all.push(element);
    return all;
  }

  /** The columns and row order when this is data in memory (`fromArrays`, its order changed, batched or prefetched), else null. */
  inMemory(): InMemory | null {
    return this.#memory;
  }

  /** A Dataset of the same order whose elements come from `stage`. */
  #then<R>(
    size: number | null,
    stage: (source: AsyncIterable<T>, epoch: number) => AsyncIterable<R>,
    more?: Partial<Parts<R>>,
  ): Dataset<R> {
    return new Dataset<R>({ size, open: (epoch) => stage(this.#open(epoch), epoch), isReshuffled: this.#isReshuffled, ...more });
  }

  /**
   * `fn` of every element, in order; `parallel` calls may be under way at once (default 1).
   * Data in memory stop being columns that a step can gather.
   */
  map<R>(fn: (element: T, position: ElementPosition) => R | Promise<R>, options: { parallel?: number } = {}): Dataset<R> {
    const { parallel = 1 } = options;
    checkCount('map', 'parallel', parallel, 1);
    return this.#then(this.size, (source, epoch) => mapped(source, (element, index) => fn(element, { epoch, index }), parallel));
  }

  /** The elements for which `keep` is true. */
  filter(keep: (element: T) => boolean | Promise<boolean>): Dataset<T> {
    return this.#then(null, (source) => filtered(source, keep));
  }

  /**
   * Batches of `batchSize` examples: columns gain a first axis. The last one is smaller, or left away with `dropRemainder`.
   * Elements may be { x, y, sampleWeight }, [x, y] or [x, y, sampleWeight] of columns, typed arrays, nested arrays and numbers.
   * @throws ConfigError for elements of another form, ShapeError for examples of one batch that differ in shape
   */
  batch(batchSize: number, options: { dropRemainder?: boolean } = {}): Dataset<Batched<T>> {
    checkCount('batch', 'batchSize', batchSize, 1);
    const { dropRemainder = false } = options;
    const { size } = this;
    const batches = size === null ? null : dropRemainder ? Math.floor(size / batchSize) : Math.ceil(size / batchSize);
    const memory = this.#memory;
    if (this.#indexed && memory) {
      const open = async function* (epoch: number): AsyncGenerator<Element> {
        const rows = memory.rows(epoch);
        const end = dropRemainder ? rows.length - (rows.length % batchSize) : rows.length;
        for (let at = 0; at < end; at += batchSize) yield gatherElement(memoryColumns(memory), rows.subarray(at, at + batchSize));
      };
      return new Dataset<Element>({
        size: batches,
        open,
        isReshuffled: this.#isReshuffled,
        memory: { ...memory, batchSize, dropRemainder },
      }) as Dataset<Batched<T>>;
    }
    return this.#then<Element>(batches, (source) =>
      mapped(
        grouped(source, batchSize, dropRemainder),
        (group) =>
          stackElements(
            group.map((e) => toElement(e as ElementLike, 'Dataset.batch')),
            'Dataset.batch',
          ),
        1,
      ),
    ) as Dataset<Batched<T>>;
  }

  /**
   * Another order in every epoch, the same for the same seed (default 0). Data in memory and arrays are permuted whole; of a stream,
   * each element is drawn from the next `bufferSize` (default 1,024).
   */
  shuffle(options: { seed?: number; bufferSize?: number } = {}): Dataset<T> {
    const { seed = 0, bufferSize = 1024 } = options;
    if (!Number.isSafeInteger(seed)) throw new ConfigError(`Dataset.shuffle: seed ${seed}. Expected an integer.`);
    checkCount('shuffle', 'bufferSize', bufferSize, 1);
    const indexed = this.#indexed;
    if (indexed) {
      const order = (epoch: number): Int32Array => pick(indexed.order(epoch), epochIndices(indexed.length, seed, epoch));
      return Dataset.#ofIndexed({ ...indexed, order }, true);
    }
    return this.#then(this.size, (source, epoch) => shuffled(source, bufferSize, new CounterRandom(seed, streams.shuffleBuffer, epoch)), {
      isReshuffled: true,
    });
  }

  /**
   * Keeps the elements of the first whole pass and gives them again: the work before it is done once, and a shuffle before it is
   * frozen. Data in memory are left as they are.
   */
  cache(): Dataset<T> {
    if (this.#indexed || this.#memory) return this;
    const { size } = this;
    let kept: readonly T[] | null = null;
    return new Dataset<T>({
      size,
      open: async function* (this: Dataset<T>, epoch: number): AsyncGenerator<T> {
        if (kept) {
          yield* kept;
          return;
        }
        const seen: T[] = [];
        for await (const element of this.#open(epoch)) {
          seen.push(element);
          // A consumer that knows the size does not ask for the end.
          if (seen.length === size) kept ??= seen;
          yield element;
        }
        kept ??= seen;
      }.bind(this),
    });
  }

  /** Prepares up to `count` elements (default 2) while the consumer works on the last one. */
  prefetch(count = 2): Dataset<T> {
    checkCount('prefetch', 'count', count, 1);
    return this.#then(this.size, (source) => prefetched(source, count), { memory: this.#memory });
  }

  /** The first `count` elements; the source is closed after them. */
  take(count: number): Dataset<T> {
    checkCount('take', 'count', count, 0);
    const indexed = this.#indexed;
    if (indexed) return this.#reordered(Math.min(count, indexed.length), (order) => order.subarray(0, count));
    return this.#then(this.size === null ? null : Math.min(count, this.size), (source) => taken(source, count));
  }

  /** All but the first `count` elements. */
  skip(count: number): Dataset<T> {
    checkCount('skip', 'count', count, 0);
    const indexed = this.#indexed;
    if (indexed) return this.#reordered(Math.max(0, indexed.length - count), (order) => order.subarray(count));
    return this.#then(this.size === null ? null : Math.max(0, this.size - count), (source) => skipped(source, count));
  }

  /** `times` passes as one, each with its own shuffle; without end when left out. */
  repeat(times = Number.POSITIVE_INFINITY): Dataset<T> {
    if (times !== Number.POSITIVE_INFINITY) checkCount('repeat', 'times', times, 0);
    const indexed = this.#indexed;
    const stride = times === Number.POSITIVE_INFINITY ? passesOfEpoch : times;
    if (indexed && indexed.length * times <= mostRepeatedRows) {
      const { length } = indexed;
      const order = (epoch: number): Int32Array => {
        const all = new Int32Array(length * times);
        for (let pass = 0; pass < times; pass++) all.set(indexed.order(epoch * stride + pass), pass * length);
        return all;
      };
      return Dataset.#ofIndexed({ ...indexed, length: length * times, order }, this.#isReshuffled);
    }
    const size = this.size === null || times === Number.POSITIVE_INFINITY ? null : this.size * times;
    return new Dataset<T>({
      size,
      open: (epoch) => repeated((pass) => this.#open(epoch * stride + pass), times),
      isReshuffled: this.#isReshuffled,
    });
  }

  /**
   * Two Datasets that share no element: the first `part` of it (a share below 1, or a number of elements) and the rest. With `seed`
   * the members are drawn, and keep their order.
   * @throws ConfigError when the size is unknown, the order changes between epochs (the parts would mix), or a part would be empty
   */
  split(part: number, options: { seed?: number } = {}): [Dataset<T>, Dataset<T>] {
    const { size } = this;
    const { seed } = options;
    if (size === null)
      throw new ConfigError('Dataset.split: the number of elements is unknown. Expected arrays. Use fromArrays, or take() and skip().');
    if (this.#isReshuffled)
      throw new ConfigError(
        'Dataset.split: the order changes between epochs, so the two parts would mix. Expected split() before shuffle() and not after it.',
      );
    const count = part > 0 && part < 1 ? Math.round(part * size) : part;
    if (!Number.isInteger(count) || count < 1 || count >= size)
      throw new ConfigError(
        `Dataset.split: ${part} of ${size} elements. Expected a share between 0 and 1 or a number of elements that leaves some in both parts.`,
      );
    if (seed === undefined) return [this.take(count), this.skip(count)];
    if (!Number.isSafeInteger(seed)) throw new ConfigError(`Dataset.split: seed ${seed}. Expected an integer.`);
    const drawn = permutation(size, new CounterRandom(seed, streams.split));
    const halves = [drawn.subarray(0, count).sort(), drawn.subarray(count).sort()] as const;
    const half = (members: Uint32Array): Dataset<T> => {
      if (this.#indexed) return this.#reordered(members.length, (order) => pick(order, members));
      return this.#then(members.length, (source) => chosen(source, members));
    };
    return [half(halves[0]), half(halves[1])];
  }

  #reordered(length: number, change: (order: Int32Array) => Int32Array): Dataset<T> {
    const indexed = this.#indexed as Indexed<T>;
    return Dataset.#ofIndexed({ ...indexed, length, order: (epoch) => change(indexed.order(epoch)) }, this.#isReshuffled);
  }
}

const memoryColumns = ({ x, y, sampleWeight }: InMemory): Element => (sampleWeight === undefined ? { x, y } : { x, y, sampleWeight });

const inOrder = (n: number): Int32Array => Int32Array.from({ length: n }, (_, i) => i);

const pick = (order: Int32Array, indices: Uint32Array): Int32Array => {
  const picked = new Int32Array(indices.length);
  for (let i = 0; i < indices.length; i++) picked[i] = order[indices[i]];
  return picked;
};

const isIterable = <T>(x: Iterable<T> | AsyncIterable<T>): x is Iterable<T> | AsyncIterable<T> =>
  typeof x === 'object' && x !== null && (Symbol.asyncIterator in x || Symbol.iterator in x);

/** The elements with the ascending numbers `members`. */
async function* chosen<T>(source: AsyncIterable<T>, members: Uint32Array): AsyncGenerator<T> {
  let index = 0;
  let next = 0;
  for await (const element of source) {
    if (index++ !== members[next]) continue;
    yield element;
    if (++next === members.length) return;
  }
}

function checkCount(method: string, name: string, value: number, least: number): void {
  if (!Number.isSafeInteger(value) || value < least)
    throw new ConfigError(`Dataset.${method}: ${name} ${value}. Expected a whole number ≥ ${least}.`);
}

export type { ColumnTree, Element };
