/**
 * @file conv: forward, input gradient and filter gradient of convolutions that no network of ours has, batch 8, without
 * padding ('valid'), beside the best of PyTorch's layouts and libraries. Depthwise ones are judged by the rate of the memory.
 */
import { availableParallelism } from 'node:os';
import { type Contender, markdownTable, type Result, race, withRates } from './measure.js';
import { asNumber, findPython, type PeerProcess, startPytorch, waitPolicies } from './peers.js';
import { type ConvProduct, convExtent } from './product.js';
import { geometricMean, NativePeer, productContender, requireClose, samplesOf, startTenon } from './products.js';

type Case = { readonly name: string } & Omit<ConvProduct, 'kind' | 'of' | 'batch'>;
const plain = { stride: 1, dilation: 1, isDepthwise: false };
const cases: readonly Case[] = [
  { ...plain, name: '5×5×16→48 on 100×100, stride 2', extent: 100, kernel: 5, channels: 16, filters: 48, stride: 2 },
  { ...plain, name: '7×7×3→64 on 96×96, stride 2', extent: 96, kernel: 7, channels: 3, filters: 64, stride: 2 },
  { ...plain, name: '1×1×96→192 on 17×17', extent: 17, kernel: 1, channels: 96, filters: 192 },
  { ...plain, name: '3×3 depthwise×144 on 28×28', extent: 28, kernel: 3, channels: 144, filters: 144, isDepthwise: true },
  { ...plain, name: '3×3×40→40 on 31×31, dilated by 2', extent: 31, kernel: 3, channels: 40, filters: 40, dilation: 2 },
];
const batch = 8;
/** Larger than any cache. */
const streamBytes = 400e6;

export interface ConvOptions {
  readonly rounds: number;
  readonly peers: boolean;
  /** Only convolutions whose name contains this. */
  readonly filter: string;
  readonly say: (line: string) => void;
}

/** What is known of a product besides its times. */
interface Entry {
  readonly product: ConvProduct;
  readonly name: string;
  readonly result: Result;
  readonly flops: number;
  /** Of the operands and the result, each once. */
  readonly bytes: number;
  /** GB/s of a triad over that much memory: what the caches give. */
  readonly cachedRate: number;
}

/** Times all products; a result for each, and a table of all. */
export async function benchConv(options: ConvOptions): Promise<{ results: Result[]; table: string }> {
  const { rounds, say, filter } = options;
  const threads = availableParallelism();
  const python = options.peers ? findPython() : null;
  if (options.peers && !python) say('no Python with torch here: no peer (BENCH_PYTHON names one)');
  const tenon = startTenon(threads);
  const native = new NativePeer(threads);
  const pytorch = python ? waitPolicies.map((policy) => ({ policy, peer: startPytorch(python, policy) })) : [];
  try {
    const version = pytorch.length === 0 ? '' : `PyTorch ${String((await pytorch[0].peer.request({ do: 'hello' })).version)}`;
    let [peak, memory] = [await native.peak(threads), await native.stream(streamBytes, threads)];
    const entries: Entry[] = [];
    for (const { name, ...shape } of cases)
      for (const of of ['forward', 'input', 'filter'] as const) {
        if (!name.includes(filter)) continue;
        const product: ConvProduct = { kind: 'conv', of, batch, ...shape };
        const out = convExtent(product);
        const macs = batch * out * out * shape.filters * shape.kernel ** 2 * (shape.isDepthwise ? 1 : shape.channels);
        const samples = samplesOf(await tenon.request({ do: 'prepare', product }), 'Tenon');
        const contenders: Contender[] = [productContender(tenon, { name: 'Tenon', configuration: `${threads} threads`, isPeer: false })];
        // How many numbers are added up in one element of the result, at most.
        const terms =
          of === 'filter' ? batch * out * out : shape.kernel ** 2 * (shape.isDepthwise ? 1 : Math.max(shape.channels, shape.filters));
        for (const { peer, policy } of pytorch)
          contenders.push(
            ...(await pytorchContenders(peer, { version, policy, threads, product, samples, terms, name: `${name} ${of}`, say })),
          );
        const title = `${name}, ${of === 'forward' ? of : `${of} gradient`}, batch ${batch}, valid`;
        const result = await race(title, contenders, { rounds, roundMs: 100, finalists: 2, maxSteps: 5000 });
        const weights = shape.kernel ** 2 * shape.channels * (shape.isDepthwise ? 1 : shape.filters);
        const bytes = 4 * (batch * (shape.extent ** 2 * shape.channels + out ** 2 * shape.filters) + weights);
        entries.push({ product, name, result, flops: 2 * macs, bytes, cachedRate: await native.stream(bytes, threads) });
        say(`${title}: ${result.contenders.map((c) => `${c.name} ${c.median.toFixed(3)} ms`).join(', ')}`);
      }
    // A neighbour's work lowers a rate, nothing raises it.
    peak = Math.max(peak, await native.peak(threads));
    memory = Math.max(memory, await native.stream(streamBytes, threads));
    const results = entries.map(({ result, flops, bytes, cachedRate }) => {
      const rated = withRates(result, flops, peak);
      const gbytes = bytes / result.contenders[0].median / 1e6;
      return { ...rated, notes: { ...rated.notes, fmaPeak: peak, gbytes, memoryRate: memory, cachedRate } };
    });
    const title = `Convolutions, batch ${batch}, padding 'valid', ${threads} threads; FMA peak ${peak.toFixed(1)} GFLOP/s, memory ${memory.toFixed(1)} GB/s (triad)`;
    return { results, table: summary(title, entries, results, memory, rounds) };
  } finally {
    tenon.close();
    native.close();
    for (const { peer } of pytorch) peer.close();
  }
}

interface PeerProduct {
  readonly version: string;
  readonly policy: string;
  readonly threads: number;
  readonly product: ConvProduct;
  readonly samples: readonly number[];
  readonly terms: number;
  readonly name: string;
  readonly say: (line: string) => void;
}

/** Layouts × oneDNN on or off, each seen to give Tenon's result; what PyTorch cannot do is left out with a line. */
async function pytorchContenders(peer: PeerProcess, p: PeerProduct): Promise<Contender[]> {
  const out: Contender[] = [];
  for (const layout of ['nchw', 'channels_last'] as const)
    for (const mkldnn of [true, false]) {
      const configuration = `${layout}, oneDNN ${mkldnn ? 'on' : 'off'}, wait ${p.policy}`;
      const id = `${layout} ${mkldnn}`;
      let theirs: number[];
      try {
        theirs = samplesOf(
          await peer.request({ do: 'prepare-conv', id, product: p.product, threads: p.threads, layout, mkldnn }),
          peer.name,
        );
      } catch (error) {
        p.say(`left out: ${configuration}: ${error instanceof Error ? error.message : String(error)}`);
        continue;
      }
      requireClose(`${p.name}: Tenon beside ${peer.name} (${configuration})`, p.samples, theirs, p.terms);
      out.push({
        name: p.version,
        configuration,
        isPeer: true,
        run: async (steps) => 1000 * asNumber((await peer.request({ do: 'run', id, steps })).seconds, peer.name),
        close: async () => void (await peer.request({ do: 'drop', id })),
      });
    }
  return out;
}

function summary(title: string, entries: readonly Entry[], results: readonly Result[], memory: number, rounds: number): string {
  const percent = (x: number): string => `${(100 * x).toFixed(0)} %`;
  const rows = results.map((r, i) => {
    const { product, name, bytes, cachedRate } = entries[i];
    const own = r.contenders[0];
    const peer = r.contenders.filter((c) => c !== own).sort((a, b) => a.median - b.median)[0];
    const gbytes = bytes / own.median / 1e6;
    return [
      name,
      product.of,
      own.median.toFixed(3),
      (own.gflops ?? 0).toFixed(1),
      product.isDepthwise ? '' : percent(own.share ?? 0),
      // The operands of repeated products stay in the caches, whose rate is the other figure.
      product.isDepthwise ? `${percent(gbytes / memory)} (${percent(gbytes / cachedRate)} of the caches')` : '',
      peer ? peer.median.toFixed(3) : '',
      peer ? peer.configuration : '',
      r.ratio === null ? '' : r.ratio.toFixed(3),
    ];
  });
  const ratios = results.flatMap(({ ratio }) => (ratio === null ? [] : [ratio]));
  const means =
    ratios.length === 0
      ? 'no peer'
      : `geometric mean of the ratios ${geometricMean(ratios).toFixed(3)}, greatest ${Math.max(...ratios).toFixed(3)}`;
  const header = [
    'convolution',
    'product',
    'median ms',
    'GFLOP/s',
    'of FMA peak',
    'of memory rate',
    'PyTorch ms',
    "PyTorch's best",
    'ratio',
  ];
  return `### ${title}\n${markdownTable(header, rows)}\n\n${means} · ${rounds} ${rounds === 1 ? 'round' : 'rounds'}\n`;
}
