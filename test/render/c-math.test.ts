import { describe, expect, it } from 'vitest';
import { index, type Kernel, load, loop, op, variable } from '../../src/kernel/kernel.js';
import { type ScalarOp, scalarRow } from '../../src/kernel/scalar-ops.js';
import { compileC, compilers, targets } from './c-run.js';

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

const bits = new Uint32Array(1);
const float = new Float32Array(bits.buffer);
/** Distance between neighbouring floats at x. */
function ulp(x: number): number {
  const a = Math.abs(x);
  if (a < 2 ** -126) return 2 ** -149;
  return 2 ** (Math.floor(Math.log2(a)) - 23);
}

/** Units in the last place that each function may be off: what c-math.ts states. */
const limits: [ScalarOp, number][] = [
  ['exp', 1],
  ['expm1', 2],
  ['log', 1],
  ['log1p', 2],
  ['rsqrt', 1.5],
  ['tanh', 2.5],
  ['sigmoid', 2.5],
  ['erf', 1.5],
  ['sin', 1.5],
  ['cos', 1.5],
];

describe.each(compilers)('elementary functions (%s)', (cc) => {
  // Every 20,011th float of both signs, and dense small ranges around 1 and 0 where results cancel.
  const patterns = Array.from({ length: Math.floor(2 ** 32 / 20011) }, (_, k) => k * 20011);
  const sample = Float32Array.from([
    ...patterns.map((b) => {
      bits[0] = b;
      return float[0];
    }),
    ...Array.from({ length: 40000 }, (_, k) => -10 + k / 2000),
    ...Array.from({ length: 4000 }, (_, k) => 0.9 + k / 20000),
    0,
    -0,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    88.72284,
    -87.4,
    -103.9,
  ]);

  it.each(targets.map((t) => [t.lanes, t] as const))('keep their stated error, %i lanes', (_, target) => {
    const functions = compileC(
      limits.map(([name]) => apply(name, 1, sample.length)),
      target,
      cc,
    );
    const y = new Float32Array(sample.length);
    const found = limits.map(([name, limit], k) => {
      functions[k]([sample, y]);
      const { js } = scalarRow(name);
      let worst = 0;
      for (let e = 0; e < sample.length; e++) {
        const x = sample[e];
        if ((name === 'sin' || name === 'cos') && Math.abs(x) >= (target.hasFma ? 2 ** 50 : 2 ** 20) && x !== Number.POSITIVE_INFINITY)
          continue;
        const want = js(x);
        if (Object.is(y[e], Math.fround(want))) continue;
        if (Number.isNaN(want) || Number.isNaN(y[e])) expect.fail(`${name}(${x}) = ${y[e]}, expected ${want}`);
        const error = Math.abs(y[e] - want) / ulp(want);
        if (error > limit) expect.fail(`${name}(${x}) = ${y[e]}, expected ${want}: ${error} ulp`);
        worst = Math.max(worst, error);
      }
      return `${name} ${worst.toFixed(2)}`;
    });
    if (process.env.TENON_SHOW_ULP) console.log(cc, target.lanes, found.join(', '));
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
