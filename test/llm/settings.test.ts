import { describe, expect, test } from 'vitest';
import { finetuneSettings, kebab, pretrainSettings, readSettings, settingFlags } from '../../src/llm/settings.js';

const read = (yaml: string | null, flags: Record<string, unknown> = {}) => readSettings(finetuneSettings, yaml, flags, 'run.yaml');

describe('settings of a run', () => {
  test('a file with defaults, and flags over it', () => {
    const s = read('model: m\ndata: [a.txt, b.txt]\nloraRank: 4\n', { loraRank: 16, learningRate: 0.01 });
    expect(s).toMatchObject({ model: 'm', data: ['a.txt', 'b.txt'], loraRank: 16, learningRate: 0.01, method: 'lora', clip: 1 });
  });
  test.each([
    ['model: m\ndata: d\nlernRate: 3\n', 'run.yaml:3: "lernRate" is no key of this file.'],
    ['model: m\n\ndata: d\nlora_rank: 3\n', 'run.yaml:4: "lora_rank" is no key of this file. Write loraRank.'],
    ['model: m\ndata: d\nbatchSize: many\n', 'run.yaml:3: batchSize is "many". Expected number'],
    ['model: m\ndata: d\nmethod: dora\n', 'run.yaml:3: method is "dora".'],
    ['data: d\n', 'run.yaml: model is missing.'],
    ['model: [\n', 'run.yaml:'],
    ['- a\n- b\n', 'run.yaml: it holds no keys.'],
    ['model: m\nmodel: n\ndata: d\n', 'run.yaml:2: Map keys must be unique'],
  ])('%j is refused with its line', (yaml, message) => {
    expect(() => read(yaml)).toThrow(message);
  });
  test('a flag is named as it was written', () => {
    expect(() => read('model: m\ndata: d\n', { batchSize: 'x' })).toThrow('--batch-size: batchSize is "x"');
  });
  test('references that grow without end are refused', () => {
    const bomb = `a: &a [x, x, x, x, x, x, x, x, x]\n${[...'bcdefghi'].map((c, i) => `${c}: &${c} [${new Array(9).fill(`*${'abcdefgh'[i]}`).join(', ')}]`).join('\n')}\n`;
    const start = performance.now();
    expect(() => read(bomb)).toThrow('run.yaml');
    expect(performance.now() - start).toBeLessThan(5000);
  });
  test('every key is a flag with a help text', () => {
    for (const table of [pretrainSettings, finetuneSettings]) {
      const flags = settingFlags(table);
      expect(flags.map((f) => f.key)).toEqual(Object.keys(table.shape));
      for (const f of flags) expect(f.help, f.key).not.toBe('');
    }
    const kinds = Object.fromEntries(settingFlags(finetuneSettings).map((f) => [f.key, f.kind]));
    expect(kinds).toMatchObject({ packing: 'boolean', loraRank: 'number', columns: 'map', data: 'list', method: 'text', samples: 'list' });
  });
  test('flags are spelt with hyphens', () => {
    expect(['batchSize', 'loraRank', 'beta1', 'rsLora', 'data'].map(kebab)).toEqual([
      'batch-size',
      'lora-rank',
      'beta1',
      'rs-lora',
      'data',
    ]);
  });
});
