/** @file `tenon train` ended by kill -9 and Ctrl-C at random moments and resumed, against a run that nobody ended. */
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { loadModel } from '../../src/index.js';
import { type Ended, randomNumbers, tenon } from './command.js';

const layer = (className: string, config: object): object => ({ className, config });
/** Small, with everything that a checkpoint must hold: random numbers, moving statistics, the optimizer's slots. */
export const tinyModel = layer('Sequential', {
  name: 'tiny',
  layers: [
    layer('Rescaling', { name: 'r', scale: 1 / 255, inputShape: [32, 32, 3] }),
    layer('AveragePooling2D', { name: 'p', poolSize: 8 }),
    layer('Flatten', { name: 'f' }),
    layer('Dense', { name: 'a', units: 8, activation: 'relu' }),
    layer('BatchNormalization', { name: 'n' }),
    layer('Dropout', { name: 'd', rate: 0.3 }),
    layer('Dense', { name: 'b', units: 10, activation: 'softmax' }),
  ],
});

interface Report {
  epochs: { loss: number; accuracy: number; valLoss: number; valAccuracy: number }[];
  test: unknown;
}
const scores = (text: string): unknown => {
  const { epochs, test } = JSON.parse(text) as Report;
  return [epochs.map((e) => [e.loss, e.accuracy, e.valLoss, e.valAccuracy]), test];
};

/** How often a run was ended where, to see that the moments are spread. */
export interface Spread {
  beforeRun: number;
  beforeCheckpoint: number;
  inTraining: number;
  afterTraining: number;
  tooLate: number;
}

/** Ends runs at `moments` random moments; every one must come to the same files. Throws what expect throws. */
export async function endAtRandomMoments(moments: number, seed: number): Promise<Spread> {
  const root = await mkdtemp(join(tmpdir(), 'tenon-kill-'));
  const spread: Spread = { beforeRun: 0, beforeCheckpoint: 0, inTraining: 0, afterTraining: 0, tooLate: 0 };
  try {
    const config = join(root, 'tiny.json');
    await writeFile(config, JSON.stringify(tinyModel));
    const env = { TENON_CACHE_DIR: join(root, 'cache'), TENON_DEVICE: 'native', TENON_NUM_THREADS: '1' };
    const epochs = 12;
    const args = ['--limit', '40', '--batch-size', '8', '--epochs', String(epochs), '--seed', '5', '--model', config];
    const start = (out: string, end?: { signal: NodeJS.Signals; after: number }): Promise<Ended> =>
      tenon(['train', ...args, '--out', out], { env, end });
    const whole = join(root, 'whole');
    let ended = await start(whole);
    expect(ended.stderr).toBe('');
    expect(ended.code).toBe(0);
    // Once more, now that kernels are compiled, for the time.
    const began = performance.now();
    ended = await start(join(root, 'again'));
    const duration = performance.now() - began;
    const expected = await readFile(join(whole, 'model.tenon'));
    expect((await readFile(join(root, 'again', 'model.tenon'))).equals(expected)).toBe(true);
    const expectedScores = scores(await readFile(join(whole, 'report.json'), 'utf8'));

    const random = randomNumbers(seed);
    let left = moments;
    for (let run = 0; left > 0; run++) {
      const out = join(root, `run-${run}`);
      for (let isFinished = false; !isFinished; ) {
        const signal = random() < 0.6 ? 'SIGKILL' : 'SIGINT';
        const end = left > 0 ? ({ signal, after: random() * duration } as const) : undefined;
        left--;
        const hasRun = existsSync(join(out, 'run.json'));
        ended = hasRun ? await tenon(['train', '--resume', out], { env, end }) : await start(out, end);
        const context = `run ${run}, ${end ? `${signal} after ${end.after.toFixed(0)} ms` : 'to its end'}: ${ended.stdout}${ended.stderr}`;
        const folder = join(out, 'checkpoints');
        const pointer = await readFile(join(folder, 'latest.json'), 'utf8').catch(() => null);
        if (pointer !== null) await loadModel(join(folder, (JSON.parse(pointer) as { file: string }).file));
        if (ended.signal !== null) expect(ended.signal, context).toBe(signal);
        else if (ended.code === 130) {
          expect(end?.signal, context).toBe('SIGINT');
          expect(ended.stderr, context).toContain('stopping after this step');
          // One that was interrupted before it began leaves nothing, or the settings to begin again from.
          if (pointer !== null) expect(ended.stdout, context).toContain(`train --resume ${out}`);
        } else {
          expect(ended.code, context).toBe(0);
          isFinished = true;
          if (end) spread.tooLate++;
          continue;
        }
        if (pointer === null) spread[existsSync(join(out, 'run.json')) ? 'beforeCheckpoint' : 'beforeRun']++;
        else spread[ended.stdout.includes(`Epoch ${epochs}/`) ? 'afterTraining' : 'inTraining']++;
      }
      expect((await readFile(join(out, 'model.tenon'))).equals(expected), `run ${run}: the weights`).toBe(true);
      expect(scores(await readFile(join(out, 'report.json'), 'utf8')), `run ${run}: the report`).toEqual(expectedScores);
      // Nothing half written stays. A run that was killed between a checkpoint and the removal of the oldest has one more.
      const isCheckpoint = (n: string): boolean => n.includes('checkpoint-');
      const names = await readdir(out, { recursive: true });
      const wanted = await readdir(whole, { recursive: true });
      const others = (list: readonly string[]): string[] => list.filter((n) => !isCheckpoint(n)).sort();
      expect(others(names), `run ${run}: the files`).toEqual(others(wanted));
      expect(names.filter((n) => n.endsWith('.tmp'))).toEqual([]);
      expect(names.filter(isCheckpoint).length).toBeLessThanOrEqual(4);
      await rm(out, { recursive: true, force: true });
    }
    return spread;
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}
