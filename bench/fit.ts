/** @file fit: what an epoch of model.fit costs over its bare training steps, on data like CIFAR-10. */
import { type ArrayColumn, compileStep, optimizers, type StepInput, sparseCrossEntropyFromLogits, type Tensor, valueAndGrad } from 'tenon';
import { type Result, rotated, summarize } from './measure.js';
import { forwardOf, numbers, tutorialCnn } from './models.js';

export interface FitOptions {
  readonly rounds: number;
  readonly batch: number;
  readonly samples: number;
  readonly say: (line: string) => void;
}

/** Random bytes as pictures: what is in them doesn't change the time. */
export function randomPictures(samples: number): { x: ArrayColumn & { data: Uint8Array }; y: ArrayColumn & { data: Uint8Array } } {
  const next = numbers(11);
  const words = Uint32Array.from({ length: samples * 768 }, next);
  const pixels = new Uint8Array(words.buffer);
  return {
    x: { data: pixels, shape: [samples, 32, 32, 3], dtype: 'u8' },
    y: { data: Uint8Array.from({ length: samples }, () => next() % 10), shape: [samples], dtype: 'u8' },
  };
}

/** The steps of an epoch over ready batches: no order, no metrics, no callbacks; the loss is computed and read by nobody. */
async function bareEpoch(batch: number, data: ReturnType<typeof randomPictures>): Promise<() => Promise<number>> {
  const model = tutorialCnn({ softmax: false });
  const forward = forwardOf(model);
  const weights = model.trainableWeights;
  const optimizer = optimizers.adam();
  optimizer.build(weights);
  const step = await compileStep(
    ([x, y]) => {
      const loss = (): Tensor => sparseCrossEntropyFromLogits(forward(x), y).mean();
      const { gradients } = valueAndGrad(loss, weights);
      optimizer.apply(gradients, weights);
      return { outputs: [] };
    },
    [
      { shape: [batch, 32, 32, 3], dtype: 'u8' },
      { shape: [batch], dtype: 'u8' },
    ],
    { name: 'bench bare step' },
  );
  const count = Math.floor(data.y.data.length / batch);
  const batches = Array.from({ length: count }, (_, i): StepInput[] => [
    data.x.data.subarray(i * batch * 3072, (i + 1) * batch * 3072),
    data.y.data.subarray(i * batch, (i + 1) * batch),
  ]);
  return async () => {
    const start = performance.now();
    const running: Promise<unknown>[] = [];
    for (const inputs of batches) {
      running.push(step.run(inputs));
      if (running.length >= 3) await running.shift();
    }
    await Promise.all(running);
    return (performance.now() - start) / count;
  };
}

/** Alternates epochs of fit with epochs of bare steps. `ratio` is fit's median over the bare one: the whole call of fit counts. */
export async function benchFit({ rounds, batch, samples, say }: FitOptions): Promise<Result> {
  const data = randomPictures(samples);
  const model = tutorialCnn({ softmax: true });
  model.compile({ optimizer: 'adam', loss: 'sparseCategoricalCrossentropy', metrics: ['accuracy'] });
  const steps = Math.ceil(samples / batch);
  const fitEpoch = async (): Promise<number> => {
    const start = performance.now();
    await model.fit(data.x, data.y, { batchSize: batch, epochs: 1, verbose: 0, seed: 1 });
    return (performance.now() - start) / steps;
  };
  const bare = await bareEpoch(batch, data);
  const contenders = [
    { name: 'fit', configuration: 'shuffled, accuracy, whole call', epoch: fitEpoch, times: [] as number[] },
    { name: 'bare steps', configuration: 'ready batches, no metrics', epoch: bare, times: [] as number[] },
  ];
  for (const c of contenders) say(`warm-up: ${c.name} ${(await c.epoch()).toFixed(2)} ms a step`);
  for (let i = 0; i < rounds; i++) {
    for (const c of rotated(contenders, i)) c.times.push(await c.epoch());
    say(`round ${i + 1}/${rounds}: ${contenders.map((c) => `${c.name} ${(c.times.at(-1) ?? 0).toFixed(2)} ms a step`).join(', ')}`);
  }
  const measured = contenders.map((c) => summarize(c, c.times, 'ms a step'));
  const ratio = measured[0].median / measured[1].median;
  return {
    name: `an epoch of fit over its bare steps, CNN, batch ${batch}, ${samples} pictures`,
    rounds,
    contenders: measured,
    ratio,
    notes: { stepsPerEpoch: steps, overheadPercent: 100 * (ratio - 1) },
  };
}
