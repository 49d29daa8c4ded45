import { describe, expect, test } from 'vitest';
import { parseFlags } from '../../src/cli/setting-flags.js';
import { finetuneSettings, pretrainSettings, settingFlags } from '../../src/llm/settings.js';

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
    expect(() => pretrain('--config', 'hidden_size')).toThrow('Expected key=value');
  });
});
