/**
 * @file accuracy: the tutorial's program on CIFAR-10 by `tenon train` and by PyTorch, several seeds each. A seed whose result
 * file is there is not run again, so that hours of work can be done in parts.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { runProgram } from './child.js';
import { type Measured, markdownTable, type Result, summarize } from './measure.js';
import { cliProgram, peerProgram } from './paths.js';
import { findPython } from './peers.js';

export interface AccuracyOptions {
  readonly dataDir: string;
  /** Folder of the result files. */
  readonly out: string;
  readonly seeds: number;
  readonly epochs: number;
  readonly batch: number;
  /** Only so many pictures: for trying the benchmark itself. */
  readonly limit?: number;
  readonly peers: boolean;
  readonly say: (line: string) => void;
}

interface Run {
  readonly seed: number;
  readonly accuracy: number;
  readonly loss: number;
  readonly seconds: number;
}

/** A result file of either program. Throws Error when it holds something else. */
async function readRun(path: string, seed: number): Promise<Run> {
  const json: unknown = JSON.parse(await readFile(path, 'utf8'));
  const { test, epochs } = json as { test?: { accuracy?: unknown; loss?: unknown }; epochs?: readonly { seconds?: unknown }[] };
  const [accuracy, loss] = [Number(test?.accuracy), Number(test?.loss)];
  if (!Number.isFinite(accuracy) || !Number.isFinite(loss))
    throw new Error(`accuracy: ${path} holds no test result. Delete it to run seed ${seed} again.`);
  return { seed, accuracy, loss, seconds: (epochs ?? []).reduce((n, e) => n + Number(e.seconds ?? 0), 0) };
}

async function tenonRun(seed: number, file: string, o: AccuracyOptions): Promise<void> {
  const run = join(o.out, `tenon-run-${seed}`);
  // What an earlier, interrupted try left.
  await rm(run, { recursive: true, force: true });
  const settings = {
    dataset: 'cifar10',
    'data-dir': o.dataDir,
    model: 'cnn',
    epochs: o.epochs,
    'batch-size': o.batch,
    optimizer: 'adam',
    seed,
    out: run,
    json: file,
  };
  const args = Object.entries({ ...settings, ...(o.limit ? { limit: o.limit } : {}) }).flatMap(([k, v]) => [`--${k}`, String(v)]);
  await runProgram(cliProgram, ['train', ...args]);
  await rm(run, { recursive: true, force: true });
}

function pytorchRun(python: string, seed: number, file: string, o: AccuracyOptions): Promise<void> {
  const args = [o.dataDir, seed, o.epochs, o.batch, file, ...(o.limit ? [o.limit] : [])].map(String);
  return new Promise((resolve, reject) => {
    const env = { ...process.env, OMP_WAIT_POLICY: 'PASSIVE' };
    const child = spawn(python, ['-B', peerProgram('pytorch_cifar10.py'), ...args], { stdio: ['ignore', 'inherit', 'inherit'], env });
    child.on('error', reject);
    child.on('close', (code) => (code === 0 ? resolve() : reject(new Error(`accuracy: PyTorch ended with exit code ${code}.`))));
  });
}

/** Runs the seeds that are missing, in turn, and compares the means. Returns the result and its tables in Markdown. */
export async function benchAccuracy(o: AccuracyOptions): Promise<{ result: Result; tables: string }> {
  await mkdir(o.out, { recursive: true });
  const python = o.peers ? findPython() : null;
  if (o.peers && !python) o.say('no Python with torch here: no peer (BENCH_PYTHON names one)');
  const programs = [
    { name: 'Tenon', id: 'tenon', start: (seed: number, file: string) => tenonRun(seed, file, o) },
    ...(python ? [{ name: 'PyTorch', id: 'pytorch', start: (seed: number, file: string) => pytorchRun(python, seed, file, o) }] : []),
  ].map((p) => ({ ...p, runs: [] as Run[] }));
  for (let seed = 1; seed <= o.seeds; seed++)
    for (const p of programs) {
      // Named after what it holds, so that other settings never pass for these.
      const file = join(o.out, `${p.id}-e${o.epochs}-b${o.batch}${o.limit ? `-n${o.limit}` : ''}-s${seed}.json`);
      if (existsSync(file)) o.say(`${p.name} seed ${seed}: ${file} is there`);
      else {
        o.say(`${p.name} seed ${seed}: running`);
        await p.start(seed, file);
      }
      const run = await readRun(file, seed);
      o.say(`${p.name} seed ${seed}: test accuracy ${run.accuracy.toFixed(4)}`);
      p.runs.push(run);
    }
  const mean = (xs: readonly number[]): number => xs.reduce((a, b) => a + b, 0) / xs.length;
  const configuration = `${o.epochs} ${o.epochs === 1 ? 'epoch' : 'epochs'}, batch ${o.batch}, Adam 1e-3, Glorot uniform`;
  const contenders = programs.map(
    (p): Measured =>
      summarize(
        { name: p.name, configuration },
        p.runs.map((r) => r.accuracy),
        'of 1',
      ),
  );
  const means = programs.map((p) => mean(p.runs.map((r) => r.accuracy)));
  const difference = means.length > 1 ? means[0] - means[1] : null;
  const tables = programs.map((p) => {
    const rows = p.runs.map((r) => [String(r.seed), r.accuracy.toFixed(4), r.loss.toFixed(4), r.seconds.toFixed(0)]);
    const average = [
      'mean',
      mean(p.runs.map((r) => r.accuracy)).toFixed(4),
      mean(p.runs.map((r) => r.loss)).toFixed(4),
      mean(p.runs.map((r) => r.seconds)).toFixed(0),
    ];
    return `**${p.name}**, ${configuration}\n\n${markdownTable(['seed', 'test accuracy', 'test loss', 'seconds'], [...rows, average])}\n`;
  });
  const result: Result = {
    name: 'test accuracy on CIFAR-10 after the last epoch',
    rounds: o.seeds,
    contenders,
    ratio: null,
    notes: { meanTenon: means[0], meanPytorch: means[1] ?? null, difference, limit: 0.015 },
  };
  return { result, tables: tables.join('\n') };
}
