/** @file attention, its log-sum-exp and its gradient on random shapes, intervals and dtypes, on every device against the oracle. */
import fc from 'fast-check';
import { describe, it } from 'vitest';
import { ops as o } from '../../src/graph/builder.js';
import { conforms, devices, feed, numbers } from './harness.js';

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
