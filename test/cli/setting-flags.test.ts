import { describe, expect, test } from 'vitest';
import { keysHelp, parseFlags, settingsText } from '../../src/cli/setting-flags.js';
import { finetuneSettings, kebab, pretrainSettings, readSettings, settingFlags, unfinished } from '../../src/llm/settings.js';

const pretrain = (...words: string[]) => parseFlags('pretrain', settingFlags(pretrainSettings), undefined, words).flags;
const finetune = (...words: string[]) => parseFlags('finetune', settingFlags(finetuneSettings), undefined, words).flags;

describe('flags of runs', () => {
  test.each([
    ['--packing', true],
    ['--packing=yes', true],
    ['--packing=on', true],
    ['--packing=True', true],
    ['--packing=NO', false],
    ['--packing=off', false],
    ['--packing=false', false],
    ['--no-packing', false],
  ])('%s is %s', (word, packing) => {
    expect(finetune(word)).toEqual({ packing });
  });
  test.each(['--packing=1', '--packing=', '--packing=ture', '--no-packing=true'])('%s is refused', (word) => {
    expect(() => finetune(word)).toThrow(`${word.split('=')[0]}: `);
  });
  test('values of a map are what they would be in the file', () => {
    expect(
      pretrain(
        '--config',
        'hidden_size=32',
        '--config',
        'tie_word_embeddings=true',
        '--config=rope_theta=1e4',
        '--config',
        'model_type=llama',
      ),
    ).toEqual({ config: { hidden_size: 32, tie_word_embeddings: true, rope_theta: 10000, model_type: 'llama' } });
    expect(finetune('--columns', 'prompt=1', '--columns', 'completion=a=b')).toEqual({ columns: { prompt: '1', completion: 'a=b' } });
    expect(() => pretrain('--config', 'hidden_size=[')).toThrow('--config: "[" can\'t be read');
    expect(() => pretrain('--config', 'hidden_size=1\n---\n2')).toThrow("can't be read (Source contains multiple documents");
    expect(() => pretrain('--config', 'hidden_size')).toThrow('Expected key=value');
  });
});

test('--help has a line for every key, with what it takes and its default', () => {
  for (const [kind, table] of [
    ['pretrain', pretrainSettings],
    ['finetune', finetuneSettings],
  ] as const) {
    const help = keysHelp(kind);
    for (const { key } of settingFlags(table)) expect(help).toContain(`\n  --${kebab(key)}`);
  }
  const help = keysHelp('finetune');
  expect(help).toMatch(/--model <text> .*\(required\)\n/);
  expect(help).toMatch(/--lora-rank <n> .*\(default: 8\)\n/);
  expect(help).toMatch(/--method <lora\|full> .*\(default: lora\)\n/);
  expect(help).toMatch(/--packing {2}.*\(default: no\)\n/);
  expect(help).toMatch(/--learning-rate <n> .*\(default: 2e-4 with lora/);
});

test('--print-config writes a file that can be read again, and says what is missing or chosen', () => {
  const flags = settingFlags(finetuneSettings);
  const text = settingsText(flags, readSettings(unfinished(finetuneSettings), null, { loraRank: 4 }, 'finetune'));
  expect(text).toMatch(/^# data: \(required\) /m);
  expect(text).toMatch(/^# learningRate: the highest rate \(default: 2e-4/m);
  expect(text).toMatch(/^loraRank: 4$/m);
  expect(text).toMatch(/^batchSize: 16$/m);
  for (const { key } of flags) expect(text).toMatch(new RegExp(`^(# )?${key}:`, 'm'));
  const whole = readSettings(finetuneSettings, `${text}model: m\ndata: d\n`, {}, 'run.yaml');
  expect(whole).toEqual(readSettings(finetuneSettings, null, { model: 'm', data: 'd', loraRank: 4 }, 'finetune'));
  expect(() => readSettings(unfinished(finetuneSettings), 'lernRate: 1', {}, 'run.yaml')).toThrow('is no key of this file');
});
