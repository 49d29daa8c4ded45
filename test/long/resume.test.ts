/** @file Runs ended at random moments and resumed, against the uninterrupted run: bit for bit. TENON_TEST_MOMENTS says how many. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { setDevice } from '../../src/device/registry.js';
import * as layers from '../../src/layers/index.js';
import type { Model } from '../../src/model/model.js';
import { sequential } from '../../src/model/sequential.js';
import { setRandomSeed } from '../../src/tensor/index.js';
import * as callbacks from '../../src/train/callbacks/index.js';
import { points } from '../train/support.js';

const MOMENTS = Number(process.env.TENON_TEST_MOMENTS ?? 200);
const { x, y } = points(60);
const options = { epochs: 3, batchSize: 8, verbose: 0, validationSplit: 0.2 } as const;
const BATCHES = 3 * 6;

function make(seed: number): Model {
  setRandomSeed(seed);
  const model = sequential({
    layers: [
      layers.dense({ name: 'a', units: 6, activation: 'relu', inputShape: [2] }),
      layers.batchNormalization({ name: 'n' }),
      layers.dropout({ name: 'd', rate: 0.3 }),
      layers.dense({ name: 'b', units: 2, activation: 'softmax' }),
    ],
  });
  model.compile({ optimizer: 'adam', loss: 'sparseCategoricalCrossentropy', metrics: ['accuracy'] });
  return model;
}
const state = async (model: Model): Promise<number[][]> =>
  Promise.all([...model.weights, ...model.optimizer.variables].map(async (v) => Array.from(await v.data())));

describe.each(['reference', 'native'])('on %s', (device) => {
  it(`ends at ${MOMENTS} random moments and goes on, once or several times`, async () => {
    setDevice(device);
    const whole = make(7);
    const history = await whole.fit(x, y, options);
    const expected = await state(whole);
    // Numerical Recipes' generator: the same moments every time.
    let s = 20260801;
    const below = (n: number): number => {
      s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
      return Math.floor((s / 2 ** 32) * n);
    };
    for (let moment = 0; moment < MOMENTS; moment++) {
      const folder = await mkdtemp(join(tmpdir(), 'tenon-moment-'));
      const checkpoint = { folder, resume: true, everySteps: 1 + below(5), keep: 1 + below(3) };
      for (let attempt = 0; ; attempt++) {
        const model = make(attempt === 0 ? 7 : below(1e6));
        const controller = new AbortController();
        const at = 1 + below(BATCHES + 4);
        const crashes = below(2) === 0;
        let batches = 0;
        const end = callbacks.lambda({
          onTrainBatchEnd() {
            if (++batches !== at) return;
            if (crashes) throw new Error('crash');
            controller.abort();
          },
        });
        const result = await model
          .fit(x, y, { ...options, checkpoint, signal: controller.signal, callbacks: attempt < 3 ? [end] : [] })
          .catch((error: unknown) => {
            if (!(error instanceof Error && error.message === 'crash')) throw error;
            return null;
          });
        if (!result || result.interrupted) continue;
        expect(await state(model)).toEqual(expected);
        expect(result.history).toEqual(history.history);
        break;
      }
      await rm(folder, { recursive: true, force: true });
    }
  });
});
