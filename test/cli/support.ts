/** @file Runs of `tenon train` for tests: small ones, ones that are ended by a signal, and what a model's file holds. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readTenon } from '../../src/io/tenon-file.js';
import { root } from './built.js';

/** The mlp has dropout, so a resume must bring back random states too. */
export const small = ['--model', 'mlp', '--limit', '384', '--batch-size', '32'];

/** Names and bytes of all weights in a .tenon file. */
export function weightsOf(path: string): Record<string, string> {
  const { tensors } = readTenon(readFileSync(path), path);
  return Object.fromEntries(
    [...tensors.weights].map(([name, t]) => [name, Buffer.from(t.data.buffer, t.data.byteOffset, t.data.byteLength).toString('base64')]),
  );
}

export interface Signalled {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts `tenon`, and sends `signal` when stdout first matches `when`. */
export function signalled(args: readonly string[], cwd: string, when: RegExp, signal: NodeJS.Signals, delay = 0): Promise<Signalled> {
  return new Promise((resolve, reject) => {
    const child: ChildProcess = spawn(process.execPath, [join(root, 'dist/cli/main.js'), ...args], {
      cwd,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stdout = '';
    let stderr = '';
    let sent = false;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      if (sent || !when.test(stdout)) return;
      sent = true;
      setTimeout(() => child.kill(signal), delay);
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (code, by) => resolve({ code, signal: by, stdout, stderr }));
  });
}
