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
    ['model: m\ndata: d\nbatchSize: many\n', 'run.yaml:3: batchSize is "many". Expected a whole number ≥ 1.'],
    ['model: m\ndata: d\nmethod: dora\n', 'run.yaml:3: method is "dora". Expected one of lora, full.'],
    ['data: d\n', 'run.yaml: model is missing. Expected a text: a folder in the Hugging Face layout, or owner/name on the hub.'],
    ['model: m\n', 'run.yaml: data is missing. Expected a text or a list of texts: text, JSON lines'],
    ['model: m\ndata: [b, 3]\n', 'run.yaml:2: data is ["b",3]. Expected a text or a list of texts.'],
    ['model: m\ndata: d\nloraTargets: q_proj\n', 'run.yaml:3: loraTargets is "q_proj". Expected all-linear or a list of texts.'],
    ['model: m\ndata: d\nepochs: .inf\n', 'run.yaml:3: epochs is Infinity. Expected a number > 0.'],
    ['model: m\ndata: d\nepochs: .nan\n', 'run.yaml:3: epochs is NaN. Expected a number > 0.'],
    ['model: m\ndata: d\ncolumns: { prompt: 1 }\n', 'run.yaml:3: columns is {"prompt":1}. Expected keys with texts.'],
    ['model: m\ndata: d\npacking: 1\n', 'run.yaml:3: packing is 1. Expected true or false.'],
    ['model: m\ndata: d\nbeta1: 1\n', 'run.yaml:3: beta1 is 1. Expected a number ≥ 0 and < 1.'],
    ['model: m\ndata: d\nbeta2: 1\n', 'run.yaml:3: beta2 is 1. Expected a number ≥ 0 and < 1.'],
    ['model: [\n', 'run.yaml:'],
    ['model: m\ndata: d\n---\nbatchSize: 4\n', 'run.yaml:3: a second document begins here. Expected one, with all keys.'],
    ['model: m\ndata: d\n\n---\n# and\n\nbatchSize: 4\n', 'run.yaml:4: a second document begins here.'],
    ['---\nmodel: m\ndata: d\n...\nbatchSize: 4\n', 'run.yaml:5: a second document begins here.'],
    ['- a\n- b\n', 'run.yaml: it holds no keys.'],
    ['model: m\nmodel: n\ndata: d\n', 'run.yaml:2: Map keys must be unique'],
  ])('%j is refused with its line', (yaml, message) => {
    expect(() => read(yaml)).toThrow(message);
  });
  test('marks around the one document are no second', () => {
    expect(read('# a run\n---\nmodel: m\ndata: d\n...\n# the end\n')).toMatchObject({ model: 'm' });
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

describe('keys that do not go together', () => {
  const base = 'model: m\ndata: d\n';
  test.each([
    ['steps: 4\nepochs: 2\n', 'run.yaml:4: epochs: 2 does not go with steps: 4 (run.yaml:3). Expected one of them.'],
    ['validation: v\nvalidationShare: 0.1\n', 'run.yaml:4: validationShare: 0.1 does not go with validation: v (run.yaml:3).'],
    ['warmupSteps: 40\nsteps: 4\n', 'run.yaml:3: warmupSteps: 40 does not go with steps: 4 (run.yaml:4). Expected warmupSteps less'],
    ['learningRate: 0.01\nminLearningRate: 1\n', 'run.yaml:4: minLearningRate: 1 does not go with learningRate: 0.01 (run.yaml:3).'],
    ['schedule: constant\nminLearningRate: 1e-5\n', 'run.yaml:4: minLearningRate: 0.00001 does not go with schedule: constant'],
    ['doubleQuantize: true\n', 'run.yaml:3: doubleQuantize: true does not go with quantize: none (the default). Expected quantize: nf4.'],
    ['doubleQuantize: true\nquantize: q8_0\n', 'run.yaml:3: doubleQuantize: true does not go with quantize: q8_0 (run.yaml:4).'],
    ['method: full\nquantize: nf4\n', 'run.yaml:4: quantize: nf4 does not go with method: full (run.yaml:3). Expected method: lora'],
    ['method: full\nloraRank: 4\n', 'run.yaml:4: loraRank: 4 does not go with method: full (run.yaml:3). Expected method: lora, or no'],
    [
      'adapter: a\nloraAlpha: 4\n',
      "run.yaml:4: loraAlpha: 4 does not go with adapter: a (run.yaml:3). Expected no loraAlpha: it is the adapter's",
    ],
    ['packing: true\ncolumns: { chosen: a }\n', 'run.yaml:3: packing: true does not go with columns: {"chosen":"a"} (run.yaml:4).'],
    ['beta: 0.3\ncolumns: { completion: a }\n', 'run.yaml:3: beta: 0.3 does not go with columns: {"completion":"a"} (run.yaml:4).'],
  ])('%j is refused with both lines', (yaml, message) => {
    expect(() => read(base + yaml)).toThrow(message);
  });
  test('in a pretraining run', () => {
    const pretrain = (yaml: string) => () => readSettings(pretrainSettings, yaml, {}, 'run.yaml');
    expect(pretrain('data: d\ndepth: 2\nconfig: { a: 1 }\n')).toThrow(
      'run.yaml:2: depth: 2 does not go with config: {"a":1} (run.yaml:3).',
    );
    expect(pretrain('data: d\ntokenizer: characters\nvocabSize: 300\n')).toThrow('run.yaml:3: vocabSize: 300 does not go with tokenizer');
  });
  test('defaults are not given, and what says nothing of the other is none of it', () => {
    for (const yaml of [
      'method: full\nquantize: none\nloraRank: 8\nmodulesToSave: []\ndoubleQuantize: false\n',
      'validation: v\nvalidationShare: 0\n',
      'warmupSteps: 0\nsteps: 1\n',
      'beta: 0.3\nsftWeight: 1\ncolumns: { prompt: a }\n',
      'quantize: nf4\ndoubleQuantize: true\n',
    ])
      expect(() => read(base + yaml), yaml).not.toThrow();
  });
  test('a flag replaces what the file says in another way; two flags are refused', () => {
    const counts = (yaml: string, flags: Record<string, unknown>) => (({ steps, epochs }) => ({ steps, epochs }))(read(base + yaml, flags));
    expect(counts('epochs: 2\n', { steps: 3 })).toEqual({ steps: 3 });
    expect(counts('steps: 3\n', { epochs: 2 })).toEqual({ epochs: 2 });
    expect(() => read(base, { steps: 3, epochs: 2 })).toThrow('--epochs: epochs: 2 does not go with steps: 3 (--steps).');
    expect(() => read(`${base}warmupSteps: 10\n`, { steps: 3 })).toThrow(
      'run.yaml:3: warmupSteps: 10 does not go with steps: 3 (--steps).',
    );
    expect(() => read(`${base}quantize: nf4\n`, { method: 'full' })).toThrow('(--method)');
  });
});
