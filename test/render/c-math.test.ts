import { describe, expect, it } from 'vitest';
import { index, type Kernel, load, loop, op, variable } from '../../src/kernel/kernel.js';
import type { ScalarOp } from '../../src/kernel/scalar-ops.js';
import { compileC, compilers, targets } from './c-run.js';
import { type Swept, stated, sweep } from './c-sweep.js';

const i = variable('i');
const apply = (name: ScalarOp, arity: number, n: number): Kernel => ({
  label: name,
  buffers: [
    ...['x', 'z'].slice(0, arity).map((b) => ({ name: b, dtype: 'f32' as const, access: 'read' as const })),
    { name: 'y', dtype: 'f32', access: 'write' },
  ],
  grid: { name: 'item', extent: 1 },
  flops: 0,
  bytes: 0,
  body: [
    loop(
      'i',
      0,
      index(n),
      [{ kind: 'store', buffer: 'y', index: i, value: op(name, 'f32', ...['x', 'z'].slice(0, arity).map((b) => load(b, 'f32', i))) }],
      {
        mode: 'simd',
      },
    ),
  ],
});

/** Distance between neighbouring floats at x. */
function ulp(x: number): number {
  const a = Math.abs(x);
  if (a < 2 ** -126) return 2 ** -149;
  return 2 ** (Math.floor(Math.log2(a)) - 23);
}

describe.each(compilers)('elementary functions (%s)', (cc) => {
  // test/long/math.test.ts takes all floats.
  it.each(targets.map((t) => [t.lanes, t] as const))('keep their stated error on every 4099th float, %i lanes', async (_, target) => {
    const found = await sweep(Object.keys(stated) as Swept[], target, cc, 4099);
    for (const { name, ulp, at, wrong, wrongAt, checked } of found) {
      expect(wrong, `${name}(${wrongAt})`).toBe(0);
      expect(ulp, `${name}(${at})`).toBeLessThanOrEqual(target.hasFma ? stated[name].ulp : stated[name].plain);
      expect(checked).toBeGreaterThan(500_000);
    }
    if (process.env.TENON_SHOW_ULP) console.log(cc, target.lanes, found.map((f) => `${f.name} ${f.ulp}`).join(', '));
  });

  it('pow keeps 1 ulp', () => {
    const x = Float32Array.from({ length: 50000 }, (_, k) => Math.exp(Math.sin(k * 12.9898) * 20) * (k % 3 === 0 ? -1 : 1));
    const z = Float32Array.from({ length: 50000 }, (_, k) => (k % 2 === 0 ? (k % 17) - 8 : Math.sin(k * 78.233) * 6));
    const y = new Float32Array(50000);
    const [run] = compileC([apply('pow', 2, x.length)], targets[0], cc);
    run([x, z, y]);
    for (let e = 0; e < x.length; e++) {
      const want = x[e] ** z[e];
      if (Object.is(y[e], Math.fround(want))) continue;
      if (!(Math.abs(y[e] - want) <= ulp(want))) expect.fail(`pow(${x[e]}, ${z[e]}) = ${y[e]}, expected ${want}`);
    }
  });
});
