/**
 * @file How contenders are timed: warm-up, a screening of the peers' configurations, then alternating rounds of the finalists
 * in rotating order. Medians count; minima and maxima tell how far to trust them.
 */
import { setTimeout as sleep } from 'node:timers/promises';

/** Something that can take training steps. */
export interface Contender {
  readonly name: string;
  /** What distinguishes it: layout, threads, switches. */
  readonly configuration: string;
  /** Peers are screened, and their best one is what Tenon is compared to. */
  readonly isPeer: boolean;
  /** Takes so many steps. Resolves to the milliseconds they took together. */
  run(steps: number): Promise<number>;
  close?(): Promise<void>;
}

export interface Measured {
  readonly name: string;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly unit: string;
  readonly configuration: string;
  /** Rounds of this contender when it was left out after the screening. */
  readonly screenedAfter?: number;
  readonly gflops?: number;
  /** Of the machine's measured rate of products. */
  readonly share?: number;
}
/** One line of the JSON file. */
export interface Result {
  readonly name: string;
  readonly rounds: number;
  readonly contenders: readonly Measured[];
  /** Our median / the best peer's; null without peers. */
  readonly ratio: number | null;
  /** Anything else worth keeping: steps a round, overheads, limits. */
  readonly notes?: Readonly<Record<string, number | string | null>>;
}

export interface RaceOptions {
  readonly rounds: number;
  /** Milliseconds that a contender's part of a round lasts. */
  readonly roundMs?: number;
  /** Peers that go on after the screening. */
  readonly finalists?: number;
  /** Steps of a turn at most. */
  readonly maxSteps?: number;
  /**
   * Each contender takes as many steps as its part of a round holds, one at least: where the slowest takes a hundred times as long as
   * the quickest. Without it all take the same number, so that what happens once in many steps happens to all.
   */
  readonly isOwnPace?: boolean;
  /** Milliseconds before a turn in which nobody's threads should be spinning any more. */
  readonly pauseMs?: number;
  readonly progress?: (line: string) => void;
}

/** The middle value; of an even number the mean of the two. Throws RangeError for none. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('median: no values. Expected at least one.');
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** Steps that open a turn uncounted last about so long. */
const warmUpMs = 150;

/** A list that begins at place `by`. */
export const rotated = <T>(list: readonly T[], by: number): T[] => list.map((_, i) => list[(i + by) % list.length]);

export function summarize(contender: { name: string; configuration: string }, times: readonly number[], unit: string): Measured {
  const { name, configuration } = contender;
  return { name, median: median(times), min: Math.min(...times), max: Math.max(...times), unit, configuration };
}

/**
 * Milliseconds a step: first some that nobody counts, since the caches hold the previous contender's data and a system may take
 * a while until it has spread threads that slept over the cores.
 */
async function turn(contender: Contender, steps: number, ms: number, pauseMs: number): Promise<number> {
  // Threads of a peer may spin for a while after their work; nobody's time is taken while they do.
  await sleep(pauseMs);
  await contender.run(Math.max(1, Math.min(steps, Math.ceil(warmUpMs / ms))));
  return (await contender.run(steps)) / steps;
}

/** Lets the contenders take turns. Resolves to the measured contenders (best first, ours before peers) and the ratio. */
export async function race(name: string, contenders: readonly Contender[], options: RaceOptions): Promise<Result> {
  const { rounds, roundMs = 500, finalists = 4, maxSteps = 1000, isOwnPace = false, pauseMs = 20, progress = () => undefined } = options;
  const stepsFor = (ms: number): number => Math.max(isOwnPace ? 1 : 2, Math.min(maxSteps, Math.ceil(roundMs / ms)));
  const pace = new Map<Contender, number>();
  for (const c of contenders) {
    // The slowest say after one step how slow they are.
    const few = isOwnPace ? 1 : 3;
    const steps = stepsFor((await c.run(few)) / few);
    pace.set(c, (await c.run(steps)) / steps);
    progress(`warm-up: ${c.name} (${c.configuration}) ${(pace.get(c) ?? 0).toFixed(2)} ms`);
  }
  const paceOf = (c: Contender): number => pace.get(c) ?? 1;
  const times = new Map<Contender, number[]>(contenders.map((c) => [c, []]));
  const round = async (list: readonly Contender[], number: number, steps: (c: Contender) => number): Promise<void> => {
    for (const c of rotated(list, number)) times.get(c)?.push(await turn(c, steps(c), paceOf(c), pauseMs));
  };
  const peers = contenders.filter((c) => c.isPeer);
  const screening = peers.length > finalists ? 3 : 0;
  for (let i = 0; i < screening; i++) await round(peers, i, (c) => Math.max(2, Math.ceil(stepsFor(paceOf(c)) / 2)));
  const best = (c: Contender): number => (screening ? median(times.get(c) ?? []) : paceOf(c));
  const kept = new Set([...peers].sort((a, b) => best(a) - best(b)).slice(0, finalists));
  const out: Measured[] = [];
  for (const c of peers)
    if (!kept.has(c)) {
      out.push({ ...summarize(c, times.get(c) ?? [], 'ms'), screenedAfter: screening });
      await c.close?.();
    }
  const final = contenders.filter((c) => !c.isPeer || kept.has(c));
  for (const c of final) times.set(c, []);
  const steps = stepsFor(Math.max(...final.map(paceOf)));
  for (let i = 0; i < rounds; i++) {
    await round(final, i, (c) => (isOwnPace ? stepsFor(paceOf(c)) : steps));
    progress(`round ${i + 1}/${rounds}: ${final.map((c) => `${c.name} ${(times.get(c)?.at(-1) ?? 0).toFixed(2)} ms`).join(', ')}`);
  }
  const measured = final.map((c) => ({ peer: c.isPeer, row: summarize(c, times.get(c) ?? [], 'ms') }));
  for (const c of final) await c.close?.();
  const sortedBy = (list: readonly Measured[]): Measured[] => [...list].sort((a, b) => a.median - b.median);
  const ours = sortedBy(measured.filter((m) => !m.peer).map((m) => m.row));
  const theirs = sortedBy(measured.filter((m) => m.peer).map((m) => m.row));
  // The best configuration counts, also one that was left out because of a bad moment.
  const peerTimes = [...theirs, ...out].map((m) => m.median);
  return {
    name,
    rounds,
    contenders: [...ours, ...theirs, ...sortedBy(out)],
    ratio: ours.length > 0 && peerTimes.length > 0 ? ours[0].median / Math.min(...peerTimes) : null,
    notes: isOwnPace ? {} : { stepsPerRound: steps },
  };
}

/** With GFLOP/s, and where `productRate` (GFLOP/s) is given the share of it, of steps of `flops`. */
export const withRates = (result: Result, flops: number, productRate?: number): Result => ({
  ...result,
  contenders: result.contenders.map((c) => {
    const gflops = flops / c.median / 1e6;
    return { ...c, gflops, ...(productRate === undefined ? {} : { share: gflops / productRate }) };
  }),
});

const number = (x: number | undefined, digits: number): string => (x === undefined ? '' : x.toFixed(digits));
/** Three or four significant digits whatever the unit. */
const figure = (x: number): string => (x >= 100 ? x.toFixed(1) : x >= 1 ? x.toFixed(2) : x.toFixed(4));

/** Rows as a Markdown table, readable as it is. */
export function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((h, i) => Math.max(h.length, ...rows.map((r) => r[i].length)));
  const line = (cells: readonly string[]): string => `| ${cells.map((c, i) => c.padEnd(widths[i])).join(' | ')} |`;
  return [line(header), `|${widths.map((w) => '-'.repeat(w + 2)).join('|')}|`, ...rows.map(line)].join('\n');
}

/** A result for people and for RESULTS.md. */
export function resultTable(result: Result): string {
  const hasRates = result.contenders.some((c) => c.gflops !== undefined);
  const hasShares = result.contenders.some((c) => c.share !== undefined);
  const rateColumns = [...(hasRates ? ['GFLOP/s'] : []), ...(hasShares ? ['of product rate'] : [])];
  const header = ['contender', 'configuration', 'median', 'min', 'max', ...rateColumns];
  const rows = result.contenders.map((c) => [
    c.screenedAfter === undefined ? c.name : `${c.name} (screened out)`,
    c.configuration,
    `${figure(c.median)} ${c.unit}`,
    figure(c.min),
    figure(c.max),
    ...(hasRates ? [number(c.gflops, 1)] : []),
    ...(hasShares ? [c.share === undefined ? '' : `${(100 * c.share).toFixed(0)} %`] : []),
  ]);
  const notes = Object.entries(result.notes ?? {})
    .filter(([, v]) => v !== null)
    .map(([k, v]) => `${k} ${typeof v === 'number' ? Number(v.toPrecision(5)) : v}`);
  const ratio = result.ratio === null ? 'no peer' : `ratio ${result.ratio.toFixed(3)}`;
  return `### ${result.name}\n${markdownTable(header, rows)}\n\n${[ratio, result.rounds === 1 ? '1 round' : `${result.rounds} rounds`, ...notes].join(' · ')}\n`;
}
