/** @file The worked example on a language of few sentences, every step of it, interrupted and gone on with. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ensureBuilt, runScript } from '../cli/built.js';

const words = [
  ['man', 'Mann'],
  ['dog', 'Hund'],
  ['boy', 'Junge'],
  ['bird', 'Vogel'],
];
const places = [
  ['here', 'hier'],
  ['outside', 'draußen'],
  ['there', 'dort'],
];
let folder: string;
beforeAll(async () => {
  await ensureBuilt();
  folder = mkdtempSync(join(tmpdir(), 'tenon-large-model-'));
  mkdirSync(join(folder, 'multi30k'));
  for (const [part, n] of [
    ['train', 200],
    ['val', 20],
    ['test_2016_flickr', 24],
  ] as const)
    for (const [at, language] of ['en', 'de'].entries()) {
      const verb = ['A', 'is'];
      const lines = Array.from({ length: n }, (_, i) =>
        at === 0 ? `${verb[0]} ${words[i % 4][0]} ${verb[1]} ${places[i % 3][0]}.` : `Ein ${words[i % 4][1]} ist ${places[i % 3][1]}.`,
      );
      writeFileSync(join(folder, 'multi30k', `${part}.${language}.gz`), gzipSync(`${lines.join('\n')}\n`));
    }
}, 240_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('every step leaves its figures, and a second start does nothing again', { timeout: 900_000 }, async () => {
  const run = () =>
    runScript('dist-tools/examples/large-model/main.js', ['--data-dir', folder, '--out', 'out', '--llama-cpp', 'nowhere'], folder);
  const first = await run();
  expect(first).toMatchObject({ code: 0, stderr: '' });
  expect(first.stdout).toContain('llama.cpp: not asked');
  const read = (name: string): Record<string, unknown> => JSON.parse(readFileSync(join(folder, 'out', 'results', `${name}.json`), 'utf8'));
  expect(read('pretrain')).toMatchObject({ kind: 'pretrain', after: { natsPerToken: expect.any(Number) } });
  expect(read('prefer')).toMatchObject({ kind: 'dpo', after: { rewardAccuracy: expect.any(Number) } });
  expect(read('chat').conversations).toHaveLength(4);
  const second = await run();
  expect(second.code).toBe(0);
  expect(second.stdout).not.toContain('$ tenon');
  expect(second.stdout.slice(-400)).toBe(first.stdout.slice(-400));
});
