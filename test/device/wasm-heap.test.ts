import fc from 'fast-check';
import { expect, it } from 'vitest';
import { WasmHeap } from '../../src/device/wasm/heap.js';

it('hands out ranges that never meet, takes them back, and ends as one free range', () => {
  fc.assert(
    fc.property(fc.array(fc.record({ bytes: fc.nat(3_000_000), frees: fc.nat() }), { maxLength: 60 }), (steps) => {
      const heap = new WasmHeap(false);
      const taken: { at: number; bytes: number }[] = [];
      for (const { bytes, frees } of steps) {
        if (frees % 3 === 0 && taken.length > 0) heap.free(taken.splice(frees % taken.length, 1)[0].at);
        else {
          const at = heap.allocate(bytes, 'a test');
          expect(at % 64).toBe(0);
          expect(at).toBeGreaterThanOrEqual(4096);
          expect(at + bytes).toBeLessThanOrEqual(heap.memory.buffer.byteLength);
          for (const t of taken) expect(at + bytes <= t.at || t.at + t.bytes <= at).toBe(true);
          taken.push({ at, bytes });
        }
      }
      for (const { at } of taken) heap.free(at);
      expect(heap.used).toBe(0);
      // All of it fits again without growing.
      const { byteLength } = heap.memory.buffer;
      heap.allocate(byteLength - 4096, 'all');
      expect(heap.memory.buffer.byteLength).toBe(byteLength);
    }),
    { numRuns: 60 },
  );
});

it('ignores what it did not hand out', () => {
  const heap = new WasmHeap(false);
  const at = heap.allocate(100, 'a test');
  heap.free(at + 64);
  heap.free(at);
  heap.free(at);
  expect(heap.used).toBe(0);
  expect(heap.allocate(64, 'a test')).toBe(at);
});
