import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { deviceNames } from '../../src/cli/options.js';
import { datasets } from '../../src/data/datasets/index.js';
import { type Ended, ensureBuilt, tenon } from './built.js';
import { signalled, small, weightsOf } from './support.js';

let folder: string;
let whole: Ended;
// One run that the others are compared with.
beforeAll(async () => {
  await ensureBuilt();
  folder = mkdtempSync(join(tmpdir(), 'tenon-cli-'));
  whole = await tenon(['train', ...small, '--epochs', '8', '--seed', '5', '--out', 'whole', '--json', 'whole.json'], folder);
}, 240_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const at = (...parts: string[]): string => join(folder, ...parts);
const json = (...parts: string[]): Record<string, unknown> => JSON.parse(readFileSync(at(...parts), 'utf8')) as Record<string, unknown>;

describe('train', () => {
  test('says what it does in plain lines, and what to do next', () => {
    expect(whole.stderr).toBe('');
    expect(whole.code).toBe(0);
    const { stdout } = whole;
    expect(stdout).toMatch(/^shapes: 384 training and 384 test pictures, 32×32×3, 10 classes \(\d+\.\d s\)\n/);
    expect(stdout).toContain('mlp: 820,874 parameters, adam, learning rate 0.001, batch size 32, seed 5\n');
    expect(stdout).toMatch(/Epoch 1\/8 - .* - loss: \d\.\d+ - accuracy: 0\.\d+ - valLoss: \d\.\d+ - valAccuracy: 0\.\d+\n/);
    expect(stdout).toMatch(
      /\nTest accuracy \d+\.\d%, loss \d\.\d{4}, after 8 epochs in \d+\.\d s\.\nSaved whole\/model\.tenon\nNext: .* evaluate whole\/model\.tenon\n$/,
    );
    // No terminal: nothing is redrawn, nothing is coloured.
    expect(stdout.includes('\r')).toBe(false);
    expect(stdout.includes('\x1b')).toBe(false);
  });

  test('--json holds the run', () => {
    const report = json('whole.json');
    expect(report).toEqual(json('whole', 'report.json'));
    expect(report).toMatchObject({ dataset: 'shapes', model: 'mlp', parameters: 820_874, optimizer: 'adam', batchSize: 32, seed: 5 });
    expect(report.version).toBe((JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }).version);
    expect(deviceNames).toContain(report.device);
    expect(report.threads).toBeGreaterThanOrEqual(1);
    expect(report.compileSeconds).toBeGreaterThan(0);
    expect(report.peakMemoryBytes).toBeGreaterThan(2 ** 24);
    const epochs = report.epochs as Record<string, number>[];
    expect(epochs.map((e) => e.epoch)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    for (const e of epochs)
      for (const name of ['loss', 'accuracy', 'valLoss', 'valAccuracy', 'seconds', 'samplesPerSecond'])
        expect(e[name], name).toBeGreaterThan(0);
    const scores = report.test as { loss: number; accuracy: number; perClass: Record<string, number | string>[] };
    expect(scores.loss).toBe(epochs[7].valLoss);
    expect(scores.accuracy).toBeCloseTo(epochs[7].valAccuracy, 6);
    expect(scores.perClass).toHaveLength(10);
    expect(scores.perClass[0]).toMatchObject({ name: 'circle' });
    expect(scores.perClass.reduce((n, c) => n + Number(c.support), 0)).toBe(384);
  });

  test('more epochs on --resume: the same weights as in one go', async () => {
    const first = await tenon(['train', ...small, '--epochs', '1', '--seed', '5', '--out', 'parts'], folder);
    expect(first.code).toBe(0);
    const second = await tenon(['train', '--resume', 'parts', '--epochs', '8'], folder);
    expect(second.stderr).toBe('');
    expect(second.stdout).toContain('run: parts (resumed)');
    expect(second.stdout).toContain('after 8 epochs');
    expect(weightsOf(at('parts', 'model.tenon'))).toEqual(weightsOf(at('whole', 'model.tenon')));
    const losses = (name: string): unknown =>
      (json(name, 'report.json').epochs as { loss: number; valLoss: number }[]).map((e) => [e.loss, e.valLoss]);
    expect(losses('parts')).toEqual(losses('whole'));
  });

  test.each(['SIGINT', 'SIGTERM'] as const)('%s saves, says how to go on, exits 130; the resumed run ends the same', async (signal) => {
    const out = signal.toLowerCase();
    const ended = await signalled(['train', ...small, '--epochs', '8', '--seed', '5', '--out', out], folder, /Epoch 1\/8/, signal);
    expect(ended.code).toBe(130);
    expect(ended.stderr).toContain('stopping after this step');
    expect(ended.stdout).toMatch(/Interrupted in epoch [2-8]; saved \S+checkpoint-\d+\.tenon\.\nGo on with: .* train --resume \S+\n$/);
    expect(existsSync(at(out, 'model.tenon'))).toBe(false);
    const resumed = await tenon(['train', '--resume', out], folder);
    expect(resumed.stderr).toBe('');
    expect(resumed.code).toBe(0);
    expect(weightsOf(at(out, 'model.tenon'))).toEqual(weightsOf(at('whole', 'model.tenon')));
  });

  test('kill -9 before and after the first checkpoint: --resume ends the same', async () => {
    for (const [out, when] of [
      ['killed0', /run: killed0/],
      ['killed1', /Epoch 2\/8/],
    ] as const) {
      const ended = await signalled(['train', ...small, '--epochs', '8', '--seed', '5', '--out', out], folder, when, 'SIGKILL', 10);
      expect(ended.signal).toBe('SIGKILL');
      const resumed = await tenon(['train', '--resume', '--out', out], folder);
      expect(resumed.stderr).toBe('');
      expect(weightsOf(at(out, 'model.tenon'))).toEqual(weightsOf(at('whole', 'model.tenon')));
    }
  });

  test('numbers folders in runs/, resumes the newest, and goes on from a model file', async () => {
    const start = ['train', '--limit', '64', '--epochs', '1'];
    await tenon([...start, '--model', 'mlp', '--optimizer', 'sgd', '--learning-rate', '0.01'], folder);
    await tenon([...start, '--model', 'whole/model.tenon'], folder);
    expect(readdirSync(at('runs')).sort()).toEqual(['shapes-mlp-1', 'shapes-model-1']);
    expect(json('runs', 'shapes-mlp-1', 'report.json')).toMatchObject({ optimizer: 'sgd', learningRate: 0.01 });
    expect(existsSync(at('runs', 'shapes-model-1', 'initial.tenon'))).toBe(true);
    const resumed = await tenon(['train', '--resume', '--epochs', '2'], folder);
    expect(resumed.stderr).toBe('');
    expect(resumed.stdout).toContain('run: runs/shapes-model-1 (resumed)');
    expect((json('runs', 'shapes-model-1', 'report.json').epochs as unknown[]).length).toBe(2);
  });

  test('three threads: the same weights in every run, and the losses of one thread', async () => {
    const train = async (out: string, threads: number) => {
      const args = ['train', '--limit', '960', '--epochs', '2', '--seed', '5', '--out', out];
      const { code, stderr } = await tenon(args, folder, { TENON_NUM_THREADS: String(threads) });
      expect(stderr).toBe('');
      expect(code).toBe(0);
      return (json(out, 'report.json').epochs as { loss: number }[]).map((e) => e.loss);
    };
    const losses = [await train('three-a', 3), await train('three-b', 3), await train('three-c', 3), await train('one', 1)];
    expect(losses[1]).toEqual(losses[0]);
    expect(losses[2]).toEqual(losses[0]);
    losses[3].forEach((loss, i) => {
      expect(losses[0][i]).toBeCloseTo(loss, 2);
    });
  });

  test('the small convolutional network on --device reference', async () => {
    const { code, stdout, stderr } = await tenon(
      ['train', '--limit', '32', '--batch-size', '16', '--epochs', '1', '--device', 'reference', '--out', 'slow'],
      folder,
    );
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(stdout).toContain('cnn: 315,722 parameters');
    expect(stdout).toContain('device: reference');
  });
});

describe('with a trained model', () => {
  test('evaluate repeats what train said', async () => {
    const { code, stdout, stderr } = await tenon(['evaluate', 'whole/model.tenon', '--limit', '384', '--json', 'scores.json'], folder);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const { test: scores } = json('scores.json') as { test: Record<string, number> };
    const { test: trained } = json('whole.json') as { test: Record<string, number> };
    expect(scores.accuracy).toBe(trained.accuracy);
    expect(scores.perClass).toEqual(trained.perClass);
    expect(scores.confusionMatrix).toEqual(trained.confusionMatrix);
    expect(scores.loss).toBeCloseTo(trained.loss, 5);
    expect(stdout).toContain(`Test accuracy ${(100 * trained.accuracy).toFixed(1)}%`);
    expect(stdout).toMatch(/class +precision +recall +F1 +pictures\ncircle +\d\.\d{4} +\d\.\d{4} +\d\.\d{4} +\d+\n/);
    expect(stdout).toMatch(/true class +0 +1 +2 +3 +4 +5 +6 +7 +8 +9\n0 circle( +\d+){10}\n/);
    // Every picture of a class is somewhere in its row.
    const matrix = scores.confusionMatrix as unknown as number[][];
    const perClass = scores.perClass as unknown as { support: number }[];
    expect(matrix.map((row) => row.reduce((a, b) => a + b, 0))).toEqual(perClass.map((c) => c.support));
  });

  test('predict scales pictures and names classes; probabilities are those of the model', async () => {
    const { test: part } = await datasets.shapes({ train: 0, test: 4 });
    const pixels = Buffer.from(part.x.data.subarray(0, 3072));
    await sharp(pixels, { raw: { width: 32, height: 32, channels: 3 } })
      .png()
      .toFile(at('exact.png'));
    await sharp(pixels, { raw: { width: 32, height: 32, channels: 3 } })
      .resize(100, 60)
      .jpeg()
      .toFile(at('large.jpg'));
    const { code, stdout, stderr } = await tenon(
      ['predict', 'whole/model.tenon', 'exact.png', 'large.jpg', '--top', '10', '--json', 'answers.json'],
      folder,
    );
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(stdout.split('\n')[0]).toMatch(/^exact\.png: \w+ +\d+\.\d%(, \w+ \d+\.\d%){9}$/);
    const [exact, large] = json('answers.json') as unknown as {
      image: string;
      classes: { name: string; label: number; probability: number }[];
    }[];
    expect(large.image).toBe('large.jpg');
    expect(exact.classes.reduce((s, c) => s + c.probability, 0)).toBeCloseTo(1, 5);
    const order = exact.classes.map((c) => c.probability);
    expect(order).toEqual([...order].sort((a, b) => b - a));
    const { loadModel } = await import('../../src/index.js');
    const model = await loadModel(at('whole', 'model.tenon'));
    const own = await (await model.predict({ data: part.x.data.slice(0, 3072), shape: [1, 32, 32, 3], dtype: 'u8' })).data();
    for (const c of exact.classes) expect(c.probability).toBeCloseTo(own[c.label], 4);
  });

  test('summary', async () => {
    const { code, stdout } = await tenon(['summary', 'whole/model.tenon'], folder);
    expect(code).toBe(0);
    expect(stdout).toContain('│ rescaling (Rescaling) │ (None, 32, 32, 3) │       0 │');
    expect(stdout).toContain('Total params: 820,874');
    expect(stdout).toContain('Classes: circle, square');
  });

  test('a model from a JSON config', async () => {
    const { loadModel, serializeLayer } = await import('../../src/index.js');
    writeFileSync(at('config.json'), JSON.stringify(serializeLayer(await loadModel(at('whole', 'model.tenon')))));
    const { code, stdout } = await tenon(['train', '--limit', '64', '--epochs', '1', '--model', 'config.json', '--out', 'config'], folder);
    expect(code).toBe(0);
    expect(stdout).toContain('820,874 parameters, adam');
  });
});
