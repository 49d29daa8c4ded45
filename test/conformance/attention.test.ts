/** @file attention, its log-sum-exp and its gradient on random shapes, intervals and dtypes, on every device against the oracle. */

import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, it } from 'vitest';
import { type NodeModules, nodeModules } from '../../src/base/node-modules.js';
import { loadKoffi } from '../../src/device/native/binding.js';
import { nativeTarget } from '../../src/device/native/cpu.js';
import { ops as o } from '../../src/graph/builder.js';
import { interpret } from '../../src/graph/interpret.js';
import type { Node } from '../../src/graph/node.js';
import { cases } from './cases.js';
import { missingPrograms, runElsewhere } from './cross.js';
import { conforms, devices, expectClose, feed, numbers } from './harness.js';

const extent = (max: number) => fc.integer({ min: 1, max });
const arbitrary = fc.record({
  batch: extent(3),
  queries: fc.oneof(extent(3), extent(70)),
  keys: fc.oneof(extent(9), extent(150)),
  groups: extent(3),
  shared: extent(5),
  dim: fc.oneof(extent(24), fc.constantFrom(16, 32, 64)),
  valueDim: fc.oneof(extent(24), fc.constantFrom(16, 32, 64)),
  dtype: fc.constantFrom('f32', 'f32', 'bf16', 'f16'),
  cache: fc.constantFrom('f32', 'f32', 'bf16', 'f16'),
  isCausal: fc.boolean(),
  seed: fc.nat(1000),
});

const all = await devices();
describe.each(all.map((d) => ({ name: d.name, device: d })))('attention on $name', ({ device }) => {
  it('is what its formula says', async () => {
    await fc.assert(
      fc.asyncProperty(arbitrary, async ({ batch, queries, keys, groups, shared, dim, valueDim, dtype, cache, isCausal, seed }) => {
        // Anywhere, empty and beyond the keys too; or to the diagonal, from a few places.
        const bounds = numbers(2 * batch * queries, seed).map((x) => Math.round(((x + 1) / 2) * (keys + 4)) - 2);
        const at = (i: number) => (i % queries) + keys - queries;
        const first = Array.from({ length: batch * queries }, (_, i) => (isCausal ? Math.floor(at(i) / 20) * 20 : bounds[2 * i]));
        const end = Array.from({ length: batch * queries }, (_, i) => (isCausal ? at(i) + 1 : bounds[2 * i + 1]));
        const feeds = [
          feed(dtype, [batch, queries, groups * shared, dim]),
          feed(cache, [batch, keys, groups, dim]),
          feed(cache, [batch, keys, groups, valueDim]),
          feed('i32', [batch, queries], first),
          feed('i32', [batch, queries], end),
          feed(dtype, [batch, queries, groups * shared, valueDim]),
        ];
        const [q, k, v, from, to, dy] = feeds.map((f) => f.node);
        const out = o.attention(q, k, v, from, to, 0.3);
        const lse = o.attentionLse(q, k, from, to, 0.3);
        const grad = o.attentionGrad([q, k, v, from, to], out, lse, dy, 0.3);
        // The gradient is made of the result as it was rounded.
        await conforms(device, [out, lse, grad, o.attention(q, k, v, from, to, 0.4)], feeds, dtype === 'f32' ? 3e-5 : 5e-3);
      }),
      // A compiler takes its time.
      { seed: 20261126, numRuns: device.name === 'native' ? 6 : 25 },
    );
  }, 240_000);
});

/** Cases of conformance on every kind of vector that this machine has, by every compiler: `npm test` takes a sample, `npm run test:long` all. */
const isLong = Number(process.env.TENON_TEST_RUNS ?? 0) >= 1000;
type Level = 'sse2' | 'avx2' | 'avx512';
const levels: readonly Level[] = process.arch === 'x64' ? ['sse2', 'avx2', 'avx512'] : [];
const chosen = cases.filter((c) => c.name.startsWith('attention'));
const modules = nodeModules();
const cpu = process.platform === 'linux' ? readFileSync('/proc/cpuinfo', 'utf8') : '';
const hasLevel = (level: Level): boolean => level === 'sse2' || cpu.includes(level === 'avx2' ? ' avx2' : ' avx512f');
const ways = levels.flatMap((level) => ['gcc', 'clang'].map((compiler) => ({ level, compiler })));
describe.skipIf(modules === null).each(ways.filter((_, i) => isLong || [0, 2, 5].includes(i)))(
  'attention by $compiler on $level',
  ({ level, compiler }) => {
    const isThere = modules !== null && missingPrograms([compiler]).length === 0 && hasLevel(level);
    it.skipIf(!isThere)(
      'is what its formula says',
      async () => {
        const target = nativeTarget(modules as NodeModules, loadKoffi(modules as NodeModules), level, 2);
        const sample = chosen.filter((_, i) => isLong || i % levels.length === (levels as readonly string[]).indexOf(level));
        const graphs = sample.map((c) => c.build());
        const results = await runElsewhere(graphs, target, { compile: [compiler], link: [compiler], run: [] });
        graphs.forEach(({ outputs, feeds }, i) => {
          const inputs = new Map(feeds.map((f) => [(f.node as Node<'input'>).arg.index, f.data] as const));
          interpret(outputs, { inputs }).forEach((wanted, k) => {
            expectClose(results[i][k], wanted, outputs[k].dtype, sample[i].tolerance ?? 2e-5, `${sample[i].name}, output ${k}`);
          });
        });
      },
      600_000,
    );
  },
);
