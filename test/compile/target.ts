/** @file The machine that tests of the compiler compile for: AVX-512, two threads. */
import type { TargetInfo } from '../../src/kernel/target.js';

export const target: TargetInfo = {
  lanes: 16,
  registers: 32,
  hasFma: true,
  elements: 'none',
  threads: 2,
  l1: 32768,
  l2: 1 << 20,
  maxBuffer: 2 ** 31,
};
