/** @file Compiles rendered kernels into a shared object and runs them through koffi: the shortest way from a Kernel to numbers. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import koffi from 'koffi';
import type { Kernel } from '../../src/kernel/kernel.js';
import type { TargetInfo } from '../../src/kernel/target.js';
import { cFlags, cPrelude, cScratchBytes, renderC } from '../../src/render/c.js';

const cpu = existsSync('/proc/cpuinfo') ? readFileSync('/proc/cpuinfo', 'utf8') : '';
const base = { hasFma: true, elements: 'one', threads: 2, l1: 32768, l2: 512 * 1024, maxBuffer: 2 ** 40 } as const;
/** The targets whose code this machine can run (16 lanes only with AVX-512). */
export const targets: TargetInfo[] = [
  ...(/\bavx512f\b/.test(cpu) ? [{ ...base, lanes: 16, registers: 32, elements: 'none' as const }] : []),
  ...(/\bavx512_bf16\b/.test(cpu) ? [{ ...base, lanes: 16, registers: 32, elements: 'none' as const, hasBf16Dot: true }] : []),
  ...(/\bavx2\b/.test(cpu) ? [{ ...base, lanes: 8, registers: 16 }] : []),
  { ...base, lanes: 1, registers: 16, hasFma: false },
];

const found = (cc: string): boolean => {
  try {
    execFileSync(cc, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
};
export const compilers = ['gcc', 'clang'].filter(found);

export type KernelFunction = (buffers: ArrayBufferView[], lo?: number, hi?: number) => void;

let unit = 0;
const folder = mkdtempSync(join(tmpdir(), 'tenon-c-'));

/** One function per kernel, all compiled as one translation unit. */
export function compileC(kernels: readonly Kernel[], target: TargetInfo, cc = compilers[0]): KernelFunction[] {
  const path = join(folder, `unit${unit++}`);
  const source = cPrelude(target) + kernels.map((k, i) => renderC(k, `k${i}`)).join('\n');
  writeFileSync(`${path}.c`, source);
  execFileSync(cc, [...cFlags(target), '-shared', '-Wall', '-Wno-unused', '-o', `${path}.so`, `${path}.c`, '-lm'], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const library = koffi.load(`${path}.so`);
  return kernels.map((kernel, i) => {
    const run = library.func(`void k${i}(void **b, long lo, long hi, void *scratch)`);
    const bytes = cScratchBytes(kernel);
    return (buffers, lo = 0, hi = kernel.grid.extent) => {
      const table = new BigUint64Array(buffers.map((b) => koffi.address(b)));
      const memory = new Uint8Array(bytes + 64);
      const at = koffi.address(memory);
      const offset = Number((64n - (at % 64n)) % 64n);
      run(table, lo, hi, memory.subarray(offset));
    };
  });
}
