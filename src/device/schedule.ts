/**
 * @file How the calls of a Program meet the threads: which run on all of them, which on one, and where the threads must
 * wait for each other. Calls that touch no common memory need no barrier; small ones stay on the thread that wrote their inputs.
 */
import { dtypes } from '../base/dtype.js';
import type { Kernel } from '../kernel/kernel.js';
import type { BufferPlan, Program } from '../kernel/program.js';

export interface CallSchedule {
  /** The thread that runs the call alone, or -1: all threads, each its part of the grid. */
  readonly owner: number;
  /** Whether all threads meet before it. */
  readonly barrier: boolean;
}

/** Work below this many nanoseconds on one thread isn't worth a meeting of all. */
const smallWork = 2500;

/** Rough time on one thread, nanoseconds: vector arithmetic or streaming from the caches. */
export function estimateNs(kernel: Kernel): number {
  return Math.max(kernel.flops / 8, kernel.bytes / 16);
}

interface Access {
  readonly place: 'external' | 'arena';
  readonly from: number;
  readonly to: number;
  readonly writes: boolean;
  readonly owner: number;
}

/** The memory a parameter touches. Any two external slots may be one buffer, so they count as overlapping. */
function accessOf(b: BufferPlan, writes: boolean, owner: number): Access | null {
  switch (b.place.kind) {
    case 'constant':
      return null;
    case 'external':
      return { place: 'external', from: 0, to: 1, writes, owner };
    case 'arena':
      return { place: 'arena', from: b.place.offset, to: b.place.offset + b.size * dtypes[b.dtype].bytes, writes, owner };
  }
}

const conflict = (a: Access, b: Access): boolean => a.place === b.place && (a.writes || b.writes) && a.from < b.to && b.from < a.to;

export function schedule(program: Program, threads: number): { calls: CallSchedule[]; isParallel: boolean } {
  const isWide = program.calls.map(({ kernel }) => threads > 1 && kernel.grid.extent > 1 && estimateNs(kernel) >= smallWork);
  if (!isWide.includes(true)) return { calls: program.calls.map(() => ({ owner: 0, barrier: false })), isParallel: false };
  // Since the last barrier: what was touched, and how much work each thread has alone.
  let open: Access[] = [];
  let load = new Array<number>(threads).fill(0);
  const calls = program.calls.map(({ kernel, buffers }, i): CallSchedule => {
    const touches = (owner: number): Access[] =>
      buffers.flatMap((b, k) => accessOf(program.buffers[b], kernel.buffers[k].access !== 'read', owner) ?? []);
    const mine = touches(-1);
    const owners = new Set(open.filter((a) => mine.some((m) => conflict(a, m))).map((a) => a.owner));
    let barrier = false;
    let owner = -1;
    if (isWide[i]) barrier = owners.size > 0;
    else {
      const [only] = owners;
      if (owners.size === 0) owner = load.indexOf(Math.min(...load));
      else if (owners.size === 1 && only >= 0) owner = only;
      else {
        barrier = true;
        owner = 0;
      }
    }
    if (barrier) {
      open = [];
      load = load.map(() => 0);
    }
    open.push(...touches(owner));
    if (owner >= 0) load[owner] += estimateNs(kernel) + 100;
    return { owner, barrier };
  });
  return { calls, isParallel: true };
}
