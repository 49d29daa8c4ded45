import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { schedule } from '../../src/device/schedule.js';
import type { Program } from '../../src/kernel/program.js';
import { buffer, makeKernel } from '../kernel/kernels.js';

const wide = 1e6;
const small = 10;
/** Calls as [reads, writes, cost] over arena buffers of 64 bytes. */
function program(calls: readonly (readonly [reads: readonly number[], writes: number, cost: number])[]): Program {
  return {
    calls: calls.map(([reads, writes, cost]) => ({
      kernel: makeKernel('k', [...reads.map((r) => buffer(`r${r}`, 'f32')), buffer('w', 'f32', 'write')], 8, [], cost),
      buffers: [...reads, writes],
    })),
    buffers: Array.from({ length: 10 }, (_, i) => ({ dtype: 'f32', size: 16, place: { kind: 'arena', offset: 64 * i } })),
    arenaBytes: 640,
    externals: 0,
  };
}
const short = (p: Program, threads = 2) => schedule(p, threads).calls.map((c) => `${c.barrier ? '|' : ''}${c.owner < 0 ? 'all' : c.owner}`);

describe('schedule', () => {
  it('stays on one thread when all is small', () => {
    const s = schedule(
      program([
        [[0], 1, small],
        [[1], 2, small],
      ]),
      4,
    );
    expect(s.isParallel).toBe(false);
    expect(schedule(program([[[0], 1, wide]]), 1).isParallel).toBe(false);
  });

  it('puts a barrier between calls that share memory and none between others', () => {
    expect(
      short(
        program([
          [[0], 1, wide],
          [[0], 2, wide],
          [[1, 2], 3, wide],
          [[4], 5, wide],
        ]),
      ),
    ).toEqual(['all', 'all', '|all', 'all']);
  });

  it('sees a write after a read', () => {
    expect(
      short(
        program([
          [[0], 1, wide],
          [[2], 0, wide],
        ]),
      ),
    ).toEqual(['all', '|all']);
  });

  it('spreads independent small calls, and keeps a chain on its thread', () => {
    expect(
      short(
        program([
          [[0], 1, small],
          [[0], 2, small],
          [[1], 3, small],
          [[2], 4, small],
          [[3], 5, wide],
        ]),
      ),
    ).toEqual(['0', '1', '0', '1', '|all']);
  });

  it('joins two threads before a small call that reads from both', () => {
    expect(
      short(
        program([
          [[0], 1, small],
          [[0], 2, small],
          [[1, 2], 3, small],
          [[0], 6, wide],
        ]),
      ),
    ).toEqual(['0', '1', '|0', 'all']);
  });

  it('takes external slots for one memory', () => {
    const p = program([
      [[0], 1, wide],
      [[2], 3, wide],
    ]);
    const external = p.buffers.map((b, slot) => ({ ...b, place: { kind: 'external' as const, slot } }));
    expect(short({ ...p, buffers: external, externals: 10 })).toEqual(['all', '|all']);
  });

  it('orders any two calls that share memory: on one thread, or by a barrier between them', () => {
    const call = fc.tuple(fc.array(fc.nat(9), { maxLength: 3 }), fc.nat(9), fc.constantFrom(small, small, wide));
    fc.assert(
      fc.property(fc.array(call, { minLength: 2, maxLength: 14 }), fc.integer({ min: 2, max: 5 }), (calls, threads) => {
        const s = schedule(program(calls), threads);
        if (!s.isParallel) return;
        calls.forEach(([reads, writes], j) => {
          calls.slice(0, j).forEach(([earlier, written], i) => {
            const share = reads.includes(written) || earlier.includes(writes) || written === writes;
            const sameThread = s.calls[i].owner >= 0 && s.calls[i].owner === s.calls[j].owner;
            const meet = s.calls.slice(i + 1, j + 1).some((c) => c.barrier);
            expect(!share || sameThread || meet, `calls ${i} and ${j}`).toBe(true);
          });
        });
      }),
      { seed: 6, numRuns: 500 },
    );
  });
});
