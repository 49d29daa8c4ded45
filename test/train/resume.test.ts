import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import * as layers from '../../src/layers/index.js';
import type { Model } from '../../src/model/model.js';
import { sequential } from '../../src/model/sequential.js';
import { optimizers } from '../../src/optimizers/index.js';
import { setRandomSeed } from '../../src/tensor/index.js';
import * as callbacks from '../../src/train/callbacks/index.js';
import type { FitOptions } from '../../src/train/fit.js';
import { points } from './support.js';

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tenon-resume-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const { x, y } = points(44);
/** Dropout, batch statistics, slots, an average of the weights: everything that a checkpoint must hold. */
function make(seed: number, steps = 1): Model {
  setRandomSeed(seed);
  const model = sequential({
    name: 'net',
    layers: [
      layers.dense({ name: 'a', units: 6, activation: 'relu', inputShape: [2] }),
      layers.batchNormalization({ name: 'n' }),
      layers.dropout({ name: 'd', rate: 0.3 }),
      layers.dropout({ name: 'e', rate: 0.1, seed: 4 }),
      layers.dense({ name: 'b', units: 2, activation: 'softmax' }),
    ],
  });
  const optimizer = optimizers.adam({ learningRate: 0.02, useEma: true, gradientAccumulationSteps: steps });
  model.compile({ optimizer, loss: 'sparseCategoricalCrossentropy', metrics: ['accuracy'] });
  return model;
}
async function weightsOf(model: Model): Promise<number[][]> {
  const all = [...model.weights, ...model.optimizer.variables];
  return Promise.all(all.map(async (v) => Array.from(await v.data())));
}
/** fit that is ended after `steps` batches. */
async function fitUntil(model: Model, steps: number, options: FitOptions): Promise<void> {
  const controller = new AbortController();
  let done = 0;
  const stop = callbacks.lambda({
    onTrainBatchEnd: () => {
      if (++done === steps) controller.abort();
    },
  });
  const history = await model.fit(x, y, { ...options, signal: controller.signal, callbacks: [...(options.callbacks ?? []), stop] });
  expect(history.interrupted).toBe(true);
}

describe('a resumed run', () => {
  const options: FitOptions = { epochs: 3, batchSize: 8, verbose: 0, validationSplit: 0.25 };

  it('is the uninterrupted one, bit for bit, wherever it was ended', async () => {
    const whole = make(7);
    const history = await whole.fit(x, y, options);
    const expected = await weightsOf(whole);
    // 5 batches an epoch: in the first, at the end of one, at the beginning of the next, in the last.
    for (const steps of [1, 4, 5, 6, 13]) {
      const checkpoint = { folder: join(root, `at-${steps}`), resume: true };
      await fitUntil(make(7), steps, { ...options, checkpoint });
      // Another process would start from other random numbers.
      const again = make(1000 + steps);
      const resumed = await again.fit(x, y, { ...options, checkpoint });
      expect(await weightsOf(again)).toEqual(expected);
      expect(resumed.history).toEqual(history.history);
      expect(resumed.epoch).toEqual([0, 1, 2]);
    }
  });

  it('that was ended while it validated validates again', async () => {
    const whole = make(7);
    const history = await whole.fit(x, y, options);
    const checkpoint = { folder: join(root, 'validating'), resume: true };
    const controller = new AbortController();
    const stop = callbacks.lambda({ onTestBatchEnd: () => controller.abort() });
    const first = await make(7).fit(x, y, { ...options, validationBatchSize: 4, checkpoint, signal: controller.signal, callbacks: [stop] });
    expect([first.interrupted, first.epoch]).toEqual([true, []]);
    const again = make(8);
    const resumed = await again.fit(x, y, { ...options, checkpoint });
    expect(await weightsOf(again)).toEqual(await weightsOf(whole));
    expect(resumed.history).toEqual(history.history);
  });

  it('goes on from a checkpoint in the middle of an epoch after a crash', async () => {
    const whole = make(3);
    await whole.fit(x, y, options);
    const folder = join(root, 'crash');
    const first = make(3);
    let batches = 0;
    const crash = callbacks.lambda({
      onTrainBatchEnd: () => {
        if (++batches === 9) throw new Error('power cut');
      },
    });
    await expect(first.fit(x, y, { ...options, checkpoint: { folder, everySteps: 2 }, callbacks: [crash] })).rejects.toThrow('power cut');
    const again = make(99);
    await again.fit(x, y, { ...options, checkpoint: { folder, resume: true } });
    expect(await weightsOf(again)).toEqual(await weightsOf(whole));
  });

  it('goes on from an older checkpoint when the newer ones or the pointer are damaged, says so, and deletes nothing', async () => {
    const whole = make(4);
    await whole.fit(x, y, options);
    const name = (step: number): string => `checkpoint-${String(step).padStart(9, '0')}.tenon`;
    const cases: readonly [what: string, damaged: readonly string[], used: string][] = [
      ['newest', [name(10)], name(5)],
      ['pointer', ['latest.json'], name(10)],
      ['both', ['latest.json', name(10)], name(5)],
    ];
    for (const [what, damaged, used] of cases) {
      const folder = join(root, `damaged-${what}`);
      await make(4).fit(x, y, { ...options, epochs: 2, checkpoint: { folder } });
      for (const file of damaged) await writeFile(join(folder, file), (await readFile(join(folder, file))).subarray(0, 20));
      const before = await readdir(folder);
      const notices = vi.spyOn(console, 'error').mockImplementation(() => undefined);
      let present: string[] = [];
      const look = callbacks.lambda({
        async onTrainBegin() {
          present = await readdir(folder);
        },
      });
      const again = make(50);
      await again.fit(x, y, { ...options, checkpoint: { folder, resume: true }, callbacks: [look] });
      const said = notices.mock.calls.map(([text]) => String(text));
      notices.mockRestore();
      expect(said).toHaveLength(1);
      for (const file of damaged) expect(said[0]).toContain(`${join(folder, file)}: `);
      expect(said[0]).toContain(`Going on from ${join(folder, used)} instead; nothing was deleted.`);
      expect(present).toEqual(before);
      expect(await weightsOf(again)).toEqual(await weightsOf(whole));
    }
  });

  it('never takes a checkpoint of an earlier run that went further for a newer one', async () => {
    const folder = join(root, 'earlier');
    await make(1).fit(x, y, { ...options, checkpoint: { folder } });
    // Begins anew in the same folder: steps 10 and 15 of the first run stay beside it.
    await make(4).fit(x, y, { ...options, epochs: 1, checkpoint: { folder } });
    await writeFile(join(folder, 'checkpoint-000000005.tenon'), 'x');
    await expect(make(4).fit(x, y, { ...options, checkpoint: { folder, resume: true } })).rejects.toThrow(
      /no checkpoint in \S* can be gone on from.*checkpoint-000000005\.tenon: /,
    );
  });

  it('skips the batches of a stream that were used', async () => {
    const stream = (): Iterable<readonly [typeof x, Int32Array]> => ({
      *[Symbol.iterator]() {
        for (let i = 0; i < 11; i++)
          yield [{ data: x.data.subarray(8 * i, 8 * i + 8), shape: [4, 2], dtype: 'f32' }, y.subarray(4 * i, 4 * i + 4)] as const;
      },
    });
    const controller = (steps: number): Partial<FitOptions> => {
      const c = new AbortController();
      let batches = 0;
      return { signal: c.signal, callbacks: [callbacks.lambda({ onTrainBatchEnd: () => void (++batches === steps && c.abort()) })] };
    };
    for (const own of [
      { epochs: 3, verbose: 0 as const },
      { epochs: 3, verbose: 0 as const, stepsPerEpoch: 8 },
    ]) {
      const whole = make(6);
      await whole.fit(stream(), own);
      const checkpoint = { folder: join(root, `stream-${own.stepsPerEpoch ?? 0}`), resume: true };
      await make(6).fit(stream(), { ...own, ...controller(13), checkpoint });
      const again = make(2);
      await again.fit(stream(), { ...own, checkpoint });
      expect(await weightsOf(again)).toEqual(await weightsOf(whole));
    }
  });

  it('keeps windows of gradient accumulation whole', async () => {
    const whole = make(5, 2);
    await whole.fit(x, y, options);
    const checkpoint = { folder: join(root, 'windows'), resume: true };
    await fitUntil(make(5, 2), 3, { ...options, checkpoint });
    const again = make(1, 2);
    await again.fit(x, y, { ...options, checkpoint });
    expect(await weightsOf(again)).toEqual(await weightsOf(whole));
  });

  it('brings callbacks back', async () => {
    const seen: number[] = [];
    const make2 = (): callbacks.EarlyStopping => callbacks.earlyStopping({ monitor: 'loss', patience: 50, restoreBestWeights: true });
    const folder = join(root, 'callbacks');
    const checkpoint = { folder, resume: true };
    const wholeStop = make2();
    const whole = make(11);
    await whole.fit(x, y, { ...options, callbacks: [wholeStop] });
    await fitUntil(make(11), 7, { ...options, checkpoint, callbacks: [make2()] });
    const stop = make2();
    const again = make(1);
    await again.fit(x, y, { ...options, checkpoint, callbacks: [stop, callbacks.lambda({ onEpochBegin: (e) => void seen.push(e) })] });
    expect(seen).toEqual([2]);
    expect([stop.best, stop.bestEpoch]).toEqual([wholeStop.best, wholeStop.bestEpoch]);
    expect(await weightsOf(again)).toEqual(await weightsOf(whole));
  });

  it('has nothing to do when the run is over', async () => {
    const checkpoint = { folder: join(root, 'over'), resume: true };
    const model = make(2);
    await model.fit(x, y, { ...options, checkpoint });
    const before = await weightsOf(model);
    const again = make(9);
    const history = await again.fit(x, y, { ...options, checkpoint });
    expect(await weightsOf(again)).toEqual(before);
    expect(history.epoch).toEqual([0, 1, 2]);
  });
});

describe('the folder of checkpoints', () => {
  it('keeps the last ones and a pointer, and can be emptied at the end', async () => {
    const folder = join(root, 'keep');
    await make(1).fit(x, y, { epochs: 4, batchSize: 22, verbose: 0, checkpoint: { folder, keep: 2 } });
    expect((await readdir(folder)).sort()).toEqual(['checkpoint-000000006.tenon', 'checkpoint-000000008.tenon', 'latest.json']);
    expect(JSON.parse(await readFile(join(folder, 'latest.json'), 'utf8'))).toEqual({
      file: 'checkpoint-000000008.tenon',
      epoch: 4,
      batch: 0,
      step: 8,
    });
    const backup = join(root, 'backup');
    await make(1).fit(x, y, { epochs: 1, batchSize: 22, verbose: 0, callbacks: [callbacks.backupAndRestore(backup)] });
    expect(await readdir(backup)).toEqual([]);
  });

  it('says what is wrong with a damaged, foreign or unwritable one', async () => {
    const folder = join(root, 'damage');
    const train = (model: Model, resume: boolean, at = folder): Promise<unknown> =>
      model.fit(x, y, { epochs: 1, batchSize: 22, verbose: 0, checkpoint: { folder: at, resume } });
    await train(make(1), false);
    const path = join(folder, 'checkpoint-000000002.tenon');
    const bytes = await readFile(path);
    await writeFile(path, bytes.subarray(0, bytes.length / 2));
    await expect(train(make(1), true)).rejects.toThrow(/checkpoint-000000002\.tenon/);
    await rm(path);
    await expect(train(make(1), true)).rejects.toThrow(/checkpoint-000000002\.tenon: it is missing/);
    await writeFile(join(folder, 'latest.json'), '{');
    await expect(train(make(1), true)).rejects.toThrow(/latest\.json: it is damaged/);
    await writeFile(path, bytes);
    await rm(join(folder, 'latest.json'));
    const other = sequential({ name: 'other', layers: [layers.dense({ name: 'a', units: 2, activation: 'softmax', inputShape: [2] })] });
    other.compile({ optimizer: 'adam', loss: 'sparseCategoricalCrossentropy' });
    await expect(train(other, true)).rejects.toThrow(
      /weights: .* do not fit.*a\/kernel has shape \[2, 6\], expected \[2, 2\].*extra b\/kernel/,
    );
    await expect(train(make(1), false, join(path, 'below'))).rejects.toThrow(/folder .* can't be made/);
  });

  it('that cannot be written ends training soon, not at the next save', async () => {
    const folder = join(root, 'taken-away');
    let seen = 0;
    const breaks = callbacks.lambda({
      onTrainBatchEnd: async () => {
        if (++seen === 20) await rm(folder, { recursive: true });
        if (seen > 20) await new Promise((resolve) => setTimeout(resolve, 20));
      },
    });
    const checkpoint = { folder, everyEpochs: 0, everySteps: 20 };
    const options: FitOptions = { epochs: 1, batchSize: 1, verbose: 0, callbacks: [breaks], checkpoint };
    await expect(make(1).fit(x, y, options)).rejects.toThrow('there is no folder');
    // Saved after 20 batches; the next save would be after 40 of the 44.
    expect(seen).toBeGreaterThanOrEqual(20);
    expect(seen).toBeLessThan(40);
  });
});
