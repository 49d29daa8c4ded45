/**
 * @file Where batches come from. Data in memory are passed to every step whole and gathered by index inside of it; a
 * stream passes its batches. Either way a feed is a form (specs and how to unpack them) and the step's inputs.
 */
import { ConfigError, ShapeError } from '../base/errors.js';
import { type ArrayColumn, sliceRows } from '../data/column.js';
import { epochIndices } from '../data/shuffle.js';
import { type StepInput, type Tensor, type TensorSpec, take, wrap } from '../tensor/index.js';
import {
  applyClassWeight,
  type Batch,
  type ClassWeight,
  type ColumnNames,
  type Columns,
  type Data,
  type DataLike,
  makeBatch,
  specOf,
  toColumns,
} from './batch.js';

/** How a step's inputs make a batch. Steps are compiled once for each key. */
export interface BatchForm {
  readonly key: string;
  readonly specs: readonly TensorSpec[];
  readonly size: number;
  unpack(inputs: readonly Tensor[]): Batch;
}
export interface Feed {
  readonly form: BatchForm;
  readonly inputs: readonly StepInput[];
}
export interface BatchSource {
  /** Examples and batches of an epoch, where known. */
  readonly samples: number | null;
  readonly batches: number | null;
  /** Shapes of a batch, to build the model and to choose metrics. */
  readonly shapes: { readonly inputs: readonly TensorSpec[]; readonly targets: readonly TensorSpec[] };
  /** The forms that an epoch will ask for, as far as known, the most frequent first. */
  readonly forms: readonly BatchForm[];
  /** The columns, when they are in memory. */
  readonly columns: Columns | null;
  /** The batches of an epoch from number `skip` on; null after the last. */
  open(epoch: number, skip: number): () => Feed | null | Promise<Feed | null>;
}

const specKey = (specs: readonly TensorSpec[]): string => specs.map((s) => `${s.dtype}[${s.shape.join()}]`).join(';');

export interface MemoryOptions {
  readonly batchSize: number;
  /** Null: in the given order. */
  readonly shuffleSeed: number | null;
  /** Rows first … end − 1 of the columns. */
  readonly first?: number;
  readonly end?: number;
  /** Row numbers of an epoch, where the data set has an order of its own: `end` of them, whatever the shuffle seed. */
  order?(epoch: number): Int32Array;
}

/** Batches of columns in memory: the columns go to the device once, a step takes 32-bit row numbers. */
export function memorySource(columns: Columns, options: MemoryOptions): BatchSource {
  const { batchSize, shuffleSeed } = options;
  const first = options.first ?? 0;
  const end = options.end ?? columns.inputs[0].shape[0];
  const n = end - first;
  const list = [...columns.inputs, ...columns.targets, ...(columns.weight ? [columns.weight] : [])];
  const tensors = list.map((c) => wrap(c.data, c.shape, c.dtype));
  const nInputs = columns.inputs.length;
  const nTargets = columns.targets.length;
  const forms = new Map<number, BatchForm>();
  const formOf = (size: number): BatchForm => {
    let form = forms.get(size);
    if (!form) {
      const specs = [...list.map(specOf), { shape: [size], dtype: 'i32' as const }];
      form = {
        key: `rows:${nInputs},${nTargets},${columns.weight ? 1 : 0}:${specKey(specs)}`,
        specs,
        size,
        unpack(inputs) {
          const rows = inputs[inputs.length - 1];
          const picked = inputs.slice(0, -1).map((c) => take(c, rows, 0, { mode: 'clip' }));
          return makeBatch(
            picked.slice(0, nInputs),
            picked.slice(nInputs, nInputs + nTargets),
            columns.weight ? picked[picked.length - 1] : null,
            size,
          );
        },
      };
      forms.set(size, form);
    }
    return form;
  };
  const rest = n % batchSize;
  const batch = (c: ArrayColumn): TensorSpec => ({ shape: [Math.min(batchSize, n), ...c.shape.slice(1)], dtype: c.dtype });
  return {
    samples: n,
    batches: Math.ceil(n / batchSize),
    shapes: { inputs: columns.inputs.map(batch), targets: columns.targets.map(batch) },
    forms: [...(n >= batchSize ? [formOf(batchSize)] : []), ...(rest > 0 ? [formOf(rest)] : [])],
    columns,
    open(epoch, skip) {
      const order =
        options.order?.(epoch) ??
        (shuffleSeed === null ? Int32Array.from({ length: n }, (_, i) => i) : Int32Array.from(epochIndices(n, shuffleSeed, epoch)));
      if (first > 0) for (let i = 0; i < n; i++) order[i] += first;
      let at = skip * batchSize;
      return () => {
        if (at >= n) return null;
        const rows = order.subarray(at, Math.min(at + batchSize, n));
        at += rows.length;
        return { form: formOf(rows.length), inputs: [...tensors, rows] };
      };
    },
  };
}

/** One batch of columns, passed as it is. */
export function columnsFeed(columns: Columns): Feed {
  const list = [...columns.inputs, ...columns.targets, ...(columns.weight ? [columns.weight] : [])];
  const specs = list.map(specOf);
  const nInputs = columns.inputs.length;
  const nTargets = columns.targets.length;
  const size = columns.inputs[0].shape[0];
  const form: BatchForm = {
    key: `batch:${nInputs},${nTargets},${columns.weight ? 1 : 0}:${specKey(specs)}`,
    specs,
    size,
    unpack: (inputs) =>
      makeBatch(
        inputs.slice(0, nInputs),
        inputs.slice(nInputs, nInputs + nTargets),
        columns.weight ? inputs[inputs.length - 1] : null,
        size,
      ),
  };
  return { form, inputs: list.map((c) => c.data) };
}

/** A batch of a stream: [x], [x, y], [x, y, sampleWeight] or { x, y?, sampleWeight? } (also xs and ys, as tfjs). */
export type StreamBatch =
  | readonly [Data]
  | readonly [Data, Data]
  | readonly [Data, Data, DataLike]
  | { readonly x: Data; readonly y?: Data; readonly sampleWeight?: DataLike }
  | { readonly xs: Data; readonly ys?: Data };
/** What fit takes instead of arrays: a Dataset, or anything that can be iterated. An epoch is one pass, or `stepsPerEpoch` batches. */
export type Stream = Iterable<StreamBatch> | AsyncIterable<StreamBatch>;

export const isStream = (x: unknown): x is Stream =>
  typeof x === 'object' && x !== null && !Array.isArray(x) && !ArrayBuffer.isView(x) && (Symbol.iterator in x || Symbol.asyncIterator in x);

export interface StreamOptions {
  readonly names: ColumnNames;
  readonly classWeight?: ClassWeight;
  readonly stepsPerEpoch?: number;
  /** For examples in memory that are not batched; default 32. */
  readonly batchSize?: number;
  /** With `stepsPerEpoch`: the next epoch goes on where the last one ended, instead of at the beginning. */
  readonly goesOn?: boolean;
}

/** A data set that can start a given epoch by itself (data/Dataset): the same epoch gives the same batches. */
interface Epochs {
  epoch(n: number): Iterable<StreamBatch> | AsyncIterable<StreamBatch>;
}
/** A data set whose examples lie in memory (data/Dataset): training gathers them by row number inside the step. */
interface Resident {
  inMemory(): {
    readonly x: Data;
    readonly y: Data | undefined;
    readonly sampleWeight?: DataLike;
    readonly size: number;
    readonly batchSize: number | null;
    readonly dropRemainder: boolean;
    rows(epoch: number): Int32Array;
  } | null;
}
/** A data set that starts any epoch at any of its batches (llm/data's TokenBatches): a resumed run replays none. */
interface Positioned {
  /** Batches an epoch. */
  readonly size: number;
  openAt(epoch: number, skip: number): Iterable<StreamBatch> | AsyncIterable<StreamBatch>;
}
const isResident = (x: Stream): x is Stream & Resident => 'inMemory' in x && typeof x.inMemory === 'function';
const isPositioned = (x: Stream): x is Stream & Positioned =>
  'openAt' in x && typeof x.openAt === 'function' && 'size' in x && typeof x.size === 'number';
const hasEpochs = (x: Stream): x is Stream & Epochs => 'epoch' in x && typeof x.epoch === 'function';

type StreamIterator = AsyncIterator<StreamBatch> | Iterator<StreamBatch>;
const iterate = (from: Iterable<StreamBatch> | AsyncIterable<StreamBatch>): StreamIterator =>
  Symbol.asyncIterator in from ? from[Symbol.asyncIterator]() : from[Symbol.iterator]();
const shapesOf = (c: Columns): BatchSource['shapes'] => ({ inputs: c.inputs.map(specOf), targets: c.targets.map(specOf) });

/** Batches of an iterable. Reads the first one to learn its shapes; throws ConfigError when there is none. */
export async function streamSource(stream: Stream, options: StreamOptions): Promise<BatchSource> {
  const { names, stepsPerEpoch } = options;
  const memory = stepsPerEpoch === undefined && isResident(stream) ? stream.inMemory() : null;
  if (memory && memory.size > 0) {
    const { size } = memory;
    // One that was not batched is batched as arrays are.
    const batchSize = Math.min(memory.batchSize ?? options.batchSize ?? 32, size);
    const columns = applyClassWeight(await toColumns(memory.x, memory.y, memory.sampleWeight, names), options.classWeight, names.who);
    const end = memory.dropRemainder ? size - (size % batchSize) : size;
    return memorySource(columns, { batchSize, shuffleSeed: null, end, order: (epoch) => memory.rows(epoch) });
  }
  const toFeed = async (item: StreamBatch): Promise<{ feed: Feed; columns: Columns }> => {
    const [x, y, w] = parts(item, names.who);
    const columns = applyClassWeight(await toColumns(x, y, w, names), options.classWeight, names.who);
    return { feed: columnsFeed(columns), columns };
  };
  const firstOf = async (from: StreamIterator): ReturnType<typeof toFeed> => {
    const head = await from.next();
    if (!head.done) return toFeed(head.value);
    throw new ConfigError(
      `${names.who}: the data set gives no batch. Expected at least one. Is it empty, or an iterator that was used up?`,
    );
  };
  if (isPositioned(stream)) {
    const from = iterate(stream.openAt(0, 0));
    const { feed, columns } = await firstOf(from);
    void from.return?.();
    const pass: BatchSource = {
      samples: null,
      batches: stream.size,
      shapes: shapesOf(columns),
      forms: [feed.form],
      columns: null,
      open(epoch, skip) {
        const batches = iterate(stream.openAt(epoch, skip));
        return async () => {
          const item = await batches.next();
          return item.done ? null : (await toFeed(item.value)).feed;
        };
      },
    };
    return stepsPerEpoch === undefined ? pass : limited(pass, stepsPerEpoch, feed.form.size, names.who);
  }
  const start = (epoch: number): StreamIterator => iterate(hasEpochs(stream) ? stream.epoch(epoch) : stream);
  const isOneShot = !hasEpochs(stream) && 'next' in stream;
  let current = start(0);
  const first = await firstOf(current);
  // The pass that was begun to learn the shapes serves the first epoch.
  let pending: Feed | null = first.feed;
  let isFresh = true;
  const restart = (epoch: number): void => {
    // A source that was left early still holds files or prefetched batches.
    void current.return?.();
    current = start(epoch);
    pending = null;
  };
  const nextFeed = async (epoch: number): Promise<Feed | null> => {
    if (pending) {
      const feed = pending;
      pending = null;
      return feed;
    }
    let item = await current.next();
    if (item.done && stepsPerEpoch !== undefined && !isOneShot) {
      // With a fixed number of steps an epoch is no pass: go round.
      restart(epoch);
      item = await current.next();
    }
    return item.done ? null : (await toFeed(item.value)).feed;
  };
  return {
    samples: null,
    batches: stepsPerEpoch ?? null,
    shapes: shapesOf(first.columns),
    forms: [first.feed.form],
    columns: null,
    open(epoch, skip) {
      const goesOn = isOneShot || (stepsPerEpoch !== undefined && options.goesOn === true && !hasEpochs(stream));
      if (isFresh ? hasEpochs(stream) && epoch > 0 : !goesOn) restart(epoch);
      // After a resume: the batches of the epochs before were used up.
      let before = isFresh && goesOn && stepsPerEpoch !== undefined ? epoch * stepsPerEpoch : 0;
      isFresh = false;
      let at = 0;
      return async () => {
        for (; before > 0; before--) await nextFeed(epoch);
        for (; at < skip; at++) await nextFeed(epoch);
        return at++ < (stepsPerEpoch ?? Number.POSITIVE_INFINITY) ? nextFeed(epoch) : null;
      };
    },
  };
}

/** Epochs of `steps` batches of a source that starts anywhere: an epoch may be less or more than a pass. */
export function limited(source: BatchSource, steps: number, batchSize: number, who: string): BatchSource {
  if (!Number.isInteger(steps) || steps < 1) throw new ConfigError(`${who}: stepsPerEpoch ${steps}. Expected a whole number ≥ 1.`);
  const pass = source.batches ?? 1;
  return {
    ...source,
    batches: steps,
    samples: source.samples !== null && steps <= pass ? Math.min(source.samples, steps * batchSize) : null,
    open(epoch, skip) {
      let at = epoch * steps + skip;
      const end = (epoch + 1) * steps;
      let next = source.open(Math.floor(at / pass), at % pass);
      return () => {
        if (at >= end) return null;
        if (at % pass === 0) next = source.open(at / pass, 0);
        at++;
        return next();
      };
    },
  };
}

function parts(item: unknown, who: string): [Data, Data | undefined, DataLike | undefined] {
  if (Array.isArray(item) && item.length >= 1 && item.length <= 3) return [item[0], item[1], item[2]];
  if (typeof item === 'object' && item !== null) {
    if ('x' in item) {
      const { x, y, sampleWeight } = item as { x: Data; y?: Data; sampleWeight?: DataLike };
      return [x, y, sampleWeight];
    }
    if ('xs' in item) {
      const { xs, ys } = item as { xs: Data; ys?: Data };
      return [xs, ys, undefined];
    }
  }
  throw new ConfigError(
    `${who}: a batch of the data set has an unknown form. Expected [x, y], [x, y, sampleWeight] or { x, y, sampleWeight }.`,
  );
}

/** Rows start … end of every column. */
export const sliceColumns = (c: Columns, start: number, end: number): Columns => ({
  inputs: c.inputs.map((x) => sliceRows(x, start, end)),
  targets: c.targets.map((x) => sliceRows(x, start, end)),
  weight: c.weight ? sliceRows(c.weight, start, end) : null,
});

/** Throws ConfigError for impossible batch sizes and empty data. */
export function checkSizes(n: number, batchSize: number, who: string): void {
  if (!Number.isInteger(batchSize) || batchSize < 1) throw new ConfigError(`${who}: batchSize ${batchSize}. Expected a whole number ≥ 1.`);
  if (n === 0) throw new ShapeError(`${who}: the data are empty. Expected at least one example, received 0 rows.`);
  if (batchSize > n)
    throw new ConfigError(
      `${who}: batchSize ${batchSize} is larger than the data. Expected at most ${n}, received ${batchSize}. Use batchSize: ${n} or more data.`,
    );
}
