/**
 * @file The stages of a Dataset as async generators over any values. Each closes its source when it ends, fails or is left early;
 * errors travel to whoever iterates. Work runs beside the consumer in prefetched and in mapped.
 */
import type { CounterRandom } from './random.js';

/** Up to `parallel` calls of `fn` under way at once; results in order. */
export async function* mapped<T, R>(
  source: AsyncIterable<T>,
  fn: (value: T, index: number) => R | Promise<R>,
  parallel: number,
): AsyncGenerator<R> {
  const iterator = source[Symbol.asyncIterator]();
  const running: Promise<R>[] = [];
  let index = 0;
  let isDone = false;
  try {
    for (;;) {
      while (!isDone && running.length < parallel) {
        const next = await iterator.next();
        if (next.done) {
          isDone = true;
          break;
        }
        const i = index++;
        const result = (async () => fn(next.value, i))();
        // It is awaited in turn; until then a failure must not count as unhandled.
        result.catch(() => undefined);
        running.push(result);
      }
      const head = running.shift();
      if (head === undefined) return;
      yield await head;
    }
  } finally {
    await Promise.allSettled(running);
    await iterator.return?.();
  }
}

/** Keeps up to `count` values ready: the source runs while the consumer works on the last one. */
export async function* prefetched<T>(source: AsyncIterable<T>, count: number): AsyncGenerator<T> {
  const iterator = source[Symbol.asyncIterator]();
  const ready: T[] = [];
  let isDone = false;
  let isLeft = false;
  let failure: { error: unknown } | undefined;
  let wakeConsumer = (): void => undefined;
  let wakeProducer = (): void => undefined;
  const produce = async (): Promise<void> => {
    try {
      while (!isLeft) {
        if (ready.length >= count) {
          await new Promise<void>((resolve) => {
            wakeProducer = resolve;
          });
          continue;
        }
        const next = await iterator.next();
        if (next.done) break;
        ready.push(next.value);
        wakeConsumer();
      }
    } catch (error) {
      failure = { error };
    } finally {
      isDone = true;
      wakeConsumer();
    }
  };
  const producer = produce();
  try {
    for (;;) {
      if (ready.length > 0) {
        const value = ready.shift() as T;
        wakeProducer();
        yield value;
      } else if (isDone) {
        if (failure) throw failure.error;
        return;
      } else
        await new Promise<void>((resolve) => {
          wakeConsumer = resolve;
        });
    }
  } finally {
    isLeft = true;
    wakeProducer();
    await producer;
    await iterator.return?.();
  }
}

export async function* filtered<T>(source: AsyncIterable<T>, keep: (value: T) => boolean | Promise<boolean>): AsyncGenerator<T> {
  for await (const value of source) if (await keep(value)) yield value;
}

/** Groups of `count`; the last one is smaller unless `dropRemainder`. */
export async function* grouped<T>(source: AsyncIterable<T>, count: number, dropRemainder: boolean): AsyncGenerator<T[]> {
  let group: T[] = [];
  for await (const value of source) {
    group.push(value);
    if (group.length === count) {
      yield group;
      group = [];
    }
  }
  if (group.length > 0 && !dropRemainder) yield group;
}

export async function* taken<T>(source: AsyncIterable<T>, count: number): AsyncGenerator<T> {
  if (count === 0) return;
  let left = count;
  for await (const value of source) {
    yield value;
    if (--left === 0) return;
  }
}

export async function* skipped<T>(source: AsyncIterable<T>, count: number): AsyncGenerator<T> {
  let left = count;
  for await (const value of source) {
    if (left > 0) left--;
    else yield value;
  }
}

/** A uniform choice among the next `bufferSize` values each time. */
export async function* shuffled<T>(source: AsyncIterable<T>, bufferSize: number, random: CounterRandom): AsyncGenerator<T> {
  const buffer: T[] = [];
  for await (const value of source) {
    if (buffer.length < bufferSize) {
      buffer.push(value);
      continue;
    }
    const i = random.below(buffer.length);
    const out = buffer[i];
    buffer[i] = value;
    yield out;
  }
  while (buffer.length > 0) {
    const i = random.below(buffer.length);
    const out = buffer[i];
    buffer[i] = buffer[buffer.length - 1];
    buffer.length--;
    yield out;
  }
}

/** `times` passes, each opened with its number; stops when a pass gives nothing, or an endless repeat of it would hang. */
export async function* repeated<T>(open: (pass: number) => AsyncIterable<T>, times: number): AsyncGenerator<T> {
  for (let pass = 0; pass < times; pass++) {
    let isEmpty = true;
    for await (const value of open(pass)) {
      isEmpty = false;
      yield value;
    }
    if (isEmpty) return;
  }
}
