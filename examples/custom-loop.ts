/**
 * @file The same network trained by a loop of your own: gradients over the model's Variables, and the optimizer applied.
 * `npm run build && node dist-tools/examples/custom-loop.js [--epochs 4] [--limit 20000]`
 */
import { argsort, jit, layers, losses, optimizers, random, sequential, type Tensor, take, valueAndGrad, wrap } from 'tenon';
import { epochs, loadPictures } from './options.js';

const { train, test } = await loadPictures('shapes');
const model = sequential([
  layers.rescaling({ scale: 1 / 255, inputShape: [32, 32, 3] }),
  layers.conv2d({ filters: 32, kernelSize: 3, activation: 'relu' }),
  layers.maxPooling2d({ poolSize: 2 }),
  layers.conv2d({ filters: 64, kernelSize: 3, activation: 'relu' }),
  layers.maxPooling2d({ poolSize: 2 }),
  layers.flatten(),
  layers.dense({ units: 128, activation: 'relu' }),
  layers.dense({ units: 10 }),
]);
const loss = losses.sparseCategoricalCrossentropy({ fromLogits: true });
const optimizer = optimizers.adam({ learningRate: 1e-3 });
optimizer.build(model.trainableWeights);

// One step, compiled as a whole at its first call: forward, loss, gradients and update.
const step = jit((x: Tensor, y: Tensor, rows: Tensor) => {
  const { value, gradients } = valueAndGrad(
    () => loss.call(take(y, rows, 0), model.apply<Tensor>(take(x, rows, 0), { training: true })).mean(),
    model.trainableWeights,
  );
  optimizer.apply(gradients, model.trainableWeights);
  return value;
});

const x = wrap(train.x.data, train.x.shape, 'u8');
const y = wrap(train.y.data, train.y.shape, 'u8');
const batchSize = 32;
for (let epoch = 0; epoch < epochs; epoch++) {
  const order = await shuffled(train.x.shape[0]);
  let total = 0;
  let steps = 0;
  for (let at = 0; at + batchSize <= order.length; at += batchSize) {
    const value = step(x, y, wrap(order.slice(at, at + batchSize), [batchSize], 'i32'));
    // Reading every value would make the loop wait for every step.
    if (++steps % 10 === 0) total += 10 * (await value.item());
  }
  console.log(`epoch ${epoch + 1}: loss about ${(total / Math.max(1, steps - (steps % 10))).toFixed(4)}`);
}

const answers = (await model.predict(test.x)).argmax(-1);
const right = answers.equal(wrap(test.y.data, test.y.shape, 'u8'));
console.log(`test accuracy ${(await right.cast('f32').mean().item()).toFixed(4)}`);

/** 0 … n − 1 in a random order. */
async function shuffled(n: number): Promise<Int32Array> {
  return Int32Array.from(await argsort(random.uniform([n])).data());
}
