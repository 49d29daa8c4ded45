/**
 * @file Training in a page: the engine computes in a worker with one thread, the page stays quick, and what was trained there is the
 * same model in Node.
 */
import { describe, expect, it } from 'vitest';
import { datasets } from '../../src/data/datasets/index.js';
import { loadModel } from '../../src/model/load.js';
import { bundleForBrowser } from './bundle.js';
import { chromium } from './chromium.js';
import { jsonOf, type Report, visit } from './visit.js';

const seconds = 4;
/** Made from a seed, and so the same on both sides. */
const pictures = { seed: 9, train: 512, test: 16 };

const worker = `
  import { datasets, getDevice, layers, loadModel, sequential, setRandomSeed } from './src/index.ts';
  setRandomSeed(1);
  const { train, test } = await datasets.shapes(${JSON.stringify(pictures)});
  const model = sequential([
    layers.rescaling({ scale: 1 / 255, inputShape: [32, 32, 3] }),
    layers.conv2d({ filters: 4, kernelSize: 3, strides: 2, activation: 'relu' }),
    layers.maxPooling2d({ poolSize: 2 }),
    layers.conv2d({ filters: 8, kernelSize: 3, activation: 'relu' }),
    layers.flatten(),
    layers.dense({ units: 10 }),
  ]).compile({ optimizer: 'adam', loss: (y, p) => p.logSoftmax().mul(y.flatten().oneHot(10)).sum(-1).neg() });
  const training = new AbortController();
  const over = performance.now() + ${seconds * 1000};
  let step = 0;
  const onTrainBatchEnd = (_, { loss }) => {
    self.postMessage({ step: ++step, loss });
    if (performance.now() > over) training.abort();
  };
  await model.fit(train.x, train.y, { epochs: 1e6, batchSize: 16, verbose: 0, signal: training.signal, callbacks: [{ onTrainBatchEnd }] });
  const logits = await (await model.predict(test.x)).data();
  const bytes = await model.toBytes();
  const loaded = await (await (await loadModel(bytes)).predict(test.x)).data();
  const { name, target } = getDevice();
  self.postMessage({ done: { device: name, threads: target.threads, step, logits: [...logits], loaded: [...loaded] }, bytes });`;

/** Draws what the worker tells, as a page would, and watches its own thread meanwhile. */
const page = `<!doctype html><title>tenon</title><canvas id="plot" width="600" height="200"></canvas><p id="loss"></p><script type="module">
  const report = (name, body) => fetch('/report/' + name, { method: 'POST', body });
  const beat = 10;
  const late = [];
  const long = [];
  const losses = [];
  new PerformanceObserver((list) => long.push(...list.getEntries().map((e) => e.duration))).observe({ type: 'longtask' });
  const context = document.getElementById('plot').getContext('2d');
  let isDue = false;
  const draw = () => {
    isDue = false;
    context.clearRect(0, 0, 600, 200);
    context.beginPath();
    for (let i = 0; i < 600; i++) context.lineTo(i, 200 - (190 * losses[Math.floor((i * losses.length) / 600)]) / losses[0]);
    context.stroke();
    document.getElementById('loss').textContent = losses.at(-1);
  };
  const worker = new Worker('/worker.js', { type: 'module' });
  worker.onerror = (e) => report('failed', e.message ?? 'the worker could not be loaded');
  let watched = null;
  worker.onmessage = async ({ data }) => {
    if (data.step !== undefined) {
      losses.push(data.loss);
      // Steps come by the thousand a second: a page draws once a frame.
      if (!isDue) requestAnimationFrame(draw);
      isDue = true;
      // From the first step on: before it the worker is still being loaded.
      if (watched === null) {
        let last = performance.now();
        watched = setInterval(() => {
          const now = performance.now();
          late.push(Math.max(0, now - last - beat));
          last = now;
        }, beat);
      }
      return;
    }
    clearInterval(watched);
    await report('model', data.bytes);
    await report('outcome', JSON.stringify({ ...data.done, losses, late, long}));
    await report('done');
  };
</script>`;

interface Outcome {
  readonly device: string;
  readonly threads: number;
  readonly step: number;
  readonly logits: number[];
  /** Of the model that the page made of its own bytes. */
  readonly loaded: number[];
  readonly losses: number[];
  /** Milliseconds by which timers came late. */
  readonly late: number[];
  /** Milliseconds of the tasks of 50 and more. */
  readonly long: number[];
}

// Not isolated, a page has no shared memory: whatever the device, it computes with one thread.
const reports: Report[] = chromium ? await visit({ files: { '/': page, '/worker.js': await bundleForBrowser(worker) } }) : [];

describe.skipIf(!chromium)('training in a page', () => {
  const outcome = chromium ? jsonOf<Outcome>(reports, 'outcome') : ({} as Outcome);
  it('learns, with one thread', () => {
    expect(outcome.threads).toBe(1);
    expect(outcome.step).toBeGreaterThan(5);
    const mean = (list: number[]): number => list.reduce((a, b) => a + b, 0) / list.length;
    expect(mean(outcome.losses.slice(-5))).toBeLessThan(outcome.losses[0]);
  });
  it('leaves the page free: 99 % of its tasks take less than 50 ms', () => {
    const { late, long } = outcome;
    expect(late.length).toBeGreaterThan((seconds * 1000) / 10 / 4);
    // Of the timers alone: the steps' messages are thousands of short tasks.
    expect(long.length / late.length).toBeLessThan(0.01);
    // Timers also come late when other programs take the processor.
    expect(late.filter((ms) => ms >= 50).length / late.length).toBeLessThan(0.1);
  });
  it('makes a model that Node loads and that says the same', async () => {
    const body = reports.find((r) => r.name === 'model')?.body;
    if (!body) throw new Error('the page sent no model');
    const model = await loadModel(body, { compile: false });
    const { test } = await datasets.shapes(pictures);
    const logits = [...(await (await model.predict(test.x)).data())];
    expect(logits).toHaveLength(160);
    const largest = Math.max(...logits.map(Math.abs));
    for (const [i, x] of logits.entries()) {
      expect(Math.abs(x - outcome.logits[i]) / largest).toBeLessThanOrEqual(1e-4);
      expect(outcome.loaded[i]).toBe(outcome.logits[i]);
    }
  });
});
