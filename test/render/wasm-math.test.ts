import { describe, expect, it } from 'vitest';
import { encode } from '../../src/base/dtype.js';
import { WasmDevice } from '../../src/device/wasm/wasm.js';
import { index, type Kernel, load, loop, op, variable } from '../../src/kernel/kernel.js';
import { erf, scalarOps } from '../../src/kernel/scalar-ops.js';
import { programOf } from '../kernel/kernels.js';
import { type Swept, stated } from './c-sweep.js';

const stride = 4099;
const count = Math.floor(2 ** 32 / stride);
const special = [0, -0, Infinity, -Infinity, NaN, 2 ** -149, -(2 ** -149), 88.72284, -87.4, -103.9, 1, -1];
const bits = Uint32Array.from({ length: count }, (_, i) => i * stride);
const inputs = Float32Array.from([...special, ...new Float32Array(bits.buffer)]);
const n = inputs.length;

const i = variable('i');
const kernel = (name: Swept): Kernel => ({
  label: name,
  buffers: [
    { name: 'x', dtype: 'f32', access: 'read' },
    { name: 'y', dtype: 'f32', access: 'write' },
  ],
  grid: { name: 'item', extent: 1 },
  flops: 0,
  bytes: 0,
  body: [loop('i', 0, index(n), [{ kind: 'store', buffer: 'y', index: i, value: op(name, 'f32', load('x', 'f32', i)) }], { mode: 'simd' })],
});

/** Distance between neighbouring floats at x. */
const ulp = (x: number): number => {
  const a = Math.abs(x);
  return a < 2 ** -126 ? 2 ** -149 : 2 ** (Math.min(127, Math.floor(Math.log2(a))) - 23);
};
/** Infinity counts as the power of two after the largest float. */
const finite = (x: number): number => Math.max(-(2 ** 128), Math.min(2 ** 128, x));

describe.each([
  ['fused', true],
  ['plain', false],
])('elementary functions, %s', (_, isFused) => {
  const device = new WasmDevice({ threads: 1, isFused });
  const x = device.allocate('f32', n, inputs);
  const y = device.allocate('f32', n);

  it.each(Object.keys(stated) as Swept[])('%s keeps its stated error on every 4099th float', (name) => {
    device.runSync(device.compileSync(programOf(kernel(name), [inputs, inputs])), [x, y]);
    const found = device.readSync(y);
    const js: (v: number) => number = name === 'erf' ? erf : (scalarOps[name].js as (v: number) => number);
    let worst = 0;
    let at = 0;
    for (let k = 0; k < n; k++) {
      const want = js(inputs[k]);
      const [a, b] = [Math.fround(want), found[k]];
      if (Object.is(a, b) || (Number.isNaN(a) && Number.isNaN(b))) continue;
      if (Number.isNaN(a) || Number.isNaN(b)) expect.fail(`${name}(${inputs[k]}) is ${b}, and should be ${a}`);
      const error = Math.abs(finite(want) - finite(b)) / ulp(finite(want));
      if (error > worst) [worst, at] = [error, inputs[k]];
    }
    expect(worst, `at ${at}`).toBeLessThanOrEqual(stated[name][isFused ? 'ulp' : 'plain']);
  });
});

it('encodes special values as every device does', () => {
  const device = new WasmDevice({ threads: 1 });
  for (const dtype of ['f16', 'bf16'] as const) {
    const store: Kernel = {
      ...kernel('exp'),
      buffers: [
        { name: 'x', dtype: 'f32', access: 'read' },
        { name: 'y', dtype, access: 'write' },
      ],
      body: [loop('i', 0, index(n), [{ kind: 'store', buffer: 'y', index: i, value: load('x', 'f32', i) }], { mode: 'simd' })],
    };
    const out = device.allocate(dtype, n);
    const program = programOf(store, [inputs, inputs]);
    device.runSync(device.compileSync({ ...program, buffers: [program.buffers[0], { ...program.buffers[1], dtype }] }), [
      device.allocate('f32', n, inputs),
      out,
    ]);
    const found = device.readSync(out);
    for (let k = 0; k < n; k++)
      if (!Number.isNaN(inputs[k]) && found[k] !== encode(dtype, inputs[k]))
        expect.fail(`${inputs[k]} as ${dtype}: ${found[k]}, and should be ${encode(dtype, inputs[k])}`);
  }
});
