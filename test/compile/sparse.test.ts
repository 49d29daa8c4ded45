/** @file Tables of which a step looks up a few rows: the same values as the whole update gives, and only where a rule allows it. */
import { describe, expect, it } from 'vitest';
import type { Device } from '../../src/device/device.js';
import { NativeDevice, nativeUnusable } from '../../src/device/native/native.js';
import { ReferenceDevice } from '../../src/device/reference/reference.js';
import {
  compileStep,
  sqrt,
  square,
  sum,
  type Tensor,
  take,
  tensor,
  type Variable,
  valueAndGrad,
  variable,
  where,
} from '../../src/tensor/index.js';

const rows = 300;
const columns = 37;
const ids = Int32Array.from([5, 299, 5, 0, 17, 5, 299]);
const specs = [
  { shape: [ids.length], dtype: 'i32' },
  { shape: [ids.length, columns], dtype: 'f32' },
] as const;
const wave = (n: number, by: number): Float32Array => Float32Array.from({ length: n }, (_, i) => Math.sin(i * by));
const weight = wave(rows * columns, 0.3);
const slope = wave(ids.length * columns, 1.7);
const isSparse = (step: { program: { calls: readonly { kernel: { label: string } }[] } }): boolean =>
  step.program.calls.some((c) => c.kernel.label === 'sparse update');

/** Gradient of Σ take(w, ids) · slope, by hand. */
const dense = new Float32Array(rows * columns);
ids.forEach((row, i) => {
  for (let c = 0; c < columns; c++) dense[row * columns + c] += slope[i * columns + c];
});

const devices: readonly [string, () => Device][] = [
  ['reference', () => new ReferenceDevice()],
  ...(nativeUnusable() === null ? [['native', () => new NativeDevice()] as [string, () => Device]] : []),
];

describe.each(devices)('updates by rows on %s', (_, make) => {
  const device = make();
  const train = (w: Variable, rule: (gradient: Tensor) => Tensor[]) =>
    compileStep(
      ([x, d]) => {
        const { gradients } = valueAndGrad(() => sum(take(w, x, 0).mul(d)), [w]);
        return { outputs: rule(gradients[0]) };
      },
      specs,
      { device },
    );
  const table = (): Variable => variable(tensor(weight.slice(), { shape: [rows, columns] }));

  it('SGD: as the whole update, rows that were looked up twice included', async () => {
    const w = table();
    const step = await train(w, (g) => {
      w.assign(w.value.sub(g.mul(0.5)));
      return [];
    });
    expect(isSparse(step)).toBe(true);
    await step.run([ids, slope]);
    await step.run([ids, slope]);
    const wanted = weight.map((v, i) => Math.fround(Math.fround(v - Math.fround(dense[i] * 0.5)) - Math.fround(dense[i] * 0.5)));
    expect(Math.max(...(await w.data()).map((v, i) => Math.abs(Number(v) - wanted[i])))).toBeLessThan(1e-6);
  });

  it('Adagrad: the accumulator and the weight that reads its new value', async () => {
    const w = table();
    const accumulator = variable(
      tensor(
        weight.map((v) => 0.1 + v * v),
        { shape: [rows, columns] },
      ),
    );
    const step = await train(w, (g) => {
      const sums = accumulator.value.add(square(g));
      accumulator.assign(sums);
      w.assign(w.value.sub(g.mul(0.3).div(sqrt(sums.add(1e-7)))));
      return [];
    });
    expect(isSparse(step)).toBe(true);
    await step.run([ids, slope]);
    const sums = weight.map((v, i) => 0.1 + v * v + dense[i] ** 2);
    const wanted = weight.map((v, i) => v - (0.3 * dense[i]) / Math.sqrt(sums[i] + 1e-7));
    expect(Math.max(...(await accumulator.data()).map((v, i) => Math.abs(Number(v) - sums[i])))).toBeLessThan(1e-5);
    expect(Math.max(...(await w.data()).map((v, i) => Math.abs(Number(v) - wanted[i])))).toBeLessThan(1e-5);
  });

  it('a step that may not count: old values where it does not', async () => {
    for (const counts of [true, false]) {
      const flag = variable(tensor(counts));
      const w = table();
      const step = await train(w, (g) => {
        w.assign(where(flag.value, w.value.sub(g), w.value));
        return [];
      });
      expect(isSparse(step)).toBe(true);
      await step.run([ids, slope]);
      const wanted = counts ? weight.map((v, i) => v - dense[i]) : weight;
      expect(Math.max(...(await w.data()).map((v, i) => Math.abs(Number(v) - wanted[i])))).toBeLessThan(1e-6);
    }
  });

  it('leaves the whole update where rows without a gradient change too, or somebody reads the result', async () => {
    const cases: ((w: Variable, slot: Variable, g: Tensor) => Tensor[])[] = [
      (w, slot, g) => {
        slot.assign(slot.value.mul(0.9).add(g));
        w.assign(w.value.sub(slot.value.mul(0.9).add(g)));
        return [];
      },
      (w, _slot, g) => {
        w.assign(w.value.mul(0.99).sub(g));
        return [];
      },
      (w, _slot, g) => {
        const next = w.value.sub(g);
        w.assign(next);
        return [sum(next)];
      },
      (w, _slot, g) => {
        w.assign(w.value.sub(g));
        return [sum(square(g))];
      },
      (w, slot, g) => {
        slot.assign(w.value.sub(g));
        return [];
      },
    ];
    for (const rule of cases) {
      const w = table();
      const step = await train(w, (g) => rule(w, variable(tensor(weight.slice(), { shape: [rows, columns] })), g));
      expect(isSparse(step)).toBe(false);
    }
  });
});
