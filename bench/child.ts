/**
 * @file Measurements that need a process of their own: one that does one thing, and whose last line of output is JSON, or one that
 * answers JSON lines until its input ends.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { benchProgram } from './paths.js';

export interface ChildResult {
  readonly json: Readonly<Record<string, unknown>>;
  /** The largest resident set seen, bytes; as the system counts it. */
  readonly peakBytes: number;
}

/** Peak of a running process from /proc, or 0 where there is none. */
export function peakOf(pid: number | undefined): number {
  try {
    const line = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return line ? Number(line[1]) * 1024 : 0;
  } catch {
    return 0;
  }
}

/** Runs a program of Node. Throws Error when it fails. */
export function runProgram(path: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<ChildResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [path, ...args], { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, ...env } });
    let text = '';
    let peakBytes = 0;
    const watch = setInterval(() => {
      peakBytes = Math.max(peakBytes, peakOf(child.pid));
    }, 50);
    child.stdout.setEncoding('utf8').on('data', (part: string) => {
      text += part;
    });
    child.on('error', (error) => {
      clearInterval(watch);
      reject(error);
    });
    child.on('close', (code, signal) => {
      clearInterval(watch);
      if (code !== 0) {
        reject(new Error(`bench: ${path} ${args.join(' ')} ended with ${signal ?? `exit code ${code}`}.`));
        return;
      }
      const last = text.trimEnd().split('\n').at(-1) ?? '';
      let json: unknown = {};
      try {
        json = JSON.parse(last);
      } catch {
        // A program that isn't ours need not print any.
      }
      resolve({ json: typeof json === 'object' && json !== null ? (json as Record<string, unknown>) : {}, peakBytes });
    });
  });
}

/** Runs one of the benchmark's own measurements. */
export const runChild = (task: string, args: readonly string[] = [], env: Readonly<Record<string, string>> = {}): Promise<ChildResult> =>
  runProgram(benchProgram, ['child', task, ...args], env);

/** A number that the child printed. Throws Error when there is none. */
export function numberOf({ json }: ChildResult, key: string): number {
  const x = json[key];
  if (typeof x !== 'number') throw new Error(`bench: expected a number "${key}" from the child, received ${JSON.stringify(json)}.`);
  return x;
}

/** In the child: answers JSON lines until the input ends; what `answer` throws goes back as { error }. */
export async function serveLines(answer: (request: Readonly<Record<string, unknown>>) => Promise<object>): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    let reply: object;
    try {
      reply = await answer(JSON.parse(line));
    } catch (error) {
      reply = { error: error instanceof Error ? error.message : String(error) };
    }
    process.stdout.write(`${JSON.stringify(reply)}\n`);
  }
}
