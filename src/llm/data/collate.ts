/**
 * @file A batch of tokens: [rows, T] of ids, positions, starts and labels, all i32.
 *
 *     positions  the place inside of its own segment
 *     starts     where its segment begins in the row: a query at t sees the keys starts[t] … t
 *     labels     what should follow the token; −100: no loss
 *
 * Padding: pad ids, labels −100, positions 0, starts = its own place.
 */
import type { ArrayColumn } from '../../data/column.js';
import type { TokenExample } from './examples.js';
import type { Segment } from './plan.js';

/** The label of places without a loss. */
export const NO_LABEL = -100;

/** What fit takes: x = [ids, positions, starts], y = [labels], or [labels, rows, rowLabels] (see TokenBatchesOptions.labelledRows). */
export interface TokenBatch {
  readonly x: readonly ArrayColumn[];
  readonly y: readonly ArrayColumn[];
  /** Places that hold tokens, and labels that count. */
  readonly tokens: number;
  readonly targets: number;
}

/** Segments with their tokens: one more token than places, where the example has it. */
export type Filled = readonly { readonly segment: Segment; readonly tokens: TokenExample }[];

export function collate(rows: readonly Filled[], size: number, length: number, padId: number, labelledParts: number | null): TokenBatch {
  const column = (): ArrayColumn & { data: Int32Array } => ({ data: new Int32Array(size * length), shape: [size, length], dtype: 'i32' });
  const [ids, positions, starts, labels] = [column(), column(), column(), column()];
  labels.data.fill(NO_LABEL);
  let used = 0;
  let targets = 0;
  for (let r = 0; r < size; r++) {
    const first = r * length;
    let at = 0;
    for (const { segment, tokens } of rows[r] ?? []) {
      const begin = at;
      for (let p = 0; p < segment.places; p++, at++) {
        const i = first + at;
        ids.data[i] = tokens.ids[p];
        positions.data[i] = p;
        starts.data[i] = begin;
        if (p + 1 < tokens.ids.length && tokens.isTarget[p + 1] === 1) {
          labels.data[i] = tokens.ids[p + 1];
          targets++;
        }
      }
    }
    used += at;
    for (; at < length; at++) {
      ids.data[first + at] = padId;
      starts.data[first + at] = at;
    }
  }
  const y = labelledParts === null ? [labels] : [labels, ...labelledPlaces(labels.data, size, length, targets, labelledParts)];
  return { x: [ids, positions, starts], y, tokens: used, targets };
}

/** Flat places r · T + t that have a label, and the labels, both [size, w]: w is the least of `parts` widths that holds them all. */
function labelledPlaces(labels: Int32Array, size: number, length: number, targets: number, parts: number): ArrayColumn[] {
  const width = Math.max(1, labelledWidth(Math.ceil(targets / size), length, parts));
  const places = new Int32Array(size * width);
  const own = new Int32Array(size * width).fill(NO_LABEL);
  let n = 0;
  for (let i = 0; i < labels.length; i++)
    if (labels[i] !== NO_LABEL) {
      places[n] = i;
      own[n++] = labels[i];
    }
  const shape = [size, width];
  return [
    { data: places, shape, dtype: 'i32' },
    { data: own, shape, dtype: 'i32' },
  ];
}

/** The least ⌈k · length / parts⌉ that is ≥ n, k = 1 … parts. */
const labelledWidth = (n: number, length: number, parts: number): number =>
  Math.min(length, Math.ceil((Math.max(1, Math.ceil((n * parts) / length)) * length) / parts));
