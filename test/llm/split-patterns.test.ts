import { describe, expect, it } from 'vitest';
import { isKnownPattern, splitPatterns } from '../../src/llm/split-patterns.js';
import { wordSplitter } from '../../src/llm/word-counts.js';

const long = 100_000;
/** What patterns of these kinds would take squared time for, if they could. */
const hostile = [' ', '\r\n', 'Aa', 'A', 'e\u0301', '中', "'s", '! ', '1', '\ud800', '\t \n', '[('].flatMap((text) => {
  const many = text.repeat(long / text.length);
  return [`${many}x`, `x${many}\n`];
});

describe.each(Object.entries(splitPatterns))('%s', (_, pattern) => {
  it('takes no more than proportional time, and loses nothing', () => {
    const split = wordSplitter(pattern);
    for (const text of hostile) expect(split(text).join('') === text).toBe(true);
  }, 30_000);
});

it('a pattern is known as it stands in a file, with line ends as escapes or themselves', () => {
  expect(isKnownPattern(splitPatterns['llama-bpe'])).toBe(true);
  expect(isKnownPattern(splitPatterns.deepseek.replaceAll('\\r\\n', '\r\n'))).toBe(true);
  expect(isKnownPattern(`${splitPatterns.gpt2} `)).toBe(false);
  expect(isKnownPattern('(a+)+$')).toBe(false);
});

it("llama-bpe's words", () => {
  expect(wordSplitter(splitPatterns['llama-bpe'])("I'LL pay $12345.67,\n\n  they   said: «naïve»!\n")).toEqual([
    'I',
    "'LL",
    ' pay',
    ' $',
    '123',
    '45',
    '.',
    '67',
    ',\n\n',
    ' ',
    ' they',
    '  ',
    ' said',
    ':',
    ' «',
    'naïve',
    '»!\n',
  ]);
});
