/** @file matmul: products of f32 matrices in every transposition beside OpenBLAS, over many calls in native code. */
import { availableParallelism } from 'node:os';
import { markdownTable, type Result, race, withRates } from './measure.js';
import { exactElement, type MatmulProduct, samplePositions } from './product.js';
import { geometricMean, NativePeer, productContender, requireClose, samplesOf, startTenon } from './products.js';

/** [m, k, n] */
const shapes: readonly (readonly [number, number, number])[] = [
  [256, 256, 256],
  [512, 512, 512],
  [768, 768, 768],
  [1000, 1000, 1000],
  [1024, 1024, 1024],
  [2048, 2048, 2048],
  [77, 65, 33],
  [768, 384, 128],
  [1024, 1536, 576],
  [32, 128, 2304],
];
const transpositions = ['NN', 'NT', 'TN', 'TT'] as const;

export interface MatmulOptions {
  readonly rounds: number;
  readonly peers: boolean;
  readonly threads?: number;
  /** Only shapes whose name contains this. */
  readonly filter: string;
  readonly say: (line: string) => void;
}

/** Times all products on the given number of threads, or on one and on all; a result for each, and a table of all. */
export async function benchMatmul(options: MatmulOptions): Promise<{ results: Result[]; table: string }> {
  const all = availableParallelism();
  const counts = options.threads === undefined ? [...new Set([1, all])] : [options.threads];
  const results: Result[] = [];
  const parts: string[] = [];
  for (const threads of counts) {
    const own = await onThreads(threads, options);
    results.push(...own.results);
    parts.push(own.table);
  }
  return { results, table: parts.join('\n') };
}

async function onThreads(threads: number, options: MatmulOptions): Promise<{ results: Result[]; table: string }> {
  const { rounds, say, filter } = options;
  const tenon = startTenon(threads);
  const native = new NativePeer(threads);
  const count = `${threads} ${threads === 1 ? 'thread' : 'threads'}`;
  try {
    const version = options.peers
      ? await native.request({ do: 'hello' }).then(
          (reply) => String(reply.version).split(' ').slice(0, 2).join(' '),
          (error: Error) => void say(`no OpenBLAS here: ${error.message} BENCH_OPENBLAS names another library`),
        )
      : undefined;
    let peak = await native.peak(threads);
    const raced: { name: string; op: string; result: Result; flops: number }[] = [];
    for (const [m, k, n] of shapes)
      for (const op of transpositions) {
        const name = `${m}×${k}×${n}`;
        if (!name.includes(filter)) continue;
        const product: MatmulProduct = { kind: 'matmul', m, k, n, ta: op[0] === 'T', tb: op[1] === 'T' };
        const exact = samplePositions(m * n).map((at) => exactElement(product, at));
        requireClose(`Tenon ${name} ${op}`, samplesOf(await tenon.request({ do: 'prepare', product }), 'Tenon'), exact, k);
        const contenders = [productContender(tenon, { name: 'Tenon', configuration: count, isPeer: false })];
        if (version !== undefined) {
          const reply = await native.request({ do: 'prepare', m, k, n, ta: Number(product.ta), tb: Number(product.tb) });
          requireClose(`${version} ${name} ${op}`, samplesOf(reply, version), exact, k);
          contenders.push(productContender(native, { name: version, configuration: count, isPeer: true }));
        }
        // OpenBLAS's threads spin for about 0.1 s after their work.
        const pause = threads > 1 && version !== undefined ? 150 : 20;
        const result = await race(`${name} ${op}, ${count}`, contenders, { rounds, roundMs: 50, maxSteps: 20_000, pauseMs: pause });
        raced.push({ name, op, result, flops: 2 * m * k * n });
        say(
          `${result.name}: ${result.contenders.map((c) => `${c.name} ${((2e-6 * m * k * n) / c.median).toFixed(1)}`).join(', ')} GFLOP/s`,
        );
      }
    peak = Math.max(peak, await native.peak(threads));
    const results = raced.map(({ result, flops }) => {
      const rated = withRates(result, flops, peak);
      return { ...rated, notes: { ...rated.notes, fmaPeak: peak, threads } };
    });
    return { results, table: summary(`f32 products, ${count}, FMA peak ${peak.toFixed(1)} GFLOP/s`, raced, results, rounds) };
  } finally {
    tenon.close();
    native.close();
  }
}

function summary(title: string, raced: readonly { name: string; op: string }[], results: readonly Result[], rounds: number): string {
  const rows = results.map(({ contenders: [own, peer], ratio }, i) => [
    raced[i].name,
    raced[i].op,
    (1000 * own.median).toFixed(1),
    (own.gflops ?? 0).toFixed(1),
    `${(100 * (own.share ?? 0)).toFixed(0)} %`,
    peer ? (peer.gflops ?? 0).toFixed(1) : '',
    // Above 1: faster than the peer.
    ratio === null ? '' : (1 / ratio).toFixed(3),
  ]);
  const speeds = results.flatMap(({ ratio }) => (ratio === null ? [] : [1 / ratio]));
  const means =
    speeds.length === 0 ? 'no peer' : `geometric mean ${geometricMean(speeds).toFixed(3)}, least ${Math.min(...speeds).toFixed(3)}`;
  const header = ['m×k×n', 'op', 'median µs', 'GFLOP/s', 'of FMA peak', 'OpenBLAS GFLOP/s', '× OpenBLAS'];
  return `### ${title}\n${markdownTable(header, rows)}\n\n${means} · ${rounds} ${rounds === 1 ? 'round' : 'rounds'}\n`;
}
