/** @file Losses against golden vectors (value a sample, gradient), eager and compiled; names, configs, shapes, errors. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { getLoss, losses, registerLoss, serializeLoss } from '../../src/losses/index.js';
import { compileStep, grad, type Tensor, tensor } from '../../src/tensor/index.js';

interface Case {
  loss: string;
  options: Record<string, number | boolean>;
  integer: boolean;
  yTrue: { shape: number[]; values: number[] };
  yPred: { shape: number[]; values: number[] };
  perSample: number[];
  gradient: number[];
}
const cases: Case[] = JSON.parse(readFileSync(new URL('../golden/losses.json', import.meta.url), 'utf8'));
const close = (got: ArrayLike<number>, want: readonly number[], what: string, tolerance = 2e-5): void => {
  expect(got.length, what).toBe(want.length);
  const scale = Math.max(1e-3, ...want.map(Math.abs));
  for (let i = 0; i < want.length; i++)
    expect(Math.abs(got[i] - want[i]), `${what} ${i}: ${got[i]} against ${want[i]}`).toBeLessThan(tolerance * scale);
};
const sample = (c: Case): [Tensor, Tensor] => [
  tensor(c.yTrue.values, { shape: c.yTrue.shape, dtype: c.integer ? 'i32' : 'f32' }),
  tensor(c.yPred.values, { shape: c.yPred.shape }),
];

describe('golden vectors', () => {
  cases.forEach((c, i) => {
    it(`${i} ${c.loss} ${JSON.stringify(c.options)}`, async () => {
      const loss = getLoss({ className: c.loss, config: c.options });
      const [yTrue, yPred] = sample(c);
      close(await loss.call(yTrue, yPred).data(), c.perSample, 'value');
      const slope = grad((p) => loss.call(yTrue, p).mean())(yPred);
      close(await slope.data(), c.gradient, 'gradient');
      if (c.options.fromLogits && loss.callFromLogits) close(await loss.callFromLogits(yTrue, yPred).data(), c.perSample, 'from logits');
    });
  });
  it('covers every loss', () => {
    expect([...new Set(cases.map((c) => c.loss))].sort()).toEqual(Object.keys(losses).sort());
  });
  it('is the same in a compiled step', async () => {
    const few = cases.filter(
      (c) => ['categoricalCrossentropy', 'binaryCrossentropy', 'huber'].includes(c.loss) && c.yPred.shape.length === 2,
    );
    for (const c of few) {
      const loss = getLoss({ className: c.loss, config: c.options });
      const [yTrue, yPred] = sample(c);
      const step = await compileStep(
        ([t, p]) => ({ outputs: [loss.call(t, p), grad((q) => loss.call(t, q).mean())(p)] }),
        [yTrue, yPred].map(({ shape, dtype }) => ({ shape, dtype })),
      );
      const [value, slope] = await step.run([yTrue, yPred]);
      close(value, c.perSample, `${c.loss} value`);
      close(slope, c.gradient, `${c.loss} gradient`);
    }
  });
});

describe('from logits', () => {
  it('agrees with the probabilities where those still have digits', async () => {
    const z = tensor([
      [0.3, -1.2, 2],
      [1, 0, -3],
    ]);
    const hot = tensor([
      [0, 0, 1],
      [1, 0, 0],
    ]);
    for (const name of [
      'categoricalCrossentropy',
      'binaryCrossentropy',
      'binaryFocalCrossentropy',
      'categoricalFocalCrossentropy',
    ] as const) {
      const loss = losses[name]();
      const p = loss.activation === 'softmax' ? z.softmax() : z.sigmoid();
      expect(loss.fromLogits).toBe(false);
      close((await loss.callFromLogits?.(hot, z).data()) ?? [], [...(await loss.call(hot, p).data())], name);
    }
  });
  it('stays exact where probabilities have long been clipped', async () => {
    const sparse = losses.sparseCategoricalCrossentropy({ fromLogits: true });
    close(await sparse.call(tensor([1], 'i32'), tensor([[200, -300]])).data(), [500], 'sparse');
    const binary = losses.binaryCrossentropy({ fromLogits: true });
    close(await binary.call(tensor([[1], [0]]), tensor([[-80], [90]])).data(), [80, 90], 'binary');
  });
  it('clips probabilities at 1e-7', async () => {
    const loss = losses.binaryCrossentropy();
    close(await loss.call(tensor([[1]]), tensor([[0]])).data(), [-Math.log(1e-7)], 'binary');
    const sparse = losses.sparseCategoricalCrossentropy();
    close(await sparse.call(tensor([0]), tensor([[0, 1]])).data(), [-Math.log(1e-7)], 'sparse');
  });
});

describe('labels', () => {
  it('takes class numbers for categoricalCrossentropy in either shape and dtype', async () => {
    const p = tensor([
      [0.2, 0.5, 0.3],
      [0.7, 0.1, 0.2],
    ]);
    const want = [-Math.log(0.3), -Math.log(0.7)];
    for (const labels of [tensor([2, 0], 'i32'), tensor([[2], [0]]), tensor(Uint8Array.of(2, 0))])
      close(await losses.categoricalCrossentropy().call(labels, p).data(), want, String(labels.shape));
  });
  it('tells the counted part of samples with ignored labels', async () => {
    const loss = losses.sparseCategoricalCrossentropy({ ignoreClass: -1 });
    const labels = tensor(
      [
        [1, -1, -1, 0],
        [0, 0, 1, 1],
      ],
      'i32',
    );
    close((await loss.countedPart?.(labels).data()) ?? [], [0.5, 1], 'part');
    expect(losses.sparseCategoricalCrossentropy().countedPart).toBeUndefined();
  });
  it('says what does not fit', () => {
    expect(() => losses.categoricalCrossentropy().call(tensor([[0, 1]]), tensor([[0.2, 0.3, 0.5]]))).toThrow(
      /categoricalCrossentropy: labels .*1, 2.* do not fit outputs .*1, 3/,
    );
    expect(() => losses.sparseCategoricalCrossentropy().call(tensor([[0, 1, 0]]), tensor([[0.2, 0.3, 0.5]]))).toThrow(/one-hot/);
    expect(() => losses.meanSquaredError().call(tensor([1, 2, 3]), tensor([[1], [2]]))).toThrow(/ShapeError|do not fit/);
    expect(() => losses.binaryCrossentropy({ labelSmoothing: 2 }).call(tensor([1]), tensor([1]))).toThrow(/labelSmoothing/);
  });
});

describe('names and configs', () => {
  it('knows Python and camelCase spellings and short names', () => {
    const names = {
      categorical_crossentropy: 'categoricalCrossentropy',
      CategoricalCrossentropy: 'categoricalCrossentropy',
      mse: 'meanSquaredError',
      mean_absolute_error: 'meanAbsoluteError',
      kl_divergence: 'klDivergence',
      kullbackLeiblerDivergence: 'klDivergence',
      log_cosh: 'logCosh',
    };
    for (const [id, name] of Object.entries(names)) expect(getLoss(id).name).toBe(name);
    expect(() => getLoss('nothing')).toThrow(/loss: "nothing" is not known.*categoricalCrossentropy/);
    expect(() => getLoss('toString')).toThrow(/not known/);
  });
  it('comes back from its config', async () => {
    const loss = losses.huber({ delta: 0.25, name: 'mine' });
    const again = getLoss(JSON.parse(JSON.stringify(serializeLoss(loss))));
    expect(again.name).toBe('mine');
    expect(again.getConfig()).toEqual(loss.getConfig());
    const [t, p] = [tensor([[1, 2]]), tensor([[3, 2.1]])];
    close(await again.call(t, p).data(), [...(await loss.call(t, p).data())], 'huber');
  });
  it('takes functions and registered losses', async () => {
    const loss = getLoss((t, p) => t.sub(p).abs().pow(3));
    close(await loss.call(tensor([[1, 2]]), tensor([[2, 4]])).data(), [4.5], 'function');
    expect(() => serializeLoss(loss)).toThrow(/can't be saved/);
    registerLoss('cubicError', () => ({ ...loss, name: 'cubicError' }));
    const registered = getLoss('cubic_error');
    expect(serializeLoss(registered).className).toBe('cubicError');
    close(await registered.call(tensor([[1, 2]]), tensor([[2, 4]])).data(), [4.5], 'registered');
  });
});
