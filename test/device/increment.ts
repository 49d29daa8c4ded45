/** @file The smallest Program with an effect. */
import { constant, load, op, variable } from '../../src/kernel/kernel.js';
import type { Program } from '../../src/kernel/program.js';

/** y += 1 on `size` elements of i32, the one external slot. */
export function increment(size: number, cost = 0): Program {
  const y = load('y', 'i32', variable('item'));
  return {
    calls: [
      {
        kernel: {
          label: 'increment',
          buffers: [{ name: 'y', dtype: 'i32', access: 'readwrite' }],
          grid: { name: 'item', extent: size },
          body: [{ kind: 'store', buffer: 'y', index: variable('item'), value: op('add', 'i32', y, constant('i32', 1)) }],
          flops: cost,
          bytes: cost,
        },
        buffers: [0],
      },
    ],
    buffers: [{ dtype: 'i32', size, place: { kind: 'external', slot: 0 } }],
    arenaBytes: 0,
    externals: 1,
  };
}
