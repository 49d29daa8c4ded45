import { expect, it } from 'vitest';
import { constant, load, op, variable } from '../../src/kernel/kernel.js';
import { kernelIdentity, printKernel } from '../../src/kernel/print.js';
import { buffer, cases, elementwise, makeKernel } from './kernels.js';

it('prints a kernel for people', () => {
  const k = elementwise('scale', ['f32'], 'f32', 100, 32, (x) =>
    op('max', 'f32', op('mul', 'f32', x, constant('f32', 0.5)), constant('f32', -0)),
  );
  expect(printKernel(k)).toMatchInlineSnapshot(`
    "# scale: 100 flop, 100 bytes
    kernel(read x0: f32, write y: f32)
    item item < 4
      for i in 0..min(32, (100 - (item * 32))) simd
        y[((item * 32) + i)] = max((x0[((item * 32) + i)]:f32 * 0.5:f32):f32, -0:f32):f32
    "
  `);
});

it('prints every statement', () => {
  const c = cases().find((x) => x.name.startsWith('argsort descending'));
  expect(printKernel(c!.kernel)).toContain('argsort k < 12 descending by x[k]:f32 into y[1 + i*2]');
  const all = cases()
    .map((x) => printKernel(x.kernel))
    .join('');
  for (const part of [
    'local scratch: f32[64]',
    'if ((item % 2) == 1)',
    'simd reduce(add acc)',
    'unrolled',
    'step 4',
    'random(',
    'mut ',
    'let ',
  ])
    expect(all).toContain(part);
});

it('is an identity: label and estimates do not count, everything else does', () => {
  const base = elementwise('a', ['f32'], 'f32', 100, 32, (x) => op('neg', 'f32', x));
  expect(kernelIdentity({ ...base, label: 'b', flops: 7 })).toBe(kernelIdentity(base));
  const store = (value: number, type: 'f32' | 'i32' = 'f32') =>
    makeKernel('k', [buffer('y', type, 'write')], 3, [
      { kind: 'store', buffer: 'y', index: variable('item'), value: constant(type, value) },
    ]);
  const x = load('y', 'f32', variable('item'));
  const others = [
    base,
    { ...base, grid: { name: 'item', extent: 5 } },
    { ...base, buffers: [buffer('x0', 'f16'), base.buffers[1]] },
    elementwise('a', ['f32'], 'f32', 100, 32, (v) => op('neg', 'f32', v), 'serial'),
    store(0),
    store(-0),
    store(Number.NaN),
    store(0, 'i32'),
    makeKernel('k', [buffer('y', 'f32', 'readwrite')], 3, [{ kind: 'store', buffer: 'y', index: variable('item'), value: x }]),
  ];
  expect(new Set(others.map(kernelIdentity)).size).toBe(others.length);
});
