/**
 * @file Peers as child processes that answer JSON lines, kept alive over all rounds: nothing but their steps is timed, by
 * their own clock. PyTorch is found in the system's Python; BENCH_PYTHON names another one.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Contender } from './measure.js';
import type { WorkloadName } from './models.js';
import { peerProgram, root } from './paths.js';

export type Json = Readonly<Record<string, unknown>>;
export const isObject = (x: unknown): x is Json => typeof x === 'object' && x !== null && !Array.isArray(x);

/** Somebody elsewhere who is asked and answers in order. */
export interface Answering {
  readonly name: string;
  /** Rejects with an Error that names whom it comes from. */
  request(request: Json): Promise<Json>;
  close(): void;
}

/** A peer's process, which answers JSON lines. */
export class PeerProcess implements Answering {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #waiting: { resolve: (reply: Json) => void; reject: (error: Error) => void }[] = [];

  constructor(name: string, command: string, args: readonly string[], env: Readonly<Record<string, string>>, cwd?: string) {
    this.name = name;
    // OpenBLAS chooses its kernels for the machine best by itself: a setting made for other programs here may name older ones.
    const { OPENBLAS_CORETYPE: _, OPENBLAS_L2_SIZE: __, ...outer } = process.env;
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'], env: { ...outer, ...env }, cwd });
    const fail = (error: Error): void => {
      for (const { reject } of this.#waiting.splice(0)) reject(error);
    };
    this.#child.on('error', (error) => fail(new Error(`${name}: ${command} does not start: ${error.message}`)));
    this.#child.on('exit', (code, signal) => fail(new Error(`${name}: the process ended (${signal ?? `exit code ${code}`}).`)));
    // A process that ended is told by 'exit'; the failing write need not be told again.
    this.#child.stdin?.on('error', () => undefined);
    if (this.#child.stdout) createInterface({ input: this.#child.stdout }).on('line', (line) => this.#answer(line));
  }
  #answer(line: string): void {
    const next = this.#waiting.shift();
    try {
      const reply: unknown = JSON.parse(line);
      if (!isObject(reply)) throw new Error('expected an object');
      if (typeof reply.error === 'string') throw new Error(reply.error);
      next?.resolve(reply);
    } catch (error) {
      next?.reject(new Error(`${this.name}: ${error instanceof Error ? error.message : String(error)}`));
    }
  }
  request(request: Json): Promise<Json> {
    return new Promise((resolve, reject) => {
      if (this.#child.exitCode !== null) {
        reject(new Error(`${this.name}: the process has ended.`));
        return;
      }
      this.#waiting.push({ resolve, reject });
      this.#child.stdin?.write(`${JSON.stringify(request)}\n`);
    });
  }
  /** GFLOP/s of a product of squares. */
  async productRate(size: number, threads: number): Promise<number> {
    return asNumber((await this.request({ do: 'product', size, threads })).gflops, this.name);
  }
  close(): void {
    this.#child.stdin?.end();
  }
}

/** A number of an answer. Throws Error when it is none. */
export function asNumber(x: unknown, who: string): number {
  if (typeof x !== 'number' || !Number.isFinite(x)) throw new Error(`${who}: expected a number in the answer, received ${String(x)}.`);
  return x;
}

/** A Python that has PyTorch, or null. */
export function findPython(): string | null {
  const candidates = process.env.BENCH_PYTHON ? [process.env.BENCH_PYTHON] : ['python3', '/usr/bin/python3'];
  for (const command of candidates)
    try {
      execFileSync(command, ['-c', 'import torch'], { stdio: 'ignore' });
      return command;
    } catch {
      // The next one may have it.
    }
  return null;
}

/** How OpenMP's threads wait for work: the default spins, PASSIVE sleeps. Which is faster depends on the model. */
export const waitPolicies = ['PASSIVE', 'default'] as const;
export type WaitPolicy = (typeof waitPolicies)[number];

export function startPytorch(python: string, policy: WaitPolicy = 'PASSIVE', program = 'pytorch.py'): PeerProcess {
  const env: Record<string, string> = policy === 'PASSIVE' ? { OMP_WAIT_POLICY: 'PASSIVE' } : {};
  return new PeerProcess('PyTorch', python, ['-B', peerProgram(program)], env);
}

interface Variation {
  readonly threads: number;
  readonly layout: 'nchw' | 'channels_last';
  /** oneDNN for convolutions and products. */
  readonly mkldnn: boolean;
  readonly mode: 'eager' | 'jit';
  /** The optimizer over lists of tensors and not one after another. */
  readonly foreach: boolean;
}

/** Workloads with convolutions have a choice of layout. */
const layoutsOf: Readonly<Record<WorkloadName, readonly Variation['layout'][]>> = {
  cnn: ['nchw', 'channels_last'],
  gpt: ['nchw'],
  mlp: ['nchw'],
  resnet20: ['nchw', 'channels_last'],
  textcnn: ['nchw', 'channels_last'],
};

/** Everything that a PyTorch user would try for a small model on a CPU, one change at a time from the usual form. */
function pytorchVariations(workload: WorkloadName): Variation[] {
  const all = availableParallelism();
  return layoutsOf[workload].flatMap((layout): Variation[] => {
    const usual: Variation = { threads: all, layout, mkldnn: true, mode: 'eager', foreach: false };
    return [
      usual,
      { ...usual, foreach: true },
      { ...usual, mode: 'jit', foreach: true },
      { ...usual, mkldnn: false, foreach: true },
      ...(all > 1 ? [{ ...usual, threads: 1, foreach: true }] : []),
    ];
  });
}

const describe = (v: Variation, policy: WaitPolicy, workload: WorkloadName): string =>
  [
    v.mode,
    ...(layoutsOf[workload].length > 1 ? [v.layout] : []),
    `${v.threads} ${v.threads === 1 ? 'thread' : 'threads'}`,
    `oneDNN ${v.mkldnn ? 'on' : 'off'}`,
    ...(v.foreach ? ['foreach'] : []),
    `wait ${policy}`,
  ].join(', ');

/** PyTorch's contenders for a workload; those that don't run here are left out with a line. Ends their processes at the last close. */
export async function pytorchContenders(
  python: string,
  workload: WorkloadName,
  batch: number,
  say: (line: string) => void,
): Promise<Contender[]> {
  const out: Contender[] = [];
  for (const policy of waitPolicies) {
    const peer = startPytorch(python, policy);
    const { version } = await peer.request({ do: 'hello' });
    let open = 0;
    for (const [i, variation] of pytorchVariations(workload).entries()) {
      const id = `${workload}${i}`;
      const configuration = describe(variation, policy, workload);
      try {
        await peer.request({ do: 'prepare', id, workload, batch, ...variation });
        await peer.request({ do: 'run', id, steps: 1 });
      } catch (error) {
        say(`left out: ${configuration}: ${error instanceof Error ? error.message : String(error)}`);
        continue;
      }
      open++;
      out.push({
        name: `PyTorch ${String(version)}`,
        configuration,
        isPeer: true,
        run: async (steps) => 1000 * asNumber((await peer.request({ do: 'run', id, steps })).seconds, peer.name),
        close: async () => {
          await peer.request({ do: 'drop', id });
          if (--open === 0) peer.close();
        },
      });
    }
    if (open === 0) peer.close();
  }
  return out;
}

/** llama.cpp through node-llama-cpp, installed in `given` or bench/peers. Throws Error, with the command that installs it. */
export function startLlamaCpp(given: string | undefined): PeerProcess {
  const folder = given ?? join(root, 'bench', 'peers');
  if (!existsSync(join(folder, 'node_modules', 'node-llama-cpp')))
    throw new Error(`not in ${folder}: node-llama-cpp. npm i --no-save --ignore-scripts --prefix ${folder} node-llama-cpp`);
  const program = readFileSync(peerProgram('llamacpp.mjs'), 'utf8');
  return new PeerProcess('llama.cpp', process.execPath, ['--input-type=module', '-e', program], {}, folder);
}
