/** @file Small CIFAR and MNIST files in the official layouts, written by the tests themselves. */
import { gzipSync } from 'node:zlib';
import type { CifarSpec } from '../../../src/data/datasets/cifar.js';
import { idx } from './support.js';

/** A byte that tells where it stands: record, channel and pixel. */
export const pixel = (seed: number, record: number, channel: number, position: number): number =>
  (seed * 31 + record * 7 + channel * 101 + position * 3) & 255;

/** `records` CIFAR records; the labels count up from `seed`. */
export function cifarFile(spec: CifarSpec, records: number, seed: number): Uint8Array {
  const bytes: number[] = [];
  for (let r = 0; r < records; r++) {
    for (const { classes } of spec.labels) bytes.push((seed + r) % classes.length);
    for (let c = 0; c < 3; c++) for (let p = 0; p < 1024; p++) bytes.push(pixel(seed, r, c, p));
  }
  return Uint8Array.from(bytes);
}

/** The four files of a small MNIST-like set, compressed. */
export function mnistFiles(train: number, test: number): Record<string, Uint8Array> {
  const part = (prefix: string, n: number, seed: number): Record<string, Uint8Array> => {
    const pictures = Uint8Array.from({ length: n * 784 }, (_, i) => (i * 5 + seed) & 255);
    const labels = Uint8Array.from({ length: n }, (_, i) => (i + seed) % 10);
    return {
      [`${prefix}-images-idx3-ubyte.gz`]: gzipSync(idx([n, 28, 28], pictures)),
      [`${prefix}-labels-idx1-ubyte.gz`]: gzipSync(idx([n], labels)),
    };
  };
  return { ...part('train', train, 1), ...part('t10k', test, 2) };
}
