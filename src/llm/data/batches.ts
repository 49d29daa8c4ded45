/** @file TokenBatches: what fit, evaluate and validation take to train on tokenized examples. */
import { ConfigError, quote } from '../../base/errors.js';
import { collate, type Filled, type TokenBatch } from './collate.js';
import type { TokenExamples } from './examples.js';
import {
  chooseLengths,
  type Items,
  itemsOf,
  type Plan,
  type PlannedBatch,
  packedPlan,
  paddedPlan,
  placesBefore,
  windowPlan,
} from './plan.js';
import { counted, grouped } from './words.js';

export interface TokenBatchesOptions {
  /** Rows a batch; of preference pairs so many pairs, in twice the rows (2i the chosen, 2i + 1 the rejected one). */
  readonly batchSize: number;
  /**
   * padded: an example a row, filled up to the longest of the batch. packed: rows of `length` places, several examples in each.
   * windows: rows of `length` places drawn anywhere in the examples in a line, for pretraining on long text. Default 'padded'.
   */
  readonly layout?: 'padded' | 'packed' | 'windows';
  /** Places of a row: exactly, or of padded rows at most (default: the longest example). An example of n tokens takes n − 1. */
  readonly length?: number;
  /** What happens to longer examples: only their beginning is used, or they become several. Default: 'split' where packed, else 'cut'. */
  readonly long?: 'cut' | 'split';
  /** Padded rows: their length is a multiple of this. Default 8. */
  readonly roundTo?: number;
  /** Padded rows: at most so many different lengths, as each is compiled. Default 4. */
  readonly maxShapes?: number;
  /** Padded rows: batches of examples of like length, so that less is padding. Default false. */
  readonly groupByLength?: boolean;
  /** Another order in every epoch. Default true; of windows always. */
  readonly shuffle?: boolean;
  /** Of the order; default 0. */
  readonly seed?: number;
  /** Fills rows up; default 0. */
  readonly padId?: number;
  /** Leaves the last batch away unless it is full. Default: it is filled up with rows that count for nothing. */
  readonly dropRemainder?: boolean;
  /** Windows: batches an epoch; default: as many as hold all tokens once. */
  readonly batchesPerEpoch?: number;
  /**
   * Adds the places that have a label, for losses that are computed there alone: y = [labels, rows, rowLabels], rows and rowLabels i32
   * [rows of the batch, w]: flat places r · T + t in order and their labels, filled up with place 0 and label −100. w is a multiple of
   * T / 8, or of T / n when a number is given.
   */
  readonly labelledRows?: boolean | number;
}

/** How full the batches of the first epoch are, and what they leave out. */
export interface BatchStats {
  readonly batches: number;
  readonly rows: number;
  /** Places of the examples. */
  readonly tokens: number;
  /** Share of all places that hold tokens, rows that fill the last batch up left out. */
  readonly efficiency: number;
  /** Row lengths. */
  readonly lengths: readonly number[];
  /** Examples longer than a row. */
  readonly long: number;
  /** Of those, places that are never seen. */
  readonly cutTokens: number;
  /** Examples of less than two tokens, left out. */
  readonly tooShort: number;
}

const WHO = 'TokenBatches';

/**
 * Batches of tokens (see TokenBatch), the same for the same seed and epoch. Each can be asked for by its number: a resumed fit goes on
 * at its batch without reading those before.
 * @example
 * ```ts no-run
 * const { model, tokenizer } = await fromPretrained('models/SmolLM2-135M');
 * const shards = await tokenizeFiles('captions.jsonl', tokenizer, { maxLength: 1024 });
 * const batches = new TokenBatches(shards, { batchSize: 16, layout: 'packed', length: 1024, padId: tokenizer.padId ?? 0 });
 * await model.fit(batches, { epochs: 3 });
 * ```
 */
export class TokenBatches implements AsyncIterable<TokenBatch> {
  /** Batches an epoch. */
  readonly size: number;
  readonly stats: BatchStats;
  readonly #examples: TokenExamples;
  readonly #options: Settings;
  readonly #planOf: (epoch: number) => Plan;
  #longest = 0;
  #kept: { readonly epoch: number; readonly plan: Plan } | null = null;
  #passes = 0;

  /** Throws ConfigError for options that can't be, or don't fit the examples. */
  constructor(examples: TokenExamples, options: TokenBatchesOptions) {
    const settings = settingsOf(examples, options);
    this.#examples = examples;
    this.#options = settings;
    if (settings.layout === 'windows') {
      const before = placesBefore(examples);
      const total = before[examples.count];
      if (total === 0) throw nothing();
      const batches = settings.batchesPerEpoch ?? Math.ceil(total / (settings.rows * settings.length));
      this.#planOf = (epoch) => windowPlan(before, { ...settings, batches }, epoch, settings.length);
      this.size = batches;
      const rows = batches * settings.rows;
      const efficiency = Math.min(1, total / settings.length);
      this.stats = { batches, rows, tokens: total, efficiency, lengths: [settings.length], long: 0, cutTokens: 0, tooShort: 0 };
      return;
    }
    const items = itemsOf(examples, settings.length, settings.long);
    if (items.count === 0) throw nothing();
    if (settings.layout === 'packed') this.#planOf = (epoch) => packedPlan(items, settings, epoch, settings.length);
    else {
      const lengths = this.#lengthsOf(items);
      const lengthFor = (places: number): number => lengths.find((n) => n >= places) ?? lengths[lengths.length - 1];
      this.#planOf = (epoch) => paddedPlan(items, examples.group, settings, epoch, lengthFor);
    }
    this.size = this.#plan(0).batches;
    if (this.size === 0)
      throw new ConfigError(`${WHO}: the examples don't fill one batch of ${settings.rows} rows. Expected more, or dropRemainder: false.`);
    this.stats = this.#measure(items);
  }

  /** The number of a batch of the first epoch whose rows are the longest that there are: what needs the most memory. */
  get longestBatch(): number {
    return this.#longest;
  }

  /** Places of that batch, those that are filled up included. */
  get mostPlaces(): number {
    return this.#options.rows * Math.max(...this.stats.lengths);
  }

  /** Batches from number `skip` of epoch `epoch` on; one is made while its predecessor is used. */
  async *openAt(epoch: number, skip = 0): AsyncGenerator<TokenBatch, void, undefined> {
    const plan = this.#plan(epoch);
    const make = (b: number): Promise<TokenBatch> | null => {
      if (b >= plan.batches) return null;
      const batch = this.#batch(plan.batch(b));
      // Whoever leaves early doesn't hear of a failure.
      batch.catch(() => undefined);
      return batch;
    };
    let next = make(skip);
    for (let b = skip; next; b++) {
      const batch = await next;
      next = make(b + 1);
      yield batch;
    }
  }
  /** The batches of epoch `epoch`. */
  epoch(epoch: number): AsyncIterable<TokenBatch> {
    return this.openAt(epoch);
  }
  /** A pass: the first is epoch 0. */
  [Symbol.asyncIterator](): AsyncIterator<TokenBatch> {
    return this.openAt(this.#passes++);
  }

  /** How full the batches are and what they leave out, in sentences. */
  describe(): string[] {
    const { stats } = this;
    const { rows, layout } = this.#options;
    const lengths =
      stats.lengths.length === 1 ? `${stats.lengths[0]}` : `${stats.lengths.slice(0, -1).join(', ')} or ${stats.lengths.at(-1)}`;
    const lines = [
      `${grouped(stats.batches)} ${layout} ${stats.batches === 1 ? 'batch' : 'batches'} an epoch of ${rows} × ${lengths} tokens; ${(100 * stats.efficiency).toFixed(1)} % of the places hold tokens.`,
    ];
    const { long, cutTokens, tooShort } = stats;
    const longOnes = `${counted(long, 'example')} of more than ${this.#options.length} tokens ${long === 1 ? 'is' : 'are'}`;
    if (long > 0 && this.#options.long === 'split') lines.push(`${longOnes} split.`);
    if (long > 0 && this.#options.long === 'cut')
      lines.push(
        `${longOnes} cut: ${counted(cutTokens, 'token')} ${cutTokens === 1 ? 'is' : 'are'} never seen. Raise length, or use long: 'split'.`,
      );
    if (tooShort > 0) lines.push(`${counted(tooShort, 'example')} of less than two tokens left out.`);
    return lines;
  }

  #plan(epoch: number): Plan {
    if (!Number.isSafeInteger(epoch) || epoch < 0) throw new ConfigError(`${WHO}: epoch ${epoch}. Expected a whole number ≥ 0.`);
    if (this.#kept?.epoch !== epoch) this.#kept = { epoch, plan: this.#planOf(epoch) };
    return this.#kept.plan;
  }

  async #batch({ rows, length }: PlannedBatch): Promise<TokenBatch> {
    const filled = await Promise.all(
      rows.map((row) =>
        Promise.all(
          row.map(async (segment): Promise<Filled[number]> => {
            const end = Math.min(segment.start + segment.places + 1, this.#examples.lengthOf(segment.example));
            return { segment, tokens: await this.#examples.example(segment.example, segment.start, end) };
          }),
        ),
      ),
    );
    const { rows: size, padId, labelledParts } = this.#options;
    return collate(filled, size, length, padId, labelledParts);
  }

  /** The row lengths of padded batches: few, and least padding in the first epoch. */
  #lengthsOf(items: Items): number[] {
    const { roundTo, maxShapes, length, most } = this.#options;
    const rounded = (places: number): number => Math.min(most, Math.ceil(places / roundTo) * roundTo);
    const longest = rounded(Math.min(items.stats.longest, length));
    if (maxShapes === 1) return [longest];
    const plan = paddedPlan(items, this.#examples.group, this.#options, 0, rounded);
    return chooseLengths(
      Array.from({ length: plan.batches }, (_, b) => plan.batch(b).length),
      longest,
      maxShapes,
    );
  }

  #measure(items: Items): BatchStats {
    const plan = this.#plan(0);
    const lengths = new Set<number>();
    let [rows, places, tokens, longest] = [0, 0, 0, 0];
    for (let b = 0; b < plan.batches; b++) {
      const batch = plan.batch(b);
      lengths.add(batch.length);
      if (batch.length > longest) [longest, this.#longest] = [batch.length, b];
      rows += batch.rows.length;
      places += batch.rows.length * batch.length;
      for (const row of batch.rows) for (const segment of row) tokens += segment.places;
    }
    const { long, cutPlaces, tooShort } = items.stats;
    return {
      batches: plan.batches,
      rows,
      tokens,
      efficiency: tokens / places,
      lengths: [...lengths].sort((a, b) => a - b),
      long,
      cutTokens: cutPlaces,
      tooShort,
    };
  }
}

const nothing = (): ConfigError => new ConfigError(`${WHO}: there is nothing to learn. Expected examples of two tokens or more.`);

interface Settings {
  readonly rows: number;
  readonly layout: 'padded' | 'packed' | 'windows';
  readonly length: number;
  /** What rounding may not pass: a length that was given. */
  readonly most: number;
  readonly long: 'cut' | 'split';
  readonly roundTo: number;
  readonly maxShapes: number;
  readonly groupByLength: boolean;
  readonly shuffle: boolean;
  readonly seed: number;
  readonly padId: number;
  readonly dropRemainder: boolean;
  readonly batchesPerEpoch: number | undefined;
  readonly labelledParts: number | null;
}

function settingsOf(examples: TokenExamples, options: TokenBatchesOptions): Settings {
  const { batchSize, layout = 'padded', roundTo = 8, maxShapes = 4, seed = 0, padId = 0, labelledRows = false, batchesPerEpoch } = options;
  const whole = (name: string, value: number | undefined, least: number): void => {
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= least))
      throw new ConfigError(`${WHO}: ${name} is ${quote(value)}. Expected a whole number ≥ ${least}.`);
  };
  const oneOf = (name: string, value: unknown, known: readonly string[]): void => {
    if (!known.includes(value as string))
      throw new ConfigError(`${WHO}: ${name} is ${quote(value)}. Expected ${known.map((k) => `'${k}'`).join(' or ')}.`);
  };
  if (!Number.isSafeInteger(batchSize) || batchSize < 1)
    throw new ConfigError(`${WHO}: batchSize is ${quote(batchSize)}. Expected a whole number ≥ 1.`);
  oneOf('layout', layout, ['padded', 'packed', 'windows']);
  if (options.long !== undefined) oneOf('long', options.long, ['cut', 'split']);
  whole('length', options.length, 1);
  whole('roundTo', roundTo, 1);
  whole('maxShapes', maxShapes, 1);
  whole('padId', padId, 0);
  whole('batchesPerEpoch', batchesPerEpoch, 1);
  if (!Number.isSafeInteger(seed)) throw new ConfigError(`${WHO}: seed is ${quote(seed)}. Expected an integer.`);
  const labelledParts = labelledRows === false ? null : labelledRows === true ? 8 : labelledRows;
  if (labelledParts !== null) whole('labelledRows', labelledParts, 1);
  const { group } = examples;
  const long = options.long ?? (layout === 'packed' ? 'split' : 'cut');
  if (group > 1 && (layout !== 'padded' || long === 'split'))
    throw new ConfigError(`${WHO}: the examples are pairs. Expected layout 'padded' and long 'cut', received ${layout} and ${long}.`);
  if (options.length === undefined && layout !== 'padded')
    throw new ConfigError(`${WHO}: layout '${layout}' without length. Expected the places of a row, such as length: 1024.`);
  if (options.length === undefined && long === 'split')
    throw new ConfigError(`${WHO}: long: 'split' without length. Expected the places of a row.`);
  let longest = 1;
  if (options.length === undefined) for (let i = 0; i < examples.count; i++) longest = Math.max(longest, examples.lengthOf(i) - 1);
  return {
    rows: batchSize * group,
    layout,
    length: options.length ?? longest,
    most: options.length ?? Number.POSITIVE_INFINITY,
    long,
    roundTo,
    maxShapes,
    groupByLength: options.groupByLength ?? false,
    shuffle: options.shuffle ?? true,
    seed,
    padId,
    dropRemainder: options.dropRemainder ?? false,
    batchesPerEpoch,
    labelledParts,
  };
}
