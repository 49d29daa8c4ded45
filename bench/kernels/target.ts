/** @file The processor that the rates of kernels alone are taken for. */
import type { TargetInfo } from '../../src/kernel/target.js';

/** AVX-512, AVX2 or plain code with common caches. */
export const targetOf = (lanes: number, threads: number): TargetInfo => ({
  lanes,
  registers: lanes === 16 ? 32 : 16,
  hasFma: true,
  elements: 'none',
  hasBf16Dot: lanes === 16 && process.env.TENON_BF16 !== '0',
  threads,
  l1: 32768,
  l2: lanes === 16 ? 1 << 20 : 512 * 1024,
  maxBuffer: 2 ** 40,
});
