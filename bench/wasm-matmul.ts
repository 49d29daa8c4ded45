/**
 * @file wasm-matmul: f32 products on the device wasm beside TensorFlow.js's WASM backend and jax-js, in Node and in Chromium, where all
 * of them may have threads. TENON_DEVICE puts another device in wasm's place.
 */
import { availableParallelism } from 'node:os';
import { findChromium } from '../scripts/chromium.js';
import { type Browser, openBrowser, type WorkerSetting } from './browser.js';
import { describeLibrary, findLibraries, type Library, libraries, startLibrary } from './javascript.js';
import { type Contender, markdownTable, type Result, race, withRates } from './measure.js';
import type { Answering } from './peers.js';
import { exactElement, type MatmulProduct, samplePositions } from './product.js';
import { geometricMean, productContender, requireClose, samplesOf, startTenon } from './products.js';
import { plainSimd, wasmDevice } from './wasm.js';

const sizes = [256, 512, 1000, 1024];

export interface WasmMatmulOptions {
  readonly rounds: number;
  readonly peers: boolean;
  readonly javascript?: string;
  /** Only sizes m×k×n that contain it. */
  readonly filter: string;
  /** Also in Chromium, where there is one. */
  readonly browser: boolean;
  readonly say: (line: string) => void;
}

/** Somebody who multiplies matrices: in a process or in a worker of a page. */
interface Multiplier {
  readonly peer: Answering;
  readonly name: string;
  readonly configuration: string;
  readonly isPeer: boolean;
}

/** All sizes where `multipliers` are; those that a size takes too long on, or that fail on it, are left out with a line. */
async function raceSizes(place: string, multipliers: readonly Multiplier[], options: WasmMatmulOptions): Promise<Result[]> {
  const { rounds, say, filter } = options;
  const results: Result[] = [];
  for (const size of sizes) {
    const name = `${size}×${size}×${size}`;
    if (!name.includes(filter)) continue;
    const product: MatmulProduct = { kind: 'matmul', m: size, k: size, n: size, ta: false, tb: false };
    const exact = samplePositions(size * size).map((at) => exactElement(product, at));
    const contenders: Contender[] = [];
    for (const m of multipliers)
      try {
        const reply = await m.peer.request({ do: 'prepare', product, m: size, k: size, n: size });
        requireClose(`${m.name} ${name}`, samplesOf(reply, m.name), exact, size);
        contenders.push(productContender(m.peer, m));
      } catch (error) {
        if (!m.isPeer) throw error;
        say(`left out: ${m.name} in ${place}: ${error instanceof Error ? error.message : String(error)}`);
      }
    const result = withRates(await race(`${name} f32, ${place}`, contenders, { rounds, roundMs: 300, isOwnPace: true }), 2 * size ** 3);
    const one = single(result);
    results.push({ ...result, notes: { ...result.notes, ...(one === null ? {} : { ratioOnOneThread: one }) } });
    say(
      `${result.name}: ${result.contenders.map((c) => `${c.name} (${c.configuration}) ${(c.gflops ?? 0).toFixed(1)}`).join(', ')} GFLOP/s`,
    );
  }
  return results;
}

/** Tenon's best median on one thread over the best peer's on one thread; null where there are none. */
function single({ contenders }: Result): number | null {
  const best = (isOurs: boolean): number =>
    Math.min(
      ...contenders.filter((c) => (c.name === 'Tenon') === isOurs && c.configuration.includes('1 thread')).map((c) => c.median),
      Number.POSITIVE_INFINITY,
    );
  const ratio = best(true) / best(false);
  return Number.isFinite(ratio) && ratio > 0 ? ratio : null;
}

const threadsOf = (n: number): string => `${n} ${n === 1 ? 'thread' : 'threads'}`;

/** Tenon on one thread, on one without relaxed SIMD, on all; and the libraries, which have one here. */
async function inNode(found: { folder: string; found: readonly Library[] } | null, options: WasmMatmulOptions): Promise<Result[]> {
  const all = availableParallelism();
  const settings = [
    ...(all > 1 ? [{ threads: all, env: {}, what: '' }] : []),
    { threads: 1, env: {}, what: '' },
    { threads: 1, env: plainSimd, what: ', plain SIMD' },
  ];
  const tenon = settings.map(
    ({ threads, env, what }): Multiplier => ({
      peer: startTenon(threads, { TENON_DEVICE: wasmDevice(), ...env }),
      name: 'Tenon',
      configuration: `${wasmDevice()}, ${threadsOf(threads)}${what}`,
      isPeer: false,
    }),
  );
  const peers: Multiplier[] = [];
  const open = tenon.map((t) => t.peer);
  try {
    for (const library of found?.found ?? []) {
      const peer = await startLibrary(found?.folder ?? '', { library, task: 'matmul' });
      open.push(peer);
      peers.push(...(await described(peer, 'Node', options)));
    }
    return await raceSizes('Node', [...tenon, ...peers], options);
  } finally {
    for (const peer of open) peer.close();
  }
}

/** A library as a multiplier, or none with a line. */
async function described(peer: Answering, place: string, { say }: WasmMatmulOptions): Promise<Multiplier[]> {
  try {
    return [{ peer, ...(await describeLibrary(peer)), isPeer: true }];
  } catch (error) {
    say(`left out: ${peer.name} in ${place}: ${error instanceof Error ? error.message : String(error)}`);
    return [];
  }
}

/** Tenon and the libraries in workers of one page, each with as many threads as it takes. */
async function inBrowser(
  program: string,
  found: { folder: string; found: readonly Library[] } | null,
  options: WasmMatmulOptions,
): Promise<Result[]> {
  const threads = availableParallelism();
  const settings: WorkerSetting[] = [
    { library: 'tenon', device: wasmDevice() },
    ...(found?.found ?? []).map((library) => ({ library, task: 'matmul', threads, wasmFiles: '/peers/' }) as const),
  ];
  const browser: Browser = await openBrowser(program, settings, found?.folder ?? '');
  try {
    const [own, ...others] = browser.workers;
    const about = await own.request({ do: 'hello' });
    const tenon: Multiplier = {
      peer: own,
      name: 'Tenon',
      configuration: `${String(about.device)}, ${threadsOf(Number(about.threads))}`,
      isPeer: false,
    };
    const place = browser.version();
    const peers: Multiplier[] = [];
    for (const peer of others) peers.push(...(await described(peer, place, options)));
    return await raceSizes(place, [tenon, ...peers], options);
  } finally {
    await browser.close();
  }
}

/** Times all sizes, in Node and where there is one in Chromium; a result for each, and a table of all. */
export async function benchWasmMatmul(options: WasmMatmulOptions): Promise<{ results: Result[]; table: string }> {
  const found = findLibraries(options);
  const results = await inNode(found, options);
  const chromium = options.browser ? findChromium() : null;
  if (options.browser && !chromium) options.say('no Chromium here (TENON_CHROMIUM names one): only in Node');
  if (chromium) results.push(...(await inBrowser(chromium, found, options)));
  return { results, table: summary(results, options.rounds) };
}

/** A row for each contender of each size. */
function summary(results: readonly Result[], rounds: number): string {
  const rows = results.flatMap((r) =>
    r.contenders.map((c) => [
      r.name,
      c.name,
      c.configuration,
      c.median.toFixed(3),
      c.min.toFixed(3),
      c.max.toFixed(3),
      (c.gflops ?? 0).toFixed(1),
    ]),
  );
  const speeds = results.flatMap(({ ratio }) => (ratio === null ? [] : [1 / ratio]));
  const peers = Object.values(libraries).map((l) => l.name);
  const means =
    speeds.length === 0
      ? 'no peer'
      : `× the best of ${peers.join(' and ')}: geometric mean ${geometricMean(speeds).toFixed(3)}, least ${Math.min(...speeds).toFixed(3)}`;
  const ones = results.flatMap(({ notes }) => (typeof notes?.ratioOnOneThread === 'number' ? [1 / notes.ratioOnOneThread] : []));
  const onOne = ones.length === 0 ? '' : ` · one thread against one: geometric mean ${geometricMean(ones).toFixed(3)}`;
  const header = ['product', 'contender', 'configuration', 'median ms', 'min', 'max', 'GFLOP/s'];
  return `### f32 products in WebAssembly\n${markdownTable(header, rows)}\n\n${means}${onOne} · ${rounds} ${rounds === 1 ? 'round' : 'rounds'}\n`;
}
