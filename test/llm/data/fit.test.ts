import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { setDevice } from '../../../src/device/registry.js';
import * as layers from '../../../src/layers/index.js';
import { TokenBatches, type TokenBatchesOptions, TokenList } from '../../../src/llm/data/index.js';
import { Model } from '../../../src/model/model.js';
import { optimizers } from '../../../src/optimizers/index.js';
import { logSoftmax, oneHot, setRandomSeed, type Tensor } from '../../../src/tensor/index.js';
import * as callbacks from '../../../src/train/callbacks/index.js';
import type { FitOptions } from '../../../src/train/fit.js';
import type { Objective } from '../../../src/train/objective.js';
import { documentLengths } from './support.js';

let root: string;
beforeAll(async () => {
  await setDevice('reference');
  root = await mkdtemp(join(tmpdir(), 'tenon-batches-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const VOCABULARY = 12;
const examples = new TokenList(
  Array.from(documentLengths(60, 8, 16), (n, i) => ({
    ids: Int32Array.from({ length: n }, (_, p) => (i * 5 + p * p) % VOCABULARY),
    isTarget: Uint8Array.from({ length: n }, (_, p) => (p % 3 === 0 ? 0 : 1)),
  })),
);

/** What follows a token at its place in its document. */
class Follows extends Model {
  readonly tokens = layers.embedding({ name: 'tokens', inputDim: VOCABULARY, outputDim: VOCABULARY });
  readonly places = layers.embedding({ name: 'places', inputDim: 16, outputDim: VOCABULARY });
  /** Rows of any length. */
  protected override checkInputs(): void {}
  override call(inputs: Tensor | Tensor[]): Tensor {
    const [ids, positions] = inputs as Tensor[];
    return this.tokens.apply<Tensor>(ids).add(this.places.apply<Tensor>(positions));
  }
}
const nats: Objective = (model, { inputs, targets }, { training }) => {
  const [logits] = model.forward(inputs, training);
  const [labels] = targets;
  const counts = labels.greaterEqual(0).cast('f32');
  const each = logSoftmax(logits)
    .mul(oneHot(labels.maximum(0), VOCABULARY))
    .sum(-1)
    .neg()
    .mul(counts);
  return { lossSum: each.sum(), weight: counts.sum().maximum(1), outputs: [logits] };
};
function make(seed = 3): Model {
  setRandomSeed(seed);
  const model = new Follows({ name: 'follows' });
  model.compile({ optimizer: optimizers.adam({ learningRate: 0.05 }), objective: nats });
  return model;
}
const batchesOf = (more: Partial<TokenBatchesOptions> = {}): TokenBatches => new TokenBatches(examples, { batchSize: 8, seed: 2, ...more });
const weightsOf = async (model: Model): Promise<number[][]> => Promise.all(model.weights.map(async (v) => Array.from(await v.data())));

describe('batches of tokens in training', () => {
  it('teach, and are what evaluate and validation take', async () => {
    const model = make();
    const padded = batchesOf();
    const history = await model.fit(padded, { epochs: 5, verbose: 0, validationData: batchesOf({ shuffle: false }) });
    expect(history.params.steps).toBe(padded.size);
    expect(history.history.loss[4]).toBeLessThan(history.history.loss[0] - 0.3);
    expect(history.history.valLoss).toHaveLength(5);
  });
  it('give the same loss packed as padded, whatever fills them up', async () => {
    const model = make();
    const each = [
      batchesOf(),
      batchesOf({ groupByLength: true, maxShapes: 1 }),
      batchesOf({ layout: 'packed', length: 24 }),
      batchesOf({ batchSize: 60 }),
    ];
    const losses: number[] = [];
    for (const batches of each) losses.push((await model.evaluate(batches, { verbose: 0 })).loss);
    for (const loss of losses) expect(loss).toBeCloseTo(losses[0], 5);
  });
  it('go on at their batch in a resumed run, bit for bit, without reading those before', async () => {
    const cases: readonly [Partial<TokenBatchesOptions>, FitOptions, number[]][] = [
      [{ groupByLength: true }, {}, [3, 8, 13]],
      [{ layout: 'packed', length: 24 }, {}, [2, 9]],
      [{ layout: 'windows', length: 16, batchesPerEpoch: 5 }, {}, [7]],
      // Epochs of another length than a pass: the next one goes on.
      [{}, { stepsPerEpoch: 5 }, [4, 5, 9]],
      [{}, { stepsPerEpoch: 11 }, [10, 12]],
    ];
    let number = 0;
    for (const [own, more, moments] of cases) {
      const options: FitOptions = { epochs: 3, verbose: 0, ...more };
      const whole = make();
      await whole.fit(batchesOf(own), options);
      const expected = await weightsOf(whole);
      for (const moment of moments) {
        const checkpoint = { folder: join(root, `run-${number++}`), resume: true };
        const controller = new AbortController();
        let done = 0;
        const stop = callbacks.lambda({ onTrainBatchEnd: () => void (++done === moment && controller.abort()) });
        await make().fit(batchesOf(own), { ...options, checkpoint, signal: controller.signal, callbacks: [stop] });
        const batches = batchesOf(own);
        const opened = vi.spyOn(batches, 'openAt');
        const again = make(99);
        await again.fit(batches, { ...options, checkpoint });
        expect(await weightsOf(again)).toEqual(expected);
        // The first is for the shapes; then it goes on where it was.
        const [shapes, [epoch, skip]] = opened.mock.calls;
        expect([shapes, epoch * batches.size + (skip ?? 0)]).toEqual([[0, 0], moment]);
      }
    }
  });
  it('of a fixed number of steps go on from pass to pass', async () => {
    const order = async (options: FitOptions): Promise<number[][]> => {
      const model = make();
      await model.fit(batchesOf(), { verbose: 0, ...options });
      return weightsOf(model);
    };
    const { size } = batchesOf();
    expect(await order({ epochs: 2 * size, stepsPerEpoch: 1 })).toEqual(await order({ epochs: 2 }));
    expect(await order({ epochs: 1, stepsPerEpoch: 2 * size })).toEqual(await order({ epochs: 2 }));
  });
});
