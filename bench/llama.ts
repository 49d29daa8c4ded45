/**
 * @file llama-full, llama-lora, llama-decode, llama-prefill: a Llama of SmolLM2-135M's shape trained beside PyTorch, and gone on with beside
 * llama.cpp. Every contender is a process of its own; weights are made once and read by all.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { runChild } from './child.js';
import { type LlamaMode, llamaConfig } from './llama-child.js';
import { productRate, readRate } from './machine.js';
import { type Contender, type Result, race, withRates } from './measure.js';
import { benchProgram } from './paths.js';
import { asNumber, findPython, type Json, PeerProcess, startLlamaCpp, startPytorch, waitPolicies } from './peers.js';

export interface LlamaOptions {
  readonly rounds: number;
  readonly peers: boolean;
  /** Where node-llama-cpp is installed; default bench/peers. */
  readonly javascript?: string;
  /** Only measurements whose name contains it. */
  readonly filter: string;
  readonly say: (line: string) => void;
}

const threads = availableParallelism();
const [batch, tokens] = [4, 256];
const ours = (): PeerProcess => new PeerProcess('Tenon', process.execPath, [benchProgram, 'child', 'llama'], {});

/** `use` with a folder that has the model, which is removed afterwards. */
async function withLlama<T>(types: readonly string[], say: LlamaOptions['say'], use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'tenon-llama-'));
  try {
    say(`writing random weights${types.length > 0 ? `, and GGUF files at ${types.join(', ')}` : ''}`);
    await runChild('llama-make', [folder, ...types]);
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Operations of a step: 2 a weight and token forward, 2 for the gradient of what goes in, 2 for the weight's own where it is trained; attention's. */
function flopsOf(mode: LlamaMode): number {
  const {
    hidden_size: c,
    intermediate_size: f,
    num_hidden_layers: l,
    num_attention_heads: h,
    num_key_value_heads: k,
    vocab_size: v,
  } = llamaConfig;
  const inside = l * (2 * c * c + 2 * c * (c / h) * k + 3 * c * f) + v * c;
  const attention = l * c * tokens * 2;
  return batch * tokens * ((mode === 'full' ? 6 : 4) * inside + 6 * attention);
}

const contender = (process: PeerProcess, configuration: string, isPeer: boolean): Contender => ({
  name: process.name,
  configuration,
  isPeer,
  run: async (steps) => asNumber((await process.request({ do: 'steps', n: steps })).ms, process.name),
  close: async () => process.close(),
});

/** PyTorch in the way that is fastest here: each tried alone, since several hold several times the memory. */
async function bestPytorch(
  python: string,
  request: Json,
  say: LlamaOptions['say'],
): Promise<{ process: PeerProcess; configuration: string }> {
  const ways = waitPolicies.flatMap((policy) => [false, true].map((foreach) => ({ policy, foreach })));
  const start = async ({ policy, foreach }: (typeof ways)[number]): Promise<PeerProcess> => {
    const process = startPytorch(python, policy, 'pytorch_llama.py');
    await process.request({ ...request, foreach, threads });
    return process;
  };
  const named = ({ policy, foreach }: (typeof ways)[number]): string =>
    `${threads} threads${foreach ? ', foreach' : ''}${policy === 'PASSIVE' ? ', passive waits' : ''}`;
  let best = { way: ways[0], ms: Number.POSITIVE_INFINITY };
  for (const way of ways) {
    const process = await start(way);
    await process.request({ do: 'steps', n: 1 });
    const ms = asNumber((await process.request({ do: 'steps', n: 1 })).ms, process.name);
    process.close();
    say(`PyTorch, ${named(way)}: ${ms.toFixed(0)} ms`);
    if (ms < best.ms) best = { way, ms };
  }
  return { process: await start(best.way), configuration: named(best.way) };
}

const encoded = (ids: Int32Array): string => Buffer.from(ids.buffer).toString('base64');

/** Losses of both sides over steps on one batch. Throws Error where they don't compute the same; resolves to the largest difference. */
async function requireSameLosses(own: PeerProcess, peer: PeerProcess, tolerance: number): Promise<number> {
  const random = (seed: number): Int32Array =>
    Int32Array.from({ length: batch * tokens }, (_, i) => Math.imul(i + seed, 2654435761) >>> 0).map(
      (x) => (x >>> 0) % llamaConfig.vocab_size,
    );
  const request = { do: 'losses', n: 3, ids: encoded(random(1)), labels: encoded(random(77)) };
  const lists = [await own.request(request), await peer.request(request)].map((r) => (Array.isArray(r.losses) ? r.losses.map(Number) : []));
  const worst = Math.max(...lists[0].map((loss, i) => Math.abs(loss - lists[1][i])));
  if (!(worst < tolerance))
    throw new Error(
      `llama: losses ${lists[0].join(', ')} and PyTorch's ${lists[1].join(', ')} differ by ${worst}. Expected at most ${tolerance}.`,
    );
  return worst;
}

/** Training steps of 4 × 256 tokens, f32 and bf16; with LoRA, QLoRA's beside PyTorch's LoRA in bf16, and both with activations computed again. */
export async function benchLlamaTraining(mode: 'full' | 'lora', options: LlamaOptions): Promise<Result[]> {
  const { say, rounds, filter } = options;
  const python = options.peers ? findPython() : null;
  if (options.peers && !python) say('no Python with torch here: no peer (BENCH_PYTHON names one)');
  const parts = [
    { name: `${mode}, f32`, mode, dtype: 'f32' },
    { name: `${mode}, bf16`, mode, dtype: 'bf16' },
    ...(mode === 'lora'
      ? ([
          { name: 'qlora, bf16', mode: 'qlora', dtype: 'bf16' },
          { name: 'lora, f32, checkpointing', mode: 'lora', dtype: 'f32', checkpointing: true },
          { name: 'qlora, bf16, checkpointing', mode: 'qlora', dtype: 'bf16', checkpointing: true },
        ] as const)
      : []),
  ].filter((p) => p.name.includes(filter));
  return withLlama([], say, async (folder) => {
    const results: Result[] = [];
    for (const part of parts) {
      const request = { do: 'train', folder, mode: part.mode, dtype: part.dtype, checkpointing: 'checkpointing' in part };
      const own = ours();
      const contenders: Contender[] = [contender(own, `${part.mode}, ${part.dtype}`, false)];
      let peer: PeerProcess | null = null;
      let difference: number | null = null;
      await own.request(request);
      if (python) {
        const best = await bestPytorch(python, { ...request, mode }, say);
        peer = best.process;
        contenders.push(contender(peer, best.configuration, true));
        // QLoRA's weights are others: a quantized model's.
        if (part.mode !== 'qlora') difference = await requireSameLosses(own, peer, part.dtype === 'f32' ? 2e-3 : 0.05);
      }
      const peaks: Record<string, number> = {};
      const last: Contender[] = contenders.map((c, i) => ({
        ...c,
        close: async () => {
          const process = i === 0 ? own : peer;
          if (process) peaks[c.name] = asNumber((await process.request({ do: 'peak' })).bytes, c.name);
          process?.close();
        },
      }));
      const result = await race(`llama, ${part.name}, 4 × 256 tokens`, last, { rounds, isOwnPace: true, progress: say });
      const { gflops } = await productRate(null);
      results.push({
        ...withRates(result, flopsOf(part.mode), gflops),
        notes: {
          ...result.notes,
          lossDifference: difference,
          peakBytes: peaks.Tenon,
          peakBytesOfPeer: peaks.PyTorch ?? null,
          peakRatio: peaks.PyTorch ? peaks.Tenon / peaks.PyTorch : null,
          productRate: gflops,
        },
      });
    }
    return results;
  });
}

interface Reading {
  readonly name: string;
  readonly dtype: 'f32' | 'bf16';
  readonly weightDtype: 'f32' | 'bf16' | 'f16';
  readonly quantize: 'none' | 'q8_0';
  /** llama.cpp's file: it has no fast bf16. */
  readonly against: 'f32' | 'f16' | 'q8_0';
}
const readings: readonly Reading[] = [
  { name: 'f32', dtype: 'f32', weightDtype: 'f32', quantize: 'none', against: 'f32' },
  { name: 'bf16', dtype: 'bf16', weightDtype: 'bf16', quantize: 'none', against: 'f16' },
  { name: 'f16', dtype: 'f32', weightDtype: 'f16', quantize: 'none', against: 'f16' },
  { name: 'q8_0', dtype: 'f32', weightDtype: 'f32', quantize: 'q8_0', against: 'q8_0' },
];
const promptTokens = 512;

const open = async (folder: string, { dtype, weightDtype, quantize }: Reading, slots: number): Promise<PeerProcess> => {
  const process = ours();
  await process.request({ do: 'open', folder, dtype, weightDtype, quantize, slots });
  return process;
};

/** Tokens after a prompt of 512, or the prompt itself, milliseconds a token. */
function speaker(process: PeerProcess, configuration: string, isPeer: boolean, what: 'decode' | 'prefill', requests: number): Contender {
  return {
    name: process.name,
    configuration,
    isPeer,
    run: async (steps) => {
      if (what === 'decode') {
        const reply = await process.request({ do: 'speak', prompt: promptTokens, count: steps + 1 });
        return asNumber(reply.tokensMs, process.name) / requests;
      }
      let ms = 0;
      for (let i = 0; i < steps; i++)
        ms += asNumber((await process.request({ do: 'speak', prompt: promptTokens, count: 1 })).firstMs, process.name);
      return ms / promptTokens;
    },
    close: async () => process.close(),
  };
}

/** llama.cpp on a file, with its keys and values in f16 with and without its fused attention. */
async function llamaCpp(folder: string, type: string, what: 'decode' | 'prefill', options: LlamaOptions): Promise<Contender[]> {
  if (!options.peers) return [];
  return Promise.all(
    [false, true].map(async (flashAttention) => {
      const process = startLlamaCpp(options.javascript);
      await process.request({ do: 'load', path: join(folder, `${type}.gguf`), flashAttention, keys: 'F16' });
      return speaker(process, `${type}, ${threads} threads${flashAttention ? ', flash attention' : ''}`, true, what, 1);
    }),
  );
}

/** Batch-1 decoding after 512 tokens and eight requests together, or the reading of 512 tokens. Milliseconds a token. */
export async function benchLlamaReading(what: 'decode' | 'prefill', options: LlamaOptions): Promise<Result[]> {
  const { say, rounds } = options;
  const parts = readings.filter((r) => r.name.includes(options.filter) && (what === 'decode' || r.weightDtype !== 'f16'));
  const files = options.peers ? [...new Set(parts.map((r) => r.against))] : [];
  return withLlama(files, say, async (folder) => {
    const results: Result[] = [];
    for (const part of parts) {
      const own = speaker(await open(folder, part, 1), `${part.name}, ${threads} threads`, false, what, 1);
      const contenders = [own, ...(await llamaCpp(folder, part.against, what, options))];
      const before = await readRate();
      const result = await race(`llama, ${what}, ${part.name}, 512 tokens`, contenders, {
        rounds,
        isOwnPace: true,
        maxSteps: what === 'decode' ? 64 : 2,
        roundMs: 1000,
        progress: say,
      });
      const rate = Math.max(before, await readRate());
      const tokensPerSecond = Object.fromEntries(result.contenders.map((c) => [`tokensPerSecond${c.name}`, 1000 / c.median]));
      results.push({ ...result, notes: { ...result.notes, ...tokensPerSecond, memoryGBs: rate / 1e9 } });
      if (what === 'decode' && part.weightDtype !== 'bf16') results.push(await together(folder, part, options));
    }
    return results;
  });
}

/** Eight requests side by side and one, milliseconds a token. */
async function together(folder: string, part: Reading, { rounds, say }: LlamaOptions): Promise<Result> {
  const [eight, one] = [await open(folder, part, 8), await open(folder, part, 1)];
  const result = await race(
    `llama, eight requests, ${part.name}, 512 tokens each`,
    [speaker(eight, '8 requests', false, 'decode', 8), speaker(one, '1 request', false, 'decode', 1)],
    { rounds, isOwnPace: true, maxSteps: 32, roundMs: 2000, progress: say },
  );
  const of = (configuration: string): number => result.contenders.find((c) => c.configuration === configuration)?.median ?? Number.NaN;
  return { ...result, notes: { ...result.notes, timesTheRateOfOne: of('1 request') / of('8 requests') } };
}
