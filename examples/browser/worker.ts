/** @file The worker: everything that computes. The tutorial's network, trained on the built-in pictures; each step is told to the page. */
import { datasets, getDevice, type Sequential, sequential, setRandomSeed } from 'tenon';
import * as layers from 'tenon/layers';
import type { FromWorker, ToWorker } from './messages.js';

const tell = (message: FromWorker): void => self.postMessage(message);
const { name: device, target } = getDevice();
tell({ kind: 'ready', device, threads: target.threads });

let model: Sequential | null = null;
let training: AbortController | null = null;

function makeModel(): Sequential {
  setRandomSeed(1);
  const made = sequential([
    layers.rescaling({ scale: 1 / 255, inputShape: [32, 32, 3] }),
    layers.conv2d({ filters: 32, kernelSize: 3, activation: 'relu' }),
    layers.maxPooling2d({ poolSize: 2 }),
    layers.conv2d({ filters: 64, kernelSize: 3, activation: 'relu' }),
    layers.maxPooling2d({ poolSize: 2 }),
    layers.flatten(),
    layers.dense({ units: 128, activation: 'relu' }),
    layers.dense({ units: 10, activation: 'softmax' }),
  ]);
  return made.compile({ optimizer: 'adam', loss: 'categoricalCrossentropy', metrics: ['accuracy'] });
}

async function train(): Promise<void> {
  training = new AbortController();
  const { signal } = training;
  const begun = performance.now();
  const { train: pictures, test } = await datasets.shapes({ train: 6400, test: 320 });
  model = makeModel();
  let step = 0;
  await model.fit(pictures.x, pictures.y, {
    epochs: 5,
    batchSize: 32,
    validationData: [test.x, test.y],
    verbose: 0,
    signal,
    callbacks: [
      {
        // Loss and accuracy are means over the epoch so far.
        onTrainBatchEnd: (_batch, { loss, accuracy }) => tell({ kind: 'step', step: ++step, loss, accuracy }),
        onEpochEnd: (_epoch, { valAccuracy }) => tell({ kind: 'epoch', testAccuracy: valAccuracy }),
      },
    ],
  });
  tell({ kind: 'ended', seconds: (performance.now() - begun) / 1000 });
}

async function handle({ kind }: ToWorker): Promise<void> {
  if (kind === 'start') await train();
  else if (kind === 'stop') training?.abort();
  else if (model) {
    const bytes = await model.toBytes();
    self.postMessage({ kind: 'model', bytes } satisfies FromWorker, { transfer: [bytes.buffer] });
  }
}

self.onmessage = ({ data }: MessageEvent<ToWorker>) => {
  handle(data).catch((error: unknown) => tell({ kind: 'failed', reason: error instanceof Error ? error.message : String(error) }));
};
